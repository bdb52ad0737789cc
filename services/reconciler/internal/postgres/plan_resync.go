package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
)

// resyncActor is who did what a resync finds.
const resyncActor = "resync"

// Listed is one document of a source's list.
type Listed struct {
	Resource string
	Document json.RawMessage
}

// Resync is a list of one source on its way into the projection. It holds the source's place among all processes until Close.
type Resync struct {
	store  *Store
	source Source
	conn   *pgxpool.Conn
}

// Resynced says what a resync found.
type Resynced struct {
	Listed, Written, Dropped int
}

// BeginResync takes the source's place and empties its stage. It returns errs.Limited when another process resyncs the source.
func (s *Store) BeginResync(ctx context.Context, source Source) (*Resync, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, postgres.Wrap(err, "begin a resync")
	}
	r := &Resync{store: s, source: source, conn: conn}
	var mine bool
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtext('reconciler.resync'), hashtext($1))", source).Scan(&mine)
	if err != nil || !mine {
		conn.Release()
		if err == nil {
			err = errs.New(errs.Limited, "another process lists %s", source)
		}
		return nil, postgres.Wrap(err, "begin a resync")
	}
	if _, err = conn.Exec(ctx, "DELETE FROM reconciler.staged WHERE source = $1", source); err != nil {
		r.Close(ctx)
		return nil, postgres.Wrap(err, "empty the stage")
	}
	return r, nil
}

// Close gives the source's place back. It may be called with a context that has ended.
func (r *Resync) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, err := r.conn.Exec(ctx, "SELECT pg_advisory_unlock(hashtext('reconciler.resync'), hashtext($1))", r.source)
	if err != nil {
		_ = r.conn.Conn().Close(ctx)
	}
	r.conn.Release()
}

// Stage keeps a page of the list.
func (r *Resync) Stage(ctx context.Context, page []Listed) error {
	batch := &pgx.Batch{}
	for _, l := range page {
		var m v1.Metadata
		if err := json.Unmarshal(l.Document, &m); err != nil {
			return errs.Wrap(errs.Internal, err, "read a document of %s", r.source)
		}
		batch.Queue(`INSERT INTO reconciler.staged (source, uid, resource, generation, resource_version, document)
VALUES ($1, $2, $3, $4, $5::text::bigint, $6) ON CONFLICT (source, uid) DO UPDATE SET generation = excluded.generation,
	resource_version = excluded.resource_version, document = excluded.document`,
			r.source, m.UID, l.Resource, m.Generation, m.ResourceVersion, l.Document)
	}
	return postgres.Wrap(r.conn.SendBatch(ctx, batch).Close(), "stage %d documents of %s", len(page), r.source)
}

// Apply moves the projection to the staged list in one transaction: newer documents are written, absent ones dropped, and the cursor
// is at, the position that the list is consistent with. known is the cursor that the list was read for: when the log is another one since
// (another epoch, or one that ends before it), nothing may have gone backwards. It returns errs.Precondition when something did,
// errs.Conflict when more would be dropped than a resync may drop, and errs.Limited when the list is not newer than what is known
// by now; all leave everything as it is. The transaction is one of the connection that has the source's place: without it, none.
func (r *Resync) Apply(ctx context.Context, at, known outbox.Revision) (Resynced, error) {
	var done Resynced
	err := pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) error {
		p, err := lockPlanner(ctx, tx)
		if err != nil {
			return err
		}
		if err := r.check(ctx, tx, p.Cursor(r.source), at, known); err != nil {
			return err
		}
		absent, err := r.absent(ctx, tx)
		if err != nil {
			return err
		}
		if err := r.write(ctx, tx, &done); err != nil {
			return err
		}
		if err := r.drop(ctx, tx, absent); err != nil {
			return err
		}
		done.Dropped = absent.count()
		if err := lookAgain(ctx, tx, r.source); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE reconciler.planner SET resynced_at = now() WHERE one"); err != nil {
			return postgres.Wrap(err, "note the resync")
		}
		return moveCursor(ctx, tx, r.source, at)
	})
	return done, postgres.Wrap(err, "resync %s", r.source)
}

