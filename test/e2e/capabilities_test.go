package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/test/stack"
)

func TestCapabilities(t *testing.T) {
	t.Parallel()
	fields(t, map[string]func(*field){
		"Apply takes back what is no longer sent":             applyTakesBack,
		"CreateOnly creates and never touches again":          createOnly,
		"CreateOrUpdate keeps what the set does not mention":  createOrUpdate,
		"switching between Upsert and Sync":                   upsertAndSync,
		"immutable fields fail or are recreated":              immutableFields,
		"patches strategic, merge and json":                   patches,
		"patches stay when the patched object is applied":     patchesStay,
		"patch and secret templates":                          patchAndSecretTemplates,
		"suspended sets and clusters":                         suspended,
		"a suspended set that leaves its objects behind":      suspendedOrphan,
		"generated names":                                     generatedNames,
		"items go in order and stop at the first failure":     itemsInOrder,
		"a kind that comes later":                             aKindThatComesLater,
		"Namespaces and definitions beside what needs them":   broughtKinds,
		"more than a mebibyte in a set, an object of 400 KiB": muchContent,
		"take-over from client-side apply":                    takeOver,
		"another API version is the same object":              otherVersion,
		"sync, and a set deleted and created again":           syncAndAgain,
		"secrets of syncsets come from their own namespace":   syncSetSecrets,
	})
}

func applyTakesBack(f *field) {
	f.put("s", list(f.object("v1", "ConfigMap", "cm", `"data": {"a": "1", "b": "2"}`)), nil)
	f.data("cm", "b", "2")
	f.put("s", list(f.object("v1", "ConfigMap", "cm", `"data": {"a": "1"}`)), nil)
	f.wait("b to go", "", "v1", "configmaps", "cm", func(o *unstructured.Unstructured) bool {
		return text(o, "data", "a") == "1" && text(o, "data", "b") == ""
	})
}

func createOnly(f *field) {
	f.create("somebody", map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "theirs"}, "data": map[string]any{"k": "theirs"}})
	once := map[string]any{"applyBehavior": "CreateOnly"}
	f.put("s", list(f.configMap("cm", "k", "1"), f.configMap("theirs", "k", "ours")), once)
	f.data("cm", "k", "1")
	f.result("s", v1.ResultSuccess)
	f.put("s", list(f.configMap("cm", "k", "2"), f.configMap("theirs", "k", "ours"), f.configMap("more", "k", "1")), once)
	f.data("more", "k", "1")
	f.result("s", v1.ResultSuccess)
	if got := f.target.ConfigMap(f.ns, "cm").Data["k"]; got != "1" {
		f.t.Errorf("what was created was touched again: %s", got)
	}
	if cm := f.target.ConfigMap(f.ns, "theirs"); cm.Data["k"] != "theirs" || cm.Labels["syncsets.dev/managed"] != "" {
		f.t.Errorf("what was there was touched: %+v", cm)
	}
	f.remove("s")
	f.target.WaitGone(soon, f.ns, "cm")
	if f.target.ConfigMap(f.ns, "theirs") == nil {
		f.t.Error("what was there was deleted")
	}
}

func createOrUpdate(f *field) {
	f.create("somebody", map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "cm"}, "data": map[string]any{"theirs": "1", "k": "0"},
	})
	merge := map[string]any{"applyBehavior": "CreateOrUpdate"}
	f.put("s", list(f.configMap("cm", "k", "1"), f.configMap("new", "k", "1")), merge)
	f.data("cm", "k", "1")
	f.data("new", "k", "1")
	f.put("s", list(f.configMap("cm", "other", "2"), f.configMap("new", "k", "1")), merge)
	f.data("cm", "other", "2")
	if cm := f.target.ConfigMap(f.ns, "cm"); cm.Data["theirs"] != "1" || cm.Data["k"] != "1" {
		f.t.Errorf("what the set does not mention: %v", cm.Data)
	}
}

