// Package credential fetches kubeconfigs from the clusters service's internal listener and seals them with the reconciler's own keys.
// It works outside the planner's transactions: an unreachable clusters service holds up nothing but new kubeconfigs.
package credential

import (
	"context"
	"log/slog"
	"math/rand/v2"
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
	Store        *postgres.Store
	Clusters     *source.Client
	Keys         *seal.Keys
	Installation string
	Log          *slog.Logger
	// Wake is called when a cluster has become due; it must not block.
	Wake func()
	Poll time.Duration // how often to look without being woken; default 2 s
}

// Fetcher keeps the stored kubeconfigs at the versions that the cluster documents name. Make it with New.
type Fetcher struct {
	Config
	wake chan struct{}
}

// New returns a fetcher that does nothing before Run.
func New(c Config) *Fetcher {
	if c.Poll == 0 {
		c.Poll = 2 * time.Second
	}
	if c.Wake == nil {
		c.Wake = func() {}
	}
	return &Fetcher{Config: c, wake: make(chan struct{}, 1)}
}

// Ref is the place of a cluster's kubeconfig in the reconciler's schema, as it is sealed and opened.
func Ref(installation, clusterUID string) seal.Ref {
	return seal.Ref{Installation: installation, Schema: "reconciler", Table: "credentials", UID: clusterUID, Field: "kubeconfig"}
}

// CheckKeys returns errs.Invalid, naming the key, when a stored kubeconfig is sealed with one that is not among the fetcher's.
func (f *Fetcher) CheckKeys(ctx context.Context) error {
	ids, err := f.Store.CredentialKeys(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !f.Keys.Has(id) {
			return errs.New(errs.Invalid, "SEAL_KEYS lacks the key %s, with which stored kubeconfigs are sealed", id)
		}
	}
	return nil
}

// Fetch makes the fetcher look for wanted kubeconfigs. It never blocks.
func (f *Fetcher) Fetch() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Run fetches until ctx ends and returns its cause.
func (f *Fetcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := f.step(ctx)
		if err != nil && ctx.Err() == nil {
			f.Log.WarnContext(ctx, "fetching kubeconfigs waits", "error", err)
		}
		if n < batch {
			f.wait(ctx)
		}
	}
	return context.Cause(ctx)
}

func (f *Fetcher) wait(ctx context.Context) {
	timer := time.NewTimer(f.Poll)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-f.wake:
	case <-timer.C:
	}
}

// step fetches one batch and returns its size.
func (f *Fetcher) step(ctx context.Context) (int, error) {
	wanted, err := f.Store.WantedCredentials(ctx, batch, reserved)
	if err != nil {
		return 0, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, w := range wanted {
		group.Go(func() error { return f.fetch(ctx, w) })
	}
	return len(wanted), group.Wait()
}

// fetch gets, seals and stores one kubeconfig. Its text appears in no error and no log.
func (f *Fetcher) fetch(ctx context.Context, w postgres.Wanted) error {
	ctx, span := otel.Tracer("github.com/syncsets/syncsets/services/reconciler/internal/credential").Start(ctx, "fetch kubeconfig")
	defer span.End()
	version, text, err := f.Clusters.Kubeconfig(ctx, w.ClusterUID)
	if err == nil {
		err = f.store(ctx, w.ClusterUID, version, text)
	}
	if err == nil && version >= w.Version {
		return nil
	}
	if err != nil {
		f.Log.WarnContext(ctx, "a kubeconfig could not be fetched", "cluster", w.ClusterUID, "attempts", w.Attempts+1, "error", err)
	}
	return f.Store.RetryCredential(ctx, w.ClusterUID, delay(w.Attempts))
}

func (f *Fetcher) store(ctx context.Context, clusterUID string, version int64, text string) error {
	keyID, sealed, err := f.Keys.Seal(Ref(f.Installation, clusterUID), []byte(text))
	if err != nil {
		return err
	}
	if err := f.Store.StoreCredential(ctx, clusterUID, version, keyID, sealed); err != nil {
		return err
	}
	f.Wake()
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
