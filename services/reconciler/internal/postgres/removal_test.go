package postgres_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

func tidy(t *testing.T, w *world) {
	t.Helper()
	if err := w.Tidy(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
}

// applied makes a world with n clusters that all own the objects a and b of the set s.
func applied(t *testing.T, n int, options ...postgres.Option) (*world, []v1.Cluster) {
	t.Helper()
	w := newWorld(t, options...)
	clusters := make([]v1.Cluster, n)
	for i := range clusters {
		clusters[i] = w.register(t, fmt.Sprintf("c%02d", i), labels("env", "prod"))
	}
	w.write(t, "s", func(s *v1.SelectorSyncSet) {
		s.Resources = configMaps("a", "b")
		s.ClusterSelector = &v1.LabelSelector{MatchLabels: labels("env", "prod")}
	})
	w.fanOut(t, 0)
	for _, c := range clusters {
		w.owns(t, c, "s", "a", "b")
	}
	w.settled(t)
	return w, clusters
}

func drop(objects ...string) func(*v1.SelectorSyncSet) {
	return func(s *v1.SelectorSyncSet) { s.Resources = configMaps(objects...) }
}

func TestRemovals(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		do       func(t *testing.T, w *world, c v1.Cluster)
		removals []string
		ledger   int
	}{
		"an object that left the set may be deleted": {
			do:       func(t *testing.T, w *world, _ v1.Cluster) { w.write(t, "s", drop("a")) },
			removals: []string{"c00 s open edited"},
		},
		"an edit that keeps every object needs no removal": {
			do:       func(t *testing.T, w *world, _ v1.Cluster) { w.write(t, "s", drop("b", "a", "new")) },
			removals: []string{},
		},
		"an edit that wants the object again lifts the removal": {
			do: func(t *testing.T, w *world, _ v1.Cluster) {
				w.write(t, "s", drop("a"))
				w.fanOut(t, 0)
				w.write(t, "s", drop("a", "b"))
			},
			removals: []string{},
		},
		"a removal that has begun leaves its entry when it is lifted": {
			do: func(t *testing.T, w *world, c v1.Cluster) {
				w.write(t, "s", drop("a"))
				w.fanOut(t, 0)
				w.begin(t, c, "s")
				w.write(t, "s", drop("a", "b"))
			},
			removals: []string{}, ledger: 1,
		},
		"a cluster that no longer matches loses everything": {
			do:       func(t *testing.T, w *world, c v1.Cluster) { w.relabel(t, &c, labels("env", "test")) },
			removals: []string{"c00 s open unmatched"},
		},
		"a cluster that matches again keeps everything": {
			do: func(t *testing.T, w *world, c v1.Cluster) {
				w.relabel(t, &c, labels("env", "test"))
				w.relabel(t, &c, labels("env", "prod"))
			},
			removals: []string{},
		},
		"a deleted set loses everything": {
			do:       func(t *testing.T, w *world, _ v1.Cluster) { w.remove(t, "s", nil) },
			removals: []string{"c00 s open deleted"},
		},
		"a set deleted with Orphan deletes nothing": {
			do: func(t *testing.T, w *world, _ v1.Cluster) {
				w.remove(t, "s", map[string]string{"deletionPolicy": "Orphan"})
			},
			removals: []string{},
		},
		"a set that turns to Orphan deletes nothing": {
			do: func(t *testing.T, w *world, _ v1.Cluster) {
				w.write(t, "s", func(s *v1.SelectorSyncSet) { s.DeletionPolicy, s.Resources = v1.DeletionPolicyOrphan, configMaps() })
			},
			removals: []string{},
		},
		"a set in Upsert deletes nothing": {
			do: func(t *testing.T, w *world, _ v1.Cluster) {
				w.write(t, "s", func(s *v1.SelectorSyncSet) { s.ResourceApplyMode, s.Resources = v1.Upsert, configMaps() })
			},
			removals: []string{},
		},
		"an object that was last applied in Upsert is not deleted after the way back to Sync": {
			do: func(t *testing.T, w *world, _ v1.Cluster) {
				w.write(t, "s", func(s *v1.SelectorSyncSet) { s.ResourceApplyMode = v1.Upsert })
				w.fanOut(t, 0)
				w.write(t, "s", func(s *v1.SelectorSyncSet) { s.ResourceApplyMode, s.Resources = v1.Sync, configMaps("a") })
			},
			removals: []string{},
		},
		"a set whose text cannot be read deletes nothing": {
			do: func(t *testing.T, w *world, _ v1.Cluster) {
				w.write(t, "s", func(s *v1.SelectorSyncSet) { s.Resources = append(configMaps("a"), []byte(`"nonsense"`)) })
			},
			removals: []string{},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, clusters := applied(t, 1)
			tt.do(t, w, clusters[0])
			w.fanOut(t, 0)
			want(t, "removals", w.removals(t), tt.removals)
			want(t, "entries of the ledger", w.ledger(t), tt.ledger)
			if len(tt.removals) > 0 {
				want(t, "due", w.due(t), []string{"c00"})
			}
		})
	}
}

