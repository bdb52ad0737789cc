package postgres_test

import (
	"fmt"
	"testing"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

// What happens to a cluster between a set's event and the chunk that reaches the cluster.
func TestAClusterEventBeforeTheFanOutLosesNoRemoval(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		event func(t *testing.T, w *world, c *v1.Cluster)
		cause string
	}{
		"another label": {cause: "edited", event: func(t *testing.T, w *world, c *v1.Cluster) {
			w.relabel(t, c, labels("env", "prod", "more", "so"))
		}},
		"another generation": {cause: "edited", event: func(t *testing.T, w *world, c *v1.Cluster) {
			c.Generation++
			w.relabel(t, c, c.Labels)
		}},
		"no match any more": {cause: "unmatched", event: func(t *testing.T, w *world, c *v1.Cluster) {
			w.relabel(t, c, labels("env", "test"))
		}},
		"off and back": {cause: "edited", event: func(t *testing.T, w *world, c *v1.Cluster) {
			w.relabel(t, c, labels("env", "test"))
			w.relabel(t, c, labels("env", "prod"))
		}},
	}
	for name, tt := range tests {
		for _, chunks := range []int{0, 1, 2} {
			t.Run(fmt.Sprintf("%s after %d chunks", name, chunks), func(t *testing.T) {
				t.Parallel()
				w, clusters := applied(t, 3, postgres.WithChunk(1))
				w.write(t, "s", drop("a"))
				if chunks > 0 {
					w.fanOut(t, chunks)
				}
				tt.event(t, w, &clusters[1])
				early := w.register(t, "c09", labels("env", "prod"))
				w.fanOut(t, 0)
				want(t, "removals", w.removals(t), []string{"c00 s open edited", "c01 s open " + tt.cause, "c02 s open edited"})
				want(t, "targets of the new cluster", w.strings(t,
					"SELECT target_generation::text FROM reconciler.cluster_sets WHERE cluster_uid = $1", early.UID), []string{"2"})
			})
		}
	}
}

func TestAClusterEventBeforeTheFanOutOfALargeDeletionIsHeldToo(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 8)
	w.write(t, "s", drop("a"))
	w.relabel(t, &clusters[3], labels("env", "prod", "more", "so"))
	want(t, "before the first chunk", w.removals(t), []string{"c03 s held edited"})
	w.fanOut(t, 0)
	want(t, "in the end", states(w.removals(t)), map[string]int{"held": 8})
}

// neverOpen does the chunks one by one; no removal may be open after any of them.
func neverOpen(t *testing.T, w *world) {
	t.Helper()
	for w.fanOut(t, 1) == 1 {
		if got := states(w.removals(t)); got["open"] > 0 {
			t.Fatalf("some removals are open: %v", got)
		}
	}
}

func TestAnOlderFanOutDoesNotDecideForANewerGeneration(t *testing.T) {
	t.Parallel()
	t.Run("that it counted nothing for", func(t *testing.T) {
		t.Parallel()
		w, _ := applied(t, 12, postgres.WithChunk(3))
		w.write(t, "s", drop("a", "b", "new"))
		w.fanOut(t, 1)
		w.write(t, "s", drop())
		neverOpen(t, w)
		want(t, "in the end", states(w.removals(t)), map[string]int{"held": 12})
	})
	t.Run("that its options did not confirm", func(t *testing.T) {
		t.Parallel()
		w, _ := applied(t, 12, postgres.WithChunk(3))
		w.writeWith(t, "s", labels("deletionHold", "false"), drop("a", "b", "new"))
		w.fanOut(t, 1)
		w.write(t, "s", drop())
		neverOpen(t, w)
		want(t, "in the end", states(w.removals(t)), map[string]int{"held": 12})
	})
	t.Run("that is the set's deletion", func(t *testing.T) {
		t.Parallel()
		w, _ := applied(t, 12, postgres.WithChunk(3))
		w.writeWith(t, "s", labels("deletionHold", "false"), drop("a", "b", "new"))
		w.fanOut(t, 1)
		w.remove(t, "s", nil)
		neverOpen(t, w)
		want(t, "in the end", states(w.removals(t)), map[string]int{"held": 12})
	})
	t.Run("that confirms what it held", func(t *testing.T) {
		t.Parallel()
		w, _ := applied(t, 12, postgres.WithChunk(3))
		w.write(t, "s", drop("a"))
		w.fanOut(t, 1)
		w.writeWith(t, "s", labels("deletionHold", "false"), drop())
		w.fanOut(t, 0)
		want(t, "in the end", states(w.removals(t)), map[string]int{"open": 12})
	})
}

