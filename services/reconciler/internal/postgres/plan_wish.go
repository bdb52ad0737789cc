package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/api/request"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
)

// SyncNow makes a cluster due at once, whatever it waits for, with everything applied again. It returns errs.NotFound for an unknown
// cluster.
func (s *Store) SyncNow(ctx context.Context, key request.Key) error {
	err := s.plan(ctx, func(tx pgx.Tx, _ Planner) error {
		uid, err := clusterUID(ctx, tx, key)
		if err != nil {
			return err
		}
		return tryNow(ctx, tx, uid)
	})
	return postgres.Wrap(err, "sync cluster %s", key)
}

// tryNow marks a cluster and ends what keeps it waiting.
func tryNow(ctx context.Context, tx pgx.Tx, uid string) error {
	if err := mark(ctx, tx, []string{uid}, classEdit, traceparent(ctx)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE reconciler.work SET attempts = 0, health_attempts = 0, full_apply = true WHERE cluster_uid = $1`, uid)
	if err != nil {
		return postgres.Wrap(err, "end the backoff")
	}
	_, err = tx.Exec(ctx, "UPDATE reconciler.cluster_sets SET attempts = 0, retry_at = NULL WHERE cluster_uid = $1", uid)
	return postgres.Wrap(err, "end the backoff of sets")
}

// AcceptIdentity takes whatever target the cluster's document points to now for the cluster's own. What was owned on the former target
// is archived and never deleted from; removals, which were about it, are void. It returns errs.Conflict unless the target has changed.
func (s *Store) AcceptIdentity(ctx context.Context, key request.Key) error {
	err := s.plan(ctx, func(tx pgx.Tx, _ Planner) error {
		uid, err := clusterUID(ctx, tx, key)
		if err != nil {
			return err
		}
		var reason string
		err = tx.QueryRow(ctx, "SELECT reason FROM reconciler.clustersyncs WHERE cluster_uid = $1", uid).Scan(&reason)
		if err != nil {
			return err
		}
		if reason != "IdentityChanged" {
			return errs.New(errs.Conflict, "the target of cluster %s has not changed", key)
		}
		if err := tryNow(ctx, tx, uid); err != nil {
			return err
		}
		if err := forgetTarget(ctx, tx, uid); err != nil {
			return err
		}
		return announce(ctx, tx, announcement{operation: outbox.Updated, clusters: []string{uid}, actor: runActor})
	})
	return postgres.Wrap(err, "accept the identity of cluster %s", key)
}

// archivedColumns are what is kept of an inventory row of a former target.
const archivedColumns = `cluster_uid, target_id, api_group, kind, namespace, name, set_uid, set_generation, item, version, resource, state,
	existed, object_uid, marked_uid, hash, resource_version, message, applied_at, fields, health, health_message, drifts, drifted_at, drifted_by`

func forgetTarget(ctx context.Context, tx pgx.Tx, uid string) error {
	for _, sql := range []string{
		`WITH forgotten AS (UPDATE reconciler.cluster_sets SET result = 'Pending', cause = 'Queued', message = '', observed_generation = 0,
	changed_at = CASE WHEN result = 'Pending' THEN changed_at ELSE now() END, objects = '[]', patches = '[]', health = '',
	first_success_at = NULL
	WHERE cluster_uid = $1 RETURNING set_uid)
INSERT INTO reconciler.dirty_sets (set_uid) SELECT set_uid FROM forgotten`,
		`WITH gone AS (DELETE FROM reconciler.inventory WHERE cluster_uid = $1 RETURNING ` + archivedColumns + `)
INSERT INTO reconciler.archived_inventory (` + archivedColumns + `) SELECT * FROM gone`,
		"DELETE FROM reconciler.removals WHERE cluster_uid = $1",
		`UPDATE reconciler.clustersyncs SET target_id = '', health = '', first_success_at = NULL, resource_version = nextval('reconciler.resource_version')
WHERE cluster_uid = $1`,
	} {
		if _, err := tx.Exec(ctx, sql, uid); err != nil {
			return postgres.Wrap(err, "forget the target")
		}
	}
	return nil
}

// clusterUID finds a cluster by its name.
func clusterUID(ctx context.Context, tx pgx.Tx, key request.Key) (string, error) {
	var uid string
	err := pgx.ErrNoRows
	if storable(key.Namespace, key.Name) {
		err = tx.QueryRow(ctx, "SELECT uid::text FROM reconciler.clusters WHERE namespace = $1 AND name = $2 ORDER BY resource_version DESC LIMIT 1",
			key.Namespace, key.Name).Scan(&uid)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return "", errs.New(errs.NotFound, "cluster %q is not known to the reconciler", key)
	}
	return uid, postgres.Wrap(err, "find cluster %s", key)
}