func upsertAndSync(f *field) {
	upsert := map[string]any{"resourceApplyMode": "Upsert"}
	f.put("s", list(f.configMap("a", "k", "1"), f.configMap("b", "k", "1")), upsert)
	f.data("b", "k", "1")
	f.result("s", v1.ResultSuccess)
	f.put("s", list(f.configMap("a", "k", "1")), upsert)
	released := func(o *unstructured.Unstructured) bool {
		return o != nil && o.GetLabels()["syncsets.dev/managed"] == ""
	}
	f.wait("b to be released", "", "v1", "configmaps", "b", released)
	f.put("s", list(f.configMap("a", "k", "1"), f.configMap("c", "k", "1")), nil)
	f.data("c", "k", "1")
	f.result("s", v1.ResultSuccess)
	f.put("s", list(f.configMap("a", "k", "1")), nil)
	f.target.WaitGone(soon, f.ns, "c")
	if f.target.ConfigMap(f.ns, "b") == nil {
		f.t.Error("what was released was deleted")
	}
}

func immutableFields(f *field) {
	binding := func(role string) json.RawMessage {
		return f.object("rbac.authorization.k8s.io/v1", "RoleBinding", "rb",
			`"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "`+role+`"}`)
	}
	const group = "rbac.authorization.k8s.io"
	f.put("s", list(binding("a")), nil)
	f.result("s", v1.ResultSuccess)
	uid := f.get(group, "v1", "rolebindings", "rb").GetUID()
	f.put("s", list(binding("b")), nil)
	f.fails("s", "failed to apply resource 0 (RoleBinding "+f.ns+"/rb)", "roleRef")
	if now := f.get(group, "v1", "rolebindings", "rb").GetUID(); now != uid {
		f.t.Error("it was recreated though the set says Fail")
	}
	f.put("s", list(binding("b")), map[string]any{"immutableFields": "Recreate"})
	f.wait("the binding to be recreated", group, "v1", "rolebindings", "rb", func(o *unstructured.Unstructured) bool {
		return text(o, "roleRef", "name") == "b"
	})
	f.result("s", v1.ResultSuccess)
}

const pause = "registry.k8s.io/pause:3.10"

func (f *field) deployment(name string) json.RawMessage {
	return f.object("apps/v1", "Deployment", name, `"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": {
"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "main", "image": "`+pause+`"}]}}}`)
}

func (f *field) patch(kind, name, kindOfPatch, patch string) map[string]any {
	apiVersion := "v1"
	if kind == "Deployment" {
		apiVersion = "apps/v1"
	}
	return map[string]any{"apiVersion": apiVersion, "kind": kind, "namespace": f.ns, "name": name, "patch": patch, "patchType": kindOfPatch}
}

func patches(f *field) {
	f.create("somebody", map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "cm"}, "data": map[string]any{"a": "1"}})
	f.put("s", list(f.deployment("d")), map[string]any{"patches": []any{
		f.patch("Deployment", "d", "strategic", "spec:\n  template:\n    spec:\n      containers:\n      - name: side\n        image: "+pause),
		f.patch("ConfigMap", "cm", "merge", `{"data": {"b": "2"}}`),
		f.patch("ConfigMap", "cm", "json", `[{"op": "add", "path": "/data/c", "value": "3"}]`),
	}})
	f.result("s", v1.ResultSuccess)
	f.wait("both containers", "apps", "v1", "deployments", "d", func(o *unstructured.Unstructured) bool {
		all := text(o, "spec", "template", "spec", "containers")
		return strings.Contains(all, "main") && strings.Contains(all, "side")
	})
	if cm := f.target.ConfigMap(f.ns, "cm"); cm.Data["a"] != "1" || cm.Data["b"] != "2" || cm.Data["c"] != "3" {
		f.t.Errorf("after the patches: %v", cm.Data)
	}
	f.put("s", list(f.deployment("d")), map[string]any{"patches": []any{f.patch("ConfigMap", "nobody", "merge", `{"data": {"b": "2"}}`)}})
	f.fails("s", "failed to apply patch 0", "not found")
	f.remove("s")
	f.wait("the set to be gone", "apps", "v1", "deployments", "d", gone)
	if cm := f.target.ConfigMap(f.ns, "cm"); cm == nil || cm.Data["b"] != "2" {
		f.t.Error("a patch was reverted")
	}
}

