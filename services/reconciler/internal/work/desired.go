package work

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// input makes of the snapshot what decide works on. Kinds are not looked up yet.
func (r *run) input() decide.Input {
	in := decide.Input{
		Now: r.snap.Now, ClusterID: r.claim.ClusterUID, Suspended: r.snap.Cluster.Suspended, Paused: r.snap.Paused,
		FullApply: r.claim.FullApply || r.snap.FullDue, AtOnce: r.claim.Class == 0, AskHealth: r.snap.HealthDue,
		Inventory: r.snap.Inventory, Removals: r.snap.Removals,
	}
	in.Verify = r.snap.VerifyDue && !in.FullApply
	for _, row := range r.snap.Sets {
		in.Sets = append(in.Sets, r.set(row))
	}
	decide.Sort(in.Sets)
	return in
}

// set renders one set, or finds it rendered.
func (r *run) set(row SetRow) decide.Set {
	var d *decoded
	if row.Target != nil {
		d = r.decoded[setKey{row.UID, *row.Target}]
	}
	if d == nil {
		d = decodeSet(row, r.pool.config.Installation)
		if row.Target != nil {
			r.pool.sets.put(setKey{row.UID, *row.Target}, d)
		}
	}
	s := decide.Set{
		UID: row.UID, Resource: row.Resource, Namespace: row.Namespace, Name: row.Name, Target: row.Target, TrackedFrom: row.TrackedFrom,
		Mode: d.spec.ResourceApplyMode, DeletionPolicy: d.spec.DeletionPolicy, Adopt: d.spec.Adopt, Behavior: d.spec.ApplyBehavior,
		Recreate:             d.spec.ImmutableFields == v1.ImmutableRecreate,
		DeleteProtectedKinds: d.spec.DeleteProtectedKinds, Suspended: d.spec.Suspended, Fault: d.fault, Previous: row.Previous,
	}
	for _, i := range d.set.Render(r.facts(), r.secret, r.pool.config.Digest) {
		s.Items = append(s.Items, decide.Item{
			Index: i.Index, Type: i.Type, Identity: i.Identity, Version: i.Version, Object: i.Object, Hash: i.Hash, PatchType: i.PatchType,
			CreateOnly: i.CreateOnly, Fault: cmp.Or(i.Fault, i.Refused), Passing: i.Refused != "", Defines: i.Defines,
		})
	}
	return s
}

// facts are what templates may know of the cluster.
func (r *run) facts() render.Facts {
	c := r.snap.Cluster
	return render.Facts{Namespace: c.Namespace, Name: c.Name, UID: r.claim.ClusterUID, Labels: c.Labels}
}

// secret returns a stored secret with its values: the newest that have arrived.
func (r *run) secret(ref v1.NamespacedName) (render.SecretValue, error) {
	stored, known := r.snap.Secrets[ref]
	switch {
	case !known:
		return render.SecretValue{}, errs.New(errs.NotFound, "no such secret")
	case stored.Version == 0:
		return render.SecretValue{}, errs.New(errs.Unavailable, "its values have not arrived yet")
	}
	value := render.SecretValue{Type: stored.Type, Labels: stored.Labels, Annotations: stored.Annotations}
	text, err := r.pool.config.UnsealSecret(stored)
	if err != nil || json.Unmarshal(text, &value.Data) != nil {
		return render.SecretValue{}, errs.New(errs.Unavailable, "its stored values cannot be opened")
	}
	return value, nil
}

// mapKinds finds out how each item's kind is reached. Only an unreachable target is an error: a kind that is not there, or a
// namespace that is missing in the text, is a matter of the item.
func (r *run) mapKinds(ctx context.Context, in *decide.Input) error {
	r.target.Learn(in.Inventory)
	if err := r.mapRows(ctx, in); err != nil {
		return err
	}
	brought := bring(*in)
	missing := map[Kind]bool{}
	for n := range in.Sets {
		if in.Sets[n].Suspended {
			continue
		}
		for m := range in.Sets[n].Items {
			if err := r.mapItem(ctx, &in.Sets[n].Items[m], brought, missing); err != nil {
				return err
			}
		}
	}
	return nil
}

