package e2e_test

import (
	"encoding/json"
	"net/http"
	"testing"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/test/stack"
)

func TestASetArrivesChangesAndGoes(t *testing.T) {
	t.Parallel()
	kube, target, s, ns := begin(t, "path", stack.Options{})
	register(s, "fleet", "cluster1", kube.Kubeconfig, map[string]string{"env": "prod"})
	first := stack.ConfigMap(ns, "first", "k", "1")
	second := stack.ConfigMap(ns, "second", "k", "1")

	created := s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("base", "env", "prod", []json.RawMessage{first, second}, nil), 201)
	target.WaitData(soon, ns, "first", "k", "1")
	target.WaitData(soon, ns, "second", "k", "1")
	entry := waitResult(t, s, "fleet", "cluster1", "base", v1.ResultSuccess)
	if len(entry.Objects) != 2 || entry.Objects[0].UID != string(target.ConfigMap(ns, "first").UID) {
		t.Errorf("objects of the clustersync: %+v", entry.Objects)
	}
	cm := target.ConfigMap(ns, "first")
	set := stack.JSON[v1.SelectorSyncSet](t, created)
	if cm.Labels["syncsets.dev/managed"] != "true" || cm.Annotations["syncsets.dev/owner"] != "SelectorSyncSet base" ||
		cm.Annotations["syncsets.dev/owner-uid"] != set.UID || cm.Annotations["syncsets.dev/installation"] == "" {
		t.Errorf("marks: labels %v annotations %v", cm.Labels, cm.Annotations)
	}

	changed := stack.ConfigMap(ns, "first", "k", "2")
	s.Do(http.MethodPut, "/v1/selectorsyncsets/base", selectorSet("base", "env", "prod", []json.RawMessage{changed, second}, nil), 200)
	target.WaitData(soon, ns, "first", "k", "2")

	s.Do(http.MethodPut, "/v1/selectorsyncsets/base", selectorSet("base", "env", "prod", []json.RawMessage{changed}, nil), 200)
	target.WaitGone(soon, ns, "second")
	if target.ConfigMap(ns, "first") == nil {
		t.Error("the object that stayed in the set is gone")
	}

	s.Do(http.MethodDelete, "/v1/selectorsyncsets/base", nil, 204)
	target.WaitGone(soon, ns, "first")
	stack.Wait(t, soon, "the set's traces gone from the status", func() (bool, string) {
		a := s.Do(http.MethodGet, "/v1/setsyncs/uid/"+set.UID, nil)
		return a.Status == http.StatusNotFound, string(a.Body)
	})
}

func TestASyncSetFollowsItsReferences(t *testing.T) {
	t.Parallel()
	kube, target, s, ns := begin(t, "refs", stack.Options{})
	set := func(refs ...map[string]string) map[string]any {
		return map[string]any{
			"namespace": "fleet", "name": "by-name", "clusterRefs": refs, "resourceApplyMode": "Sync",
			"resources": []json.RawMessage{stack.ConfigMap(ns, "cm", "k", "1")},
		}
	}
	s.Do(http.MethodPost, "/v1/syncsets", set(map[string]string{"name": "later"}), 201)
	register(s, "elsewhere", "later", kube.Kubeconfig, nil)
	register(s, "fleet", "later", kube.Kubeconfig, nil)
	target.WaitData(soon, ns, "cm", "k", "1")
	waitResult(t, s, "fleet", "later", "by-name", v1.ResultSuccess)
	if cs, ok := clusterSync(t, s, "elsewhere", "later"); ok && len(cs.Status.SyncSets) != 0 {
		t.Errorf("a syncset reached a cluster of another namespace: %+v", cs.Status.SyncSets)
	}
	s.Do(http.MethodPut, "/v1/syncsets/fleet/by-name", set(map[string]string{"name": "other"}), 200)
	target.WaitGone(soon, ns, "cm")
}

func TestRelabelledClustersGainAndLoseSets(t *testing.T) {
	t.Parallel()
	kube, target, s, ns := begin(t, "relabel", stack.Options{})
	resources := []json.RawMessage{stack.ConfigMap(ns, "cm", "k", "1")}
	s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("prod", "env", "prod", resources, nil), 201)
	register(s, "fleet", "c", kube.Kubeconfig, map[string]string{"env": "test"})
	waitReachable(t, s, "fleet", "c", v1.ReasonReachable)
	if target.ConfigMap(ns, "cm") != nil {
		t.Fatal("a set reached a cluster that it does not match")
	}
	relabel := func(env string) {
		s.Do(http.MethodPut, "/v1/clusters/fleet/c", map[string]any{"name": "c", "namespace": "fleet", "labels": map[string]string{"env": env}}, 200)
	}
	relabel("prod")
	target.WaitData(soon, ns, "cm", "k", "1")
	relabel("test")
	target.WaitGone(soon, ns, "cm")
}
