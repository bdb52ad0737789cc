package door_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/syncsets/syncsets/cmd/devstack/internal/door"
	"github.com/syncsets/syncsets/k8s"
)

var routes = k8s.Routes{{Path: "/v1/clusters", Service: "clusters"}, {Path: "/v1/syncsets", Service: "syncsets"}}

// open serves the door for one backend (clusters); syncsets is an address where nobody listens.
func open(t *testing.T, clusters http.HandlerFunc) string {
	t.Helper()
	backend := httptest.NewServer(clusters)
	t.Cleanup(backend.Close)
	backends := map[string]string{"clusters": backend.Listener.Addr().String(), "syncsets": "127.0.0.1:1"}
	front := httptest.NewServer(door.Handler(routes, backends, slog.New(slog.DiscardHandler)))
	t.Cleanup(front.Close)
	return front.URL
}

func TestTheDoorPassesRequestsOnAsTheyAre(t *testing.T) {
	t.Parallel()
	url := open(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Path)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, r.Host+" "+r.URL.RequestURI())
	})
	res, err := http.Get(url + "/v1/clusters/a%2Fb?limit=1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(url, "http://") + " /v1/clusters/a%2Fb?limit=1"
	if string(body) != want || res.StatusCode != http.StatusCreated {
		t.Errorf("the service saw %q (%d), want %q", body, res.StatusCode, want)
	}
}

func TestTheDoorAnswersProblemsItself(t *testing.T) {
	t.Parallel()
	url := open(t, func(http.ResponseWriter, *http.Request) {})
	cases := []struct {
		name, path string
		status     int
		retry      string
		kind       string
	}{
		{"no service has the path", "/internal/v1/installation", http.StatusNotFound, "", "urn:syncsets:problem:not_found"},
		{"the service does not answer", "/v1/syncsets", http.StatusServiceUnavailable, "1", "urn:syncsets:problem:unavailable"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			const id, trace = "the-callers-own", "4bf92f3577b34da6a3ce929d0e0e4736"
			req.Header.Set("X-Request-Id", id)
			req.Header.Set("Traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.Header.Get("X-Request-Id") != id || !strings.HasPrefix(res.Header.Get("Traceparent"), "00-"+trace+"-") {
				t.Errorf("the answer does not belong to its request: %v", res.Header)
			}
			var problem struct{ Type string }
			if err := json.NewDecoder(res.Body).Decode(&problem); err != nil || problem.Type != c.kind {
				t.Errorf("type %q (%v), want %q", problem.Type, err, c.kind)
			}
			if res.StatusCode != c.status || res.Header.Get("Retry-After") != c.retry {
				t.Errorf("got %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
			}
			if got := res.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("Content-Type is %q", got)
			}
		})
	}
}

func TestAnAnswerOfTheDoorsIsIdentifiedWhateverTheRequestSays(t *testing.T) {
	t.Parallel()
	res, err := http.Get(open(t, func(http.ResponseWriter, *http.Request) {}) + "/nowhere")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("X-Request-Id") == "" || res.Header.Get("Traceparent") == "" {
		t.Errorf("headers %v", res.Header)
	}
}

func TestTheDoorStreamsLineByLine(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	url := open(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-next:
		case <-r.Context().Done():
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/clusters", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	line, err := bufio.NewReader(res.Body).ReadString('\n')
	if err != nil || line != "first\n" {
		t.Errorf("read %q, %v while the answer was still open", line, err)
	}
	close(next)
}

func TestATakenPortIsSaid(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, err = door.Listen(t.Context(), other.Addr().(*net.TCPAddr).Port)
	if !errors.Is(err, door.ErrTaken) {
		t.Errorf("got %v, want ErrTaken", err)
	}
}

func TestServeLetsRequestsInFlightFinish(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	begun := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-ctx.Done()
		_, _ = io.WriteString(w, "finished")
	})
	served := make(chan error, 1)
	go func() { served <- door.Serve(ctx, handler, []net.Listener{listener}) }()
	answer := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		answer <- string(b)
	}()
	<-begun
	stop()
	if got := <-answer; got != "finished" {
		t.Errorf("the request in flight got %q", got)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