// check says whether the list may be taken over, while nobody else can move the cursor.
func (r *Resync) check(ctx context.Context, tx pgx.Tx, cursor, at, known outbox.Revision) error {
	suspicious := known != (outbox.Revision{}) && (at.Epoch != known.Epoch || at.N < known.N)
	switch {
	case suspicious && cursor != known:
		return errs.New(errs.Limited, "the cursor of %s went on to %s while its list was read", r.source, cursor)
	case suspicious:
		return r.checkForward(ctx, tx)
	case cursor.Epoch == at.Epoch && cursor.N > at.N, cursor.Epoch != at.Epoch && cursor != known:
		return errs.New(errs.Limited, "the list of %s is older than what is known: revision %s", r.source, cursor)
	}
	return nil
}

// lookAgain has every set that may delete objects looked at everywhere, unless a fan-out of it is under way: a run that was going on while
// its set changed may have left what nobody has settled.
func lookAgain(ctx context.Context, tx pgx.Tx, source Source) error {
	if source != SyncSets {
		return nil
	}
	_, err := tx.Exec(ctx, `INSERT INTO reconciler.fanouts (set_uid, generation, operation, actor)
SELECT uid, generation, CASE WHEN deleted_at IS NULL THEN 'updated' ELSE 'deleted' END, $1 FROM reconciler.sets s
WHERE tracked_from IS NOT NULL AND document ->> 'deletionPolicy' = 'Delete'
	AND NOT EXISTS (SELECT FROM reconciler.fanouts f WHERE f.set_uid = s.uid) ORDER BY uid`, resyncActor)
	return postgres.Wrap(err, "look at all sets again")
}

// The projections as relations of the same columns, for comparing them with the stage.
const (
	projectedClusters = "SELECT uid, name, generation, resource_version, document FROM reconciler.clusters"
	projectedSets     = "SELECT uid, name, generation, resource_version, document FROM reconciler.sets WHERE deleted_at IS NULL"
	projectedSecrets  = "SELECT uid, name, generation, resource_version, document FROM reconciler.secrets"
)

// projected is the projection of a source.
func (r *Resync) projected() string {
	if r.source == Clusters {
		return "(" + projectedClusters + ") p"
	}
	return "(" + projectedSets + " UNION ALL " + projectedSecrets + ") p"
}

// missing is what the projection has and the list has not.
type missing struct{ clusters, sets, secrets []string }

func (m missing) count() int { return len(m.clusters) + len(m.sets) + len(m.secrets) }

// absent finds what is missing, each of its kinds for itself: many secrets do not allow to drop many sets.
func (r *Resync) absent(ctx context.Context, tx pgx.Tx) (m missing, err error) {
	if r.source == Clusters {
		m.clusters, err = r.absentOf(ctx, tx, "clusters", projectedClusters)
		return m, err
	}
	if m.sets, err = r.absentOf(ctx, tx, "sets", projectedSets); err == nil {
		m.secrets, err = r.absentOf(ctx, tx, "secrets", projectedSecrets)
	}
	return m, err
}

// checkForward refuses a list in which something that was known is older, different at the same version, or missing.
func (r *Resync) checkForward(ctx context.Context, tx pgx.Tx) error {
	var backwards, known int
	var example string
	err := tx.QueryRow(ctx, fmt.Sprintf(`SELECT count(*) FILTER (WHERE wrong), count(*), coalesce(min(name) FILTER (WHERE wrong), '') FROM (
	SELECT p.name, s.uid IS NULL OR s.resource_version < p.resource_version OR s.generation < p.generation
		OR (s.resource_version = p.resource_version AND s.document <> p.document) AS wrong
	FROM %s LEFT JOIN reconciler.staged s ON s.source = $1 AND s.uid = p.uid) c`, r.projected()), r.source).Scan(&backwards, &known, &example)
	if err != nil {
		return postgres.Wrap(err, "compare the list of %s", r.source)
	}
	if backwards > 0 {
		return errs.New(errs.Precondition, "the log of %s is another one and %d of %d known documents are older or missing there, "+
			"among them %s", r.source, backwards, known, example)
	}
	return nil
}

