package outbox

import (
	"context"
	"net/url"
	"time"

	"github.com/syncsets/syncsets/libs/amqp"
)

// maxBody is the size up to which a document travels with its event; a larger one is fetched from the feed.
const maxBody = 64 << 10

// The headers of an event: CloudEvents 1.0 in binary mode, with the prefix that its AMQP binding prescribes.
const (
	HeaderSpecVersion = "cloudEvents:specversion"
	HeaderID          = "cloudEvents:id"
	HeaderType        = "cloudEvents:type"   // dev.syncsets.<resource>.<operation>
	HeaderSource      = "cloudEvents:source" // the service
	HeaderSubject     = "cloudEvents:subject"
	HeaderTime        = "cloudEvents:time"
	HeaderRevision    = "cloudEvents:revision"
	HeaderPrevious    = "cloudEvents:prevrevision" // the revision before this one of the same resource: a gap shows
	HeaderDataRef     = "cloudEvents:dataref"      // where the document is, when the body is empty
)

// Bookmark is the operation of a message that only says how far the log is published.
const Bookmark = "bookmark"

// RoutingKey returns "<resource>.<operation>.<namespace>", with "_" where there is no namespace. The name stays out of it: keys end at
// 255 bytes.
func RoutingKey(resource, operation, namespace string) string {
	if namespace == "" {
		namespace = "_"
	}
	return resource + "." + operation + "." + namespace
}

// message makes the message of e; ctx carries the trace context it travels with.
func message(ctx context.Context, schema, exchange string, e entry) amqp.Message {
	revision := Revision{Epoch: e.epoch, N: e.revision}
	subject := e.name
	if e.namespace != "" {
		subject = e.namespace + "/" + e.name
	}
	m := amqp.Message{
		Exchange: exchange, Key: RoutingKey(e.resource, e.operation, e.namespace), ID: revision.String(), ContentType: "application/json",
		Headers: headers(schema, e.resource, e.operation, revision, e.previous, e.createdAt), Body: e.body,
	}
	m.Headers[HeaderSubject] = subject
	if e.body == nil || len(e.body) > maxBody {
		before := Revision{Epoch: e.epoch, N: e.revision - 1}
		m.Body = nil
		m.Headers[HeaderDataRef] = "/v1/events/" + url.PathEscape(e.resource) + "?since=" + before.String()
	}
	amqp.Inject(ctx, m.Headers)
	return m
}

func headers(schema, resource, operation string, revision Revision, previous int64, at time.Time) map[string]any {
	return map[string]any{
		HeaderSpecVersion: "1.0",
		HeaderID:          revision.String(),
		HeaderType:        "dev.syncsets." + resource + "." + operation,
		HeaderSource:      "/" + schema,
		HeaderTime:        at.UTC().Format(time.RFC3339Nano),
		HeaderRevision:    revision.String(),
		HeaderPrevious:    Revision{Epoch: revision.Epoch, N: previous}.String(),
	}
}
