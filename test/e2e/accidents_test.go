package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/test/stack"
)

// What happened to people with SyncSets elsewhere, and must not here.
func TestAccidents(t *testing.T) {
	t.Parallel()
	fields(t, map[string]func(*field){
		"a template error deletes nothing":                          aTemplateErrorDeletesNothing,
		"an object that moves between sets stays":                   anObjectThatMovesStays,
		"one of two sets that share an object goes":                 oneOfTwoSetsThatShareAnObjectGoes,
		"a label change is rendered at once":                        aLabelChangeIsRendered,
		"a rotated secret is propagated":                            aRotatedSecretIsPropagated,
		"an invalid selector changes nothing":                       anInvalidSelectorChangesNothing,
		"a patch without a namespace fails clearly":                 aPatchWithoutANamespaceFails,
		"a dead cluster is not a success":                           aDeadClusterIsNoSuccess,
		"a label that goes renders no shortened name":               aLabelThatGoesRendersNoShortenedName,
		"a cluster that is cleaned up loses its objects, then goes": aClusterIsCleanedUp,
	})
}

// zoned is a ConfigMap whose data, and with named its name, is made of the cluster's zone.
func zoned(f *field, name string) json.RawMessage {
	return f.object("v1", "ConfigMap", name, `"data": {"zone": "{{ fromClusterLabel \"zone\" }}"}`)
}

var templates = map[string]any{"enableResourceTemplates": true}

func aTemplateErrorDeletesNothing(f *field) {
	f.relabel(map[string]string{"zone": "eu"})
	f.put("s", list(zoned(f, "cm"), f.configMap("other", "k", "1")), templates)
	f.data("cm", "zone", "eu")
	f.result("s", v1.ResultSuccess)
	uid, other := f.uid("cm"), f.uid("other")

	f.put("s", list(f.object("v1", "ConfigMap", "cm", `"data": {"zone": "{{ fromClusterLabel \"zome\" }}"}`)), templates)
	f.fails("s", "failed to render resource 0", "zome")
	f.kept("cm", uid)
	f.kept("other", other)

	f.put("s", list(f.object("v1", "ConfigMap", `cm-{{ fromClusterLabel "zome" }}`, "")), templates)
	f.fails("s", "failed to render resource 0", "zome")
	f.kept("cm", uid)
	f.kept("other", other)

	f.put("s", list(zoned(f, "cm")), templates)
	f.result("s", v1.ResultSuccess)
	f.target.WaitGone(soon, f.ns, "other") // once it is known again what the set wants
	f.kept("cm", uid)
}

func anObjectThatMovesStays(f *field) {
	f.put("a", list(f.configMap("cm", "k", "1"), f.configMap("a", "k", "1")), nil)
	f.put("b", list(f.configMap("b", "k", "1")), nil)
	f.data("cm", "k", "1")
	f.result("a", v1.ResultSuccess)
	uid := f.uid("cm")
	f.put("b", list(f.configMap("b", "k", "1"), f.configMap("cm", "k", "2")), nil)
	f.put("a", list(f.configMap("a", "k", "1")), nil)
	f.data("cm", "k", "2")
	f.kept("cm", uid)
	f.result("b", v1.ResultSuccess)
	// And back, the other way round: first it is dropped, then taken up, while nothing may happen on the cluster. The services' logs are
	// followed apart from each other, so what one was told has arrived when it shows.
	f.Do(http.MethodPut, "/v1/clusters/"+f.ns+"/c", map[string]any{"name": "c", "namespace": f.ns, "labels": f.labels, "suspended": true}, 200)
	f.result("a", v1.ResultSuspended)
	f.put("b", list(f.configMap("b", "k", "1")), nil)
	f.put("a", list(f.configMap("a", "k", "1"), f.configMap("cm", "k", "3")), nil)
	f.result("b", v1.ResultSuspended)
	f.result("a", v1.ResultSuspended)
	f.Do(http.MethodPut, "/v1/clusters/"+f.ns+"/c", map[string]any{"name": "c", "namespace": f.ns, "labels": f.labels}, 200)
	f.data("cm", "k", "3")
	f.kept("cm", uid)
}

