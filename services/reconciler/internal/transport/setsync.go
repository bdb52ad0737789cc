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

// setRef names a set as its path does. A uid says nothing of a namespace: then rights on all of them are needed.
type setRef struct {
	resource string
	key      request.Key
	uid      string
}

// Scope is the namespace that access is decided in.
func (r setRef) Scope() string { return r.key.Namespace }

// answer is a person's word about what is held of a set.
type answer struct {
	setRef
	hash string
}

func (p setPath) handle(a *rest.API, reader Reader, commands Commands) {
	get := func(ctx context.Context, r setRef) (v1.SetSync, error) {
		if r.resource == "" {
			return reader.GetSetSyncByUID(ctx, r.uid)
		}
		return reader.GetSetSync(ctx, r.resource, r.key)
	}
	rest.Handle(a, on("Get"+p.operation, http.MethodGet, p.path, auth.Read, v1.ResourceSetSyncs), get, p.ref)
	for _, c := range []struct {
		verb, path string
		do         func(ctx context.Context, setUID, hash, actor string) error
	}{
		{verb: "Confirm", path: "/confirm", do: commands.Confirm},
		{verb: "Reject", path: "/reject", do: commands.Reject},
	} {
		rest.Handle(a, on(c.verb+p.operation, http.MethodPost, p.path+c.path, auth.Confirm, v1.ResourceSetSyncs),
			func(ctx context.Context, said answer) (v1.SetSync, error) {
				found, err := get(ctx, said.setRef)
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
