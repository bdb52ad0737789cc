package transport_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncsets/syncsets/libs/auth"
)

// access knows the tokens of reader, writer, answerer (each with its verb in ns) and chief (confirm everywhere): "<name>-token".
func access(t *testing.T) auth.Authenticator {
	t.Helper()
	text := "tokens:\n"
	for _, name := range []string{"reader", "writer", "answerer", "chief"} {
		text += fmt.Sprintf("- {name: %s, sha256: %x}\n", name, sha256.Sum256([]byte(name+"-token")))
	}
	text += `rules:
- {subjects: [reader], verbs: [read], resources: ["*"], namespaces: [ns]}
- {subjects: [writer], verbs: [read, write], resources: ["*"], namespaces: [ns]}
- {subjects: [answerer], verbs: [confirm], resources: ["*"], namespaces: [ns]}
- {subjects: [chief], verbs: [confirm], resources: [setsyncs], namespaces: ["*"]}
`
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := auth.NewTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What is let in and has nothing to do is a conflict here: nothing is held of ns/one, the hash of "all" is another, no identity changed.
func TestRulesDecideWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	a := serveTo(t, access(t))
	const (
		one  = "/v1/setsyncs/uid/00000000-0000-0000-0000-0000000000a2" // ns/one
		all  = "/v1/setsyncs/uid/00000000-0000-0000-0000-0000000000a1" // in no namespace
		hash = `{"hash": "x"}`
	)
	for _, tt := range []struct {
		name, token, method, path, body string
		status                          int
	}{
		{"a reader reads a cluster of its namespace", "reader", "GET", "/v1/clustersyncs/ns/c1", "", 200},
		{"a reader lists its namespace", "reader", "GET", "/v1/setsyncs?namespace=ns", "", 200},
		{"a reader lists all namespaces", "reader", "GET", "/v1/setsyncs", "", 403},
		{"a reader reads a set of its namespace by uid", "reader", "GET", one, "", 200},
		{"a reader reads a set of no namespace by uid", "reader", "GET", all, "", 403},
		{"a reader reads a set that is not there by uid", "reader", "GET", "/v1/setsyncs/uid/00000000-0000-0000-0000-0000000000ff", "", 404},
		{"a reader follows all events", "reader", "GET", "/v1/events/setsyncs", "", 403},
		{"a reader syncs", "reader", "POST", "/v1/clustersyncs/ns/c1/sync", "", 403},
		{"a writer syncs", "writer", "POST", "/v1/clustersyncs/ns/c1/sync", "", 202},
		{"a writer syncs in another namespace", "writer", "POST", "/v1/clustersyncs/other/c1/sync", "", 403},
		{"a writer accepts an identity", "writer", "POST", "/v1/clustersyncs/ns/c1/accept-identity", "", 403},
		{"a writer confirms", "writer", "POST", "/v1/setsyncs/syncsets/ns/one/confirm", hash, 403},
		{"a writer confirms by uid", "writer", "POST", one + "/confirm", hash, 403},
		{"a writer confirms with a bad body", "writer", "POST", "/v1/setsyncs/syncsets/ns/one/confirm", "{", 403},
		{"an answerer accepts an identity", "answerer", "POST", "/v1/clustersyncs/ns/c1/accept-identity", "", 409},
		{"an answerer reads", "answerer", "GET", "/v1/clustersyncs/ns/c1", "", 403},
		{"an answerer confirms in its namespace", "answerer", "POST", "/v1/setsyncs/syncsets/ns/one/confirm", hash, 409},
		{"an answerer rejects in its namespace by uid", "answerer", "POST", one + "/reject", hash, 409},
		{"an answerer with a bad body", "answerer", "POST", one + "/reject", "{", 400},
		{"an answerer confirms a set of all namespaces", "answerer", "POST", "/v1/setsyncs/selectorsyncsets/all/confirm", hash, 403},
		{"an answerer rejects a set of all namespaces by uid", "answerer", "POST", all + "/reject", hash, 403},
		{"a chief confirms a set of all namespaces", "chief", "POST", "/v1/setsyncs/selectorsyncsets/all/confirm", hash, 409},
		{"a chief rejects a set of all namespaces by uid", "chief", "POST", all + "/reject", hash, 409},
		{"a chief of setsyncs accepts an identity", "chief", "POST", "/v1/clustersyncs/ns/c1/accept-identity", "", 403},
	} {
		status, text := a.call(t, tt.method, tt.path, tt.body, "Authorization: Bearer "+tt.token+"-token")
		if status != tt.status {
			t.Errorf("%s: %d, want %d: %s", tt.name, status, tt.status, text)
		}
	}
	status, text := a.call(t, http.MethodGet, one, "")
	want(t, "nobody: "+text, status, http.StatusUnauthorized)
}
