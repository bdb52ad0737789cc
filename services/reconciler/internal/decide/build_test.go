package decide_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// cm is a ConfigMap's identity.
func cm(name string) inventory.Identity {
	return inventory.Identity{Kind: "ConfigMap", Namespace: "ns", Name: name}
}

func namespace(name string) inventory.Identity {
	return inventory.Identity{Kind: "Namespace", Name: name}
}

func crd(name string) inventory.Identity {
	return inventory.Identity{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: name}
}

func widget(name string) inventory.Identity {
	return inventory.Identity{Group: "example.com", Kind: "Widget", Namespace: "ns", Name: name}
}

// set is a syncset on Sync at generation 2, last seen at 1, that renders ids.
func set(uid string, ids ...inventory.Identity) decide.Set {
	two := int64(2)
	s := decide.Set{
		UID: uid, Resource: v1.ResourceSyncSets, Namespace: "foo", Name: uid, Target: &two, Mode: v1.Sync,
		DeletionPolicy: v1.DeletionPolicyDelete, Previous: decide.Previous{Observed: 1},
	}
	for n, id := range ids {
		s.Items = append(s.Items, decide.Item{
			Index: n, Type: render.Resource, Identity: id, Version: "v1", Resource: "things", Object: []byte(uid + id.Name), Hash: []byte(uid + id.Name),
		})
	}
	return s
}

// with changes a set.
func with(s decide.Set, changes ...func(*decide.Set)) decide.Set {
	for _, f := range changes {
		f(&s)
	}
	return s
}

func selector(s *decide.Set)   { s.Resource, s.Namespace = v1.ResourceSelectorSyncSets, "" }
func gone(s *decide.Set)       { s.Target, s.Items = nil, nil }
func suspended(s *decide.Set)  { s.Suspended = true }
func upsert(s *decide.Set)     { s.Mode = v1.Upsert }
func orphan(s *decide.Set)     { s.DeletionPolicy = v1.DeletionPolicyOrphan }
func adopt(s *decide.Set)      { s.Adopt = true }
func protected(s *decide.Set)  { s.DeleteProtectedKinds = true }
func unreadable(s *decide.Set) { s.Items, s.Fault = nil, "failed to decode the set: x" }

func edited(n int) func(*decide.Set) {
	return func(s *decide.Set) { s.Items[n].Hash = []byte("new") }
}

func faulty(n int) func(*decide.Set) {
	return func(s *decide.Set) { s.Items[n].Fault = fmt.Sprintf("failed to decode resource %d: x", n) }
}

func nameless(n int) func(*decide.Set) {
	return func(s *decide.Set) {
		s.Items[n].Identity, s.Items[n].Fault = inventory.Identity{}, "failed to decode resource: x"
	}
}

func unmapped(n int, awaited bool) func(*decide.Set) {
	return func(s *decide.Set) { s.Items[n].Resource, s.Items[n].Unmapped, s.Items[n].Awaited = "", true, awaited }
}

func trackedFrom(g int64) func(*decide.Set) { return func(s *decide.Set) { s.TrackedFrom = &g } }

// failing says that the set failed at generation and rests for d.
func failing(generation int64, d time.Duration) func(*decide.Set) {
	at := now.Add(d)
	return func(s *decide.Set) {
		s.Previous = decide.Previous{Observed: generation, Result: v1.ResultFailure, Attempts: 3, RetryAt: &at}
	}
}

// row is a confirmed row of a set at generation 1.
func row(set string, id inventory.Identity, changes ...func(*inventory.Row)) inventory.Row {
	r := inventory.Row{
		Identity: id, SetUID: set, SetGeneration: 1, Version: "v1", Resource: "things", State: v1.StateCreated,
		ObjectUID: "uid-" + id.Name, Hash: []byte(set + id.Name), ResourceVersion: "1",
	}
	for _, f := range changes {
		f(&r)
	}
	return r
}

func intent(r *inventory.Row) {
	r.State, r.ObjectUID, r.Hash, r.ResourceVersion = inventory.StateIntent, "", nil, ""
}
func existed(r *inventory.Row) { r.Existed = true }
func moved(r *inventory.Row)   { r.MarkedUID = "z" }
func item(n int) func(*inventory.Row) {
	return func(r *inventory.Row) { r.Item = n }
}

