package outbox

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// maxSpans bounds the spans of one batch; the events beyond it travel with the trace context they were written with.
const maxSpans = 64

// spans are the publish spans of a batch.
type spans []trace.Span

// start opens the publish span of e, a child of the request that wrote it, and returns a context that carries it. An event without a
// trace gets no span.
func (s *spans) start(ctx context.Context, exchange string, e entry) context.Context {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": e.traceParent, "tracestate": e.traceState})
	if !trace.SpanContextFromContext(ctx).IsValid() || len(*s) >= maxSpans {
		return ctx
	}
	key := e.resource + "." + e.operation
	ctx, span := otel.Tracer(scope).Start(ctx, "publish "+exchange+":"+key, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", "rabbitmq"),
		attribute.String("messaging.operation.name", "publish"),
		attribute.String("messaging.operation.type", "send"),
		attribute.String("messaging.destination.name", exchange+":"+key),
		attribute.String("messaging.rabbitmq.destination.routing_key", RoutingKey(e.resource, e.operation, e.namespace)),
		attribute.String("messaging.message.id", Revision{Epoch: e.epoch, N: e.revision}.String()),
		attribute.Int("messaging.message.body.size", len(e.body)),
	))
	*s = append(*s, span)
	return ctx
}

// end closes the spans, with the error that befell the whole batch.
func (s spans) end(err error) {
	for _, span := range s {
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, "not published")
		}
		span.End()
	}
}
