package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/test/stack"
)

func TestAnObjectThatMovesBetweenSetsIsNeverDeleted(t *testing.T) {
	t.Parallel()
	kube, target, s, ns := begin(t, "move", stack.Options{})
	register(s, "fleet", "c", kube.Kubeconfig, map[string]string{"a": "b"})
	shared := []json.RawMessage{stack.ConfigMap(ns, "cm", "k", "1")}
	s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("old", "a", "b", shared, nil), 201)
	waitResult(t, s, "fleet", "c", "old", v1.ResultSuccess)
	uid := target.ConfigMap(ns, "cm").UID

	s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("an-earlier-name", "a", "b", shared, nil), 201)
	stack.Wait(t, soon, "the newcomer shows Conflict", func() (bool, string) {
		cs, _ := clusterSync(t, s, "fleet", "c")
		entry, _ := setStatus(cs, "an-earlier-name")
		return objectState(entry, "cm") == v1.StateConflict, fmt.Sprintf("%+v", entry)
	})
	if owner := target.ConfigMap(ns, "cm").Annotations["syncsets.dev/owner"]; owner != "SelectorSyncSet old" {
		t.Errorf("a new set with an earlier name took the object over: %s", owner)
	}

	s.Do(http.MethodDelete, "/v1/selectorsyncsets/old", nil, 204)
	stack.Wait(t, soon, "ownership moved", func() (bool, string) {
		cm := target.ConfigMap(ns, "cm")
		if cm == nil {
			t.Fatal("the object was deleted though another set claims it")
		}
		return cm.Annotations["syncsets.dev/owner"] == "SelectorSyncSet an-earlier-name", fmt.Sprint(cm.Annotations)
	})
	if now := target.ConfigMap(ns, "cm").UID; now != uid {
		t.Errorf("the object was replaced: uid %s, was %s", now, uid)
	}
}

func TestWhatExistedBeforeStaysUnlessAdopted(t *testing.T) {
	t.Parallel()
	kube, target, s, ns := begin(t, "existed", stack.Options{})
	for _, name := range []string{"kept", "adopted"} {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"theirs": "1"}}
		if _, err := target.Client.CoreV1().ConfigMaps(ns).Create(context.Background(), cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	register(s, "fleet", "c", kube.Kubeconfig, map[string]string{"a": "b"})
	keep := []json.RawMessage{stack.ConfigMap(ns, "kept", "ours", "1")}
	adopt := []json.RawMessage{stack.ConfigMap(ns, "adopted", "ours", "1")}
	s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("keep", "a", "b", keep, nil), 201)
	s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("adopt", "a", "b", adopt, map[string]any{"adopt": true}), 201)
	target.WaitData(soon, ns, "kept", "ours", "1")
	target.WaitData(soon, ns, "adopted", "ours", "1")
	waitResult(t, s, "fleet", "c", "keep", v1.ResultSuccess)
	waitResult(t, s, "fleet", "c", "adopt", v1.ResultSuccess)

	s.Do(http.MethodDelete, "/v1/selectorsyncsets/keep", nil, 204)
	s.Do(http.MethodDelete, "/v1/selectorsyncsets/adopt", nil, 204)
	target.WaitGone(soon, ns, "adopted")
	stack.Wait(t, soon, "our marks gone from what existed before", func() (bool, string) {
		cm := target.ConfigMap(ns, "kept")
		if cm == nil {
			t.Fatal("an object that existed before us was deleted")
		}
		return cm.Labels["syncsets.dev/managed"] == "" && cm.Annotations["syncsets.dev/installation"] == "", fmt.Sprint(cm.Annotations)
	})
	if target.ConfigMap(ns, "kept").Data["theirs"] != "1" {
		t.Error("their data is gone")
	}
}

