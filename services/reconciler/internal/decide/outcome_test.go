package decide_test

import (
	"testing"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
)

func TestOutcomes(t *testing.T) {
	t.Parallel()
	checkOutcomes(t, []outcomeTest{
		{
			test{
				"the first item fails and the others are not attempted",
				decide.Input{Sets: sets{set("a", cm("x"), cm("y"))}},
				[]string{"a Apply ConfigMap ns/x, intent, absent", "a Apply ConfigMap ns/y, intent, absent", "= a Failure retry 5s"},
			},
			after(refused(cm("x")), unattempted(cm("y"))),
		}, {
			test{
				"the second item fails and what came before stays applied",
				decide.Input{Sets: sets{set("a", cm("x"), cm("y"), cm("z"))}},
				[]string{
					"a Apply ConfigMap ns/x, intent, absent",
					"a Apply ConfigMap ns/y, intent, absent",
					"a Apply ConfigMap ns/z, intent, absent",
					"= a Failure retry 5s",
				},
			},
			after(refused(cm("y")), unattempted(cm("z"))),
		}, {
			test{
				"the last item fails",
				decide.Input{Sets: sets{set("a", cm("x"), cm("y"))}},
				[]string{"a Apply ConfigMap ns/x, intent, absent", "a Apply ConfigMap ns/y, intent, absent", "= a Failure retry 5s"},
			},
			refused(cm("y")),
		}, {
			test{
				"an intent that was there before stays when its request is not made",
				decide.Input{Sets: sets{set("a", cm("x"), cm("y"))}, Inventory: rows{row("a", cm("y"), intent)}},
				[]string{"a Apply ConfigMap ns/x, intent, absent", "a Apply ConfigMap ns/y, absent", "= a Failure retry 5s"},
			},
			after(refused(cm("x")), unattempted(cm("y"))),
		}, {
			test{
				"a set that failed before counts on",
				decide.Input{Sets: sets{with(set("a", cm("x")), failing(2, 0))}},
				[]string{"a Apply ConfigMap ns/x, intent, absent", "= a Failure retry 40s"},
			},
			refused(cm("x")),
		}, {
			test{
				"a set that failed at its former generation counts anew",
				decide.Input{Sets: sets{with(set("a", cm("x")), failing(1, 0))}},
				[]string{"a Apply ConfigMap ns/x, intent, absent", "= a Failure retry 5s"},
			},
			refused(cm("x")),
		}, {
			test{
				"after a failure only what is missing is sent",
				decide.Input{
					Sets:      sets{with(set("a", cm("x"), cm("y")), failing(2, 0))},
					Inventory: rows{row("a", cm("x")), row("a", cm("y"), state(v1.StateFailed))},
				},
				[]string{"a Unchanged ConfigMap ns/x", "a Apply ConfigMap ns/y", "= a Success"},
			},
			nil,
		}, {
			test{
				"a kind that did not come is waited for in later runs",
				decide.Input{Sets: sets{with(set("a", widget("w")), unmapped(0, true))}},
				[]string{"a Apply Widget ns/w, intent, absent, awaited", "= a Failure/WaitingForKind retry 5s"},
			},
			changed(widget("w"), func(o *syncstatus.Outcome) { o.Err, o.WaitingForKind = "no such kind", true }),
		}, {
			test{
				"a kind that came in the run is noted",
				decide.Input{Sets: sets{with(set("a", widget("w")), unmapped(0, true))}},
				[]string{"a Apply Widget ns/w, intent, absent, awaited", "= a Success"},
			},
			changed(widget("w"), func(o *syncstatus.Outcome) { o.Resource = "widgets" }),
		}, {
			test{
				"a patch fails and its record stays",
				decide.Input{FullApply: true, Sets: sets{with(set("a"), patches(v1.PatchMerge, cm("x")), patched(cm("x")))}},
				[]string{"a Patch ConfigMap ns/x, merge", "= a Failure retry 5s"},
			},
			refusedPatch("a", 0),
		}, {
			test{
				"a patch that its set does not get to is missed",
				decide.Input{
					Sets:      sets{with(set("a", cm("x")), edited(0), patches(v1.PatchMerge, cm("y")), patched(cm("y")), observed(1))},
					Inventory: rows{row("a", cm("x"))},
				},
				[]string{"a Apply ConfigMap ns/x", "a Patch ConfigMap ns/y, merge", "= a Failure retry 5s"},
			},
			after(refused(cm("x")), func(o *syncstatus.Outcomes) { delete(o.Patches, syncstatus.PatchKey{SetUID: "a"}) }),
		}, {
			test{
				"a patch of a resting set misses what is written meanwhile",
				decide.Input{
					Sets: sets{
						with(set("a"), patches(v1.PatchMerge, cm("x")), failing(2, time.Minute), patched(cm("x"))),
						with(set("b", cm("x")), edited(0)),
					},
					Inventory: rows{row("b", cm("x"))},
				},
				[]string{"a Wait", "b Apply ConfigMap ns/x, patched", "= a Failure", "= b Success"},
			},
			nil,
		}, {
			test{
				"a patch that came before another set's writing is missed",
				decide.Input{
					Sets:      sets{with(set("a"), patches(v1.PatchMerge, cm("x")), patched(cm("x"))), with(set("b", cm("x")), edited(0))},
					Inventory: rows{row("b", cm("x"))},
				},
				[]string{
					"a Patch ConfigMap ns/x, awaited, merge",
					"b Apply ConfigMap ns/x, patched",
					"= a Success",
					"= b Success",
				},
			},
			changedPatch("a", 0, func(o *syncstatus.Outcome) { o.ResourceVersion = "1" }),
		}, {
			test{
				"a new patch fails and leaves no record",
				decide.Input{Sets: sets{with(set("a"), patches(v1.PatchMerge, cm("x")))}},
				[]string{"a Patch ConfigMap ns/x, merge, look", "= a Failure retry 5s"},
			},
			refusedPatch("a", 0),
		}, {
			test{
				"a patch whose target is as it was left stays as recorded",
				decide.Input{FullApply: true, Sets: sets{with(set("a"), patches(v1.PatchJSON, cm("x")), patched(cm("x")))}},
				[]string{"a Patch ConfigMap ns/x, json, unless uid-x is at 1", "= a Success"},
			},
			changedPatch("a", 0, func(o *syncstatus.Outcome) { o.Untouched, o.ResourceVersion = true, "5" }),
		}, {
			test{
				"a patch moves the row of the object that it is about",
				decide.Input{Sets: sets{with(set("a", cm("x")), patches(v1.PatchMerge, cm("x")))}},
				[]string{"a Apply ConfigMap ns/x, intent, absent, patched", "a Patch ConfigMap ns/x, awaited, merge, look", "= a Success"},
			},
			changedPatch("a", 0, func(o *syncstatus.Outcome) { o.ResourceVersion, o.Fields, o.Generation = "10", []byte("patched"), 3 }),
		}, {
			test{
				"a patch that came before the apply does not",
				decide.Input{Sets: sets{with(set("a", cm("x")), patches(v1.PatchMerge, cm("x")))}},
				[]string{"a Apply ConfigMap ns/x, intent, absent, patched", "a Patch ConfigMap ns/x, awaited, merge, look", "= a Success"},
			},
			changedPatch("a", 0, func(o *syncstatus.Outcome) { o.ResourceVersion = "1" }),
		}, {
			test{
				"a patch moves the row of an object that needed no writing",
				decide.Input{
					Sets:      sets{with(set("a", cm("x")), patches(v1.PatchMerge, cm("x")))},
					Inventory: rows{row("a", cm("x"), func(r *inventory.Row) { r.ObjectUID, r.SetGeneration = "u", 2 })},
				},
				[]string{"a Unchanged ConfigMap ns/x", "a Patch ConfigMap ns/x, awaited, merge, look", "= a Success"},
			},
			changedPatch("a", 0, func(o *syncstatus.Outcome) { o.Fields = []byte("patched") }),
		}, {
			test{
				"an object that was found by Create stays as it is",
				decide.Input{Sets: sets{with(set("a", cm("x")), once)}},
				[]string{"a Create ConfigMap ns/x, intent, absent, once", "= a Success"},
			},
			changed(cm("x"), func(o *syncstatus.Outcome) { o.Created, o.Untouched, o.Existed = false, true, true }),
		}, {
			test{
				"an object of ours that was found by Create is ours",
				decide.Input{
					FullApply: true,
					Sets:      sets{with(set("a", cm("x")), once)},
					Inventory: rows{row("a", cm("x"), func(r *inventory.Row) { r.ObjectUID = "u" })},
				},
				[]string{"a Create ConfigMap ns/x, once", "= a Success"},
			},
			changed(cm("x"), func(o *syncstatus.Outcome) { o.Untouched = true }),
		}, {
			test{
				"an object that turned out to have existed is remembered as such",
				decide.Input{Sets: sets{set("a", cm("x"))}},
				[]string{"a Apply ConfigMap ns/x, intent, absent", "= a Success"},
			},
			changed(cm("x"), func(o *syncstatus.Outcome) { o.Created, o.Existed = false, true }),
		}, {
			test{
				"an apply that changed nothing is shown as such and leaves the time",
				decide.Input{FullApply: true, Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"))}},
				[]string{"a Apply ConfigMap ns/x", "= a Success"},
			},
			changed(cm("x"), func(o *syncstatus.Outcome) { o.UID, o.ResourceVersion = "uid-x", "1" }),
		}, {
			test{
				"a second full apply that changes nothing writes no row",
				decide.Input{
					FullApply: true,
					Sets:      sets{set("a", cm("x"))},
					Inventory: rows{row("a", cm("x"), state(v1.StateUnchanged), func(r *inventory.Row) { r.SetGeneration = 2 })},
				},
				[]string{"a Apply ConfigMap ns/x", "= a Success"},
			},
			changed(cm("x"), func(o *syncstatus.Outcome) { o.UID, o.ResourceVersion = "uid-x", "1" }),
		}, {
			test{
				"a second run that changes nothing writes no row",
				decide.Input{
					Sets:      sets{set("a", cm("x"))},
					Inventory: rows{row("a", cm("x"), func(r *inventory.Row) { r.SetGeneration = 2 })},
				},
				[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
			},
			nil,
		}, {
			test{
				"an object in progress makes the run look again",
				decide.Input{Sets: sets{set("a", cm("x"))}},
				[]string{"a Apply ConfigMap ns/x, intent, absent", "= a Success"},
			},
			changed(cm("x"), func(o *syncstatus.Outcome) {
				o.Health = syncstatus.Health{Status: v1.HealthInProgress, Message: "0 of 2"}
			}),
		}, {
			test{
				"health that was asked for and moves is noted",
				decide.Input{AskHealth: true, Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"), inProgress)}},
				[]string{"a Unchanged ConfigMap ns/x, ask", "= a Success"},
			},
			asked(cm("x"), v1.HealthInProgress, "2 of 2"),
		}, {
			test{
				"health that was asked for and stays is no movement",
				decide.Input{AskHealth: true, Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"), inProgress)}},
				[]string{"a Unchanged ConfigMap ns/x, ask", "= a Success"},
			},
			asked(cm("x"), v1.HealthInProgress, "1 of 2"),
		}, {
			test{
				"health that was asked for and is well ends the asking",
				decide.Input{AskHealth: true, Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"), inProgress)}},
				[]string{"a Unchanged ConfigMap ns/x, ask", "= a Success"},
			},
			asked(cm("x"), v1.HealthCurrent, ""),
		}, {
			test{
				"drift that was not healed is written in the next run",
				decide.Input{
					Verify:    true,
					Sets:      sets{with(set("a", cm("x"), cm("y")), edited(0))},
					Inventory: rows{row("a", cm("x")), row("a", cm("y"), recorded)},
					Seen:      verified{cm("y"): found("a", cm("y"), meddled)},
				},
				[]string{"a Apply ConfigMap ns/x", "a Apply ConfigMap ns/y, drift by someone", "= a Failure retry 5s"},
			},
			after(refused(cm("x")), unattempted(cm("y"))),
		}, {
			test{
				"an object that is gone and was not made anew is made in the next run",
				decide.Input{
					Verify:    true,
					Sets:      sets{with(set("a", cm("x"), cm("y")), edited(0))},
					Inventory: rows{row("a", cm("x")), row("a", cm("y"), recorded)},
					Seen:      verified{cm("y"): {}},
				},
				[]string{"a Apply ConfigMap ns/x", "a Apply ConfigMap ns/y, intent, absent, drift by ?", "= a Failure retry 5s"},
			},
			after(refused(cm("x")), unattempted(cm("y"))),
		}, {
			test{
				"drift whose healing fails is tried again",
				decide.Input{
					Verify:    true,
					Sets:      sets{set("a", cm("x"))},
					Inventory: rows{row("a", cm("x"), recorded)},
					Seen:      verified{cm("x"): found("a", cm("x"), meddled)},
				},
				[]string{"a Apply ConfigMap ns/x, drift by someone", "= a Failure retry 5s"},
			},
			refused(cm("x")),
		}, {
			test{
				"a deletion that fails blocks no other and keeps its row",
				decide.Input{
					Sets:      sets{set("a")},
					Inventory: rows{row("a", cm("x"), item(0)), row("a", cm("y"), item(1))},
					Removals:  removals(decide.Open, "a"),
				},
				[]string{"a Delete ConfigMap ns/y", "a Delete ConfigMap ns/x", "= a Failure retry 5s"},
			},
			refused(cm("y")),
		}, {
			test{
				"a deletion that takes time is looked at again",
				decide.Input{Sets: sets{with(set("a"), gone)}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a")},
				[]string{"a Delete ConfigMap ns/x", "= a Pending/Deleting retry 5s"},
			},
			changed(cm("x"), func(o *syncstatus.Outcome) { o.Deleting = true }),
		}, {
			test{
				"an object that does not carry our marks is left alone and shown",
				decide.Input{Sets: sets{set("a")}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a")},
				[]string{"a Delete ConfigMap ns/x", "= a Success [x Retained]"},
			},
			changed(cm("x"), func(o *syncstatus.Outcome) { o.NotOurs = true }),
		}, {
			test{
				"an object that stays under another identity loses only its row",
				decide.Input{Sets: sets{set("a")}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a")},
				[]string{"a Delete ConfigMap ns/x", "= a Success"},
			},
			changed(cm("x"), func(o *syncstatus.Outcome) { o.Elsewhere = true }),
		}, {
			test{
				"an old object stays while the new one fails",
				decide.Input{Sets: sets{set("a", cm("new"))}, Inventory: rows{row("a", cm("old"))}, Removals: removals(decide.Open, "a")},
				[]string{"a Apply ConfigMap ns/new, intent, absent", "a Delete ConfigMap ns/old, after new", "= a Failure retry 5s"},
			},
			after(refused(cm("new")), unattempted(cm("old"))),
		}, {
			test{
				"a set fails beside one that succeeds",
				decide.Input{Sets: sets{set("a", cm("x")), set("b", cm("y"))}},
				[]string{
					"a Apply ConfigMap ns/x, intent, absent",
					"b Apply ConfigMap ns/y, intent, absent",
					"= a Failure retry 5s",
					"= b Success",
				},
			},
			refused(cm("x")),
		}, {
			test{
				"a release that fails is tried again",
				decide.Input{Sets: sets{with(set("a"), upsert)}, Inventory: rows{row("a", cm("x"))}},
				[]string{"a Release ConfigMap ns/x", "= a Failure retry 5s"},
			},
			refused(cm("x")),
		},
	})
}
