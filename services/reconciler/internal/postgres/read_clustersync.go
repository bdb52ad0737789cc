package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/postgres"
)

const clusterSyncSQL = `SELECT c.uid::text, c.namespace, c.name, c.generation, c.document -> 'labels',
	coalesce((c.document ->> 'suspended')::boolean, false), s.resource_version, s.target_id, s.reachable, s.reason, s.message, s.changed_at,
	s.kubernetes_version, s.last_contact_at, s.first_success_at, s.last_run, s.health,
	w.state, w.since, w.next_at, w.attempts, w.next_at <= now(), p.paused_at IS NOT NULL
FROM reconciler.clusters c JOIN reconciler.clustersyncs s ON s.cluster_uid = c.uid JOIN reconciler.work w ON w.cluster_uid = c.uid
CROSS JOIN reconciler.planner p`

// clusterRow is what the tables say of a cluster, before it is put into words.
type clusterRow struct {
	document       v1.ClusterSync
	reachable      v1.Condition
	suspended, due bool
	paused         bool
	state          string
	work           v1.WorkStatus
}

// GetClusterSync returns what is known of a cluster, with the objects of each set. It returns errs.NotFound for an unknown one.
func (s *Store) GetClusterSync(ctx context.Context, key request.Key) (v1.ClusterSync, error) {
	var document v1.ClusterSync
	if !storable(key.Namespace, key.Name) {
		return document, errs.New(errs.NotFound, "cluster %q is not known to the reconciler", key)
	}
	_, err := s.snapshot(ctx, func(tx pgx.Tx) error {
		rows, err := clusterRows(ctx, tx, "c.namespace = $1 AND c.name = $2 ORDER BY c.resource_version DESC LIMIT 1", key.Namespace, key.Name)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return errs.New(errs.NotFound, "cluster %s is not known to the reconciler", key)
		}
		documents, err := assemble(ctx, tx, rows, "")
		if err != nil {
			return err
		}
		document = documents[0]
		return addObjects(ctx, tx, &document)
	})
	return document, postgres.Wrap(err, "read clustersync %s", key)
}

func clusterRows(ctx context.Context, tx pgx.Tx, where string, args ...any) ([]clusterRow, error) {
	rows, err := tx.Query(ctx, clusterSyncSQL+" WHERE p.one AND "+where, append([]any{planAnew}, args...)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanClusterRow)
}

func scanClusterRow(row pgx.CollectableRow) (clusterRow, error) {
	var r clusterRow
	d, c := &r.document, &r.reachable
	var resourceVersion int64
	err := row.Scan(&d.UID, &d.Namespace, &d.Name, &d.Generation, &d.Labels, &r.suspended, &resourceVersion, &d.Status.ClusterID,
		&c.Status, &c.Reason, &c.Message, &c.LastTransitionTime, &d.Status.KubernetesVersion, &d.Status.LastContactAt,
		&d.Status.FirstSuccessTime, &d.Status.LastRun, &d.Status.Health, &r.state, &r.work.Since, &r.work.NextAttemptAt, &r.work.Attempts, &r.due, &r.paused)
	d.APIVersion, d.Kind, d.ResourceVersion = v1.APIVersion, v1.KindClusterSync, fmt.Sprint(resourceVersion)
	c.Type, c.ObservedGeneration = v1.ConditionReachable, d.Generation
	return r, err
}

// assemble adds the sets of each cluster and puts everything into words. With a set, its uid, only that one is shown; what the conditions
// and the work say is about all of them, for which those that are no Success are enough.
func assemble(ctx context.Context, tx pgx.Tx, rows []clusterRow, set string) ([]v1.ClusterSync, error) {
	documents := make([]v1.ClusterSync, len(rows))
	uids := make([]string, len(rows))
	for i, r := range rows {
		uids[i] = r.document.UID
	}
	sets, err := setStatuses(ctx, tx, uids, set)
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		documents[i] = r.describe(sets[r.document.UID])
		if set != "" {
			status := &documents[i].Status
			status.SyncSets, status.SelectorSyncSets = alone(status.SyncSets, set), alone(status.SelectorSyncSets, set)
		}
	}
	return documents, nil
}

// setStatus is a set's status on one cluster with what decides where it is listed.
type setStatus struct {
	v1.SetStatus
	resource string
	backoff  bool // its next attempt is yet to come
	attempts int
}

// alone keeps the entry of one set.
func alone(sets []v1.SetStatus, uid string) []v1.SetStatus {
	return slices.DeleteFunc(sets, func(s v1.SetStatus) bool { return s.UID != uid })
}

