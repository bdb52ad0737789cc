package transport_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/syncsets/internal/syncset"
)

const configMap = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"default"},"data":{"x":"1"}}`

func TestASetIsCreatedReadReplacedAndDeleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	created := f.must(http.StatusCreated, "POST", "/v1/selectorsyncsets",
		`{"name":"all","labels":{"team":"a"},"clusterSelector":{},"resources":[`+configMap+`]}`)
	first := read[v1.SelectorSyncSet](f, created)
	if got, want := created.header.Get("Location"), "/v1/selectorsyncsets/all"; got != want {
		t.Errorf("Location %q, want %q", got, want)
	}
	if got := created.header.Get("ETag"); got != first.ETag() || first.UID == "" || first.ResourceVersion == "" || first.Generation != 1 {
		t.Errorf("ETag %q of %+v", got, first.Metadata)
	}
	if first.ResourceApplyMode != v1.Upsert || first.DeletionHold == nil || !*first.DeletionHold || first.APIVersion != v1.APIVersion {
		t.Errorf("defaults are not answered: %+v", first)
	}
	stored := read[v1.SelectorSyncSet](f, f.must(http.StatusOK, "GET", "/v1/selectorsyncsets/all", ""))
	if diff := cmp.Diff(first.Metadata, stored.Metadata); diff != "" {
		t.Errorf("GET (-created +read):\n%s", diff)
	}

	relabelled := read[v1.SelectorSyncSet](f, f.must(http.StatusOK, "PUT", "/v1/selectorsyncsets/all",
		`{"labels":{"team":"b"},"clusterSelector":{},"resources":[{"metadata":{"namespace":"default","name":"a"},"kind":"ConfigMap","apiVersion":"v1","data":{"x":"1"}}]}`))
	if relabelled.Generation != 1 || relabelled.UID != first.UID || relabelled.ResourceVersion == first.ResourceVersion {
		t.Errorf("other labels and another order of keys are a new version of the same generation: %+v", relabelled.Metadata)
	}
	changed := read[v1.SelectorSyncSet](f, f.must(http.StatusOK, "PUT", "/v1/selectorsyncsets/all", `{"clusterSelector":{},"resources":[]}`))
	if changed.Generation != 2 || !changed.CreatedAt.Equal(*first.CreatedAt) {
		t.Errorf("other resources are a new generation: %+v", changed.Metadata)
	}
	f.must(http.StatusNoContent, "DELETE", "/v1/selectorsyncsets/all", "")
	f.must(http.StatusNotFound, "GET", "/v1/selectorsyncsets/all", "")
	f.must(http.StatusNotFound, "DELETE", "/v1/selectorsyncsets/all", "")
	if got := f.woken.Load(); got != 4 {
		t.Errorf("the relay was woken %d times, want once per write", got)
	}
}

func TestAReplacementStatesWhatItExpects(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const path = "/v1/syncsets/foo/a"
	s := read[v1.SyncSet](f, f.must(http.StatusCreated, "PUT", path, `{"clusterRefs":[{"name":"c"}]}`))
	f.must(http.StatusConflict, "POST", "/v1/syncsets", `{"namespace":"foo","name":"a"}`)
	f.must(http.StatusPreconditionFailed, "PUT", path, `{}`, "If-Match", `"x.1"`)
	f.must(http.StatusPreconditionFailed, "PUT", "/v1/syncsets/foo/none", `{}`, "If-Match", `*`)
	f.must(http.StatusPreconditionFailed, "DELETE", path, "", "If-Match", `"x.1"`)
	f.must(http.StatusConflict, "PUT", path, `{"resourceVersion":"1234567"}`)
	f.must(http.StatusConflict, "PUT", path, `{"uid":"5f1c1b36-0f2c-4f64-9a5c-93d2ab4f3f43"}`)
	f.must(http.StatusConflict, "PUT", "/v1/syncsets/foo/none", fmt.Sprintf(`{"uid":%q}`, s.UID))
	f.must(http.StatusBadRequest, "PUT", path, `{"name":"other"}`)
	f.must(http.StatusOK, "PUT", path, fmt.Sprintf(`{"uid":%q,"resourceVersion":%q}`, s.UID, s.ResourceVersion), "If-Match", s.ETag())
}

func TestAllFaultsOfADocumentAreToldAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	a := f.must(http.StatusBadRequest, "POST", "/v1/syncsets",
		`{"name":"A_b","bogus":1,"suspended":"yes","applyBehavior":"Never","resources":[`+configMap+`,{"kind":"X"}]}`)
	var paths []string
	for _, fault := range a.fields() {
		paths = append(paths, fault.Path)
	}
	want := []string{
		"bogus", "suspended", "name", "namespace", "resources[1].apiVersion", "resources[1].metadata.name", "applyBehavior",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s\n%s", diff, a.body)
	}
	if got := len(f.changes()); got != 0 {
		t.Errorf("%d events of a refused document", got)
	}
}

func TestOptionsOfAWriteAreCarriedToItsEvent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.must(http.StatusCreated, "PUT", "/v1/syncsets/foo/a?deletionHold=false", `{"resourceApplyMode":"Sync"}`)
	f.must(http.StatusNoContent, "DELETE", "/v1/syncsets/foo/a?deletionPolicy=Orphan&deletionHold=false", "")
	actor := f.changes()[0].Actor
	want := []change{
		{"syncsets", "created", "a", actor, map[string]string{"deletionHold": "false"}},
		{"syncsets", "deleted", "a", actor, map[string]string{"deletionHold": "false", "deletionPolicy": "Orphan"}},
	}
	if diff := cmp.Diff(want, f.changes()); diff != "" || actor == "" {
		t.Errorf("actor %q (-want +got):\n%s", actor, diff)
	}
}

func TestOtherOptionsAreRefusedByName(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.must(http.StatusCreated, "PUT", "/v1/syncsets/foo/a", `{}`)
	for _, tc := range []struct{ method, path, body, name string }{
		{"POST", "/v1/syncsets?deletionHold=false", `{"namespace":"foo","name":"b"}`, "query.deletionHold"},
		{"PUT", "/v1/syncsets/foo/a?deletionPolicy=Orphan", `{}`, "query.deletionPolicy"},
		{"PUT", "/v1/syncsets/foo/a?dryRun=true", `{}`, "query.dryRun"},
		{"PUT", "/v1/syncsets/foo/a?deletionHold=no", `{}`, "query.deletionHold"},
		{"DELETE", "/v1/syncsets/foo/a?deletionPolicy=Delete", ``, "query.deletionPolicy"},
		{"DELETE", "/v1/syncsets/foo/a?force=true", ``, "query.force"},
	} {
		a := f.must(http.StatusBadRequest, tc.method, tc.path, tc.body)
		if faults := a.fields(); len(faults) != 1 || faults[0].Path != tc.name {
			t.Errorf("%s %s: %s, want %s named", tc.method, tc.path, a.body, tc.name)
		}
	}
}

func TestASuspendedSetIsDeletedOnlyWhenItsObjectsMayStay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.must(http.StatusCreated, "PUT", "/v1/syncsets/foo/a", `{"suspended":true}`)
	a := f.must(http.StatusConflict, "DELETE", "/v1/syncsets/foo/a", "")
	if !strings.Contains(string(a.body), "deletionPolicy=Orphan") {
		t.Errorf("the way out is not named: %s", a.body)
	}
	f.must(http.StatusNoContent, "DELETE", "/v1/syncsets/foo/a?deletionPolicy=Orphan", "")
}

func TestLongNamesAndLargeDocumentsPass(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	name := strings.Repeat(strings.Repeat("a", 62)+".", 4) + "a"
	namespace := strings.Repeat("n", 63)
	path := "/v1/syncsets/" + namespace + "/" + name
	prefix := `{"resources":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"`
	const suffix = `"}}]}`
	body := prefix + strings.Repeat("x", 3<<20-len(prefix)-len(suffix)) + suffix
	f.must(http.StatusCreated, "PUT", path, body)
	if got := f.must(http.StatusOK, "GET", path, ""); len(got.body) < 3<<20 {
		t.Errorf("%d bytes came back", len(got.body))
	}
	f.must(http.StatusRequestEntityTooLarge, "PUT", path, body+" ")
	f.must(http.StatusBadRequest, "PUT", path+"a", `{}`)
}

