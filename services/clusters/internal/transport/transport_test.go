package transport_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/rest"
	"github.com/syncsets/syncsets/libs/seal"
	"github.com/syncsets/syncsets/services/clusters/internal/cluster"
	"github.com/syncsets/syncsets/services/clusters/internal/postgres"
	"github.com/syncsets/syncsets/services/clusters/internal/transport"
)

func TestMain(m *testing.M) { devstack.Main(m) }

const internalToken = "internal-token"

// system is the service's two listeners over a real database.
type system struct {
	public, internal string
	pg               *devstack.PG
	store            *postgres.Store
}

func newSystem(t *testing.T, access auth.Authenticator) *system {
	t.Helper()
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	pg := devstack.Postgres(t, postgres.Schema)
	store, err := postgres.Open(t.Context(), pg.Pool, keys, func() {})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	public := rest.NewAPI(rest.Options{Service: "clusters", Auth: access, Log: log})
	clusters := cluster.NewService(store, store)
	transport.Routes(public, clusters, store.Feed)
	internal := rest.NewAPI(rest.Options{Service: "clusters internal", Auth: auth.NewShared(internalToken), Log: log})
	transport.InternalRoutes(internal, store, clusters.Cleaned)
	return &system{public: serve(t, public), internal: serve(t, internal), pg: pg, store: store}
}

func serve(t *testing.T, a *rest.API) string {
	t.Helper()
	server := httptest.NewServer(a.Handler())
	t.Cleanup(server.Close)
	return server.URL
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	text   string
}

func (a answer) document(t *testing.T) v1.Cluster {
	t.Helper()
	var c v1.Cluster
	if err := json.Unmarshal([]byte(a.text), &c); err != nil {
		t.Fatalf("%v in %s", err, a.text)
	}
	return c
}

type problem struct {
	Detail string       `json:"detail"`
	Errors []errs.Field `json:"errors"`
}

func (a answer) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(a.text), &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("no problem (%v): %d %s", err, a.status, a.text)
	}
	return p
}

// call sends a request with a JSON body; headers are "Name: value".
func call(t *testing.T, method, url, body string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
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
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

func (s *system) must(t *testing.T, status int, method, path, body string, headers ...string) answer {
	t.Helper()
	a := call(t, method, s.public+path, body, headers...)
	if a.status != status {
		t.Fatalf("%s %s: status %d, not %d: %s", method, path, a.status, status, a.text)
	}
	return a
}

const (
	good = `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "https://example.com:6443"}}]
users: [{name: u, user: {token: secret-token}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
`
	one = "/v1/clusters/foo/cluster1"
)

// with returns a document of foo/cluster1 with further members.
func with(members string) string { return `{"name": "cluster1", "namespace": "foo"` + members + `}` }

func kubeconfig(text string) string {
	quoted, _ := json.Marshal(text) // a string always encodes
	return `, "kubeconfig": ` + string(quoted)
}

// tokensFile holds the SHA-256 sums of "<name>-token". It writes a file of two principals: "reader" reads everything, "writer" writes in namespace foo without kubeconfigs, "owner"
// does everything in foo.
func tokensFile(t *testing.T) string {
	t.Helper()
	text := `
tokens:
- {name: reader, sha256: ba5005a40cf5212e4ac0190104cc127edab013294bb71279a975b27a80982d45}
- {name: writer, groups: [team], sha256: 3590c0a59f72ce02700194a05f228a725c1f135a6dcb3ded9b2d86ab6a6f52cb}
- {name: owner, sha256: c32c7bb97d785c65916c05538cfc0f9d94768cb167eb73615071783ccc4bef77}
rules:
- {subjects: [reader], verbs: [read], resources: ["*"], namespaces: ["*"]}
- {groups: [team], verbs: [read, write], resources: [clusters], namespaces: [foo]}
- {subjects: [owner], verbs: ["*"], resources: ["*"], namespaces: [foo]}
`
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
