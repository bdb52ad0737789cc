package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/syncsets/syncsets/libs/installation"
	"github.com/syncsets/syncsets/libs/postgres"
)

// Installation returns the id of the system that the schema belongs to, "" before Remember.
func Installation(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	var id string
	err := pool.QueryRow(ctx, "SELECT id::text FROM syncsets.installation WHERE one").Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return id, postgres.Wrap(err, "read the installation")
}

// Remember binds the schema to a system. It returns errs.Conflict when it belongs to another one.
func Remember(ctx context.Context, pool *pgxpool.Pool, id string) error {
	if _, err := pool.Exec(ctx, "INSERT INTO syncsets.installation (id) VALUES ($1) ON CONFLICT DO NOTHING", id); err != nil {
		return postgres.Wrap(err, "remember the installation")
	}
	known, err := Installation(ctx, pool)
	if err != nil {
		return err
	}
	return installation.Check(Schema, known, id)
}
