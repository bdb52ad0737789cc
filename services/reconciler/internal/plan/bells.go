package plan

import (
	"context"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel/trace"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/outbox"
)

// bellsKept bounds how many messages are remembered until their events are read from the feed.
const bellsKept = 1024

// bells remembers, by revision, the trace context that each message travelled with, so that planning an event is the child of its
// publishing. A message can lend nothing else, and only within the trace that the event was written in.
type bells struct {
	*lru.Cache[string, trace.SpanContext]
}

func newBells() (bells, error) {
	cache, err := lru.New[string, trace.SpanContext](bellsKept)
	return bells{cache}, err
}

func (b bells) note(d amqp091.Delivery) {
	revision, _ := d.Headers[outbox.HeaderRevision].(string)
	from := trace.SpanContextFromContext(amqp.Extract(context.Background(), d.Headers))
	if revision != "" && from.IsValid() {
		b.Add(revision, from)
	}
}

// parent returns ctx with what the next span of an event is the child of: the publishing, or the write where no message came first.
func (b bells) parent(ctx context.Context, e outbox.Event) context.Context {
	ctx = remote(ctx, e.TraceParent, e.TraceState)
	from, rang := b.Get(e.Revision.String())
	if !rang || from.TraceID() != trace.SpanContextFromContext(ctx).TraceID() {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, from)
}
