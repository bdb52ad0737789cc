package kube_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// patch is the step that sends a patch to an object.
func (w *world) patch(kind, patchType, resource, name, body string) decide.Step {
	group, version := "", "v1"
	if resource == "deployments" {
		group = "apps"
	}
	return decide.Step{
		Action: decide.Patch, SetUID: setUID, Type: render.Patch, Version: version, Resource: resource, PatchType: patchType,
		Identity: inventory.Identity{Group: group, Kind: kind, Namespace: w.ns, Name: name}, Object: []byte(body),
	}
}

func TestAPatchOfEachType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(w.step(decide.Apply, "deployments", deployment("d", 1)))
	at := "/apis/apps/v1/namespaces/" + w.ns + "/deployments/d"
	for _, test := range []struct{ patchType, body, want string }{
		{"strategic", `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i:2"}]}}}}`, `"image":"i:2"`},
		{"merge", `{"spec":{"replicas":2}}`, `"replicas":2`},
		{"json", `[{"op":"replace","path":"/spec/replicas","value":3}]`, `"replicas":3`},
	} {
		a := w.apply(w.patch("Deployment", test.patchType, "deployments", "d", test.body))
		contains(t, test.patchType, w.at(at, "spec"), test.want, `"containerPort":80`)
		expect(t, "the uid", fmt.Sprintf("%q", a.UID), w.at(at, "metadata", "uid"))
		if a.ResourceVersion == "" || len(a.Fields) == 0 {
			t.Errorf("%s: the answer lacks what the inventory needs: %+v", test.patchType, a)
		}
	}
	contains(t, "the field manager", w.at(at, "metadata", "managedFields"), `"manager":"syncsets-patch"`)
}

func TestAPatchIsNotSentWhileTheTargetIsAsItWasLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(w.configMap(decide.Apply, "a", `{"k":"1"}`))
	s := w.patch("ConfigMap", "json", "configmaps", "a", `[{"op":"add","path":"/data/l","value":"1"}]`)
	first := w.apply(s)
	s.Unless = decide.PatchRecord{UID: first.UID, ResourceVersion: first.ResourceVersion}
	w.front.requests()
	again := w.apply(s)
	expect(t, "untouched", again.Untouched, true)
	expect(t, "the resourceVersion", again.ResourceVersion, first.ResourceVersion)
	expect(t, "requests", strings.Join(methods(w.front.requests()), " "), "GET")
	w.merge(w.configMaps("a"), "somebody", `{"data":{"l":null}}`)
	expect(t, "untouched after a change", w.apply(s).Untouched, false)
	expect(t, "the value", w.at(w.configMaps("a"), "data", "l"), `"1"`)
}

func TestAJSONPatchIsNotSentAgainForANewStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(w.step(decide.Apply, "deployments", deployment("d", 1)))
	at := "/apis/apps/v1/namespaces/" + w.ns + "/deployments/d"
	s := w.patch("Deployment", "json", "deployments", "d", `[{"op":"add","path":"/spec/template/spec/containers/0/ports/-","value":{"containerPort":81}}]`)
	first := w.apply(s)
	if first.Generation == 0 {
		t.Fatal("the generation of a Deployment is not known")
	}
	s.Unless = decide.PatchRecord{UID: first.UID, ResourceVersion: first.ResourceVersion, Generation: first.Generation}
	w.merge(at+"/status", "somebody", `{"status":{"conditions":[{"type":"Seen","status":"True"}]}}`)
	again := w.apply(s)
	if again.ResourceVersion == first.ResourceVersion {
		t.Error("the status did not change the resourceVersion")
	}
	expect(t, "untouched after a new status", again.Untouched, true)
	w.must("PATCH", at, "application/json-patch+json", "somebody", `[{"op":"remove","path":"/spec/template/spec/containers/0/ports/1"}]`)
	expect(t, "untouched after a change", w.apply(s).Untouched, false)
	contains(t, "the patch", w.at(at, "spec"), `"containerPort":81`)
}

