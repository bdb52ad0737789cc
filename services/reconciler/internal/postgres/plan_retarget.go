package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/postgres"
)

// retarget marks clusters and brings their rows in step with what selects them now.
func (s *Store) retarget(ctx context.Context, tx pgx.Tx, changed []clusterChange) error {
	for _, c := range changed {
		if err := mark(ctx, tx, []string{c.uid}, classEdit, c.causes...); err != nil {
			return err
		}
	}
	rows, err := tx.Query(ctx, `INSERT INTO reconciler.clustersyncs (cluster_uid) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING
RETURNING cluster_uid::text`, uids(changed))
	if err != nil {
		return postgres.Wrap(err, "make the clustersyncs of %d clusters", len(changed))
	}
	created, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return postgres.Wrap(err, "make the clustersyncs of %d clusters", len(changed))
	}
	if err := s.inStep(ctx, tx, changed, nil); err != nil {
		return err
	}
	return announceClusters(ctx, tx, changed, created)
}

// inStep makes the rows and removals of sets on clusters, which are marked already, what the newest generations of the sets say: of the
// sets in only, or of all when that is nil. Whether a fan-out of a set has been there yet makes no difference.
func (s *Store) inStep(ctx context.Context, tx pgx.Tx, clusters []clusterChange, only []string) error {
	m, err := match(ctx, tx, clusters, only)
	if err != nil {
		return err
	}
	written, err := writeTargets(ctx, tx, m)
	if err != nil {
		return err
	}
	touched, err := takeOff(ctx, tx, clusters, only, m, written)
	if err != nil {
		return err
	}
	for _, t := range touched {
		target, err := findSet(ctx, tx, t.set)
		if err != nil {
			return err
		}
		if target == nil {
			continue
		}
		for _, change := range t.changes(*target, clusters) {
			if err := s.settleRemovals(ctx, tx, change); err != nil {
				return err
			}
		}
	}
	return nil
}

// changes splits what is touched into what the writes of the clusters confirmed and what they did not.
func (t touched) changes(target set, clusters []clusterChange) []removalChange {
	confirmed := map[string]bool{}
	for _, c := range clusters {
		confirmed[c.uid] = c.confirmed
	}
	var changes []removalChange
	for _, sure := range []bool{true, false} {
		change := removalChange{set: target, actor: clusters[0].actor, confirmed: sure}
		for i, cluster := range t.clusters {
			if confirmed[cluster] == sure {
				change.clusters, change.matched = append(change.clusters, cluster), append(change.matched, t.matched[i])
			}
		}
		if len(change.clusters) > 0 {
			changes = append(changes, change)
		}
	}
	return changes
}

// catchUp brings clusters that are about to lose objects of a set in step with the other sets that have a fan-out left.
func (s *Store) catchUp(ctx context.Context, tx pgx.Tx, clusters []string, losing set, actor string) error {
	pending, err := pendingSets(ctx, tx, losing.uid)
	if err != nil || len(pending) == 0 {
		return err
	}
	rows, err := tx.Query(ctx, `SELECT uid::text, coalesce(document -> 'labels', '{}'), leaving FROM reconciler.clusters WHERE uid = ANY($1::uuid[])
ORDER BY uid`, clusters)
	if err != nil {
		return postgres.Wrap(err, "read %d clusters", len(clusters))
	}
	known, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c clusterChange, err error) {
		c.actor = actor
		return c, row.Scan(&c.uid, &c.labels, &c.leaving)
	})
	if err != nil || len(known) == 0 {
		return postgres.Wrap(err, "read %d clusters", len(clusters))
	}
	return s.inStep(ctx, tx, known, pending)
}

// pendingSets returns the sets other than one that have a fan-out left.
func pendingSets(ctx context.Context, tx pgx.Tx, except string) ([]string, error) {
	rows, err := tx.Query(ctx, "SELECT DISTINCT set_uid::text FROM reconciler.fanouts WHERE set_uid <> $1 ORDER BY 1", except)
	if err != nil {
		return nil, postgres.Wrap(err, "read the pending fan-outs")
	}
	pending, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return pending, postgres.Wrap(err, "read the pending fan-outs")
}

const writeTargetsSQL = `INSERT INTO reconciler.cluster_sets AS t (cluster_uid, set_uid, target_generation, cluster_namespace, cluster_name)
SELECT cluster, set, m.generation, coalesce(c.namespace, ''), coalesce(c.name, '')
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS m (cluster, set, generation) LEFT JOIN reconciler.clusters c ON c.uid = m.cluster
ORDER BY cluster, set
ON CONFLICT (cluster_uid, set_uid) DO UPDATE SET target_generation = excluded.target_generation, result = 'Pending', cause = 'Queued',
	message = '', attempts = 0, retry_at = NULL, changed_at = CASE WHEN t.result = 'Pending' THEN t.changed_at ELSE now() END
WHERE t.target_generation IS DISTINCT FROM excluded.target_generation RETURNING cluster_uid::text, set_uid::text`

