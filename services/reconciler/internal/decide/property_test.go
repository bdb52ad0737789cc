package decide_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
)

// object is an object of the model's target.
type object struct {
	uid     string
	version int
	value   string
	mark    decide.Presence // Unmarked, Ours or Foreign
	owner   string          // the owner mark, when Ours
	theirs  bool            // made by others
	fields  string          // stands for our entries in managedFields
}

// world is a cluster with its sets as the system keeps it between runs, and a target to which others write, too.
type world struct {
	t       *testing.T
	chance  *rand.Rand
	sets    map[string]*decide.Set
	rows    map[inventory.Identity]inventory.Row
	target  map[inventory.Identity]*object
	removal map[string]decide.Removal
	serial  int
	faults  bool
}

var names = []inventory.Identity{cm("p"), cm("q"), cm("r"), cm("s"), widget("w")}

func TestRandomHistoriesConvergeAndTouchNothingOfOthers(t *testing.T) {
	t.Parallel()
	histories := uint64(150)
	if testing.Short() {
		histories = 10
	}
	for seed := range histories {
		w := &world{
			t: t, chance: rand.New(rand.NewPCG(seed, 1)), sets: map[string]*decide.Set{}, rows: map[inventory.Identity]inventory.Row{},
			target: map[inventory.Identity]*object{}, removal: map[string]decide.Removal{}, faults: true,
		}
		for range 40 {
			w.happen()
		}
		w.faults = false
		for _, s := range w.sets {
			s.Suspended = false
		}
		for range 3 {
			w.run(decide.Input{Verify: true, AtOnce: true})
		}
		w.run(decide.Input{FullApply: true})
		w.run(decide.Input{AtOnce: true})
		w.converged()
		if t.Failed() {
			t.Fatalf("in the history of seed %d", seed)
		}
	}
}

// happen is one random event.
func (w *world) happen() {
	switch w.chance.IntN(8) {
	case 0, 1:
		w.edit(string(rune('a' + w.chance.IntN(4))))
	case 2, 3:
		w.meddle(names[w.chance.IntN(len(names))])
	case 4:
		w.run(decide.Input{FullApply: true})
	case 5:
		w.run(decide.Input{Verify: true})
	default:
		w.run(decide.Input{AtOnce: w.chance.IntN(2) == 0})
	}
}

// edit changes a set, drops it or suspends it. The planner's permission to delete comes with it.
func (w *world) edit(uid string) {
	s := w.sets[uid]
	if s == nil {
		s = &decide.Set{UID: uid, Resource: v1.ResourceSyncSets, Namespace: "foo", Name: uid, DeletionPolicy: v1.DeletionPolicyDelete}
		if uid == "d" {
			s.Resource, s.Namespace = v1.ResourceSelectorSyncSets, ""
		}
		w.sets[uid] = s
	}
	w.serial++
	generation := int64(w.serial)
	s.Target, s.Items, s.Fault, s.Suspended = &generation, nil, "", w.chance.IntN(6) == 0
	mode := []string{v1.Sync, v1.Sync, v1.Upsert}[w.chance.IntN(3)]
	if mode == v1.Sync && s.Mode != v1.Sync {
		s.TrackedFrom = &generation
	}
	s.Mode, s.Behavior = mode, []string{v1.Apply, v1.Apply, v1.CreateOrUpdate, v1.CreateOnly}[w.chance.IntN(4)]
	w.removal[uid] = decide.Removal{SetUID: uid, Generation: generation, State: decide.Open}
	switch w.chance.IntN(8) {
	case 0:
		s.Target = nil
		return
	case 1:
		s.Fault = "failed to decode the set: x"
		return
	}
	for _, id := range names {
		if w.chance.IntN(2) == 0 {
			continue
		}
		text := fmt.Sprintf("%s of %s at %d", id.Name, uid, w.chance.IntN(3))
		s.Items = append(s.Items, decide.Item{
			Index: len(s.Items), Type: render.Resource, Identity: id, Version: "v1", Resource: "things", Object: []byte(text), Hash: []byte(text),
		})
	}
	if len(s.Items) > 0 && w.chance.IntN(6) == 0 {
		s.Items[w.chance.IntN(len(s.Items))].Fault = "failed to render it"
	}
}

