package transport

import (
	"context"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/rest"
)

// setPath is one of the ways to name a set: by its resource and name, or by its uid.
type setPath struct {
	operation, path, resource string
}

var paths = []setPath{
	{operation: "SyncSetSync", path: setSyncs + "/syncsets/{namespace}/{name}", resource: v1.ResourceSyncSets},
	{operation: "SelectorSyncSetSync", path: setSyncs + "/selectorsyncsets/{name}", resource: v1.ResourceSelectorSyncSets},
	{operation: "SetSyncByUID", path: setSyncs + "/uid/{uid}"},
}

// setRef names a set as its path does. A uid says nothing of a namespace: access is decided when the set is found.
type setRef struct {
	resource string
	key      request.Key
	uid      string
}

// Scope is the namespace that access is decided in.
func (r setRef) Scope() string {
	if r.resource == "" {
		return auth.Somewhere
	}
	return r.key.Namespace
}

// answer is a person's word about what is held of a set.
type answer struct {
	setRef
	hash string
}

func (p setPath) handle(a *rest.API, reader Reader, commands Commands) {
	get := func(ctx context.Context, r setRef, verb auth.Verb) (v1.SetSync, error) {
		if r.resource == "" {
			return byUID(ctx, a, reader, r.uid, verb)
		}
		return reader.GetSetSync(ctx, r.resource, r.key)
	}
	rest.Handle(a, on("Get"+p.operation, http.MethodGet, p.path, auth.Read, v1.ResourceSetSyncs),
		func(ctx context.Context, r setRef) (v1.SetSync, error) { return get(ctx, r, auth.Read) }, p.ref)
	for _, c := range []struct {
		verb, path string
		do         func(ctx context.Context, setUID, hash, actor string) error
	}{
		{verb: "Confirm", path: "/confirm", do: commands.Confirm},
		{verb: "Reject", path: "/reject", do: commands.Reject},
	} {
		rest.Handle(a, on(c.verb+p.operation, http.MethodPost, p.path+c.path, auth.Confirm, v1.ResourceSetSyncs),
			func(ctx context.Context, said answer) (v1.SetSync, error) {
				found, err := get(ctx, said.setRef, auth.Confirm)
				if err != nil {
					return v1.SetSync{}, err
				}
				if err := c.do(ctx, found.UID, said.hash, auth.From(ctx).Name); err != nil {
					return v1.SetSync{}, err
				}
				return reader.GetSetSyncByUID(ctx, found.UID)
			}, p.answer)
	}
}

// byUID finds a set for whoever may do verb in its namespace; the refusal does not say which that is.
func byUID(ctx context.Context, a *rest.API, reader Reader, uid string, verb auth.Verb) (v1.SetSync, error) {
	found, err := reader.GetSetSyncByUID(ctx, uid)
	if err != nil {
		return found, err
	}
	if a.Authorize(ctx, verb, v1.ResourceSetSyncs, found.Namespace) != nil {
		return v1.SetSync{}, a.Authorize(ctx, verb, v1.ResourceSetSyncs, "")
	}
	return found, nil
}

func (p setPath) ref(r *http.Request) (setRef, error) {
	key, err := rest.KeyOf(r)
	return setRef{resource: p.resource, key: key, uid: mux.Vars(r)["uid"]}, err
}

func (p setPath) answer(r *http.Request) (answer, error) {
	ref, err := p.ref(r)
	if err != nil {
		return answer{}, err
	}
	body, err := rest.Body[v1.HashRequest](r)
	return answer{setRef: ref, hash: body.Hash}, err
}
