package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/test/stack"
)

// run identifies one run of one cluster at the target: the reconciler says it in its user agent.
var run = regexp.MustCompile(`cluster ([0-9a-f-]{36}); run (\d+)`)

func TestFourWorkersNeverHoldOneClusterTogether(t *testing.T) {
	t.Parallel()
	const clusters, edits = 6, 12
	kube, target, s, ns := begin(t, "leases", stack.Options{Reconcilers: 4, ReconcilerEnv: map[string]string{"WORKERS": "2"}})
	for i := range clusters {
		register(s, "fleet", fmt.Sprintf("c%d", i), kube.Kubeconfig, map[string]string{"a": "b"})
	}
	set := func(v int) map[string]any {
		var resources []json.RawMessage
		for i := range 5 {
			resources = append(resources, stack.ConfigMap(ns, fmt.Sprintf("cm-%d", i), "k", fmt.Sprint(v)))
		}
		return selectorSet("set", "a", "b", resources, nil)
	}
	s.Do(http.MethodPost, "/v1/selectorsyncsets", set(0), 201)
	for v := 1; v <= edits; v++ {
		s.Do(http.MethodPut, "/v1/selectorsyncsets/set", set(v), 200)
		target.WaitData(soon, ns, "cm-4", "k", fmt.Sprint(v))
	}
	for i := range clusters {
		waitResult(t, s, "fleet", fmt.Sprintf("c%d", i), "set", v1.ResultSuccess)
	}
	runs := auditedRuns(t, kube.AuditLog, ns)
	if len(runs) < clusters {
		t.Fatalf("only %d clusters in the audit log", len(runs))
	}
	for cluster, list := range runs {
		slices.SortFunc(list, func(a, b interval) int { return a.from.Compare(b.from) })
		for i := 1; i < len(list); i++ {
			if list[i].from.Before(list[i-1].to) {
				t.Errorf("cluster %s: run %s (%s to %s) and run %s (from %s) overlap", cluster,
					list[i-1].run, list[i-1].from, list[i-1].to, list[i].run, list[i].from)
			}
		}
	}
}

type interval struct {
	run      string
	from, to time.Time
}

// auditedRuns reads the audit log: per cluster, when each run's first request arrived and its last was answered.
func auditedRuns(t *testing.T, file, namespace string) map[string][]interval {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	type key struct{ cluster, run string }
	found := map[key]interval{}
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 4<<20)
	for scanner.Scan() {
		var e struct {
			UserAgent                string
			RequestReceivedTimestamp time.Time
			StageTimestamp           time.Time
			RequestURI               string
		}
		if err := json.Unmarshal(scanner.Bytes(), &e); err != nil {
			continue // the last line may be half-written
		}
		m := run.FindStringSubmatch(e.UserAgent)
		if m == nil || !strings.Contains(e.RequestURI, namespace) {
			continue
		}
		i, seen := found[key{m[1], m[2]}]
		if !seen || e.RequestReceivedTimestamp.Before(i.from) {
			i.from = e.RequestReceivedTimestamp
		}
		if e.StageTimestamp.After(i.to) {
			i.to = e.StageTimestamp
		}
		i.run = m[2]
		found[key{m[1], m[2]}] = i
	}
	runs := map[string][]interval{}
	for k, i := range found {
		runs[k.cluster] = append(runs[k.cluster], i)
	}
	return runs
}

// onPatch calls f with the first PATCH of the named object; later ones do not wait for it.
func onPatch(name string, f func()) func(*http.Request) {
	var seen atomic.Bool
	return func(r *http.Request) {
		if r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/"+name) && seen.CompareAndSwap(false, true) {
			f()
		}
	}
}