func oneOfTwoSetsThatShareAnObjectGoes(f *field) {
	f.put("a", list(f.configMap("cm", "k", "a")), nil)
	f.data("cm", "k", "a")
	f.result("a", v1.ResultSuccess)
	uid := f.uid("cm")
	f.put("b", list(f.configMap("cm", "k", "b"), f.configMap("after", "k", "1")), nil)
	stack.Wait(f.t, soon, "the second claimant shows Conflict", func() (bool, string) {
		cs, _ := clusterSync(f.t, f.Stack, f.ns, "c")
		entry, _ := setStatus(cs, f.set("b"))
		return objectState(entry, "cm") == v1.StateConflict && strings.Contains(entry.FailureMessage, f.set("a")), fmt.Sprintf("%+v", entry)
	})
	f.remove("a")
	f.data("cm", "k", "b")
	f.kept("cm", uid)
	f.put("c", list(f.configMap("cm", "k", "c")), nil)
	f.remove("c") // the one that never owned it
	f.put("b", list(f.configMap("cm", "k", "b2"), f.configMap("after", "k", "1")), nil)
	f.data("cm", "k", "b2")
	f.kept("cm", uid)
}

func aLabelChangeIsRendered(f *field) {
	f.relabel(map[string]string{"zone": "eu"})
	f.put("s", list(zoned(f, "cm")), templates)
	f.data("cm", "zone", "eu")
	f.relabel(map[string]string{"zone": "us"})
	f.data("cm", "zone", "us")
}

// secretValue is what a Secret of the field has under a key; "" while it is not there.
func (f *field) secretValue(name, key string) string {
	o := f.get("", "v1", "secrets", name)
	if o == nil {
		return ""
	}
	data, _ := o.Object["data"].(map[string]any)
	return fmt.Sprint(data[key])
}

func (f *field) waitSecret(name, key, want string) {
	f.t.Helper()
	stack.Wait(f.t, soon, "the value of Secret "+name, func() (bool, string) {
		got := f.secretValue(name, key)
		return got == want, got
	})
}

func (f *field) mapping(source, target string) map[string]any {
	return map[string]any{
		"sourceRef": map[string]string{"namespace": f.ns, "name": source}, "targetRef": map[string]string{"namespace": f.ns, "name": target},
	}
}

func (f *field) secret(name, value string) {
	f.t.Helper()
	f.Do(http.MethodPut, "/v1/secrets/"+f.ns+"/"+name, map[string]any{
		"name": name, "namespace": f.ns, "stringData": map[string]string{"password": value}, "labels": map[string]string{"from": "us"},
	}, 200, 201)
}

func aRotatedSecretIsPropagated(f *field) {
	f.put("s", list(), map[string]any{"secretMappings": []any{f.mapping("source", "copy")}})
	f.fails("s", `failed to read secret 0: secret "`+f.ns+`/source" not found`)
	f.secret("source", "one")
	f.waitSecret("copy", "password", "b25l")
	f.result("s", v1.ResultSuccess)
	f.secret("source", "two")
	f.waitSecret("copy", "password", "dHdv")
	copied := f.get("", "v1", "secrets", "copy")
	if copied.GetLabels()["from"] != "us" || copied.GetLabels()["syncsets.dev/managed"] != "true" {
		f.t.Errorf("labels of the copy: %v", copied.GetLabels())
	}
	// A secret that is deleted at its source is missing, not unwanted.
	f.Do(http.MethodDelete, "/v1/secrets/"+f.ns+"/source", nil, 204)
	f.fails("s", "failed to read secret 0")
	if again := f.get("", "v1", "secrets", "copy"); again == nil || again.GetUID() != copied.GetUID() {
		f.t.Fatal("the copy went because its source could not be read")
	}
	f.put("s", list(), nil)
	f.wait("the copy to go with its mapping", "", "v1", "secrets", "copy", gone)
}

