package kube

import (
	"context"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// From how many objects of one kind and namespace on they are listed rather than read one by one, and how far a list is followed.
const (
	listFrom = 4
	maxPages = 10
)

// Observe implements work.Target.
func (c *Conn) Observe(ctx context.Context, refs []decide.Ref) (map[inventory.Identity]decide.Observed, error) {
	o := &observation{conn: c, seen: make(map[inventory.Identity]decide.Observed, len(refs))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cap(c.slots))
	for collection, members := range byCollection(refs) {
		if len(members) >= listFrom {
			group.Go(func() error { return o.list(ctx, collection, members) })
			continue
		}
		for _, ref := range members {
			group.Go(func() error { return o.get(ctx, ref) })
		}
	}
	return o.seen, group.Wait()
}

// byCollection groups refs by the path of their collection.
func byCollection(refs []decide.Ref) map[string][]decide.Ref {
	groups := map[string][]decide.Ref{}
	for _, r := range refs {
		id := r.Identity
		id.Name = ""
		at := path(id, r.Version, r.Resource)
		groups[at] = append(groups[at], r)
	}
	return groups
}

type observation struct {
	conn *Conn
	mu   sync.Mutex
	seen map[inventory.Identity]decide.Observed
}

func (o *observation) set(id inventory.Identity, seen decide.Observed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen[id] = seen
}

// get looks at one object.
func (o *observation) get(ctx context.Context, ref decide.Ref) error {
	found, err := o.conn.find(ctx, ref)
	if err != nil {
		return o.refused(err, ref)
	}
	seen := decide.Observed{}
	if found.there {
		seen = o.conn.marks(found.metadata)
	}
	o.set(ref.Identity, seen)
	return nil
}

// refused notes that the target did not let us look; only a target that cannot be reached is an error.
func (o *observation) refused(err error, refs ...decide.Ref) error {
	if isWhole(err) {
		return err
	}
	for _, r := range refs {
		o.set(r.Identity, decide.Observed{Fault: err.Error()})
	}
	return nil
}

// list looks at many objects of one collection. What a list that is too long did not show is read one by one.
func (o *observation) list(ctx context.Context, collection string, refs []decide.Ref) error {
	wanted := make(map[string]decide.Ref, len(refs))
	for _, r := range refs {
		wanted[r.Name] = r
	}
	whole, err := o.pages(ctx, collection, wanted)
	if apierrors.IsNotFound(err) {
		whole, err = o.conn.noKind(ctx, refs[0])
	}
	if err != nil {
		return o.refused(err, slices.Collect(maps.Values(wanted))...)
	}
	for _, r := range wanted {
		if whole {
			o.set(r.Identity, decide.Observed{})
		} else if err := o.get(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// pages reads a list page by page and takes what it finds out of wanted. It reports whether it came to the end.
func (o *observation) pages(ctx context.Context, collection string, wanted map[string]decide.Ref) (whole bool, err error) {
	whole, err = o.conn.list(ctx, listing{
		at: collection, pages: maxPages, enough: func() bool { return len(wanted) == 0 },
		visit: func(seen object) {
			if ref, ok := wanted[seen.Metadata.Name]; ok {
				o.set(ref.Identity, o.conn.marks(seen.metadata))
				delete(wanted, seen.Metadata.Name)
			}
		},
	})
	if apierrors.IsResourceExpired(err) {
		return false, nil
	}
	return whole, classify(err)
}
