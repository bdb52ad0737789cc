package decide

import (
	"bytes"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// patches decides the patches of a set, which come last, unless something before them is bound to fail. What the objects of all sets
// need is decided by then.
func (d decision) patches(s Set, plan *SetPlan) {
	if plan.Disposition != Act {
		return
	}
	for _, i := range s.Items {
		if failed(plan.Steps) {
			return
		}
		if !i.claims() {
			plan.Steps = append(plan.Steps, d.item(s, i))
		}
	}
}

func failed(steps []Step) bool { return len(steps) > 0 && steps[len(steps)-1].Action == Fail }

// patch decides a patch of a set. It is sent when it, or anything in its set, is new or changed, when its target is another object by
// now or is written again, which may take back what the patch did, and at a full apply; a JSON patch, which may not bear being applied
// twice, only if its target changed since.
func (d decision) patch(s Set, i Item, step Step) Step {
	record, sent := Recorded(s.Previous.Patches, i)
	same := sent && d.sameTarget(record)
	switch {
	case same && !record.Stale && s.Previous.Observed == *s.Target && !d.written[i.Identity] && !d.in.FullApply:
		step.Action = Unchanged
		return step
	case i.Refused != "":
		return step.fail(i.Refused, true)
	case i.Unmapped && !i.Awaited:
		step.Waiting = true
		return step.fail("waiting for kind "+i.Kind+" in "+inventory.APIVersion(i.Group, i.Version), true)
	}
	step.Action, step.Object, step.Hash, step.PatchType = Patch, i.Object, i.Hash, i.PatchType
	step.Awaited, step.Look = i.Awaited || d.comes(i.Identity), !same
	if same && i.PatchType == v1.PatchJSON {
		step.Unless = record
	}
	return step
}

// Recorded returns what is remembered of a patch: the same patch of the same object, wherever it stood in the list.
func Recorded(records []PatchRecord, i Item) (record PatchRecord, found bool) {
	for _, r := range records {
		if r.Identity == i.Identity && bytes.Equal(r.Hash, i.Hash) && (!found || r.Index == i.Index) {
			record, found = r, true
		}
	}
	return record, found
}

// sameTarget reports whether the object that was patched is, as far as the inventory tells, still the one by its name.
func (d decision) sameTarget(r PatchRecord) bool {
	row, ours := d.rows[r.Identity]
	if found, looked := d.in.Seen[r.Identity]; looked && found.Fault == "" {
		return found.Presence != Absent && found.UID == r.UID
	}
	return !ours || row.ObjectUID == r.UID
}

// comes reports whether this run writes an object for a set: who needs it may wait.
func (d decision) comes(id inventory.Identity) bool {
	owner, claimed := d.claims.owner[id]
	return claimed && d.disposition(d.sets[owner]) == Act
}

// written returns what the sets' steps write.
func written(sets []SetPlan) map[inventory.Identity]bool {
	ids := map[inventory.Identity]bool{}
	for _, s := range sets {
		for _, step := range s.Steps {
			if step.Action == Apply || step.Action == Create || step.Action == Merge {
				ids[step.Identity] = true
			}
		}
	}
	return ids
}

// patched returns what the patches of the cluster's sets are about.
func patched(sets []Set) map[inventory.Identity]bool {
	about := map[inventory.Identity]bool{}
	for _, s := range sets {
		for _, i := range s.Items {
			if s.Target != nil && i.Type == render.Patch {
				about[i.Identity] = true
			}
		}
	}
	return about
}