func TestOfWritersThatCreateAtOnceOneCreates(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var mu sync.Mutex
	statuses := map[int]int{}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			a := f.do("PUT", "/v1/selectorsyncsets/a", `{"clusterSelector":{}}`)
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		})
	}
	wait.Wait()
	if diff := cmp.Diff(map[int]int{http.StatusCreated: 1, http.StatusOK: 7}, statuses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestListsFilterAndPage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.relay()
	for i := range 2 {
		f.must(http.StatusCreated, "PUT", fmt.Sprintf("/v1/syncsets/n%d/a", i), fmt.Sprintf(`{"labels":{"i":"%d"}}`, i))
		f.must(http.StatusCreated, "PUT", fmt.Sprintf("/v1/syncsets/m/a%d", i), `{}`)
	}
	page := read[v1.List[v1.SyncSet]](f, f.must(http.StatusOK, "GET", "/v1/syncsets?limit=3", ""))
	rest := read[v1.List[v1.SyncSet]](f, f.must(http.StatusOK, "GET", "/v1/syncsets?limit=3&continue="+page.Continue, ""))
	var keys []string
	for _, s := range append(page.Items, rest.Items...) {
		keys = append(keys, s.Key())
	}
	if diff := cmp.Diff([]string{"m/a0", "m/a1", "n0/a", "n1/a"}, keys); diff != "" || rest.Continue != "" || page.Revision == "" {
		t.Errorf("continue %q, revision %q (-want +got):\n%s", rest.Continue, page.Revision, diff)
	}
	found := read[v1.List[v1.SyncSet]](f, f.must(http.StatusOK, "GET", "/v1/syncsets?labelSelector=i%3D1&namespace=n1", ""))
	if len(found.Items) != 1 || found.Items[0].Key() != "n1/a" {
		t.Errorf("by label: %+v", found.Items)
	}
	f.must(http.StatusBadRequest, "GET", "/v1/syncsets?labelSelector=a+in+b", "")
	f.must(http.StatusBadRequest, "GET", "/v1/syncsets?limit=1001", "")
}

