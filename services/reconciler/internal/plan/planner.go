// Package plan turns the events of clusters, sets and secrets into marks on work rows.
//
//	doorbell (reconciler.plan), poll, start
//	     |
//	     v            page of the log                 one transaction            chunks, one transaction each
//	source's feed  ----------------->  projections, marks, removals, fan-outs  -->  1,000 clusters of one set
//	     |                                                                              |
//	     +-- gone, first start, nightly: resync                                         +--> wake the dispatcher
//
// Messages on the bus only wake it: what happened is read from the log of the service that it happened in. Any number of planners may
// run; their transactions take turns.
package plan

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/source"
)

// Config is what a planner works with. Zero durations and numbers get their defaults.
type Config struct {
	Store              *postgres.Store
	Clusters, SyncSets *source.Client
	AMQP               amqp.Config
	Log                *slog.Logger
	// Wake is called when clusters have become due, Fetch when kubeconfigs or values of secrets may be wanted. They must not block.
	Wake, Fetch func()

	Poll     time.Duration // how often to look without being woken; default 3 s
	Resync   time.Duration // how old the last resync may get; default 24 h
	PageSize int           // events and documents per page; default 500
}

// Planner follows the logs of the two services. Make it with New.
type Planner struct {
	Config
	wake      chan struct{}
	appended  atomic.Bool // somebody else has appended a fan-out
	followers []*follower
	fanOuts   chunks
	looked    time.Time // when everything was looked at, whatever rang
	bells     bells
	metrics   metrics
	nextTry   time.Time // of the nightly resync
}

// New returns a planner that does nothing before Run.
func New(c Config) (*Planner, error) {
	if c.Poll == 0 {
		c.Poll = 3 * time.Second
	}
	if c.Resync == 0 {
		c.Resync = 24 * time.Hour
	}
	if c.PageSize == 0 {
		c.PageSize = outbox.DefaultLimit
	}
	for _, f := range []*func(){&c.Wake, &c.Fetch} {
		if *f == nil {
			*f = func() {}
		}
	}
	p := &Planner{Config: c, wake: make(chan struct{}, 1), fanOuts: chunks{pause: newPause(c.Poll)}}
	for _, s := range []postgres.Source{postgres.Clusters, postgres.SyncSets} {
		p.followers = append(p.followers, &follower{source: s, pause: newPause(c.Poll)})
	}
	var err error
	if p.bells, err = newBells(); err != nil {
		return nil, err
	}
	p.metrics, err = newMetrics()
	return p, err
}

// Wake makes the planner look at both sources. It never blocks.
func (p *Planner) Wake() { p.ring("") }

// FanOut makes the planner look for fan-outs that others have appended. It never blocks.
func (p *Planner) FanOut() {
	p.appended.Store(true)
	p.knock()
}

// ring makes the planner look at one source, or at both when it is none of them. It never blocks.
func (p *Planner) ring(source postgres.Source) {
	known := source == postgres.Clusters || source == postgres.SyncSets
	for _, f := range p.followers {
		if !known || f.source == source {
			f.rang.Store(true)
		}
	}
	p.knock()
}

func (p *Planner) knock() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run plans until ctx ends and returns its cause.
func (p *Planner) Run(ctx context.Context) error {
	retry, tidied := newPause(p.Poll), time.Time{}
	for ctx.Err() == nil {
		busy, err := p.step(ctx)
		if retry.note(err); err != nil && ctx.Err() == nil {
			p.report(ctx, err)
		}
		if busy && err == nil {
			continue
		}
		if err == nil && time.Since(tidied) > p.Poll {
			tidied = time.Now()
			p.tidy(ctx)
		}
		p.wait(ctx, retry)
	}
	return context.Cause(ctx)
}

// report logs a failure at the level it deserves: a service that is away is a matter of time.
func (p *Planner) report(ctx context.Context, err error) {
	p.metrics.failures.Add(ctx, 1)
	if errs.Is(err, errs.Unavailable) || errs.Is(err, errs.Limited) {
		p.Log.WarnContext(ctx, "planning waits", "error", err)
		return
	}
	p.Log.ErrorContext(ctx, "planning failed", "error", err)
}

func (p *Planner) tidy(ctx context.Context) {
	if err := p.Store.Tidy(ctx, p.Log); err != nil && ctx.Err() == nil {
		p.report(ctx, err)
	}
}

// wait returns when somebody wakes the planner, when a pause after a failure ends, or after a while.
func (p *Planner) wait(ctx context.Context, all pause) {
	until := p.looked.Add(p.Poll)
	for _, f := range p.followers {
		until = f.earliest(until)
	}
	until = all.earliest(p.fanOuts.earliest(until))
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	wake := p.wake
	if all.resting() {
		wake = nil
	}
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}

// step reads at most one page of each source that rang, of both once per poll, and does the next chunk after each, so that a small change
// does not wait for a large one. It reports whether there may be more to do. A source that fails rests for a while; neither the other nor
// the chunks wait for it.
func (p *Planner) step(ctx context.Context) (busy bool, err error) {
	if !p.anything() {
		return false, nil
	}
	state, err := p.Store.Planner(ctx)
	if err != nil {
		return false, err
	}
	p.metrics.stopped.Store(state.Stopped())
	if state.Stopped() {
		p.forgive()
		return false, nil
	}
	p.nightly(ctx, state)
	for _, f := range p.followers {
		more, err := p.look(ctx, f, state)
		if err != nil && ctx.Err() == nil {
			p.report(ctx, err)
		}
		did, err := p.chunk(ctx)
		if err != nil && ctx.Err() == nil {
			p.report(ctx, err)
		}
		busy = busy || more || did
	}
	return busy, nil
}

func (p *Planner) client(s postgres.Source) *source.Client {
	if s == postgres.Clusters {
		return p.Clusters
	}
	return p.SyncSets
}

// apply plans a page under one span per event, each a child of its publishing.
func (p *Planner) apply(ctx context.Context, s postgres.Source, page outbox.Page) error {
	ctx, spans := startEvents(ctx, p.bells, page.Items)
	done, err := p.Store.ApplyPage(ctx, s, page)
	endSpans(spans, err)
	if errs.Is(err, errs.Conflict) {
		p.fanOuts.pending = true
		return nil // another planner was quicker; the next look begins where it left off
	}
	if err != nil {
		return err
	}
	p.metrics.events.Add(ctx, int64(done.Events))
	p.fanOuts.pending = p.fanOuts.pending || done.FanOuts > 0
	if done.Marked {
		p.Config.Wake()
	}
	if done.Marked || done.Wanted {
		p.Fetch()
	}
	return nil
}

// anything reports whether there may be something to do; once per poll everything may be.
func (p *Planner) anything() bool {
	if time.Since(p.looked) >= p.Poll {
		p.looked = time.Now()
		p.fanOuts.pending = true
		for _, f := range p.followers {
			f.rang.Store(true)
		}
	}
	if p.appended.Swap(false) {
		p.fanOuts.pending = true
	}
	some := p.fanOuts.pending
	for _, f := range p.followers {
		some = some || f.rang.Load()
	}
	return some
}

// forgive ends all pauses: while planning is stopped nothing is tried.
func (p *Planner) forgive() {
	p.fanOuts.note(nil)
	for _, f := range p.followers {
		f.note(nil)
	}
}
