package transport_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/rest"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/transport"
)

func TestMain(m *testing.M) { devstack.Main(m) }

// Two clusters, one of them unreachable; the set "all" is on both, held on c1, and the syncset ns/one only on c1, where it fails.
const fixture = `
INSERT INTO reconciler.clusters (uid, namespace, name, generation, resource_version, labels, document) VALUES
	('00000000-0000-0000-0000-0000000000c1', 'ns', 'c1', 2, 7, '{env,env=prod}', '{"labels": {"env": "prod"}}'),
	('00000000-0000-0000-0000-0000000000c2', 'ns', 'c2', 1, 8, '{env,env=test}', '{"labels": {"env": "test"}}');
INSERT INTO reconciler.work (cluster_uid, want, done, next_at, attempts) VALUES
	('00000000-0000-0000-0000-0000000000c1', 1, 1, now() + interval '1 hour', 0),
	('00000000-0000-0000-0000-0000000000c2', 1, 1, now() + interval '1 hour', 3);
INSERT INTO reconciler.clustersyncs (cluster_uid, target_id, reachable, reason, message, kubernetes_version, health, run_seconds, last_run) VALUES
	('00000000-0000-0000-0000-0000000000c1', 'target', 'True', 'Reachable', '', 'v1.36.3', 'InProgress', 61.5,
		'{"startedAt": "2026-01-02T03:04:05Z", "duration": "1m1.5s", "requests": 7, "throttledFor": "3s"}'),
	('00000000-0000-0000-0000-0000000000c2', '', 'False', 'Timeout', 'no answer', '', 'Current', 2, null);
INSERT INTO reconciler.sets (uid, resource, namespace, name, generation, resource_version, tracked_from, document) VALUES
	('00000000-0000-0000-0000-0000000000a1', 'selectorsyncsets', '', 'all', 3, 5, 1,
		'{"clusterSelector": {}, "resourceApplyMode": "Sync", "deletionPolicy": "Delete", "resources": []}'),
	('00000000-0000-0000-0000-0000000000a2', 'syncsets', 'ns', 'one', 1, 6, null, '{"clusterRefs": [{"name": "c1"}]}');
INSERT INTO reconciler.cluster_sets (cluster_uid, set_uid, target_generation, observed_generation, result, cause, message, objects,
	cluster_namespace, cluster_name, health) VALUES
	('00000000-0000-0000-0000-0000000000c1', '00000000-0000-0000-0000-0000000000a1', 3, 3, 'Held', 'Held', '', '[]', 'ns', 'c1', 'InProgress'),
	('00000000-0000-0000-0000-0000000000c2', '00000000-0000-0000-0000-0000000000a1', 3, 3, 'Success', '', '', '[]', 'ns', 'c2', 'Current'),
	('00000000-0000-0000-0000-0000000000c1', '00000000-0000-0000-0000-0000000000a2', 1, 1, 'Failure', '', 'failed to apply resource 0',
		'[{"apiVersion": "v1", "kind": "Secret", "namespace": "default", "name": "s", "state": "Conflict"}]', 'ns', 'c1', '');
INSERT INTO reconciler.inventory (cluster_uid, target_id, api_group, kind, namespace, name, set_uid, set_generation, item, version, resource,
	state, object_uid, health, health_message, drifts, drifted_at, drifted_by) VALUES
	('00000000-0000-0000-0000-0000000000c1', 'target', 'apps', 'Deployment', 'default', 'd', '00000000-0000-0000-0000-0000000000a1', 2, 0,
		'v1', 'deployments', 'Held', 'u', 'InProgress', 'Available: 1/2', 2, '2026-01-02T03:04:05Z', 'kubectl-edit');
INSERT INTO reconciler.removals (set_uid, cluster_uid, generation, cause, state) VALUES
	('00000000-0000-0000-0000-0000000000a1', '00000000-0000-0000-0000-0000000000c1', 3, 'edited', 'held')`

var noon = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// api serves the fixture.
type api struct {
	url   string
	wakes int
}

func serve(t *testing.T) *api {
	t.Helper()
	return serveTo(t, auth.NewNone())
}

