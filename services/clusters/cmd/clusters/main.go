// Command clusters is the service that registers the targets.
//
//	callers -> public listener   -> transport -> cluster.Service -> postgres.Store -> document, history, sealed kubeconfig, outbox
//	others  -> internal listener -> transport ------------------------^                                          |
//	                                                                              RabbitMQ <- relay <- event log <-+
package main

import (
	"context"
	"os"

	// Roots for TLS where the system has none, as in an image from scratch.
	_ "golang.org/x/crypto/x509roots/fallback"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/service"
	"github.com/syncsets/syncsets/services/clusters/internal/cluster"
	"github.com/syncsets/syncsets/services/clusters/internal/postgres"
	"github.com/syncsets/syncsets/services/clusters/internal/transport"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(service.Main(service.Spec{
		Name: "clusters", Summary: "registers clusters and keeps their credentials", Schema: postgres.Schema, Version: version,
		Listen: "127.0.0.1:7071", Admin: "127.0.0.1:7171", Internal: "127.0.0.1:7271",
		Seals: true, Wire: wire,
	}, service.Environment{Args: os.Args[1:], Lookup: os.LookupEnv, Stdout: os.Stdout, Stderr: os.Stderr}))
}

func wire(ctx context.Context, p *service.Process) error {
	relay := p.StartRelay(v1.ResourceClusters)
	store, err := postgres.Open(ctx, p.Pool, p.Settings.Keys, relay.Wake)
	if err != nil {
		return err
	}
	public, internal := p.NewAPI(), p.NewInternalAPI()
	clusters := cluster.NewService(store, store)
	transport.Routes(public, clusters, store.Feed)
	transport.InternalRoutes(internal, store, clusters.Cleaned)
	p.Open(public, internal)
	return nil
}
