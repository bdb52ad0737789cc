package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/postgres"
)

// Causes of a removal.
const (
	causeEdited    = "edited"
	causeDeleted   = "deleted"
	causeUnmatched = "unmatched"
	causeAbsent    = "absent"
	causeLeaving   = "unregistered"
)

// removalChange asks for the removals of one set on some clusters to be settled. matched says, per cluster, whether the set is to be
// there. The clusters' work rows are locked and marked already.
type removalChange struct {
	set      set
	clusters []string
	matched  []bool
	actor    string
	// needed are the clusters that have to lose objects, where that is known already.
	needed map[string]bool
	// fresh says that none of the clusters has a removal of the set yet.
	fresh bool
	// confirmed says that the write about the clusters confirmed what they lose.
	confirmed bool
	// leaving are the clusters that are to be cleaned up.
	leaving map[string]bool
}

// causes returns the clusters that have to lose objects, and for each why.
func (c removalChange) causes() (clusters, causes []string) {
	for i, cluster := range c.clusters {
		if !c.needed[cluster] {
			continue
		}
		cause := c.set.cause()
		switch {
		case c.matched[i]:
			cause = causeEdited
		case c.leaving[cluster] && cause == causeUnmatched:
			cause = causeLeaving
		}
		clusters, causes = append(clusters, cluster), append(causes, cause)
	}
	return clusters, causes
}

// settleRemovals makes removals where the set has to lose objects and lifts those that are not needed any more.
func (s *Store) settleRemovals(ctx context.Context, tx pgx.Tx, c removalChange) (err error) {
	if c.needed == nil {
		if c.needed, err = neededOn(ctx, tx, c.set, c.clusters, c.matched); err != nil {
			return err
		}
	}
	if err := liftRemovals(ctx, tx, c); err != nil || len(c.needed) == 0 {
		return err
	}
	if c.leaving, err = leavingOf(ctx, tx, c.clusters); err != nil {
		return err
	}
	if err := note(ctx, tx, c.set.uid); err != nil {
		return err
	}
	r, err := s.ruling(ctx, tx, c.set)
	if err != nil {
		return err
	}
	if c.confirmed && !c.set.absent {
		r.hold, r.confirmed = false, true
	}
	if !r.hold && !r.confirmed {
		if r.hold, err = s.mustHold(ctx, tx, c, r); err != nil {
			return err
		}
	}
	if err := makeRemovals(ctx, tx, c, r); err != nil || !r.hold {
		return err
	}
	return holdAll(ctx, tx, c.set.uid)
}