func states(removals []string) map[string]int {
	count := map[string]int{}
	for _, r := range removals {
		count[strings.Fields(r)[2]]++
	}
	return count
}

func TestADeletionBeyondTheBudgetIsHeldFromItsFirstObject(t *testing.T) {
	t.Parallel()
	w, _ := applied(t, 12, postgres.WithChunk(5))
	w.write(t, "s", drop("a"))
	w.fanOut(t, 1)
	if got := states(w.removals(t)); got["held"] == 0 || len(got) != 1 {
		t.Errorf("after the first chunk: %v, want some that are held and nothing else", got)
	}
	w.fanOut(t, 0)
	want(t, "in the end", states(w.removals(t)), map[string]int{"held": 12})
	w.aggregate(t)
	status := w.setSync(t, "s").Status
	want(t, "held", status.Held, 12)
	want(t, "targets", status.Targets, 12)
	want(t, "pending clusters and objects", [2]int{status.PendingDeletion.Clusters, status.PendingDeletion.Objects}, [2]int{12, 12})
}

func TestADeletionWithinTheBudgetIsNotHeld(t *testing.T) {
	t.Parallel()
	w, _ := applied(t, 5)
	w.remove(t, "s", nil)
	w.fanOut(t, 0)
	want(t, "removals", states(w.removals(t)), map[string]int{"open": 5})
}

func TestAShareOfALargeSetIsWithinTheBudget(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 80)
	for i := range 8 {
		w.relabel(t, &clusters[i], labels("env", "test"))
	}
	want(t, "eight of eighty", states(w.removals(t)), map[string]int{"open": 8})
	w.relabel(t, &clusters[8], labels("env", "test"))
	want(t, "the ninth holds all", states(w.removals(t)), map[string]int{"held": 9})
}

// The budget counts whatever the cause: relabelling, an edit, and what the ledger remembers of finished removals.
func TestTheBudgetCountsAllCausesOfAnHour(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 12)
	for i := range 3 {
		w.relabel(t, &clusters[i], labels("env", "test"))
	}
	// Two of the three are done; the third is still open.
	for i := range 3 {
		w.begin(t, clusters[i], "s")
	}
	w.exec(t, `DELETE FROM reconciler.inventory WHERE cluster_uid = ANY($1::uuid[])`, []string{clusters[0].UID, clusters[1].UID})
	w.exec(t, `DELETE FROM reconciler.removals WHERE cluster_uid = ANY($1::uuid[])`, []string{clusters[0].UID, clusters[1].UID})
	for i := 3; i < 5; i++ {
		w.relabel(t, &clusters[i], labels("env", "test"))
	}
	want(t, "five in the hour", states(w.removals(t)), map[string]int{"open": 3})
	w.relabel(t, &clusters[5], labels("env", "test"))
	want(t, "the sixth", states(w.removals(t)), map[string]int{"held": 4})
	w.exec(t, "DELETE FROM reconciler.removals")
	w.exec(t, "UPDATE reconciler.deletion_ledger SET at = now() - interval '2 hours'")
	w.relabel(t, &clusters[6], labels("env", "test"))
	want(t, "an hour later", states(w.removals(t)), map[string]int{"open": 1})
}

