package decide_test

import (
	"fmt"
	"strings"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
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
			Index: n, Identity: id, Version: "v1", Resource: "things", Object: []byte(uid + id.Name), Hash: []byte(uid + id.Name),
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

// lines shows a whole plan, a step per line, and what becomes of each set when every step succeeds.
func lines(in decide.Input) []string {
	plan := decide.Decide(in)
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
	report := syncstatus.Of(in, plan, succeed(plan), func() float64 { return 0 })
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
