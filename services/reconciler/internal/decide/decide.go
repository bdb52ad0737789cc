package decide

import (
	"cmp"
	"slices"

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
	d.written = written(plan.Sets)
	for n, s := range in.Sets {
		d.patches(s, &plan.Sets[n])
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
			if !known && !i.Unmapped && i.Refused == "" && d.owns(s, i) {
				refs = append(refs, Ref{Identity: i.Identity, Version: i.Version, Resource: i.Resource})
			}
		}
	}
	for _, r := range in.Inventory {
		if _, wanted := d.claims.owner[r.Identity]; !wanted && unsure(r) && r.Resource != "" {
			refs = append(refs, Ref{Identity: r.Identity, Version: r.Version, Resource: r.Resource})
		}
	}
	return refs
}

// unsure reports whether the row may not tell which object is ours: the answer to the last request for it never came.
func unsure(r inventory.Row) bool { return !r.Confirmed() || r.State == v1.StateFailed }

// Known returns the objects to compare with the target before Decide, when that is due: those that would otherwise be taken for what
// the inventory says of them.
func Known(in Input) []Ref {
	if !in.Verify || in.FullApply || in.Paused || in.Suspended {
		return nil
	}
	d := newDecision(in)
	var refs []Ref
	for _, s := range in.Sets {
		if d.disposition(s) != Act {
			continue
		}
		for _, i := range s.Items {
			if row, known := d.rows[i.Identity]; known && d.owns(s, i) && d.asWanted(s, i, row) {
				refs = append(refs, Ref{Identity: i.Identity, Version: i.Version, Resource: cmp.Or(i.Resource, row.Resource)})
			}
		}
	}
	return refs
}

// decision holds what the rules look up.
type decision struct {
	in      Input
	claims  claims
	sets    map[string]Set
	order   map[string]int // position of a set in run order
	rows    map[inventory.Identity]inventory.Row
	patched map[inventory.Identity]bool // what the patches of the cluster's sets are about
	written map[inventory.Identity]bool // what the plan writes, once that is decided
}

func newDecision(in Input) decision {
	d := decision{
		in: in, claims: claim(in),
		sets:  make(map[string]Set, len(in.Sets)),
		order: make(map[string]int, len(in.Sets)),
		rows:  make(map[inventory.Identity]inventory.Row, len(in.Inventory)),

		patched: patched(in.Sets),
	}
	for n, s := range in.Sets {
		d.sets[s.UID], d.order[s.UID] = s, n
	}
	for _, r := range in.Inventory {
		d.rows[r.Identity] = r
	}
	return d
}

// comes reports whether a kind for which the set waits comes with a set of this run.
func (s Set) comes() bool {
	awaited := func(i Item) bool { return i.Unmapped && i.Awaited }
	return s.Previous.Cause == v1.CauseWaitingForKind && slices.ContainsFunc(s.Items, awaited)
}

// Acts reports whether the items of a set are applied, as far as that is known before the target was asked for their kinds.
func Acts(in Input, s Set) bool { return decision{in: in}.disposition(s) == Act }

// disposition says how this run treats a set. Backoff holds until it has passed, unless the set changed, a person asks or the kind comes
// for which the set waits.
func (d decision) disposition(s Set) Disposition {
	p := s.Previous
	waiting := p.Result == v1.ResultFailure && p.RetryAt != nil && p.RetryAt.After(d.in.Now)
	switch {
	case s.Suspended:
		return Suspended
	case s.Target == nil:
		return Leave
	case waiting && !d.in.FullApply && !d.in.AtOnce && *s.Target == p.Observed && !s.comes():
		return Wait
	}
	return Act
}
