package decide_test

import (
	"testing"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

func TestPatches(t *testing.T) {
	t.Parallel()
	check(t, []test{
		{
			"a new patch is sent and claims nothing",
			decide.Input{Sets: sets{with(set("a"), patches(v1.PatchMerge, cm("x")))}},
			[]string{"a Patch ConfigMap ns/x, merge, look", "= a Success"},
		}, {
			"a patch that was sent is not sent again",
			decide.Input{Sets: sets{with(set("a"), patches(v1.PatchMerge, cm("x")), patched(cm("x")))}},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"a patch that changed is sent",
			decide.Input{Sets: sets{with(set("a"), patches(v1.PatchJSON, cm("x")), patched(cm("x")), edited(0))}},
			[]string{"a Patch ConfigMap ns/x, json, look", "= a Success"},
		}, {
			"a patch whose target changed is sent",
			decide.Input{Sets: sets{with(set("a"), patches(v1.PatchJSON, cm("y")), patched(cm("x")))}},
			[]string{"a Patch ConfigMap ns/y, json, look", "= a Success"},
		}, {
			"patches are sent again when the set was edited, JSON patches only where the target changed since",
			decide.Input{Sets: sets{
				with(set("a"), patches(v1.PatchMerge, cm("x")), patched(cm("x")), observed(1)),
				with(set("b"), patches(v1.PatchJSON, cm("y")), patched(cm("y")), observed(1)),
			}},
			[]string{
				"a Patch ConfigMap ns/x, merge",
				"b Patch ConfigMap ns/y, json, unless uid-y is at 1",
				"= a Success",
				"= b Success",
			},
		}, {
			"a patch is sent again when a later set writes its object",
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
		}, {
			"a patch is not sent again for an object that its set does not get to",
			decide.Input{
				Sets: sets{
					with(set("a"), patches(v1.PatchMerge, cm("x")), patched(cm("x"))),
					with(set("b", cm("w"), cm("x")), faulty(0), edited(1)),
				},
				Inventory: rows{row("b", cm("x"))},
			},
			[]string{
				"a Unchanged ConfigMap ns/x",
				"b Fail ConfigMap ns/w: failed to decode resource 0: x",
				"= a Success",
				"= b Failure [w Failed]",
			},
		}, {
			"a patch that was missed is sent in a later run",
			decide.Input{Sets: sets{with(set("a"), patches(v1.PatchMerge, cm("x")), patched(cm("x")), stale)}},
			[]string{"a Patch ConfigMap ns/x, merge", "= a Success"},
		}, {
			"a full apply sends merge patches again",
			decide.Input{FullApply: true, Sets: sets{with(set("a"), patches(v1.PatchMerge, cm("x")), patched(cm("x")))}},
			[]string{"a Patch ConfigMap ns/x, merge", "= a Success"},
		}, {
			"a full apply sends JSON patches only where the target changed since",
			decide.Input{FullApply: true, Sets: sets{with(set("a"), patches(v1.PatchJSON, cm("x")), patched(cm("x")))}},
			[]string{"a Patch ConfigMap ns/x, json, unless uid-x is at 1", "= a Success"},
		}, {
			"a full apply sends a new JSON patch in any case",
			decide.Input{FullApply: true, Sets: sets{with(set("a"), patches(v1.PatchJSON, cm("x")))}},
			[]string{"a Patch ConfigMap ns/x, json, look", "= a Success"},
		}, {
			"patches that moved up in the list are not sent again",
			decide.Input{Sets: sets{with(set("a"), patches(v1.PatchJSON, cm("y"), cm("x")), patched(cm("w"), cm("x"), cm("y")))}},
			[]string{"a Unchanged ConfigMap ns/y", "a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"of two records for the same patch the one at its place counts",
			decide.Input{
				FullApply: true,
				Sets:      sets{with(set("a"), patches(v1.PatchJSON, cm("x"), cm("x")), patched(cm("x"), cm("x")), func(s *decide.Set) { s.Previous.Patches[1].ResourceVersion = "7" })},
			},
			[]string{
				"a Patch ConfigMap ns/x, json, unless uid-x is at 1",
				"a Patch ConfigMap ns/x, json, unless uid-x is at 7",
				"= a Success",
			},
		}, {
			"a patch of an object that the set has is sent after it, and its fields are left out of the apply",
			decide.Input{Sets: sets{with(set("a", cm("x")), patches(v1.PatchStrategic, cm("x")))}},
			[]string{"a Apply ConfigMap ns/x, intent, absent, patched", "a Patch ConfigMap ns/x, awaited, strategic, look", "= a Success"},
		}, {
			"the fields of a patch are left out of a merge, too",
			decide.Input{
				Sets:      sets{with(set("a", cm("x")), merging, edited(0), patches(v1.PatchStrategic, cm("x")))},
				Inventory: rows{row("a", cm("x"), merged)},
			},
			[]string{"a Merge ConfigMap ns/x, patched", "a Patch ConfigMap ns/x, awaited, strategic, look", "= a Success"},
		}, {
			"a patch of an object that another set brings waits for it",
			decide.Input{Sets: sets{with(set("a"), patches(v1.PatchStrategic, cm("x"))), set("b", cm("x"))}},
			[]string{
				"a Patch ConfigMap ns/x, awaited, strategic, look",
				"b Apply ConfigMap ns/x, intent, absent, patched",
				"= a Success",
				"= b Success",
			},
		}, {
			"a patch of an object of a resting set does not wait",
			decide.Input{
				Sets: sets{with(set("a"), patches(v1.PatchStrategic, cm("x"))), with(set("b", cm("x")), failing(2, time.Minute))},
			},
			[]string{"a Patch ConfigMap ns/x, strategic, look", "b Wait", "= a Success"},
		}, {
			"a patch of an object of a suspended set does not wait",
			decide.Input{Sets: sets{with(set("a"), patches(v1.PatchStrategic, cm("x"))), with(set("b", cm("x")), suspended)}},
			[]string{"a Patch ConfigMap ns/x, strategic, look", "b Suspended", "= a Success", "= b Suspended/Suspended"},
		}, {
			"the patch of a suspended set keeps its fields",
			decide.Input{Sets: sets{with(set("a"), patches(v1.PatchStrategic, cm("x")), suspended), set("b", cm("x"))}},
			[]string{"a Suspended", "b Apply ConfigMap ns/x, intent, absent, patched", "= a Suspended/Suspended", "= b Success"},
		}, {
			"a set that went patches nothing",
			decide.Input{
				Sets: sets{with(set("a"), patches(v1.PatchStrategic, cm("x")), func(s *decide.Set) { s.Target = nil }, suspended), set("b", cm("x"))},
			},
			[]string{"a Suspended", "b Apply ConfigMap ns/x, intent, absent", "= a Suspended/Suspended", "= b Success"},
		}, {
			"a patch is sent again to an object of ours that was made anew",
			decide.Input{
				Sets:      sets{with(set("a", cm("x")), patches(v1.PatchJSON, cm("x")), patched(cm("x")))},
				Inventory: rows{row("a", cm("x"), func(r *inventory.Row) { r.ObjectUID = "anew" })},
			},
			[]string{"a Unchanged ConfigMap ns/x", "a Patch ConfigMap ns/x, awaited, json, look", "= a Success"},
		}, {
			"a patch of an object of ours that is as it was is not sent again",
			decide.Input{
				Sets:      sets{with(set("a", cm("x")), patches(v1.PatchJSON, cm("x")), patched(cm("x")))},
				Inventory: rows{row("a", cm("x"))},
			},
			[]string{"a Unchanged ConfigMap ns/x", "a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"a JSON patch of an object that was made anew is sent at a full apply in any case",
			decide.Input{
				FullApply: true,
				Sets:      sets{with(set("a", cm("x")), patches(v1.PatchJSON, cm("x")), patched(cm("x")))},
				Inventory: rows{row("a", cm("x"), func(r *inventory.Row) { r.ObjectUID = "anew" })},
			},
			[]string{"a Apply ConfigMap ns/x, patched", "a Patch ConfigMap ns/x, awaited, json, look", "= a Success"},
		}, {
			"a patch is sent again to an object that a verification does not find",
			decide.Input{
				Verify:    true,
				Sets:      sets{with(set("a", cm("x")), patches(v1.PatchMerge, cm("x")), patched(cm("x")))},
				Inventory: rows{row("a", cm("x"))},
				Seen:      verified{cm("x"): {}},
			},
			[]string{
				"a Apply ConfigMap ns/x, intent, absent, patched, drift by ?",
				"a Patch ConfigMap ns/x, awaited, merge, look",
				"= a Success",
			},
		}, {
			"a patch is sent again to an object that a verification finds replaced",
			decide.Input{
				Verify:    true,
				Sets:      sets{with(set("a", cm("x")), patches(v1.PatchMerge, cm("x")), patched(cm("x")))},
				Inventory: rows{row("a", cm("x"))},
				Seen:      verified{cm("x"): found("a", cm("x"), another)},
			},
			[]string{"a Apply ConfigMap ns/x, intent, patched, drift by ?", "a Patch ConfigMap ns/x, awaited, merge, look", "= a Success"},
		}, {
			"a patch is not sent again for what a verification finds as it was",
			decide.Input{
				Verify:    true,
				Sets:      sets{with(set("a", cm("x")), patches(v1.PatchMerge, cm("x")), patched(cm("x")))},
				Inventory: rows{row("a", cm("x"))},
				Seen:      verified{cm("x"): found("a", cm("x"))},
			},
			[]string{"a Unchanged ConfigMap ns/x", "a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"our own patch is no drift of the object",
			decide.Input{
				Verify:    true,
				Sets:      sets{with(set("a", cm("x")), patches(v1.PatchMerge, cm("x")), patched(cm("x")))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), meddled, anonymous)},
			},
			[]string{"a Apply ConfigMap ns/x, patched", "a Patch ConfigMap ns/x, awaited, merge", "= a Success"},
		}, {
			"somebody else's change of a patched object is",
			decide.Input{
				Verify:    true,
				Sets:      sets{with(set("a", cm("x")), patches(v1.PatchMerge, cm("x")), patched(cm("x")))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), meddled)},
			},
			[]string{"a Apply ConfigMap ns/x, patched, drift by someone", "a Patch ConfigMap ns/x, awaited, merge", "= a Success"},
		}, {
			"a patch that cannot be rendered stops the later ones and lets nothing go",
			decide.Input{
				Sets:      sets{with(set("a", cm("x")), patches(v1.PatchMerge, cm("x"), cm("y")), func(s *decide.Set) { s.Items[1].Fault = "failed to render patch 0: x" }, patched(cm("x"), cm("y")))},
				Inventory: rows{row("a", cm("x")), row("a", cm("z"))},
				Removals:  removals(decide.Open, "a"),
			},
			[]string{"a Unchanged ConfigMap ns/x", "a Fail ConfigMap ns/x: failed to render patch 0: x", "= a Failure"},
		}, {
			"a patch of a kind that nobody brings waits for it in later runs",
			decide.Input{Sets: sets{with(set("a"), patches(v1.PatchMerge, widget("w")), unmapped(0, false))}},
			[]string{
				"a Fail Widget ns/w, retry, waiting: failed to apply patch 0: waiting for kind Widget in example.com/v1",
				"= a Failure/WaitingForKind retry 5s",
			},
		}, {
			"a patch of a kind that a set of the cluster brings waits for it in this run",
			decide.Input{Sets: sets{with(set("a"), patches(v1.PatchMerge, widget("w")), unmapped(0, true))}},
			[]string{"a Patch Widget ns/w, awaited, merge, look", "= a Success"},
		}, {
			"a patch whose kind the target does not tell is tried again",
			decide.Input{
				Sets: sets{with(set("a"), patches(v1.PatchMerge, cm("x")), last(func(i *decide.Item) { i.Refused = "forbidden" }))},
			},
			[]string{"a Fail ConfigMap ns/x, retry: failed to apply patch 0: forbidden", "= a Failure retry 5s"},
		}, {
			"several patches of one object are sent in order",
			decide.Input{Sets: sets{with(set("a"), patches(v1.PatchMerge, cm("x"), cm("x")), edited(1))}},
			[]string{"a Patch ConfigMap ns/x, merge, look", "a Patch ConfigMap ns/x, merge, look", "= a Success"},
		}, {
			"secrets come after resources and before patches",
			decide.Input{Sets: sets{with(set("a", cm("x"), cm("s")), secrets(1), patches(v1.PatchMerge, cm("x")))}},
			[]string{
				"a Apply ConfigMap ns/x, intent, absent, patched",
				"a Apply ConfigMap ns/s, intent, absent",
				"a Patch ConfigMap ns/x, awaited, merge, look",
				"= a Success",
			},
		}, {
			"a secret that a resource already is fails",
			decide.Input{Sets: sets{with(set("a", cm("x"), cm("x"), cm("x")), secrets(1))}},
			[]string{
				"a Apply ConfigMap ns/x, intent, absent",
				"a Fail ConfigMap ns/x: failed to apply secret 0 (ConfigMap ns/x): it is the same object as resource 0",
				"= a Failure [x Failed]",
			},
		}, {
			"a secret that cannot be read stops the patches and waits for it",
			decide.Input{
				Sets: sets{with(set("a", cm("x"), cm("s")), secrets(1), last(func(i *decide.Item) { i.Fault = `failed to read secret 0: secret "foo/x" not found` }), patches(v1.PatchMerge, cm("x")))},
			},
			[]string{
				"a Apply ConfigMap ns/x, intent, absent, patched",
				`a Fail ConfigMap ns/s: failed to read secret 0: secret "foo/x" not found`,
				"= a Failure [s Failed]",
			},
		}, {
			"a secret whose values are on their way is tried again",
			decide.Input{
				Sets: sets{with(set("a", cm("s")), secrets(0), last(func(i *decide.Item) { i.Fault, i.Passing = `failed to read secret 0: not yet`, true }))},
			},
			[]string{"a Fail ConfigMap ns/s, retry: failed to read secret 0: not yet", "= a Failure retry 5s [s Failed]"},
		}, {
			"a secret whose kind the target does not tell is named as one",
			decide.Input{Sets: sets{with(set("a", cm("s")), secrets(0), last(func(i *decide.Item) { i.Refused = "forbidden" }))}},
			[]string{
				"a Fail ConfigMap ns/s, retry: failed to apply secret 0 (ConfigMap ns/s): forbidden",
				"= a Failure retry 5s [s Failed]",
			},
		}, {
			"a set that cannot be read keeps the records of its patches",
			decide.Input{Sets: sets{with(set("a"), unreadable, patched(cm("x")))}},
			[]string{"a Fail  : failed to decode the set: x", "= a Failure"},
		},
	})
}