// leavingOf returns which of the clusters are to be cleaned up.
func leavingOf(ctx context.Context, tx pgx.Tx, clusters []string) (map[string]bool, error) {
	rows, err := tx.Query(ctx, "SELECT uid::text FROM reconciler.clusters WHERE leaving AND uid = ANY($1::uuid[])", clusters)
	if err != nil {
		return nil, postgres.Wrap(err, "find the clusters to be cleaned up")
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	leaving := make(map[string]bool, len(found))
	for _, cluster := range found {
		leaving[cluster] = true
	}
	return leaving, postgres.Wrap(err, "find the clusters to be cleaned up")
}

// neededOn returns which of the clusters have to lose objects.
func neededOn(ctx context.Context, tx pgx.Tx, target set, clusters []string, matched []bool) (map[string]bool, error) {
	needed := map[string]bool{}
	if !target.deletes() || len(clusters) == 0 {
		return needed, nil
	}
	args, err := target.neededArgs(ctx, tx, clusters)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, fmt.Sprintf(`WITH on_clusters AS (SELECT * FROM unnest($%d::uuid[], $%d::boolean[]) AS o (cluster_uid, matched))
SELECT DISTINCT cluster_uid::text FROM (%s) n`, nextArg, nextArg+1, neededSQL), append(append([]any{planAnew}, args...), clusters, matched)...)
	if err != nil {
		return nil, postgres.Wrap(err, "find what %s has to remove", target.name)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, cluster := range found {
		needed[cluster] = true
	}
	return needed, postgres.Wrap(err, "find what %s has to remove", target.name)
}

// liftRemovals drops the removals that are not needed.
func liftRemovals(ctx context.Context, tx pgx.Tx, c removalChange) error {
	if c.fresh {
		return nil
	}
	var lifted []string
	for _, cluster := range c.clusters {
		if !c.needed[cluster] {
			lifted = append(lifted, cluster)
		}
	}
	tag, err := tx.Exec(ctx, "DELETE FROM reconciler.removals WHERE set_uid = $1 AND cluster_uid = ANY($2::uuid[])", c.set.uid, lifted)
	if err != nil || tag.RowsAffected() == 0 {
		return postgres.Wrap(err, "lift removals of %s", c.set.name)
	}
	return note(ctx, tx, c.set.uid)
}

// lostSQL selects the clusters that lost objects of set $1 within the hour.
const lostSQL = `SELECT l.cluster_uid FROM reconciler.deletion_ledger l WHERE l.set_uid = $1 AND l.at > now() - interval '1 hour'`

// mustHoldSQL counts what the set loses: the clusters that have a removal, those that lost objects, and those that are to get a removal
// now. What is confirmed does not count while it is about the same: the same generation and cause.
const mustHoldSQL = `WITH more AS (SELECT * FROM unnest($2::uuid[], $3::text[]) AS n (cluster_uid, cause)),
pending AS (SELECT cluster_uid, state, cause, confirmed, generation FROM reconciler.removals WHERE set_uid = $1), lost AS (` + lostSQL + `)
SELECT (SELECT count(*) FROM more WHERE NOT EXISTS (
		SELECT FROM pending p WHERE p.cluster_uid = more.cluster_uid AND p.state IN ('open', 'held'))),
	EXISTS (SELECT FROM pending p WHERE p.state = 'held' AND NOT ($5 AND p.cause = 'absent')),
	(SELECT count(*) FROM (SELECT cluster_uid FROM pending WHERE state IN ('open', 'held') AND NOT confirmed
		UNION SELECT cluster_uid FROM lost UNION SELECT cluster_uid FROM more WHERE NOT EXISTS (SELECT FROM pending p
			WHERE p.cluster_uid = more.cluster_uid AND p.confirmed AND p.generation = $4 AND p.cause = more.cause)) u),
	(SELECT count(*) FROM (SELECT cluster_uid FROM reconciler.inventory WHERE set_uid = $1 UNION SELECT cluster_uid FROM lost) u)`

// mustHold reports whether the removals of a change may not start on their own: some of the set are held already, or the budget is used
// up. Where no change of the set itself is under way and no cluster is added, there is nothing to judge.
func (s *Store) mustHold(ctx context.Context, tx pgx.Tx, c removalChange, r ruling) (bool, error) {
	clusters, causes := c.causes()
	var held bool
	var added, lost, total int
	err := tx.QueryRow(ctx, mustHoldSQL, planAnew, c.set.uid, clusters, causes, c.set.generation, c.set.cause() == causeDeleted).
		Scan(&added, &held, &lost, &total)
	if err != nil {
		return false, postgres.Wrap(err, "count what %s loses", c.set.name)
	}
	if added == 0 && !r.governed {
		return false, nil
	}
	return held || !s.budget.Allows(lost, total), nil
}

// makeRemovals writes the removals that are needed. What was answered stays so while it is about the same: the same generation and
// cause. What is held stays held unless this change confirms it, or it was held only because a list lacked the set and now the set is
// known to be deleted.
func makeRemovals(ctx context.Context, tx pgx.Tx, c removalChange, r ruling) error {
	clusters, causes := c.causes()
	_, err := tx.Exec(ctx, `INSERT INTO reconciler.removals AS r (set_uid, cluster_uid, generation, cause, state, actor, confirmed)
SELECT $1, n.cluster_uid, $4, n.cause, CASE WHEN $5 THEN 'held' ELSE 'open' END, $6, $7
FROM unnest($2::uuid[], $3::text[]) AS n (cluster_uid, cause) ORDER BY 2
ON CONFLICT (set_uid, cluster_uid) DO UPDATE SET generation = excluded.generation, cause = excluded.cause,
	confirmed = excluded.confirmed OR (r.confirmed AND r.generation = excluded.generation AND r.cause = excluded.cause),
	state = CASE
		WHEN (r.state = 'released' OR (r.state = 'open' AND r.confirmed)) AND r.generation = excluded.generation AND r.cause = excluded.cause
			THEN r.state
		WHEN r.state = 'held' AND NOT excluded.confirmed AND NOT (r.cause = 'absent' AND excluded.cause = 'deleted') THEN 'held'
		ELSE excluded.state END`,
		c.set.uid, clusters, causes, c.set.generation, r.hold, c.actor, r.confirmed)
	return postgres.Wrap(err, "make removals of %s", c.set.name)
}

// holdAll holds every removal of a set that is open without having been confirmed, and marks the clusters, so that they show it.
func holdAll(ctx context.Context, tx pgx.Tx, set string) error {
	rows, err := tx.Query(ctx, `SELECT cluster_uid::text FROM reconciler.removals WHERE set_uid = $1 AND state = 'open' AND NOT confirmed
ORDER BY cluster_uid`, set)
	if err != nil {
		return postgres.Wrap(err, "find open removals")
	}
	open, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(open) == 0 {
		return postgres.Wrap(err, "find open removals")
	}
	if err := mark(ctx, tx, open, classFanOut); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE reconciler.removals SET state = 'held' WHERE set_uid = $1 AND state = 'open' AND NOT confirmed`, set)
	return postgres.Wrap(err, "hold removals")
}

// beginRemovals notes, before the first delete is sent, that the cluster loses objects: from then on it counts against the budget for an
// hour, even when the removal is lifted.
func beginRemovals(ctx context.Context, tx pgx.Tx, cluster string, sets []string) error {
	_, err := tx.Exec(ctx, `UPDATE reconciler.removals SET started_at = now()
WHERE cluster_uid = $1 AND set_uid = ANY($2::uuid[]) AND started_at IS NULL`, cluster, sets)
	if err != nil {
		return postgres.Wrap(err, "begin removals on cluster %s", cluster)
	}
	_, err = tx.Exec(ctx, `INSERT INTO reconciler.deletion_ledger (set_uid, cluster_uid) SELECT uid, $1 FROM unnest($2::uuid[]) uid ORDER BY 1
ON CONFLICT (set_uid, cluster_uid) DO UPDATE SET at = now()`, cluster, sets)
	return postgres.Wrap(err, "enter removals on cluster %s", cluster)
}