func TestObjectsAppliedDuringAFanOutCountAgainstTheBudget(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 12, postgres.WithChunk(2))
	for _, c := range clusters[2:] {
		w.exec(t, "DELETE FROM reconciler.inventory WHERE cluster_uid = $1", c.UID)
	}
	w.write(t, "s", drop("a"))
	w.fanOut(t, 2)
	// Runs of the former generation end on the clusters that the fan-out has not reached.
	w.exec(t, `INSERT INTO reconciler.inventory (cluster_uid, target_id, api_group, kind, namespace, name, set_uid, set_generation, item,
	version, resource, state, object_uid) SELECT cluster_uid, 'target', '', 'ConfigMap', 'default', 'b', set_uid, 1, 1, 'v1', 'configmaps', 'Applied', 'u'
FROM reconciler.cluster_sets WHERE target_generation = 1 ON CONFLICT DO NOTHING`)
	owning := w.count(t, "SELECT count(DISTINCT cluster_uid) FROM reconciler.inventory")
	w.fanOut(t, 0)
	want(t, "removals", states(w.removals(t)), map[string]int{"held": owning})
}

func TestASetThatAResyncMissedIsHeldWhateverComesBetween(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 2)
	never := false
	w.write(t, "s", func(s *v1.SelectorSyncSet) { s.DeletionHold = &never })
	w.fanOut(t, 0)
	_, err := w.resync(t, postgres.SyncSets, outbox.Revision{Epoch: "e", N: 9}, outbox.Revision{})
	check(t, err)
	w.relabel(t, &clusters[0], labels("env", "prod", "more", "so"))
	want(t, "before the fan-out", w.removals(t), []string{"c00 s held absent"})
	w.fanOut(t, 0)
	w.relabel(t, &clusters[1], labels("env", "test"))
	want(t, "after it", w.removals(t), []string{"c00 s held absent", "c01 s held absent"})
	w.revs[postgres.SyncSets] = 9
	w.remove(t, "s", nil)
	w.fanOut(t, 0)
	want(t, "when the event comes after all", w.removals(t), []string{"c00 s open deleted", "c01 s open deleted"})
}

func TestASetThatAResyncMissedComesBackWhenItIsSeenAgain(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, w *world){
		"in the next list": func(t *testing.T, w *world) {
			_, err := w.resync(t, postgres.SyncSets, outbox.Revision{Epoch: "e", N: 10}, outbox.Revision{}, *w.sets["s"])
			check(t, err)
		},
		"by a write": func(t *testing.T, w *world) {
			w.revs[postgres.SyncSets] = 9
			w.write(t, "s", nil)
		},
	}
	for name, seen := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, clusters := applied(t, 2)
			_, err := w.resync(t, postgres.SyncSets, outbox.Revision{Epoch: "e", N: 9}, outbox.Revision{})
			check(t, err)
			w.fanOut(t, 0)
			want(t, "missed", states(w.removals(t)), map[string]int{"held": 2})
			seen(t, w)
			w.fanOut(t, 0)
			want(t, "removals", w.removals(t), []string{})
			want(t, "deleted", w.setSync(t, "s").Status.Deleted, false)
			want(t, "clusters that have it", w.count(t, "SELECT count(*) FROM reconciler.cluster_sets WHERE target_generation IS NOT NULL"),
				len(clusters))
		})
	}
}

// movedSafely fails when the object b may be deleted for set "s" on a cluster that is not yet told that "other" claims it.
func movedSafely(t *testing.T, w *world, generation int) {
	t.Helper()
	want(t, "clusters that may lose a moved object", w.strings(t, `SELECT c.name FROM reconciler.removals r JOIN reconciler.clusters c ON c.uid = r.cluster_uid
WHERE r.set_uid = $1 AND NOT EXISTS (SELECT FROM reconciler.cluster_sets t WHERE t.cluster_uid = r.cluster_uid AND t.set_uid = $2
	AND t.target_generation = $3) ORDER BY 1`, w.sets["s"].UID, w.sets["other"].UID, generation), []string{})
}

func TestAnObjectThatMovesToAnotherSetIsClaimedBeforeItIsLetGo(t *testing.T) {
	t.Parallel()
	for _, chunks := range []int{0, 1, 2} {
		t.Run(fmt.Sprintf("with %d chunks of the claiming set done", chunks), func(t *testing.T) {
			t.Parallel()
			w, _ := applied(t, 5, postgres.WithChunk(1))
			w.write(t, "other", drop("z"))
			w.fanOut(t, 0)
			w.write(t, "other", drop("z", "b"))
			if chunks > 0 {
				w.fanOut(t, chunks)
			}
			w.write(t, "s", drop("a"))
			for w.fanOut(t, 1) == 1 {
				movedSafely(t, w, 2)
			}
			want(t, "removals in the end", states(w.removals(t)), map[string]int{"open": 5})
		})
	}
}

// The letting set has an older fan-out under way when the other claims the object: it must not apply the newest generation first.
func TestAnObjectThatMovesDuringAnOlderFanOutIsClaimedBeforeItIsLetGo(t *testing.T) {
	t.Parallel()
	w, _ := applied(t, 5, postgres.WithChunk(1))
	w.write(t, "s", drop("a", "b", "new"))
	w.fanOut(t, 1)
	w.write(t, "other", drop("b"))
	w.write(t, "s", drop("a", "new"))
	for w.fanOut(t, 1) == 1 {
		movedSafely(t, w, 1)
	}
	want(t, "fan-outs left", w.count(t, "SELECT count(*) FROM reconciler.fanouts"), 0)
}