// serveTo serves the fixture to whoever access lets in.
func serveTo(t *testing.T, access auth.Authenticator) *api {
	t.Helper()
	pg := devstack.Postgres(t, "reconciler")
	if _, err := pg.Pool.Exec(t.Context(), fixture); err != nil {
		t.Fatal(err)
	}
	store, a := postgres.New(pg.Pool), &api{}
	for _, set := range []string{"00000000-0000-0000-0000-0000000000a1", "00000000-0000-0000-0000-0000000000a2"} {
		if err := store.CountSet(t.Context(), set); err != nil {
			t.Fatal(err)
		}
	}
	routes := rest.NewAPI(rest.Options{Service: "reconciler", Auth: access, Log: slog.New(slog.DiscardHandler)})
	transport.Routes(routes, store, store, outbox.NewLog(pg.Pool, "reconciler"), func() { a.wakes++ })
	server := httptest.NewServer(routes.Handler())
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// call sends a request, with headers such as "Name: value", and returns the status and the body.
func (a *api) call(t *testing.T, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// get decodes what a path answers.
func get[T any](t *testing.T, a *api, path string) T {
	t.Helper()
	var document T
	status, text := a.call(t, http.MethodGet, path, "")
	if status != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, status, text)
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	return document
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestAClusterSyncSaysWhatIsKnownOfACluster(t *testing.T) {
	t.Parallel()
	a := serve(t)
	c1 := get[v1.ClusterSync](t, a, "/v1/clustersyncs/ns/c1")
	conditions := map[string]string{}
	for _, c := range c1.Status.Conditions {
		conditions[c.Type] = c.Status + " " + c.Reason
	}
	want(t, "conditions", conditions, map[string]string{"Ready": "False SetsFailed", "Reachable": "True Reachable", "Failed": "True SetsFailed"})
	want(t, "work", c1.Status.Work.State+" "+c1.Status.Work.Cause, "idle Held")
	want(t, "labels", c1.Labels, map[string]string{"env": "prod"})
	want(t, "objects of all", c1.Status.SelectorSyncSets[0].Objects,
		[]v1.ObjectStatus{{
			APIVersion: "apps/v1", Kind: "Deployment", Namespace: "default", Name: "d", UID: "u", State: "Held", Health: "InProgress",
			HealthMessage: "Available: 1/2", Drift: &v1.Drift{Count: 2, LastAt: &noon, Manager: "kubectl-edit"},
		}})
	want(t, "health of the cluster and the set", c1.Status.Health+" "+c1.Status.SelectorSyncSets[0].Health, "InProgress InProgress")
	want(t, "throttled", c1.Status.LastRun.ThrottledFor, "3s")
	want(t, "objects of one", c1.Status.SyncSets[0].Objects,
		[]v1.ObjectStatus{{APIVersion: "v1", Kind: "Secret", Namespace: "default", Name: "s", State: "Conflict"}})

	c2 := get[v1.ClusterSync](t, a, "/v1/clustersyncs/ns/c2")
	want(t, "work of an unreachable cluster", c2.Status.Work.Cause, "Unreachable")
	want(t, "health of what is away", c2.Status.Health+" "+c2.Status.SelectorSyncSets[0].Health, "Unknown Unknown")
	want(t, "a set on it", c2.Status.SelectorSyncSets[0].Result+" "+c2.Status.SelectorSyncSets[0].Cause, "Pending Unreachable")
}

func TestListingClusterSyncs(t *testing.T) {
	t.Parallel()
	a := serve(t)
	for query, names := range map[string][]string{
		"":                                              {"c1", "c2"},
		"?labelSelector=env%3Dtest":                     {"c2"},
		"?namespace=other":                              {},
		"?reachable=false":                              {"c2"},
		"?reachable=True":                               {"c1"},
		"?result=Held":                                  {"c1"},
		"?syncSet=ns/one":                               {"c1"},
		"?selectorSyncSet=all":                          {"c1", "c2"},
		"?selectorSyncSet=all&result=Held":              {"c1"},
		"?syncSet=ns/one&result=Held":                   {},
		"?syncSet=ns/one&result=Failure":                {"c1"},
		"?result=Failure":                               {"c1"},
		"?result=Success":                               {"c2"},
		"?selectorSyncSet=unknown":                      {},
		"?slow=1s":                                      {"c1", "c2"},
		"?slow=1m":                                      {"c1"},
		"?slow=1m&reachable=false":                      {},
		"?selectorSyncSet=all&slow=1m":                  {"c1"},
		"?selectorSyncSet=all&namespace=x":              {},
		"?result=Held&namespace=ns":                     {"c1"},
		"?selectorSyncSet=all&labelSelector=env%3Dtest": {"c2"},
	} {
		list := get[v1.List[v1.ClusterSync]](t, a, "/v1/clustersyncs"+query)
		got := []string{}
		for _, c := range list.Items {
			got = append(got, c.Name)
			for _, s := range c.Status.SelectorSyncSets {
				want(t, "objects in a list", s.Objects, nil)
			}
		}
		want(t, query, got, names)
	}
	for _, query := range []string{"", "selectorSyncSet=all&"} {
		page := get[v1.List[v1.ClusterSync]](t, a, "/v1/clustersyncs?"+query+"limit=1")
		want(t, "first page", page.Items[0].Name, "c1")
		page = get[v1.List[v1.ClusterSync]](t, a, "/v1/clustersyncs?"+query+"limit=1&continue="+page.Continue)
		want(t, "second page", page.Items[0].Name+page.Continue, "c2")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	a := serve(t)
	for _, tt := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/v1/clustersyncs/ns/unknown", "", 404, "not known"},
		{"GET", "/v1/clustersyncs?slow=1", "", 400, "such as 30s"},
		{"GET", "/v1/clustersyncs?slow=-1s", "", 400, "above zero"},
		{"GET", "/v1/clustersyncs?syncSet=ns/one&selectorSyncSet=all", "", 400, "cannot be combined"},
		{"GET", "/v1/clustersyncs?result=Fine&reachable=perhaps&syncSet=one", "", 400, "query.reachable"},
		{"GET", "/v1/clustersyncs?continue=x", "", 400, "continue"},
		{"GET", "/v1/clustersyncs?labelSelector=a%3D%3D%3Db", "", 400, ""},
		{"GET", "/v1/setsyncs/uid/nonsense", "", 404, ""},
		{"GET", "/v1/setsyncs/selectorsyncsets/unknown", "", 404, ""},
		{"POST", "/v1/clustersyncs/ns/unknown/sync", "", 404, ""},
		{"POST", "/v1/clustersyncs/ns/c1/accept-identity", "{}", 409, "has not changed"},
		{"POST", "/v1/setsyncs/syncsets/ns/one/confirm", `{"hash": "x"}`, 409, "nothing is held"},
		{"POST", "/v1/setsyncs/selectorsyncsets/all/confirm", `{"hash": "x", "more": 1}`, 400, "more"},
		{"DELETE", "/v1/setsyncs", "", 405, ""},
	} {
		status, text := a.call(t, tt.method, tt.path, tt.body)
		if status != tt.status || !strings.Contains(text, tt.says) {
			t.Errorf("%s %s: %d %s, want %d that says %q", tt.method, tt.path, status, text, tt.status, tt.says)
		}
	}
	want(t, "wakes", a.wakes, 0)
}

func TestHeldDeletionsAreAnsweredWithTheirHash(t *testing.T) {
	t.Parallel()
	a := serve(t)
	all := get[v1.SetSync](t, a, "/v1/setsyncs/selectorsyncsets/all")
	want(t, "by uid", get[v1.SetSync](t, a, "/v1/setsyncs/uid/"+all.UID).Status.PendingDeletion, all.Status.PendingDeletion)
	want(t, "targets, held, clusters, objects",
		[4]int{all.Status.Targets, all.Status.Held, all.Status.PendingDeletion.Clusters, all.Status.PendingDeletion.Objects}, [4]int{2, 1, 1, 1})
	want(t, "health", all.Status.Health, v1.HealthCounts{Current: 1, InProgress: 1})
	want(t, "listed", len(get[v1.List[v1.SetSync]](t, a, "/v1/setsyncs").Items), 2)

	status, text := a.call(t, http.MethodPost, "/v1/setsyncs/selectorsyncsets/all/confirm", `{"hash": "wrong"}`)
	if status != http.StatusConflict || !strings.Contains(text, all.Status.PendingDeletion.Hash) {
		t.Errorf("with a wrong hash: %d %s, want 409 that names the right one", status, text)
	}
	status, text = a.call(t, http.MethodPost, "/v1/setsyncs/uid/"+all.UID+"/confirm", `{"hash": "`+all.Status.PendingDeletion.Hash+`"}`)
	want(t, "status: "+text, status, http.StatusOK)
	want(t, "wakes", a.wakes, 1)
	want(t, "held afterwards", get[v1.SetSync](t, a, "/v1/setsyncs/uid/"+all.UID).Status.Held, 0)
}

func TestSyncMakesAClusterDue(t *testing.T) {
	t.Parallel()
	a := serve(t)
	status, text := a.call(t, http.MethodPost, "/v1/clustersyncs/ns/c2/sync", "")
	want(t, "status: "+text, status, http.StatusAccepted)
	want(t, "wakes", a.wakes, 1)
	want(t, "work", get[v1.ClusterSync](t, a, "/v1/clustersyncs/ns/c2").Status.Work.Cause, "Queued")
}
