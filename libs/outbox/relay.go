package outbox

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/backoff"
)

const (
	defaultPoll     = 200 * time.Millisecond
	defaultBookmark = 15 * time.Second
	stepTimeout     = 30 * time.Second // of one trip to the database
)

// RelayConfig is what a Relay works with.
type RelayConfig struct {
	Pool      *pgxpool.Pool
	Schema    string // whose outbox: clusters, syncsets or reconciler
	Exchange  string // the topic exchange to publish to
	Publisher *amqp.Publisher
	Resources []string // which resources get bookmarks
	Log       *slog.Logger
	Poll      time.Duration // how often to look without being woken; 0 is 200 ms
	Bookmark  time.Duration // how often to publish bookmarks; 0 is 15 s
}

// Relay moves committed changes from the outbox to the event log and publishes them in revision order. Any number may run on one
// schema: an advisory lock lets one of them work, and where that lock fails they take turns on the relay row.
type Relay struct {
	RelayConfig
	wake      chan struct{} // a change was committed
	sequenced chan struct{} // there is something to publish
	metrics   metrics
	suspects  suspects
}

// NewRelay makes a relay; Run starts it.
func NewRelay(c RelayConfig) *Relay {
	if c.Poll <= 0 {
		c.Poll = defaultPoll
	}
	if c.Bookmark <= 0 {
		c.Bookmark = defaultBookmark
	}
	return &Relay{RelayConfig: c, wake: make(chan struct{}, 1), sequenced: make(chan struct{}, 1), metrics: newMetrics(c.Schema)}
}

// Wake tells the relay that a change was committed. It never blocks, and may be called before Run and after it.
func (r *Relay) Wake() { signal(r.wake) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run relays until ctx ends and returns its cause. Trouble with the database or the broker is logged and tried again.
func (r *Relay) Run(ctx context.Context) error {
	return r.persist(ctx, "stand for relay", r.term)
}

// lead does the work while conn holds the lock.
func (r *Relay) lead(ctx context.Context, guard func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return guard(ctx) })
	group.Go(func() error { return r.persist(ctx, "sequence events", r.sequenceOnWake) })
	group.Go(func() error { return r.persist(ctx, "publish events", r.publishOnSignal) })
	group.Go(func() error { return r.persist(ctx, "publish bookmarks", r.bookmarkOnTime) })
	return group.Wait()
}

// persist calls step until ctx ends, with growing pauses after errors, of which it logs the first and then two a minute.
func (r *Relay) persist(ctx context.Context, what string, step func(context.Context) error) error {
	retry := backoff.New(r.Poll, 10*time.Second)
	say := rate.Sometimes{First: 1, Interval: 30 * time.Second}
	for ctx.Err() == nil {
		started := time.Now()
		err := step(ctx)
		if ctx.Err() != nil {
			break
		}
		if err == nil || time.Since(started) > time.Minute {
			retry.Reset()
		}
		if err == nil {
			continue
		}
		say.Do(func() {
			r.Log.WarnContext(ctx, "relay step failed, trying again", "step", what, "schema", r.Schema, "error", err)
		})
		if retry.Wait(ctx) != nil {
			break
		}
	}
	return context.Cause(ctx)
}

// sequenceOnWake moves everything that is in the outbox to the log, then waits for more.
func (r *Relay) sequenceOnWake(ctx context.Context) error {
	found, err := r.look(ctx)
	if err != nil {
		return err
	}
	for more := found.waiting || found.foreign; more; {
		if more, err = r.sequence(ctx); err != nil {
			return err
		}
		signal(r.sequenced)
	}
	if found.lag > 0 {
		signal(r.sequenced)
	}
	timer := time.NewTimer(r.Poll)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-r.wake:
	case <-timer.C:
	}
	return nil
}

// publishOnSignal publishes everything that is in the log, then waits for more.
func (r *Relay) publishOnSignal(ctx context.Context) error {
	for {
		published, err := r.publish(ctx)
		if err != nil {
			return err
		}
		if !published {
			break
		}
	}
	select {
	case <-ctx.Done():
	case <-r.sequenced:
	}
	return nil
}

// bookmarkOnTime waits for the next time, then publishes the bookmarks.
func (r *Relay) bookmarkOnTime(ctx context.Context) error {
	if err := backoff.Sleep(ctx, r.Bookmark); err != nil {
		return err
	}
	return r.bookmark(ctx)
}
