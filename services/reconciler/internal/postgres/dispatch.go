package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/postgres"
)

// Offer is one cluster to put on the competing queue.
type Offer struct {
	ClusterUID string
	Causes     []string
	Takeover   bool // a holder's lease ended
}

const (
	workerAlive = 30 * time.Second // without a heartbeat for so long a worker's slots no longer count
	offerAgain  = 60 * time.Second // a queued row that nobody claimed is offered again
)

// roomSQL counts how many reachable and unreachable clusters may be queued now: twice the live slots in all, of which a fifth for
// clusters whose last connection failed, offered and running together. Offers whose time has passed do not count: they may be lost.
const roomSQL = `WITH slots AS (SELECT coalesce(sum(slots), 0) AS n FROM reconciler.workers WHERE seen_at > now() - make_interval(secs => $1)),
active AS (SELECT count(*) FILTER (WHERE state = 'queued' AND next_at > now()) AS queued,
	count(*) FILTER (WHERE attempts > 0 AND next_at > now()) AS unreachable FROM reconciler.work WHERE state <> 'idle')
SELECT CASE WHEN p.paused_at IS NULL THEN greatest(2 * n - queued, 0) ELSE 0 END,
	CASE WHEN n > 0 THEN greatest(greatest(n / 5, 1) - unreachable, 0) ELSE 0 END
FROM slots, active, reconciler.planner p WHERE p.one`

// PickSQL takes due rows and queues them: $1 reachable ones by class and then by how long they are due, and $2 others. Each class is
// one range of an index, read in order and no further than needed, whatever else the table holds. Rows that somebody else has locked
// are passed over. What was running has lost its holder: the next one works under a new fence and applies everything.
const PickSQL = `WITH due AS MATERIALIZED (
	SELECT d.cluster_uid FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS c (class), LATERAL (
		SELECT w.cluster_uid FROM reconciler.work w WHERE w.attempts = 0 AND w.class = c.class AND w.next_at <= now()
		ORDER BY w.next_at LIMIT $1 FOR UPDATE SKIP LOCKED) d
	LIMIT $1
), unreachable AS MATERIALIZED (
	SELECT w.cluster_uid FROM reconciler.work w WHERE w.attempts > 0 AND w.next_at <= now()
	ORDER BY w.next_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE reconciler.work w SET state = 'queued', next_at = now() + make_interval(secs => $3), queued_at = now(),
	since = CASE WHEN w.state = 'idle' THEN now() ELSE w.since END,
	fence = w.fence + (w.state = 'running')::int, takeover = w.takeover OR w.state = 'running',
	full_apply = w.full_apply OR w.state = 'running'
FROM (SELECT cluster_uid FROM due UNION ALL SELECT cluster_uid FROM unreachable) picked
WHERE w.cluster_uid = picked.cluster_uid
RETURNING w.cluster_uid::text, w.causes, w.takeover`

// PickDue queues the due clusters that there is room for and returns them for publishing. One process at a time does so, which keeps the
// number of offers bounded; claims are not kept waiting.
func (s *Store) PickDue(ctx context.Context) ([]Offer, error) {
	var offers []Offer
	err := postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		offers = nil
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('reconciler.dispatch'))"); err != nil {
			return err
		}
		var room, unreachable int
		if err := tx.QueryRow(ctx, roomSQL, workerAlive.Seconds()).Scan(&room, &unreachable); err != nil || room == 0 {
			return err
		}
		rows, err := tx.Query(ctx, PickSQL, room, min(room, unreachable), offerAgain.Seconds())
		if err != nil {
			return err
		}
		offers, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Offer])
		return err
	})
	return offers, postgres.Wrap(err, "pick due clusters")
}

// TakeBack makes offers idle again that could not be published, due within a second or so, spread out. One that a worker claimed
// after all stays with it.
func (s *Store) TakeBack(ctx context.Context, clusters []string) error {
	err := postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if err := lockWork(ctx, tx, clusters); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE reconciler.work SET state = 'idle', next_at = now() + make_interval(secs => 0.5 + random())
WHERE cluster_uid = ANY($1::uuid[]) AND state = 'queued'`, clusters)
		return err
	})
	return postgres.Wrap(err, "take back %d offers", len(clusters))
}
