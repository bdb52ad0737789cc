package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/selector"
)

// GetSetSync returns the state of the set that has this name now. It returns errs.NotFound when there is none: after a set is gone,
// what is left of it is found by its uid.
func (s *Store) GetSetSync(ctx context.Context, resource string, key request.Key) (v1.SetSync, error) {
	if !storable(key.Namespace, key.Name) {
		return v1.SetSync{}, errs.New(errs.NotFound, "set %q is not known to the reconciler", key)
	}
	return s.setSync(ctx, key.String(), "resource = $1 AND namespace = $2 AND name = $3 AND deleted_at IS NULL", resource, key.Namespace, key.Name)
}

// GetSetSyncByUID returns the state of a set, also after its document is gone, until nothing is left of it anywhere.
func (s *Store) GetSetSyncByUID(ctx context.Context, uid string) (v1.SetSync, error) {
	if uuid.Validate(uid) != nil {
		return v1.SetSync{}, errs.New(errs.NotFound, "no set has the uid %q", uid)
	}
	return s.setSync(ctx, uid, "uid = $1", uid)
}

func (s *Store) setSync(ctx context.Context, name, where string, args ...any) (v1.SetSync, error) {
	var document v1.SetSync
	_, err := s.snapshot(ctx, func(tx pgx.Tx) error {
		sets, err := readSets(ctx, tx, where, args...)
		if err != nil {
			return err
		}
		if len(sets) == 0 {
			return errs.New(errs.NotFound, "set %s is not known to the reconciler", name)
		}
		document, err = readSetSync(ctx, tx, sets[0])
		return err
	})
	return document, postgres.Wrap(err, "read setsync %s", name)
}

// ListSetSyncs returns a page in the order of resource, namespace and name. A set that is gone is listed until nothing is left of it.
func (s *Store) ListSetSyncs(ctx context.Context, q request.List) (v1.List[v1.SetSync], error) {
	list := v1.List[v1.SetSync]{Items: []v1.SetSync{}}
	labels, err := selector.Parse(q.LabelSelector)
	if err != nil {
		return list, err
	}
	after, err := parsePosition(q.Continue, 4)
	if err != nil || !storable(q.Namespace) {
		return list, errs.Wrap(errs.Invalid, err, "the page cannot be found")
	}
	where, args := labels.SQL("labels", 1)
	if q.Namespace != "" {
		args = append(args, q.Namespace)
		where += fmt.Sprintf(" AND namespace = $%d", len(args))
	}
	if after != nil {
		n := len(args)
		args = append(args, after[0], after[1], after[2], after[3])
		where += fmt.Sprintf(" AND (resource, namespace, name, uid) > ($%d, $%d, $%d, $%d::text::uuid)", n+1, n+2, n+3, n+4)
	}
	where += fmt.Sprintf(" ORDER BY resource, namespace, name, uid LIMIT %d", q.Limit+1)
	list.Revision, err = s.snapshot(ctx, func(tx pgx.Tx) error { return fillSetSyncs(ctx, tx, &list, q.Limit, where, args) })
	return list, postgres.Wrap(err, "list setsyncs")
}

func fillSetSyncs(ctx context.Context, tx pgx.Tx, list *v1.List[v1.SetSync], limit int, where string, args []any) error {
	sets, err := readSets(ctx, tx, where, args...)
	if err != nil {
		return err
	}
	if len(sets) > limit {
		sets = sets[:limit]
		last := sets[limit-1]
		list.Continue = position{last.resource, last.namespace, last.name, last.uid}.token()
	}
	for _, found := range sets {
		document, err := readSetSync(ctx, tx, found)
		if err != nil {
			return err
		}
		list.Items = append(list.Items, document)
	}
	return nil
}

func readSets(ctx context.Context, tx pgx.Tx, where string, args ...any) ([]set, error) {
	rows, err := tx.Query(ctx, "SELECT "+setColumns+" FROM reconciler.sets WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (set, error) {
		s, err := scanSet(row)
		if err != nil {
			return set{}, err
		}
		return *s, nil
	})
}

// readSetSync counts what the rows say of a set.
func readSetSync(ctx context.Context, tx pgx.Tx, s set) (v1.SetSync, error) {
	kind := v1.KindSelectorSyncSet
	if s.resource == v1.ResourceSyncSets {
		kind = v1.KindSyncSet
	}
	document := v1.SetSync{Metadata: v1.Metadata{
		APIVersion: v1.APIVersion, Kind: v1.KindSetSync, Namespace: s.namespace, Name: s.name, UID: s.uid, Generation: s.generation,
		ResourceVersion: fmt.Sprint(s.resourceVersion),
	}}
	status := &document.Status
	*status = v1.SetSyncStatus{SetKind: kind, Deleted: s.deleted, Generation: s.generation}
	var now time.Time
	err := tx.QueryRow(ctx, `SELECT clock_timestamp(), (SELECT document -> 'labels' FROM reconciler.sets WHERE uid = $1),
	(SELECT count(*) FROM reconciler.cluster_sets WHERE set_uid = $1 AND target_generation IS NOT NULL),
	(SELECT count(*) FROM reconciler.removals WHERE set_uid = $1 AND state = 'held')`, s.uid).
		Scan(&now, &document.Labels, &status.Targets, &status.Held)
	if err != nil {
		return document, postgres.Wrap(err, "count the clusters of %s", strings.Trim(s.namespace+"/"+s.name, "/"))
	}
	status.CountedAt = now.UTC()
	if status.Held > 0 {
		status.PendingDeletion, err = pendingDeletion(ctx, tx, s)
	}
	return document, err
}