func TestAnotherInstallationsObjectsAreNotTouched(t *testing.T) {
	t.Parallel()
	kube := devstack.Kubernetes(t)
	target, ours, other := stack.NewTarget(t, kube.Kubeconfig), stack.Start(t, stack.Options{}), stack.Start(t, stack.Options{})
	ns := unique("two")
	target.Namespace(ns)
	for _, s := range []*stack.Stack{other, ours} {
		register(s, "fleet", "c", kube.Kubeconfig, map[string]string{"a": "b"})
	}
	body := func(v string) map[string]any {
		return selectorSet("same", "a", "b", []json.RawMessage{stack.ConfigMap(ns, "cm", "k", v)}, nil)
	}
	other.Do(http.MethodPost, "/v1/selectorsyncsets", body("theirs"), 201)
	target.WaitData(soon, ns, "cm", "k", "theirs")
	waitResult(t, other, "fleet", "c", "same", v1.ResultSuccess)
	ours.Do(http.MethodPost, "/v1/selectorsyncsets", body("ours"), 201)
	stack.Wait(t, soon, "Conflict with the other installation", func() (bool, string) {
		cs, _ := clusterSync(t, ours, "fleet", "c")
		entry, _ := setStatus(cs, "same")
		return objectState(entry, "cm") == v1.StateConflict, fmt.Sprintf("%+v", entry)
	})
	ours.Do(http.MethodDelete, "/v1/selectorsyncsets/same", nil, 204)
	stack.Wait(t, soon, "our set gone", func() (bool, string) {
		cs, _ := clusterSync(t, ours, "fleet", "c")
		_, there := setStatus(cs, "same")
		return !there, "still there"
	})
	if cm := target.ConfigMap(ns, "cm"); cm == nil || cm.Data["k"] != "theirs" {
		t.Errorf("the other installation's object: %+v", cm)
	}
}

func TestUpsertReleasesAndProtectedKindsStay(t *testing.T) {
	t.Parallel()
	kube, target, s, ns := begin(t, "kept", stack.Options{})
	protected := unique("protected")
	t.Cleanup(func() {
		_ = target.Client.CoreV1().Namespaces().Delete(context.Background(), protected, metav1.DeleteOptions{})
	})
	namespace := json.RawMessage(fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, protected))
	inside := stack.ConfigMap(protected, "inside", "k", "1")
	register(s, "fleet", "c", kube.Kubeconfig, map[string]string{"a": "b"})
	s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("sync", "a", "b", []json.RawMessage{namespace, inside}, nil), 201)
	s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("upsert", "a", "b",
		[]json.RawMessage{stack.ConfigMap(ns, "cm", "k", "1")}, map[string]any{"resourceApplyMode": "Upsert"}), 201)
	waitResult(t, s, "fleet", "c", "sync", v1.ResultSuccess)
	waitResult(t, s, "fleet", "c", "upsert", v1.ResultSuccess)
	s.Do(http.MethodDelete, "/v1/selectorsyncsets/sync", nil, 204)
	s.Do(http.MethodDelete, "/v1/selectorsyncsets/upsert", nil, 204)
	target.WaitGone(soon, protected, "inside")
	stack.Wait(t, soon, "marks gone from namespace and upserted object", func() (bool, string) {
		n, err := target.Client.CoreV1().Namespaces().Get(context.Background(), protected, metav1.GetOptions{})
		if err != nil || n.DeletionTimestamp != nil {
			t.Fatalf("a protected namespace was deleted: %v", err)
		}
		cm := target.ConfigMap(ns, "cm")
		if cm == nil {
			t.Fatal("an upserted object was deleted")
		}
		return n.Labels["syncsets.dev/managed"] == "" && cm.Labels["syncsets.dev/managed"] == "", fmt.Sprint(n.Labels, cm.Labels)
	})
}

// The clusters of the fleet are one target under many names: each holds the set's objects in the inventory, and so loses them.
func TestABigDeletionWaitsForConfirmation(t *testing.T) {
	t.Parallel()
	const clusters = 8 // more than the budget's 5
	kube, target, s, ns := begin(t, "hold", stack.Options{})
	resources := func(names ...string) []json.RawMessage {
		var all []json.RawMessage
		for _, n := range names {
			all = append(all, stack.ConfigMap(ns, n, "k", "1"))
		}
		return all
	}
	for i := range clusters {
		register(s, "fleet", fmt.Sprintf("c%d", i), kube.Kubeconfig, map[string]string{"a": "b"})
	}
	created := s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("big", "a", "b", resources("one", "two", "three"), nil), 201)
	uid := stack.JSON[v1.SelectorSyncSet](t, created).UID
	for i := range clusters {
		waitResult(t, s, "fleet", fmt.Sprintf("c%d", i), "big", v1.ResultSuccess)
	}

	s.Do(http.MethodPut, "/v1/selectorsyncsets/big", selectorSet("big", "a", "b", resources("one", "two"), nil), 200)
	first := waitHeld(t, s, "/v1/setsyncs/selectorsyncsets/big", clusters)
	if got := s.Do(http.MethodGet, "/v1/setsyncs/uid/"+uid, nil, 200); stack.JSON[v1.SetSync](t, got).UID != uid {
		t.Errorf("setsync by uid: %s", got.Body)
	}
	wrong := s.Do(http.MethodPost, "/v1/setsyncs/selectorsyncsets/big/confirm", v1.HashRequest{Hash: "0000"}, 409)
	if !contains(wrong.Body, first.Hash) {
		t.Errorf("a wrong hash is answered without the current one: %s", wrong.Body)
	}
	if target.ConfigMap(ns, "three") == nil {
		t.Fatal("deleted without confirmation")
	}

	s.Do(http.MethodPut, "/v1/selectorsyncsets/big", selectorSet("big", "a", "b", resources("one", "two", "three"), nil), 200)
	waitNotHeld(t, s, "/v1/setsyncs/selectorsyncsets/big")
	s.Do(http.MethodDelete, "/v1/selectorsyncsets/big", nil, 204)
	second := waitHeld(t, s, "/v1/setsyncs/uid/"+uid, clusters)
	if second.Objects != 3*clusters {
		t.Errorf("pending deletion: %+v, want %d objects", second, 3*clusters)
	}
	for _, name := range []string{"one", "two", "three"} {
		if target.ConfigMap(ns, name) == nil {
			t.Fatalf("%s was deleted without confirmation", name)
		}
	}
	s.Do(http.MethodPost, "/v1/setsyncs/uid/"+uid+"/confirm", v1.HashRequest{Hash: second.Hash}, 200, 202, 204)
	for _, name := range []string{"one", "two", "three"} {
		target.WaitGone(soon, ns, name)
	}
}