func state(s string) func(*inventory.Row) { return func(r *inventory.Row) { r.State = s } }

func removals(state string, sets ...string) map[string]decide.Removal {
	m := map[string]decide.Removal{}
	for _, s := range sets {
		m[s] = decide.Removal{SetUID: s, Generation: 2, State: state}
	}
	return m
}

type seen = map[inventory.Identity]decide.Observed

// lines shows a whole plan, a step per line, and what becomes of each set.
func lines(plan decide.Plan, report syncstatus.Report) []string {
	out := []string{}
	if plan.Cause != "" {
		out = append(out, "cause "+plan.Cause)
	}
	for _, s := range plan.Sets {
		if s.Disposition != decide.Act && s.Disposition != decide.Leave {
			out = append(out, s.UID+" "+string(s.Disposition))
		}
		for _, step := range s.Steps {
			out = append(out, line(step))
		}
	}
	for _, step := range plan.Removals {
		out = append(out, line(step))
	}
	for _, s := range report.Sets {
		out = append(out, strings.TrimSpace(fmt.Sprintf("= %s %s", s.UID, status(s))))
	}
	return out
}

func status(s syncstatus.Set) string {
	text := s.Result
	if s.Gone {
		text = "gone"
	}
	if s.Cause != "" {
		text += "/" + s.Cause
	}
	if s.RetryIn > 0 {
		text += " retry " + s.RetryIn.String()
	}
	for _, o := range s.Objects {
		text += " [" + o.Name + " " + o.State + "]"
	}
	return text
}

// succeed says that everything that a plan sends is done.
func succeed(plan decide.Plan) syncstatus.Outcomes {
	o := syncstatus.Outcomes{Objects: map[inventory.Identity]syncstatus.Outcome{}, Patches: map[syncstatus.PatchKey]syncstatus.Outcome{}}
	for _, s := range plan.Sets {
		for _, step := range s.Steps {
			done := syncstatus.Outcome{UID: "u", ResourceVersion: "2", Created: step.Absent}
			switch step.Action {
			case decide.Apply, decide.Create, decide.Merge:
				o.Objects[step.Identity] = done
			case decide.Patch:
				o.Patches[syncstatus.PatchKey{SetUID: step.SetUID, Item: step.Item}] = done
			}
		}
	}
	for _, step := range plan.Removals {
		if step.Action == decide.Delete || step.Action == decide.Release {
			o.Objects[step.Identity] = syncstatus.Outcome{}
		}
	}
	return o
}

// update writes what the tests find as what they are to find.
var update = flag.Bool("update", false, "write testdata anew")

// chapter is the part of a golden file that belongs to a case: every field of every step, and all that the run leaves behind.
func chapter(name string, in decide.Input, report syncstatus.Report) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n", name)
	for _, r := range decide.Unknown(in) {
		fmt.Fprintf(&out, "look at %s\n", dump(r))
	}
	for _, r := range decide.Known(in) {
		fmt.Fprintf(&out, "verify %s\n", dump(r))
	}
	plan := decide.Decide(in)
	for _, s := range plan.Sets {
		fmt.Fprintf(&out, "set %s: %s\n", s.UID, s.Disposition)
		for _, step := range s.Steps {
			fmt.Fprintf(&out, "  %s\n", dump(step))
		}
	}
	for _, step := range plan.Removals {
		fmt.Fprintf(&out, "then %s\n", dump(step))
	}
	for _, s := range report.Sets {
		fmt.Fprintf(&out, "status %s\n", dump(s))
	}
	for _, r := range report.Upserts {
		fmt.Fprintf(&out, "row %s\n", dump(r))
	}
	report.Sets, report.Upserts = nil, nil
	fmt.Fprintf(&out, "report %s\n", dump(report))
	return out.String()
}

// dump shows what is not zero in a value, on one line.
func dump(v any) string { return dumped(reflect.ValueOf(v)) }

