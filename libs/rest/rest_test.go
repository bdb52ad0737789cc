package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/rest"
)

// note is a small document.
type note struct {
	v1.Metadata
	Text   string            `json:"text,omitempty"`
	Secret *string           `json:"secret,omitempty" null:"refused"`
	Count  int32             `json:"count,omitempty"`
	Tags   []string          `json:"tags,omitempty"`
	Parts  []part            `json:"parts,omitempty"`
	Any    json.RawMessage   `json:"any,omitempty"`
	Pairs  map[string]string `json:"pairs,omitempty"`
	On     bool              `json:"on,omitempty"`
}

type part struct {
	Name string `json:"name"`
}

func validateNote(n *note) []errs.Field {
	if n.Text == "" {
		return []errs.Field{{Path: "text", Message: "is required"}}
	}
	return nil
}

// behaviour is what the operation under test does.
type behaviour func(ctx context.Context, n note) (rest.Result[note], error)

func newServer(t *testing.T, do behaviour) *httptest.Server {
	t.Helper()
	a := rest.NewAPI(rest.Options{Service: "test", Auth: auth.NewNone(), Log: slog.New(slog.DiscardHandler), Timeout: 200 * time.Millisecond})
	route := func(method, path string) rest.Route {
		return rest.Route{Operation: method + path, Method: method, Path: path, Verb: auth.Write, Resource: "notes"}
	}
	rest.Handle(a, route(http.MethodPost, "/notes"),
		func(ctx context.Context, r rest.Create[note]) (rest.Result[note], error) { return do(ctx, r.Document) }, rest.CreateOf(validateNote))
	rest.Handle(a, route(http.MethodPut, "/notes/{namespace}/{name}"),
		func(ctx context.Context, r rest.Put[note]) (rest.Result[note], error) { return do(ctx, r.Document) }, rest.PutOf[note](validateNote))
	rest.Handle(a, route(http.MethodGet, "/notes/{namespace}/{name}"),
		func(_ context.Context, k rest.Key) (note, error) {
			return note{Metadata: v1.Metadata{Name: k.Name, UID: "u", ResourceVersion: "7"}}, nil
		}, rest.KeyOf)
	list := route(http.MethodGet, "/notes")
	list.Query = rest.ListParameters
	rest.Handle(a, list, func(_ context.Context, q rest.ListQuery) (rest.ListQuery, error) { return q, nil }, rest.ListOf)
	remove := route(http.MethodDelete, "/notes/{namespace}/{name}")
	remove.Status = http.StatusNoContent
	rest.Handle(a, remove, func(context.Context, rest.Delete) (rest.None, error) { return rest.None{}, nil }, rest.DeleteOf)
	server := httptest.NewServer(a.Handler())
	t.Cleanup(server.Close)
	return server
}

func keep(_ context.Context, n note) (rest.Result[note], error) {
	n.UID, n.ResourceVersion = "u", "1"
	return rest.Result[note]{Document: n, Created: true, Location: "/notes/" + n.Key()}, nil
}

type problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail"`
	Errors []errs.Field `json:"errors"`
}

// call sends a request; headers are "Name: value".
func call(t *testing.T, server *httptest.Server, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

func problemOf(t *testing.T, response *http.Response, text string) problem {
	t.Helper()
	if got := response.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type is %q, not application/problem+json", got)
	}
	if response.Header.Get("X-Request-Id") == "" {
		t.Error("no X-Request-Id")
	}
	var p problem
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if p.Status != response.StatusCode || p.Title == "" || p.Type == "" {
		t.Errorf("status %d with problem %+v", response.StatusCode, p)
	}
	return p
}

func TestEveryFaultOfABodyIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	server := newServer(t, keep)
	tests := map[string]struct {
		body string
		want []errs.Field
	}{
		"unknown fields, also nested, and what is missing": {
			`{"name": "a", "nope": 1, "parts": [{"name": "x", "deep": {"er": 1}}]}`,
			[]errs.Field{
				{Path: "nope", Message: "is not a known field"},
				{Path: "parts[0].deep", Message: "is not a known field"},
				{Path: "text", Message: "is required"},
			},
		},
		"doubled keys, also in free JSON": {
			`{"text": "a", "text": "b", "any": {"x": [{"y": 1, "y": 2}]}}`,
			[]errs.Field{{Path: "text", Message: "is there twice"}, {Path: "any.x[0].y", Message: "is there twice"}},
		},
		"wrong types": {
			`{"text": 1, "tags": "x", "count": "1", "on": 0, "pairs": {"a": 1}, "parts": {}, "createdAt": "yesterday"}`,
			[]errs.Field{
				{Path: "text", Message: "must be a string, is a number"},
				{Path: "tags", Message: "must be an array, is a string"},
				{Path: "count", Message: "must be an integer, is a string"},
				{Path: "on", Message: "must be a boolean, is a number"},
				{Path: "pairs.a", Message: "must be a string, is a number"},
				{Path: "parts", Message: "must be an array, is an object"},
				{Path: "createdAt", Message: "must be a time such as 2006-01-02T15:04:05Z"},
			},
		},
		"numbers that do not fit": {
			`{"text": "a", "count": 3000000000, "any": [1e999999]}`,
			[]errs.Field{{Path: "count", Message: "must be an integer"}, {Path: "any[0]", Message: "is out of range"}},
		},
		"numbers whose zeros would fill the memory of whoever reads them": {
			`{"text": "a", "any": [1e308, 1E-16383, 0e-60000]}`,
			[]errs.Field{{Path: "any[2]", Message: "is too long when it is written without an exponent"}},
		},
		"a long name above a fault": {
			`{"text": "a", "any": {"` + strings.Repeat("k", 2000) + `": [0, {"x": "\u0000"}]}}`,
			[]errs.Field{{Path: "any." + strings.Repeat("k", 1020) + "...", Message: "must not contain the character U+0000"}},
		},
		"a fraction for an integer": {`{"text": "a", "count": 1.5}`, []errs.Field{{Path: "count", Message: "must be an integer"}}},
		"names in another case":     {`{"Text": "a", "text": "b"}`, []errs.Field{{Path: "Text", Message: "is not a known field"}}},
		"a refused null": {
			`{"text": "a", "secret": null}`,
			[]errs.Field{{Path: "secret", Message: "must not be null; leave it out to keep what is stored"}},
		},
		"a label without a value": {
			`{"text": "a", "labels": {"a": null, "b": "c"}}`,
			[]errs.Field{{Path: "labels.a", Message: "must be a string, is null"}},
		},
		"what Postgres cannot hold": {
			`{"text": "a\u0000", "any": {"k\u0000": 1}}`,
			[]errs.Field{
				{Path: "text", Message: "must not contain the character U+0000"},
				{Path: "any.k\x00", Message: "must not contain the character U+0000"},
			},
		},
		"nothing":                {` `, []errs.Field{{Path: "body", Message: "is empty"}}},
		"null":                   {`null`, []errs.Field{{Path: "body", Message: "must be an object, is null"}, {Path: "text", Message: "is required"}}},
		"an array":               {`[]`, []errs.Field{{Path: "body", Message: "must be an object, is an array"}, {Path: "text", Message: "is required"}}},
		"half a document":        {`{"text": "a`, []errs.Field{{Path: "body", Message: "ends early"}}},
		"no JSON":                {`{"text": a}`, []errs.Field{{Path: "body", Message: "is not valid JSON near byte 9"}}},
		"two documents":          {`{"text": "a"} {}`, []errs.Field{{Path: "body", Message: "has something after the document"}}},
		"bytes that are no text": {"{\"text\": \"\xff\"}", []errs.Field{{Path: "body", Message: "is not valid UTF-8"}}},
		"nesting without end": {
			`{"text": "a", "any": ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`,
			[]errs.Field{{Path: "body", Message: "is nested too deep"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			response, text := call(t, server, http.MethodPost, "/notes", test.body)
			p := problemOf(t, response, text)
			if response.StatusCode != http.StatusBadRequest {
				t.Errorf("status %d, not 400", response.StatusCode)
			}
			if diff := cmp.Diff(test.want, p.Errors); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatARouteDoesNotUnderstandIsRefused(t *testing.T) {
	t.Parallel()
	server := newServer(t, keep)
	good := `{"name": "a", "text": "b"}`
	tests := map[string]struct {
		method, path, body string
		headers            []string
		status             int
		detail             string // the problem's detail or first error
		header             string // "Name: value" of the answer
	}{
		"an unknown path":        {method: "GET", path: "/nowhere", status: 404, detail: "there is nothing at /nowhere"},
		"a doubled slash":        {method: "GET", path: "//notes", status: 404, detail: "there is nothing at //notes"},
		"a trailing slash":       {method: "GET", path: "/notes/", status: 404, detail: "there is nothing at /notes/"},
		"a method nobody serves": {method: "PATCH", path: "/notes/a/b", body: good, status: 405, header: "Allow: DELETE, GET, PUT"},
		"another method":         {method: "DELETE", path: "/notes", status: 405, header: "Allow: GET, POST"},
		"XML":                    {method: "POST", path: "/notes", body: good, headers: []string{"Content-Type: text/xml"}, status: 415},
		"a form":                 {method: "PUT", path: "/notes/a/b", body: good, headers: []string{"Content-Type: application/x-www-form-urlencoded"}, status: 415},
		"another charset":        {method: "POST", path: "/notes", body: good, headers: []string{"Content-Type: application/json; charset=latin1"}, status: 415},
		"a compressed body":      {method: "POST", path: "/notes", body: good, headers: []string{"Content-Encoding: gzip"}, status: 415},
		"only XML accepted":      {method: "GET", path: "/notes", headers: []string{"Accept: text/xml"}, status: 406},
		"JSON not accepted":      {method: "GET", path: "/notes", headers: []string{"Accept: application/json;q=0, text/html"}, status: 406},
		"no weight for JSON":     {method: "GET", path: "/notes", headers: []string{"Accept: application/json;q=0, */*"}, status: 406},
		"too much":               {method: "POST", path: "/notes", body: `{"text": "` + strings.Repeat("a", 3<<20) + `"}`, status: 413},
		"an unknown parameter":   {method: "POST", path: "/notes?colour=red", body: good, status: 400, detail: "query.colour"},
		"a later parameter":      {method: "POST", path: "/notes?dryRun=true", body: good, status: 400, detail: "query.dryRun"},
		"a watch":                {method: "GET", path: "/notes?watch=true", status: 400, detail: "query.watch"},
		"a doubled parameter":    {method: "GET", path: "/notes?limit=1&limit=2", status: 400, detail: "query.limit"},
		"a limit of none":        {method: "GET", path: "/notes?limit=0", status: 400, detail: "query.limit"},
		"a limit too large":      {method: "GET", path: "/notes?limit=1001", status: 400, detail: "query.limit"},
		"a broken query":         {method: "GET", path: "/notes?limit=%zz", status: 400},
		"an idempotency key":     {method: "POST", path: "/notes", body: good, headers: []string{"Idempotency-Key: k"}, status: 400, detail: "header.Idempotency-Key"},
		"a refused replacement":  {method: "POST", path: "/notes", body: good, headers: []string{"If-None-Match: *"}, status: 400, detail: "header.If-None-Match"},
		"another name than the path's": {
			method: "PUT", path: "/notes/a/b", body: `{"name": "c", "namespace": "d", "text": "e"}`, status: 400, detail: "namespace",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			response, text := call(t, server, test.method, test.path, test.body, test.headers...)
			p := problemOf(t, response, text)
			if response.StatusCode != test.status {
				t.Errorf("status %d, not %d: %s", response.StatusCode, test.status, text)
			}
			found := p.Detail
			if len(p.Errors) > 0 {
				found = p.Errors[0].Path
			}
			if test.detail != "" && found != test.detail {
				t.Errorf("detail is %q, not %q", found, test.detail)
			}
			if header, value, _ := strings.Cut(test.header, ": "); response.Header.Get(header) != value {
				t.Errorf("%s is %q, not %q", header, response.Header.Get(header), value)
			}
		})
	}
}

func TestKindsOfErrorsBecomeStatuses(t *testing.T) {
	t.Parallel()
	secret := errors.New("a secret cause")
	tests := map[string]struct {
		err    error
		status int
		detail string
		retry  string
	}{
		"an unknown cause":  {secret, 500, "", ""},
		"a conflict":        {errs.Wrap(errs.Conflict, secret, "it is taken"), 409, "it is taken", ""},
		"a precondition":    {errs.New(errs.Precondition, "changed"), 412, "changed", ""},
		"something gone":    {errs.New(errs.Gone, "gone"), 410, "gone", ""},
		"a part away":       {&errs.Error{Kind: errs.Unavailable, Message: "away", RetryAfter: 1500 * time.Millisecond}, 503, "away", "2"},
		"a part away, soon": {errs.New(errs.Unavailable, "away"), 503, "away", "1"},
		"too many requests": {errs.New(errs.Limited, "slow down"), 429, "slow down", "1"},
		"a right missing":   {errs.New(errs.Forbidden, "no"), 403, "no", ""},
		"a deadline":        {context.DeadlineExceeded, 503, "", "1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newServer(t, func(context.Context, note) (rest.Result[note], error) { return rest.Result[note]{}, test.err })
			response, text := call(t, server, http.MethodPost, "/notes", `{"text": "a"}`)
			p := problemOf(t, response, text)
			if response.StatusCode != test.status || p.Detail != test.detail || response.Header.Get("Retry-After") != test.retry {
				t.Errorf("status %d, detail %q, Retry-After %q", response.StatusCode, p.Detail, response.Header.Get("Retry-After"))
			}
			if strings.Contains(text, "secret") {
				t.Errorf("the cause is shown: %s", text)
			}
		})
	}
}

func TestAPanicIsAnAnswerWithoutDetail(t *testing.T) {
	t.Parallel()
	server := newServer(t, func(context.Context, note) (rest.Result[note], error) { panic("secret") })
	response, text := call(t, server, http.MethodPost, "/notes", `{"text": "a"}`)
	problemOf(t, response, text)
	if response.StatusCode != http.StatusInternalServerError || strings.Contains(text, "secret") {
		t.Errorf("status %d: %s", response.StatusCode, text)
	}
}

func TestAnOperationHasATimeLimit(t *testing.T) {
	t.Parallel()
	server := newServer(t, func(ctx context.Context, _ note) (rest.Result[note], error) {
		<-ctx.Done()
		return rest.Result[note]{}, ctx.Err()
	})
	response, text := call(t, server, http.MethodPost, "/notes", `{"text": "a"}`)
	problemOf(t, response, text)
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status %d, not 503", response.StatusCode)
	}
}

func TestAWriteIsAnsweredWithTagLocationAndWarnings(t *testing.T) {
	t.Parallel()
	server := newServer(t, func(ctx context.Context, n note) (rest.Result[note], error) {
		result, err := keep(ctx, n)
		result.Warnings = []string{"mind the \"gap\"\nhere"}
		return result, err
	})
	response, text := call(t, server, http.MethodPost, "/notes", `{"name": "a", "namespace": "b", "text": "c"}`, "X-Request-Id: mine")
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("status %d: %s", response.StatusCode, text)
	}
	want := map[string]string{
		"ETag": `"u.1"`, "Location": "/notes/b/a", "Warning": `299 - "mind the \"gap\"?here"`,
		"X-Request-Id": "mine", "Content-Type": "application/json",
	}
	got := map[string]string{}
	for name := range want {
		got[name] = response.Header.Get(name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestABodyOfExactlyTheLimitTravels(t *testing.T) {
	t.Parallel()
	server := newServer(t, keep)
	frame := len(`{"text": ""}`)
	response, _ := call(t, server, http.MethodPost, "/notes", `{"text": "`+strings.Repeat("a", 3<<20-frame)+`"}`)
	if response.StatusCode != http.StatusCreated {
		t.Errorf("status %d, not 201", response.StatusCode)
	}
}

func TestALongNameAboveManyValuesIsNotCopiedForEachOfThem(t *testing.T) {
	t.Parallel()
	server := newServer(t, keep)
	body := `{"text": "a", "any": {"` + strings.Repeat("k", 1<<20) + `": [` + strings.Repeat("0,", 1<<19) + `0]}}`
	before := allocated()
	response, text := call(t, server, http.MethodPost, "/notes", body)
	if response.StatusCode != http.StatusCreated {
		t.Errorf("%d %.200s", response.StatusCode, text)
	}
	// With the name in every value's path it is half a terabyte. The tests beside this one are counted too, and small.
	if got := allocated() - before; got > 8<<30 {
		t.Errorf("%d MiB were allocated", got>>20)
	}
}

// allocated is how many bytes this process has ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestReadsCarryTheTagAndAnswerHead(t *testing.T) {
	t.Parallel()
	server := newServer(t, keep)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		response, text := call(t, server, method, "/notes/b/a", "")
		if response.StatusCode != http.StatusOK || response.Header.Get("ETag") != `"u.7"` {
			t.Errorf("%s: status %d, ETag %s", method, response.StatusCode, response.Header.Get("ETag"))
		}
		if (text == "") != (method == http.MethodHead) {
			t.Errorf("%s: body %q", method, text)
		}
	}
	if response, text := call(t, server, http.MethodDelete, "/notes/b/a", ""); response.StatusCode != http.StatusNoContent || text != "" {
		t.Errorf("DELETE: status %d, body %q", response.StatusCode, text)
	}
}

// FuzzCreate looks for bodies that break the decoder: whatever comes in, the answer is 201 or a problem of the 4xx kind.
func FuzzCreate(f *testing.F) {
	for _, seed := range []string{`{"text": "a"}`, `{"any": [1, {"a": null}]}`, `{"parts": [{"name": 1}]}`, `[`, `{"createdAt": {}}`} {
		f.Add([]byte(seed))
	}
	decode := rest.CreateOf(validateNote)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/notes", strings.NewReader(string(body)))
		if _, err := decode(r); err != nil && !errs.Is(err, errs.Invalid) {
			t.Errorf("%v is not Invalid", err)
		}
	})
}
