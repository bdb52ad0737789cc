package outbox_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/outbox"
)

// Serial: the tracer provider is the process's. The writer has gone before the relay starts; what links them is the row.
func TestTheMessageContinuesTheTraceOfTheWrite(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(provider)
	t.Cleanup(func() { otel.SetTracerProvider(before); _ = provider.Shutdown(context.Background()) })

	b := newBench(t)
	ctx, request := provider.Tracer("test").Start(t.Context(), "POST /v1/clusters")
	const events = 100
	err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		for i := range events {
			if err := outbox.Append(ctx, tx, schema, change(fmt.Sprint("object", i))); err != nil {
				return err
			}
		}
		return nil
	})
	request.End()
	if err != nil {
		t.Fatal(err)
	}
	b.relay(t)
	devstack.Eventually(t, "the events are heard", func() bool { return len(b.heard.all()) == events })
	devstack.Eventually(t, "published_rev follows", b.published(t))

	published := map[trace.SpanID]sdktrace.ReadOnlySpan{}
	for _, span := range recorder.Ended() {
		if span.SpanKind() == trace.SpanKindProducer {
			published[span.SpanContext().SpanID()] = span
		}
	}
	if len(published) == 0 || len(published) >= events {
		t.Errorf("%d publish spans for %d events: want some, but a bounded number", len(published), events)
	}
	for i, d := range b.heard.all() {
		carried := trace.SpanContextFromContext(amqp.Extract(context.Background(), d.Headers))
		if carried.TraceID() != request.SpanContext().TraceID() {
			t.Fatalf("message %d carries trace %s, the request's is %s", i, carried.TraceID(), request.SpanContext().TraceID())
		}
		span, own := published[carried.SpanID()]
		if own && span.Parent().SpanID() != request.SpanContext().SpanID() {
			t.Errorf("message %d: the publish span's parent is %s, not the request", i, span.Parent().SpanID())
		}
		if !own && (i == 0 || carried.SpanID() != request.SpanContext().SpanID()) {
			t.Errorf("message %d carries span %s, neither a publish span nor the request's", i, carried.SpanID())
		}
	}
}
