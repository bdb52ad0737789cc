package decide_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
)

type (
	sets = []decide.Set
	rows = []inventory.Row
)

// test is one decision: the whole list of steps, then the status of each set. What else is in steps and in what the run leaves behind
// stands in the test's file in testdata.
type test struct {
	name string
	in   decide.Input
	want []string
}

// check takes every step to succeed.
func check(t *testing.T, tests []test) {
	t.Helper()
	all := make([]outcomeTest, len(tests))
	for n, test := range tests {
		all[n] = outcomeTest{test: test}
	}
	checkOutcomes(t, all)
}

// outcomeTest is a decision of which not every step succeeds.
type outcomeTest struct {
	test
	change func(*syncstatus.Outcomes)
}

func checkOutcomes(t *testing.T, tests []outcomeTest) {
	t.Helper()
	var chapters []string
	for _, test := range tests {
		test.in.Now = now
		decide.Sort(test.in.Sets)
		plan := decide.Decide(test.in)
		outcomes := succeed(plan)
		if test.change != nil {
			test.change(&outcomes)
		}
		report := syncstatus.Of(test.in, plan, outcomes, func() float64 { return 0 })
		chapters = append(chapters, chapter(test.name, test.in, report))
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, lines(plan, report)); diff != "" {
				t.Errorf("the decision differs (-want +got):\n%s", diff)
			}
		})
	}
	golden(t, chapters)
}

