// Command reconciler brings clusters in step with their sets.
//
//	clusters, syncsets --doorbell--> plan --marks--> work rows --due--> dispatch --> RabbitMQ: reconciler.apply --> work --> targets
//	        |                          ^                                                                              |
//	        +---------- feeds ---------+                                     status, inventory <----------------------+
//	        +--- kubeconfigs, secrets --> credential --> sealed                     |
//	callers <---------------------------- transport <-------------------------------+
//
// A process takes any of the roles plan, dispatch, work and api; any number of processes may share each.
package main

import (
	"context"
	"os"

	// Roots for TLS where the system has none, as in an image from scratch.
	_ "golang.org/x/crypto/x509roots/fallback"

	"github.com/syncsets/syncsets/libs/service"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(service.Main(spec(), service.Environment{Args: os.Args[1:], Lookup: os.LookupEnv, Stdout: os.Stdout, Stderr: os.Stderr}))
}

func spec() service.Spec {
	var own settings
	return service.Spec{
		Name: "reconciler", Summary: "brings clusters in step with their sets", Schema: schema, Version: version,
		Listen: "127.0.0.1:7073", Admin: "127.0.0.1:7173", Internal: "127.0.0.1:7273",
		Seals: true, MaxConns: connections, Settings: own.declare,
		Wire: func(ctx context.Context, p *service.Process) error { return wire(ctx, p, own) },
	}
}
