package decide_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
)

// hidden says that the target did not tell how the kind of an object is reached.
type hidden = map[inventory.Identity]string

func unreached(r *inventory.Row) { r.Resource = "" }

func TestRemovalsAreRetiredOnlyWhenTheSetOwnsNothingUnwantedAnyMore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		in   decide.Input
		want []string
	}{
		{
			"everything was deleted",
			decide.Input{Sets: sets{with(set("a"), gone)}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a")},
			[]string{"a"},
		}, {
			"the set renders what it owns again",
			decide.Input{Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a")},
			[]string{"a"},
		}, {
			"a claimant has applied the object",
			decide.Input{
				Sets: sets{with(set("a"), gone), set("b", cm("x"))}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a"),
			},
			[]string{"a"},
		}, {
			"not while a claimant is suspended and has not taken the object over",
			decide.Input{
				Sets: sets{with(set("a"), gone), with(set("b", cm("x")), suspended)}, Inventory: rows{row("a", cm("x"))},
				Removals: removals(decide.Open, "a"),
			},
			nil,
		}, {
			"not while a claimant rests after a failure",
			decide.Input{
				Sets: sets{with(set("a"), gone), with(set("b", cm("x")), failing(2, time.Minute))}, Inventory: rows{row("a", cm("x"))},
				Removals: removals(decide.Open, "a"),
			},
			nil,
		}, {
			"not while a claimant fails before it comes to the object",
			decide.Input{
				Sets: sets{with(set("a"), gone), with(set("b", cm("y"), cm("x")), faulty(0))}, Inventory: rows{row("a", cm("x"))},
				Removals: removals(decide.Open, "a"),
			},
			nil,
		}, {
			"not while the set dropped the object and a suspended one claims it",
			decide.Input{
				Sets: sets{set("a"), with(set("b", cm("x")), suspended)}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a"),
			},
			nil,
		}, {
			"not while the set cannot be rendered",
			decide.Input{
				Sets: sets{with(set("a", cm("y")), faulty(0))}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a"),
			},
			nil,
		}, {
			"not while it is held",
			decide.Input{Sets: sets{set("a")}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Held, "a")},
			nil,
		}, {
			"a held one of which nothing is left",
			decide.Input{Sets: sets{set("a")}, Removals: removals(decide.Held, "a")},
			[]string{"a"},
		}, {
			"one of a set that nobody knows, when nothing is left of that",
			decide.Input{Inventory: rows{row("z", cm("x"))}, Removals: removals(decide.Held, "y", "z")},
			[]string{"y"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.in.Now = now
			decide.Sort(test.in.Sets)
			plan := decide.Decide(test.in)
			var got []string
			for _, r := range syncstatus.Of(test.in, plan, succeed(plan), func() float64 { return 0 }).Retired {
				got = append(got, r.SetUID)
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("the retired removals differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWaitingForAClaimantShowsASetThatMustGoAsDeleting(t *testing.T) {
	t.Parallel()
	check(t, []test{
		{
			"the object stays until the claimant has it, and so does the set",
			decide.Input{
				Sets: sets{with(set("a"), gone), with(set("b", cm("x")), suspended)}, Inventory: rows{row("a", cm("x"))},
				Removals: removals(decide.Open, "a"),
			},
			[]string{"b Suspended", "= a Pending/Deleting", "= b Suspended/Suspended"},
		}, {
			"when the claimant lets go the object is deleted",
			decide.Input{
				Sets: sets{with(set("a"), gone), set("b")}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a"),
			},
			[]string{"a Delete ConfigMap ns/x", "= a gone", "= b Success"},
		},
	})
}

func TestRowsWhoseKindWasNotKnown(t *testing.T) {
	t.Parallel()
	check(t, []test{
		{
			"an object of a kind that the target does not have is forgotten",
			decide.Input{Sets: sets{with(set("a"), gone)}, Inventory: rows{row("a", widget("w"), unreached)}, Removals: removals(decide.Open, "a")},
			[]string{"a Forget Widget ns/w", "= a gone"},
		}, {
			"an object whose kind the target did not tell is kept and tried again",
			decide.Input{
				Sets: sets{with(set("a"), gone)}, Inventory: rows{row("a", widget("w"), unreached)}, Removals: removals(decide.Open, "a"),
				Refused: hidden{widget("w"): "forbidden"},
			},
			[]string{
				"a Keep Widget ns/w, retry: failed to delete example.com/v1, Kind=Widget ns/w: forbidden", "= a Failure retry 5s",
			},
		}, {
			"so is an intent",
			decide.Input{
				Sets: sets{with(set("a"), gone)}, Inventory: rows{row("a", widget("w"), unreached, intent)}, Removals: removals(decide.Open, "a"),
				Refused: hidden{widget("w"): "forbidden"},
			},
			[]string{
				"a Keep Widget ns/w, retry: failed to delete example.com/v1, Kind=Widget ns/w: forbidden", "= a Failure retry 5s",
			},
		}, {
			"an intent that the target does not let us see is kept and tried again",
			decide.Input{
				Sets: sets{set("a")}, Inventory: rows{row("a", cm("x"), intent)}, Removals: removals(decide.Open, "a"),
				Observed: seen{cm("x"): {Fault: "forbidden"}},
			},
			[]string{
				"a Keep ConfigMap ns/x, retry: failed to delete v1, Kind=ConfigMap ns/x: forbidden", "= a Failure retry 5s",
			},
		},
	})
}

func TestWhatCannotBeReadLetsNothingGo(t *testing.T) {
	t.Parallel()
	check(t, []test{
		{
			"a set that must go and cannot be read keeps its objects and their marks",
			decide.Input{
				Sets: sets{with(set("a"), gone, unreadable, upsert)}, Inventory: rows{row("a", cm("x"))}, Removals: removals(decide.Open, "a"),
			},
			[]string{
				"a Fail  : failed to decode the set: x",
				"a Keep ConfigMap ns/x: the set cannot be read: nothing of it is let go meanwhile", "= a Failure",
			},
		}, {
			"an item whose kind is not known claims the object without a namespace, too",
			decide.Input{
				Sets:      sets{set("a"), with(set("b", inventory.Identity{Kind: "Namespace", Namespace: "ignored", Name: "n"}), unreached0, suspended)},
				Inventory: rows{row("a", namespace("n"))}, Removals: removals(decide.Open, "a"),
			},
			[]string{"b Suspended", "= a Success", "= b Suspended/Suspended"},
		},
	})
}

// unreached0 says that the kind of the first item was not looked up.
func unreached0(s *decide.Set) { s.Items[0].Resource = "" }
