package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

func TestWhatWasConfirmedIsNotHeldAgainByUnrelatedEvents(t *testing.T) {
	t.Parallel()
	never := false
	tests := map[string]func(t *testing.T, w *world){
		"by the document": func(t *testing.T, w *world) {
			w.write(t, "s", func(s *v1.SelectorSyncSet) { s.Resources, s.DeletionHold = configMaps("a"), &never })
			w.fanOut(t, 0)
		},
		"by the option of a write": func(t *testing.T, w *world) {
			w.writeWith(t, "s", labels("deletionHold", "false"), drop("a"))
			w.fanOut(t, 0)
		},
		"by a person": func(t *testing.T, w *world) {
			w.write(t, "s", drop("a"))
			w.fanOut(t, 0)
			check(t, w.Confirm(t.Context(), w.sets["s"].UID, w.setSync(t, "s").Status.PendingDeletion.Hash, "ann"))
		},
	}
	for name, confirm := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, clusters := applied(t, 8)
			spare := w.register(t, "c90", labels("env", "prod"))
			w.owns(t, spare, "s", "a")
			confirm(t, w)
			w.relabel(t, &clusters[0], labels("env", "prod", "more", "so"))
			clusters[1].Generation++
			w.relabel(t, &clusters[1], clusters[1].Labels)
			want(t, "after events of its clusters", states(w.removals(t)), map[string]int{"open": 8})
			w.relabel(t, &spare, labels("env", "test"))
			want(t, "when another cluster leaves", states(w.removals(t)), map[string]int{"open": 9})
		})
	}
}

func TestAnUnrelatedEventJudgesNothing(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 5)
	w.write(t, "s", drop("a"))
	w.fanOut(t, 0)
	w.begin(t, clusters[0], "s")
	w.exec(t, "DELETE FROM reconciler.inventory WHERE cluster_uid = $1", clusters[1].UID)
	w.exec(t, "INSERT INTO reconciler.deletion_ledger SELECT $1, gen_random_uuid() FROM generate_series(1, 9)", w.sets["s"].UID)
	w.relabel(t, &clusters[0], labels("env", "prod", "more", "so"))
	want(t, "removals", states(w.removals(t)), map[string]int{"open": 5})
}

func TestAConfirmationCoversOnlyItsGeneration(t *testing.T) {
	t.Parallel()
	w, _ := applied(t, 8)
	w.writeWith(t, "s", labels("deletionHold", "false"), drop("a"))
	w.fanOut(t, 0)
	want(t, "confirmed", states(w.removals(t)), map[string]int{"open": 8})
	w.write(t, "s", drop())
	w.fanOut(t, 0)
	want(t, "what the next edit drops", states(w.removals(t)), map[string]int{"held": 8})
}

func TestARejectionCoversOnlyItsGeneration(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 8)
	w.write(t, "s", drop("a"))
	w.fanOut(t, 0)
	check(t, w.Reject(t.Context(), w.sets["s"].UID, w.setSync(t, "s").Status.PendingDeletion.Hash, "ann"))
	w.relabel(t, &clusters[0], labels("env", "prod", "more", "so"))
	want(t, "after an event of a cluster", states(w.removals(t)), map[string]int{"released": 8})
	w.write(t, "s", drop())
	w.fanOut(t, 0)
	want(t, "what the next edit drops", states(w.removals(t)), map[string]int{"held": 8})
}