func patchesStay(f *field) {
	patch := map[string]any{"patches": []any{f.patch("ConfigMap", "cm", "merge", `{"data": {"k": "patched"}}`)}}
	f.put("s", list(f.object("v1", "ConfigMap", "cm", `"data": {"k": "applied", "other": "1"}`)), patch)
	f.data("cm", "k", "patched")
	f.result("s", v1.ResultSuccess)
	f.put("s", list(f.object("v1", "ConfigMap", "cm", `"data": {"k": "applied", "other": "2"}`)), patch)
	f.data("cm", "other", "2")
	f.result("s", v1.ResultSuccess)
	if got := f.target.ConfigMap(f.ns, "cm").Data["k"]; got != "patched" {
		f.t.Errorf("the apply took the patched field back: %s", got)
	}
}

func patchAndSecretTemplates(f *field) {
	f.relabel(map[string]string{"zone": "eu"})
	f.secret("source-eu", "europe")
	f.secret("source-us", "america")
	f.put("s", list(f.configMap("cm", "k", "1")), map[string]any{
		"enableResourceTemplates": true, "enablePatchTemplates": true,
		"secretMappings": []any{f.mapping(`source-{{ fromCDLabel "zone" }}`, "copy")},
		"patches":        []any{f.patch("ConfigMap", "cm", "merge", `{"data": {"where": "{{ fromClusterLabel "zone" }} {{ clusterNamespace }}/{{ clusterName }}"}}`)},
	})
	f.data("cm", "where", "eu "+f.ns+"/c")
	f.waitSecret("copy", "password", "ZXVyb3Bl")
	f.relabel(map[string]string{"zone": "us"})
	f.data("cm", "where", "us "+f.ns+"/c")
	f.waitSecret("copy", "password", "YW1lcmljYQ==")
}

func suspended(f *field) {
	f.put("s", list(f.configMap("cm", "k", "1")), nil)
	f.result("s", v1.ResultSuccess)
	f.put("s", list(f.configMap("other", "k", "1")), map[string]any{"suspended": true})
	f.result("s", v1.ResultSuspended)
	f.Do(http.MethodDelete, "/v1/selectorsyncsets/"+f.set("s"), nil, 409)
	if f.target.ConfigMap(f.ns, "cm") == nil || f.target.ConfigMap(f.ns, "other") != nil {
		f.t.Error("something was written or deleted for a suspended set")
	}
	f.put("s", list(f.configMap("other", "k", "1")), nil)
	f.data("other", "k", "1")
	f.target.WaitGone(soon, f.ns, "cm")
	f.Do(http.MethodPut, "/v1/clusters/"+f.ns+"/c", map[string]any{"name": "c", "namespace": f.ns, "labels": f.labels, "suspended": true}, 200)
	f.put("s", list(f.configMap("other", "k", "2")), nil)
	f.result("s", v1.ResultSuspended)
	f.Do(http.MethodPut, "/v1/clusters/"+f.ns+"/c", map[string]any{"name": "c", "namespace": f.ns, "labels": f.labels}, 200)
	f.data("other", "k", "2")
}

func suspendedOrphan(f *field) {
	f.put("s", list(f.configMap("cm", "k", "1")), nil)
	uid := f.result("s", v1.ResultSuccess).UID
	object := f.uid("cm")
	f.put("s", list(f.configMap("cm", "k", "1")), map[string]any{"suspended": true})
	f.result("s", v1.ResultSuspended)
	f.Do(http.MethodDelete, "/v1/selectorsyncsets/"+f.set("s")+"?deletionPolicy=Orphan", nil, 204)
	f.wait("cm to be released", "", "v1", "configmaps", "cm", func(o *unstructured.Unstructured) bool {
		if o == nil || o.GetUID() != object {
			f.t.Fatalf("what was to stay is not there any more: %v", o)
		}
		return o.GetLabels()["syncsets.dev/managed"] == ""
	})
	stack.Wait(f.t, soon, "the set to be gone", func() (bool, string) {
		a := f.Do(http.MethodGet, "/v1/setsyncs/uid/"+uid, nil)
		return a.Status == http.StatusNotFound, string(a.Body)
	})
	f.put("s", list(f.configMap("cm", "k", "2")), nil)
	f.data("cm", "k", "2")
	f.result("s", v1.ResultSuccess)
}

