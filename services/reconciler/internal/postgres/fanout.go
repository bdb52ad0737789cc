package postgres

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
)

// fanOutLink is from how many clusters on a fan-out's runs are traces of their own with links to the cause, not children of it.
const fanOutLink = 100

// FanOut is one row of reconciler.fanouts: what a changed set means to its clusters, worked off in chunks.
type FanOut struct {
	ID          int64
	SetUID      string
	Generation  int64
	Operation   string
	Options     map[string]string
	Actor       string
	TraceParent string
	TraceState  string
	Hold        *bool
	After       *string // the last cluster done
	Clusters    int     // looked at so far
}

// Chunk says what one chunk did.
type Chunk struct {
	FanOut FanOut
	Found  bool // false: there is no fan-out left
	Marked int  // clusters that are due now
	Done   bool // it was the fan-out's last chunk
	Fault  string
}

const fanOutColumns = `id, set_uid::text, generation, operation, options, actor, traceparent, tracestate, hold, after_uid::text, clusters`

// Of each set only the oldest fan-out may go on; among sets, those that have had the least go first, so that a small change does not
// wait for a large one. One that failed waits, and with it the later ones of its set.
const nextFanOutSQL = "SELECT " + fanOutColumns + ` FROM reconciler.fanouts f WHERE retry_at <= now()
	AND NOT EXISTS (SELECT FROM reconciler.fanouts earlier WHERE earlier.set_uid = f.set_uid AND earlier.id < f.id)
ORDER BY clusters, id LIMIT 1`

// NextFanOut returns the fan-out that the next chunk will be of, so that its work can be traced; nil when there is none.
func (s *Store) NextFanOut(ctx context.Context) (*FanOut, error) {
	f, err := nextFanOut(ctx, s.pool)
	return f, postgres.Wrap(err, "read the next fan-out")
}

func nextFanOut(ctx context.Context, q outbox.Querier) (*FanOut, error) {
	return scanFanOut(q.QueryRow(ctx, nextFanOutSQL))
}

func scanFanOut(row pgx.Row) (*FanOut, error) {
	var f FanOut
	err := row.Scan(&f.ID, &f.SetUID, &f.Generation, &f.Operation, &f.Options, &f.Actor, &f.TraceParent, &f.TraceState, &f.Hold, &f.After,
		&f.Clusters)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &f, err
}

// ApplyChunk does the next chunk of the next fan-out in one transaction. traceparent is the chunk's own, for the clusters it marks.
// Whatever generation the fan-out was made for, clusters are brought in step with the set's newest: the selectors in between no
// longer matter to anybody, and what they left behind has rows, which are walked.
func (s *Store) ApplyChunk(ctx context.Context, traceparent string) (Chunk, error) {
	var done Chunk
	var began time.Time
	err := s.plan(ctx, func(tx pgx.Tx, p Planner) error {
		done, began = Chunk{}, time.Time{}
		f, err := nextFanOut(ctx, tx)
		if err != nil || f == nil || p.Stopped() {
			return postgres.Wrap(err, "read the next fan-out")
		}
		done = Chunk{FanOut: *f, Found: true}
		target, err := findSet(ctx, tx, f.SetUID)
		if err != nil {
			return err
		}
		if target == nil {
			done.Done = true
			return endFanOut(ctx, tx, f, nil)
		}
		began, err = s.chunkOf(ctx, tx, *target, f, traceparent, &done)
		return err
	})
	if err == nil && done.Found && !done.Done {
		s.pace.took(time.Since(began))
	}
	if err != nil && done.Found {
		err = errors.Join(err, s.putOff(ctx, done.FanOut.ID))
	}
	return done, postgres.Wrap(err, "fan out")
}

// putOff has a fan-out whose chunk failed wait, longer each time, so that the others go on.
func (s *Store) putOff(ctx context.Context, id int64) error {
	if ctx.Err() != nil {
		return nil
	}
	_, err := s.pool.Exec(ctx, `UPDATE reconciler.fanouts SET attempts = attempts + 1,
	retry_at = now() + make_interval(secs => least(300, 0.5 * 2 ^ least(attempts, 10))) WHERE id = $1`, id)
	return postgres.Wrap(err, "put off fan-out %d", id)
}

