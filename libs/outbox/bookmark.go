package outbox

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/postgres"
)

const bookmarksSQL = `SELECT wanted.resource, relay.epoch, relay.published_rev,
	coalesce((SELECT max(revision) FROM $schema.events WHERE events.resource = wanted.resource AND revision <= relay.published_rev), 0)
FROM $schema.relay, unnest($1::text[]) AS wanted (resource) WHERE relay.one AND relay.epoch <> ''`

// bookmark publishes one message per resource that says how far the log is published and which revision of that resource was the last,
// so that a watcher notices the loss of a last message.
func (r *Relay) bookmark(ctx context.Context) error {
	if len(r.Resources) == 0 {
		return nil
	}
	messages, err := r.bookmarks(ctx)
	if err != nil {
		return err
	}
	_, err = r.Publisher.Publish(ctx, messages)
	return err
}

func (r *Relay) bookmarks(ctx context.Context) ([]amqp.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	rows, err := r.Pool.Query(ctx, in(r.Schema, bookmarksSQL), r.Resources)
	if err != nil {
		return nil, postgres.Wrap(err, "read the published revision")
	}
	messages, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (amqp.Message, error) {
		var resource string
		var revision Revision
		var previous int64
		if err := row.Scan(&resource, &revision.Epoch, &revision.N, &previous); err != nil {
			return amqp.Message{}, err
		}
		m := amqp.Message{
			Exchange: r.Exchange, Key: RoutingKey(resource, Bookmark, ""), ContentType: "application/json",
			Headers: headers(r.Schema, resource, Bookmark, revision, previous, time.Now()),
		}
		m.ID = revision.String() + "." + Bookmark + "." + resource
		m.Headers[HeaderID] = m.ID
		return m, nil
	})
	return messages, postgres.Wrap(err, "read the published revision")
}