func generatedNames(f *field) {
	named := json.RawMessage(`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "` + f.ns + `", "generateName": "made-"}, "data": {"k": "1"}}`)
	body := selectorSet(f.set("s"), "field", f.ns, list(named), nil)
	if a := f.Do(http.MethodPost, "/v1/selectorsyncsets", body, 400); !strings.Contains(string(a.Body), "CreateOnly") {
		f.t.Errorf("the refusal does not say what would do: %s", a.Body)
	}
	f.put("s", list(named), map[string]any{"applyBehavior": "CreateOnly"})
	status := f.result("s", v1.ResultSuccess)
	if len(status.Objects) != 1 || !strings.HasPrefix(status.Objects[0].Name, "made-") {
		f.t.Fatalf("objects %+v", status.Objects)
	}
	f.Do(http.MethodPost, "/v1/clustersyncs/"+f.ns+"/c/sync", nil, 202)
	f.put("s", list(named, f.configMap("more", "k", "1")), map[string]any{"applyBehavior": "CreateOnly"})
	f.data("more", "k", "1")
	made, err := f.target.Client.CoreV1().ConfigMaps(f.ns).List(f.t.Context(), metav1.ListOptions{LabelSelector: "syncsets.dev/managed=true"})
	if err != nil || len(made.Items) != 2 {
		f.t.Errorf("%d objects, want the made one and the other: %v", len(made.Items), err)
	}
}

func itemsInOrder(f *field) {
	f.secret("source", "x")
	f.put("s", list(f.configMap("first", "k", "1"), f.configMap("Not_A_Name", "k", "1"), f.configMap("third", "k", "1")),
		map[string]any{"secretMappings": []any{f.mapping("source", "copy")}})
	f.fails("s", "failed to apply resource 1 (ConfigMap "+f.ns+"/Not_A_Name)")
	f.uid("first")
	if f.target.ConfigMap(f.ns, "third") != nil || f.get("", "v1", "secrets", "copy") != nil {
		f.t.Error("items behind a failure were applied")
	}
	f.put("other", list(f.configMap("elsewhere", "k", "1")), nil)
	f.result("other", v1.ResultSuccess)
}

// definition is a CustomResourceDefinition of a kind of the field's own, and an object of that kind.
func (f *field) definition() (crd, custom json.RawMessage, group string) {
	group = f.ns + ".example.com"
	crd = json.RawMessage(fmt.Sprintf(`{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.%s"},
"spec": {"group": %q, "scope": "Namespaced", "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
"versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}`, group, group))
	return crd, f.object(group+"/v1", "Widget", "w", `"spec": {"size": 3}`), group
}

func aKindThatComesLater(f *field) {
	crd, custom, group := f.definition()
	f.put("custom", list(custom), nil)
	f.fails("custom", "failed to apply resource 0 (Widget "+f.ns+"/w)", "waiting for kind Widget")
	f.put("definition", list(crd), map[string]any{"deleteProtectedKinds": true})
	f.Do(http.MethodPost, "/v1/clustersyncs/"+f.ns+"/c/sync", nil, 202)
	f.result("custom", v1.ResultSuccess)
	if got := text(f.get(group, "v1", "widgets", "w"), "spec", "size"); got != "3" {
		f.t.Errorf("size %s", got)
	}
	f.remove("custom")
	f.wait("the custom resource to go", group, "v1", "widgets", "w", gone)
	f.remove("definition")
}

func broughtKinds(f *field) {
	crd, custom, group := f.definition()
	namespace := json.RawMessage(`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "` + f.ns + `-new"}}`)
	f.put("a-user", list(custom, stack.ConfigMap(f.ns+"-new", "cm", "k", "1")), nil)
	f.put("b-maker", list(crd, namespace), map[string]any{"deleteProtectedKinds": true})
	f.target.WaitData(soon, f.ns+"-new", "cm", "k", "1")
	f.result("a-user", v1.ResultSuccess)
	f.result("b-maker", v1.ResultSuccess)
	f.remove("a-user")
	f.wait("the custom resource to go", group, "v1", "widgets", "w", gone)
	f.remove("b-maker")
	f.target.WaitGone(soon, f.ns+"-new", "cm")
}