// meddle is what others do to the target.
func (w *world) meddle(id inventory.Identity) {
	w.serial++
	o := w.target[id]
	if o == nil {
		w.target[id] = &object{uid: fmt.Sprintf("theirs-%d", w.serial), version: w.serial, mark: decide.Unmarked, theirs: true}
		return
	}
	o.version = w.serial
	switch w.chance.IntN(6) {
	case 0:
		delete(w.target, id)
	case 1:
		o.value, o.fields = "meddled", "meddled"
	case 2:
		o.mark, o.owner, o.fields = decide.Foreign, "", "meddled"
	case 3:
		if o.mark == decide.Foreign {
			o.mark, o.fields = decide.Unmarked, "meddled" // the other installation let go
		}
	}
}

// run is a run of the system, which may end at any point: before its results are written, or with requests that fail.
func (w *world) run(in decide.Input) {
	in.Now, in.Removals = now.Add(time.Duration(w.serial)*time.Second), w.removal
	for _, s := range w.sets {
		in.Sets = append(in.Sets, *s)
	}
	decide.Sort(in.Sets)
	for _, r := range w.rows {
		in.Inventory = append(in.Inventory, r)
	}
	slices.SortFunc(in.Inventory, func(a, b inventory.Row) int { return a.Compare(b.Identity) })
	in.Observed, in.Seen = seen{}, verified{}
	for _, r := range decide.Unknown(in) {
		in.Observed[r.Identity] = w.look(r.Identity).Observed
	}
	for _, r := range decide.Known(in) {
		in.Seen[r.Identity] = w.look(r.Identity)
	}
	plan := decide.Decide(in)
	outcomes, ended := w.act(in, plan)
	if ended {
		return
	}
	report := syncstatus.Of(in, plan, outcomes, func() float64 { return 0 })
	for _, id := range report.Drops {
		delete(w.rows, id)
	}
	for _, r := range report.Upserts {
		w.rows[r.Identity] = r
	}
	for _, s := range report.Sets {
		at := in.Now.Add(s.RetryIn)
		w.sets[s.UID].Previous = decide.Previous{Observed: s.Observed, Result: s.Result, Attempts: s.Attempts, RetryAt: &at, Objects: s.Objects}
		if s.Gone {
			delete(w.sets, s.UID)
		}
	}
	for _, r := range report.Retired {
		delete(w.removal, r.SetUID)
	}
}

// look is what reading an object shows.
func (w *world) look(id inventory.Identity) decide.Seen {
	o := w.target[id]
	if o == nil {
		return decide.Seen{}
	}
	return decide.Seen{
		Observed:        decide.Observed{Presence: o.mark, UID: o.uid, OwnerUID: o.owner, Installation: "other"},
		ResourceVersion: fmt.Sprint(o.version), Fields: []byte(o.fields), Marked: o.mark == decide.Ours,
	}
}

// act writes the intents and does what the plan says, in order. It reports whether the process died meanwhile.
func (w *world) act(in decide.Input, plan decide.Plan) (outcomes syncstatus.Outcomes, ended bool) {
	outcomes.Objects = map[inventory.Identity]syncstatus.Outcome{}
	for _, s := range plan.Sets {
		for _, step := range s.Steps {
			if step.Intent {
				w.rows[step.Identity] = step.Row
			}
		}
	}
	for _, s := range plan.Sets {
		for _, step := range s.Steps {
			if !writes(step) {
				continue
			}
			if w.bad(30) {
				return outcomes, true
			}
			outcomes.Objects[step.Identity] = w.write(step)
			if outcomes.Objects[step.Identity].Err != "" {
				break
			}
		}
	}
	for _, step := range plan.Removals {
		ready := !slices.ContainsFunc(step.After, func(id inventory.Identity) bool {
			o, attempted := outcomes.Objects[id]
			return !attempted || o.Err != ""
		})
		if (step.Action != decide.Delete && step.Action != decide.Release) || !ready {
			continue
		}
		if w.bad(30) {
			return outcomes, true
		}
		outcomes.Objects[step.Identity] = w.remove(in, step)
	}
	return outcomes, false
}

// bad is true once in so many times, while there are faults.
func (w *world) bad(once int) bool { return w.faults && w.chance.IntN(once) == 0 }

