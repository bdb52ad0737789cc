package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Answer is one HTTP answer with its body read.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	At     time.Time // when the whole answer was there
}

// JSON decodes the body into a T, or fails the test.
func JSON[T any](t testing.TB, a Answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(a.Body, &v); err != nil {
		t.Fatalf("answer %d is not what was expected: %v\n%s", a.Status, err, a.Body)
	}
	return v
}

// Do sends a request to the service that owns the path and returns the answer; body is a string, bytes, or marshalled as JSON.
// It fails the test when want is given and the status is none of them.
func (s *Stack) Do(method, path string, body any, want ...int) Answer {
	s.t.Helper()
	a, err := s.Try(method, path, body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	for _, w := range want {
		if a.Status == w {
			return a
		}
	}
	if len(want) > 0 {
		s.t.Fatalf("%s %s: got %d, want %v: %s", method, path, a.Status, want, a.Body)
	}
	return a
}

// Try is Do that returns connection errors.
func (s *Stack) Try(method, path string, body any) (Answer, error) {
	return Request(context.Background(), method, "http://"+s.owner(path).Public+path, body, nil)
}

// owner picks the first replica of the service that serves path.
func (s *Stack) owner(path string) *Process {
	switch {
	case strings.HasPrefix(path, "/v1/clustersyncs"), strings.HasPrefix(path, "/v1/setsyncs"):
		return s.Reconciler[0]
	case strings.HasPrefix(path, "/v1/clusters"):
		return s.Clusters[0]
	}
	return s.Syncsets[0]
}

// Request sends one request with optional headers and reads the answer.
func Request(ctx context.Context, method, url string, body any, header http.Header) (Answer, error) {
	payload, err := encode(body)
	if err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, payload)
	if err != nil {
		return Answer{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return Answer{Status: res.StatusCode, Header: res.Header, Body: b, At: time.Now()}, err
}

func encode(body any) (io.Reader, error) {
	switch b := body.(type) {
	case nil:
		return nil, nil
	case string:
		return strings.NewReader(b), nil
	case []byte:
		return bytes.NewReader(b), nil
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode body: %w", err)
	}
	return bytes.NewReader(b), nil
}
