package postgres

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

const loadClusterSQL = `SELECT now(), c.document, w.want, w.full_at <= now(), w.verify_at <= now(), coalesce(w.health_at <= now(), false),
	w.health_attempts, p.paused_at IS NOT NULL, coalesce(s.target_id, ''),
	coalesce(r.version, 0), coalesce(r.wanted, 0), coalesce(r.key_id, ''), r.sealed,
	EXISTS (SELECT FROM reconciler.cluster_sets t JOIN reconciler.set_secrets k USING (set_uid)
		WHERE t.cluster_uid = w.cluster_uid AND t.target_generation IS NOT NULL)
FROM reconciler.work w JOIN reconciler.clusters c ON c.uid = w.cluster_uid CROSS JOIN reconciler.planner p
LEFT JOIN reconciler.clustersyncs s ON s.cluster_uid = w.cluster_uid
LEFT JOIN reconciler.credentials r ON r.cluster_uid = w.cluster_uid
WHERE w.cluster_uid = $1 AND p.one`

// Load implements work.Store.
func (s *Store) Load(ctx context.Context, c work.Claim, known func(setUID string, generation int64) bool) (work.Snapshot, error) {
	var snap work.Snapshot
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := postgres.InTx(ctx, s.pool, options, func(tx pgx.Tx) (err error) {
		var copies bool
		if snap, copies, err = loadCluster(ctx, tx, c.ClusterUID); err != nil {
			return err
		}
		if copies {
			if snap.Secrets, err = loadSecrets(ctx, tx, snap.Cluster); err != nil {
				return err
			}
		}
		if snap.Sets, err = loadSets(ctx, tx, c.ClusterUID, known); err != nil {
			return err
		}
		if snap.Inventory, err = loadInventory(ctx, tx, c.ClusterUID, snap.TargetID); err != nil {
			return err
		}
		snap.Removals, err = loadRemovals(ctx, tx, c.ClusterUID)
		return err
	})
	if err != nil {
		return work.Snapshot{}, postgres.Wrap(err, "load cluster %s", c.ClusterUID)
	}
	return snap, nil
}

// loadCluster also reports whether any set copies secrets to the cluster.
func loadCluster(ctx context.Context, tx pgx.Tx, clusterUID string) (s work.Snapshot, copies bool, err error) {
	var document []byte
	err = tx.QueryRow(ctx, loadClusterSQL, clusterUID).Scan(&s.Now, &document, &s.Want, &s.FullDue, &s.VerifyDue, &s.HealthDue,
		&s.HealthAttempts, &s.Paused, &s.TargetID,
		&s.Credential.Version, &s.Credential.Wanted, &s.Credential.KeyID, &s.Credential.Sealed, &copies)
	if err != nil {
		return s, false, err
	}
	return s, copies, json.Unmarshal(document, &s.Cluster)
}

const loadSetsSQL = `SELECT c.set_uid::text, s.resource, s.namespace, s.name, c.target_generation, s.tracked_from, c.observed_generation,
	c.result, c.cause, c.message, c.attempts, c.retry_at, c.objects, c.patches, c.health,
	CASE WHEN c.target_generation IS NULL THEN s.document - ARRAY['resources', 'patches', 'secretMappings'] END
FROM reconciler.cluster_sets c JOIN reconciler.sets s ON s.uid = c.set_uid WHERE c.cluster_uid = $1`

func loadSets(ctx context.Context, tx pgx.Tx, clusterUID string, known func(string, int64) bool) ([]work.SetRow, error) {
	rows, err := tx.Query(ctx, loadSetsSQL, clusterUID)
	if err != nil {
		return nil, err
	}
	sets, err := pgx.CollectRows(rows, scanSetRow)
	if err != nil {
		return nil, err
	}
	return sets, loadDocuments(ctx, tx, sets, known)
}

func scanSetRow(row pgx.CollectableRow) (work.SetRow, error) {
	var s work.SetRow
	var objects, patches []byte
	p := &s.Previous
	err := row.Scan(&s.UID, &s.Resource, &s.Namespace, &s.Name, &s.Target, &s.TrackedFrom, &p.Observed, &p.Result, &p.Cause, &p.Message,
		&p.Attempts, &p.RetryAt, &objects, &patches, &p.Health, &s.Document)
	if err != nil {
		return s, err
	}
	return s, errors.Join(json.Unmarshal(objects, &p.Objects), json.Unmarshal(patches, &p.Patches))
}

// loadDocuments reads the generations to apply that the caller does not know yet.
func loadDocuments(ctx context.Context, tx pgx.Tx, sets []work.SetRow, known func(string, int64) bool) error {
	wanted := map[string]*work.SetRow{}
	var uids []string
	var generations []int64
	for n := range sets {
		if s := &sets[n]; s.Target != nil && !known(s.UID, *s.Target) {
			wanted[s.UID] = s
			uids, generations = append(uids, s.UID), append(generations, *s.Target)
		}
	}
	if len(uids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `SELECT g.set_uid::text, g.document FROM reconciler.set_generations g
JOIN unnest($1::uuid[], $2::bigint[]) AS w (set_uid, generation) USING (set_uid, generation)`, uids, generations)
	if err != nil {
		return err
	}
	var uid string
	var document []byte
	_, err = pgx.ForEachRow(rows, []any{&uid, &document}, func() error {
		wanted[uid].Document = append([]byte(nil), document...)
		return nil
	})
	return err
}

func loadRemovals(ctx context.Context, tx pgx.Tx, clusterUID string) (map[string]decide.Removal, error) {
	rows, err := tx.Query(ctx, "SELECT set_uid::text, generation, state FROM reconciler.removals WHERE cluster_uid = $1", clusterUID)
	if err != nil {
		return nil, err
	}
	removals := map[string]decide.Removal{}
	var r decide.Removal
	_, err = pgx.ForEachRow(rows, []any{&r.SetUID, &r.Generation, &r.State}, func() error {
		removals[r.SetUID] = r
		return nil
	})
	return removals, err
}

func loadInventory(ctx context.Context, tx pgx.Tx, clusterUID, targetID string) ([]inventory.Row, error) {
	rows, err := tx.Query(ctx, `SELECT api_group, kind, namespace, name, set_uid::text, set_generation, item, version, resource, state,
	existed, object_uid, marked_uid, hash, resource_version, message, applied_at, fields, health, health_message, drifts, drifted_at, drifted_by
FROM reconciler.inventory WHERE cluster_uid = $1 AND target_id = $2 ORDER BY api_group, kind, namespace, name`, clusterUID, targetID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r inventory.Row, err error) {
		err = row.Scan(&r.Group, &r.Kind, &r.Namespace, &r.Name, &r.SetUID, &r.SetGeneration, &r.Item, &r.Version, &r.Resource, &r.State,
			&r.Existed, &r.ObjectUID, &r.MarkedUID, &r.Hash, &r.ResourceVersion, &r.Message, &r.AppliedAt, &r.Fields,
			&r.Health, &r.HealthMessage, &r.Drifts, &r.DriftedAt, &r.DriftedBy)
		return r, err
	})
}
