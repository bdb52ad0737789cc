// Package transport is the HTTP surface of the clusters service: Routes for everybody, InternalRoutes for the other services.
package transport

import (
	"context"
	"net/http"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/rest"
	"github.com/syncsets/syncsets/services/clusters/internal/cluster"
)

const (
	collection = "/v1/clusters"
	item       = collection + "/{namespace}/{name}"
)

// Feed reads a page of the event log, of one resource or, where it is empty, of all.
type Feed func(ctx context.Context, resource string, q request.Feed) (outbox.Page, error)

// Routes is the whole public HTTP surface of the service.
func Routes(a *rest.API, svc *cluster.Service, feed Feed) {
	create, put := rest.CreateOf(cluster.ValidateNew), rest.PutOf[v1.Cluster](cluster.Validate)
	rest.Handle(a, on("CreateCluster", http.MethodPost, collection, auth.Write), located(svc.Create), create)
	rest.Handle(a, with(on("ListClusters", http.MethodGet, collection, auth.Read), rest.ListParameters), svc.List, rest.ListOf)
	rest.Handle(a, on("GetCluster", http.MethodGet, item, auth.Read), svc.Get, rest.KeyOf)
	rest.Handle(a, with(on("PutCluster", http.MethodPut, item, auth.Write), cluster.PutParameters), located(svc.Put), put)
	rest.Handle(a, with(status(on("DeleteCluster", http.MethodDelete, item, auth.Write), http.StatusNoContent), cluster.DeleteParameters),
		svc.Delete, rest.DeleteOf)
	rest.Handle(a, with(on("ClusterEvents", http.MethodGet, "/v1/events/clusters", auth.Read), rest.FeedParameters),
		of(feed, v1.ResourceClusters), rest.FeedOf)
}

func on(operation, method, path string, verb auth.Verb) rest.Route {
	return rest.Route{Operation: operation, Method: method, Path: path, Verb: verb, Resource: v1.ResourceClusters}
}

func with(r rest.Route, parameters []string) rest.Route {
	r.Query = parameters
	return r
}

func status(r rest.Route, code int) rest.Route {
	r.Status = code
	return r
}

// located adds the path of the written document.
func located[Req any](op rest.Op[Req, rest.Result[v1.Cluster]]) rest.Op[Req, rest.Result[v1.Cluster]] {
	return func(ctx context.Context, req Req) (rest.Result[v1.Cluster], error) {
		result, err := op(ctx, req)
		result.Location = collection + "/" + result.Document.Key()
		return result, err
	}
}

func of(feed Feed, resource string) rest.Op[rest.FeedQuery, outbox.Page] {
	return func(ctx context.Context, q rest.FeedQuery) (outbox.Page, error) { return feed(ctx, resource, q) }
}
