package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/postgres"
)

// chunkRow is one cluster of a chunk: whether the set is to be there, and what its rows say so far.
type chunkRow struct {
	uid        string
	matched    bool
	hasRow     bool
	target     *int64
	hasRemoval bool
	owns       bool // there are objects of the set
}

// clustersOf returns the next clusters that match the set, have a row of it or own objects of it, in the order of their uids.
func clustersOf(ctx context.Context, tx pgx.Tx, target set, after *string, limit int) ([]chunkRow, error) {
	where, args, err := target.where(5)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, fmt.Sprintf(`WITH u AS (
	(SELECT c.uid FROM reconciler.clusters c WHERE %[1]s AND c.uid > coalesce($2::uuid, $4) ORDER BY c.uid LIMIT $3) UNION
	(SELECT cluster_uid FROM reconciler.cluster_sets WHERE set_uid = $1 AND cluster_uid > coalesce($2::uuid, $4) ORDER BY 1 LIMIT $3) UNION
	(SELECT DISTINCT cluster_uid FROM reconciler.inventory WHERE set_uid = $1 AND cluster_uid > coalesce($2::uuid, $4) ORDER BY 1 LIMIT $3)
	ORDER BY 1 LIMIT $3)
SELECT u.uid::text, c.uid IS NOT NULL AND (%[1]s), t.set_uid IS NOT NULL, t.target_generation, r.set_uid IS NOT NULL,
	EXISTS (SELECT FROM reconciler.inventory i WHERE i.set_uid = $1 AND i.cluster_uid = u.uid)
FROM u LEFT JOIN reconciler.clusters c ON c.uid = u.uid
LEFT JOIN LATERAL (SELECT set_uid, target_generation FROM reconciler.cluster_sets WHERE cluster_uid = u.uid AND set_uid = $1 LIMIT 1) t ON true
LEFT JOIN LATERAL (SELECT set_uid FROM reconciler.removals WHERE cluster_uid = u.uid AND set_uid = $1 LIMIT 1) r ON true
ORDER BY u.uid`, where),
		append([]any{planAnew, target.uid, after, limit, uuid.Nil.String()}, args...)...)
	if err != nil {
		return nil, postgres.Wrap(err, "walk the clusters of %s", target.name)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r chunkRow, err error) {
		return r, row.Scan(&r.uid, &r.matched, &r.hasRow, &r.target, &r.hasRemoval, &r.owns)
	})
	return found, postgres.Wrap(err, "walk the clusters of %s", target.name)
}

// chunkPart is what one chunk is about: clusters, and which of them seem to have to lose objects.
type chunkPart struct {
	set    set
	rows   []chunkRow
	needed map[string]bool
	causes []string
	last   bool
	again  bool // clusters where nothing changes look again, too
}

// catchUpMost bounds how many clusters a chunk brings in step with other sets, where those are many.
const catchUpMost = 20

// look finds out which clusters have to lose objects, as far as that can be said before their work rows are locked. Where other sets have to
// be brought in step there, the chunk becomes smaller.
func (p *chunkPart) look(ctx context.Context, tx pgx.Tx) (err error) {
	clusters, matched := make([]string, len(p.rows)), make([]bool, len(p.rows))
	for i, r := range p.rows {
		clusters[i], matched[i] = r.uid, r.matched
	}
	if p.needed, err = neededOn(ctx, tx, p.set, clusters, matched); err != nil || len(p.needed) == 0 {
		return err
	}
	pending, err := pendingSets(ctx, tx, p.set.uid)
	if err != nil {
		return err
	}
	if most := max(catchUpMost, len(p.rows)/(1+len(pending))); len(p.rows) > most {
		p.rows, p.last = p.rows[:most], false
	}
	return nil
}

// inStep reports whether a row needs nothing: it says what it should, nothing of the set is there that has to be settled, and there is no
// removal to look at again.
func (p *chunkPart) inStep(r chunkRow, wanted *int64) bool {
	return r.hasRow && equal(r.target, wanted) && !r.hasRemoval && !p.needed[r.uid] && (wanted != nil || !r.owns)
}

// applyChunk brings the rows of a chunk in step and returns how many clusters it marked.
func (s *Store) applyChunk(ctx context.Context, tx pgx.Tx, f *FanOut, p chunkPart) (int, error) {
	change := removalChange{set: p.set, fresh: true, actor: f.Actor}
	var m matches
	var again []string
	for _, r := range p.rows {
		var wanted *int64
		if r.matched {
			wanted = p.set.wants()
		}
		if p.inStep(r, wanted) {
			if p.again && wanted != nil {
				again = append(again, r.uid)
			}
			continue
		}
		m.add(r.uid, p.set.uid, wanted)
		change.clusters, change.matched = append(change.clusters, r.uid), append(change.matched, r.matched)
		change.fresh = change.fresh && !r.hasRemoval
	}
	marked := slices.Sorted(slices.Values(slices.Concat(m.clusters, again)))
	if len(marked) == 0 {
		return 0, nil
	}
	class := classFanOut
	if p.last && f.Clusters == 0 && len(p.rows) <= fanOutLink {
		class = classEdit
		p.causes = p.causes[:1]
	}
	if err := mark(ctx, tx, marked, class, p.causes...); err != nil {
		return 0, err
	}
	if err := tryAtOnce(ctx, tx, p.set.uid, again); err != nil || len(m.clusters) == 0 {
		return len(marked), err
	}
	if err := s.writeChunk(ctx, tx, m, &change); err != nil {
		return 0, err
	}
	return len(marked), s.settleRemovals(ctx, tx, change)
}

// writeChunk writes the rows of a chunk whose clusters are marked, so that no run can add to what they own any more. Clusters that lose
// objects are first brought in step with every other set that has a fan-out left: one of them may claim the very object.
func (s *Store) writeChunk(ctx context.Context, tx pgx.Tx, m matches, change *removalChange) (err error) {
	change.needed, err = neededOn(ctx, tx, change.set, change.clusters, change.matched)
	if err != nil {
		return err
	}
	if len(change.needed) > 0 {
		losing, _ := change.causes()
		if err := s.catchUp(ctx, tx, losing, change.set, change.actor); err != nil {
			return err
		}
	}
	_, err = writeTargets(ctx, tx, m)
	return err
}

func equal(a, b *int64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