const setStatusesSQL = `SELECT t.cluster_uid::text, n.resource, n.namespace, n.name, n.uid::text, t.observed_generation,
	coalesce(t.target_generation, 0), t.result, t.cause, t.message, t.changed_at, t.first_success_at, coalesce(t.retry_at > now(), false),
	t.attempts, t.health
FROM %s t JOIN reconciler.sets n ON n.uid = t.set_uid ORDER BY t.cluster_uid, n.namespace, n.name, n.uid`

var (
	allStatusesSQL = fmt.Sprintf(setStatusesSQL, "(SELECT * FROM reconciler.cluster_sets WHERE cluster_uid = ANY($1::uuid[]))")
	// The rows of a cluster lie anywhere in the table: reading all of a page's costs more than everything else.
	fewStatusesSQL = fmt.Sprintf(setStatusesSQL, `(SELECT * FROM reconciler.cluster_sets WHERE cluster_uid = ANY($1::uuid[]) AND set_uid = $2
	UNION ALL SELECT * FROM reconciler.cluster_sets WHERE cluster_uid = ANY($1::uuid[]) AND result <> 'Success' AND set_uid <> $2)`)
)

// setStatuses reads the sets of clusters: with a set, its uid, that one and those that are no Success.
func setStatuses(ctx context.Context, tx pgx.Tx, clusters []string, only string) (map[string][]setStatus, error) {
	sql, args := allStatusesSQL, []any{planAnew, clusters}
	if only != "" {
		sql, args = fewStatusesSQL, append(args, only)
	}
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	all := map[string][]setStatus{}
	var cluster string
	var s setStatus
	_, err = pgx.ForEachRow(rows, []any{
		&cluster, &s.resource, &s.Namespace, &s.Name, &s.UID, &s.ObservedGeneration, &s.TargetGeneration, &s.Result, &s.Cause,
		&s.FailureMessage, &s.LastTransitionTime, &s.FirstSuccessTime, &s.backoff, &s.attempts, &s.Health,
	}, func() error {
		all[cluster] = append(all[cluster], s)
		return nil
	})
	return all, err
}

// addObjects adds the objects of each set: what the inventory holds, and what only the last run knows of.
func addObjects(ctx context.Context, tx pgx.Tx, document *v1.ClusterSync) error {
	rows, err := tx.Query(ctx, `SELECT set_uid::text, CASE WHEN api_group = '' THEN version ELSE api_group || '/' || version END, kind, namespace,
	name, object_uid, state, message, applied_at, health, health_message,
	CASE WHEN drifts > 0 THEN jsonb_build_object('count', drifts, 'lastAt', drifted_at, 'manager', drifted_by) END FROM reconciler.inventory i WHERE cluster_uid = $1 AND state <> 'Intent'
	AND EXISTS (SELECT FROM reconciler.clustersyncs s WHERE s.cluster_uid = i.cluster_uid AND s.target_id = i.target_id)
ORDER BY item, api_group, kind, namespace, name`, document.UID)
	if err != nil {
		return err
	}
	objects := map[string][]v1.ObjectStatus{}
	var set string
	var o v1.ObjectStatus
	_, err = pgx.ForEachRow(rows, []any{
		&set, &o.APIVersion, &o.Kind, &o.Namespace, &o.Name, &o.UID, &o.State, &o.Message, &o.AppliedAt,
		&o.Health, &o.HealthMessage, &o.Drift,
	}, func() error {
		objects[set] = append(objects[set], o)
		return nil
	})
	if err != nil {
		return err
	}
	rows, err = tx.Query(ctx, "SELECT set_uid::text, objects FROM reconciler.cluster_sets WHERE cluster_uid = $1", document.UID)
	if err != nil {
		return err
	}
	var others []v1.ObjectStatus
	_, err = pgx.ForEachRow(rows, []any{&set, &others}, func() error {
		objects[set] = overlay(objects[set], others)
		others = nil
		return nil
	})
	for _, sets := range [][]v1.SetStatus{document.Status.SyncSets, document.Status.SelectorSyncSets} {
		for i := range sets {
			sets[i].Objects = objects[sets[i].UID]
		}
	}
	return err
}

// overlay replaces objects by what others say of the same identity and adds the rest of others.
func overlay(objects, others []v1.ObjectStatus) []v1.ObjectStatus {
	for _, o := range others {
		found := false
		for i, have := range objects {
			if group(have.APIVersion) == group(o.APIVersion) && have.Kind == o.Kind && have.Namespace == o.Namespace && have.Name == o.Name {
				objects[i], found = o, true
			}
		}
		if !found {
			objects = append(objects, o)
		}
	}
	return objects
}
