// Command syncsets is the service that keeps syncsets, selectorsyncsets and the secrets that they copy.
//
//	API ----> syncset.Service (one per kind) ----> Postgres: documents, history, outbox
//	     ---> secret.Service ------------------------^  and sealed values
//	                                                  |
//	feeds <---- event log <------------------------ relay ----> RabbitMQ: exchange syncsets
package main

import (
	"context"
	"os"

	// Roots for TLS where the system has none, as in an image from scratch.
	_ "golang.org/x/crypto/x509roots/fallback"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/config"
	"github.com/syncsets/syncsets/libs/installation"
	"github.com/syncsets/syncsets/libs/outbox"
	pg "github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/service"
	"github.com/syncsets/syncsets/services/syncsets/internal/intake"
	"github.com/syncsets/syncsets/services/syncsets/internal/postgres"
	"github.com/syncsets/syncsets/services/syncsets/internal/secret"
	"github.com/syncsets/syncsets/services/syncsets/internal/syncset"
	"github.com/syncsets/syncsets/services/syncsets/internal/transport"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(service.Main(spec(), service.Environment{Args: os.Args[1:], Lookup: os.LookupEnv, Stdout: os.Stdout, Stderr: os.Stderr}))
}

// settings are the service's own.
type settings struct {
	clustersURL string
	rules       syncset.Rules
}

func spec() service.Spec {
	var own settings
	return service.Spec{
		Name: "syncsets", Summary: "keeps syncsets, selectorsyncsets and secrets", Schema: postgres.Schema, Version: version,
		Listen: "127.0.0.1:7072", Admin: "127.0.0.1:7172", Internal: "127.0.0.1:7272",
		Seals: true,
		Settings: func(s *config.Set) {
			s.URL(&own.clustersURL, "CLUSTERS_INTERNAL_URL", "", "the internal listener of the clusters service", config.Required())
			s.Bool(&own.rules.AllowInlineSecrets, "ALLOW_INLINE_SECRETS", false, "accept v1 Secrets with values, readable to whoever reads the set")
		},
		Wire: func(ctx context.Context, p *service.Process) error { return wire(ctx, p, own) },
	}
}

// wire builds the service and opens its listeners.
func wire(ctx context.Context, p *service.Process, own settings) error {
	relay := p.StartRelay(v1.ResourceSyncSets, v1.ResourceSelectorSyncSets, v1.ResourceSecrets)
	system, err := belong(ctx, p, own)
	if err != nil {
		return err
	}
	secrets := postgres.NewSecretStore(p.Pool, p.Settings.Keys, system, relay.Wake)
	if err := secrets.CheckKeys(ctx); err != nil {
		return err
	}
	syncSets := syncset.New(syncset.SyncSets(),
		postgres.NewStore[v1.SyncSet](p.Pool, v1.ResourceSyncSets), own.rules, relay.Wake)
	selectorSyncSets := syncset.New(syncset.SelectorSyncSets(),
		postgres.NewStore[v1.SelectorSyncSet](p.Pool, v1.ResourceSelectorSyncSets), own.rules, relay.Wake)
	log := outbox.NewLog(p.Pool, postgres.Schema)

	public, internal := p.NewAPI(), p.NewInternalAPI()
	secretService := secret.NewService(secrets, secrets)
	together := func(ctx context.Context, f func(context.Context) error) error { return pg.Together(ctx, p.Pool, f) }
	imports := intake.New(syncSets, selectorSyncSets, secretService, together, relay.Wake)
	transport.Routes(public, syncSets, selectorSyncSets, secretService, imports, log)
	transport.Internal(internal, syncset.NewDirectory(syncSets.List, selectorSyncSets.List, secrets.List), secrets.Data, log)
	p.Open(public, internal)
	return nil
}

// belong returns the id of the system that the schema belongs to, and makes sure that it is the one of the clusters service. The first time
// it waits for that service; later it asks beside the work, so that one service's outage does not keep the other from starting, and a
// difference ends the process.
func belong(ctx context.Context, p *service.Process, own settings) (string, error) {
	known, err := postgres.Installation(ctx, p.Pool)
	if err != nil {
		return "", err
	}
	tell := func(ctx context.Context) (string, error) {
		return installation.Wait(ctx, own.clustersURL, p.Settings.InternalToken, p.Log)
	}
	if known == "" {
		told, err := tell(ctx)
		if err != nil {
			return "", err
		}
		return told, postgres.Remember(ctx, p.Pool, told)
	}
	p.Go("installation", func(ctx context.Context) error {
		told, err := tell(ctx)
		if err != nil {
			return err
		}
		return installation.Check(postgres.Schema, known, told)
	})
	return known, nil
}
