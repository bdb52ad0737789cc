package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/test/stack"
)

func TestMain(m *testing.M) { devstack.Main(m) }

// patch server-side-applies one ConfigMap as the reconciler does, and nothing else.
func patch(ctx context.Context, client kubernetes.Interface, namespace, name string, body []byte) error {
	force := true
	_, err := client.CoreV1().ConfigMaps(namespace).Patch(ctx, name, types.ApplyPatchType, body,
		metav1.PatchOptions{FieldManager: "bench", Force: &force})
	return err
}

// watchValues delivers the name of each ConfigMap of the namespace whose data.k becomes want, as the API server tells it.
type watchValues struct {
	t       testing.TB
	changes <-chan change
}

type change struct {
	name, value string
	at          time.Time
}

func newWatch(t testing.TB, target *stack.Target, namespace string) *watchValues {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	changes := make(chan change, 4096)
	go follow(ctx, target, namespace, changes)
	return &watchValues{t, changes}
}

// follow lists and watches until ctx ends: an API server under load ends watches that cannot keep up.
func follow(ctx context.Context, target *stack.Target, namespace string, changes chan<- change) {
	maps := target.Client.CoreV1().ConfigMaps(namespace)
	for ctx.Err() == nil {
		list, err := maps.List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for _, cm := range list.Items {
			changes <- change{cm.Name, cm.Data["k"], time.Now()}
		}
		w, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err != nil {
			continue
		}
		for e := range w.ResultChan() {
			if cm, ok := e.Object.(*corev1.ConfigMap); ok {
				changes <- change{cm.Name, cm.Data["k"], time.Now()}
			}
		}
	}
}

// wait returns when n different objects have reached value: the time of the last.
func (w *watchValues) wait(n int, value string) time.Time {
	w.t.Helper()
	seen := map[string]bool{}
	limit := time.After(3 * time.Minute)
	for {
		select {
		case c := <-w.changes:
			if c.value != value {
				continue
			}
			if seen[c.name] = true; len(seen) == n {
				return c.at
			}
		case <-limit:
			w.t.Fatalf("%d of %d objects reached %q", len(seen), n, value)
		}
	}
}

// BenchmarkWriteToObject is the time from sending a PUT of a set to its object at an idle target, beside a bare PATCH of the same.
func BenchmarkWriteToObject(b *testing.B) {
	const samples = 200
	kube := devstack.Kubernetes(b)
	target, s := stack.NewTarget(b, kube.Kubeconfig), stack.Start(b, stack.Options{Env: map[string]string{"LOG_LEVEL": "warn"}})
	target.Namespace("bench-latency")
	s.Do(http.MethodPost, "/v1/clusters", map[string]any{"namespace": "bench", "name": "c", "kubeconfig": kube.Kubeconfig}, 201)
	watch := newWatch(b, target, "bench-latency")
	for range b.N {
		var ours, bare []time.Duration
		for i := range samples {
			value := strconv.Itoa(i)
			body := syncSet("one", "c", []json.RawMessage{stack.ConfigMap("bench-latency", "ours", "k", value)})
			start := time.Now()
			s.Do(http.MethodPut, "/v1/syncsets/bench/one", body, 200, 201)
			ours = append(ours, watch.wait(1, value).Sub(start))

			plain := stack.ConfigMap("bench-latency", "bare", "k", "bare-"+value)
			start = time.Now()
			if err := patch(context.Background(), target.Client, "bench-latency", "bare", plain); err != nil {
				b.Fatal(err)
			}
			bare = append(bare, watch.wait(1, "bare-"+value).Sub(start))
		}
		report(b, "write-to-object", ours)
		report(b, "bare-patch", bare)
		b.ReportMetric(float64(quantile(ours, 0.5))/float64(quantile(bare, 0.5)), "p50-ratio")
	}
}

