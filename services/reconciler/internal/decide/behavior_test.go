package decide_test

import (
	"testing"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
)

func TestBehaviors(t *testing.T) {
	t.Parallel()
	check(t, []test{
		{
			"with CreateOnly a new object is created",
			decide.Input{Sets: sets{with(set("a", cm("x")), once)}},
			[]string{"a Create ConfigMap ns/x, intent, absent, once", "= a Success"},
		}, {
			"with CreateOnly an edited object is left alone",
			decide.Input{Sets: sets{with(set("a", cm("x")), once, edited(0))}, Inventory: rows{row("a", cm("x"))}},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"with CreateOnly what existed is left untouched and remembered as such",
			decide.Input{
				Sets:     sets{with(set("a", cm("x")), once)},
				Observed: seen{cm("x"): {Presence: decide.Unmarked, UID: "theirs"}},
			},
			[]string{"a Unchanged ConfigMap ns/x, intent", "= a Success"},
		}, {
			"with CreateOnly an intent whose object is there is settled without a request",
			decide.Input{
				Sets:      sets{with(set("a", cm("x")), once)},
				Inventory: rows{row("a", cm("x"), intent)},
				Observed:  seen{cm("x"): {Presence: decide.Ours, UID: "made", OwnerUID: "a"}},
			},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"with CreateOnly an object that carries another set's marks is remembered with them",
			decide.Input{
				Sets:     sets{with(set("a", cm("x")), once)},
				Observed: seen{cm("x"): {Presence: decide.Ours, UID: "made", OwnerUID: "z"}},
			},
			[]string{"a Unchanged ConfigMap ns/x, intent, marked z", "= a Success"},
		}, {
			"with CreateOnly another installation's object is a conflict",
			decide.Input{
				Sets:     sets{with(set("a", cm("x")), once)},
				Observed: seen{cm("x"): {Presence: decide.Foreign, Installation: "other"}},
			},
			[]string{
				"a Conflict ConfigMap ns/x, retry: failed to apply resource 0 (ConfigMap ns/x): it belongs to another installation, other",
				"= a Failure/Conflict retry 5s [x Conflict]",
			},
		}, {
			"with CreateOnly a full apply creates what is missing",
			decide.Input{FullApply: true, Sets: sets{with(set("a", cm("x")), once)}, Inventory: rows{row("a", cm("x"))}},
			[]string{"a Create ConfigMap ns/x, once", "= a Success"},
		}, {
			"with CreateOnly an object that moves from another set is claimed without being changed",
			decide.Input{Sets: sets{with(set("a", cm("x")), once)}, Inventory: rows{row("b", cm("x"))}},
			[]string{"a Create ConfigMap ns/x, intent, marked b, once", "= a Success"},
		}, {
			"with CreateOnly an object that was being deleted and is wanted again is created",
			decide.Input{Sets: sets{with(set("a", cm("x")), once)}, Inventory: rows{row("a", cm("x"), state(v1.StateDeleting))}},
			[]string{"a Create ConfigMap ns/x, once", "= a Success"},
		}, {
			"with CreateOnly nothing is deleted and created again",
			decide.Input{Sets: sets{with(set("a", cm("x")), once, recreate)}},
			[]string{"a Create ConfigMap ns/x, intent, absent, once", "= a Success"},
		}, {
			"a generated name is created once whatever the set does with others",
			decide.Input{
				Sets:      sets{with(set("a", cm("x"), cm("y")), generated(0), edited(0), edited(1))},
				Inventory: rows{row("a", cm("x")), row("a", cm("y"))},
			},
			[]string{"a Unchanged ConfigMap ns/x", "a Apply ConfigMap ns/y", "= a Success"},
		}, {
			"a generated name that is not there is created",
			decide.Input{Sets: sets{with(set("a", cm("x")), generated(0))}},
			[]string{"a Create ConfigMap ns/x, intent, absent, once", "= a Success"},
		}, {
			"with CreateOrUpdate a new object is created",
			decide.Input{Sets: sets{with(set("a", cm("x")), merging)}},
			[]string{"a Create ConfigMap ns/x, intent, absent", "= a Success"},
		}, {
			"with CreateOrUpdate what existed is merged into",
			decide.Input{
				Sets:     sets{with(set("a", cm("x")), merging)},
				Observed: seen{cm("x"): {Presence: decide.Unmarked, ClientSide: true}},
			},
			[]string{"a Merge ConfigMap ns/x, intent, existed", "= a Success"},
		}, {
			"with CreateOrUpdate an object that was merged needs no request",
			decide.Input{Sets: sets{with(set("a", cm("x")), merging)}, Inventory: rows{row("a", cm("x"), merged)}},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"with CreateOrUpdate an edited object is merged",
			decide.Input{Sets: sets{with(set("a", cm("x")), merging, edited(0))}, Inventory: rows{row("a", cm("x"), merged)}},
			[]string{"a Merge ConfigMap ns/x", "= a Success"},
		}, {
			"with CreateOrUpdate a full apply merges",
			decide.Input{FullApply: true, Sets: sets{with(set("a", cm("x")), merging)}, Inventory: rows{row("a", cm("x"), merged)}},
			[]string{"a Merge ConfigMap ns/x", "= a Success"},
		}, {
			"with CreateOrUpdate another installation's object is a conflict",
			decide.Input{
				Sets:     sets{with(set("a", cm("x")), merging)},
				Observed: seen{cm("x"): {Presence: decide.Foreign, Installation: "other"}},
			},
			[]string{
				"a Conflict ConfigMap ns/x, retry: failed to apply resource 0 (ConfigMap ns/x): it belongs to another installation, other",
				"= a Failure/Conflict retry 5s [x Conflict]",
			},
		}, {
			"going over from Apply to CreateOrUpdate merges what was applied",
			decide.Input{Sets: sets{with(set("a", cm("x")), merging)}, Inventory: rows{row("a", cm("x"))}},
			[]string{"a Merge ConfigMap ns/x", "= a Success"},
		}, {
			"going over from CreateOrUpdate to Apply applies what was merged, whose fields become the apply's",
			decide.Input{Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"), merged)}},
			[]string{"a Apply ConfigMap ns/x, migrate", "= a Success"},
		}, {
			"going over from CreateOnly to Apply applies what was created, whose fields become the apply's",
			decide.Input{Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"), unhashed)}},
			[]string{"a Apply ConfigMap ns/x, migrate", "= a Success"},
		}, {
			"what client-side apply wrote is migrated",
			decide.Input{Sets: sets{set("a", cm("x"))}, Observed: seen{cm("x"): {Presence: decide.Unmarked, ClientSide: true}}},
			[]string{"a Apply ConfigMap ns/x, intent, existed, migrate", "= a Success"},
		}, {
			"what we have applied before is not migrated",
			decide.Input{
				Sets:      sets{with(set("a", cm("x")), edited(0))},
				Inventory: rows{row("a", cm("x"))},
				Observed:  seen{cm("x"): {ClientSide: true}},
			},
			[]string{"a Apply ConfigMap ns/x", "= a Success"},
		}, {
			"with Recreate an object of ours may be deleted and created again",
			decide.Input{Sets: sets{with(set("a", cm("x")), recreate, edited(0))}, Inventory: rows{row("a", cm("x"))}},
			[]string{"a Apply ConfigMap ns/x, recreate", "= a Success"},
		}, {
			"with Recreate a merged object may be, too",
			decide.Input{Sets: sets{with(set("a", cm("x")), recreate, merging, edited(0))}, Inventory: rows{row("a", cm("x"))}},
			[]string{"a Merge ConfigMap ns/x, recreate", "= a Success"},
		}, {
			"with Recreate what existed before may not",
			decide.Input{Sets: sets{with(set("a", cm("x")), recreate, edited(0))}, Inventory: rows{row("a", cm("x"), existed)}},
			[]string{"a Apply ConfigMap ns/x, existed", "= a Success"},
		}, {
			"with Recreate and adopt what existed before may, too",
			decide.Input{
				Sets:      sets{with(set("a", cm("x")), recreate, adopt, edited(0))},
				Inventory: rows{row("a", cm("x"), existed)},
			},
			[]string{"a Apply ConfigMap ns/x, existed, recreate, adopt", "= a Success"},
		}, {
			"with Recreate a protected kind may never",
			decide.Input{Sets: sets{with(set("a", namespace("x")), recreate, adopt, protected)}},
			[]string{"a Apply Namespace x, intent, absent", "= a Success"},
		}, {
			"an object in another API version is sent",
			decide.Input{
				Sets:      sets{with(set("a", widget("w")), edited(0), last(func(i *decide.Item) { i.Version = "v2" }))},
				Inventory: rows{row("a", widget("w"))},
			},
			[]string{"a Apply Widget ns/w", "= a Success"},
		}, {
			"a new set beside applied ones is applied alone",
			decide.Input{Sets: sets{set("a", cm("x")), set("b", cm("y"))}, Inventory: rows{row("a", cm("x"))}},
			[]string{"a Unchanged ConfigMap ns/x", "b Apply ConfigMap ns/y, intent, absent", "= a Success", "= b Success"},
		}, {
			"a renamed set takes over what the former one has",
			decide.Input{
				Sets:      sets{with(set("a"), gone), set("b", cm("x"))},
				Inventory: rows{row("a", cm("x"))},
				Removals:  removals(decide.Open, "a"),
			},
			[]string{"b Apply ConfigMap ns/x, intent, marked a", "= a gone", "= b Success"},
		}, {
			"an object whose rendered name changed goes after the new one is there",
			decide.Input{Sets: sets{set("a", cm("new"))}, Inventory: rows{row("a", cm("old"))}, Removals: removals(decide.Open, "a")},
			[]string{"a Apply ConfigMap ns/new, intent, absent", "a Delete ConfigMap ns/old, after new", "= a Success"},
		}, {
			"labels that render to something else send the object",
			decide.Input{
				Sets:      sets{with(set("a", cm("x"), cm("y")), edited(0))},
				Inventory: rows{row("a", cm("x")), row("a", cm("y"))},
			},
			[]string{"a Apply ConfigMap ns/x", "a Unchanged ConfigMap ns/y", "= a Success"},
		},
	})
}