// write does a step that sends an item. A request may fail without having reached the target, or after it.
func (w *world) write(s decide.Step) syncstatus.Outcome {
	if w.bad(12) {
		return syncstatus.Outcome{Err: "failed"}
	}
	o := w.target[s.Identity]
	created := o == nil
	switch {
	case o != nil && o.mark == decide.Foreign && s.Row.ObjectUID != o.uid:
		if s.Action != decide.Create && s.Row.ObjectUID == "" { // else the edge to the target looks first
			w.t.Errorf("%s: %s of another installation's object", s.Identity, s.Action)
		}
		return syncstatus.Outcome{Err: "it belongs to another installation"}
	case o != nil && s.Action == decide.Create:
		return syncstatus.Outcome{UID: o.uid, ResourceVersion: fmt.Sprint(o.version), Untouched: true, Existed: o.mark == decide.Unmarked}
	case created:
		w.serial++
		o = &object{uid: fmt.Sprintf("ours-%d", w.serial), version: w.serial}
		w.target[s.Identity] = o
	}
	existed := o.theirs && o.mark == decide.Unmarked && s.Row.ObjectUID != o.uid
	if o.value != string(s.Object) || o.mark != decide.Ours || o.owner != s.SetUID {
		w.serial++
		o.version, o.value, o.mark, o.owner = w.serial, string(s.Object), decide.Ours, s.SetUID
	}
	o.fields = "ours"
	if w.bad(12) {
		return syncstatus.Outcome{Err: "the answer was lost"}
	}
	return syncstatus.Outcome{
		UID: o.uid, ResourceVersion: fmt.Sprint(o.version), Created: created, Existed: existed, Fields: []byte(o.fields), Resource: "things",
	}
}

// remove deletes or releases, with the preconditions of the edge to the target, and holds the decision to the rules.
func (w *world) remove(in decide.Input, s decide.Step) syncstatus.Outcome {
	for _, set := range in.Sets {
		if slices.Contains(set.Rendered(), s.Identity) {
			w.t.Errorf("%s: %s though set %s claims it", s.Identity, s.Action, set.UID)
		}
	}
	o := w.target[s.Identity]
	ours := o != nil && o.mark == decide.Ours && o.uid == s.Row.ObjectUID && slices.Contains(s.Owners, o.owner)
	switch {
	case w.bad(12):
		return syncstatus.Outcome{Err: "failed"}
	case o == nil:
	case !ours:
		return syncstatus.Outcome{NotOurs: true}
	case s.Action == decide.Release:
		w.serial++
		o.mark, o.owner, o.theirs, o.version, o.fields = decide.Unmarked, "", true, w.serial, "released"
	case o.theirs:
		w.t.Errorf("%s: deleted though others made it", s.Identity)
	case s.Row.ObjectUID == "":
		w.t.Errorf("%s: deleted without a uid", s.Identity)
	default:
		delete(w.target, s.Identity)
	}
	return syncstatus.Outcome{}
}

// converged holds the target to what the sets say.
func (w *world) converged() {
	blocked, waiting := map[string]bool{}, map[string]bool{} // sets that cannot be worked off to their end; that wait for others to let go
	opaque := false
	for uid, s := range w.sets {
		blocked[uid] = s.Fault != "" || slices.ContainsFunc(s.Items, func(i decide.Item) bool {
			return i.Fault != "" || w.rows[i.Identity].State == v1.StateFailed
		})
		waiting[uid] = slices.ContainsFunc(s.Items, func(i decide.Item) bool {
			return w.rows[i.Identity].SetUID != uid || !w.rows[i.Identity].Confirmed()
		})
		opaque = opaque || s.Fault != ""
	}
	for id, o := range w.target {
		row, known := w.rows[id]
		if o.mark == decide.Ours && !known {
			w.t.Errorf("%s carries our marks and nobody knows of it", id)
		}
		if o.mark == decide.Ours && known && !opaque && !w.wanted(id) && !blocked[row.SetUID] && !waiting[row.SetUID] {
			w.t.Errorf("%s is still there, and no set wants it: %s", id, dump(row))
		}
	}
	for uid, s := range w.sets {
		for _, i := range s.Items {
			if o, row := w.target[i.Identity], w.rows[i.Identity]; !blocked[uid] && row.SetUID == uid {
				w.arrived(*s, i, o)
			}
		}
	}
}

func (w *world) wanted(id inventory.Identity) bool {
	for _, s := range w.sets {
		if slices.Contains(s.Rendered(), id) {
			return true
		}
	}
	return false
}

// arrived holds an object to what its owner says.
func (w *world) arrived(s decide.Set, i decide.Item, o *object) {
	switch {
	case o == nil:
		w.t.Errorf("%s of set %s is not there", i.Identity, s.UID)
	case o.mark == decide.Foreign || s.Behavior == v1.CreateOnly:
	case o.value != string(i.Object) || o.owner != s.UID:
		w.t.Errorf("%s of set %s has %q of %q", i.Identity, s.UID, o.value, o.owner)
	}
}
