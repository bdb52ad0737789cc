package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

// world is a reconciler's schema together with the two services whose events it gets.
type world struct {
	*postgres.Store
	pg      *devstack.PG
	version int64
	revs    map[postgres.Source]int64
	names   map[string]string // by uid
	sets    map[string]*v1.SelectorSyncSet
}

func newWorld(t *testing.T, options ...postgres.Option) *world {
	t.Helper()
	pg := devstack.Postgres(t, "reconciler")
	w := &world{
		Store: postgres.New(pg.Pool, options...), pg: pg, revs: map[postgres.Source]int64{}, names: map[string]string{},
		sets: map[string]*v1.SelectorSyncSet{},
	}
	w.exec(t, "UPDATE reconciler.planner SET clusters_epoch = 'e', syncsets_epoch = 'e'")
	return w
}

func (w *world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := w.pg.Pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func (w *world) count(t *testing.T, sql string, args ...any) int {
	t.Helper()
	var n int
	if err := w.pg.Pool.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// event makes the next event of a source about a document.
func (w *world) event(t *testing.T, s postgres.Source, resource, operation string, m v1.Metadata, document any) outbox.Event {
	t.Helper()
	w.revs[s]++
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	version, _ := strconv.ParseInt(m.ResourceVersion, 10, 64)
	return outbox.Event{
		Revision: outbox.Revision{Epoch: "e", N: w.revs[s]}, Resource: resource, Operation: operation, UID: m.UID, Namespace: m.Namespace,
		Name: m.Name, Generation: m.Generation, ResourceVersion: version, Document: text, Actor: "tester",
	}
}

func (w *world) apply(t *testing.T, s postgres.Source, events ...outbox.Event) {
	t.Helper()
	if _, err := w.ApplyPage(t.Context(), s, outbox.Page{Items: events}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) nextVersion() string {
	w.version++
	return strconv.FormatInt(w.version, 10)
}

// register makes a cluster in namespace "ns" and applies its event.
func (w *world) register(t *testing.T, name string, labels map[string]string) v1.Cluster {
	t.Helper()
	c := v1.Cluster{Metadata: v1.Metadata{
		Name: name, Namespace: "ns", UID: uuid.NewString(), Generation: 1, ResourceVersion: w.nextVersion(), Labels: labels,
	}, KubeconfigVersion: 1}
	w.names[c.UID] = name
	w.apply(t, postgres.Clusters, w.event(t, postgres.Clusters, v1.ResourceClusters, outbox.Created, c.Metadata, c))
	return c
}

func (w *world) relabel(t *testing.T, c *v1.Cluster, labels map[string]string) {
	t.Helper()
	c.Labels, c.ResourceVersion = labels, w.nextVersion()
	w.apply(t, postgres.Clusters, w.event(t, postgres.Clusters, v1.ResourceClusters, outbox.Updated, c.Metadata, *c))
}

func (w *world) unregister(t *testing.T, c v1.Cluster) {
	t.Helper()
	c.ResourceVersion = w.nextVersion()
	w.apply(t, postgres.Clusters, w.event(t, postgres.Clusters, v1.ResourceClusters, outbox.Deleted, c.Metadata, c))
}

// configMaps are the resources of a set: ConfigMaps in the namespace "default" by these names.
func configMaps(names ...string) []json.RawMessage {
	all := []json.RawMessage{}
	for _, n := range names {
		all = append(all, json.RawMessage(fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"default","name":%q}}`, n)))
	}
	return all
}

// write applies the event of a new generation of the set by this name, without its fan-out.
func (w *world) write(t *testing.T, name string, change func(*v1.SelectorSyncSet)) v1.SelectorSyncSet {
	t.Helper()
	return w.writeWith(t, name, nil, change)
}

// writeWith is write with options of the write.
func (w *world) writeWith(t *testing.T, name string, options map[string]string, change func(*v1.SelectorSyncSet)) v1.SelectorSyncSet {
	t.Helper()
	operation := outbox.Updated
	s := w.sets[name]
	if s == nil {
		operation = outbox.Created
		s = &v1.SelectorSyncSet{
			Metadata:        v1.Metadata{Name: name, UID: uuid.NewString()},
			ClusterSelector: &v1.LabelSelector{},
			SetSpec:         v1.SetSpec{ResourceApplyMode: v1.Sync, DeletionPolicy: v1.DeletionPolicyDelete, Resources: configMaps("a")},
		}
		w.sets[name], w.names[s.UID] = s, name
	}
	s.Generation++
	s.ResourceVersion = w.nextVersion()
	if change != nil {
		change(s)
	}
	e := w.event(t, postgres.SyncSets, v1.ResourceSelectorSyncSets, operation, s.Metadata, *s)
	e.Options = options
	w.apply(t, postgres.SyncSets, e)
	return *s
}

// remove applies the event of the set's deletion, without its fan-out.
func (w *world) remove(t *testing.T, name string, options map[string]string) {
	t.Helper()
	s := *w.sets[name]
	s.ResourceVersion = w.nextVersion()
	e := w.event(t, postgres.SyncSets, v1.ResourceSelectorSyncSets, outbox.Deleted, s.Metadata, s)
	e.Options = options
	w.apply(t, postgres.SyncSets, e)
}

// fanOut does up to n chunks and returns how many there were; n 0 is all.
func (w *world) fanOut(t *testing.T, n int) int {
	t.Helper()
	for done := 0; ; done++ {
		if n > 0 && done == n {
			return done
		}
		c, err := w.ApplyChunk(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if !c.Found {
			return done
		}
	}
}

// owns writes inventory rows as if the set's newest generation had been applied.
func (w *world) owns(t *testing.T, c v1.Cluster, set string, objects ...string) {
	t.Helper()
	for i, o := range objects {
		w.exec(t, `INSERT INTO reconciler.inventory (cluster_uid, target_id, api_group, kind, namespace, name, set_uid, set_generation, item,
	version, resource, state, object_uid) VALUES ($1, 'target', '', 'ConfigMap', 'default', $2, $3, $4, $5, 'v1', 'configmaps', 'Applied', 'u')`,
			c.UID, o, w.sets[set].UID, w.sets[set].Generation, i)
	}
}

// begin has a worker claim a cluster and begin the removals of a set there.
func (w *world) begin(t *testing.T, c v1.Cluster, set string) {
	t.Helper()
	w.exec(t, "UPDATE reconciler.work SET state = 'queued' WHERE cluster_uid = $1", c.UID)
	claim, err := w.Claim(t.Context(), c.UID, "worker", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	want := int64(w.count(t, "SELECT want FROM reconciler.work WHERE cluster_uid = $1", c.UID))
	if err := w.Recheck(t.Context(), claim, want, []string{w.sets[set].UID}, time.Minute); err != nil {
		t.Fatal(err)
	}
	w.exec(t, "UPDATE reconciler.work SET state = 'idle' WHERE cluster_uid = $1", c.UID)
}

// settled makes all work rows idle, in step, and not due.
func (w *world) settled(t *testing.T) {
	t.Helper()
	w.exec(t, "UPDATE reconciler.work SET state = 'idle', done = want, class = 3, next_at = now() + interval '1 hour', causes = '[]'")
}

// due are the clusters that a mark has made due.
func (w *world) due(t *testing.T) []string {
	t.Helper()
	return w.strings(t, `SELECT c.name FROM reconciler.work w JOIN reconciler.clusters c ON c.uid = w.cluster_uid
WHERE w.want > w.done AND w.next_at <= now() ORDER BY 1`)
}

func (w *world) strings(t *testing.T, sql string, args ...any) []string {
	t.Helper()
	rows, err := w.pg.Pool.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := []string{}
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		found = append(found, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// targets says what each cluster is told to have: "cluster set generation", with "-" for a set that has to go.
func (w *world) targets(t *testing.T) []string {
	t.Helper()
	return w.strings(t, `SELECT c.name || ' ' || s.name || ' ' || coalesce(t.target_generation::text, '-') FROM reconciler.cluster_sets t
JOIN reconciler.clusters c ON c.uid = t.cluster_uid JOIN reconciler.sets s ON s.uid = t.set_uid ORDER BY 1`)
}

// removals says what may be deleted: "cluster set state cause".
func (w *world) removals(t *testing.T) []string {
	t.Helper()
	return w.strings(t, `SELECT c.name || ' ' || s.name || ' ' || r.state || ' ' || r.cause FROM reconciler.removals r
JOIN reconciler.clusters c ON c.uid = r.cluster_uid JOIN reconciler.sets s ON s.uid = r.set_uid ORDER BY 1`)
}

func (w *world) ledger(t *testing.T) int {
	t.Helper()
	return w.count(t, "SELECT count(*) FROM reconciler.deletion_ledger")
}

func (w *world) setSync(t *testing.T, name string) v1.SetSync {
	t.Helper()
	s, err := w.GetSetSyncByUID(context.WithoutCancel(t.Context()), w.sets[name].UID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func labels(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

func selects(pairs ...string) func(*v1.SelectorSyncSet) {
	return func(s *v1.SelectorSyncSet) { s.ClusterSelector = &v1.LabelSelector{MatchLabels: labels(pairs...)} }
}
