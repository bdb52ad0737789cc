// Package credential fetches kubeconfigs and the values of secrets from the internal listeners of the services that keep them, and
// seals them with the reconciler's own keys. It works outside the planner's transactions, and each kind for itself: an unreachable
// service holds up nothing but what is new of its own.
package credential

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"golang.org/x/sync/errgroup"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/seal"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/source"
)

const (
	parallel  = 8
	batch     = 64
	reserved  = 2 * time.Minute // a fetched batch is left to its process for so long
	retryMost = 5 * time.Minute
)

// Config is what a fetcher works with.
type Config struct {
	Store              *postgres.Store
	Clusters, SyncSets *source.Client
	Keys               *seal.Keys
	Installation       string
	Log                *slog.Logger
	// Wake is called when clusters have become due, FanOut when a fan-out was appended. They must not block.
	Wake, FanOut func()
	Poll         time.Duration // how often to look without being woken; default 2 s
}

// Fetcher keeps the stored values at the versions that the documents name. Make it with New.
type Fetcher struct {
	Config
	kinds []*kind
}

// New returns a fetcher that does nothing before Run.
func New(c Config) *Fetcher {
	if c.Poll == 0 {
		c.Poll = 2 * time.Second
	}
	for _, f := range []*func(){&c.Wake, &c.FanOut} {
		if *f == nil {
			*f = func() {}
		}
	}
	return &Fetcher{Config: c, kinds: c.kinds()}
}

// CheckKeys returns errs.Invalid, naming the key, when a stored value is sealed with one that is not among the fetcher's.
func (f *Fetcher) CheckKeys(ctx context.Context) error {
	ids, err := f.Store.SealKeys(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !f.Keys.Has(id) {
			return errs.New(errs.Invalid, "SEAL_KEYS lacks the key %s, with which stored kubeconfigs or secrets are sealed", id)
		}
	}
	return nil
}

// Fetch makes the fetcher look for wanted values. It never blocks.
func (f *Fetcher) Fetch() {
	for _, k := range f.kinds {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
}

// Run fetches until ctx ends and returns its cause.
func (f *Fetcher) Run(ctx context.Context) error {
	var kinds sync.WaitGroup
	for _, k := range f.kinds {
		kinds.Go(func() { f.run(ctx, k) })
	}
	kinds.Wait()
	return context.Cause(ctx)
}

// run fetches values of one kind until ctx ends.
func (f *Fetcher) run(ctx context.Context, k *kind) {
	for ctx.Err() == nil {
		n, err := f.step(ctx, k)
		if err != nil && ctx.Err() == nil {
			f.Log.WarnContext(ctx, "fetching sealed values waits", "kind", k.name, "error", err)
		}
		if n < batch {
			f.wait(ctx, k)
		}
	}
}

func (f *Fetcher) wait(ctx context.Context, k *kind) {
	timer := time.NewTimer(f.Poll)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-k.wake:
	case <-timer.C:
	}
}

// step fetches one batch and returns its size.
func (f *Fetcher) step(ctx context.Context, k *kind) (int, error) {
	wanted, err := f.Store.Wanted(ctx, k.stored, batch, reserved)
	if err != nil {
		return 0, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, w := range wanted {
		group.Go(func() error { return f.fetch(ctx, k, w) })
	}
	return len(wanted), group.Wait()
}

// fetch gets, seals and stores one value. It appears in no error and no log.
func (f *Fetcher) fetch(ctx context.Context, k *kind, w postgres.Wanted) error {
	ctx, span := otel.Tracer("github.com/syncsets/syncsets/services/reconciler/internal/credential").Start(ctx, "fetch "+k.name)
	defer span.End()
	version, value, err := k.get(ctx, w.UID)
	if err == nil {
		err = f.store(ctx, k, w.UID, version, value)
	}
	if err == nil && version >= w.Version {
		return nil
	}
	if err != nil {
		f.Log.WarnContext(ctx, "a sealed value could not be fetched", "kind", k.name, "uid", w.UID, "attempts", w.Attempts+1, "error", err)
	}
	return f.Store.RetrySealed(ctx, k.stored, w.UID, delay(w.Attempts))
}

func (f *Fetcher) store(ctx context.Context, k *kind, uid string, version int64, value []byte) error {
	keyID, sealed, err := f.Keys.Seal(k.ref(f.Installation, uid), value)
	if err != nil {
		return err
	}
	done, err := f.Store.StoreSealed(ctx, k.stored, uid, version, keyID, sealed)
	if err != nil {
		return err
	}
	if done.Marked {
		f.Wake()
	}
	if done.FanOuts > 0 {
		f.FanOut()
	}
	return nil
}

// delay doubles from half a second, with jitter.
func delay(attempts int) time.Duration {
	most := retryMost
	if attempts < 10 {
		most = min(retryMost, 500*time.Millisecond<<attempts)
	}
	return most/2 + rand.N(most/2)
}
