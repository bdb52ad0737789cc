// Package e2e_test drives the whole system: the three services as processes, real Postgres, RabbitMQ and kube-apiserver. It believes
// HTTP acknowledgements and what is on the targets.
package e2e_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/test/stack"
)

// parallel is how many of these tests run at once unless -parallel says otherwise: they mostly wait.
const parallel = "4"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	devstack.Main(m)
}

// soon is how long a change may take to reach a target on a busy machine; nothing here measures speed.
const soon = 45 * time.Second

// unique makes a name that no other test uses on the shared targets.
func unique(prefix string) string { return fmt.Sprintf("%s-%08x", prefix, rand.Uint32()) }

// begin starts a system, and makes a namespace of the test's own on the shared target.
func begin(t *testing.T, prefix string, o stack.Options) (kube *devstack.Kube, target *stack.Target, s *stack.Stack, namespace string) {
	t.Helper()
	kube = devstack.Kubernetes(t)
	target, s = stack.NewTarget(t, kube.Kubeconfig), stack.Start(t, o)
	namespace = unique(prefix)
	target.Namespace(namespace)
	return kube, target, s, namespace
}

func register(s *stack.Stack, namespace, name, kubeconfig string, labels map[string]string) {
	s.Do(http.MethodPost, "/v1/clusters", map[string]any{
		"name": name, "namespace": namespace, "kubeconfig": kubeconfig, "labels": labels,
	}, http.StatusCreated)
}

// selectorSet is the body of a selectorsyncset in Sync mode that matches one label; fields are added or replaced by more.
func selectorSet(name, key, value string, resources []json.RawMessage, more map[string]any) map[string]any {
	body := map[string]any{
		"name": name, "resourceApplyMode": "Sync", "resources": resources,
		"clusterSelector": map[string]any{"matchLabels": map[string]string{key: value}},
	}
	for k, v := range more {
		body[k] = v
	}
	return body
}

func clusterSync(t *testing.T, s *stack.Stack, namespace, name string) (v1.ClusterSync, bool) {
	t.Helper()
	a := s.Do(http.MethodGet, "/v1/clustersyncs/"+namespace+"/"+name, nil)
	if a.Status != http.StatusOK {
		return v1.ClusterSync{}, false
	}
	return stack.JSON[v1.ClusterSync](t, a), true
}

// setStatus finds a set's entry in a clustersync by kind and name.
func setStatus(cs v1.ClusterSync, name string) (v1.SetStatus, bool) {
	for _, entries := range [][]v1.SetStatus{cs.Status.SyncSets, cs.Status.SelectorSyncSets} {
		for _, e := range entries {
			if e.Name == name {
				return e, true
			}
		}
	}
	return v1.SetStatus{}, false
}

// waitResult waits until the set has the result on the cluster and returns its entry.
func waitResult(t *testing.T, s *stack.Stack, namespace, cluster, set, result string) v1.SetStatus {
	t.Helper()
	var found v1.SetStatus
	stack.Wait(t, soon, fmt.Sprintf("%s on %s/%s to be %s", set, namespace, cluster, result), func() (bool, string) {
		cs, ok := clusterSync(t, s, namespace, cluster)
		if !ok {
			return false, "no clustersync"
		}
		found, ok = setStatus(cs, set)
		return ok && found.Result == result && found.ObservedGeneration == found.TargetGeneration, fmt.Sprintf("%+v", found)
	})
	return found
}

// waitReachable waits until the cluster's Reachable condition has the reason.
func waitReachable(t *testing.T, s *stack.Stack, namespace, cluster, reason string) {
	t.Helper()
	stack.Wait(t, soon, namespace+"/"+cluster+" Reachable: "+reason, func() (bool, string) {
		cs, ok := clusterSync(t, s, namespace, cluster)
		if !ok {
			return false, "no clustersync"
		}
		for _, c := range cs.Status.Conditions {
			if c.Type == v1.ConditionReachable {
				return c.Reason == reason, c.Reason + ": " + c.Message
			}
		}
		return false, "no such condition"
	})
}

func objectState(set v1.SetStatus, name string) string {
	for _, o := range set.Objects {
		if o.Name == name {
			return o.State
		}
	}
	return ""
}
