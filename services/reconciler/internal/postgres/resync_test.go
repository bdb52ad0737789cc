package postgres_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

// resync lists documents of a source at a position.
func (w *world) resync(t *testing.T, s postgres.Source, at, known outbox.Revision, documents ...any) (postgres.Resynced, error) {
	t.Helper()
	r, err := w.BeginResync(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(t.Context())
	resource := v1.ResourceClusters
	if s == postgres.SyncSets {
		resource = v1.ResourceSelectorSyncSets
	}
	for page := range slices.Chunk(documents, 3) {
		listed := []postgres.Listed{}
		for _, d := range page {
			text, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, postgres.Listed{Resource: resource, Document: text})
		}
		if err := r.Stage(t.Context(), listed); err != nil {
			t.Fatal(err)
		}
	}
	return r.Apply(t.Context(), at, known)
}

func documents(clusters []v1.Cluster) []any {
	all := make([]any, len(clusters))
	for i := range clusters {
		all[i] = clusters[i]
	}
	return all
}

func (w *world) cursor(t *testing.T, s postgres.Source) string {
	t.Helper()
	p, err := w.Planner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p.Cursor(s).String()
}

func TestTheFirstResyncTakesOverEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, "UPDATE reconciler.planner SET clusters_epoch = '', syncsets_epoch = ''")
	clusters, names := []v1.Cluster{}, []string{}
	for i := range 7 {
		name := fmt.Sprintf("c%d", i)
		clusters = append(clusters, v1.Cluster{Metadata: v1.Metadata{
			Name: name, Namespace: "ns", UID: fmt.Sprintf("00000000-0000-0000-0000-00000000000%d", i+1), Generation: 1, ResourceVersion: "5",
		}})
		names = append(names, name)
	}
	done, err := w.resync(t, postgres.Clusters, outbox.Revision{Epoch: "e", N: 9}, outbox.Revision{}, documents(clusters)...)
	check(t, err)
	want(t, "done", done, postgres.Resynced{Listed: 7, Written: 7})
	want(t, "cursor", w.cursor(t, postgres.Clusters), "e.9")
	want(t, "due", w.due(t), names)
	set := v1.SelectorSyncSet{
		Metadata: v1.Metadata{Name: "s", UID: "00000000-0000-0000-0000-0000000000aa", Generation: 3, ResourceVersion: "8"}, ClusterSelector: &v1.LabelSelector{},
	}
	_, err = w.resync(t, postgres.SyncSets, outbox.Revision{Epoch: "e", N: 4}, outbox.Revision{}, set)
	check(t, err)
	w.fanOut(t, 0)
	want(t, "targets", len(w.targets(t)), 7)
	w.settled(t)
	done, err = w.resync(t, postgres.Clusters, outbox.Revision{Epoch: "e", N: 9}, outbox.Revision{}, documents(clusters)...)
	check(t, err)
	want(t, "a second time", done, postgres.Resynced{})
	want(t, "due after the second", w.due(t), []string{})
}

func TestAResyncThatFindsASetAbsentOnlyHolds(t *testing.T) {
	t.Parallel()
	w, _ := applied(t, 2)
	_, err := w.resync(t, postgres.SyncSets, outbox.Revision{Epoch: "e", N: 9}, outbox.Revision{})
	check(t, err)
	w.fanOut(t, 0)
	want(t, "removals", w.removals(t), []string{"c00 s held absent", "c01 s held absent"})
	want(t, "targets", w.targets(t), []string{"c00 s -", "c01 s -"})

	w.revs[postgres.SyncSets] = 9
	w.remove(t, "s", nil)
	w.fanOut(t, 0)
	want(t, "when the event comes after all", w.removals(t), []string{"c00 s open deleted", "c01 s open deleted"})
}

func TestAResyncDropsAbsentClusters(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 4)
	done, err := w.resync(t, postgres.Clusters, outbox.Revision{Epoch: "e", N: 9}, outbox.Revision{}, documents(clusters[1:])...)
	check(t, err)
	want(t, "done", done, postgres.Resynced{Dropped: 1})
	want(t, "targets", w.targets(t), []string{"c01 s 1", "c02 s 1", "c03 s 1"})
	want(t, "removals", w.removals(t), []string{})
}

func TestAResyncThatWouldDropTooMuchIsRefused(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 10)
	before := w.cursor(t, postgres.Clusters)
	_, err := w.resync(t, postgres.Clusters, outbox.Revision{Epoch: "e", N: 99}, outbox.Revision{}, documents(clusters[:4])...)
	if !errs.Is(err, errs.Conflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	want(t, "clusters", w.count(t, "SELECT count(*) FROM reconciler.clusters"), 10)
	want(t, "cursor", w.cursor(t, postgres.Clusters), before)
}

func TestAnotherEpochIsTakenOverOnlyWhenNothingWentBackwards(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func([]v1.Cluster) []v1.Cluster
		says   string // "" for a resync that goes through
	}{
		"the same documents": {change: func(c []v1.Cluster) []v1.Cluster { return c }},
		"a newer one": {change: func(c []v1.Cluster) []v1.Cluster {
			c[0].ResourceVersion, c[0].Generation = "100", 2
			return c
		}},
		"an emptied database": {change: func([]v1.Cluster) []v1.Cluster { return nil }, says: "3 of 3"},
		"one is missing":      {change: func(c []v1.Cluster) []v1.Cluster { return c[1:] }, says: "1 of 3"},
		"one is older": {change: func(c []v1.Cluster) []v1.Cluster {
			c[1].ResourceVersion = "0"
			return c
		}, says: "c01"},
		"one is another at the same version": {change: func(c []v1.Cluster) []v1.Cluster {
			c[1].Labels = labels("env", "other")
			return c
		}, says: "c01"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, clusters := applied(t, 3)
			_, err := w.resync(t, postgres.Clusters, outbox.Revision{Epoch: "other", N: 1}, outbox.Revision{Epoch: "e", N: 3}, documents(tt.change(clusters))...)
			if tt.says == "" {
				check(t, err)
				want(t, "cursor", w.cursor(t, postgres.Clusters), "other.1")
				return
			}
			if !errs.Is(err, errs.Precondition) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want a failed precondition that says %q", err, tt.says)
			}
			want(t, "clusters", w.count(t, "SELECT count(*) FROM reconciler.clusters"), 3)
			want(t, "removals", w.removals(t), []string{})
		})
	}
}

func TestOneResyncOfASourceAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, err := w.BeginResync(t.Context(), postgres.Clusters)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.BeginResync(t.Context(), postgres.Clusters); !errs.Is(err, errs.Limited) {
		t.Errorf("got %v, want limited", err)
	}
	r.Close(t.Context())
	r, err = w.BeginResync(t.Context(), postgres.Clusters)
	check(t, err)
	r.Close(t.Context())
}
