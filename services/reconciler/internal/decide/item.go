package decide

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// set decides the resources and secrets of one set, in list order, up to the first that is bound to fail.
func (d decision) set(s Set) SetPlan {
	plan := SetPlan{UID: s.UID, Disposition: d.disposition(s)}
	if plan.Disposition != Act && plan.Disposition != Leave {
		return plan
	}
	if s.Fault != "" {
		plan.Steps = []Step{{Action: Fail, SetUID: s.UID, Item: -1, Message: s.Fault}}
		return plan
	}
	firsts := make(map[inventory.Identity]Item, len(s.Items))
	for _, i := range s.Items {
		if !i.claims() {
			continue
		}
		step := d.item(s, i)
		if first, twice := firsts[i.Identity]; twice && step.Action != Fail {
			step = step.fail(fmt.Sprintf("it is the same object as %s %d", typeName(first.Type), first.Index), false)
		}
		firsts[i.Identity] = i
		plan.Steps = append(plan.Steps, step)
		if step.Action == Fail {
			break
		}
	}
	return plan
}

// item decides one item of a set.
func (d decision) item(s Set, i Item) Step {
	step := Step{SetUID: s.UID, Item: i.Index, Type: i.Type, Identity: i.Identity, Version: i.Version, Resource: i.Resource}
	switch {
	case i.Fault != "":
		step.Action, step.Message, step.Retry = Fail, i.Fault, i.Passing
		return step
	case !i.claims():
		return d.patch(s, i, step)
	case !d.owns(s, i):
		return step.conflict("owned by "+d.sets[d.claims.owner[i.Identity]].Owner(), false)
	}
	return d.object(s, i, step)
}

// owns reports whether an item can be rendered and is an object that the set may write.
func (d decision) owns(s Set, i Item) bool {
	return i.Fault == "" && i.claims() && d.claims.owner[i.Identity] == s.UID
}

// view is what is known of an object before it is decided.
type view struct {
	row      inventory.Row
	known    bool     // there is a row
	asWanted bool     // the target has what the item would send
	seen     Observed // what was found, when no confirmed row describes the object
	drift    string   // the field manager that changed it
	trouble  string   // why it cannot be verified, or written, now
}

func (d decision) view(s Set, i Item) view {
	v := view{seen: d.in.Observed[i.Identity]}
	v.row, v.known = d.rows[i.Identity]
	v.asWanted = v.known && d.asWanted(s, i, v.row)
	if found, looked := d.in.Seen[i.Identity]; looked && v.asWanted {
		d.verify(s, i, &v, found)
	}
	return v
}

// object decides a resource or a secret that the set owns.
func (d decision) object(s Set, i Item, step Step) Step {
	v := d.view(s, i)
	if v.asWanted {
		return d.unchanged(s, i, step, v.row)
	}
	if step, stuck := v.obstacle(i, step); stuck {
		return step
	}
	step.Row, step.Intent = d.intent(s, i, v)
	if s.once(i) && !v.row.Confirmed() && v.seen.Presence != Absent {
		step.Action, step.Row.ObjectUID = Unchanged, v.seen.UID
		return step
	}
	step.Absent, step.Awaited, step.Drift = !v.row.Confirmed() && v.seen.Presence == Absent, i.Awaited, v.drift
	step.Object, step.Hash = i.Object, s.hash(i)
	return d.write(s, i, step, v.seen)
}

// unchanged returns the step of an object that needs no writing.
func (d decision) unchanged(s Set, i Item, step Step, row inventory.Row) Step {
	step.Action, step.Row = Unchanged, row
	step.Row.SetGeneration, step.Row.Item = *s.Target, i.Index
	step.Ask = d.in.AskHealth && row.Health == v1.HealthInProgress && d.in.Seen[i.Identity].Health == ""
	return step
}

// obstacle returns the step of an object that is not to be written now, if there is a reason for that.
func (v view) obstacle(i Item, step Step) (Step, bool) {
	unsure := !v.row.Confirmed()
	switch {
	case v.trouble != "":
		step = step.fail(v.trouble, true)
		step.Row = v.row
	case i.Refused != "":
		step = step.fail(i.Refused, true)
	case i.Unmapped && !i.Awaited:
		step.Waiting = true
		step = step.fail("waiting for kind "+i.Kind+" in "+inventory.APIVersion(i.Group, i.Version), true)
	case unsure && v.seen.Fault != "":
		step = step.fail(v.seen.Fault, true)
	case unsure && v.seen.Presence == Foreign:
		step = step.conflict("it belongs to another installation, "+v.seen.Installation, true)
		if v.drift != "" {
			step.Row = v.row
		}
	default:
		return step, false
	}
	return step, true
}

