package client_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/syncsets/syncsets/cli/internal/client"
)

func TestErrorsSayInOneLineWhatToDo(t *testing.T) {
	t.Parallel()
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	page := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(page.Close)
	for name, tc := range map[string]struct{ server, want string }{
		"nothing listens":      {"http://user:hunter2@" + address, "does not answer: connection refused: is it running, and is --server or SYNCSETS_SERVER right?"},
		"no URL":               {"localhost:7070", `"localhost:7070" is no server: give a URL such as http://localhost:7070`},
		"something else there": {page.URL, "an answer that is not of SyncSets: is --server or SYNCSETS_SERVER right? (404)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := (&client.Client{Server: tc.server}).Do(t.Context(), client.Request{Method: http.MethodGet, Path: "/v1/clusters"})
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "connect: ", ""), tc.want) {
				t.Fatalf("%v, want %s", err, tc.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q shows a password or has two lines", err)
			}
		})
	}
}

func TestWarningsAreRead(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Warning", `299 - "no \"context\" is \\ there"`)
		w.Header().Add("Warning", `110 - "stale"`)
	}))
	t.Cleanup(server.Close)
	answer, err := (&client.Client{Server: server.URL}).Do(t.Context(), client.Request{Method: http.MethodGet, Path: "/"})
	if err != nil || len(answer.Warnings) != 1 || answer.Warnings[0] != `no "context" is \ there` {
		t.Errorf("%q, %v", answer.Warnings, err)
	}
}

func TestWhatIsNotThereIsNoFailure(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(map[string]int{"/none": http.StatusNotFound, "/away": http.StatusServiceUnavailable}[r.URL.Path])
		_, _ = w.Write([]byte(`{"status":0,"detail":"so it is"}`))
	}))
	t.Cleanup(server.Close)
	c := &client.Client{Server: server.URL}
	if _, there, err := c.Get(t.Context(), "/none"); there || err != nil {
		t.Errorf("%t, %v", there, err)
	}
	var problem *client.Problem
	if _, _, err := c.Get(t.Context(), "/away"); !errors.As(err, &problem) || !strings.Contains(err.Error(), "so it is (503): try again") {
		t.Errorf("%v", err)
	}
}
