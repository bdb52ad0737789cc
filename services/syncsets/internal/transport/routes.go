// Package transport is the HTTP surface of the syncsets service: the public API and what only the other services may ask.
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
	"github.com/syncsets/syncsets/services/syncsets/internal/syncset"
)

type (
	// SyncSets is the service behind the routes of namespaced sets.
	SyncSets = syncset.Service[v1.SyncSet, *v1.SyncSet]
	// SelectorSyncSets is the service behind the routes of sets with a selector.
	SelectorSyncSets = syncset.Service[v1.SelectorSyncSet, *v1.SelectorSyncSet]
)

// Routes is the whole public surface of the service.
func Routes(a *rest.API, syncSets *SyncSets, selectorSyncSets *SelectorSyncSets, log *outbox.Log) {
	documents(a, syncSets, v1.KindSyncSet, v1.ResourceSyncSets, "/{namespace}/{name}")
	documents(a, selectorSyncSets, v1.KindSelectorSyncSet, v1.ResourceSelectorSyncSets, "/{name}")
	for _, of := range []struct{ kind, resource string }{
		{v1.KindSyncSet, v1.ResourceSyncSets}, {v1.KindSelectorSyncSet, v1.ResourceSelectorSyncSets},
	} {
		rest.Handle(a, rest.Route{
			Operation: "Read" + of.kind + "Events", Method: http.MethodGet, Path: "/v1/events/" + of.resource,
			Verb: auth.Read, Resource: of.resource, Query: rest.FeedParameters,
		}, feed(log, of.resource), rest.FeedOf)
	}
}

// documents are the routes of one kind of set.
func documents[T any, P syncset.Pointer[T]](a *rest.API, s *syncset.Service[T, P], kind, resource, key string) {
	collection := "/v1/" + resource
	route := func(operation, method, path string, verb auth.Verb, query ...string) rest.Route {
		return rest.Route{Operation: operation, Method: method, Path: path, Verb: verb, Resource: resource, Query: query}
	}
	rest.Handle(a, route("Create"+kind, http.MethodPost, collection, auth.Write), s.Create, rest.CreateOf(s.Validate))
	rest.Handle(a, route("List"+kind+"s", http.MethodGet, collection, auth.Read, rest.ListParameters...), s.List, rest.ListOf)
	rest.Handle(a, route("Get"+kind, http.MethodGet, collection+key, auth.Read), s.Get, rest.KeyOf)
	rest.Handle(a, route("Put"+kind, http.MethodPut, collection+key, auth.Write, syncset.PutParameters...), s.Put, rest.PutOf[T, P](s.Validate))
	remove := route("Delete"+kind, http.MethodDelete, collection+key, auth.Write, syncset.DeleteParameters...)
	remove.Status = http.StatusNoContent
	rest.Handle(a, remove, s.Delete, rest.DeleteOf)
}

// Internal is what the other services may ask: the whole event log, and all sets of both kinds at one position of it.
func Internal(a *rest.API, directory *syncset.Directory, log *outbox.Log) {
	rest.Handle(a, rest.Route{
		Operation: "ReadEvents", Method: http.MethodGet, Path: "/internal/v1/events", Verb: auth.Read, Resource: "events",
		Query: rest.FeedParameters,
	}, feed(log, ""), rest.FeedOf)
	rest.Handle(a, rest.Route{
		Operation: "ListSets", Method: http.MethodGet, Path: "/internal/v1/sets", Verb: auth.Read, Resource: "sets",
		Query: []string{"limit", "continue"},
	}, document.Snapshot(directory.List), rest.ListOf)
}

// feed reads the log of one resource, of all where resource is empty.
func feed(log *outbox.Log, resource string) rest.Op[rest.FeedQuery, outbox.Page] {
	return func(ctx context.Context, q request.Feed) (outbox.Page, error) {
		since, err := outbox.ParseRevision(q.Since)
		if err != nil {
			return outbox.Page{}, err
		}
		return log.Read(ctx, resource, since, q.Limit)
	}
}