// BenchmarkStages prints where the time of a write goes: per stage of its trace, when it begins and how long it takes, at the median.
func BenchmarkStages(b *testing.B) {
	const samples = 60
	kube, spans := devstack.Kubernetes(b), stack.NewSpans(b)
	target, s := stack.NewTarget(b, kube.Kubeconfig), stack.Start(b, stack.Options{Env: spans.Env()})
	target.Namespace("bench-stages")
	s.Do(http.MethodPost, "/v1/clusters", map[string]any{"namespace": "bench", "name": "c", "kubeconfig": kube.Kubeconfig}, 201)
	watch := newWatch(b, target, "bench-stages")
	for range b.N {
		for i := range samples {
			value := strconv.Itoa(i)
			body := syncSet("one", "c", []json.RawMessage{stack.ConfigMap("bench-stages", "ours", "k", value)})
			s.Do(http.MethodPut, "/v1/syncsets/bench/one", body, 200, 201)
			watch.wait(1, value)
		}
	}
	stack.Wait(b, 10*time.Second, "the last spans", func() (bool, string) {
		n := 0
		for _, span := range spans.All() {
			if span.Name == "process reconciler.apply" {
				n++
			}
		}
		return n >= samples, strconv.Itoa(n)
	})
	printStages(b, spans.All())
}

