package transport_test

import (
	"log/slog"
	"testing"

	"github.com/syncsets/syncsets/k8s"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/rest"
	"github.com/syncsets/syncsets/libs/rest/resttest"
	"github.com/syncsets/syncsets/services/syncsets/internal/intake"
	"github.com/syncsets/syncsets/services/syncsets/internal/postgres"
	"github.com/syncsets/syncsets/services/syncsets/internal/secret"
	"github.com/syncsets/syncsets/services/syncsets/internal/syncset"
	"github.com/syncsets/syncsets/services/syncsets/internal/transport"
)

// idle are services that answer nothing.
func idle() (*transport.SyncSets, *transport.SelectorSyncSets) {
	return syncset.New(syncset.SyncSets(), postgres.NewStore[v1.SyncSet](nil, v1.ResourceSyncSets), syncset.Rules{}, nil),
		syncset.New(syncset.SelectorSyncSets(),
			postgres.NewStore[v1.SelectorSyncSet](nil, v1.ResourceSelectorSyncSets), syncset.Rules{}, nil)
}

func TestNobodyGetsInWithoutAToken(t *testing.T) {
	t.Parallel()
	syncSets, selectorSyncSets := idle()
	resttest.NobodyGetsIn(t, func(api *rest.API) {
		transport.Routes(api, syncSets, selectorSyncSets, secret.NewService(nil, nil), &intake.Service{}, nil)
	})
	resttest.NobodyGetsInInside(t, func(api *rest.API) {
		transport.Internal(api, syncset.NewDirectory(syncSets.List, selectorSyncSets.List, nil), nil, nil)
	})
}

// The front door and the Ingress send requests by k8s/routes.yaml.
func TestTheDoorsRoutesAreTheRouters(t *testing.T) {
	t.Parallel()
	api := rest.NewAPI(rest.Options{Service: "syncsets", Auth: auth.NewNone(), Log: slog.New(slog.DiscardHandler)})
	syncSets, selectorSyncSets := idle()
	transport.Routes(api, syncSets, selectorSyncSets, secret.NewService(nil, nil), nil, nil)
	routes, err := k8s.LoadRoutes()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, route := range api.Routes() {
		paths = append(paths, route.Path)
	}
	for _, difference := range routes.Differences("syncsets", paths) {
		t.Error(difference)
	}
}