func TestApplying(t *testing.T) {
	t.Parallel()
	check(t, []test{
		{
			"a cluster without sets needs nothing", decide.Input{}, []string{},
		}, {
			"a new object gets an intent before it is applied",
			decide.Input{Sets: sets{set("a", cm("x"))}},
			[]string{"a Apply ConfigMap ns/x, intent, absent", "= a Success"},
		}, {
			"an object with the same hash needs no request",
			decide.Input{Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"))}},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"a full apply sends what did not change, too",
			decide.Input{FullApply: true, Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"))}},
			[]string{"a Apply ConfigMap ns/x", "= a Success"},
		}, {
			"an edited object is sent",
			decide.Input{Sets: sets{with(set("a", cm("x"), cm("y")), edited(1))}, Inventory: rows{row("a", cm("x")), row("a", cm("y"))}},
			[]string{"a Unchanged ConfigMap ns/x", "a Apply ConfigMap ns/y", "= a Success"},
		}, {
			"an object whose last apply failed is sent again",
			decide.Input{Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"), state(v1.StateFailed))}},
			[]string{"a Apply ConfigMap ns/x", "= a Success"},
		}, {
			"an object that was being deleted and is wanted again is sent",
			decide.Input{Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"), state(v1.StateDeleting))}},
			[]string{"a Apply ConfigMap ns/x", "= a Success"},
		}, {
			"an object that was held and is wanted again needs nothing",
			decide.Input{Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"), state(v1.StateHeld))}},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"what exists without marks is applied over and remembered as such",
			decide.Input{Sets: sets{set("a", cm("x"))}, Observed: seen{cm("x"): {Presence: decide.Unmarked}}},
			[]string{"a Apply ConfigMap ns/x, intent, existed", "= a Success"},
		}, {
			"what carries this installation's mark is applied over as ours",
			decide.Input{Sets: sets{set("a", cm("x"))}, Observed: seen{cm("x"): {Presence: decide.Ours}}},
			[]string{"a Apply ConfigMap ns/x, intent", "= a Success"},
		}, {
			"an intent whose object is ours goes on without another intent",
			decide.Input{Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"), intent)}, Observed: seen{cm("x"): {Presence: decide.Ours}}},
			[]string{"a Apply ConfigMap ns/x", "= a Success"},
		}, {
			"an intent for an existing object that is marked by now still existed",
			decide.Input{
				Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"), intent, existed)},
				Observed: seen{cm("x"): {Presence: decide.Ours}},
			},
			[]string{"a Apply ConfigMap ns/x, existed", "= a Success"},
		}, {
			"an intent for an existing object that went is an object of ours",
			decide.Input{Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"), intent, existed)}},
			[]string{"a Apply ConfigMap ns/x, intent, absent", "= a Success"},
		}, {
			"an intent whose object somebody else made existed",
			decide.Input{
				Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"), intent)}, Observed: seen{cm("x"): {Presence: decide.Unmarked}},
			},
			[]string{"a Apply ConfigMap ns/x, intent, existed", "= a Success"},
		}, {
			"another installation's object is a conflict that is tried again, and stops nothing",
			decide.Input{
				Sets: sets{set("a", cm("x"), cm("y"))}, Observed: seen{cm("x"): {Presence: decide.Foreign, Installation: "other"}},
			},
			[]string{
				"a Conflict ConfigMap ns/x, retry: failed to apply resource 0 (ConfigMap ns/x): it belongs to another installation, other",
				"a Apply ConfigMap ns/y, intent, absent", "= a Failure/Conflict retry 5s [x Conflict]",
			},
		}, {
			"an object that the target does not let us see fails and is tried again",
			decide.Input{Sets: sets{set("a", cm("x"), cm("y"))}, Observed: seen{cm("x"): {Fault: "forbidden"}}},
			[]string{
				"a Fail ConfigMap ns/x, retry: failed to apply resource 0 (ConfigMap ns/x): forbidden", "= a Failure retry 5s [x Failed]",
			},
		}, {
			"an item that cannot be decoded stops the set and waits for a change",
			decide.Input{Sets: sets{with(set("a", cm("x"), cm("y"), cm("z")), faulty(1))}},
			[]string{
				"a Apply ConfigMap ns/x, intent, absent", "a Fail ConfigMap ns/y: failed to decode resource 1: x", "= a Failure [y Failed]",
			},
		}, {
			"a failing set does not stop another",
			decide.Input{Sets: sets{with(set("a", cm("x")), faulty(0)), set("b", cm("y"))}},
			[]string{
				"a Fail ConfigMap ns/x: failed to decode resource 0: x", "b Apply ConfigMap ns/y, intent, absent",
				"= a Failure [x Failed]", "= b Success",
			},
		}, {
			"the same object twice in a set fails at the second",
			decide.Input{Sets: sets{set("a", cm("x"), cm("x"))}},
			[]string{
				"a Apply ConfigMap ns/x, intent, absent",
				"a Fail ConfigMap ns/x: failed to apply resource 1 (ConfigMap ns/x): it is the same object as resource 0",
				"= a Failure [x Failed]",
			},
		}, {
			"a kind that nobody brings is waited for in later runs",
			decide.Input{Sets: sets{with(set("a", widget("w")), unmapped(0, false))}},
			[]string{
				"a Fail Widget ns/w, retry, waiting: failed to apply resource 0 (Widget ns/w): waiting for kind Widget in example.com/v1",
				"= a Failure/WaitingForKind retry 5s [w Failed]",
			},
		}, {
			"a kind that a set of the cluster brings is waited for in this run",
			decide.Input{Sets: sets{with(set("a", widget("w")), unmapped(0, true))}},
			[]string{"a Apply Widget ns/w, intent, absent, awaited", "= a Success"},
		}, {
			"sets run in order: syncsets, then selectorsyncsets, each by name",
			decide.Input{Sets: sets{with(set("a", cm("x")), selector), set("c", cm("y")), set("b", cm("z"))}},
			[]string{
				"b Apply ConfigMap ns/z, intent, absent", "c Apply ConfigMap ns/y, intent, absent", "a Apply ConfigMap ns/x, intent, absent",
				"= b Success", "= c Success", "= a Success",
			},
		},
	})
}

func TestResting(t *testing.T) {
	t.Parallel()
	check(t, []test{
		{
			"a set that failed rests", decide.Input{Sets: sets{with(set("a", cm("x")), failing(2, time.Minute))}}, []string{"a Wait"},
		}, {
			"a set whose rest is over is tried again",
			decide.Input{Sets: sets{with(set("a", cm("x")), failing(2, 0))}},
			[]string{"a Apply ConfigMap ns/x, intent, absent", "= a Success"},
		}, {
			"a new generation is tried at once",
			decide.Input{Sets: sets{with(set("a", cm("x")), failing(1, time.Minute))}},
			[]string{"a Apply ConfigMap ns/x, intent, absent", "= a Success"},
		}, {
			"a person's wish is tried at once",
			decide.Input{AtOnce: true, Sets: sets{with(set("a", cm("x")), failing(2, time.Minute))}},
			[]string{"a Apply ConfigMap ns/x, intent, absent", "= a Success"},
		}, {
			"a full apply is tried at once",
			decide.Input{FullApply: true, Sets: sets{with(set("a", cm("x")), failing(2, time.Minute))}},
			[]string{"a Apply ConfigMap ns/x, intent, absent", "= a Success"},
		}, {
			"a resting set keeps its claims",
			decide.Input{
				Sets: sets{with(set("a", cm("x")), failing(2, time.Minute)), set("b", cm("x"))}, Inventory: rows{row("a", cm("x"))},
			},
			[]string{
				"a Wait", "b Conflict ConfigMap ns/x: failed to apply resource 0 (ConfigMap ns/x): owned by SyncSet foo/a",
				"= b Failure/Conflict [x Conflict]",
			},
		}, {
			"a set that rests while it waits for a kind acts when a set of this run brings that",
			decide.Input{Sets: sets{with(set("a", widget("w")), unmapped(0, true), failing(2, time.Minute), waitingForKind)}},
			[]string{"a Apply Widget ns/w, intent, absent, awaited", "= a Success"},
		}, {
			"it rests on when nobody brings the kind",
			decide.Input{Sets: sets{with(set("a", widget("w")), unmapped(0, false), failing(2, time.Minute), waitingForKind)}},
			[]string{"a Wait"},
		}, {
			"a set that failed for another reason rests on",
			decide.Input{Sets: sets{with(set("a", widget("w")), unmapped(0, true), failing(2, time.Minute))}},
			[]string{"a Wait"},
		}, {
			"a resting set deletes nothing",
			decide.Input{
				Sets: sets{with(set("a"), failing(2, time.Minute))}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a"),
			},
			[]string{"a Wait"},
		}, {
			"a paused installation does nothing",
			decide.Input{Paused: true, Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("y"))}, Removals: removals(decide.Open, "a")},
			[]string{"cause Paused", "= a Pending/Paused"},
		}, {
			"a suspended cluster does nothing",
			decide.Input{Suspended: true, Sets: sets{set("a", cm("x"))}},
			[]string{"cause Suspended", "= a Suspended/Suspended"},
		}, {
			"a suspended set does nothing, not even when it must go",
			decide.Input{
				Sets: sets{with(set("a", cm("x")), suspended), with(set("b"), gone, suspended)}, Inventory: rows{row("a", cm("y")), row("b", cm("z"))},
				Removals: removals(decide.Open, "a", "b"),
			},
			[]string{"a Suspended", "b Suspended", "= a Suspended/Suspended", "= b Suspended/Suspended"},
		},
	})
}

func TestOwning(t *testing.T) {
	t.Parallel()
	check(t, []test{
		{
			"the incumbent keeps what it has against a selectorsyncset",
			decide.Input{Sets: sets{set("b", cm("x")), with(set("a", cm("x")), selector)}, Inventory: rows{row("b", cm("x"))}},
			[]string{
				"b Unchanged ConfigMap ns/x", "a Conflict ConfigMap ns/x: failed to apply resource 0 (ConfigMap ns/x): owned by SyncSet foo/b",
				"= b Success", "= a Failure/Conflict [x Conflict]",
			},
		}, {
			"among claimants of a new object a selectorsyncset comes before a syncset",
			decide.Input{Sets: sets{set("a", cm("x")), with(set("b", cm("x")), selector)}},
			[]string{
				"a Conflict ConfigMap ns/x: failed to apply resource 0 (ConfigMap ns/x): owned by SelectorSyncSet b",
				"b Apply ConfigMap ns/x, intent, absent", "= a Failure/Conflict [x Conflict]", "= b Success",
			},
		}, {
			"among syncsets the first by name comes first",
			decide.Input{Sets: sets{set("b", cm("x")), set("a", cm("x"))}},
			[]string{
				"a Apply ConfigMap ns/x, intent, absent",
				"b Conflict ConfigMap ns/x: failed to apply resource 0 (ConfigMap ns/x): owned by SyncSet foo/a",
				"= a Success", "= b Failure/Conflict [x Conflict]",
			},
		}, {
			"a conflict does not stop the set's other items",
			decide.Input{Sets: sets{set("a", cm("x")), set("b", cm("x"), cm("y"))}},
			[]string{
				"a Apply ConfigMap ns/x, intent, absent",
				"b Conflict ConfigMap ns/x: failed to apply resource 0 (ConfigMap ns/x): owned by SyncSet foo/a",
				"b Apply ConfigMap ns/y, intent, absent", "= a Success", "= b Failure/Conflict [x Conflict]",
			},
		}, {
			"an object that its owner drops moves to a claimant and stays",
			decide.Input{
				Sets: sets{set("a"), set("b", cm("x"))}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a"),
			},
			[]string{"b Apply ConfigMap ns/x, intent, marked a", "= a Success", "= b Success"},
		}, {
			"an object of a set that must go moves to a claimant and stays",
			decide.Input{
				Sets: sets{with(set("a"), gone), set("b", cm("x"))}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a"),
			},
			[]string{"b Apply ConfigMap ns/x, intent, marked a", "= a gone", "= b Success"},
		}, {
			"a suspended set keeps what it has though it does not render it",
			decide.Input{Sets: sets{with(set("a"), suspended), set("b", cm("x"))}, Inventory: rows{row("a", cm("x"))}},
			[]string{
				"a Suspended", "b Conflict ConfigMap ns/x: failed to apply resource 0 (ConfigMap ns/x): owned by SyncSet foo/a",
				"= a Suspended/Suspended", "= b Failure/Conflict [x Conflict]",
			},
		}, {
			"a set that cannot be rendered keeps what it has",
			decide.Input{
				Sets: sets{with(set("a", cm("y")), faulty(0)), set("b", cm("x"))}, Inventory: rows{row("a", cm("x"))},
				Removals: removals(decide.Open, "a"),
			},
			[]string{
				"a Fail ConfigMap ns/y: failed to decode resource 0: x",
				"b Conflict ConfigMap ns/x: failed to apply resource 0 (ConfigMap ns/x): owned by SyncSet foo/a",
				"= a Failure [y Failed]", "= b Failure/Conflict [x Conflict]",
			},
		}, {
			"a set that cannot be rendered claims the identities in its text",
			decide.Input{Sets: sets{with(set("a", cm("x")), faulty(0)), set("b", cm("x"))}},
			[]string{
				"a Fail ConfigMap ns/x: failed to decode resource 0: x",
				"b Conflict ConfigMap ns/x: failed to apply resource 0 (ConfigMap ns/x): owned by SyncSet foo/a",
				"= a Failure [x Failed]", "= b Failure/Conflict [x Conflict]",
			},
		}, {
			"while an identity cannot be told nothing of any set is deleted",
			decide.Input{
				Sets: sets{with(set("a", cm("x")), nameless(0)), set("b")}, Inventory: rows{row("b", cm("y"))}, Removals: removals(decide.Open, "b"),
			},
			[]string{
				"a Fail  : failed to decode resource: x",
				"b Keep ConfigMap ns/y: a set of this cluster cannot be read: nothing is deleted meanwhile",
				"= a Failure", "= b Success",
			},
		}, {
			"a set that cannot be read at all fails and loses nothing",
			decide.Input{Sets: sets{with(set("a"), unreadable)}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a")},
			[]string{"a Fail  : failed to decode the set: x", "= a Failure"},
		},
	})
}

func TestLettingGo(t *testing.T) {
	t.Parallel()
	check(t, []test{
		{
			"a dropped object is deleted behind an open removal",
			decide.Input{Sets: sets{set("a")}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a")},
			[]string{"a Delete ConfigMap ns/x", "= a Success"},
		}, {
			"a dropped object does not wait for what another set owns",
			decide.Input{
				Sets: sets{set("a", cm("y")), set("b", cm("y"))}, Inventory: rows{row("a", cm("x")), row("b", cm("y"))},
				Removals: removals(decide.Open, "a"),
			},
			[]string{
				"a Conflict ConfigMap ns/y: failed to apply resource 0 (ConfigMap ns/y): owned by SyncSet foo/b", "b Unchanged ConfigMap ns/y",
				"a Delete ConfigMap ns/x", "= a Failure/Conflict [y Conflict]", "= b Success",
			},
		}, {
			"while another set cannot be read nobody knows whether it wants what is dropped",
			decide.Input{
				Sets: sets{set("a"), with(set("b"), unreadable)}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a"),
			},
			[]string{
				"b Fail  : failed to decode the set: x",
				"a Keep ConfigMap ns/x: a set of this cluster cannot be read: nothing is deleted meanwhile", "= a Success", "= b Failure",
			},
		}, {
			"an unreadable set that has to go keeps no other from letting go",
			decide.Input{
				Sets:      sets{set("a"), with(set("b"), unreadable, gone)},
				Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a"),
			},
			[]string{"b Fail  : failed to decode the set: x", "a Delete ConfigMap ns/x", "= a Success", "= b Failure"},
		}, {
			"an object applied since the set is on Sync is deleted",
			decide.Input{Sets: sets{with(set("a"), trackedFrom(1))}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a")},
			[]string{"a Delete ConfigMap ns/x", "= a Success"},
		}, {
			"an object last applied in Upsert mode is released",
			decide.Input{Sets: sets{with(set("a"), trackedFrom(2))}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a")},
			[]string{"a Release ConfigMap ns/x", "= a Success"},
		}, {
			"a kind that is only called Namespace, in a group of its own, goes like any other",
			decide.Input{
				Sets: sets{set("a")}, Removals: removals(decide.Open, "a"),
				Inventory: rows{row("a", inventory.Identity{Group: "x.io", Kind: "Namespace", Name: "ns"}, item(1)), row("a", cm("x"))},
			},
			[]string{"a Delete Namespace ns", "a Delete ConfigMap ns/x", "= a Success"},
		}, {
			"a definition of another group's kinds goes before what is in the namespace",
			decide.Input{
				Sets: sets{set("a")}, Removals: removals(decide.Open, "a"),
				Inventory: rows{row("a", inventory.Identity{Group: "x.io", Kind: "CustomResourceDefinition", Name: "c"}, item(1)), row("a", cm("x"))},
			},
			[]string{"a Delete CustomResourceDefinition c", "a Delete ConfigMap ns/x", "= a Success"},
		}, {
			"without a removal a dropped object stays",
			decide.Input{Sets: sets{set("a")}, Inventory: rows{row("a", cm("x"))}},
			[]string{"a Keep ConfigMap ns/x", "= a Success"},
		}, {
			"without a removal a set that must go keeps what it has",
			decide.Input{Sets: sets{with(set("a"), gone)}, Inventory: rows{row("a", cm("x"))}},
			[]string{"a Keep ConfigMap ns/x", "= a Pending/Deleting"},
		}, {
			"another set's removal is no permission",
			decide.Input{Sets: sets{set("a")}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "b")},
			[]string{"a Keep ConfigMap ns/x", "= a Success"},
		}, {
			"a removal in a state nobody knows is no permission",
			decide.Input{Sets: sets{set("a")}, Inventory: rows{row("a", cm("x"))}, Removals: removals("strange", "a")},
			[]string{"a Keep ConfigMap ns/x", "= a Success"},
		}, {
			"a held removal holds the object while applies go on",
			decide.Input{Sets: sets{set("a", cm("y"))}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Held, "a")},
			[]string{
				"a Apply ConfigMap ns/y, intent, absent", "a Hold ConfigMap ns/x: waits for a confirmation of the deletion", "= a Held/Held",
			},
		}, {
			"a released removal takes our marks off",
			decide.Input{Sets: sets{set("a")}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Released, "a")},
			[]string{"a Release ConfigMap ns/x", "= a Success"},
		}, {
			"in Upsert a dropped object is released, whatever the removal says",
			decide.Input{Sets: sets{with(set("a"), upsert)}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a")},
			[]string{"a Release ConfigMap ns/x", "= a Success"},
		}, {
			"with Orphan a dropped object is released, whatever the removal says",
			decide.Input{Sets: sets{with(set("a"), orphan)}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a")},
			[]string{"a Release ConfigMap ns/x", "= a Success"},
		}, {
			"what was rendered only before the set was on Sync is released",
			decide.Input{Sets: sets{with(set("a"), trackedFrom(2))}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a")},
			[]string{"a Release ConfigMap ns/x", "= a Success"},
		}, {
			"what existed before is released and shown",
			decide.Input{Sets: sets{set("a")}, Inventory: rows{row("a", cm("x"), existed)}, Removals: removals(decide.Open, "a")},
			[]string{
				"a Release ConfigMap ns/x, retained: existed before the set was applied; adopt: true allows deleting it",
				"= a Success [x Retained]",
			},
		}, {
			"with adopt what existed before is deleted",
			decide.Input{Sets: sets{with(set("a"), adopt)}, Inventory: rows{row("a", cm("x"), existed)}, Removals: removals(decide.Open, "a")},
			[]string{"a Delete ConfigMap ns/x", "= a Success"},
		}, {
			"protected kinds are released and shown",
			decide.Input{Sets: sets{set("a")}, Inventory: rows{row("a", namespace("x"))}, Removals: removals(decide.Open, "a")},
			[]string{
				"a Release Namespace x, retained: Namespace is a protected kind; deleteProtectedKinds: true allows deleting it",
				"= a Success [x Retained]",
			},
		}, {
			"a new object must be there before an old one goes",
			decide.Input{
				Sets: sets{set("a", cm("y"), cm("z"))}, Inventory: rows{row("a", cm("x")), row("a", cm("z"))}, Removals: removals(decide.Open, "a"),
			},
			[]string{
				"a Apply ConfigMap ns/y, intent, absent", "a Unchanged ConfigMap ns/z", "a Delete ConfigMap ns/x, after y", "= a Success",
			},
		}, {
			"deletions go backwards through sets and items, custom resources before definitions, Namespaces last",
			decide.Input{
				Sets: sets{with(set("a"), gone, protected), with(set("b"), gone, protected)},
				Inventory: rows{
					row("a", namespace("ns"), item(0)), row("a", crd("widgets.example.com"), item(1)), row("a", cm("x"), item(2)),
					row("b", widget("w"), item(0)), row("b", cm("y"), item(1)),
				},
				Removals: removals(decide.Open, "a", "b"),
			},
			[]string{
				"b Delete ConfigMap ns/y", "b Delete Widget ns/w", "a Delete ConfigMap ns/x",
				"a Delete CustomResourceDefinition widgets.example.com, after w", "a Delete Namespace ns, after x, after w, after y",
				"= a gone", "= b gone",
			},
		}, {
			"a Namespace that is released waits for nothing in it",
			decide.Input{
				Sets: sets{with(set("a"), gone), set("b", cm("x"))}, Inventory: rows{row("a", namespace("ns")), row("b", cm("x"))},
				Removals: removals(decide.Open, "a"),
			},
			[]string{
				"b Unchanged ConfigMap ns/x",
				"a Release Namespace ns, retained: Namespace is a protected kind; deleteProtectedKinds: true allows deleting it",
				"= a gone [ns Retained]", "= b Success",
			},
		}, {
			"a Namespace does not wait for an intent in it that came to nothing",
			decide.Input{
				Sets:      sets{with(set("a"), gone, protected), with(set("b", cm("x")), failing(2, time.Minute))},
				Inventory: rows{row("a", namespace("ns")), row("b", cm("x"), intent)}, Removals: removals(decide.Open, "a"),
			},
			[]string{"b Wait", "a Delete Namespace ns, after x", "= a gone"},
		}, {
			"a Namespace stays while another set has something in it",
			decide.Input{
				Sets: sets{with(set("a"), gone, protected), set("b", cm("x"))}, Inventory: rows{row("a", namespace("ns")), row("b", cm("x"))},
				Removals: removals(decide.Open, "a"),
			},
			[]string{
				"b Unchanged ConfigMap ns/x", "a Keep Namespace ns: holds ConfigMap ns/x, which stays", "= a Pending/Deleting", "= b Success",
			},
		}, {
			"a definition stays while a custom resource is held",
			decide.Input{
				Sets:      sets{with(set("a"), gone, protected), with(set("b"), gone)},
				Inventory: rows{row("a", crd("widgets.example.com")), row("b", widget("w"))},
				Removals:  map[string]decide.Removal{"a": {SetUID: "a", State: decide.Open}, "b": {SetUID: "b", State: decide.Held}},
			},
			[]string{
				"b Hold Widget ns/w: waits for a confirmation of the deletion",
				"a Keep CustomResourceDefinition widgets.example.com: holds Widget ns/w, which stays",
				"= a Pending/Deleting", "= b Held/Held",
			},
		}, {
			"an intent whose object never came to be is forgotten",
			decide.Input{Sets: sets{with(set("a"), gone)}, Inventory: rows{row("a", cm("x"), intent)}},
			[]string{"a Forget ConfigMap ns/x", "= a gone"},
		}, {
			"an intent whose object carries our mark is deleted by the uid that was seen",
			decide.Input{
				Sets: sets{with(set("a"), gone)}, Inventory: rows{row("a", cm("x"), intent)}, Removals: removals(decide.Open, "a"),
				Observed: seen{cm("x"): {Presence: decide.Ours, UID: "seen", OwnerUID: "a"}},
			},
			[]string{"a Delete ConfigMap ns/x", "= a gone"},
		}, {
			"an object that was made anew by a request whose answer was lost is deleted by the uid that was seen",
			decide.Input{
				Sets: sets{with(set("a"), gone)}, Inventory: rows{row("a", cm("x"), state(v1.StateFailed))}, Removals: removals(decide.Open, "a"),
				Observed: seen{cm("x"): {Presence: decide.Ours, UID: "seen", OwnerUID: "a"}},
			},
			[]string{"a Delete ConfigMap ns/x", "= a gone"},
		}, {
			"an object whose last request failed is deleted by its own uid when another's stands in its place",
			decide.Input{
				Sets: sets{with(set("a"), gone)}, Inventory: rows{row("a", cm("x"), state(v1.StateFailed))}, Removals: removals(decide.Open, "a"),
				Observed: seen{cm("x"): {Presence: decide.Unmarked, UID: "theirs"}},
			},
			[]string{"a Delete ConfigMap ns/x", "= a gone"},
		}, {
			"an intent whose object carries another owner's mark is forgotten",
			decide.Input{
				Sets: sets{with(set("a"), gone)}, Inventory: rows{row("a", cm("x"), intent)}, Removals: removals(decide.Open, "a"),
				Observed: seen{cm("x"): {Presence: decide.Ours, UID: "seen", OwnerUID: "other"}},
			},
			[]string{"a Forget ConfigMap ns/x", "= a gone"},
		}, {
			"an object that moved and may still carry the former owner's marks is deleted",
			decide.Input{Sets: sets{set("a")}, Inventory: rows{row("a", cm("x"), moved)}, Removals: removals(decide.Open, "a")},
			[]string{"a Delete ConfigMap ns/x, marked z", "= a Success"},
		}, {
			"rows of a set that nobody knows are left alone",
			decide.Input{Sets: sets{set("a")}, Inventory: rows{row("z", cm("x"))}, Removals: removals(decide.Open, "z")},
			[]string{"= a Success"},
		},
	})
}

func TestUnknownObjectsAreLookedAtOnlyWhereItMatters(t *testing.T) {
	t.Parallel()
	in := decide.Input{
		Now: now,
		Sets: sets{
			set("a", cm("new"), cm("known"), cm("intent")), with(set("b", cm("resting")), failing(2, time.Minute)),
			with(set("c", cm("suspended")), suspended), set("d", cm("new"), cm("own")), with(set("e", widget("w")), unmapped(0, true)),
		},
		Inventory: rows{row("a", cm("known")), row("a", cm("intent"), intent), row("a", cm("unwanted"), intent)},
	}
	var got []string
	for _, ref := range decide.Unknown(in) {
		got = append(got, ref.Name)
	}
	if diff := cmp.Diff([]string{"new", "intent", "own", "unwanted"}, got); diff != "" {
		t.Errorf("the objects to look at differ (-want +got):\n%s", diff)
	}
}

func TestBackoffGrowsFromFiveSecondsToAQuarterOfAnHour(t *testing.T) {
	t.Parallel()
	for attempts := 0; attempts < 100; attempts++ {
		low, high := decide.Backoff(attempts, 0), decide.Backoff(attempts, 0.999999)
		if low < 5*time.Second || high > 15*time.Minute || high <= low {
			t.Errorf("after %d failures: %s to %s", attempts, low, high)
		}
		if attempts > 1 && decide.Backoff(attempts-1, 0) > low {
			t.Errorf("after %d failures less than before", attempts)
		}
	}
}
