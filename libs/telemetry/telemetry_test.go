package telemetry_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/telemetry"
)

// setup makes the process-wide providers, so tests that use it do not run in parallel.
func setup(t *testing.T, log *strings.Builder) *telemetry.Telemetry {
	t.Helper()
	s, err := telemetry.Setup(t.Context(), telemetry.Options{Service: "test", Version: "v1.2.3", Level: slog.LevelInfo, Output: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(t *testing.T, s *telemetry.Telemetry, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.Admin().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestReadinessFollowsItsChecksAndLivenessDoesNot(t *testing.T) {
	s := setup(t, &strings.Builder{})
	tests := []struct {
		reason string
		result error
		status int
		shown  string
	}{
		{"a part that works", nil, http.StatusOK, `"part":"ok"`},
		{"a part that is away", errs.New(errs.Unavailable, "the part is away"), http.StatusServiceUnavailable, "the part is away"},
		{"a cause that nobody classified", errors.New("a secret"), http.StatusServiceUnavailable, `"part":"does not answer"`},
	}
	for _, test := range tests {
		s.AddCheck("part", func(context.Context) error { return test.result })
		status, text := get(t, s, "/readyz")
		if status != test.status || !strings.Contains(text, test.shown) || strings.Contains(text, "secret") {
			t.Errorf("%s: %d %s", test.reason, status, text)
		}
		if status, _ := get(t, s, "/livez"); status != http.StatusOK {
			t.Errorf("%s: liveness is %d", test.reason, status)
		}
	}
}

func TestTheAdminListenerShowsVersionMetricsAndProfiles(t *testing.T) {
	s := setup(t, &strings.Builder{})
	counter, err := otel.Meter("test").Int64Counter("test.things")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 7)
	for path, want := range map[string]string{
		"/version": `"version":"v1.2.3"`, "/metrics": "test_things_total{", "/debug/pprof/": "goroutine",
	} {
		if status, text := get(t, s, path); status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d without %q", path, status, want)
		}
	}
}

func TestLogLinesCarryTheTrace(t *testing.T) {
	var log strings.Builder
	s := setup(t, &log)
	ctx, span := otel.Tracer("test").Start(t.Context(), "work")
	defer span.End()
	s.Log.With("a", 1).InfoContext(ctx, "done")
	s.Log.DebugContext(ctx, "not shown")
	var line map[string]any
	if err := json.Unmarshal([]byte(log.String()), &line); err != nil {
		t.Fatalf("%v in %s", err, log.String())
	}
	if line["trace_id"] != span.SpanContext().TraceID().String() || line["service"] != "test" {
		t.Errorf("line is %v", line)
	}
}
