package stack

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Recorded is one request that a Proxy passed on.
type Recorded struct {
	Method, Path, Query    string
	Traceparent, UserAgent string
	Status                 int
	Received, Answered     time.Time
}

// Proxy stands before a Kubernetes API server, records what passes, and lets a test hold a request or cut an answer. It is the
// target's side of the truth: an oracle believes it rather than the system's own status.
type Proxy struct {
	Kubeconfig string // points at the proxy; passes as cluster-admin

	server *httptest.Server
	mu     sync.Mutex
	seen   []Recorded
	before func(*http.Request)
	after  func(*http.Request, int)
}

// NewProxy starts a proxy in front of the API server that kubeconfig names.
func NewProxy(t testing.TB, kubeconfig string) *Proxy {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	upstream, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{}
	reverse := httputil.NewSingleHostReverseProxy(upstream)
	reverse.Transport = transport
	reverse.FlushInterval = -1
	p.server = httptest.NewUnstartedServer(p.record(reverse))
	p.server.EnableHTTP2 = true
	p.server.StartTLS()
	t.Cleanup(p.server.CloseClientConnections)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	p.Kubeconfig = TokenKubeconfig(p.server.URL, ca, "passes-through-the-proxy")
	return p
}

// TokenKubeconfig writes a kubeconfig with embedded data for a server, its CA (PEM) and a bearer token.
func TokenKubeconfig(server string, ca []byte, token string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: target
clusters:
- name: target
  cluster: {server: %q, certificate-authority-data: %s}
users:
- name: target
  user: {token: %q}
contexts:
- name: target
  context: {cluster: target, user: target}
`, server, base64.StdEncoding.EncodeToString(ca), token)
}

// Before sets what is called with each request before it is passed on; it may block. nil takes it away.
func (p *Proxy) Before(f func(*http.Request)) { p.mu.Lock(); p.before = f; p.mu.Unlock() }

// After sets what is called with each request and its status before the answer is passed back; it may block. nil takes it away.
func (p *Proxy) After(f func(*http.Request, int)) { p.mu.Lock(); p.after = f; p.mu.Unlock() }

// Requests returns what has passed so far, in the order of arrival.
func (p *Proxy) Requests() []Recorded {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Recorded(nil), p.seen...)
}

// Reset forgets what has passed.
func (p *Proxy) Reset() { p.mu.Lock(); p.seen = nil; p.mu.Unlock() }

func (p *Proxy) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entry := Recorded{
			Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Received: time.Now(),
			Traceparent: r.Header.Get("Traceparent"), UserAgent: r.UserAgent(),
		}
		p.mu.Lock()
		index, before := len(p.seen), p.before
		p.seen = append(p.seen, entry)
		p.mu.Unlock()
		// The request is whole before anything is done about it: a sender that stops from now on has sent it.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if before != nil {
			before(r)
		}
		r.Header.Del("Authorization")
		// What has been sent arrives, even when its sender has given up meanwhile.
		r = r.WithContext(context.WithoutCancel(r.Context()))
		next.ServeHTTP(&tap{ResponseWriter: w, proxy: p, request: r, index: index}, r)
	})
}

// tap notes the status of an answer and calls the After hook before the first byte goes back.
type tap struct {
	http.ResponseWriter
	proxy   *Proxy
	request *http.Request
	index   int
}

// WriteHeader implements http.ResponseWriter.
func (t *tap) WriteHeader(status int) {
	t.proxy.mu.Lock()
	if t.index < len(t.proxy.seen) {
		t.proxy.seen[t.index].Status, t.proxy.seen[t.index].Answered = status, time.Now()
	}
	after := t.proxy.after
	t.proxy.mu.Unlock()
	if after != nil {
		after(t.request, status)
	}
	t.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (t *tap) Unwrap() http.ResponseWriter { return t.ResponseWriter }
