package plan

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

const scope = "github.com/syncsets/syncsets/services/reconciler/internal/plan"

func tracer() trace.Tracer { return otel.Tracer(scope) }

// remote returns ctx with a stored trace context as the parent of the next span.
func remote(ctx context.Context, traceparent, tracestate string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent, "tracestate": tracestate})
}

// traceparent returns the trace context of ctx as text; "" when there is none.
func traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// startEvents starts a span for each event, as a child of its publishing, and puts it into the event: what follows is its child. The returned
// context is for the transaction: with a single event it is that event's.
func startEvents(ctx context.Context, rang bells, events []outbox.Event) (context.Context, []trace.Span) {
	spans := make([]trace.Span, len(events))
	single := ctx
	for i := range events {
		e := &events[i]
		under, span := tracer().Start(rang.parent(ctx, *e), "plan "+e.Resource, trace.WithSpanKind(trace.SpanKindConsumer),
			trace.WithAttributes(attribute.String("syncsets.resource", e.Resource), attribute.String("syncsets.operation", e.Operation),
				attribute.String("syncsets.uid", e.UID), attribute.Int64("syncsets.generation", e.Generation),
				attribute.String("syncsets.revision", e.Revision.String())))
		spans[i], single = span, under
		if t := traceparent(under); t != "" {
			e.TraceParent = t
		}
	}
	if len(events) == 1 {
		return single, spans
	}
	return ctx, spans
}

func endSpans(spans []trace.Span, err error) {
	for _, s := range spans {
		end(s, err)
	}
}

// startChunk starts the span of a chunk as a child of the event that the fan-out came from.
func startChunk(ctx context.Context, f postgres.FanOut) (context.Context, trace.Span) {
	return tracer().Start(remote(ctx, f.TraceParent, f.TraceState), "fan out", trace.WithAttributes(
		attribute.String("syncsets.set.uid", f.SetUID), attribute.Int64("syncsets.generation", f.Generation),
		attribute.Int("syncsets.clusters.before", f.Clusters)))
}

func endChunk(span trace.Span, done postgres.Chunk, err error) {
	span.SetAttributes(attribute.Int("syncsets.clusters.marked", done.Marked))
	end(span, err)
}

func end(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, "planning failed")
	}
	span.End()
}
