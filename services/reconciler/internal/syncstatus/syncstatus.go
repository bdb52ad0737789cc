// Package syncstatus says what a run leaves behind: from the decision and what became of each step, the new state of every set, the
// inventory rows that change, and when to look again. It is pure; the run writes it in one place, once.
package syncstatus

import (
	"maps"
	"reflect"
	"slices"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// Causes that a set shows while it is Pending, or waits to be tried again, besides those of v1.
const (
	CauseDeleting = "Deleting"
	CauseConflict = "Conflict"
)

// Set is the new state of one set on the cluster.
type Set struct {
	UID           string
	Observed      int64
	Result, Cause string
	Message       string
	Attempts      int
	RetryIn       time.Duration     // 0: no retry of its own
	KeepRetry     bool              // leave attempts and the time of the retry as they are
	Objects       []v1.ObjectStatus // those that the inventory does not hold
	Health        string            // the worst of the set's objects; "" before any was looked at
	Patches       []decide.PatchRecord
	Gone          bool // the set had to go, and nothing of it is left
}

// Outcomes are what became of the steps of a plan. A step without one was not attempted.
type Outcomes struct {
	Objects map[inventory.Identity]Outcome
	Patches map[PatchKey]Outcome
	Health  map[inventory.Identity]Health // of Unchanged steps that asked for it
}

// PatchKey names a patch: an object may have any number of them, besides being an item itself.
type PatchKey struct {
	SetUID string
	Item   int
}

// Outcome is what became of a step that sends something.
type Outcome struct {
	Err            string // the failure message; "" when the step succeeded
	WaitingForKind bool

	Resource             string // of an item: how the kind turned out to be reached; "" when the step knew
	UID, ResourceVersion string // of an item
	Generation           int64  // of a patch's object; 0 for kinds without
	Created, Existed     bool
	Untouched            bool   // of Create: it was there; of Patch: the target is still as it was left
	Fields               []byte // digest of our entries in managedFields
	Health               Health

	Deleting bool // of Delete: asked for, not yet gone
	NotOurs  bool // of Delete: left alone
	// Elsewhere says, of Delete and Release, that the object stays under another identity: only the row goes.
	Elsewhere bool
}

// Report is everything that a run leaves behind.
type Report struct {
	Sets    []Set
	Upserts []inventory.Row
	Drops   []inventory.Identity
	Retired []decide.Removal // with nothing left to do
	RetryIn time.Duration    // the earliest retry of any set; 0: none
	Health  string           // the worst of the sets
	Drifts  int              // objects found changed by others and healed
	// InProgress says that objects of sets that were worked on are in progress, Moved that this is not as it was before the run.
	InProgress, Moved bool
	// Succeeded says that every set is a Success.
	Succeeded bool
}

// Of makes the report. chance returns numbers in [0, 1) for the jitter of retries.
func Of(in decide.Input, plan decide.Plan, outcomes Outcomes, chance func() float64) Report {
	b := builder{
		in: in, outcomes: outcomes, chance: chance, sets: map[string]*state{}, rows: map[inventory.Identity]inventory.Row{},
		owning: map[string]bool{},
	}
	for _, r := range in.Inventory {
		b.rows[r.Identity] = r
	}
	for n, s := range in.Sets {
		b.sets[s.UID] = &state{set: s, objects: b.retained(s)}
		if plan.Cause != "" {
			b.sets[s.UID].disposition = decide.Suspended
			continue
		}
		b.sets[s.UID].disposition = plan.Sets[n].Disposition
		for _, step := range plan.Sets[n].Steps {
			b.item(b.sets[s.UID], step)
		}
	}
	handled := make(map[inventory.Identity]bool, len(plan.Removals))
	for _, step := range plan.Removals {
		handled[step.Identity] = true
		b.removal(b.sets[step.SetUID], step)
	}
	b.leftovers(handled)
	b.settlePatched(plan)
	return b.finish(plan)
}

// Unreachable turns a report into one of a target that could not be reached: no set is a Success or a Failure of its own. Health is
// what was seen last, and what was patched before stays recorded.
func (r Report) Unreachable(in decide.Input, message string) Report {
	patches := r.patches()
	r.Sets, r.RetryIn, r.Retired, r.Succeeded = nil, 0, nil, false
	for _, s := range in.Sets {
		set := asBefore(s)
		set.Result, set.Cause, set.Message = v1.ResultPending, v1.CauseUnreachable, message
		if s.Suspended {
			set.Result, set.Cause = v1.ResultSuspended, v1.CauseSuspended
		}
		if sent, found := patches[s.UID]; found {
			set.Patches = sent
		}
		r.Sets = append(r.Sets, set)
	}
	return r
}

// Interrupted turns a report into one of a run that did not come to its end: sets are as before, but for the patches that were sent.
func (r Report) Interrupted(in decide.Input) Report {
	patches := r.patches()
	r.Sets, r.RetryIn, r.Retired, r.Succeeded = nil, 0, nil, false
	for _, s := range in.Sets {
		set := asBefore(s)
		if sent, found := patches[s.UID]; found && !reflect.DeepEqual(sent, s.Previous.Patches) {
			set.Patches = sent
			r.Sets = append(r.Sets, set)
		}
	}
	return r
}

// asBefore returns the state that the last run left.
func asBefore(s decide.Set) Set {
	p := s.Previous
	return Set{
		UID: s.UID, Observed: p.Observed, Result: p.Result, Cause: p.Cause, Message: p.Message, KeepRetry: true, Objects: p.Objects,
		Health: p.Health, Patches: p.Patches,
	}
}

func (r Report) patches() map[string][]decide.PatchRecord {
	of := make(map[string][]decide.PatchRecord, len(r.Sets))
	for _, s := range r.Sets {
		of[s.UID] = s.Patches
	}
	return of
}

// state gathers what is known of one set.
type state struct {
	set         decide.Set
	disposition decide.Disposition
	failure     string // the first one
	retry       bool
	waiting     bool // for a kind
	conflict    bool
	held, left  bool // rows that wait for a confirmation; rows that are not gone yet
	deleting    bool
	objects     []v1.ObjectStatus
}

type builder struct {
	in       decide.Input
	outcomes Outcomes
	chance   func() float64
	sets     map[string]*state
	rows     map[inventory.Identity]inventory.Row
	owning   map[string]bool // uids of sets with rows that no step was about and that they do not render
	report   Report
}

// retained carries over what was let go and shown, until the set renders it again.
func (b builder) retained(s decide.Set) []v1.ObjectStatus {
	var kept []v1.ObjectStatus
	for _, o := range s.Previous.Objects {
		again := false
		for _, i := range s.Items {
			again = again || (i.Type != render.Patch && i.Kind == o.Kind && i.Namespace == o.Namespace && i.Name == o.Name)
		}
		if o.State == v1.StateRetained && !again {
			kept = append(kept, o)
		}
	}
	return kept
}

// leftovers finds the sets that still own what they do not render: a row that another set claims is not gone from its owner before
// that set has applied it.
func (b *builder) leftovers(handled map[inventory.Identity]bool) {
	rendered := map[inventory.Identity]map[string]bool{}
	for _, s := range b.in.Sets {
		for _, id := range s.Rendered() {
			if rendered[id] == nil {
				rendered[id] = map[string]bool{}
			}
			rendered[id][s.UID] = true
		}
	}
	for _, r := range b.in.Inventory {
		_, moved := b.outcomes.Objects[r.Identity]
		if handled[r.Identity] || moved || rendered[r.Identity][r.SetUID] {
			continue
		}
		if st, known := b.sets[r.SetUID]; known {
			st.left = true
		}
		b.owning[r.SetUID] = true
	}
}

// finish adds up what was gathered.
func (b builder) finish(plan decide.Plan) Report {
	b.report.Succeeded = true
	rows := b.after()
	health := b.health(rows)
	for _, s := range b.in.Sets {
		st := b.sets[s.UID]
		if st.disposition == decide.Wait {
			b.report.Succeeded = false
			b.retryIn(s.Previous.RetryAt.Sub(b.in.Now))
			b.resting(s)
			continue
		}
		result := st.result(plan.Cause, b.chance)
		result.Health, result.Patches = health[s.UID], b.patches(s, st.disposition)
		b.retryIn(result.RetryIn)
		b.report.Succeeded = b.report.Succeeded && (result.Result == v1.ResultSuccess || result.Gone)
		b.report.Sets = append(b.report.Sets, result)
	}
	b.report.Health = worstOf(health)
	b.progress(rows)
	b.retire(plan)
	return b.report
}

// resting leaves a set as it is, but for patches that this run made stale.
func (b *builder) resting(s decide.Set) {
	set := asBefore(s)
	set.Patches = b.patches(s, decide.Wait)
	if !reflect.DeepEqual(set.Patches, s.Previous.Patches) {
		b.report.Sets = append(b.report.Sets, set)
	}
}

func (b *builder) retryIn(d time.Duration) {
	if d > 0 && (b.report.RetryIn == 0 || d < b.report.RetryIn) {
		b.report.RetryIn = d
	}
}

// retire finds the removals with which everything is done.
func (b *builder) retire(plan decide.Plan) {
	if plan.Cause != "" {
		return
	}
	for _, uid := range slices.Sorted(maps.Keys(b.in.Removals)) {
		r := b.in.Removals[uid]
		st, known := b.sets[uid]
		done := !known && !b.owning[uid] || known && !st.left && (st.disposition == decide.Act || st.disposition == decide.Leave)
		if done {
			b.report.Retired = append(b.report.Retired, r)
		}
	}
}

// result says how the set stands.
func (s *state) result(cause string, chance func() float64) Set {
	out := Set{UID: s.set.UID, Observed: s.set.Previous.Observed, Objects: s.objects}
	if s.disposition == decide.Suspended {
		out.Result, out.Cause, out.KeepRetry = v1.ResultSuspended, v1.CauseSuspended, true
		if cause == v1.CausePaused {
			out.Result, out.Cause = v1.ResultPending, v1.CausePaused
		}
		out.Objects = s.set.Previous.Objects
		return out
	}
	if s.set.Target != nil {
		out.Observed = *s.set.Target
	}
	switch {
	case s.failure != "":
		s.failed(&out, chance)
	case s.held:
		out.Result, out.Cause = v1.ResultHeld, v1.CauseHeld
	case s.deleting, s.left && s.set.Target == nil:
		out.Result, out.Cause = v1.ResultPending, CauseDeleting
	default:
		out.Result, out.Gone = v1.ResultSuccess, s.set.Target == nil
	}
	if s.deleting && out.RetryIn == 0 {
		out.RetryIn = decide.Backoff(1, chance())
	}
	return out
}

// failed fills in a failure and, where another attempt may end differently, when that is due.
func (s *state) failed(out *Set, chance func() float64) {
	out.Result, out.Message = v1.ResultFailure, s.failure
	switch {
	case s.waiting:
		out.Cause = v1.CauseWaitingForKind
	case s.conflict:
		out.Cause = CauseConflict
	}
	if !s.retry {
		return
	}
	out.Attempts = s.set.Previous.Attempts + 1
	if s.set.Target != nil && s.set.Previous.Observed != *s.set.Target {
		out.Attempts = 1
	}
	out.RetryIn = decide.Backoff(out.Attempts, chance())
}
