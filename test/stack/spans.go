package stack

import (
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is one collected span; ids are lower-case hex, Parent is empty on a root.
type Span struct {
	Service, Name, Kind string
	Trace, ID, Parent   string
	Start, End          time.Time
}

// Spans is an OTLP receiver: services export to it, tests read it.
type Spans struct {
	URL string

	mu    sync.Mutex
	spans map[string]Span
}

// NewSpans starts a receiver for OTLP over HTTP.
func NewSpans(t testing.TB) *Spans {
	t.Helper()
	s := &Spans{spans: map[string]Span{}}
	server := httptest.NewServer(http.HandlerFunc(s.receive))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Env is what makes a service export to the receiver, soon after each span ends.
func (s *Spans) Env() map[string]string {
	return map[string]string{
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
		"OTEL_EXPORTER_OTLP_ENDPOINT": s.URL, "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_TRACES_SAMPLER": "always_on",
	}
}

// Get returns a span by its id.
func (s *Spans) Get(id string) (Span, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	span, ok := s.spans[id]
	return span, ok
}

// Chain returns the spans from id up to the first whose parent was not collected.
func (s *Spans) Chain(id string) []Span {
	var chain []Span
	for {
		span, ok := s.Get(id)
		if !ok {
			return chain
		}
		chain = append(chain, span)
		id = span.Parent
	}
}

func (s *Spans) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var request collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		service := ""
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				id := hex.EncodeToString(span.GetSpanId())
				s.spans[id] = Span{
					Service: service, Name: span.GetName(), Kind: span.GetKind().String(),
					Trace: hex.EncodeToString(span.GetTraceId()), ID: id, Parent: hex.EncodeToString(span.GetParentSpanId()),
					Start: time.Unix(0, int64(span.GetStartTimeUnixNano())), End: time.Unix(0, int64(span.GetEndTimeUnixNano())),
				}
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// All returns what has been collected so far, in no order.
func (s *Spans) All() []Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.spans))
}