func TestARejectedDeletionReleasesTheObjects(t *testing.T) {
	t.Parallel()
	const clusters = 7
	kube, target, s, ns := begin(t, "reject", stack.Options{})
	for i := range clusters {
		register(s, "fleet", fmt.Sprintf("c%d", i), kube.Kubeconfig, map[string]string{"a": "b"})
	}
	created := s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("big", "a", "b", []json.RawMessage{stack.ConfigMap(ns, "cm", "k", "1")}, nil), 201)
	uid := stack.JSON[v1.SelectorSyncSet](t, created).UID
	for i := range clusters {
		waitResult(t, s, "fleet", fmt.Sprintf("c%d", i), "big", v1.ResultSuccess)
	}
	s.Do(http.MethodDelete, "/v1/selectorsyncsets/big", nil, 204)
	held := waitHeld(t, s, "/v1/setsyncs/uid/"+uid, clusters)
	s.Do(http.MethodPost, "/v1/setsyncs/uid/"+uid+"/reject", v1.HashRequest{Hash: held.Hash}, 200, 202, 204)
	stack.Wait(t, soon, "released", func() (bool, string) {
		cm := target.ConfigMap(ns, "cm")
		if cm == nil {
			t.Fatal("a rejected deletion was carried out")
		}
		gone := s.Do(http.MethodGet, "/v1/setsyncs/uid/"+uid, nil)
		return cm.Labels["syncsets.dev/managed"] == "" && gone.Status == http.StatusNotFound, fmt.Sprint(cm.Labels, string(gone.Body))
	})
}

func TestOrphanedObjectsStayWithoutOurMarks(t *testing.T) {
	t.Parallel()
	kube, target, s, ns := begin(t, "orphan", stack.Options{})
	register(s, "fleet", "c", kube.Kubeconfig, map[string]string{"a": "b"})
	object := func(name string) []json.RawMessage { return []json.RawMessage{stack.ConfigMap(ns, name, "k", "1")} }
	s.Do(http.MethodPost, "/v1/selectorsyncsets",
		selectorSet("document", "a", "b", object("document"), map[string]any{"deletionPolicy": "Orphan"}), 201)
	s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("option", "a", "b", object("option"), nil), 201)
	waitResult(t, s, "fleet", "c", "document", v1.ResultSuccess)
	waitResult(t, s, "fleet", "c", "option", v1.ResultSuccess)

	s.Do(http.MethodDelete, "/v1/selectorsyncsets/document", nil, 204)
	s.Do(http.MethodDelete, "/v1/selectorsyncsets/option?deletionPolicy=Orphan", nil, 204)
	for _, name := range []string{"document", "option"} {
		stack.Wait(t, soon, "our marks gone from "+name, func() (bool, string) {
			cm := target.ConfigMap(ns, name)
			if cm == nil {
				t.Fatalf("%s was deleted though its set leaves orphans", name)
			}
			return cm.Labels["syncsets.dev/managed"] == "" && cm.Annotations["syncsets.dev/installation"] == "", fmt.Sprint(cm.Annotations)
		})
	}
}

