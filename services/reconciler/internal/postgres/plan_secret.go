package postgres

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/selector"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// optionAgain on a fan-out has every cluster of the set look again, also where the set says nothing new: what it copies has changed.
const optionAgain = "again"

// applySecret moves the projection of one secret. Its values are fetched by others; where they are here already, or not needed any more, the
// clusters of the sets that copy the secret are marked at once, else when they arrive: one run for one change.
func applySecret(ctx context.Context, tx pgx.Tx, e outbox.Event, done *Applied) error {
	key := v1.NamespacedName{Namespace: e.Namespace, Name: e.Name}
	if e.Operation == outbox.Deleted {
		tag, err := tx.Exec(ctx, "DELETE FROM reconciler.secrets WHERE uid = $1 AND resource_version <= $2", e.UID, e.ResourceVersion)
		if err != nil || tag.RowsAffected() == 0 {
			return postgres.Wrap(err, "drop secret %s/%s", e.Namespace, e.Name)
		}
		return markCopies(ctx, tx, key, e, done)
	}
	newer, err := projectSecret(ctx, tx, e)
	if err != nil || !newer {
		return err
	}
	arrived, err := wantValues(ctx, tx, e)
	if err != nil || !arrived {
		done.Wanted = done.Wanted || !arrived
		return err
	}
	return markCopies(ctx, tx, key, e, done)
}

// projectSecret reports whether the document was newer than what was known.
func projectSecret(ctx context.Context, tx pgx.Tx, e outbox.Event) (bool, error) {
	tag, err := tx.Exec(ctx, `INSERT INTO reconciler.secrets AS s (uid, namespace, name, generation, resource_version, labels, document)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (uid) DO UPDATE SET generation = excluded.generation, resource_version = excluded.resource_version,
	labels = excluded.labels, document = excluded.document WHERE s.resource_version < excluded.resource_version`,
		e.UID, e.Namespace, e.Name, e.Generation, e.ResourceVersion, selector.Index(labelsOf(e.Document)), e.Document)
	return tag.RowsAffected() > 0, postgres.Wrap(err, "project secret %s/%s", e.Namespace, e.Name)
}

// wantValues notes which version of the values is wanted, and reports whether it is here.
func wantValues(ctx context.Context, tx pgx.Tx, e outbox.Event) (arrived bool, err error) {
	var document v1.Secret
	if err := json.Unmarshal(e.Document, &document); err != nil {
		return false, err
	}
	err = tx.QueryRow(ctx, `INSERT INTO reconciler.secret_data AS d (secret_uid, wanted) VALUES ($1, $2)
ON CONFLICT (secret_uid) DO UPDATE SET wanted = greatest(d.wanted, excluded.wanted),
	attempts = CASE WHEN d.wanted < excluded.wanted THEN 0 ELSE d.attempts END,
	next_at = CASE WHEN d.wanted < excluded.wanted THEN now() ELSE d.next_at END
RETURNING version >= wanted`, e.UID, document.DataVersion).Scan(&arrived)
	return arrived, postgres.Wrap(err, "want values %d of secret %s/%s", document.DataVersion, e.Namespace, e.Name)
}

// copySecrets notes which secrets a set copies by its newest document. What older generations copy stays noted until no cluster is told to
// apply them any more.
func copySecrets(ctx context.Context, tx pgx.Tx, s set) error {
	namespaces, names := s.copies()
	if len(names) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `INSERT INTO reconciler.set_secrets (set_uid, namespace, name)
SELECT DISTINCT $1::uuid, namespace, name FROM unnest($2::text[], $3::text[]) AS c (namespace, name) ON CONFLICT DO NOTHING`,
		s.uid, namespaces, names)
	return postgres.Wrap(err, "note the secrets of %s %s", s.resource, s.name)
}

// forgetCopies drops what only generations copied that are gone.
func forgetCopies(ctx context.Context, tx pgx.Tx, s set) error {
	namespaces, names := s.copies()
	_, err := tx.Exec(ctx, `DELETE FROM reconciler.set_secrets WHERE set_uid = $1
	AND NOT EXISTS (SELECT FROM reconciler.set_generations g WHERE g.set_uid = $1 AND g.generation < $2)
	AND (namespace, name) NOT IN (SELECT namespace, name FROM unnest($3::text[], $4::text[]) AS c (namespace, name))`,
		s.uid, s.generation, namespaces, names)
	return postgres.Wrap(err, "forget secrets of %s %s", s.resource, s.name)
}

// copies are the secrets that the set copies, as columns for SQL; "" is any.
func (s set) copies() (namespaces, names []string) {
	namespaces, names = []string{}, []string{}
	for _, ref := range render.Copies(s.spec.SetSpec) {
		namespaces, names = append(namespaces, ref.Namespace), append(names, ref.Name)
	}
	return namespaces, names
}