// mapRows finds out how rows are reached whose kind was not known when they were written: an intent of a run that died before its kind
// arrived. Rows of a kind that the target does not have stay without.
func (r *run) mapRows(ctx context.Context, in *decide.Input) error {
	in.Refused = map[inventory.Identity]string{}
	rows := make([]inventory.Row, len(in.Inventory))
	copy(rows, in.Inventory)
	for n := range rows {
		row := &rows[n]
		if row.Resource != "" {
			continue
		}
		mapping, err := r.target.Map(ctx, Kind{Group: row.Group, Version: row.Version, Kind: row.Kind})
		var absent *Missing
		switch {
		case whole(ctx, err) != nil:
			return whole(ctx, err)
		case err != nil && !errors.As(err, &absent):
			in.Refused[row.Identity] = err.Error()
		case err == nil && mapping.Namespaced == (row.Namespace != ""):
			row.Resource = mapping.Resource
		}
	}
	in.Inventory = rows
	return nil
}

func (r *run) mapItem(ctx context.Context, i *decide.Item, brought brought, missing map[Kind]bool) error {
	if i.Fault != "" {
		return nil
	}
	k := Kind{Group: i.Group, Version: i.Version, Kind: i.Kind}
	i.Awaited = brought.kinds[render.Kind{Group: i.Group, Kind: i.Kind}] || brought.namespaces[i.Namespace]
	if missing[k] {
		i.Unmapped = true
		return nil
	}
	mapping, err := r.target.Map(ctx, k)
	var absent *Missing
	switch {
	case errors.As(err, &absent):
		missing[k], i.Unmapped = true, true
		i.Awaited = brought.kinds[render.Kind{Group: i.Group, Kind: i.Kind}]
		return nil
	case whole(ctx, err) != nil:
		return whole(ctx, err)
	case err != nil:
		i.Refused = err.Error()
		return nil
	}
	i.Resource = mapping.Resource
	fit(i, mapping.Namespaced)
	return nil
}

// fit brings an item's namespace in line with its kind: ignored where the kind has none, demanded where it needs one.
func fit(i *decide.Item, namespaced bool) {
	switch {
	case namespaced && i.Namespace == "":
		step := decide.Step{Item: i.Index, Type: i.Type, Identity: i.Identity}
		i.Fault = decide.ItemFailure(step, scopeError(step, namespaced).Error())
	case !namespaced && i.Namespace != "":
		i.Namespace = ""
		if i.Type == render.Patch {
			return
		}
		i.Object, i.Hash = render.WithoutNamespace(i.Object)
	}
}

// scopeError names the field as the author of the item does: a patch is no object.
func scopeError(s decide.Step, namespaced bool) error {
	field := "metadata.namespace"
	if s.Type == render.Patch {
		field = "namespace"
	}
	if namespaced {
		return fmt.Errorf("%s needs a %s", s.Kind, field)
	}
	return fmt.Errorf("%s has no namespaces; take %s out", s.Kind, field)
}

// brought is what the sets of the cluster bring with them: an item that needs it is worth waiting for.
type brought struct {
	kinds      map[render.Kind]bool
	namespaces map[string]bool
}

// bring leaves out what no step of this run applies.
func bring(in decide.Input) brought {
	b := brought{kinds: map[render.Kind]bool{}, namespaces: map[string]bool{}}
	for _, s := range in.Sets {
		if !decide.Acts(in, s) {
			continue
		}
		for _, i := range s.Items {
			if i.Type == render.Patch {
				continue
			}
			if i.Group == "" && i.Kind == "Namespace" {
				b.namespaces[i.Name] = true
			}
			if i.Kind == "CustomResourceDefinition" {
				b.kinds[i.Defines] = true
			}
		}
	}
	return b
}

// observe looks at the objects that the inventory does not know and, when that is due, compares those that it knows.
func (r *run) observe(ctx context.Context, in *decide.Input) (err error) {
	in.Observed = map[inventory.Identity]decide.Observed{}
	if refs := decide.Unknown(*in); len(refs) > 0 {
		if in.Observed, err = r.target.Observe(ctx, refs); err != nil {
			return err
		}
	}
	if refs := decide.Known(*in); len(refs) > 0 {
		in.Seen, err = r.target.Verify(ctx, refs)
	}
	return err
}
