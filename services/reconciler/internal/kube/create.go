package kube

import (
	"context"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// create makes the object if there is none by its name; what is there is only looked at.
func (c *Conn) create(ctx context.Context, s decide.Step) (work.Applied, error) {
	absent := s.Absent
	for attempt := 1; ; attempt++ {
		if !absent {
			f, err := c.look(ctx, refOf(s))
			if err != nil {
				return work.Applied{}, err
			}
			if f.there {
				return c.untouched(f, s)
			}
		}
		applied, err := c.createOnce(ctx, s)
		if !apierrors.IsAlreadyExists(err) || attempt == rereads {
			return applied, err
		}
		absent = false
	}
}

// untouched returns what is there and stays as it is. Whose marks an object carries that we once made and do not write matters to nobody.
func (c *Conn) untouched(f found, s decide.Step) (work.Applied, error) {
	seen, err := c.marksNotForeign(f.metadata)
	if err != nil && (!s.Once || s.Row.ObjectUID != f.UID()) {
		return work.Applied{}, err
	}
	applied := f.applied()
	applied.Untouched, applied.Existed = true, seen.Presence == decide.Unmarked
	return applied, nil
}

// createOnce makes the object.
func (c *Conn) createOnce(ctx context.Context, s decide.Step) (work.Applied, error) {
	collection := s.Identity
	collection.Name = ""
	o := objectOf(kindOf(s))
	_, err := c.send(ctx, request{
		method: http.MethodPost, path: path(collection, s.Version, s.Resource), query: writeQuery, accept: o.accept(),
		contentType: acceptJSON, body: s.Object,
	}, &o)
	if err != nil {
		return work.Applied{}, err
	}
	applied := o.applied()
	applied.Created = true
	return applied, nil
}

// merge makes the object if there is none by its name, else merges what the set says into it.
func (c *Conn) merge(ctx context.Context, s decide.Step) (work.Applied, error) {
	there := s.Object
	if s.Patched {
		var err error
		if there, err = c.besidePatched(ctx, s); err != nil {
			return work.Applied{}, err
		}
	}
	applied, err := c.mergeKnown(ctx, s, there)
	if immutable(err) {
		return c.recreate(ctx, s, err, func() (work.Applied, error) { return c.createOnce(ctx, s) })
	}
	return applied, err
}

// mergeKnown merges into the object that the inventory knows or, should there be another one by now, into that one after looking at it.
func (c *Conn) mergeKnown(ctx context.Context, s decide.Step, there []byte) (work.Applied, error) {
	uid, absent, existed := s.Row.ObjectUID, s.Absent, false
	for attempt := 1; ; attempt++ {
		if uid == "" && !absent {
			f, err := c.find(ctx, refOf(s))
			if err != nil {
				return work.Applied{}, err
			}
			seen, err := c.marksNotForeign(f.metadata)
			if err != nil {
				return work.Applied{}, err
			}
			uid, existed = seen.UID, f.there && seen.Presence == decide.Unmarked
		}
		applied, err := c.mergeOnce(ctx, s, there, uid)
		switch {
		case attempt == rereads:
			return applied, err
		case apierrors.IsAlreadyExists(err), uid != "" && isAnother(err):
			uid, absent = "", false
		case isAbsent(err, refOf(s)):
			uid, absent = "", true
		default:
			applied.Existed = existed
			return applied, err
		}
	}
}

// mergeOnce merges a text of the object into the one with uid; where that is empty it makes the object.
func (c *Conn) mergeOnce(ctx context.Context, s decide.Step, text []byte, uid string) (work.Applied, error) {
	if uid == "" {
		return c.createOnce(ctx, s)
	}
	o := objectOf(kindOf(s))
	_, err := c.patch(ctx, pathOf(s), types.MergePatchType, render.WithUID(text, uid), &o)
	return o.applied(), err
}
