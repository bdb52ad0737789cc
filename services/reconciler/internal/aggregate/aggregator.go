// Package aggregate keeps the totals of sets over their clusters, and the fleet's gauges. Of all processes one is active at a time; what is
// counted is right with any number of them.
package aggregate

import (
	"context"
	"log/slog"
	"time"

	"github.com/syncsets/syncsets/libs/backoff"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

const (
	poll       = 200 * time.Millisecond // between two looks at what is to be counted
	stand      = time.Second            // between two attempts to become the active one
	fleetEvery = 15 * time.Second
)

// Config is what an aggregator works with.
type Config struct {
	Store *postgres.Store
	Log   *slog.Logger
}

// Aggregator counts. Make it with New.
type Aggregator struct {
	Config
	gauges *gauges
}

// New returns an aggregator that does nothing before Run.
func New(c Config) (*Aggregator, error) {
	g, err := newGauges()
	if err != nil {
		return nil, err
	}
	return &Aggregator{Config: c, gauges: g}, nil
}

// Run stands for being the active one, and counts while it is, until ctx ends. It returns ctx's cause.
func (a *Aggregator) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := a.term(ctx); err != nil && ctx.Err() == nil {
			a.Log.WarnContext(ctx, "counting waits", "error", err)
		}
		_ = backoff.Sleep(ctx, stand)
	}
	return context.Cause(ctx)
}

// term counts as long as this process is the active one. It begins with all sets: nobody knows what was missed before.
func (a *Aggregator) term(ctx context.Context) error {
	lead, err := a.Store.LeadAggregation(ctx)
	if err != nil || lead == nil {
		return err
	}
	defer lead.Close(ctx)
	defer a.gauges.clear()
	if err := a.Store.RecountAll(ctx); err != nil {
		return err
	}
	for gauged := (time.Time{}); ; {
		if err := lead.Check(ctx); err != nil {
			return err
		}
		if time.Since(gauged) >= fleetEvery {
			if err := a.gauge(ctx); err != nil {
				return err
			}
			gauged = time.Now()
		}
		if err := a.step(ctx); err != nil {
			return err
		}
		if err := backoff.Sleep(ctx, poll); err != nil {
			return err
		}
	}
}

// step counts what is to be counted now. A set that cannot be counted does not keep the others waiting.
func (a *Aggregator) step(ctx context.Context) error {
	sets, err := a.Store.SetsToCount(ctx)
	if err != nil {
		return err
	}
	for _, uid := range sets {
		if err := a.Store.CountSet(ctx, uid); err != nil {
			if ctx.Err() != nil {
				return err
			}
			a.Log.WarnContext(ctx, "could not count a set", "set_uid", uid, "error", err)
		}
	}
	return nil
}

func (a *Aggregator) gauge(ctx context.Context) error {
	fleet, err := a.Store.Fleet(ctx)
	if err == nil {
		a.gauges.set(fleet)
	}
	return err
}