func TestAPatchIsNotSentToAnotherInstallationsObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const installation = `{"metadata":{"annotations":{"syncsets.dev/installation":%q}}}`
	w.post(w.configMaps(), `{"metadata":{"name":"a"}}`)
	s := w.patch("ConfigMap", "merge", "configmaps", "a", `{"data":{"k":"1"}}`)
	s.Look = true
	w.front.requests()
	w.apply(s)
	expect(t, "requests", strings.Join(methods(w.front.requests()), " "), "GET PATCH")
	w.merge(w.configMaps("a"), "", fmt.Sprintf(installation, w.installation))
	s.Object = []byte(`{"data":{"k":"2"}}`)
	w.apply(s)
	w.merge(w.configMaps("a"), "", fmt.Sprintf(installation, "other"))
	s.Object = []byte(`{"data":{"k":"3"}}`)
	contains(t, "the refusal", w.refused(s), "it belongs to another installation, other")
	s.Look, s.PatchType, s.Object = false, "json", []byte(`[{"op":"replace","path":"/data/k","value":"4"}]`)
	s.Unless = decide.PatchRecord{UID: "former", ResourceVersion: "1"}
	contains(t, "the refusal of a JSON patch", w.refused(s), "it belongs to another installation, other")
	expect(t, "the value", w.at(w.configMaps("a"), "data", "k"), `"2"`)
}

func TestPatchesThatCannotBeSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.definition("widgets", "Widget")
	w.post("/apis/"+w.ns+".test/v1/namespaces/"+w.ns+"/widgets",
		fmt.Sprintf(`{"apiVersion":"%s.test/v1","kind":"Widget","metadata":{"name":"a"},"spec":{"size":1}}`, w.ns))
	w.post(w.secrets(), `{"metadata":{"name":"s"},"stringData":{"k":"v"}}`)
	if _, err := w.conn.Map(t.Context(), work.Kind{Version: "v1", Kind: "ConfigMap"}); err != nil {
		t.Fatal(err)
	}
	widget := w.patch("Widget", "strategic", "widgets", "a", `{"spec":{"size":2}}`)
	widget.Group = w.ns + ".test"
	nowhere := w.patch("ConfigMap", "merge", "configmaps", "a", `{"data":{"k":"1"}}`)
	nowhere.Namespace = ""
	for _, test := range []struct {
		name    string
		step    decide.Step
		message string
	}{
		{"the target does not exist", w.patch("ConfigMap", "merge", "configmaps", "none", `{}`), "ConfigMap " + w.ns + "/none not found"},
		{"the target does not exist any more", func() decide.Step {
			s := w.patch("ConfigMap", "json", "configmaps", "none", `[]`)
			s.Unless = decide.PatchRecord{UID: "x", ResourceVersion: "1"}
			return s
		}(), "ConfigMap " + w.ns + "/none not found"},
		{"a strategic patch of a custom resource", widget, "patchType merge or json is needed"},
		{"no namespace", nowhere, "the kind ConfigMap is namespaced, and the patch names no namespace"},
		{"a type that nobody knows", w.patch("ConfigMap", "yaml", "configmaps", "none", `{}`), `the type of patch "yaml" is not known`},
	} {
		contains(t, test.name, w.refused(test.step), test.message)
	}
	quoting := w.refused(w.patch("Secret", "merge", "secrets", "s", `{"data":{"k":"not base64: hunter2"}}`))
	if strings.Contains(quoting, "hunter2") {
		t.Errorf("a refusal about a Secret quotes its value: %s", quoting)
	}
}

// secrets is where the Secrets of the test's namespace are.
func (w *world) secrets() string { return "/api/v1/namespaces/" + w.ns + "/secrets" }

