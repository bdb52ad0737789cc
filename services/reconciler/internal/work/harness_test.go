package work_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"k8s.io/client-go/rest"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/kubeconfig"
	"github.com/syncsets/syncsets/services/reconciler/internal/kube"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

func TestMain(m *testing.M) { devstack.Main(m) }

// system is a pool of workers on a real database and a real target, with the rows that a planner would have written.
type system struct {
	t            *testing.T
	db           *pgxpool.Pool
	store        *postgres.Store
	pool         *work.Pool
	kube         *devstack.Kube
	target       *target
	installation string
	cluster      string // uid
	ns           string // of this test on the target
}

func newSystem(t *testing.T, change ...func(*work.Config)) *system {
	t.Helper()
	pg, cp := devstack.Postgres(t, "reconciler"), devstack.Kubernetes(t)
	s := &system{
		t: t, db: pg.Pool, store: postgres.New(pg.Pool), kube: cp, target: newTarget(t, cp.Kubeconfig),
		installation: uuid.NewString(), ns: "t-" + uuid.NewString()[:8],
	}
	s.pool = s.newPool(change...)
	s.cluster = s.addCluster("one", cp.Kubeconfig)
	s.target.put("/api/v1/namespaces", fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, s.ns))
	return s
}

func (s *system) newPool(change ...func(*work.Config)) *work.Pool {
	s.t.Helper()
	targets, err := kube.New(kube.Config{Policy: kubeconfig.Policy{AllowLoopback: true}, Installation: s.installation})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(targets.Close)
	c := work.Config{
		Store: s.store, Targets: targets, Holder: uuid.NewString(), Installation: s.installation,
		Unseal: func(_ string, c work.Credential) (string, error) { return string(c.Sealed), nil },
		Log:    slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	for _, f := range change {
		f(&c)
	}
	pool, err := work.New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return pool
}

func (s *system) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// text runs a query for one value, as text; "" when there is none.
func (s *system) text(sql string, args ...any) string {
	s.t.Helper()
	var out string
	if err := s.db.QueryRow(s.t.Context(), "SELECT coalesce(("+sql+")::text, '')", args...).Scan(&out); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func (s *system) addCluster(name, kubeconfigText string) string {
	uid := uuid.NewString()
	document, _ := json.Marshal(map[string]any{"name": name, "namespace": "foo", "uid": uid})
	s.exec(`INSERT INTO reconciler.clusters (uid, namespace, name, generation, resource_version, document) VALUES ($1, 'foo', $2, 1, 1, $3)`,
		uid, name, document)
	s.exec(`INSERT INTO reconciler.credentials (cluster_uid, wanted, version, sealed) VALUES ($1, 1, 1, $2)`, uid, []byte(kubeconfigText))
	s.exec(`INSERT INTO reconciler.work (cluster_uid, full_at) VALUES ($1, now() + interval '1 hour')`, uid)
	return uid
}

// options are the fields of a set's document besides its name and resources.
type options map[string]any

// put stores a generation of a set and wants it on the cluster, as the planner does.
func (s *system) put(uid, name string, generation int, o options, resources ...string) string {
	s.t.Helper()
	if uid == "" {
		uid = uuid.NewString()
	}
	raw := []json.RawMessage{}
	for _, r := range resources {
		raw = append(raw, json.RawMessage(r))
	}
	document := map[string]any{"name": name, "namespace": "foo", "resources": raw, "resourceApplyMode": "Sync", "deletionPolicy": "Delete"}
	for k, v := range o {
		document[k] = v
	}
	text, _ := json.Marshal(document)
	s.exec(`INSERT INTO reconciler.sets (uid, resource, namespace, name, generation, resource_version, document, tracked_from)
VALUES ($1, 'syncsets', 'foo', $2, $3, $3, $4, CASE WHEN $4::jsonb->>'resourceApplyMode' = 'Sync' THEN 1 END)
ON CONFLICT (uid) DO UPDATE SET generation = excluded.generation, document = excluded.document, tracked_from = excluded.tracked_from`,
		uid, name, generation, text)
	s.exec(`INSERT INTO reconciler.set_generations (set_uid, generation, document) VALUES ($1, $2, $3)`, uid, generation, text)
	s.exec(`INSERT INTO reconciler.cluster_sets (cluster_uid, set_uid, target_generation) VALUES ($1, $2, $3)
ON CONFLICT (cluster_uid, set_uid) DO UPDATE SET target_generation = excluded.target_generation`, s.cluster, uid, generation)
	return uid
}

// drop says that the set must go from the cluster, with a removal in a state.
func (s *system) drop(set, removal string) {
	s.exec(`UPDATE reconciler.cluster_sets SET target_generation = NULL WHERE set_uid = $1`, set)
	s.remove(set, removal)
}

// remove makes the removal of a set's unwanted objects, or changes its state.
func (s *system) remove(set, state string) {
	s.exec(`INSERT INTO reconciler.removals (set_uid, cluster_uid, generation, cause, state) VALUES ($1, $2, 1, 'edited', $3)
ON CONFLICT (set_uid, cluster_uid) DO UPDATE SET state = excluded.state`, set, s.cluster, state)
}

// offer puts the cluster on the queue, as a planner's mark and a dispatcher do.
func (s *system) offer() {
	s.exec(`UPDATE reconciler.work SET state = 'queued', want = want + 1, class = 0, queued_at = now() WHERE cluster_uid = $1`, s.cluster)
}

// fanOut does what a planner's mark for many clusters and a dispatcher do, and runs.
func (s *system) fanOut() {
	s.offer()
	s.exec("UPDATE reconciler.work SET class = 1 WHERE cluster_uid = $1", s.cluster)
	s.pool.RunCluster(s.t.Context(), s.cluster)
}

// run works on the cluster once.
func (s *system) run() {
	s.t.Helper()
	s.offer()
	s.pool.RunCluster(s.t.Context(), s.cluster)
	if state := s.text("SELECT state FROM reconciler.work WHERE cluster_uid = $1", s.cluster); state != "idle" {
		s.t.Fatalf("the work row is %q after the run", state)
	}
}

// result returns "Result/Cause: message" of a set.
func (s *system) result(set string) string {
	return s.text(`SELECT result || '/' || cause || ': ' || message FROM reconciler.cluster_sets WHERE set_uid = $1`, set)
}

func (s *system) reason() string {
	return s.text(`SELECT reachable || '/' || reason FROM reconciler.clustersyncs WHERE cluster_uid = $1`, s.cluster)
}

// states returns "kind/name=state" of the inventory, in order.
func (s *system) states() string {
	return s.text(`SELECT string_agg(kind || '/' || name || '=' || state, ' ' ORDER BY kind, name) FROM reconciler.inventory
WHERE cluster_uid = $1`, s.cluster)
}

func (s *system) requests() string {
	return s.text(`SELECT last_run->>'requests' FROM reconciler.clustersyncs WHERE cluster_uid = $1`, s.cluster)
}

// configMap returns the text of a ConfigMap in the test's namespace.
func (s *system) configMap(name, value string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":%q},"data":{"k":%q}}`, name, s.ns, value)
}

func (s *system) at(name string) string { return "/api/v1/namespaces/" + s.ns + "/configmaps/" + name }

// target is a bare client of the target, which believes nothing that the system says.
type target struct {
	t      *testing.T
	host   string
	client *http.Client
}

func newTarget(t *testing.T, text string) *target {
	t.Helper()
	config, err := kubeconfig.Load(text, kubeconfig.Policy{AllowLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return &target{t: t, host: config.Host, client: client}
}

// object is what the tests look at.
type object struct {
	Metadata struct {
		UID, ResourceVersion string
		DeletionTimestamp    string
		Labels, Annotations  map[string]string
		Finalizers           []string
	}
	Data map[string]string
}

func (c *target) do(method, path, contentType, body string) (int, []byte) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(context.WithoutCancel(c.t.Context()), method, c.host+path, bytes.NewBufferString(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	response, err := c.client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, text
}

// put creates an object in a collection.
func (c *target) put(collection, body string) {
	c.t.Helper()
	if status, text := c.do("POST", collection, "application/json", body); status != http.StatusCreated {
		c.t.Fatalf("POST %s: %d %s", collection, status, text)
	}
}

// merge patches an object.
func (c *target) merge(path, body string) {
	c.t.Helper()
	if status, text := c.do("PATCH", path, "application/merge-patch+json", body); status != http.StatusOK {
		c.t.Fatalf("PATCH %s: %d %s", path, status, text)
	}
}

// get returns the object, nil when there is none.
func (c *target) get(path string) *object {
	c.t.Helper()
	status, text := c.do("GET", path, "application/json", "")
	if status == http.StatusNotFound {
		return nil
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil || status != http.StatusOK {
		c.t.Fatalf("GET %s: %d %s", path, status, text)
	}
	return &o
}
