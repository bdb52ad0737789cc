package decide_test

import (
	"testing"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
)

func TestVerification(t *testing.T) {
	t.Parallel()
	check(t, []test{
		{
			"an object at the resource version that we left is clean",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), func(s *decide.Seen) { s.Fields, s.Marked = nil, false })},
			},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"an object whose status changed is clean and its resource version is noted",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), touched)},
			},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"a change of our fields is drift by its manager",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), meddled)},
			},
			[]string{"a Apply ConfigMap ns/x, drift by someone", "= a Success"},
		}, {
			"a change of our fields by somebody unknown is drift, too",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), meddled, anonymous)},
			},
			[]string{"a Apply ConfigMap ns/x, drift by ?", "= a Success"},
		}, {
			"a mark that was taken off is drift",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), touched, func(s *decide.Seen) { s.Marked = false })},
			},
			[]string{"a Apply ConfigMap ns/x, drift by someone", "= a Success"},
		}, {
			"the marks of another set are drift",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("z", cm("x"), touched)},
			},
			[]string{"a Apply ConfigMap ns/x, drift by someone", "= a Success"},
		}, {
			"an object of ours without any mark is drift",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), unmarked)},
			},
			[]string{"a Apply ConfigMap ns/x, drift by ?", "= a Success"},
		}, {
			"an object that is gone is drift and is made anew",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): decide.Seen{}},
			},
			[]string{"a Apply ConfigMap ns/x, intent, absent, drift by ?", "= a Success"},
		}, {
			"another installation's mark is a conflict, and the object is not ours any more",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), foreign)},
			},
			[]string{
				"a Conflict ConfigMap ns/x, retry: failed to apply resource 0 (ConfigMap ns/x): it belongs to another installation, other",
				"= a Failure/Conflict retry 5s [x Conflict]",
			},
		}, {
			"another unmarked object by the name is applied over as one that existed",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), unmarked, another)},
			},
			[]string{"a Apply ConfigMap ns/x, intent, existed, drift by ?", "= a Success"},
		}, {
			"another object by the name with our marks is applied over as ours",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), another)},
			},
			[]string{"a Apply ConfigMap ns/x, intent, drift by ?", "= a Success"},
		}, {
			"another installation's object by the name is a conflict",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), another, foreign)},
			},
			[]string{
				"a Conflict ConfigMap ns/x, retry: failed to apply resource 0 (ConfigMap ns/x): it belongs to another installation, other",
				"= a Failure/Conflict retry 5s [x Conflict]",
			},
		}, {
			"an object that is being deleted is waited for",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), terminating)},
			},
			[]string{
				"a Fail ConfigMap ns/x, retry: failed to apply resource 0 (ConfigMap ns/x): it is being deleted",
				"= a Failure retry 5s",
			},
		}, {
			"an object that the target does not let us see fails and is tried again",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): decide.Seen{Observed: decide.Observed{Fault: "forbidden"}}},
			},
			[]string{"a Fail ConfigMap ns/x, retry: failed to apply resource 0 (ConfigMap ns/x): forbidden", "= a Failure retry 5s"},
		}, {
			"the health that was seen is noted",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), healthy)},
			},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"the health of an object that others touched is noted",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), touched, healthy)},
			},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"an object of which nothing was recorded is written again without being called drift",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"))},
				Seen:      verified{cm("x"): found("a", cm("x"), meddled)},
			},
			[]string{"a Apply ConfigMap ns/x", "= a Success"},
		}, {
			"drift is counted on",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded, drifted)},
				Seen:      verified{cm("x"): found("a", cm("x"), meddled)},
			},
			[]string{"a Apply ConfigMap ns/x, drift by someone", "= a Success"},
		}, {
			"an object that existed before and is gone is ours when it is made anew",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded, existed)},
				Seen:      verified{cm("x"): decide.Seen{}},
			},
			[]string{"a Apply ConfigMap ns/x, intent, absent, drift by ?", "= a Success"},
		}, {
			"client-side apply of somebody to an object of ours is not migrated",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), meddled, func(s *decide.Seen) { s.ClientSide = true })},
			},
			[]string{"a Apply ConfigMap ns/x, drift by someone", "= a Success"},
		}, {
			"client-side apply of another object by the name is migrated",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), recorded)},
				Seen:      verified{cm("x"): found("a", cm("x"), unmarked, another, func(s *decide.Seen) { s.ClientSide = true })},
			},
			[]string{"a Apply ConfigMap ns/x, intent, existed, migrate, drift by ?", "= a Success"},
		}, {
			"with CreateOnly a change is no drift",
			decide.Input{
				Verify:    true,
				Sets:      sets{with(set("a", cm("x")), once)},
				Inventory: rows{row("a", cm("x"), unhashed)},
				Seen:      verified{cm("x"): found("a", cm("x"), meddled, healthy)},
			},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"with CreateOnly another object by the name is no drift",
			decide.Input{
				Verify:    true,
				Sets:      sets{with(set("a", cm("x")), once)},
				Inventory: rows{row("a", cm("x"), unhashed)},
				Seen:      verified{cm("x"): found("a", cm("x"), unmarked, another)},
			},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"with CreateOnly an object that is gone is created again",
			decide.Input{
				Verify:    true,
				Sets:      sets{with(set("a", cm("x")), once)},
				Inventory: rows{row("a", cm("x"), unhashed)},
				Seen:      verified{cm("x"): decide.Seen{}},
			},
			[]string{"a Create ConfigMap ns/x, intent, absent, once, drift by ?", "= a Success"},
		}, {
			"with CreateOrUpdate drift is merged away",
			decide.Input{
				Verify:    true,
				Sets:      sets{with(set("a", cm("x")), merging)},
				Inventory: rows{row("a", cm("x"), recorded, merged)},
				Seen:      verified{cm("x"): found("a", cm("x"), meddled)},
			},
			[]string{"a Merge ConfigMap ns/x, drift by someone", "= a Success"},
		}, {
			"with CreateOrUpdate an object that is gone is created again",
			decide.Input{
				Verify:    true,
				Sets:      sets{with(set("a", cm("x")), merging)},
				Inventory: rows{row("a", cm("x"), recorded, merged)},
				Seen:      verified{cm("x"): decide.Seen{}},
			},
			[]string{"a Create ConfigMap ns/x, intent, absent, drift by ?", "= a Success"},
		}, {
			"what is sent anyway is not verified",
			decide.Input{
				Verify:    true,
				Sets:      sets{with(set("a", cm("x")), edited(0)), set("b", cm("y"))},
				Inventory: rows{row("a", cm("x")), row("b", cm("y"), state(v1.StateFailed))},
			},
			[]string{"a Apply ConfigMap ns/x", "b Apply ConfigMap ns/y", "= a Success", "= b Success"},
		}, {
			"what a full apply sends is not verified",
			decide.Input{Verify: true, FullApply: true, Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"))}},
			[]string{"a Apply ConfigMap ns/x", "= a Success"},
		}, {
			"resting, suspended and leaving sets are not verified",
			decide.Input{
				Verify:    true,
				Sets:      sets{with(set("a", cm("x")), failing(2, time.Minute)), with(set("b", cm("y")), suspended), with(set("c"), gone)},
				Inventory: rows{row("a", cm("x")), row("b", cm("y")), row("c", cm("z"))},
			},
			[]string{"a Wait", "b Suspended", "c Keep ConfigMap ns/z", "= b Suspended/Suspended", "= c Pending/Deleting"},
		}, {
			"a paused installation verifies nothing",
			decide.Input{Verify: true, Paused: true, Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"))}},
			[]string{"cause Paused", "= a Pending/Paused"},
		}, {
			"a suspended cluster verifies nothing",
			decide.Input{Verify: true, Suspended: true, Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"))}},
			[]string{"cause Suspended", "= a Suspended/Suspended"},
		}, {
			"what cannot be rendered and what others own is not verified",
			decide.Input{
				Verify:    true,
				Sets:      sets{set("a", cm("x")), set("b", cm("x")), with(set("c", cm("y")), faulty(0))},
				Inventory: rows{row("a", cm("x")), row("c", cm("y"))},
				Seen:      verified{cm("x"): found("a", cm("x"))},
			},
			[]string{
				"a Unchanged ConfigMap ns/x",
				"b Conflict ConfigMap ns/x: failed to apply resource 0 (ConfigMap ns/x): owned by SyncSet foo/a",
				"c Fail ConfigMap ns/y: failed to decode resource 0: x",
				"= a Success",
				"= b Failure/Conflict [x Conflict]",
				"= c Failure [y Failed]",
			},
		}, {
			"a row whose item was not looked up is verified where the row says",
			decide.Input{
				Verify:    true,
				Sets:      sets{with(set("a", cm("x")), unreached0)},
				Inventory: rows{row("a", cm("x"))},
				Seen:      verified{cm("x"): found("a", cm("x"))},
			},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		},
	})
}

