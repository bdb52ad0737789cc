package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/postgres"
)

const (
	batchLimit = 256     // events in a batch
	batchBytes = 4 << 20 // bodies in a batch

	// refusals is how often the broker must refuse an event, sent alone, before it is set aside.
	refusals = 3
)

// batchSQL reads what follows published_rev, in order. Nothing comes while the fingerprint is another's: sequence draws a new epoch
// first. Documents that will not be sent are not read.
const batchSQL = `SELECT (SELECT epoch FROM $schema.relay WHERE one), revision, previous, resource, operation, namespace, name,
	CASE WHEN size <= $3 THEN document END, traceparent, tracestate, created_at, set_aside IS NOT NULL
FROM (
	SELECT *, sum(CASE WHEN size <= $3 THEN size ELSE 0 END) OVER (ORDER BY revision) AS total
	FROM $schema.events
	WHERE revision > (SELECT published_rev FROM $schema.relay WHERE one AND fingerprint = ` + fingerprintSQL + `)
	ORDER BY revision LIMIT $1
) batch
WHERE total <= $2 ORDER BY revision`

const advanceSQL = `UPDATE $schema.relay SET published_rev = greatest(published_rev, $1) WHERE one AND epoch = $2`

const setAsideSQL = `UPDATE $schema.events SET set_aside = $2 WHERE revision = $1`

// entry is an event as it is published.
type entry struct {
	epoch              string
	revision, previous int64
	resource           string
	operation          string
	namespace, name    string
	body               []byte // nil when it is too large to be sent
	traceParent        string
	traceState         string
	createdAt          time.Time
	setAside           bool
}

// suspects remembers which events were refused. Only the publishing goroutine uses it.
type suspects struct {
	until int64 // publish one by one up to this revision
	alone int64 // the revision refused last when it was sent alone
	times int   // how often
}

// publish sends the next batch and, once every event of it is confirmed, moves published_rev behind it. It reports whether there was one.
// A crash in between publishes the batch again; nothing is ever skipped.
func (r *Relay) publish(ctx context.Context) (bool, error) {
	batch, err := r.load(ctx)
	if err != nil || len(batch) == 0 {
		return false, err
	}
	if batch[0].revision <= r.suspects.until {
		batch = batch[:1]
	}
	if err := r.send(ctx, batch); err != nil {
		if err := r.suspect(ctx, batch, err); err != nil {
			return false, err
		}
	}
	last := batch[len(batch)-1]
	return true, r.exec(ctx, "move published_rev", advanceSQL, last.revision, last.epoch)
}

func (r *Relay) load(ctx context.Context) ([]entry, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	rows, err := r.Pool.Query(ctx, in(r.Schema, batchSQL), batchLimit, batchBytes, maxBody)
	if err != nil {
		return nil, postgres.Wrap(err, "read events to publish")
	}
	batch, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e entry, err error) {
		err = row.Scan(&e.epoch, &e.revision, &e.previous, &e.resource, &e.operation, &e.namespace, &e.name, &e.body,
			&e.traceParent, &e.traceState, &e.createdAt, &e.setAside)
		return e, err
	})
	return batch, postgres.Wrap(err, "read events to publish")
}

// send publishes a batch without the events that are set aside.
func (r *Relay) send(ctx context.Context, batch []entry) error {
	messages := make([]amqp.Message, 0, len(batch))
	spans := make(spans, 0, len(batch))
	for _, e := range batch {
		if e.setAside {
			continue
		}
		traced := spans.start(ctx, r.Exchange, e)
		messages = append(messages, message(traced, r.Schema, r.Exchange, e))
	}
	unroutable, err := r.Publisher.Publish(ctx, messages)
	spans.end(err)
	if err != nil {
		return err
	}
	r.metrics.published(ctx, int64(len(messages)))
	r.metrics.unroutable(ctx, int64(len(unroutable)))
	return nil
}

// suspect deals with a failed batch. It returns nil when the one event in it was set aside, so that the log goes on behind it, else an
// error: try again. A refused batch is tried event by event, to find which one it is.
func (r *Relay) suspect(ctx context.Context, batch []entry, failure error) error {
	if !errors.Is(failure, amqp.ErrRefused) {
		return failure
	}
	first := batch[0]
	if len(batch) > 1 {
		r.suspects.until = batch[len(batch)-1].revision
		return fmt.Errorf("a batch of %d events was refused: %w", len(batch), failure)
	}
	if r.suspects.alone != first.revision {
		r.suspects.alone, r.suspects.times = first.revision, 0
	}
	if r.suspects.times++; r.suspects.times < refusals {
		return fmt.Errorf("event %d was refused: %w", first.revision, failure)
	}
	r.Log.ErrorContext(ctx, "event can never be published, set aside: watchers read it from the feed", "schema", r.Schema, "revision", first.revision,
		"resource", first.resource, "namespace", first.namespace, "name", first.name, "error", failure)
	r.metrics.setAside(ctx, 1)
	return r.exec(ctx, "set an event aside", setAsideSQL, first.revision, failure.Error())
}

func (r *Relay) exec(ctx context.Context, what, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	_, err := r.Pool.Exec(ctx, in(r.Schema, sql), args...)
	return postgres.Wrap(err, "%s", what)
}
