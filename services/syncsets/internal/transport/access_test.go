package transport_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncsets/syncsets/libs/auth"
)

// access knows the tokens of reader (reads everything), team (writes in foo) and chief (writes everywhere): "<name>-token".
func access(t *testing.T) auth.Authenticator {
	t.Helper()
	text := "tokens:\n"
	for _, name := range []string{"reader", "team", "chief"} {
		text += fmt.Sprintf("- {name: %s, sha256: %x}\n", name, sha256.Sum256([]byte(name+"-token")))
	}
	text += `rules:
- {subjects: [reader], verbs: [read], resources: ["*"], namespaces: ["*"]}
- {subjects: [team], verbs: [read, write], resources: ["*"], namespaces: [foo]}
- {subjects: [chief], verbs: [write], resources: ["*"], namespaces: ["*"]}
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

func TestRulesDecideWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	f := newFixtureFor(t, access(t))
	const (
		set      = `{"name": "one", "namespace": "foo"}`
		selector = `{"name": "all", "clusterSelector": {}}`
		bad      = `{"name": "B A D", "namespace": "foo", "colour": 1}`
	)
	for _, tt := range []struct {
		name, token, method, path, body string
		status                          int
	}{
		{"a team writes in its namespace", "team", "POST", "/v1/syncsets", set, 201},
		{"a team replaces in its namespace", "team", "PUT", "/v1/syncsets/foo/one", set, 200},
		{"a team with a bad document", "team", "POST", "/v1/syncsets", bad, 400},
		{"a team without a document", "team", "POST", "/v1/syncsets", "{", 400},
		{"a team writes in another namespace", "team", "POST", "/v1/syncsets", `{"name": "one", "namespace": "bar"}`, 403},
		{"a team with a bad document for another namespace", "team", "POST", "/v1/syncsets", `{"name": "B A D", "namespace": "bar", "colour": 1}`, 403},
		{"a team with a bad document at another namespace", "team", "PUT", "/v1/syncsets/bar/one", "{", 403},
		{"a team lists its namespace", "team", "GET", "/v1/syncsets?namespace=foo", "", 200},
		{"a team lists all namespaces", "team", "GET", "/v1/syncsets", "", 403},
		{"a team selects clusters of all namespaces", "team", "POST", "/v1/selectorsyncsets", selector, 403},
		{"a chief selects clusters of all namespaces", "chief", "POST", "/v1/selectorsyncsets", selector, 201},
		{"a team deletes a set of all namespaces", "team", "DELETE", "/v1/selectorsyncsets/all", "", 403},
		{"a team reads a set of all namespaces", "team", "GET", "/v1/selectorsyncsets/all", "", 403},
		{"a chief may not read what it writes", "chief", "GET", "/v1/selectorsyncsets/all", "", 403},
		{"a reader reads it", "reader", "GET", "/v1/selectorsyncsets/all", "", 200},
		{"a reader writes", "reader", "PUT", "/v1/syncsets/foo/one", set, 403},
		{"a reader sends a bad document", "reader", "POST", "/v1/syncsets", bad, 403},
		{"a reader sends none", "reader", "POST", "/v1/syncsets", "{", 403},
		{"a reader gives an unknown parameter", "reader", "DELETE", "/v1/syncsets/foo/one?colour=red", "", 403},
		{"a team follows the events of all namespaces", "team", "GET", "/v1/events/syncsets", "", 403},
		{"nobody", "", "GET", "/v1/syncsets", "", 401},
	} {
		var headers []string
		if tt.token != "" {
			headers = []string{"Authorization", "Bearer " + tt.token + "-token"}
		}
		if a := f.do(tt.method, tt.path, tt.body, headers...); a.status != tt.status {
			t.Errorf("%s: %d, want %d: %s", tt.name, a.status, tt.status, a.body)
		}
	}
}
