package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/test/stack"
)

func TestServicesWaitForTheirPartsAndSayWhy(t *testing.T) {
	t.Parallel()
	s := stack.Start(t, stack.Options{Gated: true, Lazy: true})
	s.PGGate.Shut()
	s.RabbitGate.Shut()
	began := time.Now()
	for _, p := range s.All() {
		p.Start()
	}
	for _, p := range s.All() {
		waitUnready(t, p, "start", "postgres")
		waitSays(t, p, sayPostgres)
	}
	s.PGGate.Open()
	parts := map[string][]string{
		"clusters": {"rabbitmq relay"}, "syncsets": {"rabbitmq relay"},
		"reconciler": {"rabbitmq dispatch", "rabbitmq plan", "rabbitmq relay", "rabbitmq work"},
	}
	for _, p := range s.All() {
		waitUnready(t, p, parts[p.Service]...)
		waitSays(t, p, sayRabbitMQ)
	}
	s.RabbitGate.Open()
	for _, p := range s.All() {
		p.WaitReady(time.Minute)
	}
	each := 1 + int(time.Since(began)/(30*time.Second)) // at once, then twice a minute
	for _, p := range s.All() {
		if n := strings.Count(p.Log(), sayPostgres); n > each {
			t.Errorf("%s said %d times that it waits for Postgres, want at most %d", p.Name, n, each)
		}
		if n, most := strings.Count(p.Log(), sayRabbitMQ), each*len(parts[p.Service]); n > most {
			t.Errorf("%s said %d times that it waits for RabbitMQ, want at most %d", p.Name, n, most)
		}
		if !p.Stop(15 * time.Second) {
			t.Errorf("%s did not end with exit code 0 on SIGTERM", p.Name)
		}
	}
}

// What a service logs while it waits for a part.
const (
	sayPostgres = "waiting for postgres"
	sayRabbitMQ = "no connection to rabbitmq, dialing again"
)

func waitSays(t *testing.T, p *stack.Process, what string) {
	t.Helper()
	stack.Wait(t, soon, p.Name+" says: "+what, func() (bool, string) { return strings.Contains(p.Log(), what), p.Log() })
}

// waitUnready waits until the process is alive and not ready because of exactly these checks.
func waitUnready(t *testing.T, p *stack.Process, failing ...string) {
	t.Helper()
	slices.Sort(failing)
	stack.Wait(t, soon, fmt.Sprintf("%s alive, and not ready for %q", p.Name, failing), func() (bool, string) {
		live, why := p.Live()
		_, state := p.Ready()
		status, body, _ := strings.Cut(state, ": ")
		var answer struct{ Checks map[string]string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			return false, state
		}
		maps.DeleteFunc(answer.Checks, func(_, result string) bool { return result == "ok" })
		found := slices.Sorted(maps.Keys(answer.Checks))
		return live && strings.HasPrefix(status, "503") && slices.Equal(found, failing), why + ", " + state
	})
}

func TestWritesAnswer503WhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	kube, target, s, ns := begin(t, "pg", stack.Options{Gated: true})
	register(s, "fleet", "c", kube.Kubeconfig, map[string]string{"a": "b"})
	waitReachable(t, s, "fleet", "c", v1.ReasonReachable)
	s.PGGate.Shut()
	body := selectorSet("set", "a", "b", []json.RawMessage{stack.ConfigMap(ns, "cm", "k", "1")}, nil)
	away := s.Do(http.MethodPost, "/v1/selectorsyncsets", body, http.StatusServiceUnavailable)
	if away.Header.Get("Retry-After") == "" || !strings.HasPrefix(away.Header.Get("Content-Type"), "application/problem+json") {
		t.Errorf("503 with headers %v", away.Header)
	}
	for _, p := range s.All() {
		stack.Wait(t, soon, p.Name+" alive and not ready", func() (bool, string) {
			live, why := p.Live()
			ready, state := p.Ready()
			return live && !ready, why + ", " + state
		})
	}
	s.PGGate.Open()
	stack.Wait(t, soon, "the write accepted again", func() (bool, string) {
		a, err := s.Try(http.MethodPost, "/v1/selectorsyncsets", body)
		return err == nil && a.Status == http.StatusCreated, fmt.Sprint(err, a.Status, string(a.Body))
	})
	target.WaitData(2*time.Minute, ns, "cm", "k", "1")
}

