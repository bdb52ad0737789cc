package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/installation"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
)

// Source is a service whose event log the planner follows.
type Source string

// The sources.
const (
	Clusters Source = "clusters"
	SyncSets Source = "syncsets"
)

// PlannerName is who pauses when a source's log went backwards; such a pause also stops the planner.
const PlannerName = "planner"

// Planner is the planner's row: how far each source has been read, and whether writing to targets is paused.
type Planner struct {
	Clusters, SyncSets outbox.Revision
	ResyncedAt         *time.Time
	PausedAt           *time.Time
	PausedBy           string
	PauseReason        string
}

// Cursor returns how far source has been read.
func (p Planner) Cursor(source Source) outbox.Revision {
	if source == Clusters {
		return p.Clusters
	}
	return p.SyncSets
}

// Stopped reports whether the planner stopped itself: a source's log went backwards, and somebody has to say what is true.
func (p Planner) Stopped() bool { return p.PausedAt != nil && p.PausedBy == PlannerName }

const plannerSQL = `SELECT clusters_epoch, clusters_rev, syncsets_epoch, syncsets_rev, resynced_at, paused_at, paused_by, pause_reason
FROM reconciler.planner WHERE one`

// Planner reads the planner's row without locking it.
func (s *Store) Planner(ctx context.Context) (Planner, error) {
	p, err := scanPlanner(s.pool.QueryRow(ctx, plannerSQL))
	return p, postgres.Wrap(err, "read the planner's row")
}

// lockPlanner begins each transaction of the planner: they never interleave.
func lockPlanner(ctx context.Context, tx pgx.Tx) (Planner, error) {
	p, err := scanPlanner(tx.QueryRow(ctx, plannerSQL+" FOR UPDATE"))
	return p, postgres.Wrap(err, "lock the planner's row")
}

func scanPlanner(row pgx.Row) (Planner, error) {
	var p Planner
	err := row.Scan(&p.Clusters.Epoch, &p.Clusters.N, &p.SyncSets.Epoch, &p.SyncSets.N, &p.ResyncedAt, &p.PausedAt, &p.PausedBy, &p.PauseReason)
	return p, err
}

// plan runs f in a planner transaction.
func (s *Store) plan(ctx context.Context, f func(tx pgx.Tx, p Planner) error) error {
	return postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		p, err := lockPlanner(ctx, tx)
		if err != nil {
			return err
		}
		return f(tx, p)
	})
}

// Applied says what a page did.
type Applied struct {
	Events  int  // of the page that were new
	FanOuts int  // rows appended
	Marked  bool // some cluster is due
	Wanted  bool // a value has to be fetched before clusters are due
}

// ApplyPage moves the projections, marks, removals and the cursor of source over a page of its log. Events at or before the cursor
// are skipped, so a page may come twice. It returns errs.Conflict when the page does not go on from the cursor: another planner has
// moved it to a place that the page does not reach.
func (s *Store) ApplyPage(ctx context.Context, source Source, page outbox.Page) (Applied, error) {
	var done Applied
	err := s.plan(ctx, func(tx pgx.Tx, p Planner) error {
		done = Applied{}
		events, err := after(p.Cursor(source), page.Items)
		if err != nil || len(events) == 0 || p.Stopped() {
			return err
		}
		done.Events = len(events)
		if err := s.applyEvents(ctx, tx, source, events, &done); err != nil {
			return err
		}
		return moveCursor(ctx, tx, source, events[len(events)-1].Revision)
	})
	return done, postgres.Wrap(err, "plan %d events of %s", len(page.Items), source)
}

// after returns the events behind the cursor. The log is dense: the first of them must be the next revision.
func after(cursor outbox.Revision, events []outbox.Event) ([]outbox.Event, error) {
	for len(events) > 0 && events[0].Revision.Epoch == cursor.Epoch && events[0].Revision.N <= cursor.N {
		events = events[1:]
	}
	for i, e := range events {
		if e.Revision.Epoch != cursor.Epoch || e.Revision.N != cursor.N+1+int64(i) {
			return nil, errs.New(errs.Conflict, "the page goes on with revision %s, the cursor is at %s", e.Revision, cursor)
		}
	}
	return events, nil
}

func (s *Store) applyEvents(ctx context.Context, tx pgx.Tx, source Source, events []outbox.Event, done *Applied) error {
	if source == Clusters {
		return s.applyClusters(ctx, tx, events, done)
	}
	for _, e := range events {
		apply := applySet
		if e.Resource == v1.ResourceSecrets {
			apply = applySecret
		}
		if err := apply(ctx, tx, e, done); err != nil {
			return err
		}
	}
	return nil
}

func moveCursor(ctx context.Context, tx pgx.Tx, source Source, to outbox.Revision) error {
	sql := "UPDATE reconciler.planner SET clusters_epoch = $1, clusters_rev = $2 WHERE one"
	if source == SyncSets {
		sql = "UPDATE reconciler.planner SET syncsets_epoch = $1, syncsets_rev = $2 WHERE one"
	}
	_, err := tx.Exec(ctx, sql, to.Epoch, to.N)
	return postgres.Wrap(err, "move the cursor of %s", source)
}

// Pause stops all writing to targets, in the name of the planner, until somebody lifts it. An earlier pause stays as it is.
func (s *Store) Pause(ctx context.Context, reason string) error {
	_, err := s.pool.Exec(ctx, `UPDATE reconciler.planner SET paused_at = coalesce(paused_at, now()), paused_by = $1, pause_reason = $2
WHERE one AND paused_by <> $1`, PlannerName, reason)
	return postgres.Wrap(err, "pause")
}

// Installation returns the id of the system that the schema belongs to, "" before Remember.
func (s *Store) Installation(ctx context.Context) (string, error) {
	var id string
	err := s.pool.QueryRow(ctx, "SELECT coalesce((SELECT id::text FROM reconciler.installation WHERE one), '')").Scan(&id)
	return id, postgres.Wrap(err, "read the installation")
}

// Remember binds the schema to a system. It returns errs.Conflict when it belongs to another one.
func (s *Store) Remember(ctx context.Context, id string) error {
	if _, err := s.pool.Exec(ctx, "INSERT INTO reconciler.installation (id) VALUES ($1) ON CONFLICT DO NOTHING", id); err != nil {
		return postgres.Wrap(err, "remember the installation")
	}
	known, err := s.Installation(ctx)
	if err != nil {
		return err
	}
	return installation.Check("reconciler", known, id)
}

// labelsOf returns the labels of a document that was stored, so it decodes.
func labelsOf(document json.RawMessage) map[string]string {
	var d struct {
		Labels map[string]string `json:"labels"`
	}
	_ = json.Unmarshal(document, &d)
	return d.Labels
}
