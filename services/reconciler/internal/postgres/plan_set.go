package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"maps"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/selector"
)

// Options of a write that the planner heeds, and the one it adds itself for what a resync missed.
const (
	optionHold   = "deletionHold"
	optionPolicy = "deletionPolicy"
	optionAbsent = "absent"
)

const setColumns = "uid::text, resource, namespace, name, generation, resource_version, tracked_from, deleted_at IS NOT NULL, absent, document"

// findSet reads the newest of a set; nil when it is not known.
func findSet(ctx context.Context, tx pgx.Tx, uid string) (*set, error) {
	s, err := scanSet(tx.QueryRow(ctx, "SELECT "+setColumns+" FROM reconciler.sets WHERE uid = $1", uid))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return s, postgres.Wrap(err, "read set %s", uid)
}

func scanSet(row pgx.Row) (*set, error) {
	var s set
	var document []byte
	err := row.Scan(&s.uid, &s.resource, &s.namespace, &s.name, &s.generation, &s.resourceVersion, &s.trackedFrom, &s.deleted, &s.absent, &document)
	if err != nil {
		return nil, err
	}
	return &s, json.Unmarshal(document, &s.spec)
}

// applySet moves the projection of one set, and appends a fan-out when what clusters should have may have changed. A set that a list lacked
// comes back when it is seen again.
func applySet(ctx context.Context, tx pgx.Tx, e outbox.Event, done *Applied) error {
	if e.Resource != v1.ResourceSyncSets && e.Resource != v1.ResourceSelectorSyncSets {
		return nil
	}
	old, err := findSet(ctx, tx, e.UID)
	if err != nil {
		return err
	}
	if e.Operation == outbox.Deleted {
		return deleteSet(ctx, tx, old, e, done)
	}
	back := old != nil && old.absent && old.resourceVersion <= e.ResourceVersion
	if old != nil && !back && (old.resourceVersion >= e.ResourceVersion || old.deleted) {
		return nil
	}
	next := set{uid: e.UID, resource: e.Resource, namespace: e.Namespace, name: e.Name, generation: e.Generation}
	if err := json.Unmarshal(e.Document, &next.spec); err != nil {
		return err
	}
	next.trackedFrom = trackedFrom(old, next)
	if err := upsertSet(ctx, tx, next, e); err != nil || (old != nil && !back && !concernsClusters(*old, e)) {
		return err
	}
	return appendFanOut(ctx, tx, old, &next, e, done)
}

// concernsClusters reports whether an update has anything to say to clusters: new content, or a confirmation of what the content there is
// has already got held.
func concernsClusters(old set, e outbox.Event) bool {
	return old.generation != e.Generation || e.Options[optionHold] == "false"
}

// trackedFrom carries over since when a set is on Sync without a break.
func trackedFrom(old *set, next set) *int64 {
	switch {
	case next.spec.ResourceApplyMode != v1.Sync:
		return nil
	case old != nil && old.trackedFrom != nil:
		return old.trackedFrom
	}
	return &next.generation
}

func upsertSet(ctx context.Context, tx pgx.Tx, s set, e outbox.Event) error {
	_, err := tx.Exec(ctx, `INSERT INTO reconciler.sets AS s (uid, resource, namespace, name, generation, resource_version, labels, document,
	tracked_from, names_vary) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (uid) DO UPDATE SET generation = excluded.generation, resource_version = excluded.resource_version,
	labels = excluded.labels, document = excluded.document, tracked_from = excluded.tracked_from,
	names_vary = excluded.names_vary, deleted_at = NULL, absent = false`,
		s.uid, s.resource, s.namespace, s.name, s.generation, e.ResourceVersion, selector.Index(labelsOf(e.Document)), e.Document, s.trackedFrom,
		s.names().NamesVary())
	if err != nil {
		return postgres.Wrap(err, "project %s %s", s.resource, s.name)
	}
	_, err = tx.Exec(ctx, `INSERT INTO reconciler.set_generations (set_uid, generation, document) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING`, s.uid, s.generation, e.Document)
	if err != nil {
		return postgres.Wrap(err, "keep generation %d of %s %s", s.generation, s.resource, s.name)
	}
	if err := copySecrets(ctx, tx, s); err != nil {
		return err
	}
	return note(ctx, tx, s.uid)
}

// deleteSet leaves a tombstone. The policy that the delete was asked with becomes the tombstone's, and ends a suspension: it was asked for
// in spite of it. A set that a resync found absent is deleted once more when its event comes after all: the event knows who asked, and how.
func deleteSet(ctx context.Context, tx pgx.Tx, old *set, e outbox.Event, done *Applied) error {
	if old == nil || old.resourceVersion > e.ResourceVersion {
		return nil
	}
	_, absent := e.Options[optionAbsent]
	_, err := tx.Exec(ctx, `UPDATE reconciler.sets SET deleted_at = coalesce(deleted_at, now()), resource_version = $2, absent = $4,
	document = CASE WHEN $3 = '' THEN document ELSE jsonb_set(document - 'suspended', '{deletionPolicy}', to_jsonb($3::text)) END WHERE uid = $1`,
		e.UID, e.ResourceVersion, e.Options[optionPolicy], absent)
	if err != nil {
		return postgres.Wrap(err, "bury %s %s", old.resource, old.name)
	}
	if err := note(ctx, tx, e.UID); err != nil {
		return err
	}
	return appendFanOut(ctx, tx, old, nil, e, done)
}

// appendFanOut leaves what is to be done on the set's clusters to chunks. hold is decided later, over all of them; only what a
// resync merely missed is held from the start.
func appendFanOut(ctx context.Context, tx pgx.Tx, old, next *set, e outbox.Event, done *Applied) error {
	var hold *bool
	if _, absent := e.Options[optionAbsent]; absent {
		held := true
		hold = &held
	}
	options := maps.Clone(e.Options)
	_, err := tx.Exec(ctx, `INSERT INTO reconciler.fanouts (set_uid, generation, operation, old_targets, new_targets, options, actor,
	traceparent, tracestate, hold) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		e.UID, e.Generation, e.Operation, targets(old), targets(next), options, e.Actor, e.TraceParent, e.TraceState, hold)
	done.FanOuts++
	return postgres.Wrap(err, "append the fan-out of %s %s", e.Resource, e.Name)
}

// targets returns the selector or the references of a set as its document has them.
func targets(s *set) any {
	switch {
	case s == nil:
		return nil
	case s.resource == v1.ResourceSelectorSyncSets:
		return s.spec.ClusterSelector
	}
	return s.spec.ClusterRefs
}
