package work_test

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/syncsets/syncsets/libs/kubeconfig"
)

// front stands before a real API server. It can drop all network connections, and say that another cluster answers from then on.
type front struct {
	*httptest.Server
	another atomic.Bool
	writes  atomic.Int64 // that came while another cluster answered
}

func newFront(t *testing.T, text string, http2 bool) *front {
	t.Helper()
	config, err := kubeconfig.Load(text, kubeconfig.Policy{AllowLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{}
	proxy := &httputil.ReverseProxy{
		Transport:      transport,
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(at) },
		ModifyResponse: f.rename,
	}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.another.Load() && r.Method != http.MethodGet {
			f.writes.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	f.EnableHTTP2 = http2
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

// rename changes the uid of the kube-system namespace while another cluster answers.
func (f *front) rename(r *http.Response) error {
	if !f.another.Load() || r.Request.URL.Path != "/api/v1/namespaces/kube-system" {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	body = bytes.Replace(body, []byte(`"uid":"`), []byte(`"uid":"another-`), 1)
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// through returns a kubeconfig that leads to the front.
func (f *front) through(t *testing.T, text string) []byte {
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	return spoiled(t, text, func(cluster, _ map[string]any) {
		cluster["server"] = f.URL
		cluster["certificate-authority-data"] = base64.StdEncoding.EncodeToString(authority)
	})
}

func TestALostConnectionIsOnlyReplacedByOneToTheSameTarget(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name           string
		http2, another bool
	}{
		{"HTTP/2, the same target", true, false},
		{"HTTP/2, another target", true, true},
		{"HTTP/1.1, the same target", false, false},
		{"HTTP/1.1, another target", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			f := newFront(t, s.kube.Kubeconfig, test.http2)
			s.exec("UPDATE reconciler.credentials SET sealed = $1", f.through(t, s.kube.Kubeconfig))
			set := s.put("", "first", 1, nil, s.configMap("a", "1"), s.configMap("b", "1"))
			other := s.put("", "second", 1, nil, s.configMap("c", "1"), s.configMap("d", "1"))
			m := &meddling{beforeIntents: func() error {
				f.another.Store(test.another)
				f.CloseClientConnections()
				return nil
			}}
			pool := s.meddle(m)
			s.offer()
			pool.RunCluster(t.Context(), s.cluster)
			if err := <-m.settled; err != nil {
				t.Fatal(err)
			}
			if !test.another {
				expect(t, "the reason", s.reason(), "True/Reachable")
				expect(t, "the result", s.result(set), "Success/: ")
				expect(t, "the other's result", s.result(other), "Success/: ")
				return
			}
			expect(t, "writes to another target", strconv.FormatInt(f.writes.Load(), 10), "0")
			expect(t, "the reason", s.reason(), "False/IdentityChanged")
			if got := s.result(set); !strings.HasPrefix(got, "Pending/Unreachable: another cluster answers") {
				t.Errorf("the result is %q", got)
			}
		})
	}
}

func TestAConnectionThatWasClosedBetweenTwoRunsIsOpenedAgain(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	f := newFront(t, s.kube.Kubeconfig, true)
	s.exec("UPDATE reconciler.credentials SET sealed = $1", f.through(t, s.kube.Kubeconfig))
	set := s.put("", "first", 1, nil, s.configMap("a", "1"))
	s.run()
	f.CloseClientConnections()
	s.put(set, "first", 2, nil, s.configMap("a", "2"))
	s.run()
	expect(t, "the reason", s.reason(), "True/Reachable")
	expect(t, "the value", s.target.get(s.at("a")).Data["k"], "2")
}