func TestAnythingHeldHoldsTheRest(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 8)
	w.write(t, "s", drop("a"))
	w.fanOut(t, 0)
	want(t, "all held", states(w.removals(t)), map[string]int{"held": 8})
	w.exec(t, "UPDATE reconciler.deletion_ledger SET at = now() - interval '2 hours'")
	w.relabel(t, &clusters[0], labels("env", "test"))
	want(t, "still held", states(w.removals(t)), map[string]int{"held": 8})
	w.write(t, "s", drop("a", "b"))
	w.fanOut(t, 0)
	want(t, "only what is still not wanted", w.removals(t), []string{"c00 s held unmatched"})
}

func TestConfirmedInAdvance(t *testing.T) {
	t.Parallel()
	never := false
	tests := map[string]func(t *testing.T, w *world){
		"by the option of a deletion": func(t *testing.T, w *world) { w.remove(t, "s", labels("deletionHold", "false")) },
		"by the document": func(t *testing.T, w *world) {
			w.write(t, "s", func(s *v1.SelectorSyncSet) { s.Resources, s.DeletionHold = configMaps("a"), &never })
		},
		"after it was held": func(t *testing.T, w *world) {
			w.write(t, "s", drop("a"))
			w.fanOut(t, 0)
			w.remove(t, "s", labels("deletionHold", "false"))
		},
		"by the option of a write that changes nothing, after it was held": func(t *testing.T, w *world) {
			w.write(t, "s", drop("a"))
			w.fanOut(t, 0)
			want(t, "removals before", states(w.removals(t)), map[string]int{"held": 8})
			w.writeWith(t, "s", labels("deletionHold", "false"), func(s *v1.SelectorSyncSet) { s.Generation-- })
		},
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _ := applied(t, 8)
			do(t, w)
			w.fanOut(t, 0)
			want(t, "removals", states(w.removals(t)), map[string]int{"open": 8})
		})
	}
}

func TestAWriteThatChangesNothingAndConfirmsNothingLeavesWhatIsHeld(t *testing.T) {
	t.Parallel()
	w, _ := applied(t, 8)
	w.write(t, "s", drop("a"))
	w.fanOut(t, 0)
	w.writeWith(t, "s", nil, func(s *v1.SelectorSyncSet) { s.Generation-- })
	want(t, "chunks", w.fanOut(t, 0), 0)
	want(t, "removals", states(w.removals(t)), map[string]int{"held": 8})
}

func TestConfirmAndReject(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer func(w *world) func(t *testing.T, uid, hash string) error
		state  string
	}{
		"confirm": {state: "open", answer: func(w *world) func(*testing.T, string, string) error {
			return func(t *testing.T, uid, hash string) error { return w.Confirm(t.Context(), uid, hash, "ann") }
		}},
		"reject": {state: "released", answer: func(w *world) func(*testing.T, string, string) error {
			return func(t *testing.T, uid, hash string) error { return w.Reject(t.Context(), uid, hash, "ann") }
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, clusters := applied(t, 8)
			w.write(t, "s", drop("a"))
			w.fanOut(t, 0)
			w.settled(t)
			uid, answer := w.sets["s"].UID, tt.answer(w)
			hash := w.setSync(t, "s").Status.PendingDeletion.Hash

			err := answer(t, uid, "something else")
			if !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), hash) {
				t.Errorf("with a wrong hash: got %v, want a conflict that names %s", err, hash)
			}
			w.relabel(t, &clusters[7], labels("env", "test"))
			w.settled(t)
			if err := answer(t, uid, hash); !errs.Is(err, errs.Conflict) {
				t.Errorf("with the hash of before: got %v, want a conflict", err)
			}
			want(t, "still held", states(w.removals(t)), map[string]int{"held": 8})

			if err := answer(t, uid, w.setSync(t, "s").Status.PendingDeletion.Hash); err != nil {
				t.Fatal(err)
			}
			want(t, "removals", states(w.removals(t)), map[string]int{tt.state: 8})
			want(t, "clusters due", len(w.due(t)), 8)
			want(t, "pending", w.setSync(t, "s").Status.PendingDeletion == nil, true)
			want(t, "who", w.strings(t, "SELECT actor || ' ' || (options ->> 'action') FROM reconciler.outbox WHERE resource = 'setsyncs'"),
				[]string{"ann " + name})
			if err := answer(t, uid, hash); !errs.Is(err, errs.Conflict) {
				t.Errorf("with nothing held: got %v, want a conflict", err)
			}
		})
	}
}
