package postgres

import (
	"context"
	"errors"
	"reflect"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
)

// Between two counts of a set lies at least countEvery, and so much more that counting is at most a twentieth of the time.
const (
	countEvery = time.Second
	countShare = 20
)

// RecountAll has every set counted again, whatever was noted.
func (s *Store) RecountAll(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, "INSERT INTO reconciler.dirty_sets (set_uid) SELECT uid FROM reconciler.sets")
	return postgres.Wrap(err, "have all sets counted")
}

// SetsToCount returns the sets whose totals may be others than stored and that may be counted again, and those that never were.
func (s *Store) SetsToCount(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT set_uid::text FROM (SELECT DISTINCT set_uid FROM reconciler.dirty_sets) d
WHERE NOT EXISTS (SELECT FROM reconciler.setsyncs y WHERE y.set_uid = d.set_uid AND y.next_at > now())
UNION SELECT uid::text FROM reconciler.sets WHERE NOT EXISTS (SELECT FROM reconciler.setsyncs y WHERE y.set_uid = uid) ORDER BY 1`)
	if err != nil {
		return nil, postgres.Wrap(err, "find sets to count")
	}
	sets, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return sets, postgres.Wrap(err, "find sets to count")
}

// CountSet counts one set over its clusters, stores the totals, and announces them when they differ. What was noted is taken away first: a
// change that is noted later is counted again, whether this count saw it or not. Two counts of one set come one after the other.
func (s *Store) CountSet(ctx context.Context, uid string) error {
	err := postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		began := time.Now()
		_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('reconciler.count'), hashtext($1))", uid)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM reconciler.dirty_sets WHERE set_uid = $1", planAnew, uid); err != nil {
			return err
		}
		target, err := lockSet(ctx, tx, uid)
		if err != nil || target == nil {
			return err
		}
		status, err := count(ctx, tx, *target)
		if err != nil {
			return err
		}
		return storeCount(ctx, tx, *target, status, max(countEvery, countShare*time.Since(began)))
	})
	return postgres.Wrap(err, "count set %s", uid)
}

// lockSet reads a set and keeps it from being dropped meanwhile; nil when it is gone.
func lockSet(ctx context.Context, tx pgx.Tx, uid string) (*set, error) {
	s, err := scanSet(tx.QueryRow(ctx, "SELECT "+setColumns+" FROM reconciler.sets WHERE uid = $1 FOR KEY SHARE", uid))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return s, err
}

// countSQL: what has to go is no target, and is pending until it is gone. What is known of an unreachable cluster's health is out of date.
const countSQL = `SELECT count(*) FILTER (WHERE target_generation IS NOT NULL), count(*) FILTER (WHERE result = 'Success'),
	count(*) FILTER (WHERE result = 'Pending' AND cause <> 'Unreachable'), count(*) FILTER (WHERE result = 'Failure'),
	count(*) FILTER (WHERE result = 'Pending' AND cause = 'Unreachable'), count(*) FILTER (WHERE result = 'Suspended'),
	count(*) FILTER (WHERE fit AND health = 'Current'), count(*) FILTER (WHERE fit AND health IN ('InProgress', 'Terminating', 'NotFound')),
	count(*) FILTER (WHERE fit AND health = 'Failed'),
	count(*) FILTER (WHERE health <> '' AND (NOT fit OR health NOT IN ('Current', 'InProgress', 'Terminating', 'NotFound', 'Failed'))),
	(SELECT count(*) FROM reconciler.removals WHERE set_uid = $1 AND state = 'held')
FROM (SELECT *, cause <> 'Unreachable' AS fit FROM reconciler.cluster_sets WHERE set_uid = $1) t`

func count(ctx context.Context, tx pgx.Tx, target set) (v1.SetSyncStatus, error) {
	s := v1.SetSyncStatus{SetKind: setKind(target.resource), Deleted: target.deleted, Generation: target.generation}
	err := tx.QueryRow(ctx, countSQL, planAnew, target.uid).Scan(&s.Targets, &s.Applied, &s.Pending, &s.Failed, &s.Unreachable, &s.Suspended,
		&s.Health.Current, &s.Health.InProgress, &s.Health.Failed, &s.Health.Unknown, &s.Held)
	if err != nil {
		return s, err
	}
	if s.Failed > 0 {
		if s.Failures, err = failures(ctx, tx, target.uid); err != nil {
			return s, err
		}
	}
	s.MissingRefs, err = missingRefs(ctx, tx, target)
	return s, err
}

const failuresSQL = `SELECT message, count(*)::int AS n,
	(array_agg(cluster_namespace || '/' || cluster_name ORDER BY cluster_namespace COLLATE "C", cluster_name COLLATE "C"))[1:5]
FROM reconciler.cluster_sets WHERE set_uid = $1 AND result = 'Failure' GROUP BY message ORDER BY n DESC, message LIMIT 10`

func failures(ctx context.Context, tx pgx.Tx, uid string) ([]v1.FailureGroup, error) {
	rows, err := tx.Query(ctx, failuresSQL, planAnew, uid)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[v1.FailureGroup])
}

// missingRefs returns the names, as "namespace/name", that a syncset refers to and no cluster has; nil when there are none.
func missingRefs(ctx context.Context, tx pgx.Tx, target set) ([]string, error) {
	if target.resource != v1.ResourceSyncSets || target.deleted || len(target.spec.ClusterRefs) == 0 {
		return nil, nil
	}
	names := make([]string, len(target.spec.ClusterRefs))
	for i, r := range target.spec.ClusterRefs {
		names[i] = r.Name
	}
	rows, err := tx.Query(ctx, `SELECT DISTINCT $1 || '/' || n FROM unnest($2::text[]) n
WHERE NOT EXISTS (SELECT FROM reconciler.clusters c WHERE c.namespace = $1 AND c.name = n) ORDER BY 1`, target.namespace, names)
	if err != nil {
		return nil, err
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if len(missing) == 0 {
		return nil, err
	}
	return missing, err
}

// storeCount writes the totals. What says the same as before moves no resource version and is no event.
func storeCount(ctx context.Context, tx pgx.Tx, target set, status v1.SetSyncStatus, next time.Duration) error {
	var old *v1.SetSyncStatus
	err := tx.QueryRow(ctx, "SELECT status FROM reconciler.setsyncs WHERE set_uid = $1 FOR UPDATE", target.uid).Scan(&old)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if old != nil && reflect.DeepEqual(*old, status) {
		_, err := tx.Exec(ctx, `UPDATE reconciler.setsyncs SET counted_at = clock_timestamp(), next_at = clock_timestamp() + $2
WHERE set_uid = $1`, target.uid, next)
		return err
	}
	document := v1.SetSync{Metadata: v1.Metadata{
		APIVersion: v1.APIVersion, Kind: v1.KindSetSync, Namespace: target.namespace, Name: target.name, UID: target.uid,
		Generation: target.generation,
	}, Status: status}
	var version int64
	err = tx.QueryRow(ctx, `INSERT INTO reconciler.setsyncs AS y (set_uid, status, counted_at, next_at)
VALUES ($1, $2, clock_timestamp(), clock_timestamp() + $3)
ON CONFLICT (set_uid) DO UPDATE SET status = excluded.status, counted_at = excluded.counted_at, next_at = excluded.next_at,
	resource_version = nextval('reconciler.resource_version')
RETURNING resource_version, counted_at, (SELECT document -> 'labels' FROM reconciler.sets WHERE uid = $1)`,
		target.uid, status, next).Scan(&version, &document.Status.CountedAt, &document.Labels)
	if err != nil {
		return err
	}
	document.ResourceVersion, document.Status.CountedAt = strconv.FormatInt(version, 10), document.Status.CountedAt.UTC()
	operation := outbox.Updated
	if old == nil {
		operation = outbox.Created
	}
	return appendSetSync(ctx, tx, operation, document, runActor, nil)
}

// appendSetSync leaves an event about a setsync.
func appendSetSync(ctx context.Context, tx pgx.Tx, operation string, d v1.SetSync, actor string, options map[string]string) error {
	version, err := strconv.ParseInt(d.ResourceVersion, 10, 64)
	if err != nil {
		return err
	}
	change := outbox.Change{
		Resource: v1.ResourceSetSyncs, Operation: operation, UID: d.UID, Namespace: d.Namespace, Name: d.Name, Generation: d.Generation,
		ResourceVersion: version, Document: d, Options: options, Actor: actor,
	}
	if operation != outbox.Created {
		change.PreviousLabels = d.Labels
	}
	return outbox.Append(ctx, tx, "reconciler", change)
}

// announceGone leaves the last event of setsyncs that are about to go. One that was never counted was never announced either.
func announceGone(ctx context.Context, tx pgx.Tx, sets []string) error {
	_, err := tx.Exec(ctx, `UPDATE reconciler.setsyncs SET resource_version = nextval('reconciler.resource_version')
WHERE set_uid = ANY($1::uuid[])`, sets)
	if err != nil {
		return postgres.Wrap(err, "end the setsyncs of %d sets", len(sets))
	}
	documents, err := readSetSyncs(ctx, tx, "uid = ANY($1::uuid[]) AND total.set_uid IS NOT NULL ORDER BY uid", sets)
	if err != nil {
		return postgres.Wrap(err, "end the setsyncs of %d sets", len(sets))
	}
	for _, d := range documents {
		if err := appendSetSync(ctx, tx, outbox.Deleted, d, runActor, nil); err != nil {
			return err
		}
	}
	return nil
}
