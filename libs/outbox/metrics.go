package outbox

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const scope = "github.com/syncsets/syncsets/libs/outbox"

// metrics are the relay's instruments; each carries the schema.
type metrics struct {
	lag, published, unroutable, setAside func(ctx context.Context, n int64)
	oldest                               func(ctx context.Context, seconds float64)
}

func newMetrics(schema string) metrics {
	meter := otel.Meter(scope)
	set := metric.WithAttributeSet(attribute.NewSet(attribute.String("schema", schema)))
	lag, errLag := meter.Int64Gauge("syncsets.relay.lag", metric.WithUnit("{revision}"),
		metric.WithDescription("Revisions in the event log that are not published"))
	oldest, errOldest := meter.Float64Gauge("syncsets.relay.oldest", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest change in the outbox"))
	for _, err := range []error{errLag, errOldest} {
		if err != nil {
			otel.Handle(err)
		}
	}
	return metrics{
		lag:        func(ctx context.Context, n int64) { lag.Record(ctx, n, set) },
		oldest:     func(ctx context.Context, seconds float64) { oldest.Record(ctx, seconds, set) },
		published:  counter(meter, set, "syncsets.relay.published", "Events that the broker confirmed"),
		unroutable: counter(meter, set, "syncsets.relay.unroutable", "Events that no queue wanted"),
		setAside:   counter(meter, set, "syncsets.relay.set_aside", "Events that can never be published"),
	}
}

func counter(meter metric.Meter, set metric.MeasurementOption, name, description string) func(context.Context, int64) {
	c, err := meter.Int64Counter(name, metric.WithUnit("{event}"), metric.WithDescription(description))
	if err != nil {
		otel.Handle(err)
	}
	return func(ctx context.Context, n int64) { c.Add(ctx, n, set) }
}

func (m metrics) observe(ctx context.Context, lag int64, oldest *time.Duration) {
	m.lag(ctx, lag)
	if oldest == nil {
		m.oldest(ctx, 0)
		return
	}
	m.oldest(ctx, oldest.Seconds())
}
