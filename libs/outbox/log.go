package outbox

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/postgres"
)

// Event is a change with its place in the log, as the feed shows it.
type Event struct {
	Revision        Revision          `json:"revision"`
	Previous        int64             `json:"previous"` // number of the revision before this one of the same resource, 0 for none
	Resource        string            `json:"resource"`
	Operation       string            `json:"operation"`
	UID             string            `json:"uid"`
	Namespace       string            `json:"namespace,omitempty"`
	Name            string            `json:"name"`
	Generation      int64             `json:"generation"`
	ResourceVersion int64             `json:"resourceVersion"`
	Document        json.RawMessage   `json:"document"`
	PreviousLabels  map[string]string `json:"previousLabels,omitempty"`
	Options         map[string]string `json:"options,omitempty"`
	Actor           string            `json:"actor,omitempty"`
	TraceParent     string            `json:"traceparent,omitempty"`
	TraceState      string            `json:"tracestate,omitempty"`
	Time            time.Time         `json:"time"`
}

// Page is a run of events and where the log ended when it was read.
type Page struct {
	Items    []Event  `json:"items"`
	Revision Revision `json:"revision"`
}

// Limits of a page: events asked for, and bytes of documents. One event always fits.
const (
	DefaultLimit = 500
	MaxLimit     = 1000
	pageBytes    = 16 << 20
)

// Querier is a pool, a connection or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Log reads a service's event log.
type Log struct {
	pool   *pgxpool.Pool
	schema string
}

// NewLog makes the reader of schema's log.
func NewLog(pool *pgxpool.Pool, schema string) *Log { return &Log{pool: pool, schema: schema} }

// Head returns the end of the log. In the REPEATABLE READ snapshot of a list it is the revision to watch from: everything up to it is
// in the list; what the list already shows beyond it comes again as an event.
func (l *Log) Head(ctx context.Context, q Querier) (Revision, error) {
	var head Revision
	err := q.QueryRow(ctx, in(l.schema, "SELECT epoch, last_rev FROM $schema.relay WHERE one")).Scan(&head.Epoch, &head.N)
	return head, postgres.Wrap(err, "read the end of the event log")
}

// Read returns up to limit events after since in revision order, of one resource or, where resource is empty, of all. A page may hold
// fewer than there are, since its size is bounded: read on until nothing comes. errs.Gone means that since cannot be
// continued from, because it was compacted, lies beyond the end or is of another epoch: list again and go on from there.
func (l *Log) Read(ctx context.Context, resource string, since Revision, limit int) (Page, error) {
	if limit <= 0 {
		limit = DefaultLimit
	}
	sql, args := readSQL, []any{since.N, min(limit, MaxLimit), pageBytes}
	if resource != "" {
		sql, args = readOneSQL, append(args, resource)
	}
	rows, err := l.pool.Query(ctx, in(l.schema, sql), args...)
	if err != nil {
		return Page{}, postgres.Wrap(err, "read the event log")
	}
	page, compacted, err := collect(rows)
	if err != nil {
		return Page{}, postgres.Wrap(err, "read the event log")
	}
	if err := reachable(since, page.Revision, compacted); err != nil {
		return Page{}, err
	}
	return page, nil
}

// reachable returns errs.Gone unless the log holds everything after since.
func reachable(since, head Revision, compacted int64) error {
	switch {
	case since.Epoch != "" && since.Epoch != head.Epoch:
		return errs.New(errs.Gone, "revision %s is of another epoch than the event log (%s): list again", since, head)
	case since.N > head.N:
		return errs.New(errs.Gone, "revision %s lies beyond the end of the event log (%s): list again", since, head)
	case since.N < compacted:
		return errs.New(errs.Gone, "revision %s is no longer in the event log, which begins after %d: list again", since, compacted)
	}
	return nil
}

const (
	// logSQL reads the log's bounds and a page of events in one snapshot: one row per event, or a single one without an event.
	logSQL = `SELECT relay.epoch, relay.last_rev, relay.compacted_rev, event.*
FROM $schema.relay LEFT JOIN LATERAL (
	SELECT revision, previous, resource, operation, uid::text, namespace, name, generation, resource_version, document,
		previous_labels, options, actor, traceparent, tracestate, created_at
	FROM (
		SELECT *, sum(size) OVER before AS total, row_number() OVER before AS place
		FROM $schema.events WHERE revision > $1 $filter WINDOW before AS (ORDER BY revision) ORDER BY revision LIMIT $2
	) sized
	WHERE total <= $3 OR place = 1
) event ON true
WHERE relay.one ORDER BY event.revision`
)

var (
	readSQL    = strings.ReplaceAll(logSQL, "$filter", "")
	readOneSQL = strings.ReplaceAll(logSQL, "$filter", "AND resource = $4")
)

// collect reads the rows of logSQL.
func collect(rows pgx.Rows) (page Page, compacted int64, err error) {
	defer rows.Close()
	page.Items = []Event{}
	for rows.Next() {
		var row eventRow
		err := rows.Scan(&page.Revision.Epoch, &page.Revision.N, &compacted, &row.revision, &row.previous, &row.resource, &row.operation,
			&row.uid, &row.namespace, &row.name, &row.generation, &row.resourceVersion, &row.document, &row.previousLabels, &row.options,
			&row.actor, &row.traceParent, &row.traceState, &row.createdAt)
		if err != nil {
			return page, 0, err
		}
		if row.revision != nil {
			page.Items = append(page.Items, row.event(page.Revision.Epoch))
		}
	}
	return page, compacted, rows.Err()
}

// eventRow is an event of which every column may be missing, since the log may have none to show.
type eventRow struct {
	revision, previous, generation, resourceVersion                           *int64
	resource, operation, uid, namespace, name, actor, traceParent, traceState *string
	document                                                                  []byte
	previousLabels, options                                                   map[string]string
	createdAt                                                                 *time.Time
}

func (r eventRow) event(epoch string) Event {
	return Event{
		Revision: Revision{Epoch: epoch, N: *r.revision}, Previous: *r.previous, Resource: *r.resource, Operation: *r.operation,
		UID: *r.uid, Namespace: *r.namespace, Name: *r.name, Generation: *r.generation, ResourceVersion: *r.resourceVersion,
		Document: r.document, PreviousLabels: r.previousLabels, Options: r.options, Actor: *r.actor,
		TraceParent: *r.traceParent, TraceState: *r.traceState, Time: *r.createdAt,
	}
}
