package kube_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

func TestVerificationIsOneListPerKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var refs []decide.Ref
	fields := map[inventory.Identity]string{}
	for _, name := range []string{"a", "b", "c"} {
		for resource, object := range map[string]string{
			"deployments": deployment(name, 1), "configmaps": configMapText(name),
			"clusterroles": fmt.Sprintf(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"NS-%s"}}`, name),
		} {
			s := w.step(decide.Apply, resource, object)
			fields[s.Identity] = string(w.apply(s).Fields)
			refs = append(refs, refOf(s))
		}
	}
	w.front.requests()
	seen := w.verify(refs...)
	requests := w.front.requests()
	slices.Sort(requests)
	if diff := gocmp.Diff([]string{
		"GET /api/v1/namespaces/" + w.ns + "/configmaps",
		"GET /apis/apps/v1/namespaces/" + w.ns + "/deployments", "GET /apis/rbac.authorization.k8s.io/v1/clusterroles",
	}, requests); diff != "" {
		t.Error(diff)
	}
	expect(t, "seen", len(seen), 9)
	for id, s := range seen {
		health := map[string]string{"Deployment": "InProgress"}[id.Kind]
		if s.Presence != decide.Ours || !s.Marked || s.OwnerUID != setUID || s.Terminating || s.Health != health {
			t.Errorf("%s: %+v", id, s)
		}
		expect(t, "fields of "+id.String(), string(s.Fields), fields[id])
	}
}

func configMapText(name string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"NS"},"data":{"k":"1"}}`, name)
}

func TestVerificationAcrossNamespacesIsOneList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.twoNamespaces()
	w.front.requests()
	seen := w.verify(a, b)
	pages := slices.Compact(w.front.requests()) // of what other tests have on the shared target
	expect(t, "requests", strings.Join(pages, " "), "GET /api/v1/configmaps")
	expect(t, "found", seen[a.Identity].Presence == decide.Ours && seen[b.Identity].Presence == decide.Ours, true)
}

// twoNamespaces applies a ConfigMap in each of two namespaces.
func (w *world) twoNamespaces() (a, b decide.Ref) {
	w.t.Helper()
	w.post("/api/v1/namespaces", fmt.Sprintf(`{"metadata":{"name":"%s-b"}}`, w.ns))
	first, second := w.step(decide.Apply, "configmaps", configMapText("a")),
		w.step(decide.Apply, "configmaps", strings.ReplaceAll(configMapText("a"), "NS", "NS-b"))
	w.apply(first)
	w.apply(second)
	return refOf(first), refOf(second)
}

func TestWhatVerificationSeesOfAChange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*world)
		look   func(decide.Seen, string) bool
	}{
		{
			"a value", func(w *world) { w.merge(w.configMaps("a"), "somebody", `{"data":{"k":"2"}}`) },
			func(s decide.Seen, was string) bool {
				return string(s.Fields) != was && s.Manager == "somebody" && s.Marked
			},
		},
		{
			"a field of theirs", func(w *world) { w.merge(w.configMaps("a"), "somebody", `{"data":{"theirs":"2"}}`) },
			func(s decide.Seen, was string) bool {
				return string(s.Fields) == was && s.Manager == "somebody" && s.Marked
			},
		},
		{"an annotation of ours", func(w *world) {
			w.merge(w.configMaps("a"), "somebody", `{"metadata":{"annotations":{"syncsets.dev/owner":null}}}`)
		}, func(s decide.Seen, _ string) bool { return !s.Marked && s.Presence == decide.Ours }},
		{"our label", func(w *world) {
			w.merge(w.configMaps("a"), "somebody", `{"metadata":{"labels":{"syncsets.dev/managed":null}}}`)
		}, func(s decide.Seen, _ string) bool { return !s.Marked && s.Presence == decide.Ours && s.UID != "" }},
		{"another installation", func(w *world) {
			w.merge(w.configMaps("a"), "", `{"metadata":{"annotations":{"syncsets.dev/installation":"other"}}}`)
		}, func(s decide.Seen, _ string) bool { return s.Presence == decide.Foreign && s.Installation == "other" }},
		{
			"deleted", func(w *world) { w.must("DELETE", w.configMaps("a"), "", "", "") },
			func(s decide.Seen, _ string) bool { return s.Presence == decide.Absent && s.Fault == "" },
		},
		{"being deleted", func(w *world) {
			w.merge(w.configMaps("a"), "", `{"metadata":{"finalizers":["syncsets.dev/wait"]}}`)
			w.must("DELETE", w.configMaps("a"), "", "", "")
		}, func(s decide.Seen, _ string) bool { return s.Terminating && s.Presence == decide.Ours }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.configMap(decide.Apply, "a", `{"k":"1"}`)
			applied := w.apply(s)
			before := w.verify(refOf(s))[s.Identity]
			expect(t, "the resourceVersion before", before.ResourceVersion, applied.ResourceVersion)
			expect(t, "the manager before", before.Manager, "")
			test.change(w)
			if seen, ok := w.verify(refOf(s))[s.Identity]; !ok || !test.look(seen, string(applied.Fields)) {
				t.Errorf("%v %+v", ok, seen)
			}
		})
	}
}

func TestAStatusUpdateIsNobodysChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.step(decide.Apply, "deployments", deployment("d", 1))
	applied := w.apply(s)
	at := "/apis/apps/v1/namespaces/" + w.ns + "/deployments/d"
	w.until("the controller wrote the status", func() bool { return w.at(at, "status", "observedGeneration") != "" })
	w.must("PATCH", at+"/status", "application/merge-patch+json", "controller", `{"status":{"replicas":1,"readyReplicas":1}}`)
	seen := w.verify(refOf(s))[s.Identity]
	expect(t, "the fields", string(seen.Fields), string(applied.Fields))
	if strings.HasPrefix(seen.Manager, "controller") {
		t.Errorf("the status's manager shows: %q", seen.Manager)
	}
}

func TestForbiddenListsFallBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, inA, inB string // what may be done in each namespace
		requests       []string
		faultB         bool
	}{
		{"to one list for each namespace", `"get","list"`, `"get","list"`, []string{"/api/v1/configmaps", "A", "B"}, false},
		{"to single reads", `"get"`, `"get"`, []string{"/api/v1/configmaps", "A", "A/a", "B", "B/a"}, false},
		{"to a fault of what may not be read", `"get","list"`, ``, []string{"/api/v1/configmaps", "A", "B", "B/a"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a, b := w.twoNamespaces()
			w.allow(a.Namespace, test.inA)
			w.allow(b.Namespace, test.inB)
			w.conn = w.connect(w.asAccount())
			w.front.requests()
			seen := w.verify(a, b)
			got := w.front.requests()
			for n, r := range got {
				r = strings.ReplaceAll(strings.TrimPrefix(r, "GET "), "/api/v1/namespaces/"+b.Namespace+"/configmaps", "B")
				got[n] = strings.ReplaceAll(r, "/api/v1/namespaces/"+a.Namespace+"/configmaps", "A")
			}
			slices.Sort(got)
			if diff := gocmp.Diff(test.requests, got); diff != "" {
				t.Error(diff)
			}
			expect(t, "the first", seen[a.Identity].Presence, decide.Ours)
			expect(t, "a fault", seen[b.Identity].Fault != "", test.faultB)
			expect(t, "the second", seen[b.Identity].Presence == decide.Ours, !test.faultB)
		})
	}
}

// allow lets the test's account do something with the ConfigMaps of a namespace.
func (w *world) allow(namespace, verbs string) {
	w.t.Helper()
	at := "/apis/rbac.authorization.k8s.io/v1/namespaces/" + namespace
	w.post(at+"/roles", fmt.Sprintf(`{"metadata":{"name":"r"},"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":[%s]}]}`,
		cmp.Or(verbs, `"watch"`)))
	w.post(at+"/rolebindings", fmt.Sprintf(`{"metadata":{"name":"r"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role",
"name":"r"},"subjects":[{"kind":"ServiceAccount","name":"limited","namespace":%q}]}`, w.ns))
}

// asAccount returns a kubeconfig of a service account that may read the identity and what it was allowed.
func (w *world) asAccount() string {
	w.t.Helper()
	w.post("/api/v1/namespaces/"+w.ns+"/serviceaccounts", `{"metadata":{"name":"limited"}}`)
	name := w.ns + "-" + uuid.NewString()[:4]
	w.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", fmt.Sprintf(
		`{"metadata":{"name":%q},"rules":[{"apiGroups":[""],"resources":["namespaces"],"verbs":["get"]}]}`, name))
	w.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", fmt.Sprintf(`{"metadata":{"name":%q},"roleRef":{
"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":%[1]q},"subjects":[{"kind":"ServiceAccount","name":"limited",
"namespace":%[2]q}]}`, name, w.ns))
	var token struct{ Status struct{ Token string } }
	text := w.must("POST", "/api/v1/namespaces/"+w.ns+"/serviceaccounts/limited/token", "application/json", "", `{"spec":{}}`)
	if err := json.Unmarshal(text, &token); err != nil {
		w.t.Fatal(err)
	}
	kubeconfig := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"x",
"user":"x"}}],"clusters":[{"name":"x","cluster":{}}],"users":[{"name":"x","user":{"token":%q}}]}`, token.Status.Token)
	w.until("the roles are known", func() bool {
		status, _ := w.doAs(token.Status.Token, "/api/v1/namespaces/kube-system")
		return status == http.StatusOK
	})
	return w.front.through(w.t, kubeconfig)
}

