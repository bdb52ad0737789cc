package kube_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/kubeconfig"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/kube"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

func TestMain(m *testing.M) { devstack.Main(m) }

const setUID = "00000000-0000-0000-0000-00000000000a"

// world is a connection to a real target through a front that sees each request.
type world struct {
	t            *testing.T
	host         string
	client       *http.Client // believes nothing that the connection says
	front        *front
	conn         work.Target
	installation string
	ns           string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	text := devstack.Kubernetes(t).Kubeconfig
	config, err := kubeconfig.Load(text, kubeconfig.Policy{AllowLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, host: config.Host, installation: uuid.NewString(), ns: "t-" + uuid.NewString()[:8]}
	if w.client, err = rest.HTTPClientFor(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.CloseIdleConnections)
	w.front = newFront(t, config)
	w.conn = w.connect(w.front.through(t, text))
	w.post("/api/v1/namespaces", fmt.Sprintf(`{"metadata":{"name":%q}}`, w.ns))
	return w
}

// connect opens a connection that knows who answers.
func (w *world) connect(text string) work.Target {
	w.t.Helper()
	pool, err := kube.New(kube.Config{Policy: kubeconfig.Policy{AllowLoopback: true}, Installation: w.installation})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(pool.Close)
	conn, err := pool.Connect(w.t.Context(), uuid.NewString(), 1, func() (string, error) { return text, nil })
	if err != nil {
		w.t.Fatal(err)
	}
	if _, _, err := conn.Identify(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

// do sends one request as somebody with a field manager.
func (w *world) do(method, path, contentType, manager, body string) (int, []byte) {
	w.t.Helper()
	if manager != "" {
		path += "?fieldManager=" + manager
	}
	r, err := http.NewRequestWithContext(context.WithoutCancel(w.t.Context()), method, w.host+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	response, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response.StatusCode, text
}

func (w *world) must(method, path, contentType, manager, body string) []byte {
	w.t.Helper()
	status, text := w.do(method, path, contentType, manager, body)
	if status >= http.StatusMultipleChoices {
		w.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

func (w *world) post(path, body string) {
	w.t.Helper()
	w.must("POST", path, "application/json", "", body)
}

// merge changes an object as somebody.
func (w *world) merge(path, manager, body string) {
	w.t.Helper()
	w.must("PATCH", path, "application/merge-patch+json", manager, body)
}

// get returns the object; nil when there is none.
func (w *world) get(path string) map[string]any {
	w.t.Helper()
	status, text := w.do("GET", path, "application/json", "", "")
	if status == http.StatusNotFound {
		return nil
	}
	var o map[string]any
	if err := json.Unmarshal(text, &o); err != nil || status != http.StatusOK {
		w.t.Fatalf("GET %s: %d %s", path, status, text)
	}
	return o
}

// at returns a field of an object as JSON; "" when there is none.
func (w *world) at(path string, field ...string) string {
	w.t.Helper()
	var value any = w.get(path)
	for _, name := range field {
		m, _ := value.(map[string]any)
		value = m[name]
	}
	if value == nil {
		return ""
	}
	text, _ := json.Marshal(value)
	return string(text)
}

// configMaps is where the ConfigMaps of the test's namespace are.
func (w *world) configMaps(name ...string) string {
	return strings.Join(append([]string{"/api/v1/namespaces/" + w.ns + "/configmaps"}, name...), "/")
}

// step renders an object as a set does, to be sent by an action.
func (w *world) step(action decide.Action, resource, object string) decide.Step {
	w.t.Helper()
	marks := render.Marks{Owner: "SyncSet foo/first", OwnerUID: setUID, Installation: w.installation}
	spec := v1.SetSpec{Resources: []json.RawMessage{json.RawMessage(strings.ReplaceAll(object, "NS", w.ns))}}
	items := render.Parse(spec, marks).Render(render.Facts{}, nil, func(text []byte) []byte { return text })
	item := items[0]
	if item.Fault != "" {
		w.t.Fatal(item.Fault)
	}
	return decide.Step{
		Action: action, SetUID: setUID, Identity: item.Identity, Version: item.Version, Resource: resource, Object: item.Object,
		Row: inventory.Row{Identity: item.Identity, SetUID: setUID, Version: item.Version, Resource: resource},
	}
}

// configMap is the step for a ConfigMap with data.
func (w *world) configMap(action decide.Action, name, data string) decide.Step {
	w.t.Helper()
	return w.step(action, "configmaps", fmt.Sprintf(
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"NS"},"data":%s}`, name, data))
}

func (w *world) apply(s decide.Step) work.Applied {
	w.t.Helper()
	applied, err := w.conn.Apply(w.t.Context(), s)
	if err != nil {
		w.t.Fatal(err)
	}
	return applied
}

// refused applies what has to fail and returns why.
func (w *world) refused(s decide.Step) string {
	w.t.Helper()
	applied, err := w.conn.Apply(w.t.Context(), s)
	if err == nil {
		w.t.Fatalf("%s %s went through: %+v", s.Action, s.Identity, applied)
	}
	var unreachable *work.Unreachable
	if asUnreachable(err, &unreachable) {
		w.t.Fatalf("a refusal is taken for a lost target: %v", err)
	}
	return err.Error()
}

// known returns a step as the inventory makes it after an apply.
func known(s decide.Step, a work.Applied) decide.Step {
	s.Row.ObjectUID, s.Row.ResourceVersion, s.Row.Fields, s.Absent = a.UID, a.ResourceVersion, a.Fields, false
	return s
}

func refOf(s decide.Step) decide.Ref {
	return decide.Ref{Identity: s.Identity, Version: s.Version, Resource: s.Resource}
}

func (w *world) verify(refs ...decide.Ref) map[inventory.Identity]decide.Seen {
	w.t.Helper()
	seen, err := w.conn.Verify(w.t.Context(), refs)
	if err != nil {
		w.t.Fatal(err)
	}
	return seen
}

func (w *world) observe(s decide.Step) decide.Observed {
	w.t.Helper()
	seen, err := w.conn.Observe(w.t.Context(), []decide.Ref{refOf(s)})
	if err != nil {
		w.t.Fatal(err)
	}
	return seen[s.Identity]
}

// until waits for a condition.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain until %s", what)
		}
		_, _ = w.do("GET", "/readyz", "", "", "") // a round trip between two looks
	}
}

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func contains(t *testing.T, what, got string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("%s: %q does not contain %q", what, got, part)
		}
	}
}

// front stands before a real API server, notes each request and may answer one itself.
type front struct {
	*httptest.Server
	mu     sync.Mutex
	seen   []string
	answer func(http.ResponseWriter, *http.Request) bool
	before func(*http.Request)
}

func newFront(t *testing.T, config *rest.Config) *front {
	t.Helper()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	anonymous, err := rest.TransportFor(rest.AnonymousClientConfig(config))
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{}
	proxy := &httputil.ReverseProxy{Transport: credentials{transport, anonymous}, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(at) }}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, r.Method+" "+r.URL.Path)
		answer, before := f.answer, f.before
		f.mu.Unlock()
		if before != nil {
			before(r)
		}
		if answer == nil || !answer(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	f.EnableHTTP2 = true
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

// credentials sends what brings a token of its own without the administrator's certificate.
type credentials struct{ certificate, none http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (c credentials) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") != "" {
		return c.none.RoundTrip(r)
	}
	return c.certificate.RoundTrip(r)
}

// answering lets the front answer requests itself for which answer returns true.
func (f *front) answering(answer func(http.ResponseWriter, *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// meddling calls before ahead of each request.
func (f *front) meddling(before func(*http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = before
}

// requests returns what came since it was asked last.
func (f *front) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen
	f.seen = nil
	return seen
}

// through returns a kubeconfig that leads to the front.
func (f *front) through(t *testing.T, text string) string {
	t.Helper()
	var config map[string]any
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	cluster := config["clusters"].([]any)[0].(map[string]any)["cluster"].(map[string]any)
	cluster["server"] = f.URL
	cluster["certificate-authority-data"] = base64.StdEncoding.EncodeToString(authority)
	out, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(out))
}

// refuse answers with a Kubernetes status.
func refuse(w http.ResponseWriter, code int, reason, message string) bool {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":%q,"code":%d}`, reason, message, code)
	return true
}
