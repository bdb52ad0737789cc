package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// A Store is what a pool of workers writes to.
var _ work.Store = (*Store)(nil)

const claimSQL = `UPDATE reconciler.work w
SET state = 'running', fence = w.fence + 1, holder = $2, next_at = now() + $3::interval, class = 3, causes = '[]', since = now()
FROM (SELECT cluster_uid, class, causes, queued_at FROM reconciler.work WHERE cluster_uid = $1 AND state = 'queued' FOR UPDATE) old
WHERE w.cluster_uid = old.cluster_uid
RETURNING w.fence, old.class, w.takeover, w.full_apply, w.attempts, old.causes, coalesce(now() - old.queued_at, interval '0')`

// Claim implements work.Store.
func (s *Store) Claim(ctx context.Context, clusterUID, holder string, lease time.Duration) (work.Claim, error) {
	c := work.Claim{ClusterUID: clusterUID}
	err := s.pool.QueryRow(ctx, claimSQL, clusterUID, holder, lease).
		Scan(&c.Fence, &c.Class, &c.Takeover, &c.FullApply, &c.Attempts, &c.Causes, &c.QueuedFor)
	return c, postgres.Wrap(err, "claim cluster %s", clusterUID)
}

// Renew implements work.Store.
func (s *Store) Renew(ctx context.Context, c work.Claim, lease time.Duration) error {
	tag, err := s.pool.Exec(ctx, `UPDATE reconciler.work SET next_at = now() + $3::interval
WHERE cluster_uid = $1 AND fence = $2 AND state = 'running'`, c.ClusterUID, c.Fence, lease)
	if err == nil && tag.RowsAffected() == 0 {
		return leaseLost(c)
	}
	return postgres.Wrap(err, "renew the lease on cluster %s", c.ClusterUID)
}

func leaseLost(c work.Claim) error {
	return errs.New(errs.Conflict, "the lease on cluster %s under fence %d is lost", c.ClusterUID, c.Fence)
}

// lockClaim locks the work row if the claim still holds and returns its want. It comes first in each of a run's transactions.
func lockClaim(ctx context.Context, tx pgx.Tx, c work.Claim) (want int64, err error) {
	err = tx.QueryRow(ctx, "SELECT want FROM reconciler.work WHERE cluster_uid = $1 AND fence = $2 AND state = 'running' FOR UPDATE",
		c.ClusterUID, c.Fence).Scan(&want)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, leaseLost(c)
	}
	return want, postgres.Wrap(err, "lock the work row of cluster %s", c.ClusterUID)
}

// RecordTarget implements work.Store. The advisory lock lets only one of two clusters with one target be first.
func (s *Store) RecordTarget(ctx context.Context, c work.Claim, targetID string, shared bool) (duplicate string, err error) {
	err = postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if _, err := lockClaim(ctx, tx, c); err != nil {
			return err
		}
		if !shared {
			if duplicate, err = otherCluster(ctx, tx, c, targetID); err != nil || duplicate != "" {
				return err
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO reconciler.clustersyncs AS s (cluster_uid, target_id) VALUES ($1, $2)
ON CONFLICT (cluster_uid) DO UPDATE SET target_id = excluded.target_id, resource_version = nextval('reconciler.resource_version')
WHERE s.target_id <> excluded.target_id`, c.ClusterUID, targetID)
		return err
	})
	return duplicate, postgres.Wrap(err, "record the target of cluster %s", c.ClusterUID)
}

func otherCluster(ctx context.Context, tx pgx.Tx, c work.Claim, targetID string) (name string, err error) {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('target ' || $1, 0))", targetID); err != nil {
		return "", err
	}
	err = tx.QueryRow(ctx, `SELECT o.namespace || '/' || o.name FROM reconciler.clustersyncs s
JOIN reconciler.clusters o ON o.uid = s.cluster_uid WHERE s.target_id = $1 AND s.cluster_uid <> $2 LIMIT 1`,
		targetID, c.ClusterUID).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return name, err
}

// WriteIntents implements work.Store.
func (s *Store) WriteIntents(ctx context.Context, c work.Claim, want int64, targetID string, rows []inventory.Row) error {
	err := postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if err := unmoved(ctx, tx, c, want); err != nil {
			return err
		}
		return upsertInventory(ctx, tx, c.ClusterUID, targetID, rows)
	})
	return wrapRun(err, "write %d intents for cluster %s", len(rows), c.ClusterUID)
}

// Recheck implements work.Store.
func (s *Store) Recheck(ctx context.Context, c work.Claim, want int64, removals []string, lease time.Duration) error {
	err := postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if err := unmoved(ctx, tx, c, want); err != nil {
			return err
		}
		var open int
		var paused bool
		err := tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM reconciler.removals WHERE cluster_uid = $1 AND set_uid = ANY($2::uuid[])
	AND state = 'open'), (SELECT paused_at IS NOT NULL FROM reconciler.planner WHERE one)`, c.ClusterUID, removals).Scan(&open, &paused)
		if err == nil && (paused || open != len(removals)) {
			return work.ErrMovedOn
		}
		if err != nil {
			return err
		}
		if err := beginRemovals(ctx, tx, c.ClusterUID, removals); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE reconciler.work SET next_at = now() + $2::interval WHERE cluster_uid = $1", c.ClusterUID, lease)
		return err
	})
	return wrapRun(err, "check the removals of cluster %s", c.ClusterUID)
}

// unmoved locks the work row and fails with work.ErrMovedOn when the planner marked the cluster since it was loaded.
func unmoved(ctx context.Context, tx pgx.Tx, c work.Claim, want int64) error {
	now, err := lockClaim(ctx, tx, c)
	if err == nil && now != want {
		return work.ErrMovedOn
	}
	return err
}

// wrapRun is postgres.Wrap that leaves work.ErrMovedOn as it is.
func wrapRun(err error, format string, args ...any) error {
	if errors.Is(err, work.ErrMovedOn) {
		return err
	}
	return postgres.Wrap(err, format, args...)
}

// Heartbeat implements work.Store.
func (s *Store) Heartbeat(ctx context.Context, holder string, slots int) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO reconciler.workers (holder, slots) VALUES ($1, $2)
ON CONFLICT (holder) DO UPDATE SET slots = excluded.slots, seen_at = now()`, holder, slots)
	return postgres.Wrap(err, "record the worker's heartbeat")
}

// Leave implements work.Store.
func (s *Store) Leave(ctx context.Context, holder string) error {
	_, err := s.pool.Exec(ctx, "DELETE FROM reconciler.workers WHERE holder = $1", holder)
	return postgres.Wrap(err, "remove the worker")
}
