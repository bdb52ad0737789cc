package transport_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
)

func TestTheSmallestClusterIsRegisteredWithAWarning(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	a := s.must(t, http.StatusCreated, "POST", "/v1/clusters", `{"name": "cluster1", "namespace": "foo", "kubeconfig": "foobar"}`)
	c := a.document(t)
	if a.header.Get("Location") != one || a.header.Get("ETag") != c.ETag() {
		t.Errorf("Location %q, ETag %q", a.header.Get("Location"), a.header.Get("ETag"))
	}
	if !strings.HasPrefix(a.header.Get("Warning"), `299 - "the kubeconfig cannot be used`) {
		t.Errorf("Warning is %q", a.header.Get("Warning"))
	}
	if c.APIVersion != v1.APIVersion || c.Kind != v1.KindCluster || c.Generation != 1 || c.KubeconfigVersion != 1 ||
		c.UpdatedBy != "anonymous" || c.UID == "" || c.KubeconfigDigest == "" || c.CreatedAt == nil {
		t.Errorf("the server's fields: %+v", c)
	}
	if strings.Contains(a.text, "foobar") {
		t.Errorf("the kubeconfig is shown: %s", a.text)
	}
	read := s.must(t, http.StatusOK, "GET", one, "")
	if diff := cmp.Diff(c, read.document(t)); diff != "" || read.header.Get("ETag") != c.ETag() {
		t.Errorf("GET differs from POST (-post +get):\n%s", diff)
	}
}

func TestAUsableKubeconfigGivesNoWarning(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	a := s.must(t, http.StatusCreated, "POST", "/v1/clusters", with(kubeconfig(good)))
	if a.header.Get("Warning") != "" || strings.Contains(a.text, "secret-token") {
		t.Errorf("Warning %q, answer %s", a.header.Get("Warning"), a.text)
	}
}

func TestAPutReplacesAndKeepsTheKubeconfig(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	created := s.must(t, http.StatusCreated, "PUT", one, `{`+kubeconfig("foobar")[2:]+`, "labels": {"a": "b"}}`).document(t)
	steps := []struct {
		reason              string
		body                string
		generation, version int64
	}{
		{"labels are no desired content", with(`, "labels": {"a": "c"}`), 1, 1},
		{"the same kubeconfig is none", with(kubeconfig("foobar")), 1, 1},
		{"suspended is desired content", with(`, "suspended": true`), 2, 1},
		{"so is another kubeconfig", with(`, "suspended": true` + kubeconfig(good)), 3, 2},
		{"so is an interval", with(`, "suspended": true, "verifyInterval": "30m"`), 4, 2},
		{"annotations are none", with(`, "suspended": true, "verifyInterval": "30m", "annotations": {"x": "y"}`), 4, 2},
		{"what is absent goes back to its default", with(``), 5, 2},
		{"the server's fields are ignored", with(`, "generation": 99, "kubeconfigVersion": 99, "createdAt": "2001-01-01T00:00:00Z"`), 5, 2},
	}
	before := created
	for _, step := range steps {
		c := s.must(t, http.StatusOK, "PUT", one, step.body).document(t)
		if c.Generation != step.generation || c.KubeconfigVersion != step.version {
			t.Errorf("%s: generation %d, kubeconfigVersion %d", step.reason, c.Generation, c.KubeconfigVersion)
		}
		if c.UID != created.UID || !c.CreatedAt.Equal(*created.CreatedAt) || c.ResourceVersion == before.ResourceVersion {
			t.Errorf("%s: uid %s, createdAt %s, resourceVersion %s", step.reason, c.UID, c.CreatedAt, c.ResourceVersion)
		}
		before = c
	}
}

