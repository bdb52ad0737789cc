package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/installation"
	"github.com/syncsets/syncsets/libs/seal"
	"github.com/syncsets/syncsets/libs/service"
)

func TestMain(m *testing.M) { devstack.Main(m) }

// run runs the command line with only these settings in its environment.
func run(settings map[string]string, args ...string) (code int, stderr string) {
	var out bytes.Buffer
	lookup := func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	}
	code = service.Main(spec(), service.Environment{Args: args, Lookup: lookup, Stdout: &out, Stderr: &out})
	return code, out.String()
}

func TestMigrateNeedsTheDatabaseOnly(t *testing.T) {
	db := devstack.Postgres(t)
	for range 2 {
		if code, stderr := run(map[string]string{"POSTGRES_PARAMS": db.Params}, "migrate"); code != 0 {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
	}
	var sets int
	if err := db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM syncsets.selectorsyncsets").Scan(&sets); err != nil {
		t.Error(err)
	}
}

func TestMissingAndWrongSettingsAreNamed(t *testing.T) {
	code, stderr := run(map[string]string{"POSTGRES_PARAMS": "postgres://127.0.0.1/x", "ALLOW_INLINE_SECRETS": "perhaps"}, "serve")
	if !strings.Contains(stderr, "SEAL_KEYS is required") {
		t.Errorf("SEAL_KEYS is not asked for:\n%s", stderr)
	}
	if code != 2 || !strings.Contains(stderr, "CLUSTERS_INTERNAL_URL is required") || !strings.Contains(stderr, "ALLOW_INLINE_SECRETS must be") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if lines := strings.Count(stderr, "\n"); lines != 3 {
		t.Errorf("%d lines, want one for each fault\n%s", lines, stderr)
	}
	if code, _ := run(nil, "migrate"); code != 2 {
		t.Errorf("migrate without a database: exit code %d", code)
	}
}

// tell answers as the clusters service's internal listener does when asked for its installation.
func tell(t *testing.T, id string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != installation.Path || r.Header.Get("Authorization") != "Bearer t" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"id": %q}`, id)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestTheServiceStopsWhenItsSchemaBelongsToAnotherSystem(t *testing.T) {
	const ours, other = "0b2f4a5e-3a60-4c83-8c43-6d6b3a3b1f10", "d9b1b1a4-7f0e-4a0a-9a57-0d7d6f0f8c11"
	db, rabbit := devstack.Postgres(t, "syncsets"), devstack.RabbitMQ(t)
	if _, err := db.Pool.Exec(t.Context(), "INSERT INTO syncsets.installation (id) VALUES ($1)", ours); err != nil {
		t.Fatal(err)
	}
	code, stderr := run(map[string]string{
		"POSTGRES_PARAMS": db.Params, "AMQP_URL": rabbit.URL, "AMQP_PREFIX": rabbit.Prefix, "INTERNAL_TOKEN": "t",
		"LISTEN_ADDR": "127.0.0.1:0", "ADMIN_ADDR": "127.0.0.1:0", "INTERNAL_ADDR": "127.0.0.1:0", "CLUSTERS_INTERNAL_URL": tell(t, other),
		"SEAL_KEYS": seal.Generate(),
	})
	if code != 1 || !strings.Contains(stderr, ours) || !strings.Contains(stderr, other) {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

func TestTheServiceStopsWhenASealKeyInUseIsMissing(t *testing.T) {
	const ours = "0b2f4a5e-3a60-4c83-8c43-6d6b3a3b1f10"
	db, rabbit := devstack.Postgres(t, "syncsets"), devstack.RabbitMQ(t)
	for _, sql := range []string{
		"INSERT INTO syncsets.installation (id) VALUES ('" + ours + "')",
		`INSERT INTO syncsets.secrets (uid, namespace, name, generation, resource_version, document, created_at, updated_at)
			VALUES ('` + ours + `', 'ns', 'x', 1, 1, '{}', now(), now())`,
		"INSERT INTO syncsets.secret_values (secret_uid, version, key_id, sealed) VALUES ('" + ours + "', 1, 'lostkey', 'x')",
	} {
		if _, err := db.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	code, stderr := run(map[string]string{
		"POSTGRES_PARAMS": db.Params, "AMQP_URL": rabbit.URL, "AMQP_PREFIX": rabbit.Prefix, "INTERNAL_TOKEN": "t", "SEAL_KEYS": seal.Generate(),
		"LISTEN_ADDR": "127.0.0.1:0", "ADMIN_ADDR": "127.0.0.1:0", "INTERNAL_ADDR": "127.0.0.1:0", "CLUSTERS_INTERNAL_URL": tell(t, ours),
	})
	if code != 2 || !strings.Contains(stderr, `SEAL_KEYS lacks the key "lostkey"`) {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
