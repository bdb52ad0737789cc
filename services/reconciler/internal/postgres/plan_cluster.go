package postgres

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/selector"
)

// clusterChange is what a batch does to one cluster: the newest document, or its removal.
type clusterChange struct {
	uid, namespace, name        string
	generation, resourceVersion int64
	labels, previous            map[string]string // previous: before this change
	kubeconfigVersion           int64
	document                    json.RawMessage
	deleted                     bool
	causes                      []string
	actor                       string
	leaving                     bool // to be cleaned up: it matches no set
	confirmed                   bool // the write confirmed what it makes the cluster lose
}

// applyClusters projects the newest document of each cluster in events and evaluates all sets against the ones whose targets may
// have changed.
func (s *Store) applyClusters(ctx context.Context, tx pgx.Tx, events []outbox.Event, done *Applied) error {
	changes, err := newest(events)
	if err != nil {
		return err
	}
	var gone, written []clusterChange
	for _, c := range changes {
		if c.deleted {
			gone = append(gone, c)
		} else {
			written = append(written, c)
		}
	}
	if err := dropClusters(ctx, tx, gone); err != nil {
		return err
	}
	changed, err := projectClusters(ctx, tx, written)
	if err != nil || len(changed) == 0 {
		return err
	}
	done.Marked = true
	return s.retarget(ctx, tx, changed)
}

// newest folds the events of each cluster into one change, in the order of uids.
func newest(events []outbox.Event) ([]clusterChange, error) {
	byUID := map[string]clusterChange{}
	for _, e := range events {
		if e.Resource != v1.ResourceClusters {
			continue
		}
		c := clusterChange{
			uid: e.UID, namespace: e.Namespace, name: e.Name, generation: e.Generation, resourceVersion: e.ResourceVersion,
			document: e.Document, deleted: e.Operation == outbox.Deleted, actor: e.Actor,
			causes:    append(byUID[e.UID].causes, e.TraceParent),
			confirmed: e.Options[optionHold] == "false",
		}
		var document v1.Cluster
		if err := json.Unmarshal(e.Document, &document); err != nil {
			return nil, err
		}
		c.labels, c.kubeconfigVersion = document.Labels, document.KubeconfigVersion
		c.leaving = document.DeletionRequestedAt != nil
		byUID[e.UID] = c
	}
	return slices.SortedFunc(maps.Values(byUID), func(a, b clusterChange) int {
		if a.uid < b.uid {
			return -1
		}
		return 1
	}), nil
}

func uids(changes []clusterChange) []string {
	all := make([]string, len(changes))
	for i, c := range changes {
		all[i] = c.uid
	}
	return all
}

// projectClusters writes the documents that are newer than the projection, notes which kubeconfig is wanted, and returns the clusters
// that are new, whose labels or generation changed, or whose write confirms what is held.
func projectClusters(ctx context.Context, tx pgx.Tx, changes []clusterChange) ([]clusterChange, error) {
	var changed []clusterChange
	for _, c := range changes {
		var differs bool
		err := tx.QueryRow(ctx, `WITH old AS (SELECT generation, labels, document FROM reconciler.clusters WHERE uid = $1), written AS (
	INSERT INTO reconciler.clusters AS c (uid, namespace, name, generation, resource_version, labels, document)
	VALUES ($1, $2, $3, $4, $5, $6, $7)
	ON CONFLICT (uid) DO UPDATE SET generation = excluded.generation, resource_version = excluded.resource_version,
		labels = excluded.labels, document = excluded.document
	WHERE c.resource_version < excluded.resource_version RETURNING uid)
SELECT EXISTS (SELECT FROM written) AND NOT EXISTS (SELECT FROM old WHERE generation = $4 AND labels = $6),
	(SELECT document -> 'labels' FROM old)`,
			c.uid, c.namespace, c.name, c.generation, c.resourceVersion, selector.Index(c.labels), c.document).Scan(&differs, &c.previous)
		if err != nil {
			return nil, postgres.Wrap(err, "project cluster %s/%s", c.namespace, c.name)
		}
		if err := wantKubeconfig(ctx, tx, c); err != nil {
			return nil, err
		}
		if differs || c.confirmed {
			changed = append(changed, c)
		}
	}
	return changed, nil
}

func wantKubeconfig(ctx context.Context, tx pgx.Tx, c clusterChange) error {
	_, err := tx.Exec(ctx, `INSERT INTO reconciler.credentials AS k (cluster_uid, wanted) VALUES ($1, $2)
ON CONFLICT (cluster_uid) DO UPDATE SET wanted = excluded.wanted, attempts = 0, next_at = now() WHERE k.wanted < excluded.wanted`,
		c.uid, c.kubeconfigVersion)
	return postgres.Wrap(err, "want kubeconfig %d of cluster %s/%s", c.kubeconfigVersion, c.namespace, c.name)
}

// announceClusters tells of clusters that are in step with what selects them: those of created are new.
func announceClusters(ctx context.Context, tx pgx.Tx, changed []clusterChange, created []string) error {
	isNew := make(map[string]bool, len(created))
	for _, uid := range created {
		isNew[uid] = true
	}
	return announceAll(ctx, tx, changed, func(c clusterChange) string {
		if isNew[c.uid] {
			return outbox.Created
		}
		return outbox.Updated
	})
}

// announceAll announces an operation about each cluster, those of one operation and actor together.
func announceAll(ctx context.Context, tx pgx.Tx, changes []clusterChange, operation func(clusterChange) string) error {
	type kind struct{ operation, actor string }
	all := map[kind]*announcement{}
	for _, c := range changes {
		k := kind{operation(c), c.actor}
		if all[k] == nil {
			all[k] = &announcement{operation: k.operation, actor: k.actor, previous: map[string]map[string]string{}}
		}
		all[k].clusters = append(all[k].clusters, c.uid)
		if !c.deleted {
			all[k].previous[c.uid] = c.previous
		}
	}
	for _, a := range all {
		if err := announce(ctx, tx, *a); err != nil {
			return err
		}
	}
	return nil
}

// dropClusters forgets clusters with everything known of them. The objects on the targets stay.
func dropClusters(ctx context.Context, tx pgx.Tx, changes []clusterChange) error {
	if len(changes) == 0 {
		return nil
	}
	clusters := uids(changes)
	// The work rows go first: a run that still holds one can write nothing any more.
	if err := lockWork(ctx, tx, clusters); err != nil {
		return err
	}
	if err := announceAll(ctx, tx, changes, func(clusterChange) string { return outbox.Deleted }); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `WITH gone AS (DELETE FROM reconciler.cluster_sets WHERE cluster_uid = ANY($1::uuid[]) RETURNING set_uid)
INSERT INTO reconciler.dirty_sets (set_uid) SELECT DISTINCT set_uid FROM gone`, clusters)
	if err != nil {
		return postgres.Wrap(err, "drop %d clusters from cluster_sets", len(clusters))
	}
	for _, table := range []string{"work", "inventory", "removals", "clustersyncs"} {
		if _, err := tx.Exec(ctx, "DELETE FROM reconciler."+table+" WHERE cluster_uid = ANY($1::uuid[])", clusters); err != nil {
			return postgres.Wrap(err, "drop %d clusters from %s", len(clusters), table)
		}
	}
	_, err = tx.Exec(ctx, "DELETE FROM reconciler.clusters WHERE uid = ANY($1::uuid[])", clusters)
	return postgres.Wrap(err, "drop %d clusters", len(clusters))
}