func TestOptimisticLocking(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	first := s.must(t, http.StatusCreated, "POST", "/v1/clusters", with(kubeconfig(good))).document(t)
	current := s.must(t, http.StatusOK, "PUT", one, with(`, "suspended": true`)).document(t)
	tests := []struct {
		reason, method, path, body, ifMatch string
		status                              int
	}{
		{"a stale tag on PUT", "PUT", one, with(""), first.ETag(), 412},
		{"a stale tag on DELETE", "DELETE", one, "", first.ETag(), 412},
		{"a weak tag", "PUT", one, with(""), "W/" + current.ETag(), 412},
		{"a tag for nothing", "PUT", "/v1/clusters/foo/new", "{" + kubeconfig(good)[2:] + "}", "*", 412},
		{"a tag for nothing on DELETE", "DELETE", "/v1/clusters/foo/new", "", "*", 412},
		{"a stale resourceVersion", "PUT", one, with(`, "resourceVersion": "` + first.ResourceVersion + `"`), "", 409},
		{"another uid", "PUT", one, with(`, "uid": "4d2bb4e5-8d57-4e29-a83a-63b5d6b0f8ce"`), "", 409},
		{"a uid for nothing", "PUT", "/v1/clusters/foo/new", `{"uid": "x"` + kubeconfig(good) + `}`, "", 409},
		{"a taken name", "POST", "/v1/clusters", with(kubeconfig(good)), "", 409},
		{"one of two tags", "PUT", one, with(""), first.ETag() + ", " + current.ETag(), 200},
		{"any version", "PUT", one, with(""), "*", 200},
	}
	for _, test := range tests {
		var headers []string
		if test.ifMatch != "" {
			headers = append(headers, "If-Match: "+test.ifMatch)
		}
		if a := call(t, test.method, s.public+test.path, test.body, headers...); a.status != test.status {
			t.Errorf("%s: status %d, not %d: %s", test.reason, a.status, test.status, a.text)
		}
	}
	current = s.must(t, http.StatusOK, "GET", one, "").document(t)
	s.must(t, http.StatusOK, "PUT", one, with(`, "uid": "`+current.UID+`", "resourceVersion": "`+current.ResourceVersion+`"`))
}

func TestADeletedClusterIsGone(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	s.must(t, http.StatusCreated, "POST", "/v1/clusters", with(kubeconfig(good)))
	if a := s.must(t, http.StatusNoContent, "DELETE", one, ""); a.text != "" {
		t.Errorf("204 with a body: %s", a.text)
	}
	s.must(t, http.StatusNotFound, "DELETE", one, "")
	if p := s.must(t, http.StatusNotFound, "GET", one, "").problem(t); p.Detail != "there is no foo/cluster1 in clusters" {
		t.Errorf("detail is %q", p.Detail)
	}
}

func TestEveryFaultOfAClusterIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	s.must(t, http.StatusCreated, "POST", "/v1/clusters", with(kubeconfig(good)))
	tests := map[string]struct {
		method, path, body string
		want               []string // paths
	}{
		"nothing at all": {"POST", "/v1/clusters", `{}`, []string{"name", "namespace", "kubeconfig"}},
		"all kinds of faults": {
			"POST", "/v1/clusters",
			`{"name": "A_b", "namespace": "x.y", "labels": {"bad key": "v", "k": "bad value!"}, "annotations": {"bad key": ""},
			"apiVersion": "v2", "kind": "Klustr", "verifyInterval": "59s", "reapplyInterval": "often", "kubeconfig": ""}`,
			[]string{
				"apiVersion", "kind", "name", "namespace", "labels[bad key]", "labels[k]", "annotations[bad key]", "verifyInterval", "reapplyInterval",
				"kubeconfig",
			},
		},
		"an unknown field beside a bad name": {"POST", "/v1/clusters", `{"name": "A", "namespace": "foo", "colour": 1` + kubeconfig(good) + `}`, []string{"colour", "name"}},
		"an unknown field and no kubeconfig": {"POST", "/v1/clusters", with(`, "colour": 1`), []string{"colour", "kubeconfig"}},
		"a null kubeconfig for a new one":    {"POST", "/v1/clusters", with(`, "kubeconfig": null`), []string{"kubeconfig"}},
		"a null kubeconfig":                  {"PUT", one, with(`, "kubeconfig": null`), []string{"kubeconfig"}},
		"an empty kubeconfig":                {"PUT", one, with(`, "kubeconfig": ""`), []string{"kubeconfig"}},
		"no kubeconfig for a new one":        {"PUT", "/v1/clusters/foo/new", `{}`, []string{"kubeconfig"}},
		"another name than the path's":       {"PUT", one, `{"name": "x", "namespace": "y"}`, []string{"namespace", "name"}},
		"a name of 254 characters":           {"PUT", "/v1/clusters/foo/" + strings.Repeat("a", 254), `{` + kubeconfig(good)[2:] + `}`, []string{"name"}},
		"a namespace of 64 characters":       {"PUT", "/v1/clusters/" + strings.Repeat("a", 64) + "/x", `{` + kubeconfig(good)[2:] + `}`, []string{"namespace"}},
		"a program in the kubeconfig": {
			"POST", "/v1/clusters", with(kubeconfig(strings.Replace(good, "token: secret-token", "exec: {command: sh}", 1))),
			[]string{"kubeconfig.users[0].user.exec"},
		},
		"a selector that is none": {"GET", "/v1/clusters?labelSelector=%3D%3D", "", []string{"query.labelSelector"}},
		"cleanup and force":       {"DELETE", one + "?cleanup=true&force=true", "", []string{"query.force"}},
		"cleanup, misspelt":       {"DELETE", one + "?cleanup=yes&force=false", "", []string{"query.cleanup", "query.force"}},
		"a hold of nothing":       {"DELETE", one + "?deletionHold=false", "", []string{"query.deletionHold"}},
		"an orphaned cluster":     {"DELETE", one + "?deletionPolicy=Orphan", "", []string{"query.deletionPolicy"}},
		"a dry run":               {"PUT", one + "?dryRun=true", with(""), []string{"query.dryRun"}},
		"a watch":                 {"GET", "/v1/clusters?watch=true", "", []string{"query.watch"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := s.must(t, http.StatusBadRequest, test.method, test.path, test.body)
			var got []string
			for _, f := range a.problem(t).Errors {
				got = append(got, f.Path)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("paths (-want +got):\n%s\n%s", diff, a.text)
			}
			if strings.Contains(a.text, "secret-token") {
				t.Errorf("the credential is shown: %s", a.text)
			}
		})
	}
}

