package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/postgres"
)

func TestMain(m *testing.M) { devstack.Main(m) }

var schemas = []string{"clusters", "syncsets", "reconciler"}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t *testing.T, params string) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), postgres.Config{Params: params, Application: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestManyReplicasMigrateAtOnce(t *testing.T) {
	t.Parallel()
	pg := devstack.Postgres(t)
	var group errgroup.Group
	for i := range 8 {
		group.Go(func() error { return postgres.Migrate(t.Context(), pg.Params, schemas[i%len(schemas)], quiet()) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	pool := open(t, pg.Params)
	for _, schema := range schemas {
		if err := postgres.Verify(t.Context(), pool, schema); err != nil {
			t.Error(err)
		}
	}
}

func TestVerifySaysWhatToRunWhenMigrationsArePending(t *testing.T) {
	t.Parallel()
	pg := devstack.Postgres(t)
	pool := open(t, pg.Params)
	for state, prepare := range map[string]string{
		"no schema": "SELECT 1", "no version table": "CREATE SCHEMA clusters",
	} {
		if _, err := pool.Exec(t.Context(), prepare); err != nil {
			t.Fatal(err)
		}
		err := postgres.Verify(t.Context(), pool, "clusters")
		var e *errs.Error
		if !errors.As(err, &e) || e.Kind != errs.Unavailable || !cmp.Equal(e.Message, "schema clusters lacks the migrations [1]: run `clusters migrate`, or start with MIGRATE=auto") {
			t.Errorf("%s: %v", state, err)
		}
		_, _ = pool.Exec(t.Context(), "DROP SCHEMA clusters")
	}
}

// The plain goose command is goose.RunContext over a folder, with the table named by its flag -table.
func TestThePlainGooseCommandMigratesDownAndUp(t *testing.T) {
	for _, schema := range schemas {
		t.Run(schema, func(t *testing.T) {
			pg := devstack.Postgres(t, schema)
			db := sqlDB(t, pg.Params)
			if err := goose.SetDialect("postgres"); err != nil {
				t.Fatal(err)
			}
			goose.SetTableName(schema + ".goose_db_version")
			goose.SetLogger(goose.NopLogger())
			for _, command := range []string{"status", "down", "up", "redo", "version"} {
				if err := goose.RunContext(t.Context(), command, db, "../../migrations/"+schema); err != nil {
					t.Fatalf("goose %s: %v", command, err)
				}
			}
			if err := goose.RunContext(t.Context(), "reset", db, "../../migrations/"+schema); err != nil {
				t.Fatal(err)
			}
			var left []string
			rows, err := pg.Pool.Query(t.Context(), `SELECT relname::text FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p', 'S')
				AND relname NOT LIKE 'goose%' UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = $1::regnamespace`, schema)
			if err == nil {
				left, err = pgx.CollectRows(rows, pgx.RowTo[string])
			}
			if err != nil || len(left) > 0 {
				t.Errorf("left behind after down: %v, %v", left, err)
			}
			if err := postgres.Migrate(t.Context(), pg.Params, schema, quiet()); err != nil {
				t.Errorf("up again by the service: %v", err)
			}
		})
	}
}

func sqlDB(t *testing.T, params string) *sql.DB {
	t.Helper()
	config, err := pgx.ParseConfig(params)
	if err != nil {
		t.Fatal(err)
	}
	db := stdlib.OpenDB(*config)
	t.Cleanup(func() { db.Close() })
	return db
}

// A service's role may neither create tables nor read what only a superuser may; the relay's statements must do with that.
func TestAServiceRoleWithoutDDLCanFingerprintTheDatabaseAndMakePartitions(t *testing.T) {
	t.Parallel()
	pg := devstack.Postgres(t, "clusters")
	role := fmt.Sprintf("service_%d", time.Now().UnixNano())
	for _, statement := range []string{
		"CREATE ROLE " + role, "GRANT USAGE ON SCHEMA clusters TO " + role,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA clusters TO " + role,
	} {
		if _, err := pg.Pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		_, _ = pg.Pool.Exec(context.Background(), "DROP OWNED BY "+role)
		_, _ = pg.Pool.Exec(context.Background(), "DROP ROLE "+role)
	})
	err := pgx.BeginFunc(t.Context(), pg.Pool, func(tx pgx.Tx) error {
		for _, statement := range []string{
			"SET LOCAL ROLE " + role,
			"SELECT system_identifier FROM pg_control_system()",
			"SELECT pg_walfile_name(pg_current_wal_lsn())",
			"SELECT clusters.ensure_event_partition(5000000)",
			"INSERT INTO clusters.events SELECT 5000000, 0, 'clusters', 'created', gen_random_uuid(), 'ns', 'n', 1, 1, '{}', 2, NULL, NULL, '', '', '', now()",
		} {
			if _, err := tx.Exec(t.Context(), statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestErrorsGetTheirKind(t *testing.T) {
	t.Parallel()
	pg := devstack.Postgres(t)
	pool := open(t, pg.Params)
	if _, err := pool.Exec(t.Context(), "CREATE TABLE things (id int PRIMARY KEY, document jsonb); INSERT INTO things VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	for statement, want := range map[string]errs.Kind{
		"INSERT INTO things VALUES (1)":                             errs.Conflict,
		`INSERT INTO things VALUES (2, '"\u0000"')`:                 errs.Invalid,
		"SELECT no_such_column FROM things":                         errs.Internal,
		"SET LOCAL statement_timeout = '10ms'; SELECT pg_sleep(10)": errs.Unavailable,
		"SELECT pg_terminate_backend(pg_backend_pid())":             errs.Unavailable,
		"BEGIN READ ONLY; INSERT INTO things VALUES (3)":            errs.Unavailable,
	} {
		conn, err := pgx.Connect(t.Context(), pg.Params)
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol)
		if got := errs.KindOf(postgres.Wrap(err, "try")); err == nil || got != want {
			t.Errorf("%s: %s (%v), want %s", statement, got, err, want)
		}
		_ = conn.Close(t.Context())
	}
	var n int
	if err := postgres.Wrap(pool.QueryRow(t.Context(), "SELECT 1 WHERE false").Scan(&n), "find"); !errs.Is(err, errs.NotFound) {
		t.Errorf("no rows: %v", err)
	}
	kept := errs.New(errs.Precondition, "another version")
	if err := postgres.Wrap(kept, "write"); !errs.Is(err, errs.Precondition) || !errors.Is(err, kept) {
		t.Errorf("a kind is not kept: %v", err)
	}
	if err := postgres.Wrap(nil, "nothing"); err != nil {
		t.Errorf("nil became %v", err)
	}
}

func TestADatabaseThatDoesNotAnswerIsUnavailable(t *testing.T) {
	t.Parallel()
	pool := open(t, "postgres://nobody@127.0.0.1:1/none")
	err := postgres.Wrap(pool.Ping(t.Context()), "ping")
	var e *errs.Error
	if !errors.As(err, &e) || e.Kind != errs.Unavailable || e.RetryAfter <= 0 {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := postgres.Wait(ctx, pool, quiet()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waited for nothing: %v", err)
	}
	if _, err := postgres.Open(t.Context(), postgres.Config{Params: "postgres://%zz"}); !errs.Is(err, errs.Invalid) {
		t.Errorf("wrong parameters: %v", err)
	}
}

func TestSessionParametersAreSetUnlessTheUserSetsThem(t *testing.T) {
	t.Parallel()
	pg := devstack.Postgres(t)
	for params, want := range map[string][3]string{
		pg.Params: {"30s", "30s", "test"},
		with(t, pg.Params, "statement_timeout", "7000", "application_name", "mine"): {"7s", "30s", "mine"},
	} {
		var got [3]string
		err := open(t, params).QueryRow(t.Context(), `SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'),
			current_setting('application_name')`).Scan(&got[0], &got[1], &got[2])
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

func with(t *testing.T, params string, pairs ...string) string {
	t.Helper()
	u, err := url.Parse(params)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// Two transactions that read each other's row and write their own cannot both be serializable.
func TestASerializationFailureIsTriedAgain(t *testing.T) {
	t.Parallel()
	pg := devstack.Postgres(t)
	pool := open(t, pg.Params)
	if _, err := pool.Exec(t.Context(), "CREATE TABLE counters (id int PRIMARY KEY, n int); INSERT INTO counters VALUES (1, 0)"); err != nil {
		t.Fatal(err)
	}
	tries := 0
	err := postgres.InTx(t.Context(), pool, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
		tries++
		var n int
		if err := tx.QueryRow(t.Context(), "SELECT n FROM counters WHERE id = 1").Scan(&n); err != nil {
			return err
		}
		if tries == 1 {
			if _, err := pool.Exec(t.Context(), "UPDATE counters SET n = n + 10 WHERE id = 1"); err != nil {
				return err
			}
		}
		_, err := tx.Exec(t.Context(), "UPDATE counters SET n = $1 WHERE id = 1", n+1)
		return err
	})
	var n int
	if scanErr := pool.QueryRow(t.Context(), "SELECT n FROM counters").Scan(&n); err != nil || scanErr != nil || n != 11 || tries != 2 {
		t.Errorf("n = %d after %d tries, %v, %v", n, tries, err, scanErr)
	}
}

// Serial, so that no other test's goroutines are counted.
func TestNothingIsLeftRunning(t *testing.T) {
	pg := devstack.Postgres(t)
	ignore := goleak.IgnoreCurrent()
	if err := postgres.Migrate(t.Context(), pg.Params, "clusters", quiet()); err != nil {
		t.Fatal(err)
	}
	pool := open(t, pg.Params)
	if err := postgres.Wait(t.Context(), pool, quiet()); err != nil {
		t.Fatal(err)
	}
	pool.Close()
	goleak.VerifyNone(t, ignore)
}

func TestTransactionsTogetherAreOneAndEachUndoesOnlyItself(t *testing.T) {
	t.Parallel()
	pg := devstack.Postgres(t)
	pool := open(t, pg.Params)
	if _, err := pool.Exec(t.Context(), "CREATE TABLE words (word text PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	write := func(ctx context.Context, word string) error {
		return postgres.InTx(ctx, pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO words VALUES ($1)", word)
			return err
		})
	}
	stored := func() (words []string) {
		t.Helper()
		rows, err := pool.Query(t.Context(), "SELECT word FROM words ORDER BY word")
		if err != nil {
			t.Fatal(err)
		}
		if words, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			t.Fatal(err)
		}
		return words
	}
	undone := errors.New("undone")
	err := postgres.Together(t.Context(), pool, func(ctx context.Context) error {
		if err := write(ctx, "a"); err != nil {
			return err
		}
		return undone
	})
	if got := stored(); !errors.Is(err, undone) || len(got) != 0 {
		t.Errorf("after a failure: %v, %v", got, err)
	}
	err = postgres.Together(t.Context(), pool, func(ctx context.Context) error {
		first, twice, second := write(ctx, "a"), write(ctx, "a"), write(ctx, "b")
		if got := stored(); twice == nil || len(got) != 0 {
			t.Errorf("before the end: %v, the second a: %v", got, twice)
		}
		return errors.Join(first, second)
	})
	if diff := cmp.Diff([]string{"a", "b"}, stored()); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// released fills the schema "reconciler" as the first release, whose migrations end at releasedVersion, left it.
const (
	releasedVersion = "2"
	released        = `
INSERT INTO reconciler.clusters (uid, namespace, name, generation, resource_version, document)
	SELECT md5('c' || n)::uuid, 'ns-' || n % 3, 'c' || n, 1, n, CASE n % 2 WHEN 0 THEN '{}'::jsonb ELSE '{"deletionRequestedAt": "x"}' END
	FROM generate_series(1, 20) n;
INSERT INTO reconciler.credentials (cluster_uid, wanted) SELECT uid, 1 FROM reconciler.clusters;
INSERT INTO reconciler.work (cluster_uid) SELECT uid FROM reconciler.clusters;
INSERT INTO reconciler.clustersyncs (cluster_uid) SELECT uid FROM reconciler.clusters;
INSERT INTO reconciler.sets (uid, resource, namespace, name, generation, resource_version, document, deleted_at)
	SELECT md5('s' || n)::uuid, 'selectorsyncsets', '', 's' || n, 1, n, '{"clusterSelector": {}}', CASE n WHEN 2 THEN now() END
	FROM generate_series(1, 2) n;
INSERT INTO reconciler.set_generations (set_uid, generation, document) SELECT uid, 1, document FROM reconciler.sets;
INSERT INTO reconciler.cluster_sets (cluster_uid, set_uid, target_generation, result)
	SELECT c.uid, s.uid, CASE WHEN s.deleted_at IS NULL THEN 1 END, CASE c.resource_version % 2 WHEN 0 THEN 'Failure' ELSE 'Success' END
	FROM reconciler.clusters c, reconciler.sets s;
INSERT INTO reconciler.inventory (cluster_uid, target_id, api_group, kind, namespace, name, set_uid, set_generation, item, version, resource, state)
	SELECT cluster_uid, 't', '', 'ConfigMap', 'default', set_uid, set_uid, 1, 0, 'v1', 'configmaps', 'Applied' FROM reconciler.cluster_sets;
INSERT INTO reconciler.archived_inventory SELECT * FROM reconciler.inventory;
INSERT INTO reconciler.removals (set_uid, cluster_uid, generation, cause, state)
	SELECT set_uid, cluster_uid, 1, 'deleted', 'open' FROM reconciler.cluster_sets WHERE target_generation IS NULL;
INSERT INTO reconciler.fanouts (set_uid, generation, operation, actor) SELECT uid, 1, 'created', 'a' FROM reconciler.sets`
	// rowsSQL is what may not change on the way: how many rows there are.
	rowsSQL = `SELECT 'clusters ' || count(*) FROM reconciler.clusters UNION ALL SELECT 'work ' || count(*) FROM reconciler.work
UNION ALL SELECT 'clustersyncs ' || count(*) FROM reconciler.clustersyncs UNION ALL SELECT 'sets ' || count(*) FROM reconciler.sets
UNION ALL SELECT 'cluster_sets ' || count(*) FROM reconciler.cluster_sets UNION ALL SELECT 'removals ' || count(*) FROM reconciler.removals
UNION ALL SELECT 'inventory ' || count(*) FROM reconciler.inventory
UNION ALL SELECT 'archived ' || count(*) FROM reconciler.archived_inventory UNION ALL SELECT 'fanouts ' || count(*) FROM reconciler.fanouts`
)

func TestAReleasedSchemaKeepsItsRowsUpAndDown(t *testing.T) {
	pg := devstack.Postgres(t, "reconciler")
	db := sqlDB(t, pg.Params)
	if err := goose.SetDialect("postgres"); err != nil {
		t.Fatal(err)
	}
	goose.SetTableName("reconciler.goose_db_version")
	goose.SetLogger(goose.NopLogger())
	run := func(command string, args ...string) {
		t.Helper()
		if err := goose.RunContext(t.Context(), command, db, "../../migrations/reconciler", args...); err != nil {
			t.Fatalf("goose %s: %v", command, err)
		}
	}
	texts := func(query string) []string {
		t.Helper()
		rows, err := pg.Pool.Query(t.Context(), query, pgx.QueryExecModeExec)
		if err != nil {
			t.Fatal(err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	same := func(what string, want, got []string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	run("down-to", releasedVersion)
	if _, err := db.ExecContext(t.Context(), released); err != nil {
		t.Fatal(err)
	}
	before := texts(rowsSQL)
	for range 2 {
		run("up")
		same("rows after up", before, texts(rowsSQL))
		same("rows of sets that do not say which cluster they are of", []string{}, texts(`SELECT c.name FROM reconciler.cluster_sets t
	JOIN reconciler.clusters c ON c.uid = t.cluster_uid WHERE (t.cluster_namespace, t.cluster_name) <> (c.namespace, c.name)`))
		same("clusters to be cleaned up", []string{"10"}, texts("SELECT count(*)::text FROM reconciler.clusters WHERE leaving"))
		run("down-to", releasedVersion)
		same("rows after down", before, texts(rowsSQL))
	}
}