// chunkOf does one chunk and returns when it began to lock work rows.
func (s *Store) chunkOf(ctx context.Context, tx pgx.Tx, target set, f *FanOut, traceparent string, done *Chunk) (began time.Time, err error) {
	if _, _, err := target.where(1); err != nil {
		done.Done, done.Fault = true, err.Error()
		return began, endFanOut(ctx, tx, f, &target)
	}
	size := s.pace.clusters()
	rows, err := clustersOf(ctx, tx, target, f.After, size)
	if err != nil {
		return began, err
	}
	part := chunkPart{set: target, rows: rows, last: len(rows) < size, again: f.Options[optionAgain] != ""}
	if err := part.look(ctx, tx); err != nil {
		return began, err
	}
	part.causes = chunkCauses(f, traceparent, part.last)
	began = time.Now()
	done.Marked, err = s.applyChunk(ctx, tx, f, part)
	if err != nil {
		return began, err
	}
	if done.Done = part.last; part.last {
		return began, endFanOut(ctx, tx, f, &target)
	}
	_, err = tx.Exec(ctx, "UPDATE reconciler.fanouts SET after_uid = $2, clusters = clusters + $3, attempts = 0 WHERE id = $1",
		f.ID, part.rows[len(part.rows)-1].uid, len(part.rows))
	return began, postgres.Wrap(err, "advance fan-out %d", f.ID)
}

// chunkCauses are the causes that marked clusters get: the chunk, and in a large fan-out also the change itself, so that each run is
// a trace of its own with links rather than one of thousands in the same trace.
func chunkCauses(f *FanOut, traceparent string, last bool) []string {
	if last && f.Clusters == 0 {
		return []string{traceparent}
	}
	return []string{traceparent, f.TraceParent}
}

// planAnew has a statement planned each time. Tables grow from nothing to millions of rows; a plan that was made for an empty one, kept
// with the prepared statement, would read the whole table again and again.
const planAnew = pgx.QueryExecModeCacheDescribe

// endFanOut drops a fan-out that is done, and the generations of its set that no cluster is told to apply any more.
func endFanOut(ctx context.Context, tx pgx.Tx, f *FanOut, target *set) error {
	_, err := tx.Exec(ctx, "DELETE FROM reconciler.fanouts WHERE id = $1", f.ID)
	if err != nil {
		return postgres.Wrap(err, "end fan-out %d", f.ID)
	}
	_, err = tx.Exec(ctx, `DELETE FROM reconciler.set_generations g USING reconciler.sets s
WHERE g.set_uid = $1 AND s.uid = g.set_uid AND g.generation < s.generation
	AND NOT EXISTS (SELECT FROM reconciler.cluster_sets t WHERE t.set_uid = g.set_uid AND t.target_generation = g.generation)`, f.SetUID)
	if err != nil || target == nil {
		return postgres.Wrap(err, "drop old generations of %s", f.SetUID)
	}
	return forgetCopies(ctx, tx, *target)
}

// Tidy drops tombstones of which nothing is left, removals whose objects are gone, and old entries of the ledger. It is for the
// planner to call now and then.
func (s *Store) Tidy(ctx context.Context, log *slog.Logger) error {
	return s.plan(ctx, func(tx pgx.Tx, _ Planner) error {
		_, err := tx.Exec(ctx, "DELETE FROM reconciler.deletion_ledger WHERE at < now() - interval '1 hour'")
		if err != nil {
			return postgres.Wrap(err, "tidy the ledger")
		}
		_, err = tx.Exec(ctx, `DELETE FROM reconciler.removals r WHERE NOT EXISTS (SELECT FROM reconciler.sets s WHERE s.uid = r.set_uid)
	OR NOT EXISTS (SELECT FROM reconciler.inventory i WHERE i.set_uid = r.set_uid AND i.cluster_uid = r.cluster_uid)`)
		if err != nil {
			return postgres.Wrap(err, "tidy removals")
		}
		return tidyTombstones(ctx, tx, log)
	})
}

// tidyTombstones drops the sets of which nothing is left, and with them their totals. Their locks, in the order of uids, come before those
// of the totals, as when they are counted.
func tidyTombstones(ctx context.Context, tx pgx.Tx, log *slog.Logger) error {
	rows, err := tx.Query(ctx, `SELECT uid::text FROM reconciler.sets s WHERE deleted_at IS NOT NULL
	AND NOT EXISTS (SELECT FROM reconciler.fanouts f WHERE f.set_uid = s.uid)
	AND NOT EXISTS (SELECT FROM reconciler.cluster_sets t WHERE t.set_uid = s.uid)
	AND NOT EXISTS (SELECT FROM reconciler.inventory i WHERE i.set_uid = s.uid) ORDER BY uid FOR UPDATE`, planAnew)
	if err != nil {
		return postgres.Wrap(err, "find tombstones")
	}
	gone, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(gone) == 0 {
		return postgres.Wrap(err, "find tombstones")
	}
	if err := announceGone(ctx, tx, gone); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM reconciler.sets WHERE uid = ANY($1::uuid[])", gone); err != nil {
		return postgres.Wrap(err, "tidy tombstones")
	}
	log.InfoContext(ctx, "sets are gone from all clusters", "sets", len(gone))
	return nil
}
