package transport

import (
	"context"
	"net/http"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/document"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/rest"
	"github.com/syncsets/syncsets/services/clusters/internal/cluster"
)

const internal = "/internal/v1"

// Installation names this system.
type Installation struct {
	ID string `json:"id"`
}

// Source is what the other services may read.
type Source interface {
	// Installation is the id of this system.
	Installation() string
	List(ctx context.Context, q request.List) (v1.List[v1.Cluster], error)
	// Feed returns errs.Gone when the position cannot be continued from.
	Feed(ctx context.Context, resource string, q request.Feed) (outbox.Page, error)
	// Kubeconfig returns errs.NotFound when no cluster has this uid.
	Kubeconfig(ctx context.Context, uid string) (cluster.Credential, error)
}

// Cleaned removes the cluster with this uid, of which nothing is left on its target.
type Cleaned func(ctx context.Context, uid string) (struct{}, error)

// InternalRoutes is the whole surface for the other services. Only what holds the internal token may reach it: kubeconfigs are
// readable here.
func InternalRoutes(a *rest.API, source Source, cleaned Cleaned) {
	rest.Handle(a, on("GetInstallation", http.MethodGet, internal+"/installation", auth.Read),
		func(context.Context, rest.None) (Installation, error) {
			return Installation{ID: source.Installation()}, nil
		}, rest.Nothing)
	rest.Handle(a, with(on("AllEvents", http.MethodGet, internal+"/events", auth.Read), rest.FeedParameters), of(source.Feed, ""), rest.FeedOf)
	rest.Handle(a, with(on("AllClusters", http.MethodGet, internal+"/clusters", auth.Read), []string{"limit", "continue"}),
		document.Snapshot(source.List), rest.ListOf)
	rest.Handle(a, on("GetKubeconfig", http.MethodGet, internal+"/clusters/{uid}/kubeconfig", auth.Secrets), source.Kubeconfig,
		rest.PathValue("uid"))
	rest.Handle(a, status(on("ClusterCleaned", http.MethodPost, internal+"/clusters/{uid}/cleaned", auth.Write), http.StatusNoContent),
		rest.Op[string, struct{}](cleaned), rest.PathValue("uid"))
}
