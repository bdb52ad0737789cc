package installation_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/installation"
)

const id = "0b2f4a5e-3a60-4c83-8c43-6d6b3a3b1f10"

func TestWaitAsksUntilTheIDIsTold(t *testing.T) {
	t.Parallel()
	answers := []func(http.ResponseWriter){
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"id": ""}`)) },
		func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"id": "` + id + `"}`)) },
	}
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != installation.Path || r.Header.Get("Authorization") != "Bearer t" {
			t.Errorf("asked for %s with %q", r.URL.Path, r.Header.Get("Authorization"))
		}
		answers[asked.Add(1)-1](w)
	}))
	t.Cleanup(server.Close)
	got, err := installation.Wait(t.Context(), server.URL+"/", "t", slog.New(slog.DiscardHandler))
	if err != nil || got != id || asked.Load() != 3 {
		t.Errorf("%q, %v after %d requests", got, err, asked.Load())
	}
}

func TestAnotherSystemIsAConflictThatNamesBoth(t *testing.T) {
	t.Parallel()
	if err := installation.Check("syncsets", id, id); err != nil {
		t.Error(err)
	}
	err := installation.Check("syncsets", id, "other")
	if !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), "other") {
		t.Errorf("%v", err)
	}
}
