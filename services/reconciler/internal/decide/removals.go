package decide

import (
	"cmp"
	"slices"
	"strings"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// removals decides the rows that no set wants any more, in the order in which they go: what was applied last goes first, custom
// resources before their definitions, Namespaces at the very end.
func (d decision) removals() []Step {
	var steps []Step
	for _, r := range d.in.Inventory {
		s, known := d.sets[r.SetUID]
		if _, wanted := d.claims.owner[r.Identity]; wanted || !known {
			continue
		}
		if disposition := d.disposition(s); disposition == Act || disposition == Leave {
			steps = append(steps, d.unwanted(s, r))
		}
	}
	slices.SortStableFunc(steps, d.compareRemovals)
	d.guardContents(steps)
	return steps
}

// unwanted decides one row that no set wants.
func (d decision) unwanted(s Set, r inventory.Row) Step {
	step := Step{
		SetUID: s.UID, Item: r.Item, Identity: r.Identity, Version: r.Version, Resource: r.Resource, Row: r,
		Owners: owners(r), After: d.newItems(s),
	}
	if r.Resource == "" {
		if why := d.in.Refused[r.Identity]; why != "" {
			return step.keep(why)
		}
		return step.as(Forget, "")
	}
	if unsure(r) {
		seen := d.in.Observed[r.Identity]
		ours := seen.Presence == Ours && (seen.OwnerUID == r.SetUID || seen.OwnerUID == r.MarkedUID)
		switch {
		case seen.Fault != "":
			return step.keep(seen.Fault)
		case ours:
			step.Row.ObjectUID = seen.UID
		case !r.Confirmed():
			return step.as(Forget, "")
		}
	}
	if s.Fault != "" {
		return step.as(Keep, "the set cannot be read: nothing of it is let go meanwhile")
	}
	untracked := s.TrackedFrom != nil && r.SetGeneration < *s.TrackedFrom
	if s.Mode != v1.Sync || s.DeletionPolicy == v1.DeletionPolicyOrphan || untracked {
		return step.as(Release, "")
	}
	removal, permitted := d.in.Removals[s.UID]
	switch {
	case !permitted:
		return step.as(Keep, "")
	case removal.State == Held:
		return step.as(Hold, "waits for a confirmation of the deletion")
	case removal.State == Released:
		return step.as(Release, "")
	case removal.State != Open:
		return step.as(Keep, "")
	case d.claims.opaque:
		return step.as(Keep, "a set of this cluster cannot be read: nothing is deleted meanwhile")
	}
	return step.permitted(s)
}

// permitted decides a row whose removal is open.
func (step Step) permitted(s Set) Step {
	switch {
	case step.Row.Existed && !s.Adopt:
		step.Retained = true
		return step.as(Release, "existed before the set was applied; adopt: true allows deleting it")
	case step.Protected() && !s.DeleteProtectedKinds:
		step.Retained = true
		return step.as(Release, step.Kind+" is a protected kind; deleteProtectedKinds: true allows deleting it")
	}
	return step.as(Delete, "")
}

// as returns the step with an action; what only a deletion or a release needs is left out of the others.
func (step Step) as(a Action, message string) Step {
	step.Action, step.Message = a, message
	if a != Delete && a != Release {
		step.Owners, step.After = nil, nil
	}
	return step
}

// keep returns the step of an object that the target did not let us look at: a failure that may pass.
func (step Step) keep(why string) Step {
	step.Retry = true
	return step.as(Keep, DeleteFailure(step, why))
}

func owners(r inventory.Row) []string {
	if r.MarkedUID == "" {
		return []string{r.SetUID}
	}
	return []string{r.SetUID, r.MarkedUID}
}

// newItems returns what the set has not yet got onto the target: an old object goes only after what replaces it is there. What another set
// of the cluster owns replaces nothing: it may stay there for good.
func (d decision) newItems(s Set) []inventory.Identity {
	if s.Target == nil {
		return nil
	}
	var fresh []inventory.Identity
	for _, i := range s.Items {
		r := d.rows[i.Identity]
		there := r.Confirmed() && r.SetUID == s.UID
		if i.claims() && d.claims.owner[i.Identity] == s.UID && !there && d.item(s, i).Action != Unchanged {
			fresh = append(fresh, i.Identity)
		}
	}
	return fresh
}

// guardContents keeps a Namespace or a definition while something of ours in it stays, and puts it after what goes from it.
func (d decision) guardContents(steps []Step) {
	going := map[inventory.Identity]bool{}
	for _, s := range steps {
		going[s.Identity] = s.Action == Delete
	}
	for n := range steps {
		if steps[n].Action != Delete || rank(steps[n].Identity) == 0 {
			continue
		}
		for _, r := range d.in.Inventory {
			if !contains(steps[n].Identity, r.Identity) {
				continue
			}
			if !going[r.Identity] && r.Confirmed() {
				steps[n] = steps[n].as(Keep, "holds "+r.String()+", which stays")
				break
			}
			steps[n].After = append(steps[n].After, r.Identity)
		}
	}
}

// contains reports whether deleting outer takes inner with it.
func contains(outer, inner inventory.Identity) bool {
	switch outer.Kind {
	case "Namespace":
		return inner.Namespace == outer.Name
	case "CustomResourceDefinition":
		return inner.Group != "" && strings.HasSuffix(outer.Name, "."+inner.Group)
	}
	return false
}

// compareRemovals orders deletions: by what contains what, then backwards through sets and items.
func (d decision) compareRemovals(a, b Step) int {
	return cmp.Or(cmp.Compare(rank(a.Identity), rank(b.Identity)), cmp.Compare(d.order[b.SetUID], d.order[a.SetUID]),
		cmp.Compare(b.Item, a.Item), a.Compare(b.Identity))
}

// rank is 2 for Namespaces, 1 for definitions of kinds, else 0.
func rank(i inventory.Identity) int {
	switch {
	case i.Group == "" && i.Kind == "Namespace":
		return 2
	case i.Group == "apiextensions.k8s.io" && i.Kind == "CustomResourceDefinition":
		return 1
	}
	return 0
}

func compareRunOrder(a, b Set) int {
	return cmp.Or(cmp.Compare(kindOrder(a), kindOrder(b)), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.UID, b.UID))
}

func kindOrder(s Set) int {
	if s.Resource == v1.ResourceSelectorSyncSets {
		return 1
	}
	return 0
}
