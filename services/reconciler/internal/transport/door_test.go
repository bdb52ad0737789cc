package transport_test

import (
	"log/slog"
	"testing"

	"github.com/syncsets/syncsets/k8s"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/rest"
	"github.com/syncsets/syncsets/libs/rest/resttest"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/transport"
)

// The front door and the Ingress send requests by k8s/routes.yaml.
func TestTheDoorsRoutesAreTheRouters(t *testing.T) {
	t.Parallel()
	api := rest.NewAPI(rest.Options{Service: "reconciler", Auth: auth.NewNone(), Log: slog.New(slog.DiscardHandler)})
	store := postgres.New(nil)
	transport.Routes(api, store, store, nil, nil)
	routes, err := k8s.LoadRoutes()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, route := range api.Routes() {
		paths = append(paths, route.Path)
	}
	for _, difference := range routes.Differences("reconciler", paths) {
		t.Error(difference)
	}
}

func TestNobodyGetsInWithoutAToken(t *testing.T) {
	t.Parallel()
	store := postgres.New(nil)
	resttest.NobodyGetsIn(t, func(api *rest.API) { transport.Routes(api, store, store, nil, nil) })
}