func TestADeletionConfirmedByItsWriteIsNotHeld(t *testing.T) {
	t.Parallel()
	const clusters = 7 // more than the budget's 5
	kube, target, s, ns := begin(t, "advance", stack.Options{})
	body := func(more map[string]any, names ...string) map[string]any {
		var resources []json.RawMessage
		for _, n := range names {
			resources = append(resources, stack.ConfigMap(ns, n, "k", "1"))
		}
		return selectorSet("big", "a", "b", resources, more)
	}
	for i := range clusters {
		register(s, "fleet", fmt.Sprintf("c%d", i), kube.Kubeconfig, map[string]string{"a": "b"})
	}
	s.Do(http.MethodPost, "/v1/selectorsyncsets", body(nil, "one", "two", "three"), 201)
	for i := range clusters {
		waitResult(t, s, "fleet", fmt.Sprintf("c%d", i), "big", v1.ResultSuccess)
	}

	s.Do(http.MethodPut, "/v1/selectorsyncsets/big", body(nil, "one", "two"), 200)
	waitHeld(t, s, "/v1/setsyncs/selectorsyncsets/big", clusters)
	s.Do(http.MethodPut, "/v1/selectorsyncsets/big?deletionHold=false", body(nil, "one", "two"), 200) // the same content
	target.WaitGone(soon, ns, "three")

	s.Do(http.MethodPut, "/v1/selectorsyncsets/big?deletionHold=false", body(nil, "one"), 200)
	target.WaitGone(soon, ns, "two")

	s.Do(http.MethodPut, "/v1/selectorsyncsets/big", body(map[string]any{"deletionHold": false}, "one"), 200)
	if target.ConfigMap(ns, "one") == nil {
		t.Fatal("deleted before its set was")
	}
	s.Do(http.MethodDelete, "/v1/selectorsyncsets/big", nil, 204)
	target.WaitGone(soon, ns, "one")
}

func TestAKubeconfigOfAnotherClusterWritesNothing(t *testing.T) {
	t.Parallel()
	one, two := devstack.Kubernetes(t), devstack.NewKubernetes(t)
	first, second := stack.NewTarget(t, one.Kubeconfig), stack.NewTarget(t, two.Kubeconfig)
	s := stack.Start(t, stack.Options{ReconcilerEnv: map[string]string{"SHARED_TARGETS": ""}})
	ns := unique("identity")
	first.Namespace(ns)
	second.Namespace(ns)
	register(s, "fleet", "c", one.Kubeconfig, map[string]string{"a": "b"})
	s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("set", "a", "b", []json.RawMessage{stack.ConfigMap(ns, "cm", "k", "1")}, nil), 201)
	first.WaitData(soon, ns, "cm", "k", "1")
	waitResult(t, s, "fleet", "c", "set", v1.ResultSuccess)

	register(s, "fleet", "twin", one.Kubeconfig, map[string]string{"a": "b"})
	waitReachable(t, s, "fleet", "twin", v1.ReasonDuplicateTarget)

	s.Do(http.MethodPut, "/v1/clusters/fleet/c", map[string]any{
		"name": "c", "namespace": "fleet", "labels": map[string]string{"a": "b"}, "kubeconfig": two.Kubeconfig,
	}, 200)
	waitReachable(t, s, "fleet", "c", v1.ReasonIdentityChanged)
	if second.ConfigMap(ns, "cm") != nil {
		t.Fatal("written to a target with another identity")
	}
	s.Do(http.MethodPost, "/v1/clustersyncs/fleet/c/accept-identity", nil, 202)
	second.WaitData(soon, ns, "cm", "k", "1")
	if first.ConfigMap(ns, "cm") == nil {
		t.Error("the old target's object was deleted")
	}
}

func waitHeld(t *testing.T, s *stack.Stack, path string, clusters int) v1.PendingDeletion {
	t.Helper()
	var pending v1.PendingDeletion
	stack.Wait(t, soon, path+" held", func() (bool, string) {
		a := s.Do(http.MethodGet, path, nil)
		if a.Status != http.StatusOK {
			return false, string(a.Body)
		}
		status := stack.JSON[v1.SetSync](t, a).Status
		if status.PendingDeletion == nil || status.Held != clusters {
			return false, string(a.Body)
		}
		pending = *status.PendingDeletion
		return pending.Clusters == clusters, string(a.Body)
	})
	return pending
}

func waitNotHeld(t *testing.T, s *stack.Stack, path string) {
	t.Helper()
	stack.Wait(t, soon, path+" no longer held", func() (bool, string) {
		a := s.Do(http.MethodGet, path, nil, 200)
		status := stack.JSON[v1.SetSync](t, a).Status
		return status.Held == 0 && status.PendingDeletion == nil, string(a.Body)
	})
}