// definition makes a namespaced kind in a group of the test's own, and waits until it is served.
func (w *world) definition(plural, kind string) {
	w.t.Helper()
	group := w.ns + ".test"
	w.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1",
"kind":"CustomResourceDefinition","metadata":{"name":"%[1]s.%[2]s"},"spec":{"group":%[2]q,"scope":"Namespaced",
"names":{"plural":%[1]q,"kind":%[3]q},"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},
"schema":{"openAPIV3Schema":{"type":"object","properties":{"status":{"type":"object","x-kubernetes-preserve-unknown-fields":true},
"spec":{"type":"object","properties":{"size":{"type":"integer","x-kubernetes-validations":[{"rule":"self == oldSelf",
"message":"Value is immutable"}]},"note":{"type":"string"},"text":{"type":"string"}}}}}}}]}}`, plural, group, kind))
	w.t.Cleanup(func() {
		w.do("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+plural+"."+group, "", "", "")
	})
	w.until("the kind "+kind+" is served", func() bool {
		status, _ := w.do("GET", "/apis/"+group+"/v1/namespaces/"+w.ns+"/"+plural, "", "", "")
		return status == http.StatusOK
	})
}

func TestFieldsOfPatchesAreLeftOutOfAnApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.step(decide.Apply, "deployments", deployment("d", 1))
	made := w.apply(s)
	at := "/apis/apps/v1/namespaces/" + w.ns + "/deployments/d"
	w.apply(w.patch("Deployment", "strategic", "deployments", "d", `{"metadata":{"labels":{"theirs":"1"},
"annotations":{"syncsets.dev/owner":"patched"}},"spec":{"replicas":5,"template":{"spec":{"containers":[
{"name":"c","image":"i:9"},{"name":"extra","image":"e:1"}]}}}}`))
	text := strings.Replace(deployment("d", 2), `"name":"c"`, `"name":"c","command":["x"]`, 1)
	next := known(w.step(decide.Apply, "deployments", text), made)
	next.Patched = true
	first := w.apply(next)
	spec := w.at(at, "spec")
	contains(t, "what the patch says stays", spec, `"replicas":5`, `"image":"i:9"`, `"image":"e:1"`)
	contains(t, "what only the set says is applied", spec, `"command":["x"]`)
	expect(t, "a patched label", w.at(at, "metadata", "labels", "theirs"), `"1"`)
	expect(t, "our marks", w.at(at, "metadata", "annotations", "syncsets.dev/owner"), `"SyncSet foo/first"`)
	if again := w.apply(next); string(again.Fields) != string(first.Fields) {
		t.Error("our fields differ after applying the same again")
	}
	next.Patched = false
	w.apply(next)
	contains(t, "without a patch the set's fields are applied", w.at(at, "spec"), `"replicas":2`, `"image":"i:1"`)
}

func TestFieldsOfPatchesStayAsTheyAreInAMerge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.apply(w.step(decide.Create, "deployments", deployment("d", 1)))
	at := "/apis/apps/v1/namespaces/" + w.ns + "/deployments/d"
	w.apply(w.patch("Deployment", "strategic", "deployments", "d", `{"metadata":{"labels":{"theirs":"1"},
"annotations":{"syncsets.dev/owner":"patched"}},"spec":{"replicas":5,"template":{"spec":{"containers":[
{"name":"c","image":"i:9","env":[{"name":"E","value":"1"}]},{"name":"extra","image":"e:1"}]}}}}`))
	w.must("PATCH", at, "application/strategic-merge-patch+json", "somebody",
		`{"spec":{"template":{"spec":{"containers":[{"name":"somebodys","image":"s:1"}]}}}}`)
	text := strings.Replace(deployment("d", 2), `"name":"c"`, `"name":"c","command":["x"]`, 1)
	next := known(w.step(decide.Merge, "deployments", text), made)
	next.Patched = true
	w.apply(next)
	spec := w.at(at, "spec")
	contains(t, "what the patch says stays", spec, `"replicas":5`, `"image":"i:9"`, `"image":"e:1"`, `"name":"E"`)
	contains(t, "what only the set says is merged", spec, `"command":["x"]`, `"containerPort":80`)
	expect(t, "a list is replaced", strings.Contains(spec, "somebodys"), false)
	expect(t, "a patched label", w.at(at, "metadata", "labels", "theirs"), `"1"`)
	expect(t, "our marks", w.at(at, "metadata", "annotations", "syncsets.dev/owner"), `"SyncSet foo/first"`)
	first := w.apply(next)
	expect(t, "the generation after merging the same again", w.apply(next).Generation, first.Generation)
	next.Patched = false
	w.apply(next)
	contains(t, "without a patch the set's fields are merged", w.at(at, "spec"), `"replicas":2`, `"image":"i:1"`)
}

func TestAPatchedObjectThatIsGoneIsMadeWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.apply(w.configMap(decide.Apply, "a", `{"k":"1"}`))
	w.apply(w.patch("ConfigMap", "merge", "configmaps", "a", `{"data":{"k":"2"}}`))
	w.must("DELETE", w.configMaps("a"), "", "", "")
	s := known(w.configMap(decide.Apply, "a", `{"k":"1"}`), made)
	s.Patched = true
	w.apply(s)
	expect(t, "the value", w.at(w.configMaps("a"), "data", "k"), `"1"`)
}