func dumped(v reflect.Value) string {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		return v.Interface().(time.Time).Format(time.TimeOnly)
	case v.Kind() == reflect.Pointer:
		return dumped(v.Elem())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		return fmt.Sprintf("%q", v.Bytes())
	case v.Kind() == reflect.Slice:
		var parts []string
		for n := range v.Len() {
			parts = append(parts, dumped(v.Index(n)))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case v.Type() == reflect.TypeFor[inventory.Identity]():
		return v.Interface().(inventory.Identity).String()
	case v.Kind() == reflect.Struct:
		var parts []string
		for n := range v.NumField() {
			if !v.Field(n).IsZero() {
				parts = append(parts, v.Type().Field(n).Name+"="+dumped(v.Field(n)))
			}
		}
		return "{" + strings.Join(parts, " ") + "}"
	}
	return fmt.Sprint(v.Interface())
}

// golden compares chapters with those of a test's file.
func golden(t *testing.T, chapters []string) {
	t.Helper()
	at := filepath.Join("testdata", t.Name()+".txt")
	got := strings.Join(chapters, "\n")
	if *update {
		if err := os.WriteFile(at, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s differs (-want +got); -update writes it anew:\n%s", at, diff)
	}
}

// writes reports whether a step sends an item.
func writes(s decide.Step) bool {
	return s.Action == decide.Apply || s.Action == decide.Create || s.Action == decide.Merge || s.Action == decide.Patch
}

func line(s decide.Step) string {
	text := fmt.Sprintf("%s %s %s", s.SetUID, s.Action, s.Identity)
	flags := []struct {
		on   bool
		name string
	}{
		{s.Intent, "intent"},
		{s.Absent, "absent"},
		{s.Awaited, "awaited"},
		{writes(s) && s.Row.Existed, "existed"},
		{s.Row.MarkedUID != "", "marked " + s.Row.MarkedUID},
		{s.Retained, "retained"},
		{s.Retry, "retry"},
		{s.Once, "once"},
		{s.Patched, "patched"},
		{s.Recreate, "recreate"},
		{s.Adopt, "adopt"},
		{s.Migrate, "migrate"},
		{s.Ask, "ask"},
		{s.Waiting, "waiting"},
		{s.Drift != "", "drift by " + s.Drift},
		{s.PatchType != "", s.PatchType},
		{s.Look, "look"},
		{s.Unless.UID != "", "unless " + s.Unless.UID + " is at " + s.Unless.ResourceVersion},
		{writes(s) && s.Object == nil, "WITHOUT OBJECT"},
	}
	for _, f := range flags {
		if f.on {
			text += ", " + f.name
		}
	}
	for _, id := range s.After {
		text += ", after " + id.Name
	}
	if s.Action == decide.Delete && s.Row.ObjectUID == "" {
		text += ", WITHOUT UID"
	}
	if s.Message != "" {
		text += ": " + s.Message
	}
	return text
}

func once(s *decide.Set)     { s.Behavior = v1.CreateOnly }
func merging(s *decide.Set)  { s.Behavior = v1.CreateOrUpdate }
func recreate(s *decide.Set) { s.Recreate = true }

// generated says that the name of item n was made from generateName.
func generated(n int) func(*decide.Set) {
	return func(s *decide.Set) { s.Items[n].CreateOnly = true }
}

// secrets makes the items from n on copies of secrets.
func secrets(n int) func(*decide.Set) {
	return func(s *decide.Set) {
		for m := n; m < len(s.Items); m++ {
			s.Items[m].Type, s.Items[m].Index = render.Secret, m-n
		}
	}
}

// patches gives a set patches of a type.
func patches(kind string, ids ...inventory.Identity) func(*decide.Set) {
	return func(s *decide.Set) {
		for n, id := range ids {
			s.Items = append(s.Items, decide.Item{
				Index: n, Type: render.Patch, Identity: id, Version: "v1", Resource: "things", PatchType: kind,
				Object: []byte("patch of " + id.Name), Hash: []byte("p" + id.Name),
			})
		}
	}
}

// last changes the last item of a set.
func last(f func(*decide.Item)) func(*decide.Set) {
	return func(s *decide.Set) { f(&s.Items[len(s.Items)-1]) }
}

// patched records patches of objects as sent before.
func patched(ids ...inventory.Identity) func(*decide.Set) {
	return func(s *decide.Set) {
		s.Previous.Observed = *s.Target
		for n, id := range ids {
			s.Previous.Patches = append(s.Previous.Patches, decide.PatchRecord{
				Identity: id, Index: n, Hash: []byte("p" + id.Name), UID: "uid-" + id.Name, ResourceVersion: "1",
			})
		}
	}
}

func waitingForKind(s *decide.Set) { s.Previous.Cause = v1.CauseWaitingForKind }

func observed(generation int64) func(*decide.Set) {
	return func(s *decide.Set) { s.Previous.Observed = generation }
}

func stale(s *decide.Set) { s.Previous.Patches[0].Stale = true }

func merged(r *inventory.Row)     { r.Hash = []byte("merged " + string(r.Hash)) }
func unhashed(r *inventory.Row)   { r.Hash = nil }
func inProgress(r *inventory.Row) { r.Health, r.HealthMessage = v1.HealthInProgress, "1 of 2" }
func recorded(r *inventory.Row)   { r.Fields = []byte("f") }
func drifted(r *inventory.Row) {
	at := now.Add(-time.Hour)
	r.Drifts, r.DriftedAt, r.DriftedBy = 2, &at, "someone"
}

func of(health string) func(*inventory.Row) { return func(r *inventory.Row) { r.Health = health } }

type verified = map[inventory.Identity]decide.Seen

// found is what a verification sees of a row's object that nobody touched.
func found(set string, id inventory.Identity, changes ...func(*decide.Seen)) decide.Seen {
	s := decide.Seen{
		Observed:        decide.Observed{Presence: decide.Ours, UID: "uid-" + id.Name, OwnerUID: set},
		ResourceVersion: "1", Fields: []byte("f"), Marked: true,
	}
	for _, f := range changes {
		f(&s)
	}
	return s
}

// touched says that somebody wrote the object, in whose fields ours are as they were.
func touched(s *decide.Seen) { s.ResourceVersion, s.Manager = "9", "someone" }

// meddled says that somebody wrote our fields.
func meddled(s *decide.Seen) {
	s.ResourceVersion, s.Manager, s.Fields = "9", "someone", []byte("other")
}

func unmarked(s *decide.Seen) {
	s.Presence, s.OwnerUID, s.Marked, s.ResourceVersion = decide.Unmarked, "", false, "9"
}

func foreign(s *decide.Seen) {
	s.Presence, s.Installation, s.ResourceVersion, s.Marked = decide.Foreign, "other", "9", false
}

func another(s *decide.Seen)     { s.UID, s.ResourceVersion = "another", "9" }
func terminating(s *decide.Seen) { s.Terminating, s.ResourceVersion = true, "9" }
func healthy(s *decide.Seen)     { s.Health, s.HealthMessage = v1.HealthCurrent, "fine" }
func anonymous(s *decide.Seen)   { s.Manager = "" }

type change = func(*syncstatus.Outcomes)

func after(changes ...change) change {
	return func(o *syncstatus.Outcomes) {
		for _, f := range changes {
			f(o)
		}
	}
}

// changed makes another outcome of what was sent about an object.
func changed(id inventory.Identity, f func(*syncstatus.Outcome)) change {
	return func(o *syncstatus.Outcomes) {
		of := o.Objects[id]
		f(&of)
		o.Objects[id] = of
	}
}

func changedPatch(set string, n int, f func(*syncstatus.Outcome)) change {
	return func(o *syncstatus.Outcomes) {
		key := syncstatus.PatchKey{SetUID: set, Item: n}
		of := o.Patches[key]
		f(&of)
		o.Patches[key] = of
	}
}

func fails(o *syncstatus.Outcome) { *o = syncstatus.Outcome{Err: "failed"} }

func refused(id inventory.Identity) change { return changed(id, fails) }

func refusedPatch(set string, n int) change { return changedPatch(set, n, fails) }

func unattempted(id inventory.Identity) change {
	return func(o *syncstatus.Outcomes) { delete(o.Objects, id) }
}

func asked(id inventory.Identity, status, message string) change {
	return func(o *syncstatus.Outcomes) {
		o.Health = map[inventory.Identity]syncstatus.Health{id: {Status: status, Message: message}}
	}
}
