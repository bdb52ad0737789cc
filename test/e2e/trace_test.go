package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/test/stack"
)

// The caller's own span: the root of what follows.
const callerTrace, callerSpan = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

func TestOneTraceFromTheWriteToTheTarget(t *testing.T) {
	t.Parallel()
	w := newTracedWrite(t)
	w.create()
	w.assertChain()
}

func TestTheTraceSurvivesARestartBetweenOutboxAndRelay(t *testing.T) {
	t.Parallel()
	w := newTracedWrite(t)
	ctx := context.Background()
	tx, err := w.s.PG.Pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := tx.Exec(ctx, "SELECT FROM syncsets.relay WHERE one FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	w.create()
	stack.Wait(t, soon, "the write's span exported", func() (bool, string) {
		return w.serverSpan() != "", "not collected"
	})
	w.s.Syncsets[0].Kill()
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	w.s.Syncsets[0].Start()
	w.s.Syncsets[0].WaitReady(soon)
	w.assertChain()
}

type tracedWrite struct {
	t      *testing.T
	s      *stack.Stack
	spans  *stack.Spans
	proxy  *stack.Proxy
	target *stack.Target
	ns     string
}

func newTracedWrite(t *testing.T) *tracedWrite {
	t.Helper()
	kube, spans := devstack.Kubernetes(t), stack.NewSpans(t)
	w := &tracedWrite{
		t: t, spans: spans, proxy: stack.NewProxy(t, kube.Kubeconfig), target: stack.NewTarget(t, kube.Kubeconfig),
		s: stack.Start(t, stack.Options{Env: spans.Env()}), ns: unique("trace"),
	}
	w.target.Namespace(w.ns)
	register(w.s, "fleet", "c", w.proxy.Kubeconfig, map[string]string{"a": "b"})
	waitReachable(t, w.s, "fleet", "c", "Reachable")
	return w
}

func (w *tracedWrite) create() {
	w.t.Helper()
	body := selectorSet("traced", "a", "b", []json.RawMessage{stack.ConfigMap(w.ns, "cm", "k", "1")}, nil)
	header := http.Header{"Traceparent": {fmt.Sprintf("00-%s-%s-01", callerTrace, callerSpan)}}
	a, err := stack.Request(context.Background(), http.MethodPost, "http://"+w.s.Syncsets[0].Public+"/v1/selectorsyncsets", body, header)
	if err != nil || a.Status != http.StatusCreated {
		w.t.Fatalf("create: %v %d %s", err, a.Status, a.Body)
	}
}

// serverSpan is the id of the span that the POST got in the syncsets service.
func (w *tracedWrite) serverSpan() string {
	for _, span := range w.spans.All() {
		if span.Trace == callerTrace && span.Parent == callerSpan && span.Service == "syncsets" {
			return span.ID
		}
	}
	return ""
}

// assertChain follows the traceparent that the target received with the PATCH, parent by parent, up to the caller's span.
func (w *tracedWrite) assertChain() {
	w.t.Helper()
	w.target.WaitData(soon, w.ns, "cm", "k", "1")
	patch := w.patch()
	parts := strings.Split(patch.Traceparent, "-")
	if len(parts) != 4 || parts[1] != callerTrace {
		w.t.Fatalf("the PATCH carried traceparent %q, want trace %s", patch.Traceparent, callerTrace)
	}
	var chain []stack.Span
	stack.Wait(w.t, soon, "every span from the PATCH up to the caller's", func() (bool, string) {
		chain = w.spans.Chain(parts[2])
		return len(chain) > 0 && chain[len(chain)-1].Parent == callerSpan, fmt.Sprintf("%+v", chain)
	})
	// From the target backwards: each step must come after the one before.
	steps := []struct{ service, word string }{
		{"reconciler", "patch"},
		{"reconciler", "process reconciler.apply"},
		{"reconciler", "publish reconciler.apply"},
		{"reconciler", "fan out"},
		{"reconciler", "plan selectorsyncsets"},
		{"syncsets", "publish"},
		{"syncsets", "post /v1/selectorsyncsets"},
	}
	at := 0
	for _, span := range chain {
		if span.Trace != callerTrace {
			w.t.Errorf("span %s of another trace in the chain", span.Name)
		}
		if at < len(steps) && span.Service == steps[at].service && strings.Contains(strings.ToLower(span.Name), steps[at].word) {
			at++
		}
	}
	if at < len(steps) {
		w.t.Errorf("step %+v is missing from the chain (in this order):\n%s", steps[at], names(chain))
	}
	if top := chain[len(chain)-1]; top.Kind != "SPAN_KIND_SERVER" {
		w.t.Errorf("the chain begins with %+v, want the HTTP server's span", top)
	}
}

func (w *tracedWrite) patch() stack.Recorded {
	w.t.Helper()
	for _, r := range w.proxy.Requests() {
		if r.Method == http.MethodPatch && strings.HasSuffix(r.Path, "/configmaps/cm") {
			return r
		}
	}
	w.t.Fatal("no PATCH was seen at the target")
	return stack.Recorded{}
}

func names(chain []stack.Span) string {
	var b strings.Builder
	for _, s := range chain {
		fmt.Fprintf(&b, "%s: %s (%s)\n", s.Service, s.Name, s.Kind)
	}
	return b.String()
}