func TestWritesSucceedWhileRabbitMQIsAwayAndArriveLater(t *testing.T) {
	t.Parallel()
	kube, target, s, ns := begin(t, "amqp", stack.Options{Gated: true})
	register(s, "fleet", "c", kube.Kubeconfig, map[string]string{"a": "b"})
	waitReachable(t, s, "fleet", "c", v1.ReasonReachable)
	s.RabbitGate.Shut()
	for i := range 5 {
		name := fmt.Sprintf("set-%d", i)
		s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet(name, "a", "b", []json.RawMessage{stack.ConfigMap(ns, name, "k", "1")}, nil), 201)
	}
	s.RabbitGate.Open()
	for i := range 5 {
		target.WaitData(2*time.Minute, ns, fmt.Sprintf("set-%d", i), "k", "1")
	}
}

func TestTheLongestNamesAndTheLargestDocumentsTravel(t *testing.T) {
	t.Parallel()
	kube, target, s, ns := begin(t, "large", stack.Options{})
	namespace := strings.Repeat("n", 63)
	name := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 61)
	if len(name) != 253 {
		t.Fatalf("the name has %d characters", len(name))
	}
	register(s, namespace, name, kube.Kubeconfig, nil)
	var resources []json.RawMessage
	for i := range 7 { // 7 x 430 KiB, near the body limit of 3 MiB
		resources = append(resources, stack.ConfigMap(ns, fmt.Sprintf("cm-%d", i), "k", strings.Repeat("x", 430<<10)))
	}
	body := map[string]any{
		"namespace": namespace, "name": name, "resources": resources, "clusterRefs": []map[string]string{{"name": name}},
	}
	payload, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if len(payload) < 2900<<10 || len(payload) > 3<<20 {
		t.Fatalf("the document has %d bytes", len(payload))
	}
	s.Do(http.MethodPost, "/v1/syncsets", payload, 201)
	waitResult(t, s, namespace, name, name, v1.ResultSuccess)
	if cm := target.ConfigMap(ns, "cm-6"); cm == nil || len(cm.Data["k"]) != 430<<10 {
		t.Error("the large object did not arrive whole")
	}
	s.Do(http.MethodPost, "/v1/syncsets", append(bytes.Repeat([]byte(" "), 1<<20), payload...), http.StatusRequestEntityTooLarge)
}

