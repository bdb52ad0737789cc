// Package dispatch offers due clusters on the competing queue. Every pod may run one: a row is queued in Postgres first and published
// after, and what could not be published, or was lost on the way, becomes due again.
package dispatch

import (
	"context"
	"log/slog"
	"time"

	"github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/backoff"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

const (
	scope      = "github.com/syncsets/syncsets/services/reconciler/internal/dispatch"
	batch      = 256
	pollMost   = time.Second
	pollLeast  = 200 * time.Millisecond
	handedBack = 5 * time.Second // for making rows idle again when the process ends
)

// Config is what a dispatcher works with. Queue is the full name of the competing queue.
type Config struct {
	Store     *postgres.Store
	Publisher *amqp.Publisher
	Queue     string
	Log       *slog.Logger
}

// Dispatcher publishes due clusters. Make it with New.
type Dispatcher struct {
	Config
	wake    chan struct{}
	offered metric.Int64Counter
}

// Declare makes the competing queue; it is for the publisher's connection.
func Declare(queue string) func(*amqp091.Channel) error {
	return func(ch *amqp091.Channel) error { return amqp.DeclareQuorum(ch, queue, false) }
}

// New returns a dispatcher that does nothing before Run.
func New(c Config) (*Dispatcher, error) {
	offered, err := otel.Meter(scope).Int64Counter("syncsets.dispatch.offers", metric.WithDescription("Clusters offered to workers."))
	return &Dispatcher{Config: c, wake: make(chan struct{}, 1), offered: offered}, err
}

// Wake makes the dispatcher look for due clusters. It never blocks.
func (d *Dispatcher) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run dispatches until ctx ends and returns its cause. While nothing is due it looks once a second, after something was more often.
func (d *Dispatcher) Run(ctx context.Context) error {
	retry := backoff.New(pollLeast, 10*time.Second)
	for ctx.Err() == nil {
		n, err := d.step(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			d.Log.WarnContext(ctx, "dispatching waits", "error", err)
			_ = retry.Wait(ctx)
		default:
			retry.Reset()
			d.wait(ctx, n > 0)
		}
	}
	return context.Cause(ctx)
}

func (d *Dispatcher) wait(ctx context.Context, busy bool) {
	poll := pollMost
	if busy {
		poll = pollLeast
	}
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-d.wake:
	case <-timer.C:
	}
}

// step queues what is due and publishes it. Without a connection to the broker nothing is picked: rows stay due.
func (d *Dispatcher) step(ctx context.Context) (int, error) {
	if !d.Publisher.Connected() {
		return 0, nil
	}
	offers, err := d.Store.PickDue(ctx)
	if err != nil {
		return 0, err
	}
	for first := 0; first < len(offers); first += batch {
		if err := d.publish(ctx, offers[first:min(first+batch, len(offers))]); err != nil {
			return first, d.takeBack(ctx, offers[first:], err)
		}
	}
	d.offered.Add(ctx, int64(len(offers)))
	return len(offers), nil
}

// publish offers clusters, each under a span of its own that the run continues.
func (d *Dispatcher) publish(ctx context.Context, offers []postgres.Offer) error {
	messages := make([]amqp.Message, len(offers))
	spans := make([]trace.Span, len(offers))
	for i, o := range offers {
		messages[i], spans[i] = d.message(ctx, o)
	}
	defer func() {
		for _, s := range spans {
			s.End()
		}
	}()
	unroutable, err := d.Publisher.Publish(ctx, messages)
	if err != nil || len(unroutable) == 0 {
		return err
	}
	lost := make([]postgres.Offer, len(unroutable))
	for i, n := range unroutable {
		lost[i] = offers[n]
	}
	d.Log.WarnContext(ctx, "the queue of due clusters does not exist; it comes back with the next worker", "clusters", len(lost))
	return d.takeBack(ctx, lost, nil)
}

func (d *Dispatcher) message(ctx context.Context, o postgres.Offer) (amqp.Message, trace.Span) {
	under, options := causes(ctx, o.Causes)
	under, span := otel.Tracer(scope).Start(under, "publish reconciler.apply", append(options, trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(attribute.String("messaging.system", "rabbitmq"), attribute.String("messaging.operation.name", "publish"),
			attribute.String("messaging.destination.name", d.Queue), attribute.String("syncsets.cluster.uid", o.ClusterUID)))...)
	headers := map[string]any{}
	amqp.Inject(under, headers)
	return amqp.Message{Key: d.Queue, ID: o.ClusterUID, ContentType: "text/plain", Headers: headers, Body: []byte(o.ClusterUID)}, span
}

// causes makes a run with one cause that cause's child, and one with several a new root with links to them.
func causes(ctx context.Context, traceparents []string) (context.Context, []trace.SpanStartOption) {
	if len(traceparents) == 1 {
		return amqp.Extract(ctx, map[string]any{"traceparent": traceparents[0]}), nil
	}
	options := []trace.SpanStartOption{trace.WithNewRoot()}
	for _, t := range traceparents {
		link := trace.SpanContextFromContext(amqp.Extract(context.Background(), map[string]any{"traceparent": t}))
		if link.IsValid() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: link}))
		}
	}
	return ctx, options
}

// takeBack makes rows idle again that could not be published, also while the process ends.
func (d *Dispatcher) takeBack(ctx context.Context, offers []postgres.Offer, cause error) error {
	uids := make([]string, len(offers))
	for i, o := range offers {
		uids[i] = o.ClusterUID
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handedBack)
	defer cancel()
	if err := d.Store.TakeBack(ctx, uids); err != nil {
		return err
	}
	return cause
}
