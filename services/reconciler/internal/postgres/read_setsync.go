package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
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
		found, err := readSetSyncs(ctx, tx, where, args...)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return errs.New(errs.NotFound, "set %s is not known to the reconciler", name)
		}
		document = found[0]
		return nil
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
	list.Revision, err = s.snapshot(ctx, func(tx pgx.Tx) (err error) {
		list.Items, list.Continue, err = setSyncPage(ctx, tx, after, q.Limit, where, args)
		return err
	})
	return list, postgres.Wrap(err, "list setsyncs")
}

// setSyncPage returns up to limit setsyncs after a position, as many as fit on a page, and the token when some are left.
func setSyncPage(ctx context.Context, tx pgx.Tx, after position, limit int, where string, args []any) ([]v1.SetSync, string, error) {
	p := page[v1.SetSync]{items: []v1.SetSync{}}
	for {
		size := min(pagePart, limit+1-len(p.items))
		part, err := setSyncsAfter(ctx, tx, after, size, where, args)
		if err != nil {
			return nil, "", err
		}
		left := limit - len(p.items)
		if err := p.add(part[:min(left, len(part))]); err != nil {
			return nil, "", err
		}
		if n := len(p.items); n > 0 {
			after = setSyncPosition(p.items[n-1])
		}
		switch {
		case p.full || len(part) > left:
			return p.items, after.token(), nil
		case len(part) < size:
			return p.items, "", nil
		}
	}
}

func setSyncPosition(d v1.SetSync) position {
	return position{resources[d.Status.SetKind], d.Namespace, d.Name, d.UID}
}

func setSyncsAfter(ctx context.Context, tx pgx.Tx, after position, size int, where string, args []any) ([]v1.SetSync, error) {
	if n := len(args); after != nil {
		args = append(slices.Clone(args), after[0], after[1], after[2], after[3])
		where += fmt.Sprintf(" AND (resource, namespace, name, uid) > ($%d, $%d, $%d, $%d::text::uuid)", n+1, n+2, n+3, n+4)
	}
	return readSetSyncs(ctx, tx, where+fmt.Sprintf(" ORDER BY resource, namespace, name, uid LIMIT %d", size), args...)
}

// resources are the resources of sets by their kinds.
var resources = map[string]string{v1.KindSyncSet: v1.ResourceSyncSets, v1.KindSelectorSyncSet: v1.ResourceSelectorSyncSets}

func setKind(resource string) string {
	if resource == v1.ResourceSyncSets {
		return v1.KindSyncSet
	}
	return v1.KindSelectorSyncSet
}

// setSyncSQL reads the totals as they were counted last, and of what must be exact how much there is: held removals.
const setSyncSQL = `SELECT uid::text, resource, namespace, name, generation, document -> 'labels', deleted_at IS NOT NULL,
	coalesce(total.version, 0), coalesce(total.status, '{}'), coalesce(total.counted_at, '0001-01-01 00:00:00+00'), held.n
FROM reconciler.sets LEFT JOIN (SELECT set_uid, resource_version AS version, status, counted_at FROM reconciler.setsyncs) total
	ON total.set_uid = uid
CROSS JOIN LATERAL (SELECT count(*) AS n FROM reconciler.removals r WHERE r.set_uid = uid AND r.state = 'held') held WHERE `

// readSetSyncs returns the setsyncs of the sets that match, with what waits for an answer. Nothing is counted here but what is held.
func readSetSyncs(ctx context.Context, tx pgx.Tx, where string, args ...any) ([]v1.SetSync, error) {
	rows, err := tx.Query(ctx, setSyncSQL+where, args...)
	if err != nil {
		return nil, err
	}
	documents, err := pgx.CollectRows(rows, scanSetSync)
	if err != nil {
		return nil, err
	}
	for i := range documents {
		d := &documents[i]
		if d.Status.Held == 0 {
			continue
		}
		found, err := findSet(ctx, tx, d.UID)
		if err != nil || found == nil {
			return nil, err
		}
		if d.Status.PendingDeletion, err = pendingDeletion(ctx, tx, *found); err != nil {
			return nil, err
		}
	}
	return documents, nil
}

func scanSetSync(row pgx.CollectableRow) (v1.SetSync, error) {
	var d v1.SetSync
	var resource string
	var version, generation int64
	var status []byte
	var deleted bool
	var counted time.Time
	var held int
	err := row.Scan(&d.UID, &resource, &d.Namespace, &d.Name, &generation, &d.Labels, &deleted, &version, &status, &counted, &held)
	if err != nil {
		return d, err
	}
	err = json.Unmarshal(status, &d.Status)
	d.APIVersion, d.Kind, d.Generation, d.ResourceVersion = v1.APIVersion, v1.KindSetSync, generation, strconv.FormatInt(version, 10)
	d.Status.SetKind, d.Status.Deleted, d.Status.Generation = setKind(resource), deleted, generation
	d.Status.Held, d.Status.CountedAt = held, counted.UTC()
	return d, err
}
