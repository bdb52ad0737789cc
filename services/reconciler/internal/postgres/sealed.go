package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/postgres"
)

// Sealed is a kind of value that another service keeps and that is fetched from there: what its table and key are.
type Sealed struct{ table, key string }

// The kinds of sealed values.
var (
	Kubeconfigs = Sealed{table: "credentials", key: "cluster_uid"}
	SecretData  = Sealed{table: "secret_data", key: "secret_uid"}
)

// sql puts the names of the kind's table and key into a statement.
func (k Sealed) sql(statement string) string { return fmt.Sprintf(statement, k.table, k.key) }

// Wanted is a value to be fetched: of what, and the version that the document names.
type Wanted struct {
	UID      string
	Version  int64
	Attempts int
}

// Wanted returns up to limit values of a kind that are due to be fetched, and reserves them for hold.
func (s *Store) Wanted(ctx context.Context, k Sealed, limit int, hold time.Duration) ([]Wanted, error) {
	rows, err := s.pool.Query(ctx, k.sql(`WITH due AS (SELECT %[2]s FROM reconciler.%[1]s
	WHERE wanted > version AND next_at <= now() ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED)
UPDATE reconciler.%[1]s k SET next_at = now() + make_interval(secs => $2) FROM due WHERE due.%[2]s = k.%[2]s
RETURNING k.%[2]s::text, k.wanted, k.attempts`), limit, hold.Seconds())
	if err != nil {
		return nil, postgres.Wrap(err, "find wanted %s", k.table)
	}
	wanted, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Wanted])
	return wanted, postgres.Wrap(err, "find wanted %s", k.table)
}

// StoreSealed keeps a sealed value and marks the clusters that it concerns, which are then tried at once whatever failed before. An older
// version than the stored one, and one of what is gone, is dropped.
func (s *Store) StoreSealed(ctx context.Context, k Sealed, uid string, version int64, keyID string, sealed []byte) (Applied, error) {
	var done Applied
	err := s.plan(ctx, func(tx pgx.Tx, _ Planner) error {
		done = Applied{}
		var known bool
		err := tx.QueryRow(ctx, k.sql("SELECT EXISTS (SELECT FROM reconciler.%[1]s WHERE %[2]s = $1 AND version < $2)"), uid, version).Scan(&known)
		if err != nil || !known {
			return err
		}
		if err := k.arrived(ctx, tx, uid, &done); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, k.sql(`UPDATE reconciler.%[1]s SET version = $2, key_id = $3, sealed = $4, attempts = 0, next_at = now()
WHERE %[2]s = $1`), uid, version, keyID, sealed)
		return err
	})
	return done, postgres.Wrap(err, "store version %d of %s of %s", version, k.table, uid)
}

// arrived marks the clusters that a value concerns.
func (k Sealed) arrived(ctx context.Context, tx pgx.Tx, uid string, done *Applied) error {
	if k == SecretData {
		return markArrived(ctx, tx, uid, done)
	}
	done.Marked = true
	if err := mark(ctx, tx, []string{uid}, classEdit, traceparent(ctx)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "UPDATE reconciler.work SET attempts = 0 WHERE cluster_uid = $1", uid)
	return err
}

// RetrySealed notes a failed attempt and when to try again.
func (s *Store) RetrySealed(ctx context.Context, k Sealed, uid string, in time.Duration) error {
	_, err := s.pool.Exec(ctx, k.sql(`UPDATE reconciler.%[1]s SET attempts = attempts + 1, next_at = now() + make_interval(secs => $2)
WHERE %[2]s = $1`), uid, in.Seconds())
	return postgres.Wrap(err, "put off %s of %s", k.table, uid)
}

// SealKeys returns the ids of the keys that stored values are sealed with.
func (s *Store) SealKeys(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT key_id FROM reconciler.credentials WHERE key_id <> ''
UNION SELECT key_id FROM reconciler.secret_data WHERE key_id <> '' ORDER BY 1`)
	if err != nil {
		return nil, postgres.Wrap(err, "read the key ids")
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ids, postgres.Wrap(err, "read the key ids")
}