func TestARemovalThatBecomesNeededLaterIsMade(t *testing.T) {
	t.Parallel()
	orphan := func(s *v1.SelectorSyncSet) { s.DeletionPolicy = v1.DeletionPolicyOrphan }
	tests := map[string]struct {
		do       func(t *testing.T, w *world, c *v1.Cluster)
		removals []string
	}{
		"when the policy of a set that had to go turns to Delete": {
			do: func(t *testing.T, w *world, c *v1.Cluster) {
				w.write(t, "s", orphan)
				w.fanOut(t, 0)
				w.relabel(t, c, labels("env", "test"))
				w.write(t, "s", func(s *v1.SelectorSyncSet) { s.DeletionPolicy = v1.DeletionPolicyDelete })
				w.fanOut(t, 0)
			},
			removals: []string{"c00 s open unmatched"},
		},
		"by the next event of the cluster when nothing was there before": {
			do: func(t *testing.T, w *world, c *v1.Cluster) {
				w.exec(t, "DELETE FROM reconciler.inventory")
				w.relabel(t, c, labels("env", "test"))
				w.owns(t, *c, "s", "a")
				w.relabel(t, c, labels("env", "test", "more", "so"))
			},
			removals: []string{"c00 s open unmatched"},
		},
		"by the nightly list when a run that was going on wrote it": {
			do: func(t *testing.T, w *world, c *v1.Cluster) {
				w.exec(t, "UPDATE reconciler.inventory SET set_generation = 0")
				w.write(t, "s", drop("a"))
				w.fanOut(t, 0)
				want(t, "removals before", w.removals(t), []string{})
				w.exec(t, "UPDATE reconciler.inventory SET set_generation = 1")
				w.settled(t)
				_, err := w.resync(t, postgres.SyncSets, outbox.Revision{Epoch: "e", N: 9}, outbox.Revision{}, *w.sets["s"])
				check(t, err)
				w.fanOut(t, 0)
				want(t, "due", w.due(t), []string{"c00"})
			},
			removals: []string{"c00 s open edited"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, clusters := applied(t, 1)
			tt.do(t, w, &clusters[0])
			want(t, "removals", w.removals(t), tt.removals)
		})
	}
}

func TestASetThatGoesOnMarksClustersThatStillHaveToLoseIt(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 2)
	w.write(t, "s", func(s *v1.SelectorSyncSet) { s.Suspended, s.DeletionPolicy = true, v1.DeletionPolicyOrphan })
	w.fanOut(t, 0)
	w.relabel(t, &clusters[0], labels("env", "test"))
	w.settled(t)
	w.write(t, "s", func(s *v1.SelectorSyncSet) { s.Suspended = false })
	w.fanOut(t, 0)
	want(t, "due", w.due(t), []string{"c00", "c01"})
}

func TestALostObjectStaysInTheLedgerWhenALaterRemovalIsLifted(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 1)
	w.relabel(t, &clusters[0], labels("env", "test"))
	w.begin(t, clusters[0], "s")
	w.exec(t, "DELETE FROM reconciler.removals")
	w.relabel(t, &clusters[0], labels("env", "test", "more", "so"))
	want(t, "removals", w.removals(t), []string{"c00 s open unmatched"})
	w.relabel(t, &clusters[0], labels("env", "prod"))
	want(t, "removals after", w.removals(t), []string{})
	want(t, "entries of the ledger", w.ledger(t), 1)
}

func TestTidyDropsRemovalsOfWhichNothingIsLeft(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 2)
	w.write(t, "s", drop("a"))
	w.fanOut(t, 0)
	w.exec(t, "DELETE FROM reconciler.inventory WHERE cluster_uid = $1", clusters[0].UID)
	tidy(t, w)
	want(t, "removals", w.removals(t), []string{"c01 s open edited"})
	w.exec(t, "DELETE FROM reconciler.sets")
	tidy(t, w)
	want(t, "removals without their set", w.count(t, "SELECT count(*) FROM reconciler.removals"), 0)
}

func TestAFanOutThatFailsDoesNotKeepTheOthersWaiting(t *testing.T) {
	t.Parallel()
	w, _ := applied(t, 2)
	w.write(t, "bad", nil)
	w.write(t, "good", nil)
	w.exec(t, `ALTER TABLE reconciler.cluster_sets ADD CONSTRAINT fails CHECK (set_uid <> '`+w.sets["bad"].UID+`')`)
	if _, err := w.ApplyChunk(t.Context(), ""); err == nil {
		t.Error("the first fan-out went well, want it to fail")
	}
	w.fanOut(t, 0)
	want(t, "clusters that have the good one", w.count(t, "SELECT count(*) FROM reconciler.cluster_sets WHERE set_uid = $1",
		w.sets["good"].UID), 2)
	w.exec(t, "ALTER TABLE reconciler.cluster_sets DROP CONSTRAINT fails")
	w.exec(t, "UPDATE reconciler.fanouts SET retry_at = now()")
	w.fanOut(t, 0)
	want(t, "clusters that have the bad one in the end", w.count(t, "SELECT count(*) FROM reconciler.cluster_sets WHERE set_uid = $1",
		w.sets["bad"].UID), 2)
}

