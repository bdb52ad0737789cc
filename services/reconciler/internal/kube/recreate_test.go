package kube_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
)

func TestImmutableFields(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, resource, at, first, second string }{
		{
			"a role binding", "rolebindings", "/apis/rbac.authorization.k8s.io/v1/namespaces/NS/rolebindings/a",
			`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"a","namespace":"NS"},
"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"one"}}`, `"name":"one"=>"name":"two"`,
		},
		{"a Deployment", "deployments", "/apis/apps/v1/namespaces/NS/deployments/a", deployment("a", 1), `"app":"x"=>"app":"y"`},
		{
			"a StatefulSet", "statefulsets", "/apis/apps/v1/namespaces/NS/statefulsets/a",
			strings.Replace(strings.Replace(deployment("a", 1), "Deployment", "StatefulSet", 1), `"replicas":1`,
				`"replicas":1,"serviceName":"one"`, 1), `"one"=>"two"`,
		},
		{
			"a Job", "jobs", "/apis/batch/v1/namespaces/NS/jobs/a",
			`{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"a","namespace":"NS"},"spec":{"template":{"spec":{
"restartPolicy":"Never","containers":[{"name":"c","image":"i:1"}]}}}}`, `i:1=>i:2`,
		},
		{
			"a Service", "services", "/api/v1/namespaces/NS/services/a",
			`{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","namespace":"NS"},
"spec":{"clusterIP":"10.96.77.OCT0","ports":[{"port":80}]}}`,
			`OCT0=>OCT1`,
		},
		{
			"a Secret's type", "secrets", "/api/v1/namespaces/NS/secrets/a",
			`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":"NS"},"type":"one","data":{"k":"aHVudGVyMg=="}}`, `"one"=>"two"`,
		},
		{
			"an immutable ConfigMap", "configmaps", "/api/v1/namespaces/NS/configmaps/a",
			`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"NS"},"immutable":true,"data":{"k":"1"}}`, `"k":"1"=>"k":"2"`,
		},
		{
			"a storage class", "storageclasses", "/apis/storage.k8s.io/v1/storageclasses/NS",
			`{"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{"name":"NS"},"provisioner":"one"}`, `"one"=>"two"`,
		},
		{
			"a custom resource with a rule", "widgets", "/apis/NS.test/v1/namespaces/NS/widgets/a",
			`{"apiVersion":"NS.test/v1","kind":"Widget","metadata":{"name":"a","namespace":"NS"},"spec":{"size":1}}`, `"size":1=>"size":2`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if test.resource == "widgets" {
				w.definition("widgets", "Widget")
			}
			at := strings.ReplaceAll(test.at, "NS", w.ns)
			old, changed, _ := strings.Cut(test.second, "=>")
			address := strconv.Itoa(10 + rand.IntN(14)) // of Services in the shared control plane
			text := func(s string) string { return strings.ReplaceAll(s, "OCT", address) }
			first := w.apply(w.step(decide.Apply, test.resource, text(test.first)))
			next := known(w.step(decide.Apply, test.resource, text(strings.ReplaceAll(test.first, old, changed))), first)
			refusal := w.refused(next)
			if strings.Contains(refusal, "hunter2") || strings.Contains(refusal, "aHVudGVyMg") {
				t.Errorf("the refusal quotes a value: %s", refusal)
			}
			expect(t, "the uid without the wish", w.at(at, "metadata", "uid"), fmt.Sprintf("%q", first.UID))
			next.Recreate = true
			again := w.apply(next)
			expect(t, "created", again.Created, true)
			expect(t, "existed", again.Existed, false)
			if again.UID == first.UID {
				t.Error("the object is still the same")
			}
			expect(t, "the uid", w.at(at, "metadata", "uid"), fmt.Sprintf("%q", again.UID))
			w.do("DELETE", at, "", "", "")
		})
	}
}