func anInvalidSelectorChangesNothing(f *field) {
	f.put("s", list(f.configMap("cm", "k", "1")), nil)
	f.data("cm", "k", "1")
	f.result("s", v1.ResultSuccess)
	uid := f.uid("cm")
	for _, selector := range []any{
		map[string]any{"matchExpressions": []any{map[string]any{"key": "field", "operator": "Is", "values": []string{f.ns}}}},
		map[string]any{"matchLabels": map[string]any{"field": "no value!"}},
		nil,
	} {
		body := selectorSet(f.set("s"), "field", f.ns, list(f.configMap("cm", "k", "1")), map[string]any{"clusterSelector": selector})
		f.Do(http.MethodPut, "/v1/selectorsyncsets/"+f.set("s"), body, 400)
	}
	f.put("s", list(f.configMap("cm", "k", "2")), nil)
	f.data("cm", "k", "2")
	f.kept("cm", uid)
}

func aPatchWithoutANamespaceFails(f *field) {
	f.put("s", list(f.configMap("cm", "k", "1")), map[string]any{"patches": []any{map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "name": "cm", "patch": `{"data":{"p":"1"}}`, "patchType": "merge",
	}}})
	f.fails("s", "failed to apply patch 0", "namespace")
	f.data("cm", "k", "1") // items before it are applied
}

func aDeadClusterIsNoSuccess(f *field) {
	f.put("s", list(f.configMap("cm", "k", "1")), nil)
	f.result("s", v1.ResultSuccess)
	dead := strings.Replace(f.kube.Kubeconfig, f.kube.Host, "https://127.0.0.1:1", 1)
	if dead == f.kube.Kubeconfig {
		f.t.Fatal("the kubeconfig does not name " + f.kube.Host)
	}
	body := map[string]any{"name": "c", "namespace": f.ns, "labels": f.labels}
	body["kubeconfig"] = dead
	f.Do(http.MethodPut, "/v1/clusters/"+f.ns+"/c", body, 200)
	waitReachable(f.t, f.Stack, f.ns, "c", v1.ReasonConnectionRefused)
	if s := f.result("s", v1.ResultPending); s.Cause != v1.CauseUnreachable {
		f.t.Errorf("the set's cause is %s", s.Cause)
	}
	body["kubeconfig"] = f.kube.Kubeconfig
	f.Do(http.MethodPut, "/v1/clusters/"+f.ns+"/c", body, 200)
	f.result("s", v1.ResultSuccess) // at once, not after its backoff
}

func aLabelThatGoesRendersNoShortenedName(f *field) {
	f.relabel(map[string]string{"zone": "eu"})
	f.put("s", list(f.object("v1", "ConfigMap", `cm-{{ fromClusterLabel "zone" }}`, "")),
		map[string]any{"enableResourceTemplates": true, "missingLabel": "Empty"})
	f.result("s", v1.ResultSuccess)
	uid := f.uid("cm-eu")
	f.relabel(map[string]string{})
	f.fails("s", "failed to render resource 0", "zone")
	f.kept("cm-eu", uid)
	if f.target.ConfigMap(f.ns, "cm-") != nil {
		f.t.Error("there is an object with a shortened name")
	}
	f.relabel(map[string]string{"zone": "us"})
	f.result("s", v1.ResultSuccess)
	f.target.WaitGone(soon, f.ns, "cm-eu")
	f.uid("cm-us")
}

func aClusterIsCleanedUp(f *field) {
	f.put("gone", list(f.configMap("gone", "k", "1")), nil)
	f.put("left", list(f.configMap("left", "k", "1")), map[string]any{"resourceApplyMode": "Upsert"})
	f.result("gone", v1.ResultSuccess)
	f.result("left", v1.ResultSuccess)
	f.Do(http.MethodDelete, "/v1/clusters/"+f.ns+"/c?cleanup=true", nil, 202)
	f.target.WaitGone(soon, f.ns, "gone")
	stack.Wait(f.t, soon, "the cluster to go", func() (bool, string) {
		a := f.Do(http.MethodGet, "/v1/clusters/"+f.ns+"/c", nil)
		return a.Status == http.StatusNotFound, string(a.Body)
	})
	if left := f.target.ConfigMap(f.ns, "left"); left == nil || left.Labels["syncsets.dev/managed"] != "" {
		f.t.Errorf("what a set in Upsert mode had was not released: %+v", left)
	}
}
