// Package transport is the HTTP surface of the reconciler: what is known of clusters and sets, and what a person may say about them.
package transport

import (
	"context"
	"net/http"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/rest"
)

// Reader is what the reconciler knows. A cluster or set that it does not know is errs.NotFound.
type Reader interface {
	GetClusterSync(ctx context.Context, key request.Key) (v1.ClusterSync, error)
	ListClusterSyncs(ctx context.Context, q request.List) (v1.List[v1.ClusterSync], error)
	// GetSetSync takes the resource and name of a set that exists; GetSetSyncByUID also finds one that is gone but has left something.
	GetSetSync(ctx context.Context, resource string, key request.Key) (v1.SetSync, error)
	GetSetSyncByUID(ctx context.Context, uid string) (v1.SetSync, error)
	ListSetSyncs(ctx context.Context, q request.List) (v1.List[v1.SetSync], error)
}

// Commands are what a person may say. Each takes effect in the store before it returns.
type Commands interface {
	// SyncNow makes a cluster due at once, with everything applied again.
	SyncNow(ctx context.Context, key request.Key) error
	// AcceptIdentity returns errs.Conflict unless the cluster's target has changed.
	AcceptIdentity(ctx context.Context, key request.Key) error
	// Confirm and Reject answer what is held of a set. They return errs.Conflict, naming the present hash, for another one.
	Confirm(ctx context.Context, setUID, hash, actor string) error
	Reject(ctx context.Context, setUID, hash, actor string) error
}

// waking are commands after which due clusters are looked for at once.
type waking struct {
	Commands
	wake func()
}

func (w waking) after(err error) error {
	if err == nil {
		w.wake()
	}
	return err
}

func (w waking) SyncNow(ctx context.Context, key request.Key) error {
	return w.after(w.Commands.SyncNow(ctx, key))
}

func (w waking) AcceptIdentity(ctx context.Context, key request.Key) error {
	return w.after(w.Commands.AcceptIdentity(ctx, key))
}

func (w waking) Confirm(ctx context.Context, setUID, hash, actor string) error {
	return w.after(w.Commands.Confirm(ctx, setUID, hash, actor))
}

func (w waking) Reject(ctx context.Context, setUID, hash, actor string) error {
	return w.after(w.Commands.Reject(ctx, setUID, hash, actor))
}

const (
	clusterSyncs = "/v1/clustersyncs"
	clusterSync  = clusterSyncs + "/{namespace}/{name}"
	setSyncs     = "/v1/setsyncs"
)

// Routes is the whole public surface of the service. wake is called after each command; it must not block.
func Routes(a *rest.API, reader Reader, commands Commands, log *outbox.Log, wake func()) {
	commands = waking{Commands: commands, wake: wake}
	rest.Handle(a, on("ListClusterSyncs", http.MethodGet, clusterSyncs, auth.Read, v1.ResourceClusterSyncs, clusterSyncParameters...),
		reader.ListClusterSyncs, clusterSyncList)
	rest.Handle(a, on("GetClusterSync", http.MethodGet, clusterSync, auth.Read, v1.ResourceClusterSyncs), reader.GetClusterSync, rest.KeyOf)
	rest.Handle(a, accepted(on("SyncCluster", http.MethodPost, clusterSync+"/sync", auth.Write, v1.ResourceClusterSyncs)),
		then(commands.SyncNow, reader.GetClusterSync), rest.KeyOf)
	rest.Handle(a, accepted(on("AcceptIdentity", http.MethodPost, clusterSync+"/accept-identity", auth.Confirm, v1.ResourceClusterSyncs)),
		then(commands.AcceptIdentity, reader.GetClusterSync), rest.KeyOf)

	rest.Handle(a, on("ListSetSyncs", http.MethodGet, setSyncs, auth.Read, v1.ResourceSetSyncs, rest.ListParameters...),
		reader.ListSetSyncs, rest.ListOf)
	for _, p := range paths {
		p.handle(a, reader, commands)
	}
	for _, resource := range []string{v1.ResourceClusterSyncs, v1.ResourceSetSyncs} {
		rest.Handle(a, on("Read"+operations[resource]+"Events", http.MethodGet, "/v1/events/"+resource, auth.Read, resource,
			rest.FeedParameters...), feed(log, resource), rest.FeedOf)
	}
}

var operations = map[string]string{v1.ResourceClusterSyncs: "ClusterSync", v1.ResourceSetSyncs: "SetSync"}

func on(operation, method, path string, verb auth.Verb, resource string, query ...string) rest.Route {
	return rest.Route{Operation: operation, Method: method, Path: path, Verb: verb, Resource: resource, Query: query}
}

func accepted(r rest.Route) rest.Route {
	r.Status = http.StatusAccepted
	return r
}

// then does something to a cluster and answers with what is known of it afterwards.
func then(do func(context.Context, request.Key) error, get rest.Op[request.Key, v1.ClusterSync]) rest.Op[request.Key, v1.ClusterSync] {
	return func(ctx context.Context, key request.Key) (v1.ClusterSync, error) {
		if err := do(ctx, key); err != nil {
			return v1.ClusterSync{}, err
		}
		return get(ctx, key)
	}
}

func feed(log *outbox.Log, resource string) rest.Op[rest.FeedQuery, outbox.Page] {
	return func(ctx context.Context, q rest.FeedQuery) (outbox.Page, error) {
		since, err := outbox.ParseRevision(q.Since)
		if err != nil {
			return outbox.Page{}, err
		}
		return log.Read(ctx, resource, since, q.Limit)
	}
}
