package devstack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/migrations"
)

// database makes a database for one test on the server, from the template of the schemas.
func database(t testing.TB, server *Server, schemas []string) *PG {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	name, err := createDatabase(ctx, server.URL, schemas)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dropDatabase(server.URL, name) })
	params := onDatabase(server.URL, name)
	config, err := pgxpool.ParseConfig(params)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 20
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closePool(t, pool) })
	return &PG{Params: params, Pool: pool}
}

// closePool reports connections that the test never gave back instead of waiting for them for ever.
func closePool(t testing.TB, pool *pgxpool.Pool) {
	closed := make(chan struct{})
	go func() { pool.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Errorf("%d connections of the test's pool were never released", pool.Stat().AcquiredConns())
	}
}

func createDatabase(ctx context.Context, server string, schemas []string) (string, error) {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", fmt.Errorf("connect to %s: %w", redact(server), err)
	}
	defer conn.Close(ctx)
	from, err := template(ctx, conn, server, schemas)
	if err != nil {
		return "", err
	}
	name := unique("test_")
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+from); err != nil {
		return "", fmt.Errorf("create a database from %s: %w", from, err)
	}
	return name, nil
}

// dropDatabase ignores failures: a test may have left its server dead on purpose, and a private server goes with all its databases.
func dropDatabase(server, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return
	}
	defer conn.Close(ctx)
	_, _ = conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}

// made are the templates that this process knows to exist, by server and name.
var made sync.Map

// template is the name of a database migrated for the schemas. It is made once per server and content of the migrations, also when
// many test binaries ask at once: the session's advisory lock makes them take turns, and it gets its name when it is complete.
func template(ctx context.Context, conn *pgx.Conn, server string, schemas []string) (string, error) {
	if len(schemas) == 0 {
		return "template0", nil
	}
	schemas = slices.Sorted(slices.Values(schemas))
	sum, err := migrationsHash(schemas)
	if err != nil {
		return "", err
	}
	name := "template_" + strings.Join(schemas, "_") + "_" + sum
	if _, known := made.Load(server + name); known {
		return name, nil
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtext('devstack templates'))"); err != nil {
		return "", fmt.Errorf("wait for the templates: %w", err)
	}
	defer conn.Exec(ctx, "SELECT pg_advisory_unlock(hashtext('devstack templates'))") //nolint:errcheck // the session ends with it
	var exists bool
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists)
	if err == nil && !exists {
		err = makeTemplate(ctx, conn, server, name, schemas)
	}
	if err == nil {
		made.Store(server+name, true)
	}
	return name, err
}

func makeTemplate(ctx context.Context, conn *pgx.Conn, server, name string, schemas []string) error {
	draft := unique("draft_")
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+draft+" TEMPLATE template0"); err != nil {
		return fmt.Errorf("create a template: %w", err)
	}
	for _, schema := range schemas {
		if err := postgres.Migrate(ctx, onDatabase(server, draft), schema, slog.New(slog.DiscardHandler)); err != nil {
			_, drop := conn.Exec(ctx, "DROP DATABASE "+draft+" WITH (FORCE)")
			return errors.Join(err, drop)
		}
	}
	return await(ctx, 50*time.Millisecond, func(ctx context.Context) error { // the migrations' connections may take a moment to go
		_, err := conn.Exec(ctx, "ALTER DATABASE "+draft+" RENAME TO "+name)
		return err
	})
}

// migrationsHash tells apart the contents of the migrations of the schemas, for servers that outlive a checkout.
func migrationsHash(schemas []string) (string, error) {
	sum := sha256.New()
	for _, schema := range schemas {
		err := fs.WalkDir(migrations.FS, schema, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := fs.ReadFile(migrations.FS, path)
			fmt.Fprintf(sum, "%s %d\n%s", path, len(text), text)
			return err
		})
		if err != nil {
			return "", fmt.Errorf("read the migrations of %s: %w", schema, err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:8], nil
}

func onDatabase(server, name string) string {
	parsed, err := url.Parse(server)
	if err != nil {
		return server
	}
	parsed.Path = "/" + name
	return parsed.String()
}

func redact(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return "an address that is not a URL"
	}
	return parsed.Redacted()
}
