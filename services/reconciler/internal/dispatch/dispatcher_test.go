package dispatch_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/services/reconciler/internal/dispatch"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

func TestMain(m *testing.M) { devstack.Main(m) }

// What becomes due is on the queue soon after a wake, under a span whose parent is the one cause, or which links to several.
func TestDueClustersAreOfferedWithTheirCauses(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)))
	pg, rabbit := devstack.Postgres(t, "reconciler"), devstack.RabbitMQ(t)
	log := slog.New(slog.DiscardHandler)
	config := amqp.Config{URL: rabbit.URL, Prefix: rabbit.Prefix, Name: t.Name(), Log: log}
	queue := config.Queue("reconciler.apply")
	publisher := amqp.NewPublisher(config, dispatch.Declare(queue))
	store := postgres.New(pg.Pool)
	d, err := dispatch.New(dispatch.Config{Store: store, Publisher: publisher, Queue: queue, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var parts sync.WaitGroup
	t.Cleanup(func() { stop(); parts.Wait() })
	parts.Go(func() { _ = publisher.Run(ctx) })
	parts.Go(func() { _ = d.Run(ctx) })

	const cause, other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01"
	one, several := uuid.NewString(), uuid.NewString()
	for uid, causes := range map[string][]string{one: {cause}, several: {cause, other}} {
		if _, err := pg.Pool.Exec(t.Context(), "INSERT INTO reconciler.work (cluster_uid, causes) VALUES ($1, $2)", uid, causes); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Heartbeat(t.Context(), "worker", 4); err != nil {
		t.Fatal(err)
	}
	d.Wake()
	offers := receive(t, config, queue, 2)
	if got := offers[one]; !strings.HasPrefix(got, "00-0af7651916cd43dd8448eb211c80319c-") || got == cause {
		t.Errorf("the offer with one cause has the traceparent %s, want a child of %s", got, cause)
	}
	if got := offers[several]; strings.Contains(got, "0af7651916cd43dd8448eb211c80319c") || strings.Contains(got, "1af7651916cd43dd8448eb211c80319c") {
		t.Errorf("the offer with several causes has the traceparent %s, want a trace of its own", got)
	}
	for _, span := range recorder.Ended() {
		if strings.Contains(offers[several], span.SpanContext().SpanID().String()) && len(span.Links()) != 2 {
			t.Errorf("the offer with several causes has %d links, want 2", len(span.Links()))
		}
	}
}

// receive returns the traceparents of n offers by cluster.
func receive(t *testing.T, config amqp.Config, queue string, n int) map[string]string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	found := make(chan [2]string, n)
	var consumer sync.WaitGroup
	consumer.Go(func() {
		_ = amqp.Consume(ctx, amqp.ConsumerConfig{
			Config: config, Prefetch: n, Declare: func(ch *amqp091.Channel) (string, error) { return queue, dispatch.Declare(queue)(ch) },
		}, func(_ context.Context, d amqp091.Delivery) {
			traceparent, _ := d.Headers["traceparent"].(string)
			_ = d.Ack(false)
			found <- [2]string{string(d.Body), traceparent}
		})
	})
	offers := map[string]string{}
	for len(offers) < n {
		select {
		case o := <-found:
			offers[o[0]] = o[1]
		case <-ctx.Done():
			t.Fatalf("%d of %d offers came", len(offers), n)
		}
	}
	stop()
	consumer.Wait()
	return offers
}