// printStages groups spans by name, with times counted from the beginning of their trace's HTTP server span.
func printStages(b *testing.B, all []stack.Span) {
	b.Helper()
	begun := map[string]time.Time{}
	for _, span := range all {
		if strings.HasPrefix(span.Name, "PUT /v1/syncsets") {
			begun[span.Trace] = span.Start
		}
	}
	starts, lengths := map[string][]time.Duration{}, map[string][]time.Duration{}
	for _, span := range all {
		if from, ok := begun[span.Trace]; ok && span.Start.Sub(from) < time.Second {
			name := span.Service + ": " + span.Name
			starts[name], lengths[name] = append(starts[name], span.Start.Sub(from)), append(lengths[name], span.End.Sub(span.Start))
		}
	}
	names := slices.SortedFunc(maps.Keys(starts), func(x, y string) int {
		return cmp.Compare(quantile(starts[x], 0.5), quantile(starts[y], 0.5))
	})
	for _, name := range names {
		b.Logf("%8.1f ms  +%6.1f ms  x%-4d %s", ms(quantile(starts[name], 0.5)), ms(quantile(lengths[name], 0.5)), len(starts[name]), name)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkThroughput writes 8 clusters x 4 sets of 100 objects each, in turns with a loop that PATCHes the same: 32 goroutines over 8
// clients, each with a connection of its own, as the 8 clusters have.
func BenchmarkThroughput(b *testing.B) {
	const rounds, clusters, sets, objects = 5, 8, 4, 100
	const total = clusters * sets * objects
	kube := devstack.Kubernetes(b)
	target := stack.NewTarget(b, kube.Kubeconfig)
	s := stack.Start(b, stack.Options{Env: map[string]string{"LOG_LEVEL": "warn"}, ReconcilerEnv: map[string]string{"WORKERS": "8"}})
	target.Namespace("bench-ours")
	target.Namespace("bench-bare")
	for c := range clusters {
		s.Do(http.MethodPost, "/v1/clusters", map[string]any{"namespace": "bench", "name": fmt.Sprintf("c%d", c), "kubeconfig": kube.Kubeconfig}, 201)
	}
	ours, bare := newWatch(b, target, "bench-ours"), newWatch(b, target, "bench-bare")
	write := func(value string) {
		inParallel(b, clusters*sets, 8, func(i int) error {
			name := fmt.Sprintf("s%d", i)
			var resources []json.RawMessage
			for o := range objects {
				resources = append(resources, stack.ConfigMap("bench-ours", fmt.Sprintf("%s-%d", name, o), "k", value))
			}
			s.Do(http.MethodPut, "/v1/syncsets/bench/"+name, syncSet(name, fmt.Sprintf("c%d", i%clusters), resources), 200, 201)
			return nil
		})
	}
	clients := make([]kubernetes.Interface, clusters)
	for i := range clients {
		clients[i] = stack.NewTarget(b, kube.Kubeconfig).Client
	}
	loop := func(value string) {
		inParallel(b, total, 32, func(i int) error {
			name := fmt.Sprintf("bare-%d", i)
			return patch(context.Background(), clients[i%clusters], "bench-bare", name, stack.ConfigMap("bench-bare", name, "k", value))
		})
	}
	profile(b, s.Reconciler[0])
	for n := range b.N {
		var rates, cpus []float64
		for round := range rounds + 1 {
			value := fmt.Sprintf("%d-%d", n, round)
			start, cpu := time.Now(), cpuOf(b, s.Reconciler[0].PID())
			write(value)
			took := ours.wait(total, value).Sub(start)
			cpu = cpuOf(b, s.Reconciler[0].PID()) - cpu

			start, self := time.Now(), cpuOfSelf(b)
			loop(value)
			bareTook := bare.wait(total, value).Sub(start)
			self = cpuOfSelf(b) - self
			kind := "update"
			if round == 0 {
				kind = "create"
			} else {
				rates, cpus = append(rates, bareTook.Seconds()/took.Seconds()), append(cpus, cpu.Seconds()/self.Seconds())
			}
			b.Logf("%s: ours %.0f objects/s, %.2f ms CPU each; loop %.0f objects/s, %.2f ms CPU each", kind,
				total/took.Seconds(), cpu.Seconds()*1000/total, total/bareTook.Seconds(), self.Seconds()*1000/total)
		}
		slices.Sort(rates)
		slices.Sort(cpus)
		b.Logf("throughput ratio %.2f [%.2f to %.2f]; CPU ratio %.2f [%.2f to %.2f]", rates[rounds/2], rates[0], rates[rounds-1],
			cpus[rounds/2], cpus[0], cpus[rounds-1])
		b.ReportMetric(rates[rounds/2], "throughput-ratio")
		b.ReportMetric(cpus[rounds/2], "cpu-ratio")
	}
}

// profile writes 12 seconds of the process's CPU profile to the file that BENCH_PROFILE names, beside the measurement.
func profile(b *testing.B, p *stack.Process) {
	b.Helper()
	file := os.Getenv("BENCH_PROFILE")
	if file == "" {
		return
	}
	done := make(chan struct{})
	b.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		a, err := stack.Request(context.Background(), http.MethodGet, "http://"+p.Admin+"/debug/pprof/profile?seconds=12", nil, nil)
		if err == nil {
			err = os.WriteFile(file, a.Body, 0o600)
		}
		if err != nil {
			b.Log("no profile:", err)
		}
	}()
}

func syncSet(name, cluster string, resources []json.RawMessage) map[string]any {
	return map[string]any{
		"namespace": "bench", "name": name, "clusterRefs": []map[string]string{{"name": cluster}}, "resources": resources,
	}
}

// inParallel calls f with 0 to n-1 from a number of goroutines.
func inParallel(b *testing.B, n, goroutines int, f func(int) error) {
	b.Helper()
	next, failed := make(chan int), make(chan error, goroutines)
	for range goroutines {
		go func() {
			var err error
			for i := range next {
				if err == nil {
					err = f(i)
				}
			}
			failed <- err
		}()
	}
	for i := range n {
		next <- i
	}
	close(next)
	for range goroutines {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
}

func report(b *testing.B, name string, samples []time.Duration) {
	b.ReportMetric(float64(quantile(samples, 0.5).Microseconds())/1000, name+"-p50-ms")
	b.ReportMetric(float64(quantile(samples, 0.99).Microseconds())/1000, name+"-p99-ms")
}

func quantile(samples []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// cpuOf is the user and system time of a process so far, from /proc (Linux; its ticks are 10 ms).
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndex(string(stat), ")")+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

func cpuOfSelf(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
