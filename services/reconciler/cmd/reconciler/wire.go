package main

import (
	"context"
	"fmt"
	"os"

	"github.com/google/uuid"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/installation"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/seal"
	"github.com/syncsets/syncsets/libs/service"
	"github.com/syncsets/syncsets/services/reconciler/internal/aggregate"
	"github.com/syncsets/syncsets/services/reconciler/internal/cleanup"
	"github.com/syncsets/syncsets/services/reconciler/internal/credential"
	"github.com/syncsets/syncsets/services/reconciler/internal/dispatch"
	"github.com/syncsets/syncsets/services/reconciler/internal/kube"
	"github.com/syncsets/syncsets/services/reconciler/internal/plan"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/source"
	"github.com/syncsets/syncsets/services/reconciler/internal/transport"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

const schema = "reconciler"

// parts are what a process consists of; those of roles it does not have are nil.
type parts struct {
	process      *service.Process
	own          settings
	installation string
	store        *postgres.Store
	clusters     *source.Client
	syncsets     *source.Client
	planner      *plan.Planner
	dispatcher   *dispatch.Dispatcher
	fetcher      *credential.Fetcher
}

// wire builds the parts of the process's roles, in the order in which they need each other, and opens its listeners.
func wire(ctx context.Context, p *service.Process, own settings) error {
	w := &parts{
		process: p, own: own, store: postgres.New(p.Pool, postgres.WithBudget(own.budget)),
		clusters: source.New(own.clustersURL, p.Settings.InternalToken), syncsets: source.New(own.syncsetsURL, p.Settings.InternalToken),
	}
	p.StartRelay(v1.ResourceClusterSyncs, v1.ResourceSetSyncs)
	if err := w.belong(ctx); err != nil {
		return err
	}
	for _, role := range []struct {
		name  string
		build func(context.Context) error
	}{
		{roleDispatch, w.dispatch}, {rolePlan, w.plan}, {roleWork, w.work},
	} {
		if !own.has(role.name) {
			continue
		}
		if err := role.build(ctx); err != nil {
			return fmt.Errorf("%s: %w", role.name, err)
		}
	}
	public, internal := p.NewAPI(), p.NewInternalAPI()
	if own.has(roleAPI) {
		transport.Routes(public, w.store, w.store, outbox.NewLog(p.Pool, schema), w.wake)
	}
	p.Open(public, internal)
	return nil
}

// belong makes sure that the schema belongs to the system of the clusters service. The first time it waits for that service; later it
// asks beside the work, and a difference ends the process.
func (w *parts) belong(ctx context.Context) error {
	tell := func(ctx context.Context) (string, error) {
		return installation.Wait(ctx, w.own.clustersURL, w.process.Settings.InternalToken, w.process.Log)
	}
	known, err := w.store.Installation(ctx)
	if err != nil {
		return err
	}
	if known == "" {
		if known, err = tell(ctx); err != nil {
			return err
		}
		if err := w.store.Remember(ctx, known); err != nil {
			return err
		}
	}
	w.installation = known
	w.process.Go("installation", func(ctx context.Context) error {
		told, err := tell(ctx)
		if err != nil {
			return err
		}
		return installation.Check(schema, known, told)
	})
	return nil
}

// wake makes due clusters be looked for at once, where this process dispatches; elsewhere a poll finds them.
func (w *parts) wake() {
	if w.dispatcher != nil {
		w.dispatcher.Wake()
	}
}

func (w *parts) dispatch(context.Context) (err error) {
	queue := w.process.AMQP("").Queue(work.Queue)
	w.dispatcher, err = dispatch.New(dispatch.Config{
		Store: w.store, Queue: queue, Log: w.process.Log,
		Publisher: w.process.StartPublisher("dispatch", dispatch.Declare(queue)),
	})
	if err != nil {
		return err
	}
	w.process.Go("dispatch", w.dispatcher.Run)
	return nil
}

// plan starts the planner, the fetcher of sealed values, which follows it, and the aggregator of what runs leave behind.
func (w *parts) plan(ctx context.Context) (err error) {
	p := w.process
	w.fetcher = credential.New(credential.Config{
		Store: w.store, Clusters: w.clusters, SyncSets: w.syncsets, Keys: p.Settings.Keys, Installation: w.installation, Log: p.Log,
		Wake: w.wake, FanOut: func() { w.planner.FanOut() },
	})
	if err := w.fetcher.CheckKeys(ctx); err != nil {
		return err
	}
	w.planner, err = plan.New(plan.Config{
		Store: w.store, Clusters: w.clusters, SyncSets: w.syncsets, AMQP: p.ConsumerAMQP("plan"), Log: p.Log,
		Wake: w.wake, Fetch: w.fetcher.Fetch,
	})
	if err != nil {
		return err
	}
	aggregator, err := aggregate.New(aggregate.Config{Store: w.store, Log: p.Log})
	if err != nil {
		return err
	}
	p.Go("aggregate", aggregator.Run)
	p.Go("credentials", w.fetcher.Run)
	p.Go("plan", w.planner.Run)
	p.Go("cleanup", cleanup.Cleaner{Store: w.store, Clusters: w.clusters, Log: p.Log}.Run)
	p.Go("doorbell", w.planner.Listen)
	return nil
}

func (w *parts) work(context.Context) error {
	p := w.process
	targets, err := kube.New(kube.Config{Policy: w.own.targets, Installation: w.installation, UserAgent: "syncsets-reconciler/" + version})
	if err != nil {
		return err
	}
	pool, err := work.New(work.Config{
		Store: w.store, Targets: targets, Unseal: w.unseal, UnsealSecret: w.unsealSecret, Digest: w.digest,
		AMQP: p.ConsumerAMQP("work"), Holder: holder(), Slots: w.own.workers,
		Installation: w.installation, SharedTargets: w.own.sharedTargets, Reapply: w.own.reapply, Verify: w.own.verify, Log: p.Log, Wake: w.wake,
	})
	if err != nil {
		return err
	}
	p.Go("work", func(ctx context.Context) error {
		defer targets.Close()
		return pool.Run(ctx)
	})
	return nil
}

func (w *parts) unseal(clusterUID string, c work.Credential) (string, error) {
	text, err := w.process.Settings.Keys.Open(credential.Ref(w.installation, clusterUID), c.KeyID, c.Sealed)
	return string(text), err
}

func (w *parts) unsealSecret(s work.Secret) ([]byte, error) {
	return w.process.Settings.Keys.Open(credential.SecretRef(w.installation, s.UID), s.KeyID, s.Sealed)
}

// digest is a hash that tells nothing about what it is of; the same text has another one after the newest of SEAL_KEYS has changed.
func (w *parts) digest(text []byte) []byte {
	ref := seal.Ref{Installation: w.installation, Schema: schema, Table: "inventory", Field: "hash"}
	return []byte(w.process.Settings.Keys.Digest(ref, text))
}

// holder names this process among all others, also those on a machine of the same name.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%s", host, uuid.NewString()[:8])
}