func TestTheInternalListShowsSetsAndSecretsAtOnePosition(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.relay()
	var want []string
	for i := range 3 {
		f.must(http.StatusCreated, "PUT", fmt.Sprintf("/v1/syncsets/foo/a%d", i), `{}`)
		want = append(want, fmt.Sprintf("syncsets a%d", i))
	}
	for i := range 3 {
		f.must(http.StatusCreated, "PUT", fmt.Sprintf("/v1/selectorsyncsets/b%d", i), `{"clusterSelector":{}}`)
		want = append(want, fmt.Sprintf("selectorsyncsets b%d", i))
	}
	for i := range 3 {
		f.must(http.StatusCreated, "PUT", fmt.Sprintf("/v1/secrets/foo/c%d", i), `{}`)
		want = append(want, fmt.Sprintf("secrets c%d", i))
	}
	var got, revisions []string
	query := "?limit=2"
	for query != "" {
		a := f.ask(f.internal, "GET", "/internal/v1/sets"+query, "")
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		page := read[v1.List[syncset.Entry]](f, a)
		for _, e := range page.Items {
			got = append(got, fmt.Sprint(e.Resource, " ", e.Document.(map[string]any)["name"]))
		}
		revisions = append(revisions, page.Revision)
		f.must(http.StatusOK, "PUT", "/v1/syncsets/foo/a0", `{"suspended":true}`) // moves the log
		if query = ""; page.Continue != "" {
			query = "?limit=2&continue=" + page.Continue
		}
	}
	if first := revisions[0]; first == "" || slices.ContainsFunc(revisions, func(r string) bool { return r != first }) {
		t.Errorf("the pages are of the revisions %q, want one", revisions)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if a := f.ask(f.internal, "GET", "/internal/v1/sets?continue=x", ""); a.status != http.StatusBadRequest {
		t.Errorf("a token that is none: %d", a.status)
	}
}

func TestFeedsShowWhatWasWritten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.relay()
	f.must(http.StatusCreated, "PUT", "/v1/syncsets/foo/a", `{}`)
	f.must(http.StatusCreated, "PUT", "/v1/selectorsyncsets/b", `{"clusterSelector":{}}`)
	f.must(http.StatusNoContent, "DELETE", "/v1/syncsets/foo/a?deletionPolicy=Orphan", "")
	var all outbox.Page
	f.until("three events are in the log", func() bool {
		all = read[outbox.Page](f, f.ask(f.internal, "GET", "/internal/v1/events", ""))
		return len(all.Items) == 3
	})
	if got := all.Items[2]; got.Operation != outbox.Deleted || got.Options["deletionPolicy"] != "Orphan" || got.Previous != all.Items[0].Revision.N {
		t.Errorf("the last event is %+v", got)
	}
	since := f.must(http.StatusOK, "GET", "/v1/events/selectorsyncsets?since="+all.Items[0].Revision.String(), "")
	if got := read[outbox.Page](f, since).Items; len(got) != 1 || got[0].Name != "b" {
		t.Errorf("selectorsyncsets since the first event: %s", since.body)
	}
	f.must(http.StatusBadRequest, "GET", "/v1/events/selectorsyncsets?since=x", "")
	f.must(http.StatusGone, "GET", "/v1/events/selectorsyncsets?since=other.5", "")
	f.must(http.StatusNotFound, "GET", "/v1/events/clusters", "")
}

func TestUnknownPathsAndMethodsAreTold(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.must(http.StatusNotFound, "GET", "/v1/nothing", "")
	f.must(http.StatusNotFound, "GET", "/internal/v1/secrets/"+system+"/data", "")
	f.must(http.StatusNotFound, "GET", "/internal/v1/sets", "")
	a := f.must(http.StatusMethodNotAllowed, "DELETE", "/v1/syncsets", "")
	if got := a.header.Get("Allow"); !strings.Contains(got, "POST") || !strings.Contains(got, "GET") {
		t.Errorf("Allow: %q", got)
	}
	f.must(http.StatusUnsupportedMediaType, "PUT", "/v1/syncsets/foo/a", "a: b", "Content-Type", "application/yaml")
}
