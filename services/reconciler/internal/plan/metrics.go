package plan

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
)

// metrics are the planner's instruments. stopped is shown as a gauge: 1 while a source's log that went backwards keeps it from planning.
type metrics struct {
	events, marks, failures, refused metric.Int64Counter
	stopped                          *atomic.Bool
}

func newMetrics() (metrics, error) {
	meter := otel.Meter(scope)
	m := metrics{stopped: new(atomic.Bool)}
	var faults []error
	counter := func(name, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithDescription(description))
		faults = append(faults, err)
		return c
	}
	m.events = counter("syncsets.planner.events", "Events planned.")
	m.marks = counter("syncsets.planner.marks", "Clusters marked by fan-outs.")
	m.failures = counter("syncsets.planner.failures", "Steps that failed and are tried again.")
	m.refused = counter("syncsets.planner.resyncs.refused", "Resyncs refused because they would drop too much.")
	_, err := meter.Int64ObservableGauge("syncsets.planner.stopped",
		metric.WithDescription("1 while planning and writing wait for a person: a service's database went backwards."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			value := int64(0)
			if m.stopped.Load() {
				value = 1
			}
			o.Observe(value)
			return nil
		}))
	return m, errors.Join(append(faults, err)...)
}
