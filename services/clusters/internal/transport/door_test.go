package transport_test

import (
	"log/slog"
	"testing"

	"github.com/syncsets/syncsets/k8s"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/rest"
	"github.com/syncsets/syncsets/libs/rest/resttest"
	"github.com/syncsets/syncsets/services/clusters/internal/cluster"
	"github.com/syncsets/syncsets/services/clusters/internal/postgres"
	"github.com/syncsets/syncsets/services/clusters/internal/transport"
)

// The front door and the Ingress send requests by k8s/routes.yaml.
func TestTheDoorsRoutesAreTheRouters(t *testing.T) {
	t.Parallel()
	api := rest.NewAPI(rest.Options{Service: "clusters", Auth: auth.NewNone(), Log: slog.New(slog.DiscardHandler)})
	transport.Routes(api, cluster.NewService(nil, nil), nil)
	routes, err := k8s.LoadRoutes()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, route := range api.Routes() {
		paths = append(paths, route.Path)
	}
	for _, difference := range routes.Differences("clusters", paths) {
		t.Error(difference)
	}
}

func TestNobodyGetsInWithoutAToken(t *testing.T) {
	t.Parallel()
	resttest.NobodyGetsIn(t, func(api *rest.API) { transport.Routes(api, cluster.NewService(nil, nil), nil) })
	resttest.NobodyGetsInInside(t, func(api *rest.API) { transport.InternalRoutes(api, &postgres.Store{}, nil) })
}