// rigid is a step that changes an immutable field of an object that the world has.
func (w *world) rigid(action decide.Action, before string) decide.Step {
	w.t.Helper()
	object := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"NS"FINALIZERS},"immutable":true,"data":{"k":"1"}}`
	first := w.apply(w.step(decide.Apply, "configmaps", strings.Replace(object, "FINALIZERS", before, 1)))
	next := strings.Replace(strings.Replace(object, "FINALIZERS", "", 1), `"k":"1"`, `"k":"2"`, 1)
	s := known(w.step(action, "configmaps", next), first)
	s.Recreate = true
	return s
}

func TestWhatIsNotDeletedToCreateItAnew(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		change  func(*world, *decide.Step)
		refusal string // "": created anew
	}{
		{"it existed before", func(_ *world, s *decide.Step) { s.Row.Existed = true }, "only with adopt: true"},
		{"it existed before and is adopted", func(_ *world, s *decide.Step) { s.Row.Existed, s.Adopt = true, true }, ""},
		{"it carries the marks of the set that it comes from", func(w *world, s *decide.Step) {
			w.merge(w.configMaps("a"), "", `{"metadata":{"annotations":{"syncsets.dev/owner-uid":"before"}}}`)
			s.Row.MarkedUID = "before"
		}, ""},
		{"it carries another set's marks", func(w *world, _ *decide.Step) {
			w.merge(w.configMaps("a"), "", `{"metadata":{"annotations":{"syncsets.dev/owner-uid":"other"}}}`)
		}, "does not carry this set's marks"},
		{"its marks were taken off", func(w *world, _ *decide.Step) {
			w.merge(w.configMaps("a"), "", `{"metadata":{"annotations":{"syncsets.dev/installation":null}}}`)
		}, "does not carry this set's marks"},
		{"it is not the one in the inventory", func(_ *world, s *decide.Step) { s.Row.ObjectUID = "" }, "does not carry this set's marks"},
		{"another fault would remain", func(_ *world, s *decide.Step) {
			s.Object = []byte(strings.Replace(string(s.Object), `"k":"2"`, `"not a key":"2"`, 1))
		}, "not a key"},
	} {
		for _, action := range []decide.Action{decide.Apply, decide.Merge} {
			t.Run(test.name+", "+string(action), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				s := w.rigid(action, "")
				test.change(w, &s)
				before := w.at(w.configMaps("a"), "metadata", "uid")
				if test.refusal == "" {
					expect(t, "created", w.apply(s).Created, true)
					expect(t, "the value", w.at(w.configMaps("a"), "data", "k"), `"2"`)
					return
				}
				contains(t, "the refusal", w.refused(s), test.refusal)
				expect(t, "the uid", w.at(w.configMaps("a"), "metadata", "uid"), before)
				expect(t, "deleted", w.at(w.configMaps("a"), "metadata", "deletionTimestamp"), "")
			})
		}
	}
}

func TestAProtectedKindIsNeverDeletedToCreateItAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim := `{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"a","namespace":"NS"},"spec":{
"accessModes":["ReadWriteOnce"],"storageClassName":"one","resources":{"requests":{"storage":"1Gi"}}}}`
	first := w.apply(w.step(decide.Apply, "persistentvolumeclaims", claim))
	s := known(w.step(decide.Apply, "persistentvolumeclaims", strings.Replace(claim, `"one"`, `"two"`, 1)), first)
	s.Recreate, s.Adopt = true, true
	contains(t, "the refusal", w.refused(s), "objects of this kind are not deleted and created again")
	at := "/api/v1/namespaces/" + w.ns + "/persistentvolumeclaims/a"
	expect(t, "deleted", w.at(at, "metadata", "deletionTimestamp"), "")
}

func TestADeletionThatTakesLongIsToldAndWaitedForLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.rigid(decide.Apply, `,"finalizers":["syncsets.dev/wait"]`)
	contains(t, "the refusal", w.refused(s), "it is being deleted, and is created again when it is gone")
	w.merge(w.configMaps("a"), "", `{"metadata":{"finalizers":null}}`)
	expect(t, "created", w.apply(s).Created, true)
	expect(t, "the value", w.at(w.configMaps("a"), "data", "k"), `"2"`)
}