// copier is a set that copies a secret.
type copier struct {
	uid        string
	generation int64
}

// markCopies has every cluster of every set that copies a secret look again because of e: few at once, many by a fan-out of the set.
func markCopies(ctx context.Context, tx pgx.Tx, secret v1.NamespacedName, e outbox.Event, done *Applied) error {
	rows, err := tx.Query(ctx, `SELECT DISTINCT s.uid::text, s.generation FROM reconciler.set_secrets k JOIN reconciler.sets s ON s.uid = k.set_uid
WHERE s.deleted_at IS NULL AND k.namespace IN ('', $1) AND k.name IN ('', $2) ORDER BY 1`, planAnew, secret.Namespace, secret.Name)
	if err != nil {
		return postgres.Wrap(err, "find the sets that copy secret %s/%s", secret.Namespace, secret.Name)
	}
	copiers, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c copier, err error) {
		return c, row.Scan(&c.uid, &c.generation)
	})
	if err != nil {
		return postgres.Wrap(err, "find the sets that copy secret %s/%s", secret.Namespace, secret.Name)
	}
	for _, c := range copiers {
		if err := c.again(ctx, tx, e, done); err != nil {
			return err
		}
	}
	return nil
}

// again has the clusters of one set look again.
func (c copier) again(ctx context.Context, tx pgx.Tx, e outbox.Event, done *Applied) error {
	rows, err := tx.Query(ctx, `SELECT cluster_uid::text FROM reconciler.cluster_sets WHERE set_uid = $1 AND target_generation IS NOT NULL
ORDER BY 1 LIMIT $2`, planAnew, c.uid, fanOutLink+1)
	if err != nil {
		return postgres.Wrap(err, "read the clusters of set %s", c.uid)
	}
	clusters, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return postgres.Wrap(err, "read the clusters of set %s", c.uid)
	}
	if len(clusters) > fanOutLink {
		done.FanOuts++
		return c.fanOut(ctx, tx, e)
	}
	done.Marked = done.Marked || len(clusters) > 0
	if err := mark(ctx, tx, clusters, classEdit, e.TraceParent); err != nil {
		return err
	}
	return tryAtOnce(ctx, tx, c.uid, clusters)
}

// fanOut appends a fan-out of what the set says already, unless one of this kind waits that has not been anywhere yet.
func (c copier) fanOut(ctx context.Context, tx pgx.Tx, e outbox.Event) error {
	_, err := tx.Exec(ctx, `INSERT INTO reconciler.fanouts (set_uid, generation, operation, old_targets, new_targets, options, actor,
	traceparent, tracestate)
SELECT s.uid, s.generation, 'updated', t.targets, t.targets, jsonb_build_object($2::text, 'true'), $3, $4, $5 FROM reconciler.sets s,
	LATERAL (SELECT coalesce(s.document -> 'clusterSelector', s.document -> 'clusterRefs') AS targets) t
WHERE s.uid = $1 AND NOT EXISTS (SELECT FROM reconciler.fanouts f WHERE f.set_uid = s.uid AND f.after_uid IS NULL AND f.options ? $2)`,
		c.uid, optionAgain, e.Actor, e.TraceParent, e.TraceState)
	return postgres.Wrap(err, "append the fan-out of set %s", c.uid)
}

// tryAtOnce ends the rest of a set that failed on clusters: what it failed for may be here now. Their work rows are marked already.
func tryAtOnce(ctx context.Context, tx pgx.Tx, setUID string, clusters []string) error {
	if len(clusters) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `UPDATE reconciler.cluster_sets SET attempts = 0, retry_at = NULL
WHERE set_uid = $1 AND cluster_uid = ANY($2::uuid[]) AND (attempts > 0 OR retry_at IS NOT NULL)`, planAnew, setUID, clusters)
	return postgres.Wrap(err, "try set %s at once", setUID)
}

// fetcherActor is who did what the arrival of values brings about.
const fetcherActor = "fetcher"

// markArrived has the clusters look again that were waiting for a secret's values, or have older ones.
func markArrived(ctx context.Context, tx pgx.Tx, secretUID string, done *Applied) error {
	var key v1.NamespacedName
	err := tx.QueryRow(ctx, "SELECT namespace, name FROM reconciler.secrets WHERE uid = $1", secretUID).Scan(&key.Namespace, &key.Name)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return postgres.Wrap(err, "read secret %s", secretUID)
	}
	return markCopies(ctx, tx, key, outbox.Event{Actor: fetcherActor, TraceParent: traceparent(ctx)}, done)
}
