package bench

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/test/stack"
)

// BenchmarkOneCluster has one cluster with 100 sets of 10 objects: the first apply of all, a verification that finds nothing, a run
// without a reason at the target, and the edit of one object. Requests are counted at the target.
func BenchmarkOneCluster(b *testing.B) {
	const sets, objects, verify = 100, 10, 30 * time.Second
	kube := devstack.Kubernetes(b)
	target, proxy := stack.NewTarget(b, kube.Kubeconfig), stack.NewProxy(b, kube.Kubeconfig)
	s := stack.Start(b, stack.Options{
		Env: map[string]string{"LOG_LEVEL": "warn"}, ReconcilerEnv: map[string]string{"VERIFY_INTERVAL": verify.String()},
	})
	target.Namespace("bench-one")
	watch := newWatch(b, target, "bench-one")
	write := func(set int, value string) {
		name := fmt.Sprintf("s%d", set)
		var resources []json.RawMessage
		for o := range objects {
			v := value
			if o > 0 && value != "0" {
				v = "0"
			}
			resources = append(resources, stack.ConfigMap("bench-one", fmt.Sprintf("%s-%d", name, o), "k", v))
		}
		s.Do(http.MethodPut, "/v1/syncsets/bench/"+name, syncSet(name, "c", resources), 200, 201)
	}
	for i := range sets {
		write(i, "0")
	}
	m := meter{b: b, proxy: proxy, pid: s.Reconciler[0].PID()}
	for range b.N {
		m.step("first apply", func() {
			s.Do(http.MethodPost, "/v1/clusters", map[string]any{"namespace": "bench", "name": "c", "kubeconfig": proxy.Kubeconfig}, 201)
			watch.wait(sets*objects, "0")
		})
		m.step("verification", func() {
			stack.Wait(b, 3*verify, "a list at the target", func() (bool, string) {
				requests := proxy.Requests()
				last := 0
				for _, r := range requests {
					if r.Method == http.MethodGet && strings.Contains(r.Query, "labelSelector") {
						last++
					}
				}
				return last > 0, fmt.Sprint(len(requests))
			})
		})
		m.step("one object of one set changed", func() {
			write(7, "1")
			watch.wait(1, "1")
		})
	}
}

// meter prints what a step costs.
type meter struct {
	b     *testing.B
	proxy *stack.Proxy
	pid   int
}

func (m meter) step(name string, do func()) {
	m.b.Helper()
	m.proxy.Reset()
	start, cpu := time.Now(), cpuOf(m.b, m.pid)
	do()
	took, cpu := time.Since(start), cpuOf(m.b, m.pid)-cpu
	methods := map[string]int{}
	for _, r := range m.proxy.Requests() {
		methods[r.Method]++
	}
	var counts []string
	for _, method := range slices.Sorted(maps.Keys(methods)) {
		counts = append(counts, fmt.Sprintf("%d %s", methods[method], method))
	}
	m.b.Logf("%-30s %8.0f ms, %s CPU, %d MiB resident, requests: %s", name, ms(took), cpu, resident(m.b, m.pid)>>20, strings.Join(counts, ", "))
}

// resident is the memory of a process that is in RAM, from /proc (Linux).
func resident(b *testing.B, pid int) int {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}