func TestAWorkerPausedInsideAPatchLosesItsLease(t *testing.T) {
	t.Parallel()
	kube := devstack.Kubernetes(t)
	target, proxy := stack.NewTarget(t, kube.Kubeconfig), stack.NewProxy(t, kube.Kubeconfig)
	s := stack.Start(t, stack.Options{Reconcilers: 2, Lazy: true})
	zombie, other := s.Reconciler[0], s.Reconciler[1]
	for _, p := range []*stack.Process{s.Clusters[0], s.Syncsets[0], zombie} {
		p.Start()
	}
	for _, p := range []*stack.Process{s.Clusters[0], s.Syncsets[0], zombie} {
		p.WaitReady(soon)
	}
	ns := unique("zombie")
	target.Namespace(ns)
	register(s, "fleet", "c", proxy.Kubeconfig, map[string]string{"a": "b"})
	waitReachable(t, s, "fleet", "c", v1.ReasonReachable)
	set := func(v string) map[string]any {
		return selectorSet("set", "a", "b", []json.RawMessage{stack.ConfigMap(ns, "cm", "k", v)}, nil)
	}
	paused, release := make(chan struct{}), make(chan struct{})
	proxy.Before(onPatch("cm", func() {
		zombie.Pause()
		close(paused)
		<-release
	}))
	s.Do(http.MethodPost, "/v1/selectorsyncsets", set("stale"), 201)
	<-paused
	s.Do(http.MethodPut, "/v1/selectorsyncsets/set", set("right"), 200)
	other.Start()
	other.WaitReady(soon)
	target.WaitData(2*time.Minute, ns, "cm", "k", "right") // after the lease has run out
	close(release)                                         // the stale PATCH reaches the target now
	target.WaitData(soon, ns, "cm", "k", "stale")
	zombie.Resume()
	stack.Wait(t, soon, "the paused worker is told that its lease is lost", func() (bool, string) {
		n := zombie.Metric(t, "lease_lost")
		return n >= 1, fmt.Sprint(n)
	})
	target.WaitData(3*time.Minute, ns, "cm", "k", "right") // the apply that follows a takeover
	waitResultAt(t, other, "fleet", "c", "set", v1.ResultSuccess)
}

func TestAWorkerKilledAfterAPatchLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	kube := devstack.Kubernetes(t)
	target, proxy := stack.NewTarget(t, kube.Kubeconfig), stack.NewProxy(t, kube.Kubeconfig)
	s := stack.Start(t, stack.Options{})
	ns := unique("killed")
	target.Namespace(ns)
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Data: map[string]string{"before": "1"}}
	if _, err := target.Client.CoreV1().ConfigMaps(ns).Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	register(s, "fleet", "c", proxy.Kubeconfig, map[string]string{"a": "b"})
	waitReachable(t, s, "fleet", "c", v1.ReasonReachable)
	worker := s.Reconciler[0]
	killed := make(chan struct{})
	hook := onPatch("ours", func() {
		worker.Kill()
		close(killed)
	})
	proxy.After(func(r *http.Request, _ int) { hook(r) })
	resources := []json.RawMessage{stack.ConfigMap(ns, "theirs", "k", "1"), stack.ConfigMap(ns, "ours", "k", "1")}
	s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("set", "a", "b", resources, nil), 201)
	<-killed
	if target.ConfigMap(ns, "ours") == nil {
		t.Fatal("the PATCH did not create the object")
	}
	s.Do(http.MethodDelete, "/v1/selectorsyncsets/set", nil, 204)
	worker.Start()
	worker.WaitReady(soon)
	target.WaitGone(3*time.Minute, ns, "ours")
	stack.Wait(t, soon, "marks gone from what existed before", func() (bool, string) {
		cm := target.ConfigMap(ns, "theirs")
		if cm == nil {
			t.Fatal("an object that existed before us was deleted")
		}
		return cm.Labels["syncsets.dev/managed"] == "" && cm.Data["before"] == "1", fmt.Sprint(cm.Labels, cm.Data)
	})
}

func waitResultAt(t *testing.T, p *stack.Process, namespace, cluster, set, result string) {
	t.Helper()
	stack.Wait(t, soon, set+" "+result+" as "+p.Name+" sees it", func() (bool, string) {
		a, err := stack.Request(t.Context(), http.MethodGet, "http://"+p.Public+"/v1/clustersyncs/"+namespace+"/"+cluster, nil, nil)
		if err != nil || a.Status != http.StatusOK {
			return false, fmt.Sprint(err, a.Status)
		}
		entry, _ := setStatus(stack.JSON[v1.ClusterSync](t, a), set)
		return entry.Result == result, fmt.Sprintf("%+v", entry)
	})
}
