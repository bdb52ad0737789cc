package kube

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// managedSelector selects what carries our label.
const managedSelector = render.LabelManaged + "=true"

// Verify implements work.Target.
func (c *Conn) Verify(ctx context.Context, refs []decide.Ref) (map[inventory.Identity]decide.Seen, error) {
	v := &verification{conn: c, seen: make(map[inventory.Identity]decide.Seen, len(refs))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cap(c.slots))
	for kind, members := range byKind(refs) {
		group.Go(func() error { return v.kind(ctx, kind, members) })
	}
	return v.seen, group.Wait()
}

// served is a kind as a target serves it.
type served struct {
	work.Kind
	resource string
}

// wanted are the objects of one kind that were not found yet, by namespace and name.
type wanted map[inventory.Identity]decide.Ref

// byKind groups refs by how they are reached.
func byKind(refs []decide.Ref) map[served]wanted {
	groups := map[served]wanted{}
	for _, r := range refs {
		kind := served{kindOfRef(r), r.Resource}
		if groups[kind] == nil {
			groups[kind] = wanted{}
		}
		groups[kind][r.Identity] = r
	}
	return groups
}

// namespaces returns those of the objects; "" for kinds without.
func (w wanted) namespaces() []string {
	in := map[string]bool{}
	for id := range w {
		in[id.Namespace] = true
	}
	return slices.Sorted(maps.Keys(in))
}

type verification struct {
	conn *Conn
	mu   sync.Mutex
	seen map[inventory.Identity]decide.Seen
}

func (v *verification) set(id inventory.Identity, seen decide.Seen) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen[id] = seen
}

// kind looks at the objects of one kind: in one list, and singly at what no list shows.
func (v *verification) kind(ctx context.Context, k served, w wanted) error {
	if k.resource == "" {
		return v.singly(ctx, w)
	}
	err := v.lists(ctx, k, w)
	if apierrors.IsNotFound(err) {
		err = v.relocated(ctx, k, w)
	}
	switch {
	case err == nil, apierrors.IsForbidden(err), apierrors.IsResourceExpired(err), errors.Is(err, errTooLarge):
		return v.singly(ctx, w)
	case isWhole(classify(err)):
		return classify(err)
	}
	for id := range w {
		v.set(id, decide.Seen{Observed: decide.Observed{Fault: decide.Truncate(classify(err).Error())}})
	}
	return nil
}

// relocated looks at the objects of a kind whose collection is not found: the target serves it in another version, or not at all.
func (v *verification) relocated(ctx context.Context, k served, w wanted) error {
	other, mapping, err := v.conn.locate(ctx, k.Kind)
	var missing *work.Missing
	switch {
	case errors.As(err, &missing):
		for id := range w {
			v.set(id, decide.Seen{})
		}
		clear(w)
		return nil
	case err != nil:
		return err
	case other == k.Kind && mapping.Resource == k.resource:
		return doubt("the target does not know the path of the kind " + k.Kind.Kind)
	}
	for id, ref := range w {
		ref.Version, ref.Resource = other.Version, mapping.Resource
		w[id] = ref
	}
	return v.lists(ctx, served{other, mapping.Resource}, w)
}

// lists reads the kind's objects in one list or, where that is forbidden, in one for each namespace.
func (v *verification) lists(ctx context.Context, k served, w wanted) error {
	namespaces := w.namespaces()
	if len(namespaces) == 1 {
		return v.list(ctx, k, namespaces[0], w)
	}
	err := v.list(ctx, k, "", w)
	if !apierrors.IsForbidden(err) {
		return err
	}
	for _, namespace := range namespaces {
		if err := v.list(ctx, k, namespace, w); err != nil && !apierrors.IsForbidden(err) {
			return err
		}
	}
	return nil
}

// list reads what carries our label, in one namespace or in all, and takes it out of w. One that expired meanwhile is begun anew once.
func (v *verification) list(ctx context.Context, k served, namespace string, w wanted) error {
	l := listing{
		at: path(inventory.Identity{Group: k.Group, Namespace: namespace}, k.Version, k.resource), selector: managedSelector,
		kind: k.Kind, full: hasStatus(k.Kind), pages: maxPages + len(w)/50,
		enough: func() bool { return len(w) == 0 },
		visit: func(o object) {
			id := inventory.Identity{Group: k.Group, Kind: k.Kind.Kind, Namespace: o.Metadata.Namespace, Name: o.Metadata.Name}
			if _, ok := w[id]; ok {
				v.set(id, v.conn.seen(o))
				delete(w, id)
			}
		},
	}
	_, err := v.conn.list(ctx, l)
	if apierrors.IsResourceExpired(err) {
		_, err = v.conn.list(ctx, l)
	}
	return err
}

// singly looks at objects one by one: they may be there without our label.
func (v *verification) singly(ctx context.Context, w wanted) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cap(v.conn.slots))
	for id, ref := range w {
		group.Go(func() error {
			f, err := v.conn.look(ctx, ref)
			switch {
			case isWhole(err):
				return err
			case err != nil:
				v.set(id, decide.Seen{Observed: decide.Observed{Fault: decide.Truncate(err.Error())}})
			case f.there:
				v.set(id, v.conn.seen(f.object))
			default:
				v.set(id, decide.Seen{})
			}
			return nil
		})
	}
	return group.Wait()
}

// seen returns what an object shows.
func (c *Conn) seen(o object) decide.Seen {
	seen := decide.Seen{
		Observed: c.marks(o.metadata), ResourceVersion: o.Metadata.ResourceVersion, Fields: o.fields(), Marked: c.marked(o.metadata),
		Terminating: o.terminating(), Manager: o.lastManager(),
	}
	if o.full {
		seen.Health, seen.HealthMessage = o.health.Status, o.health.Message
	}
	return seen
}
