package postgres_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

func TestACreatedClusterGetsEverySetThatMatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write(t, "all", nil)
	w.write(t, "prod", selects("env", "prod"))
	w.write(t, "test", selects("env", "test"))
	w.fanOut(t, 0)
	w.register(t, "c1", labels("env", "prod"))
	want(t, "targets", w.targets(t), []string{"c1 all 1", "c1 prod 1"})
	want(t, "due", w.due(t), []string{"c1"})
	want(t, "wanted kubeconfigs", w.count(t, "SELECT count(*) FROM reconciler.credentials WHERE wanted = 1 AND version = 0"), 1)
}

func TestASyncSetFindsAClusterThatItNamedBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := v1.SyncSet{
		Metadata:    v1.Metadata{Name: "named", Namespace: "ns", UID: uuid.NewString(), Generation: 1, ResourceVersion: w.nextVersion()},
		ClusterRefs: []v1.ClusterRef{{Name: "later"}},
	}
	w.apply(t, postgres.SyncSets, w.event(t, postgres.SyncSets, v1.ResourceSyncSets, outbox.Created, s.Metadata, s))
	w.fanOut(t, 0)
	w.register(t, "other", nil)
	w.register(t, "later", nil)
	want(t, "targets", w.targets(t), []string{"later named 1"})
}

// Whichever of the two planner transactions comes first, and however they are started, the cluster is told of the set.
func TestAClusterAndASetCreatedAtTheSameTimeMeet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const pairs = 20
	expected := []string{}
	for i := range pairs {
		pair := fmt.Sprintf("%02d", i)
		c := v1.Cluster{Metadata: v1.Metadata{
			Name: "c" + pair, Namespace: "ns", UID: uuid.NewString(), Generation: 1, ResourceVersion: w.nextVersion(), Labels: labels("pair", pair),
		}}
		s := v1.SelectorSyncSet{
			Metadata:        v1.Metadata{Name: "s" + pair, UID: uuid.NewString(), Generation: 1, ResourceVersion: w.nextVersion()},
			ClusterSelector: &v1.LabelSelector{MatchLabels: labels("pair", pair)},
		}
		cluster := w.event(t, postgres.Clusters, v1.ResourceClusters, outbox.Created, c.Metadata, c)
		set := w.event(t, postgres.SyncSets, v1.ResourceSelectorSyncSets, outbox.Created, s.Metadata, s)
		var both sync.WaitGroup
		both.Go(func() {
			_, err := w.ApplyPage(t.Context(), postgres.Clusters, outbox.Page{Items: []outbox.Event{cluster}})
			check(t, err)
		})
		both.Go(func() {
			_, err := w.ApplyPage(t.Context(), postgres.SyncSets, outbox.Page{Items: []outbox.Event{set}})
			check(t, err)
			_, err = w.ApplyChunk(t.Context(), "")
			check(t, err)
		})
		both.Wait()
		expected = append(expected, fmt.Sprintf("c%s s%s 1", pair, pair))
	}
	want(t, "targets", w.targets(t), expected)
	want(t, "clusters due", len(w.due(t)), pairs)
}

func check(t *testing.T, err error) {
	if err != nil {
		t.Error(err)
	}
}

// The set moves from a to b and on to c while its first fan-out is under way; clusters of all three end as the newest generation says.
func TestASetEditedTwiceDuringItsFanOutEndsRightEverywhere(t *testing.T) {
	t.Parallel()
	for _, chunks := range []int{1, 2, 3, 4} {
		t.Run(fmt.Sprintf("after %d chunks", chunks), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, postgres.WithChunk(2))
			expected := []string{}
			for _, group := range []string{"a", "b", "c"} {
				for i := range 5 {
					w.register(t, fmt.Sprintf("%s%d", group, i), labels("group", group))
				}
			}
			w.write(t, "moving", selects("group", "a"))
			w.fanOut(t, 0)
			w.settled(t)
			w.write(t, "moving", selects("group", "b"))
			w.fanOut(t, chunks)
			w.write(t, "moving", selects("group", "c"))
			w.fanOut(t, 1)
			w.fanOut(t, 0)
			for i := range 5 {
				expected = append(expected, fmt.Sprintf("a%d moving -", i))
			}
			got := w.targets(t)
			for i := range 5 {
				for _, row := range got {
					if row == fmt.Sprintf("b%d moving -", i) {
						expected = append(expected, row)
					}
				}
			}
			for i := range 5 {
				expected = append(expected, fmt.Sprintf("c%d moving 3", i))
			}
			want(t, "targets", got, expected)
			want(t, "clusters of b that keep it", w.count(t, `SELECT count(*) FROM reconciler.cluster_sets t JOIN reconciler.clusters c
ON c.uid = t.cluster_uid WHERE c.name LIKE 'b%' AND target_generation IS NOT NULL`), 0)
			want(t, "clusters due of a and c", w.count(t, `SELECT count(*) FROM reconciler.work w JOIN reconciler.clusters c ON c.uid = w.cluster_uid
WHERE (c.name LIKE 'a%' OR c.name LIKE 'c%') AND want > done AND next_at <= now()`), 10)
			want(t, "fan-outs left", w.count(t, "SELECT count(*) FROM reconciler.fanouts"), 0)
			want(t, "generations kept", w.count(t, "SELECT count(*) FROM reconciler.set_generations"), 1)
		})
	}
}

func TestAPageThatComesTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register(t, "c1", nil)
	w.settled(t)
	again := w.event(t, postgres.Clusters, v1.ResourceClusters, outbox.Created, c.Metadata, c)
	again.Revision.N = 1
	done, err := w.ApplyPage(t.Context(), postgres.Clusters, outbox.Page{Items: []outbox.Event{again}})
	check(t, err)
	want(t, "new events", done.Events, 0)
	want(t, "due", w.due(t), []string{})
}

func TestAPageWithAGapIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := v1.Cluster{Metadata: v1.Metadata{Name: "c", Namespace: "ns", UID: uuid.NewString(), Generation: 1, ResourceVersion: "1"}}
	w.revs[postgres.Clusters] = 5
	e := w.event(t, postgres.Clusters, v1.ResourceClusters, outbox.Created, c.Metadata, c)
	if _, err := w.ApplyPage(t.Context(), postgres.Clusters, outbox.Page{Items: []outbox.Event{e}}); !errs.Is(err, errs.Conflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	want(t, "clusters", w.count(t, "SELECT count(*) FROM reconciler.clusters"), 0)
}

func TestAnInvalidSelectorChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register(t, "c1", labels("env", "prod"))
	w.write(t, "s", selects("env", "prod"))
	w.fanOut(t, 0)
	w.owns(t, c, "s", "a")
	w.write(t, "s", func(s *v1.SelectorSyncSet) {
		s.ClusterSelector = &v1.LabelSelector{MatchExpressions: []v1.SelectorRequirement{{Key: "env", Operator: "Like"}}}
	})
	w.fanOut(t, 0)
	w.relabel(t, &c, labels("env", "test"))
	want(t, "targets", w.targets(t), []string{"c1 s 1"})
	want(t, "removals", w.removals(t), []string{})
}

func TestADeletedClusterLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register(t, "c1", nil)
	w.write(t, "s", nil)
	w.fanOut(t, 0)
	w.owns(t, c, "s", "a", "b")
	w.write(t, "s", nil)
	w.fanOut(t, 0)
	want(t, "removals before", w.removals(t), []string{"c1 s open edited"})
	w.unregister(t, c)
	for _, table := range []string{"clusters", "credentials", "work", "cluster_sets", "clustersyncs", "inventory", "removals"} {
		want(t, "rows of "+table, w.count(t, "SELECT count(*) FROM reconciler."+table), 0)
	}
	_, err := w.GetClusterSync(t.Context(), request.Key{Namespace: "ns", Name: "c1"})
	if !errs.Is(err, errs.NotFound) {
		t.Errorf("the clustersync: got %v, want not found", err)
	}
}

func TestADeletedSetStaysReadableByUIDUntilNothingIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register(t, "c1", nil)
	s := w.write(t, "s", nil)
	w.fanOut(t, 0)
	w.owns(t, c, "s", "a")
	w.remove(t, "s", nil)
	w.fanOut(t, 0)
	tidy(t, w)
	want(t, "deleted", w.setSync(t, "s").Status.Deleted, true)
	if _, err := w.GetSetSync(t.Context(), v1.ResourceSelectorSyncSets, request.Key{Name: "s"}); !errs.Is(err, errs.NotFound) {
		t.Errorf("by name: got %v, want not found", err)
	}
	w.exec(t, "DELETE FROM reconciler.inventory")
	w.exec(t, "DELETE FROM reconciler.cluster_sets")
	tidy(t, w)
	if _, err := w.GetSetSyncByUID(t.Context(), s.UID); !errs.Is(err, errs.NotFound) {
		t.Errorf("by uid, when nothing is left: got %v, want not found", err)
	}
}

func TestAnotherInstallationIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine, other := uuid.NewString(), uuid.NewString()
	if err := errors.Join(w.Remember(t.Context(), mine), w.Remember(t.Context(), mine)); err != nil {
		t.Fatal(err)
	}
	if err := w.Remember(t.Context(), other); !errs.Is(err, errs.Conflict) {
		t.Errorf("got %v, want a conflict", err)
	}
}
