package plan

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/syncsets/syncsets/libs/backoff"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

// pause keeps something that failed from being tried again at once.
type pause struct {
	retry *backoff.Backoff
	until *time.Time
}

func newPause(most time.Duration) pause {
	return pause{retry: backoff.New(200*time.Millisecond, most), until: new(time.Time)}
}

// note begins a pause, longer each time, or ends the row of failures.
func (p pause) note(err error) {
	if err == nil {
		p.retry.Reset()
		*p.until = time.Time{}
		return
	}
	*p.until = time.Now().Add(p.retry.Next())
}

func (p pause) resting() bool { return time.Now().Before(*p.until) }

// earliest returns when the pause ends if it goes on and ends before other, else other.
func (p pause) earliest(other time.Time) time.Time {
	if !p.until.IsZero() && p.until.Before(other) {
		return *p.until
	}
	return other
}

// follower is one source: whether it rang since the last look.
type follower struct {
	pause
	source postgres.Source
	rang   atomic.Bool
}

// look follows a source that rang and reports whether there may be more to read.
func (p *Planner) look(ctx context.Context, f *follower, state postgres.Planner) (more bool, err error) {
	if f.resting() || !f.rang.Swap(false) {
		return false, nil
	}
	more, err = p.follow(ctx, f.source, state)
	f.note(err)
	if err != nil || more {
		f.rang.Store(true)
	}
	return more && err == nil, err
}

// follow reads the next page of a source and applies it, or resyncs the source when its log cannot be followed. It reports whether the log
// went on behind the page.
func (p *Planner) follow(ctx context.Context, s postgres.Source, state postgres.Planner) (more bool, err error) {
	cursor := state.Cursor(s)
	if cursor == (outbox.Revision{}) {
		return true, p.resync(ctx, s, cursor, "first start")
	}
	page, err := p.client(s).Events(ctx, cursor, p.PageSize)
	if errs.Is(err, errs.Gone) {
		return true, p.resync(ctx, s, cursor, err.Error())
	}
	if err != nil || len(page.Items) == 0 {
		return false, err
	}
	return page.Items[len(page.Items)-1].Revision != page.Revision, p.apply(ctx, s, page)
}
