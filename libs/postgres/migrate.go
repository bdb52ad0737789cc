package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/migrations"
)

// Migrate brings schema to the newest migration, creating it first where it is absent. Any number of processes may call it at once:
// they take turns by an advisory lock, one per schema. It needs the owner's rights.
func Migrate(ctx context.Context, params, schema string, log *slog.Logger) error {
	config, err := pgx.ParseConfig(params)
	if err != nil {
		return errs.Wrap(errs.Invalid, err, "POSTGRES_PARAMS is not a connection string")
	}
	prepare(config, "migrate "+schema)
	// A migration may take its time, and so may the one that another replica runs.
	config.RuntimeParams["statement_timeout"] = "0"
	db := stdlib.OpenDB(*config)
	defer db.Close()
	if err := createSchema(ctx, db, schema); err != nil {
		return Wrap(err, "create schema %s", schema)
	}
	provider, err := newProvider(db, schema)
	if err != nil {
		return fmt.Errorf("load the migrations of %s: %w", schema, err)
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		log.InfoContext(ctx, "migrated", "schema", schema, "version", r.Source.Version, "duration", r.Duration)
	}
	return Wrap(err, "migrate %s", schema)
}

// newProvider is goose over the embedded files of one schema. Its store is named with the schema, so that one database can hold
// the version tables of all services.
func newProvider(db *sql.DB, schema string) (*goose.Provider, error) {
	files, err := fs.Sub(migrations.FS, schema)
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockID("migrate "+schema)), lock.WithLockTimeout(1, 600))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(database.DialectPostgres, db, files, goose.WithTableName(schema+".goose_db_version"),
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
}

// createSchema asks before it creates, since the role may own the schema without having the right to create one. Two that create at
// once may meet: one is then told of a duplicate.
func createSchema(ctx context.Context, db *sql.DB, schema string) error {
	var exists bool
	err := db.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema).Scan(&exists)
	if err != nil || exists {
		return err
	}
	_, err = db.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{schema}.Sanitize())
	if hasCode(err, duplicateSchema, uniqueViolation) {
		return nil
	}
	return err
}

// Verify checks that every migration this program knows was applied; the database may be ahead. Where some are missing it returns
// errs.Unavailable with the command to run.
func Verify(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	pending, err := embeddedVersions(schema)
	if err != nil {
		return err
	}
	rows, err := pool.Query(ctx, "SELECT version_id FROM "+pgx.Identifier{schema, "goose_db_version"}.Sanitize()+" WHERE is_applied")
	if err == nil {
		var applied []int64
		applied, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		for _, version := range applied {
			delete(pending, version)
		}
	}
	if err != nil && !hasCode(err, undefinedTable, invalidSchemaName) {
		return Wrap(err, "read the schema version of %s", schema)
	}
	if len(pending) > 0 {
		return errs.New(errs.Unavailable, "schema %s lacks the migrations %v: run `%s migrate`, or start with MIGRATE=auto",
			schema, slices.Sorted(maps.Keys(pending)), schema)
	}
	return nil
}

func embeddedVersions(schema string) (map[int64]bool, error) {
	files, err := fs.Glob(migrations.FS, schema+"/*.sql")
	if err != nil {
		return nil, err
	}
	versions := map[int64]bool{}
	for _, file := range files {
		version, err := goose.NumericComponent(file)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", file, err)
		}
		versions[version] = true
	}
	if len(versions) == 0 {
		return nil, errs.New(errs.Internal, "no migrations are known for schema %s", schema)
	}
	return versions, nil
}

// lockID turns a name into the key of an advisory lock.
func lockID(name string) int64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return int64(h.Sum64()) //nolint:gosec // any 64 bits will do
}