// doAs reads a path with a token instead of the administrator's certificate.
func (w *world) doAs(token, path string) (int, error) {
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.front.URL+path, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := w.front.Client().Do(r)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func TestAListThatExpiresIsBegunAnewOnceAndThenGivenUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		expiries int64
	}{
		{"once", 1},
		{"again", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			refs := w.many(502)
			var expired atomic.Int64
			w.front.answering(func(rw http.ResponseWriter, r *http.Request) bool {
				if !r.URL.Query().Has("continue") || expired.Add(1) > test.expiries {
					return false
				}
				return refuse(rw, http.StatusGone, "Expired", "the continue token is too old")
			})
			w.front.requests()
			seen := w.verify(refs...)
			var lists, gets int
			for _, r := range w.front.requests() {
				if strings.HasSuffix(r, "/configmaps") {
					lists++
				} else {
					gets++
				}
			}
			expect(t, "pages", lists, 4)
			if test.expiries == 1 {
				expect(t, "single reads", gets, 0)
			} else if gets == 0 || gets > 2 {
				t.Errorf("%d single reads", gets)
			}
			for _, ref := range refs {
				if seen[ref.Identity].Presence != decide.Ours {
					t.Fatalf("%s: %+v", ref, seen[ref.Identity])
				}
			}
		})
	}
}

// many applies ConfigMaps, with the bare client, that carry our marks.
func (w *world) many(n int) (refs []decide.Ref) {
	w.t.Helper()
	for i := range n {
		s := w.step(decide.Apply, "configmaps", configMapText(fmt.Sprintf("a-%03d", i)))
		w.must("POST", w.configMaps(), "application/json", "syncsets", string(s.Object))
		refs = append(refs, refOf(s))
	}
	return refs
}

func TestAKindThatIsGoneOrServedInAnotherVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.definition("widgets", "Widget")
	s := w.step(decide.Apply, "widgets",
		`{"apiVersion":"NS.test/v1","kind":"Widget","metadata":{"name":"a","namespace":"NS"},"spec":{"size":1}}`)
	w.apply(s)
	old := refOf(s)
	old.Version = "v1alpha1"
	expect(t, "by a version that is not served any more", w.verify(old)[s.Identity].Presence, decide.Ours)
	w.must("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets."+w.ns+".test", "", "", "")
	w.until("the kind is gone", func() bool {
		status, _ := w.do("GET", "/apis/"+w.ns+".test/v1", "", "", "")
		return status == http.StatusNotFound
	})
	seen := w.verify(refOf(s))[s.Identity]
	expect(t, "presence", seen.Presence, decide.Absent)
	expect(t, "fault", seen.Fault, "")
	unknown := refOf(w.configMap(decide.Apply, "x", `{}`))
	unknown.Resource = ""
	if w.verify(unknown)[unknown.Identity].Fault == "" {
		t.Error("an object whose path is not known is said to be absent")
	}
}

func TestATargetThatFailsIsNotTakenForOneWithoutObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.configMap(decide.Apply, "a", `{"k":"1"}`)
	w.apply(s)
	for _, test := range []struct {
		name   string
		answer func(http.ResponseWriter)
	}{
		{"an error", func(rw http.ResponseWriter) { refuse(rw, http.StatusInternalServerError, "InternalError", "no") }},
		{"a path that is not known", func(rw http.ResponseWriter) { rw.WriteHeader(http.StatusNotFound) }},
		{"half a list", func(rw http.ResponseWriter) { _, _ = rw.Write([]byte(`{"kind":"List","items":[`)) }},
		{"something else", func(rw http.ResponseWriter) { _, _ = rw.Write([]byte(`<html>`)) }},
	} {
		w.front.answering(func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/configmaps") {
				return false
			}
			test.answer(rw)
			return true
		})
		seen, err := w.conn.Verify(t.Context(), []decide.Ref{refOf(s)})
		if found, ok := seen[s.Identity]; err == nil && (!ok || found.Fault == "") {
			t.Errorf("%s: %+v", test.name, found)
		}
	}
}

func TestAListIsReadObjectByObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.definition("widgets", "Widget")
	var refs []decide.Ref
	text := strings.Repeat("x", 1<<20)
	for i := range 40 { // more in one page than one answer may have
		s := w.step(decide.Apply, "widgets", fmt.Sprintf(
			`{"apiVersion":"NS.test/v1","kind":"Widget","metadata":{"name":"a-%d","namespace":"NS"},"spec":{"text":%q}}`, i, text))
		w.apply(s)
		refs = append(refs, refOf(s))
	}
	w.front.requests()
	seen := w.verify(refs...)
	expect(t, "requests", len(w.front.requests()), 1)
	for _, ref := range refs {
		expect(t, ref.String(), seen[ref.Identity].Health, "Current")
	}
}
