package hive_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/test/stack"
)

// soon is how long a step may take on a busy machine.
const soon = 90 * time.Second

// hubKinds are Hive's, without their schemas: the hub's API server stores them, and no Hive runs.
const hubKinds = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]ss.%[3]s}
spec:
  group: %[3]s
  names: {kind: %[2]s, listKind: %[2]sList, plural: %[1]ss, singular: %[1]s}
  scope: %[4]s
  versions:
  - {name: %[5]s, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
---
`

// onTheHub is a fleet of one cluster in Hive; the first verb is the namespace on hub and target, the second the kubeconfig.
const onTheHub = `
apiVersion: v1
kind: Secret
metadata: {name: shop-admin-kubeconfig, namespace: %[1]s, labels: {hive.openshift.io/secret-type: kubeconfig}}
data: {kubeconfig: %[2]s}
---
apiVersion: v1
kind: Secret
metadata: {name: login, namespace: %[1]s}
stringData: {password: not-a-real-one}
---
apiVersion: hive.openshift.io/v1
kind: ClusterDeployment
metadata: {name: shop, namespace: %[1]s, labels: {fleet: %[1]s}}
spec: {installed: true, clusterMetadata: {adminKubeconfigSecretRef: {name: shop-admin-kubeconfig}}}
---
apiVersion: hive.openshift.io/v1
kind: SelectorSyncSet
metadata: {name: %[1]s-facts}
spec:
  clusterDeploymentSelector: {matchLabels: {fleet: %[1]s}}
  resourceApplyMode: Sync
  enableResourceTemplates: true
  resources:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: facts, namespace: %[1]s}, data: {fleet: '{{ fromCDLabel "fleet" }}', old: "1"}}
---
apiVersion: hive.openshift.io/v1
kind: SyncSet
metadata: {name: login, namespace: %[1]s}
spec:
  clusterDeploymentRefs: [{name: shop}]
  secretMappings: [{sourceRef: {name: login}, targetRef: {name: login-copy, namespace: %[1]s}}]