func TestAResyncWhosePlaceIsLostChangesNothing(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 2)
	r, err := w.BeginResync(t.Context(), postgres.Clusters)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(t.Context())
	w.exec(t, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
	if _, err := r.Apply(t.Context(), outbox.Revision{Epoch: "e", N: 99}, outbox.Revision{}); err == nil {
		t.Error("the list was taken over without the lock")
	}
	want(t, "clusters", w.count(t, "SELECT count(*) FROM reconciler.clusters"), len(clusters))
}

func TestASuspiciousListIsReadAgainWhenTheCursorMovedMeanwhile(t *testing.T) {
	t.Parallel()
	w, _ := applied(t, 3)
	_, err := w.resync(t, postgres.Clusters, outbox.Revision{Epoch: "e", N: 1}, outbox.Revision{Epoch: "e", N: 2})
	if !errs.Is(err, errs.Limited) {
		t.Errorf("got %v, want limited: the cursor is at 3", err)
	}
	want(t, "clusters", w.count(t, "SELECT count(*) FROM reconciler.clusters"), 3)
}

// Two transactions that take the same work rows in different orders would end in a deadlock.
func TestOffersAreTakenBackInTheOrderOfTheirClusters(t *testing.T) {
	t.Parallel()
	w, _ := applied(t, 2)
	w.exec(t, "UPDATE reconciler.work SET state = 'queued'")
	uids := w.strings(t, "SELECT cluster_uid::text FROM reconciler.work ORDER BY cluster_uid")
	tx, err := w.pg.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	lock := func(tx pgx.Tx, uid string) error {
		_, err := tx.Exec(t.Context(), "SELECT FROM reconciler.work WHERE cluster_uid = $1 FOR UPDATE NOWAIT", uid)
		return err
	}
	check(t, lock(tx, uids[0]))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := w.TakeBack(ctx, []string{uids[1], uids[0]}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want it to wait for the first row", err)
	}
	check(t, lock(tx, uids[1]))
	check(t, tx.Rollback(t.Context()))
	check(t, w.TakeBack(t.Context(), []string{uids[1], uids[0]}))
	want(t, "taken back", w.count(t, "SELECT count(*) FROM reconciler.work WHERE state = 'idle'"), 2)
}

// A deletion of a suspended set that leaves its objects behind was asked for in spite of the suspension, which would keep them for ever.
func TestASuspendedSetThatLeavesItsObjectsBehindIsNotSuspendedAnyMore(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 1)
	w.write(t, "s", func(s *v1.SelectorSyncSet) { s.Suspended = true })
	w.fanOut(t, 0)
	w.settled(t)
	w.remove(t, "s", labels("deletionPolicy", v1.DeletionPolicyOrphan))
	w.fanOut(t, 0)
	want(t, "due", w.due(t), []string{"c00"})
	want(t, "removals", w.removals(t), []string{})
	var left v1.SelectorSyncSet
	check(t, json.Unmarshal(w.load(t, clusters[0]).Sets[0].Document, &left))
	want(t, "suspended", left.Suspended, false)
	want(t, "policy", left.DeletionPolicy, v1.DeletionPolicyOrphan)
}

func TestASecretThatRotatesDuringAFanOutLeavesItsConfirmationAlone(t *testing.T) {
	t.Parallel()
	const clusters = 130
	w, _ := applied(t, clusters, postgres.WithChunk(60))
	w.write(t, "s", copies(in("ns", "x")))
	w.fanOut(t, 0)
	x := v1.Secret{}
	x.Name = "x"
	w.secret(t, &x, 1)
	w.arrive(t, x, 1)
	w.fanOut(t, 0)
	w.writeWith(t, "s", labels("deletionHold", "false"), drop("a"))
	w.fanOut(t, 1)
	w.secret(t, &x, 2)
	w.arrive(t, x, 2)
	want(t, "fan-outs", w.count(t, "SELECT count(*) FROM reconciler.fanouts"), 2)
	w.fanOut(t, 0)
	want(t, "removals", states(w.removals(t)), map[string]int{"open": clusters})
}
