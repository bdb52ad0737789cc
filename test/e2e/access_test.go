package e2e_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncsets/syncsets/test/stack"
)

// The services know each other by INTERNAL_TOKEN, whatever AUTH says: a set still reaches its target.
func TestWithTokensOnlyTheAllowedGetIn(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	text := fmt.Sprintf(`
tokens:
- {name: ann, sha256: %x}
- {name: bob, sha256: %x}
rules:
- {subjects: [ann], verbs: ["*"], resources: ["*"], namespaces: ["*"]}
`, sha256.Sum256([]byte("ann-token")), sha256.Sum256([]byte("bob-token")))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	kube, target, s, ns := begin(t, "tokens", stack.Options{Env: map[string]string{"AUTH": "token", "AUTH_TOKENS_FILE": file}})
	cluster := map[string]any{"name": "c", "namespace": "fleet", "kubeconfig": kube.Kubeconfig, "labels": map[string]string{"a": "b"}}
	set := selectorSet("set", "a", "b", []json.RawMessage{stack.ConfigMap(ns, "cm", "k", "1")}, nil)
	addresses := map[string]string{"/v1/clusters": s.Clusters[0].Public, "/v1/selectorsyncsets": s.Syncsets[0].Public, "/v1/setsyncs": s.Reconciler[0].Public}
	call := func(method, path string, body any, token string, status int) {
		t.Helper()
		header := http.Header{}
		if token != "" {
			header.Set("Authorization", "Bearer "+token)
		}
		a, err := stack.Request(t.Context(), method, "http://"+addresses[path]+path, body, header)
		if err != nil || a.Status != status {
			t.Errorf("%s %s with token %q: %v, %d %s, want %d", method, path, token, err, a.Status, a.Body, status)
		}
	}
	for path := range addresses {
		call(http.MethodGet, path, nil, "", http.StatusUnauthorized)
		call(http.MethodGet, path, nil, "nobody's", http.StatusUnauthorized)
		call(http.MethodGet, path, nil, "bob-token", http.StatusForbidden)
		call(http.MethodGet, path, nil, "ann-token", http.StatusOK)
	}
	call(http.MethodPost, "/v1/clusters", cluster, "bob-token", http.StatusForbidden)
	call(http.MethodPost, "/v1/clusters", cluster, "ann-token", http.StatusCreated)
	call(http.MethodPost, "/v1/selectorsyncsets", set, "bob-token", http.StatusForbidden)
	call(http.MethodPost, "/v1/selectorsyncsets", set, "ann-token", http.StatusCreated)
	target.WaitData(soon, ns, "cm", "k", "1")
}