// pairs are clusters and sets side by side, as SQL wants them.
type pairs struct{ clusters, sets []string }

// writeTargets sets what each (cluster, set) row is to have, and returns which it wrote; rows that already say so stay untouched.
func writeTargets(ctx context.Context, tx pgx.Tx, m matches) (pairs, error) {
	written := pairs{clusters: []string{}, sets: []string{}}
	if len(m.clusters) == 0 {
		return written, nil
	}
	rows, err := tx.Query(ctx, writeTargetsSQL, planAnew, m.clusters, m.sets, m.generations)
	if err != nil {
		return written, postgres.Wrap(err, "write %d targets", len(m.clusters))
	}
	var cluster, set string
	_, err = pgx.ForEachRow(rows, []any{&cluster, &set}, func() error {
		written.clusters, written.sets = append(written.clusters, cluster), append(written.sets, set)
		return nil
	})
	if err != nil || len(written.sets) == 0 {
		return written, postgres.Wrap(err, "write %d targets", len(m.clusters))
	}
	return written, note(ctx, tx, slices.Clone(written.sets)...)
}

// touched is a set with the clusters on which its removals have to be settled.
type touched struct {
	set      string
	clusters []string
	matched  []bool
}

const takeOffSQL = `WITH matched AS (SELECT * FROM unnest($2::uuid[], $3::uuid[]) AS m (cluster_uid, set_uid)), off AS (
	UPDATE reconciler.cluster_sets t SET target_generation = NULL, result = 'Pending', cause = 'Queued', message = '', attempts = 0,
		retry_at = NULL, changed_at = now()
	WHERE t.cluster_uid = ANY($1::uuid[]) AND t.target_generation IS NOT NULL AND t.set_uid <> ALL($4::uuid[])
		AND ($5::uuid[] IS NULL OR t.set_uid = ANY($5))
		AND NOT EXISTS (SELECT FROM matched m WHERE m.cluster_uid = t.cluster_uid AND m.set_uid = t.set_uid)
	RETURNING t.cluster_uid, t.set_uid), noted AS (
	INSERT INTO reconciler.dirty_sets (set_uid) SELECT DISTINCT set_uid FROM off)
SELECT q.set_uid::text, array_agg(q.cluster_uid::text ORDER BY q.cluster_uid), array_agg(m.set_uid IS NOT NULL ORDER BY q.cluster_uid)
FROM (SELECT w.* FROM (SELECT * FROM off UNION SELECT * FROM unnest($6::uuid[], $7::uuid[]) UNION
		SELECT cluster_uid, set_uid FROM reconciler.cluster_sets WHERE cluster_uid = ANY($1::uuid[]) AND target_generation IS NULL UNION
		SELECT m.cluster_uid, m.set_uid FROM matched m JOIN reconciler.sets s ON s.uid = m.set_uid AND s.names_vary
	) AS w (cluster_uid, set_uid)
	WHERE EXISTS (SELECT FROM reconciler.inventory i WHERE i.set_uid = w.set_uid AND i.cluster_uid = w.cluster_uid)
	UNION SELECT cluster_uid, set_uid FROM reconciler.removals WHERE cluster_uid = ANY($1::uuid[])) q
LEFT JOIN matched m USING (cluster_uid, set_uid)
WHERE q.set_uid <> ALL($4::uuid[]) AND ($5::uuid[] IS NULL OR q.set_uid = ANY($5)) GROUP BY q.set_uid ORDER BY q.set_uid`

// takeOff takes sets off clusters that they no longer match. It returns where removals have to be settled: where there are
// objects, on the rows that were written, on those that say that a set has to go and on those of sets whose objects are named after the
// cluster, and wherever there is a removal.
func takeOff(ctx context.Context, tx pgx.Tx, clusters []clusterChange, only []string, m matches, written pairs) ([]touched, error) {
	rows, err := tx.Query(ctx, takeOffSQL, planAnew, uids(clusters), nonNil(m.clusters), nonNil(m.sets), nonNil(m.unclear), only,
		written.clusters, written.sets)
	if err != nil {
		return nil, postgres.Wrap(err, "take sets off %d clusters", len(clusters))
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t touched, err error) {
		return t, row.Scan(&t.set, &t.clusters, &t.matched)
	})
	return all, postgres.Wrap(err, "take sets off %d clusters", len(clusters))
}

// nonNil makes an absent list an empty one: NULL is neither equal nor unequal to anything.
func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