func muchContent(f *field) {
	var many []json.RawMessage
	for i := range 6 {
		many = append(many, f.configMap(fmt.Sprintf("big-%d", i), "k", strings.Repeat(fmt.Sprint(i), 400<<10)))
	}
	f.put("s", many, nil)
	f.result("s", v1.ResultSuccess)
	f.data("big-5", "k", strings.Repeat("5", 400<<10))
}

// takeOver has kubectl's client-side apply, as its field manager and annotation show it, write an object first.
func takeOver(f *field) {
	const last = `{"apiVersion":"v1","data":{"kept":"1","taken":"1"},"kind":"ConfigMap","metadata":{"name":"cm"}}`
	f.create("kubectl-client-side-apply", map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"kept": "1", "taken": "1"},
		"metadata": map[string]any{"name": "cm", "annotations": map[string]any{"kubectl.kubernetes.io/last-applied-configuration": last}},
	})
	f.put("s", list(f.object("v1", "ConfigMap", "cm", `"data": {"kept": "1", "taken": "1"}`)), nil)
	f.result("s", v1.ResultSuccess)
	f.put("s", list(f.object("v1", "ConfigMap", "cm", `"data": {"kept": "1"}`)), nil)
	f.wait("the field that is no longer sent to go", "", "v1", "configmaps", "cm", func(o *unstructured.Unstructured) bool {
		return text(o, "data", "kept") == "1" && text(o, "data", "taken") == ""
	})
}

func otherVersion(f *field) {
	scaler := func(version, metrics string) json.RawMessage {
		return f.object("autoscaling/"+version, "HorizontalPodAutoscaler", "h",
			`"spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, `+metrics+`}`)
	}
	f.put("s", list(scaler("v1", `"targetCPUUtilizationPercentage": 50`)), nil)
	f.result("s", v1.ResultSuccess)
	uid := f.get("autoscaling", "v2", "horizontalpodautoscalers", "h").GetUID()
	f.put("s", list(scaler("v2", `"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}]`)), nil)
	f.result("s", v1.ResultSuccess)
	o := f.get("autoscaling", "v1", "horizontalpodautoscalers", "h")
	if o == nil || o.GetUID() != uid || text(o, "spec", "targetCPUUtilizationPercentage") != "60" {
		f.t.Errorf("after the change of version: %v", o)
	}
}

func syncAndAgain(f *field) {
	f.put("s", list(f.configMap("cm", "k", "1")), nil)
	f.result("s", v1.ResultSuccess)
	cm := f.target.ConfigMap(f.ns, "cm")
	cm.Data["k"] = "somebody's"
	if _, err := f.target.Client.CoreV1().ConfigMaps(f.ns).Update(f.t.Context(), cm, metav1.UpdateOptions{FieldManager: "somebody"}); err != nil {
		f.t.Fatal(err)
	}
	f.Do(http.MethodPost, "/v1/clustersyncs/"+f.ns+"/c/sync", nil, 202)
	f.data("cm", "k", "1")
	f.remove("s")
	f.put("s", list(f.configMap("cm", "k", "2")), nil)
	f.data("cm", "k", "2")
	f.result("s", v1.ResultSuccess)
	f.uid("cm")
}

func syncSetSecrets(f *field) {
	f.secret("source", "x")
	body := map[string]any{
		"name": "named", "namespace": f.ns, "clusterRefs": []any{map[string]string{"name": "c"}}, "resourceApplyMode": "Sync",
		"secretMappings": []any{map[string]any{
			"sourceRef": map[string]string{"name": "source"}, "targetRef": map[string]string{"namespace": f.ns, "name": "copy"},
		}},
	}
	f.Do(http.MethodPost, "/v1/syncsets", body, 201)
	f.waitSecret("copy", "password", "eA==")
	body["secretMappings"] = []any{map[string]any{
		"sourceRef": map[string]string{"namespace": "elsewhere", "name": "source"}, "targetRef": map[string]string{"namespace": f.ns, "name": "copy"},
	}}
	if a := f.Do(http.MethodPut, "/v1/syncsets/"+f.ns+"/named", body, 400); !strings.Contains(string(a.Body), "secretMappings[0].sourceRef.namespace") {
		f.t.Errorf("the refusal does not name the field: %s", a.Body)
	}
}
