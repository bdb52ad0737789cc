package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/syncsets/syncsets/libs/postgres"
)

// Fleet is how the whole fleet stands.
type Fleet struct {
	Clusters  map[string]int64 // by reachable: True, False, Unknown
	Results   map[string]int64 // (cluster, set) rows: applied, pending, failed, unreachable, suspended, held
	Health    map[string]int64 // (cluster, set) rows: current, inProgress, failed, unknown
	Held      int64            // removals that wait for a confirmation
	OldestDue time.Duration    // how long the longest waiting cluster has been due
	Dirty     int64            // sets to be counted
}

// fleetSQL sums the totals that are stored per set instead of counting rows again. Each class of due work is the beginning of an index.
const fleetSQL = `SELECT
	coalesce((SELECT jsonb_object_agg(reachable, n) FROM (SELECT reachable, count(*) AS n FROM reconciler.clustersyncs GROUP BY 1) c), '{}'),
	jsonb_build_object('applied', coalesce(sum((status ->> 'applied')::bigint), 0),
		'pending', coalesce(sum((status ->> 'pending')::bigint), 0),
		'failed', coalesce(sum((status ->> 'failed')::bigint), 0), 'unreachable', coalesce(sum((status ->> 'unreachable')::bigint), 0),
		'suspended', coalesce(sum((status ->> 'suspended')::bigint), 0), 'held', coalesce(sum((status ->> 'held')::bigint), 0)),
	jsonb_build_object('current', coalesce(sum((status #>> '{health,current}')::bigint), 0),
		'inProgress', coalesce(sum((status #>> '{health,inProgress}')::bigint), 0),
		'failed', coalesce(sum((status #>> '{health,failed}')::bigint), 0), 'unknown', coalesce(sum((status #>> '{health,unknown}')::bigint), 0)),
	(SELECT count(*) FROM reconciler.removals WHERE state = 'held'),
	coalesce((SELECT extract(epoch FROM now() - min(d.next_at)) FROM (
		SELECT f.next_at FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS c (class), LATERAL (
			SELECT w.next_at FROM reconciler.work w WHERE w.attempts = 0 AND w.class = c.class AND w.next_at <= now() ORDER BY w.next_at LIMIT 1) f
		UNION ALL (SELECT w.next_at FROM reconciler.work w WHERE w.attempts > 0 AND w.next_at <= now() ORDER BY w.next_at LIMIT 1)
	) d), 0)::float8,
	(SELECT count(DISTINCT set_uid) FROM reconciler.dirty_sets)
FROM reconciler.setsyncs`

// Fleet counts the fleet.
func (s *Store) Fleet(ctx context.Context) (Fleet, error) {
	var f Fleet
	var oldest float64
	err := s.pool.QueryRow(ctx, fleetSQL, planAnew).Scan(&f.Clusters, &f.Results, &f.Health, &f.Held, &oldest, &f.Dirty)
	f.OldestDue = time.Duration(oldest * float64(time.Second))
	return f, postgres.Wrap(err, "count the fleet")
}

// AggregatorLead is the place of the one active aggregator among all processes. It is held by a session of the database.
type AggregatorLead struct{ conn *pgxpool.Conn }

// LeadAggregation takes the place; nil when another process has it.
func (s *Store) LeadAggregation(ctx context.Context) (*AggregatorLead, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, postgres.Wrap(err, "stand for aggregating")
	}
	var mine bool
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtext('reconciler.aggregate'))").Scan(&mine)
	if err != nil || !mine {
		conn.Release()
		return nil, postgres.Wrap(err, "stand for aggregating")
	}
	return &AggregatorLead{conn}, nil
}

// Check returns an error when the session, and with it the place, is lost.
func (l *AggregatorLead) Check(ctx context.Context) error {
	return postgres.Wrap(l.conn.Ping(ctx), "keep the aggregator's place")
}

// Close gives the place back. It may be called with a context that has ended.
func (l *AggregatorLead) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := l.conn.Exec(ctx, "SELECT pg_advisory_unlock(hashtext('reconciler.aggregate'))"); err != nil {
		_ = l.conn.Conn().Close(ctx)
	}
	l.conn.Release()
}