func TestOtherRefusals(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	tests := map[string]struct {
		method, path, body string
		headers            []string
		status             int
	}{
		"an unknown path":      {"GET", "/v1/klusters", "", nil, 404},
		"the internal surface": {"GET", "/internal/v1/installation", "", nil, 404},
		"PATCH, a later method": {
			"PATCH", one, `{}`, []string{"Content-Type: application/merge-patch+json"}, 405,
		},
		"DELETE of the collection": {"DELETE", "/v1/clusters", "", nil, 405},
		"XML wanted":               {"GET", "/v1/clusters", "", []string{"Accept: application/xml"}, 406},
		"YAML sent":                {"POST", "/v1/clusters", "a: b", []string{"Content-Type: application/yaml"}, 415},
		"too large":                {"POST", "/v1/clusters", strings.Repeat(" ", 3<<20+1), nil, 413},
		"an idempotency key":       {"POST", "/v1/clusters", with(kubeconfig(good)), []string{"Idempotency-Key: x"}, 400},
		"a revision of no log":     {"GET", "/v1/events/clusters?since=nonsense", "", nil, 400},
		"a revision of another":    {"GET", "/v1/events/clusters?since=elsewhere.7", "", nil, 410},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := s.must(t, test.status, test.method, test.path, test.body, test.headers...)
			a.problem(t)
			if (test.status == http.StatusMethodNotAllowed) != (a.header.Get("Allow") != "") {
				t.Errorf("Allow is %q", a.header.Get("Allow"))
			}
		})
	}
}

func TestRulesDecideWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	access, err := auth.NewTokens(tokensFile(t))
	if err != nil {
		t.Fatal(err)
	}
	s := newSystem(t, access)
	created := s.must(t, http.StatusCreated, "POST", "/v1/clusters", with(kubeconfig(good)), "Authorization: Bearer owner-token").document(t)
	if created.UpdatedBy != "owner" {
		t.Errorf("updatedBy is %q", created.UpdatedBy)
	}
	elsewhere := `{"name": "x", "namespace": "bar"` + kubeconfig(good) + `}`
	tests := map[string]struct {
		method, path, body, token string
		status                    int
	}{
		"nobody":                           {"GET", one, "", "", 401},
		"an unknown token":                 {"GET", one, "", "nonsense", 401},
		"nobody, and a bad body":           {"POST", "/v1/clusters", "{", "", 401},
		"a reader reads":                   {"GET", one, "", "reader-token", 200},
		"a reader lists everything":        {"GET", "/v1/clusters", "", "reader-token", 200},
		"a reader follows the feed":        {"GET", "/v1/events/clusters?limit=1", "", "reader-token", 200},
		"a reader writes":                  {"PUT", one, with(""), "reader-token", 403},
		"a reader deletes":                 {"DELETE", one, "", "reader-token", 403},
		"a reader sends a bad document":    {"POST", "/v1/clusters", "{", "reader-token", 403},
		"a writer sends a bad document":    {"POST", "/v1/clusters", with(`, "colour": 1`), "writer-token", 400},
		"a writer relabels":                {"PUT", one, with(`, "labels": {"a": "b"}`), "writer-token", 200},
		"a writer sends a kubeconfig":      {"PUT", one, with(kubeconfig("other")), "writer-token", 403},
		"a writer lists its namespace":     {"GET", "/v1/clusters?namespace=foo", "", "writer-token", 200},
		"a writer lists all namespaces":    {"GET", "/v1/clusters", "", "writer-token", 403},
		"a writer reads another namespace": {"GET", "/v1/clusters/bar/x", "", "writer-token", 403},
		"an owner registers elsewhere":     {"POST", "/v1/clusters", elsewhere, "owner-token", 403},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if test.token != "" {
				headers = append(headers, "Authorization: Bearer "+test.token)
			}
			a := s.must(t, test.status, test.method, test.path, test.body, headers...)
			if (test.status == 401) != (a.header.Get("WWW-Authenticate") != "") {
				t.Errorf("WWW-Authenticate is %q", a.header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestLongNamesTravel(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	path := "/v1/clusters/" + strings.Repeat("n", 63) + "/" + strings.Repeat("a", 253)
	s.must(t, http.StatusCreated, "PUT", path, "{"+kubeconfig(good)[2:]+"}")
	s.must(t, http.StatusOK, "GET", path, "")
}

func TestListsSayHowToGoOn(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	for _, name := range []string{"a", "b", "c"} {
		s.must(t, http.StatusCreated, "PUT", "/v1/clusters/foo/"+name, `{"labels": {"name": "`+name+`"}`+kubeconfig(good)+`}`)
	}
	var got []string
	next := ""
	for range 4 {
		a := s.must(t, http.StatusOK, "GET", "/v1/clusters?limit=2&labelSelector=name&continue="+next, "")
		var page v1.List[v1.Cluster]
		decode(t, a.text, &page)
		for _, c := range page.Items {
			got = append(got, c.Name)
		}
		if next = page.Continue; next == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if a := s.must(t, http.StatusBadRequest, "GET", "/v1/clusters?continue=nonsense", ""); len(a.problem(t).Errors) == 0 {
		t.Errorf("a bad token is not named: %s", a.text)
	}
	empty := s.must(t, http.StatusOK, "GET", "/v1/clusters?namespace=empty", "")
	if !strings.Contains(empty.text, `"items":[]`) {
		t.Errorf("an empty list is %s", empty.text)
	}
}

func TestInternalListenerNeedsItsToken(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	created := s.must(t, http.StatusCreated, "POST", "/v1/clusters", with(kubeconfig(good))).document(t)
	for _, path := range []string{"/installation", "/events", "/clusters", "/clusters/" + created.UID + "/kubeconfig"} {
		for _, headers := range [][]string{nil, {"Authorization: Bearer wrong"}, {"Authorization: Basic " + internalToken}} {
			if a := call(t, "GET", s.internal+"/internal/v1"+path, "", headers...); a.status != http.StatusUnauthorized {
				t.Errorf("%s with %v: status %d", path, headers, a.status)
			}
		}
	}
}

func TestInternalListenerServesTheOtherServices(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	created := s.must(t, http.StatusCreated, "POST", "/v1/clusters", with(kubeconfig(good))).document(t)
	s.must(t, http.StatusCreated, "PUT", "/v1/clusters/foo/cluster2", "{"+kubeconfig(good)[2:]+"}")
	get := func(path string, status int) answer {
		a := call(t, "GET", s.internal+"/internal/v1"+path, "", "Authorization: Bearer "+internalToken)
		if a.status != status {
			t.Fatalf("%s: status %d: %s", path, a.status, a.text)
		}
		return a
	}
	var installation struct{ ID string }
	decode(t, get("/installation", 200).text, &installation)
	if installation.ID != s.store.Installation() || installation.ID == "" {
		t.Errorf("installation is %q", installation.ID)
	}
	var credential struct {
		Version    int64
		Kubeconfig string
	}
	decode(t, get("/clusters/"+created.UID+"/kubeconfig", 200).text, &credential)
	if credential.Version != 1 || credential.Kubeconfig != good {
		t.Errorf("credential is %+v", credential)
	}
	get("/clusters/nonsense/kubeconfig", 404)
	var page v1.List[v1.Cluster]
	decode(t, get("/clusters?limit=1", 200).text, &page)
	revision := page.Revision
	s.must(t, http.StatusOK, "PUT", one, with(`, "suspended": true`))
	decode(t, get("/clusters?limit=1&continue="+page.Continue, 200).text, &page)
	if page.Revision != revision || len(page.Items) != 1 || page.Items[0].Name != "cluster2" {
		t.Errorf("the second page: %+v", page)
	}
	get("/clusters?continue=nonsense", 400)
	get("/events?limit=10", 200)
}

func TestNoAnswerShowsAKubeconfig(t *testing.T) {
	t.Parallel()
	s := newSystem(t, auth.NewNone())
	s.must(t, http.StatusCreated, "POST", "/v1/clusters", with(kubeconfig(good)))
	s.must(t, http.StatusConflict, "POST", "/v1/clusters", with(kubeconfig(good)))
	for _, path := range []string{one, "/v1/clusters", "/v1/events/clusters"} {
		if a := s.must(t, http.StatusOK, "GET", path, ""); strings.Contains(a.text, "secret-token") {
			t.Errorf("%s shows the kubeconfig: %s", path, a.text)
		}
	}
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}
