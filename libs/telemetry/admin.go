package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/syncsets/syncsets/libs/errs"
)

// checkTimeout bounds one round of readiness checks.
const checkTimeout = 2 * time.Second

// AddCheck makes readiness depend on check. A later check of the same name replaces the earlier.
func (t *Telemetry) AddCheck(name string, check Check) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.checks[name] = check
}

// Admin serves /version, /livez, /readyz, /metrics and /debug/pprof. Liveness only says that the process answers.
func (t *Telemetry) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, t.version) })
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", t.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(t.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func (t *Telemetry) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	status, word := http.StatusOK, "ok"
	results := t.runChecks(ctx)
	for _, result := range results {
		if result != "ok" {
			status, word = http.StatusServiceUnavailable, "not ready"
		}
	}
	writeJSON(w, status, map[string]any{"status": word, "checks": results})
}

func (t *Telemetry) runChecks(ctx context.Context) map[string]string {
	t.mu.Lock()
	checks := maps.Clone(t.checks)
	t.mu.Unlock()
	results := map[string]string{}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for name, check := range checks {
		wait.Go(func() {
			result := describe(check(ctx))
			mu.Lock()
			defer mu.Unlock()
			results[name] = result
		})
	}
	wait.Wait()
	return results
}

// describe shows only messages that are meant for callers.
func describe(err error) string {
	if err == nil {
		return "ok"
	}
	var known *errs.Error
	if errors.As(err, &known) {
		return known.Message
	}
	return "does not answer"
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The only failure left is a connection that is gone.
	_ = json.NewEncoder(w).Encode(value)
}

// buildVersion says what runs: the version, the commit that it was built from, and the Go release.
func buildVersion(o Options) map[string]string {
	about := map[string]string{"service": o.Service, "version": o.Version}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return about
	}
	about["go"] = info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			about["commit"] = s.Value
		case "vcs.modified":
			about["modified"] = s.Value
		}
	}
	return about
}