func TestHealth(t *testing.T) {
	t.Parallel()
	check(t, []test{
		{
			"objects in progress are asked for again",
			decide.Input{
				AskHealth: true,
				Sets:      sets{set("a", cm("x"), cm("y"))},
				Inventory: rows{row("a", cm("x"), inProgress), row("a", cm("y"), of(v1.HealthCurrent))},
			},
			[]string{"a Unchanged ConfigMap ns/x, ask", "a Unchanged ConfigMap ns/y", "= a Success"},
		}, {
			"they are not while that is not due",
			decide.Input{Sets: sets{set("a", cm("x"))}, Inventory: rows{row("a", cm("x"), inProgress)}},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"they are not when a verification told",
			decide.Input{
				AskHealth: true,
				Verify:    true,
				Sets:      sets{set("a", cm("x"))},
				Inventory: rows{row("a", cm("x"), inProgress)},
				Seen:      verified{cm("x"): found("a", cm("x"), healthy, func(s *decide.Seen) { s.Health = v1.HealthInProgress })},
			},
			[]string{"a Unchanged ConfigMap ns/x", "= a Success"},
		}, {
			"they are not in suspended and resting sets, which keep their health",
			decide.Input{
				AskHealth: true,
				Sets:      sets{with(set("a", cm("x")), suspended), with(set("b", cm("y")), failing(2, time.Minute))},
				Inventory: rows{row("a", cm("x"), inProgress), row("b", cm("y"), inProgress)},
			},
			[]string{"a Suspended", "b Wait", "= a Suspended/Suspended"},
		}, {
			"the worst object counts: failed",
			decide.Input{
				Sets:      sets{set("a", cm("w"), cm("x"), cm("y")), set("b", cm("z"))},
				Inventory: rows{row("a", cm("w"), inProgress), row("a", cm("x"), of(v1.HealthFailed)), row("a", cm("y"), of(v1.HealthCurrent)), row("b", cm("z"), of(v1.HealthCurrent))},
			},
			[]string{
				"a Unchanged ConfigMap ns/w",
				"a Unchanged ConfigMap ns/x",
				"a Unchanged ConfigMap ns/y",
				"b Unchanged ConfigMap ns/z",
				"= a Success",
				"= b Success",
			},
		}, {
			"the worst object counts: in progress before unknown",
			decide.Input{
				Sets:      sets{set("a", cm("w"), cm("x"), cm("y"))},
				Inventory: rows{row("a", cm("w"), of(v1.HealthTerminating)), row("a", cm("x"), of(v1.HealthUnknown)), row("a", cm("y"), of(v1.HealthCurrent))},
			},
			[]string{"a Unchanged ConfigMap ns/w", "a Unchanged ConfigMap ns/x", "a Unchanged ConfigMap ns/y", "= a Success"},
		}, {
			"the worst object counts: unknown before current",
			decide.Input{
				Sets:      sets{set("a", cm("x"), cm("y"))},
				Inventory: rows{row("a", cm("x"), of(v1.HealthUnknown)), row("a", cm("y"), of(v1.HealthCurrent))},
			},
			[]string{"a Unchanged ConfigMap ns/x", "a Unchanged ConfigMap ns/y", "= a Success"},
		},
	})
}