---
apiVersion: hiveinternal.openshift.io/v1alpha1
kind: ClusterSync
metadata: {name: shop, namespace: %[1]s}
status: {syncSets: [{name: login, result: Success}], selectorSyncSets: [{name: %[1]s-facts, result: Success}]}
`

// byHive is what Hive has written to the target, as kubectl's client-side apply, which it uses, leaves it.
const byHive = `
apiVersion: v1
kind: ConfigMap
metadata: {name: facts, namespace: %[1]s, labels: {hive.openshift.io/managed: "true"}}
data: {fleet: %[1]s, old: "1"}
---
apiVersion: v1
kind: Secret
metadata: {name: login-copy, namespace: %[1]s, labels: {hive.openshift.io/managed: "true"}}
stringData: {password: not-a-real-one}
`

// way is the move of one fleet.
type way struct {
	*control
	target    *stack.Target
	namespace string
}

func TestTheWayOverFromHive(t *testing.T) {
	t.Parallel()
	w := prepare(t)
	before := w.object()
	for n, b := range blocks(t) {
		w.runBlock(n, b)
		if strings.Contains(b.commands, "--suspended") {
			w.untouched(before)
		}
	}
	after := w.object()
	if after.UID != before.UID || after.Labels["syncsets.dev/managed"] != "true" {
		t.Errorf("the object is another one, or not ours: %+v", after.ObjectMeta)
	}
	w.write("facts.yaml", strings.Replace(strings.Join(w.run("export", "selectorsyncset/"+w.namespace+"-facts"), "\n"), "old: \"1\"", "", 1))
	w.run("apply", "-f", "facts.yaml")
	stack.Wait(t, soon, "a field that the set does not mention any more goes", func() (bool, string) {
		data := w.target.ConfigMap(w.namespace, "facts").Data
		return data["old"] == "" && data["fleet"] == w.namespace, fmt.Sprint(data)
	})
	w.stack.Do(http.MethodDelete, "/v1/selectorsyncsets/"+w.namespace+"-facts", nil, http.StatusNoContent)
	w.target.WaitGone(soon, w.namespace, "facts")
}

// prepare makes a hub and a target, which are one API server, and what Hive has done there.
func prepare(t *testing.T) *way {
	t.Helper()
	kube := devstack.Kubernetes(t)
	w := &way{control: newControl(t), target: stack.NewTarget(t, kube.Kubeconfig), namespace: fmt.Sprintf("retail-%08x", rand.Uint32())}
	w.target.Namespace(w.namespace)
	w.write("hub.kubeconfig", kube.Kubeconfig)
	w.environment = append(w.environment, "KUBECONFIG="+filepath.Join(w.dir, "hub.kubeconfig"),
		"PATH="+filepath.Dir(stack.Program(t, "cli/cmd/syncsetctl"))+":"+os.Getenv("PATH"))
	kinds := ""
	for _, k := range [][]any{
		{"clusterdeployment", "ClusterDeployment", "hive.openshift.io", "Namespaced", "v1"},
		{"syncset", "SyncSet", "hive.openshift.io", "Namespaced", "v1"},
		{"selectorsyncset", "SelectorSyncSet", "hive.openshift.io", "Cluster", "v1"},
		{"clustersync", "ClusterSync", "hiveinternal.openshift.io", "Namespaced", "v1alpha1"},
	} {
		kinds += fmt.Sprintf(hubKinds, k...)
	}
	w.write("kinds.yaml", kinds)
	w.write("hub.yaml", fmt.Sprintf(onTheHub, w.namespace, base64.StdEncoding.EncodeToString([]byte(kube.Kubeconfig))))
	w.write("target.yaml", fmt.Sprintf(byHive, w.namespace))
	w.shell("kubectl apply -f kinds.yaml && kubectl wait --for condition=established --timeout=60s -f kinds.yaml")
	w.shell("kubectl apply -f hub.yaml && kubectl apply -f target.yaml")
	t.Cleanup(func() { w.shell("kubectl delete -f kinds.yaml --wait=false") })
	return w
}

// try runs commands as a person would, and returns what they wrote and what went wrong.
func (w *way) try(commands string) (string, error) {
	cmd := exec.CommandContext(context.Background(), "bash", "-euo", "pipefail", "-c", commands)
	cmd.Dir, cmd.Env = w.dir, w.environment
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *way) shell(commands string) {
	w.Helper()
	if out, err := w.try(commands); err != nil {
		w.Fatalf("%v\n%s\n%s", err, commands, out)
	}
}

// object is the ConfigMap that Hive wrote.
func (w *way) object() *corev1.ConfigMap {
	w.Helper()
	found, err := w.target.Client.CoreV1().ConfigMaps(w.namespace).Get(w.Context(), "facts", metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return found
}

// untouched waits until the sets are known to be suspended, and fails when the object has been written all the same.
func (w *way) untouched(before *corev1.ConfigMap) {
	w.Helper()
	stack.Wait(w, soon, "the set is suspended on its cluster", func() (bool, string) {
		a := w.stack.Do(http.MethodGet, "/v1/clustersyncs/"+w.namespace+"/shop", nil)
		return strings.Contains(string(a.Body), `"result":"Suspended"`), string(a.Body)
	})
	if now := w.object(); now.ResourceVersion != before.ResourceVersion {
		text, _ := json.Marshal(now) // only shown
		w.Errorf("suspended sets have written: %s", text)
	}
}

// block is a fenced block of commands; one that is tagged "wait" is repeated until it succeeds.
type block struct{ tag, commands string }

var fence = regexp.MustCompile("(?ms)^```sh ?([a-z]*)\n(.*?)^```$")

func blocks(t *testing.T) []block {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(stack.Root(), "docs/from-hive.md"))
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	for _, found := range fence.FindAllStringSubmatch(string(text), -1) {
		all = append(all, block{found[1], found[2]})
	}
	if len(all) < 10 {
		t.Fatalf("%d blocks", len(all))
	}
	return all
}

func (w *way) runBlock(n int, b block) {
	w.Helper()
	commands := strings.ReplaceAll(b.commands, "localhost:7070", strings.TrimPrefix(w.door, "http://"))
	// HTTPie would read the standard input that a test does not have.
	commands = "http() { command http --ignore-stdin --check-status \"$@\"; }\n" + commands
	if b.tag != "wait" {
		w.shell(commands)
		return
	}
	stack.Wait(w, soon, fmt.Sprintf("block %d:\n%s", n, b.commands), func() (bool, string) {
		out, err := w.try(commands)
		return err == nil, out
	})
}
