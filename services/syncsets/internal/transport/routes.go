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
	"github.com/syncsets/syncsets/services/syncsets/internal/intake"
	"github.com/syncsets/syncsets/services/syncsets/internal/secret"
	"github.com/syncsets/syncsets/services/syncsets/internal/syncset"
)

type (
	// SyncSets is the service behind the routes of namespaced sets.
	SyncSets = syncset.Service[v1.SyncSet, *v1.SyncSet]
	// SelectorSyncSets is the service behind the routes of sets with a selector.
	SelectorSyncSets = syncset.Service[v1.SelectorSyncSet, *v1.SelectorSyncSet]
)

// Routes is the whole public surface of the service.
func Routes(
	a *rest.API, syncSets *SyncSets, selectorSyncSets *SelectorSyncSets, secrets *secret.Service, imports *intake.Service, log *outbox.Log,
) {
	documents(a, syncSets, v1.KindSyncSet, v1.ResourceSyncSets, "/{namespace}/{name}")
	documents(a, selectorSyncSets, v1.KindSelectorSyncSet, v1.ResourceSelectorSyncSets, "/{name}")
	secretDocuments(a, secrets)
	importRoute(a, imports)
	for _, of := range []struct{ kind, resource string }{
		{v1.KindSyncSet, v1.ResourceSyncSets},
		{v1.KindSelectorSyncSet, v1.ResourceSelectorSyncSets},
		{v1.KindSecret, v1.ResourceSecrets},
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

// secretDocuments are the routes of secrets. Writes that carry values need the verb secrets beside write.
func secretDocuments(a *rest.API, s *secret.Service) {
	const collection, item = "/v1/" + v1.ResourceSecrets, "/v1/" + v1.ResourceSecrets + "/{namespace}/{name}"
	route := func(operation, method, path string, verb auth.Verb, query ...string) rest.Route {
		return rest.Route{Operation: operation, Method: method, Path: path, Verb: verb, Resource: v1.ResourceSecrets, Query: query}
	}
	rest.Handle(a, route("CreateSecret", http.MethodPost, collection, auth.Write), s.Create, rest.CreateOf(secret.Validate))
	rest.Handle(a, route("ListSecrets", http.MethodGet, collection, auth.Read, rest.ListParameters...), s.List, rest.ListOf)
	rest.Handle(a, route("GetSecret", http.MethodGet, item, auth.Read), s.Get, rest.KeyOf)
	rest.Handle(a, route("PutSecret", http.MethodPut, item, auth.Write), s.Put, rest.PutOf[v1.Secret](secret.Validate))
	remove := route("DeleteSecret", http.MethodDelete, item, auth.Write)
	remove.Status = http.StatusNoContent
	rest.Handle(a, remove, s.Delete, rest.DeleteOf)
}

// Values opens the values of the secret with a uid. It returns errs.NotFound when there is none.
type Values func(ctx context.Context, uid string) (secret.Data, error)

// Internal is what the other services may ask: the whole event log, all sets and secrets at one position of it, and the values of a secret.
// Only what holds the internal token may reach it.
func Internal(a *rest.API, directory *syncset.Directory, values Values, log *outbox.Log) {
	rest.Handle(a, rest.Route{
		Operation: "ReadEvents", Method: http.MethodGet, Path: "/internal/v1/events", Verb: auth.Read, Resource: "events",
		Query: rest.FeedParameters,
	}, feed(log, ""), rest.FeedOf)
	rest.Handle(a, rest.Route{
		Operation: "ListSets", Method: http.MethodGet, Path: "/internal/v1/sets", Verb: auth.Read, Resource: "sets",
		Query: []string{"limit", "continue"},
	}, document.Snapshot(directory.List), rest.ListOf)
	rest.Handle(a, rest.Route{
		Operation: "GetSecretData", Method: http.MethodGet, Path: "/internal/v1/secrets/{uid}/data", Verb: auth.Secrets, Resource: v1.ResourceSecrets,
	}, rest.Op[string, secret.Data](values), rest.PathValue("uid"))
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
