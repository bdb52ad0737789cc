package postgres_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

// leave applies the event of a cluster that is to be cleaned up.
func (w *world) leave(t *testing.T, c v1.Cluster, options map[string]string) {
	t.Helper()
	now := time.Now()
	c.DeletionRequestedAt, c.ResourceVersion, c.Generation = &now, w.nextVersion(), c.Generation+1
	e := w.event(t, postgres.Clusters, v1.ResourceClusters, outbox.Updated, c.Metadata, c)
	e.Options = options
	w.apply(t, postgres.Clusters, e)
}

func TestAClusterThatIsToBeCleanedUpMatchesNothingAndGoesWhenItIsClean(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 3)
	w.leave(t, clusters[0], nil)
	want(t, "targets", w.targets(t), []string{"c00 s -", "c01 s 1", "c02 s 1"})
	want(t, "removals", w.removals(t), []string{"c00 s open unregistered"})

	w.write(t, "s", nil)
	w.fanOut(t, 0)
	want(t, "targets after an edit", w.targets(t), []string{"c00 s -", "c01 s 2", "c02 s 2"})

	clean, err := w.CleanClusters(t.Context(), 10)
	check(t, err)
	want(t, "clean while something is left", clean, []string{})
	w.exec(t, "DELETE FROM reconciler.inventory WHERE cluster_uid = $1", clusters[0].UID)
	clean, err = w.CleanClusters(t.Context(), 10)
	check(t, err)
	want(t, "clean", clean, []string{clusters[0].UID})
}

func TestCleanupsCountAgainstTheBudgetUnlessTheirWritesConfirmThem(t *testing.T) {
	t.Parallel()
	w, clusters := applied(t, 20)
	for _, c := range clusters[:5] {
		w.leave(t, c, nil)
	}
	want(t, "within the budget", states(w.removals(t)), map[string]int{"open": 5})
	w.leave(t, clusters[5], nil)
	want(t, "beyond it", states(w.removals(t)), map[string]int{"held": 6})
	w.leave(t, clusters[6], labels("deletionHold", "false"))
	want(t, "confirmed in advance", states(w.removals(t)), map[string]int{"held": 6, "open": 1})
	again := clusters[5]
	again.Generation++
	w.leave(t, again, labels("deletionHold", "false"))
	want(t, "confirmed afterwards", states(w.removals(t)), map[string]int{"held": 5, "open": 2})
}

// named makes the set own, by template, one ConfigMap named after the cluster's zone.
func named(s *v1.SelectorSyncSet) {
	s.EnableResourceTemplates = true
	s.Resources = []json.RawMessage{json.RawMessage(
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"default","name":"zone-{{ fromClusterLabel \"zone\" }}"}}`)}
}

func TestObjectsNamedAfterTheClusterGoWhenTheirNameOrTheirItemDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write(t, "s", named)
	var clusters []v1.Cluster
	for i := range 3 {
		zone := fmt.Sprintf("z%d", i)
		c := w.register(t, "c"+zone, labels("zone", zone))
		w.owns(t, c, "s", "zone-"+zone)
		clusters = append(clusters, c)
	}
	w.fanOut(t, 0)
	want(t, "while nothing changes", w.removals(t), []string{})
	w.relabel(t, &clusters[0], labels("zone", "elsewhere"))
	want(t, "another name", w.removals(t), []string{"cz0 s open edited"})
	w.relabel(t, &clusters[0], labels("zone", "z0"))
	want(t, "the old name again", w.removals(t), []string{})
	w.relabel(t, &clusters[0], labels())
	want(t, "no name: nobody knows what is wanted", w.removals(t), []string{})
	w.write(t, "s", func(s *v1.SelectorSyncSet) { s.Resources = configMaps("other") })
	w.fanOut(t, 0)
	want(t, "the item is gone", w.removals(t), []string{"cz0 s open edited", "cz1 s open edited", "cz2 s open edited"})
}

func TestACopiedSecretGoesWithItsMapping(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mapping := v1.SecretMapping{
		SourceRef: v1.NamespacedName{Namespace: "ns", Name: "source"}, TargetRef: v1.NamespacedName{Namespace: "default", Name: "copy"},
	}
	w.write(t, "s", func(s *v1.SelectorSyncSet) { s.SecretMappings = []v1.SecretMapping{mapping} })
	c := w.register(t, "c", nil)
	w.owns(t, c, "s", "a")
	w.exec(t, `INSERT INTO reconciler.inventory SELECT (jsonb_populate_record(i, '{"kind": "Secret", "name": "copy"}')).* FROM reconciler.inventory i`)
	w.write(t, "s", nil)
	w.fanOut(t, 0)
	want(t, "while it is mapped", w.removals(t), []string{})
	w.write(t, "s", func(s *v1.SelectorSyncSet) { s.SecretMappings = nil })
	w.fanOut(t, 0)
	want(t, "without the mapping", w.removals(t), []string{"c s open edited"})
}