func TestNoSecretLeavesThroughAnswersEventsOrLogs(t *testing.T) {
	t.Parallel()
	kube := devstack.Kubernetes(t)
	s := stack.Start(t, stack.Options{})
	ch := channel(t, s)
	queue := subscribe(t, s, ch, "clusters", "clusters")
	const canary = "canary-7b1f0c55"
	kubeconfig := stack.TokenKubeconfig(kube.Host, nil, canary)
	register(s, "fleet", "c", kubeconfig, map[string]string{"a": "b"})
	stack.Wait(t, soon, "the target was tried", func() (bool, string) {
		cs, ok := clusterSync(t, s, "fleet", "c")
		return ok && cs.Status.LastRun != nil, fmt.Sprintf("%+v", cs)
	})
	s.Do(http.MethodPut, "/v1/clusters/fleet/c", map[string]any{"name": "c", "namespace": "fleet", "kubeconfig": kubeconfig + "\n# " + canary}, 200)
	paths := []string{
		"/v1/clusters", "/v1/clusters/fleet/c", "/v1/events/clusters", "/v1/clustersyncs", "/v1/clustersyncs/fleet/c", "/v1/setsyncs",
		"/v1/syncsets", "/v1/selectorsyncsets",
	}
	for _, p := range s.All() {
		for _, path := range paths {
			for _, addr := range []string{p.Public, p.Admin} {
				a, err := stack.Request(t.Context(), http.MethodGet, "http://"+addr+path, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				if contains(a.Body, canary) {
					t.Errorf("GET %s at %s shows the secret: %s", path, p.Name, a.Body)
				}
			}
		}
		metrics, err := stack.Request(t.Context(), http.MethodGet, "http://"+p.Admin+"/metrics", nil, nil)
		if err != nil || contains(metrics.Body, canary) {
			t.Errorf("metrics of %s: %v", p.Name, err)
		}
		if strings.Contains(p.Log(), canary) {
			t.Errorf("the log of %s shows the secret", p.Name)
		}
	}
	for range 2 {
		if m := collect(t, queue, 1)[0]; contains(m.Body, canary) {
			t.Errorf("event %s shows the secret", m.RoutingKey)
		}
	}
	var plain int
	row := s.PG.Pool.QueryRow(t.Context(), `SELECT
		(SELECT count(*) FROM clusters.kubeconfigs k WHERE encode(k.sealed, 'escape') LIKE '%' || $1 || '%') +
		(SELECT count(*) FROM clusters.clusters c WHERE c.document::text LIKE '%' || $1 || '%') +
		(SELECT count(*) FROM clusters.revisions c WHERE c.document::text LIKE '%' || $1 || '%') +
		(SELECT count(*) FROM reconciler.credentials k WHERE encode(k.sealed, 'escape') LIKE '%' || $1 || '%')`, canary)
	if err := row.Scan(&plain); err != nil || plain != 0 {
		t.Errorf("%d rows hold the secret in the clear (%v)", plain, err)
	}
}

func TestBadConfigurationIsOneLineAndExit2(t *testing.T) {
	t.Parallel()
	s := stack.Start(t, stack.Options{Lazy: true})
	cases := []struct {
		name     string
		variable string
		value    string
	}{
		{"no database", "POSTGRES_PARAMS", ""},
		{"a database URL that cannot be parsed", "POSTGRES_PARAMS", "postgres://:::"},
		{"a broker URL that cannot be parsed", "AMQP_URL", "rabbit"},
		{"an unknown access mode", "AUTH", "maybe"},
		{"no access control on every interface", "LISTEN_ADDR", "0.0.0.0:0"},
		{"seal keys that are none", "SEAL_KEYS", "secret"},
		{"an unknown migration mode", "MIGRATE", "sometimes"},
		{"an unknown log level", "LOG_LEVEL", "loud"},
	}
	for _, p := range s.All() {
		for _, c := range cases {
			if p.Service == "syncsets" && c.variable == "SEAL_KEYS" {
				continue // keeps no sealed values yet
			}
			t.Run(p.Name+" with "+c.name, func(t *testing.T) {
				before, log := p.Env(c.variable), len(p.Log())
				p.SetEnv(c.variable, c.value)
				p.Start()
				code := p.Wait(20 * time.Second)
				p.SetEnv(c.variable, before)
				said := strings.TrimSpace(p.Log()[log:])
				if code != 2 || strings.Count(said, "\n") != 0 || !strings.Contains(said, c.variable) {
					t.Errorf("exit code %d, said: %s; want 2 and one line that names %s", code, said, c.variable)
				}
			})
		}
	}
}

// At rest everything still polls, renews and looks around, and none of it is news: two bookmarks, so 15 s at least, may add no line.
func TestAQuietSystemLogsNothing(t *testing.T) {
	t.Parallel()
	kube, _, s, ns := begin(t, "quiet", stack.Options{Env: map[string]string{"LOG_LEVEL": "info"}})
	register(s, "fleet", "c", kube.Kubeconfig, map[string]string{"a": "b"})
	s.Do(http.MethodPost, "/v1/selectorsyncsets", selectorSet("set", "a", "b", []json.RawMessage{stack.ConfigMap(ns, "cm", "k", "1")}, nil), 201)
	waitResult(t, s, "fleet", "c", "set", v1.ResultSuccess)
	bookmarks := subscribe(t, s, channel(t, s), "clusters", "clusters.bookmark")
	awaitBookmark(t, bookmarks)
	before := map[string]string{}
	for _, p := range s.All() {
		before[p.Name] = p.Log()
		if lines := strings.Count(before[p.Name], "\n"); lines > 60 {
			t.Errorf("%s wrote %d lines to get ready and apply one set:\n%s", p.Name, lines, before[p.Name])
		}
	}
	awaitBookmark(t, bookmarks)
	for _, p := range s.All() {
		if added := strings.TrimPrefix(p.Log(), before[p.Name]); added != "" {
			t.Errorf("%s logged while nothing happened:\n%s", p.Name, added)
		}
	}
}

func awaitBookmark(t *testing.T, bookmarks <-chan amqp091.Delivery) {
	t.Helper()
	select {
	case <-bookmarks:
	case <-time.After(soon):
		t.Fatalf("no bookmark within %s", soon)
	}
}

func contains(body []byte, what string) bool { return bytes.Contains(body, []byte(what)) }
