package work

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// meters are the numbers that runs report.
type meters struct {
	leaseLost, takeover, runs, requests, drifts metric.Int64Counter
	duration                                    metric.Float64Histogram
}

func newMeters() (m meters, err error) {
	meter := otel.Meter(scope)
	counters := []struct {
		into              *metric.Int64Counter
		name, description string
	}{
		{&m.leaseLost, "syncsets.lease_lost", "Runs whose lease was lost, so that their writes were refused."},
		{&m.takeover, "syncsets.takeover", "Runs that took over from a holder whose lease had ended."},
		{&m.runs, "syncsets.runs", "Finished runs by result."},
		{&m.requests, "syncsets.target.requests", "Requests sent to targets."},
		{&m.drifts, "syncsets.drift", "Objects that were found changed by others and written again."},
	}
	var faults []error
	for _, c := range counters {
		*c.into, err = meter.Int64Counter(c.name, metric.WithDescription(c.description))
		faults = append(faults, err)
	}
	m.duration, err = meter.Float64Histogram("syncsets.run.duration", metric.WithUnit("s"), metric.WithDescription("How long runs take."))
	return m, errors.Join(append(faults, err)...)
}

// ran counts one run.
func (m meters) ran(ctx context.Context, result string, requests int, took time.Duration) {
	attributes := metric.WithAttributes(attribute.String("result", result))
	m.runs.Add(ctx, 1, attributes)
	m.duration.Record(ctx, took.Seconds(), attributes)
	m.requests.Add(ctx, int64(requests))
}
