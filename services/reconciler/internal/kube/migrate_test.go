package kube_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// clientSide makes a ConfigMap with data k and l as client-side apply does, by a manager.
func (w *world) clientSide(name, manager string) {
	w.t.Helper()
	object := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":%q},"data":{"k":"1","l":"1"}}`, name, w.ns)
	annotated := strings.Replace(object, `"metadata":{`, fmt.Sprintf(`"metadata":{"annotations":{%q:%q},`, lastApplied, object), 1)
	w.must("POST", w.configMaps(), "application/json", manager, annotated)
}

func TestFieldsOfClientSideApplyAreTakenOver(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, manager string }{
		{"kubectl", "kubectl-client-side-apply"},
		{"kubectl create --save-config", "kubectl-create"},
		{"Hive, whose manager has the name of its program", "manager"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.clientSide("a", test.manager)
			w.merge(w.configMaps("a"), "somebody", `{"data":{"theirs":"1"}}`)
			s := w.configMap(decide.Apply, "a", `{"k":"1","l":"1"}`)
			seen := w.observe(s)
			expect(t, "client-side", seen.ClientSide, true)
			s.Migrate = true
			applied := w.apply(s)
			expect(t, "the annotation", w.at(w.configMaps("a"), "metadata", "annotations", lastApplied), "")
			expect(t, "client-side after", w.observe(s).ClientSide, false)
			w.apply(known(w.configMap(decide.Apply, "a", `{"k":"1"}`), applied))
			expect(t, "a field removed afterwards is gone", w.at(w.configMaps("a"), "data"), `{"k":"1","theirs":"1"}`)
		})
	}
}

func TestFieldsThatWeCreatedOrMergedAreTakenOver(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		make func(*world) work.Applied
	}{
		{"created", func(w *world) work.Applied { return w.apply(w.configMap(decide.Create, "a", `{"k":"1","l":"1"}`)) }},
		{"merged", func(w *world) work.Applied {
			w.must("POST", w.configMaps(), "application/json", "somebody", `{"metadata":{"name":"a"},"data":{"theirs":"0"}}`)
			return w.apply(w.configMap(decide.Merge, "a", `{"k":"1","l":"1"}`))
		}},
		{"merged after an apply", func(w *world) work.Applied {
			applied := w.apply(w.configMap(decide.Apply, "a", `{"k":"1"}`))
			return w.apply(known(w.configMap(decide.Merge, "a", `{"l":"1"}`), applied))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			made := test.make(w)
			w.merge(w.configMaps("a"), "somebody", `{"data":{"theirs":"1"}}`)
			s := known(w.configMap(decide.Apply, "a", `{"k":"1"}`), made)
			expect(t, "to be taken over", w.observe(s).ClientSide, true)
			s.Migrate = true
			w.apply(s)
			expect(t, "what the set does not say any more is gone", w.at(w.configMaps("a"), "data"), `{"k":"1","theirs":"1"}`)
			expect(t, "to be taken over after", w.observe(s).ClientSide, false)
		})
	}
}

func TestFieldsOfPatchesAreNotTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.apply(w.configMap(decide.Create, "a", `{"k":"1"}`))
	w.apply(w.patch("ConfigMap", "merge", "configmaps", "a", `{"data":{"patched":"1"}}`))
	s := known(w.configMap(decide.Apply, "a", `{"l":"1"}`), made)
	s.Migrate = true
	w.apply(s)
	expect(t, "the data", w.at(w.configMaps("a"), "data"), `{"l":"1","patched":"1"}`)
}

func TestFieldsThatNobodyOwnsAreTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clientSide("a", "kubectl-client-side-apply")
	w.must("PATCH", w.configMaps("a"), "application/json-patch+json", "", `[{"op":"replace","path":"/metadata/managedFields","value":[{}]}]`)
	expect(t, "field managers", w.at(w.configMaps("a"), "metadata", "managedFields"), "")
	s := w.configMap(decide.Apply, "a", `{"k":"1"}`)
	expect(t, "client-side", w.observe(s).ClientSide, true)
	s.Migrate = true
	w.apply(s)
	expect(t, "the data", w.at(w.configMaps("a"), "data"), `{"k":"1"}`)
	expect(t, "the annotation", w.at(w.configMaps("a"), "metadata", "annotations", lastApplied), "")
}

func TestWhatIsNotClientSideApplyKeepsItsFields(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("POST", w.configMaps(), "application/json", "manager", `{"metadata":{"name":"a"},"data":{"theirs":"1"}}`)
	s := w.configMap(decide.Apply, "a", `{"k":"1"}`)
	expect(t, "client-side", w.observe(s).ClientSide, false)
	s.Migrate = true
	w.apply(s)
	expect(t, "the data", w.at(w.configMaps("a"), "data"), `{"k":"1","theirs":"1"}`)
}

func TestAChangeDuringTheTakeOverStartsItOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clientSide("a", "kubectl-client-side-apply")
	var changes atomic.Int64
	w.front.meddling(func(r *http.Request) {
		if r.Method == http.MethodPatch && changes.Add(1) == 1 {
			w.merge(w.configMaps("a"), "somebody", `{"data":{"theirs":"1"}}`)
		}
	})
	s := w.configMap(decide.Apply, "a", `{"k":"1"}`)
	s.Migrate = true
	w.front.requests()
	w.apply(s)
	expect(t, "requests", strings.Join(methods(w.front.requests()), " "), "GET PATCH GET PATCH PATCH")
	expect(t, "the data", w.at(w.configMaps("a"), "data"), `{"k":"1","theirs":"1"}`)
}

func TestAnotherInstallationsObjectIsNotTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clientSide("a", "kubectl-client-side-apply")
	w.merge(w.configMaps("a"), "", `{"metadata":{"annotations":{"syncsets.dev/installation":"other"}}}`)
	s := w.configMap(decide.Apply, "a", `{"k":"2"}`)
	s.Migrate = true
	contains(t, "the refusal", w.refused(s), "it belongs to another installation, other")
	expect(t, "the value", w.at(w.configMaps("a"), "data", "k"), `"1"`)
}