// write chooses how an object is written.
func (d decision) write(s Set, i Item, step Step, seen Observed) Step {
	step.Action = Apply
	switch {
	case s.once(i):
		step.Action, step.Once = Create, true
		return step
	case s.Behavior == v1.CreateOrUpdate && step.Absent:
		step.Action = Create
		return step
	case s.Behavior == v1.CreateOrUpdate:
		step.Action, step.Patched = Merge, d.patched[i.Identity]
	default:
		step.Patched = d.patched[i.Identity]
		step.Migrate = seen.ClientSide && !step.Row.Confirmed() || writtenOtherwise(step.Row)
	}
	step.Recreate = s.Recreate && !i.Protected() && (!step.Row.Existed || s.Adopt)
	step.Adopt = step.Recreate && s.Adopt
	return step
}

// asWanted reports whether the inventory says that the target has exactly what the item would send.
func (d decision) asWanted(s Set, i Item, r inventory.Row) bool {
	settled := r.State != v1.StateDeleting && r.State != v1.StateFailed && r.State != inventory.StateIntent
	return !d.in.FullApply && settled && r.SetUID == s.UID && r.Confirmed() &&
		(s.once(i) || r.Hash != nil && bytes.Equal(r.Hash, s.hash(i)))
}

// once reports whether an item is created and then never touched again.
func (s Set) once(i Item) bool { return i.CreateOnly || s.Behavior == v1.CreateOnly }

// mergedPrefix tells the hashes of what was merged from those of what was applied.
var mergedPrefix = []byte("merged ")

// writtenOtherwise reports whether an object of ours may have been created or merged last rather than applied: the fields that came by
// that are not the apply's yet.
func writtenOtherwise(r inventory.Row) bool {
	return r.Confirmed() && (len(r.Hash) == 0 || bytes.HasPrefix(r.Hash, mergedPrefix))
}

// hash returns what tells whether the target already has an item: other ways of writing leave other things behind. What is created
// once has none.
func (s Set) hash(i Item) []byte {
	switch {
	case s.once(i):
		return nil
	case s.Behavior == v1.CreateOrUpdate:
		return slices.Concat(mergedPrefix, i.Hash)
	}
	return i.Hash
}

// intent returns the row to have before the request, and whether it differs in kind from what is there: new, another set's, or of an
// object that is gone.
func (d decision) intent(s Set, i Item, v view) (row inventory.Row, write bool) {
	row = v.row
	if !v.known {
		row = inventory.Row{Identity: i.Identity, State: inventory.StateIntent, Existed: v.seen.Presence == Unmarked}
	} else if !row.Confirmed() {
		row.Existed = v.seen.Presence == Unmarked || (row.Existed && v.seen.Presence != Absent)
	}
	before := d.rows[i.Identity]
	write = !v.known || row.Existed != before.Existed || row.ObjectUID != before.ObjectUID
	switch {
	case v.known && row.SetUID != s.UID:
		row.MarkedUID, write = cmp.Or(row.MarkedUID, row.SetUID), true
	case !v.known && v.seen.Presence == Ours && v.seen.OwnerUID != s.UID:
		row.MarkedUID = v.seen.OwnerUID
	}
	if v.drift != "" {
		row.Drifts, row.DriftedAt, row.DriftedBy = row.Drifts+1, &d.in.Now, v.drift
	}
	row.SetUID, row.SetGeneration, row.Item = s.UID, *s.Target, i.Index
	row.Version, row.Resource = i.Version, i.Resource
	return row, write
}

// conflict turns a step into one that shows somebody else's ownership.
func (step Step) conflict(why string, retry bool) Step {
	step.Action, step.Retry, step.Message = Conflict, retry, ItemFailure(step, why)
	return step
}

// fail turns a step into one that ends its set.
func (step Step) fail(why string, retry bool) Step {
	return Step{
		Action: Fail, SetUID: step.SetUID, Item: step.Item, Type: step.Type, Identity: step.Identity, Version: step.Version,
		Resource: step.Resource, Waiting: step.Waiting, Retry: retry, Message: ItemFailure(step, why),
	}
}

// claims reports whether the item makes its object the set's own.
func (i Item) claims() bool { return i.Type != render.Patch }
