package decide

import (
	"bytes"
	"cmp"
	"fmt"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// Decide returns what to do. in.Observed must hold an entry for every ref that Unknown(in) returns.
func Decide(in Input) Plan {
	switch {
	case in.Paused:
		return Plan{Cause: v1.CausePaused}
	case in.Suspended:
		return Plan{Cause: v1.CauseSuspended}
	}
	d := newDecision(in)
	plan := Plan{}
	for _, s := range in.Sets {
		plan.Sets = append(plan.Sets, d.set(s))
	}
	plan.Removals = d.removals()
	return plan
}

// Unknown returns the objects to look at before Decide: those about to be applied, or let go, that no confirmed row describes.
func Unknown(in Input) []Ref {
	if in.Paused || in.Suspended {
		return nil
	}
	d := newDecision(in)
	var refs []Ref
	for _, s := range in.Sets {
		if d.disposition(s) != Act {
			continue
		}
		for _, i := range s.Items {
			known := d.rows[i.Identity].Confirmed()
			if !known && i.Fault == "" && !i.Unmapped && i.Refused == "" && d.claims.owner[i.Identity] == s.UID {
				refs = append(refs, Ref{Identity: i.Identity, Version: i.Version, Resource: i.Resource})
			}
		}
	}
	for _, r := range in.Inventory {
		if _, wanted := d.claims.owner[r.Identity]; !wanted && !r.Confirmed() && r.Resource != "" {
			refs = append(refs, Ref{Identity: r.Identity, Version: r.Version, Resource: r.Resource})
		}
	}
	return refs
}

// decision holds what the rules look up.
type decision struct {
	in     Input
	claims claims
	sets   map[string]Set
	order  map[string]int // position of a set in run order
	rows   map[inventory.Identity]inventory.Row
}

func newDecision(in Input) decision {
	d := decision{
		in: in, claims: claim(in),
		sets:  make(map[string]Set, len(in.Sets)),
		order: make(map[string]int, len(in.Sets)),
		rows:  make(map[inventory.Identity]inventory.Row, len(in.Inventory)),
	}
	for n, s := range in.Sets {
		d.sets[s.UID], d.order[s.UID] = s, n
	}
	for _, r := range in.Inventory {
		d.rows[r.Identity] = r
	}
	return d
}

// disposition says how this run treats a set. Backoff holds until it has passed, unless the set changed or a person asks.
func (d decision) disposition(s Set) Disposition {
	p := s.Previous
	waiting := p.Result == v1.ResultFailure && p.RetryAt != nil && p.RetryAt.After(d.in.Now)
	switch {
	case s.Suspended:
		return Suspended
	case s.Target == nil:
		return Leave
	case waiting && !d.in.FullApply && !d.in.AtOnce && *s.Target == p.Observed:
		return Wait
	}
	return Act
}

// set decides the items of one set, in list order, up to the first that is bound to fail.
func (d decision) set(s Set) SetPlan {
	plan := SetPlan{UID: s.UID, Disposition: d.disposition(s)}
	if plan.Disposition != Act && plan.Disposition != Leave {
		return plan
	}
	if s.Fault != "" {
		plan.Steps = []Step{{Action: Fail, SetUID: s.UID, Item: -1, Message: s.Fault}}
		return plan
	}
	seen := make(map[inventory.Identity]int, len(s.Items))
	for _, i := range s.Items {
		step := d.item(s, i)
		if first, twice := seen[i.Identity]; twice && step.Action != Fail {
			step = step.fail(fmt.Sprintf("it is the same object as resource %d", first), false)
		}
		seen[i.Identity] = i.Index
		plan.Steps = append(plan.Steps, step)
		if step.Action == Fail {
			break
		}
	}
	return plan
}

// item decides one item of a set.
func (d decision) item(s Set, i Item) Step {
	step := Step{Action: Apply, SetUID: s.UID, Item: i.Index, Identity: i.Identity, Version: i.Version, Resource: i.Resource}
	if i.Fault != "" {
		step.Action, step.Message = Fail, i.Fault
		return step
	}
	if owner := d.claims.owner[i.Identity]; owner != s.UID {
		return step.conflict("owned by "+d.sets[owner].Owner(), false)
	}
	row, known := d.rows[i.Identity]
	if known && d.unchanged(s, i, row) {
		step.Action, step.Row = Unchanged, row
		step.Row.SetGeneration, step.Row.Item = *s.Target, i.Index
		return step
	}
	if i.Refused != "" {
		return step.fail(i.Refused, true)
	}
	if i.Unmapped && !i.Awaited {
		step.Waiting = true
		return step.fail("waiting for kind "+i.Kind+" in "+inventory.APIVersion(i.Group, i.Version), true)
	}
	seen := d.in.Observed[i.Identity]
	if !row.Confirmed() && seen.Fault != "" {
		return step.fail(seen.Fault, true)
	}
	if !row.Confirmed() && seen.Presence == Foreign {
		return step.conflict("it belongs to another installation, "+seen.Installation, true)
	}
	step.Object, step.Hash, step.Awaited = i.Object, i.Hash, i.Awaited
	step.Absent = !row.Confirmed() && seen.Presence == Absent
	step.Row, step.Intent = d.intent(s, i, row, known, seen)
	return step
}

// unchanged reports whether the target is known to have exactly what the item would send.
func (d decision) unchanged(s Set, i Item, r inventory.Row) bool {
	settled := r.State != v1.StateDeleting && r.State != v1.StateFailed && r.State != inventory.StateIntent
	return !d.in.FullApply && settled && r.SetUID == s.UID && r.Confirmed() && r.Hash != nil && bytes.Equal(r.Hash, i.Hash)
}

// intent returns the row to have before the request, and whether it differs in kind from what is there: new, or another set's.
func (d decision) intent(s Set, i Item, r inventory.Row, known bool, seen Observed) (row inventory.Row, write bool) {
	row = r
	if !known {
		row = inventory.Row{Identity: i.Identity, State: inventory.StateIntent, Existed: seen.Presence == Unmarked}
	} else if !r.Confirmed() {
		row.Existed = seen.Presence == Unmarked || (r.Existed && seen.Presence != Absent)
	}
	write = !known || row.Existed != r.Existed
	if known && r.SetUID != s.UID {
		row.MarkedUID, write = cmp.Or(r.MarkedUID, r.SetUID), true
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
	step.Action, step.Retry, step.Message = Fail, retry, ItemFailure(step, why)
	step.Object, step.Hash, step.Row, step.Intent, step.Absent, step.Awaited = nil, nil, inventory.Row{}, false, false, false
	return step
}
