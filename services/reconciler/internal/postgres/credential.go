package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/postgres"
)

// Wanted is a kubeconfig to be fetched: the version that the cluster's document names.
type Wanted struct {
	ClusterUID string
	Version    int64
	Attempts   int
}

// WantedCredentials returns up to limit clusters whose kubeconfig is due to be fetched, and reserves them for hold.
func (s *Store) WantedCredentials(ctx context.Context, limit int, hold time.Duration) ([]Wanted, error) {
	rows, err := s.pool.Query(ctx, `WITH due AS (SELECT cluster_uid FROM reconciler.credentials
	WHERE wanted > version AND next_at <= now() ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED)
UPDATE reconciler.credentials k SET next_at = now() + make_interval(secs => $2) FROM due WHERE due.cluster_uid = k.cluster_uid
RETURNING k.cluster_uid::text, k.wanted, k.attempts`, limit, hold.Seconds())
	if err != nil {
		return nil, postgres.Wrap(err, "find wanted kubeconfigs")
	}
	wanted, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Wanted])
	return wanted, postgres.Wrap(err, "find wanted kubeconfigs")
}

// StoreCredential keeps a sealed kubeconfig and marks its cluster, which is then tried at once whatever failed before. An older
// version than the stored one, and one of a cluster that is gone, is dropped.
func (s *Store) StoreCredential(ctx context.Context, clusterUID string, version int64, keyID string, sealed []byte) error {
	err := s.plan(ctx, func(tx pgx.Tx, _ Planner) error {
		var known bool
		err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM reconciler.credentials WHERE cluster_uid = $1 AND version < $2)",
			clusterUID, version).Scan(&known)
		if err != nil || !known {
			return err
		}
		if err := mark(ctx, tx, []string{clusterUID}, classEdit, traceparent(ctx)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE reconciler.work SET attempts = 0 WHERE cluster_uid = $1", clusterUID); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE reconciler.credentials SET version = $2, key_id = $3, sealed = $4, attempts = 0, next_at = now()
WHERE cluster_uid = $1`, clusterUID, version, keyID, sealed)
		return err
	})
	return postgres.Wrap(err, "store kubeconfig %d of cluster %s", version, clusterUID)
}

// RetryCredential notes a failed attempt and when to try again.
func (s *Store) RetryCredential(ctx context.Context, clusterUID string, in time.Duration) error {
	_, err := s.pool.Exec(ctx, `UPDATE reconciler.credentials SET attempts = attempts + 1, next_at = now() + make_interval(secs => $2)
WHERE cluster_uid = $1`, clusterUID, in.Seconds())
	return postgres.Wrap(err, "put off the kubeconfig of cluster %s", clusterUID)
}

// CredentialKeys returns the ids of the keys that stored kubeconfigs are sealed with.
func (s *Store) CredentialKeys(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, "SELECT DISTINCT key_id FROM reconciler.credentials WHERE key_id <> '' ORDER BY 1")
	if err != nil {
		return nil, postgres.Wrap(err, "read the key ids")
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ids, postgres.Wrap(err, "read the key ids")
}