// absentOf returns what a projection has and the list has not, or an error when that is more than a resync may drop.
func (r *Resync) absentOf(ctx context.Context, tx pgx.Tx, what, projected string) ([]string, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf(`SELECT p.uid::text FROM (%s) p LEFT JOIN reconciler.staged s ON s.source = $1 AND s.uid = p.uid
WHERE s.uid IS NULL ORDER BY 1`, projected), r.source)
	if err != nil {
		return nil, postgres.Wrap(err, "find which %s the list of %s lacks", what, r.source)
	}
	absent, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, postgres.Wrap(err, "find which %s the list of %s lacks", what, r.source)
	}
	var known int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM ("+projected+") p").Scan(&known); err != nil {
		return nil, postgres.Wrap(err, "count the known %s", what)
	}
	if limit := (Budget{Clusters: 5, Percent: 10}); !limit.Allows(len(absent), known) {
		return nil, errs.New(errs.Conflict, "the list of %s lacks %d of %d known %s: too many to believe it", r.source, len(absent), known, what)
	}
	return absent, nil
}

// write takes over what is new or newer, as if its event had come.
func (r *Resync) write(ctx context.Context, tx pgx.Tx, done *Resynced) error {
	after := "00000000-0000-0000-0000-000000000000"
	for {
		events, last, err := r.newer(ctx, tx, after)
		if err != nil || last == "" {
			return err
		}
		after = last
		done.Listed += len(events)
		var applied Applied
		if err := r.store.applyEvents(ctx, tx, r.source, events, &applied); err != nil {
			return err
		}
		done.Written += len(events)
	}
}

// newer reads up to 500 staged documents behind a uid that are newer than the projection.
func (r *Resync) newer(ctx context.Context, tx pgx.Tx, after string) (events []outbox.Event, last string, err error) {
	rows, err := tx.Query(ctx, fmt.Sprintf(`SELECT s.uid::text, s.resource, s.generation, s.resource_version, s.document
FROM reconciler.staged s LEFT JOIN %s USING (uid)
WHERE s.source = $1 AND s.uid > $2 AND (p.uid IS NULL OR p.resource_version < s.resource_version) ORDER BY s.uid LIMIT 500`, r.projected()),
		r.source, after)
	if err != nil {
		return nil, "", postgres.Wrap(err, "read the stage")
	}
	events, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e outbox.Event, err error) {
		var document []byte
		if err := row.Scan(&e.UID, &e.Resource, &e.Generation, &e.ResourceVersion, &document); err != nil {
			return e, err
		}
		var m v1.Metadata
		if err := json.Unmarshal(document, &m); err != nil {
			return e, err
		}
		e.Operation, e.Actor, e.Document, e.Namespace, e.Name = outbox.Updated, resyncActor, document, m.Namespace, m.Name
		return e, nil
	})
	if err != nil || len(events) == 0 {
		return nil, "", postgres.Wrap(err, "read the stage")
	}
	return events, events[len(events)-1].UID, nil
}

// drop forgets absent clusters, whose objects stay, and absent secrets, whose copies stay, and buries absent sets with everything they own
// held.
func (r *Resync) drop(ctx context.Context, tx pgx.Tx, absent missing) error {
	gone := make([]clusterChange, len(absent.clusters))
	for i, uid := range absent.clusters {
		gone[i] = clusterChange{uid: uid, deleted: true, actor: resyncActor}
	}
	if err := dropClusters(ctx, tx, gone); err != nil {
		return err
	}
	for _, uid := range absent.sets {
		if err := dropSet(ctx, tx, uid); err != nil {
			return err
		}
	}
	for _, uid := range absent.secrets {
		if err := dropSecret(ctx, tx, uid); err != nil {
			return err
		}
	}
	return nil
}

func dropSet(ctx context.Context, tx pgx.Tx, uid string) error {
	old, err := findSet(ctx, tx, uid)
	if err != nil {
		return err
	}
	e := outbox.Event{
		Resource: old.resource, Operation: outbox.Deleted, UID: uid, Namespace: old.namespace, Name: old.name, Generation: old.generation,
		ResourceVersion: old.resourceVersion, Options: map[string]string{optionAbsent: "true"}, Actor: resyncActor,
	}
	var done Applied
	return deleteSet(ctx, tx, old, e, &done)
}

func dropSecret(ctx context.Context, tx pgx.Tx, uid string) error {
	e := outbox.Event{Resource: v1.ResourceSecrets, Operation: outbox.Deleted, UID: uid, Actor: resyncActor}
	err := tx.QueryRow(ctx, "SELECT namespace, name, resource_version FROM reconciler.secrets WHERE uid = $1", uid).
		Scan(&e.Namespace, &e.Name, &e.ResourceVersion)
	if err != nil {
		return postgres.Wrap(err, "read secret %s", uid)
	}
	var done Applied
	return applySecret(ctx, tx, e, &done)
}
