package aggregate

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

const scope = "github.com/syncsets/syncsets/services/reconciler/internal/aggregate"

// gauges show the fleet as it was counted last, by the active process alone; the others show nothing. How many series there are does not
// depend on how many clusters or sets there are.
type gauges struct {
	fleet atomic.Pointer[postgres.Fleet]

	clusters, results, health, held, dirty metric.Int64ObservableGauge
	oldest                                 metric.Float64ObservableGauge
}

func newGauges() (*gauges, error) {
	meter := otel.Meter(scope)
	g := &gauges{}
	var faults []error
	gauge := func(name, description string) metric.Int64ObservableGauge {
		made, err := meter.Int64ObservableGauge(name, metric.WithDescription(description))
		faults = append(faults, err)
		return made
	}
	g.clusters = gauge("syncsets.fleet.clusters", "Clusters by whether they can be reached.")
	g.results = gauge("syncsets.fleet.results", "Pairs of cluster and set by result.")
	g.health = gauge("syncsets.fleet.health", "Pairs of cluster and set by the health of the set's objects there.")
	g.held = gauge("syncsets.fleet.removals.held", "Removals that wait for a confirmation.")
	g.dirty = gauge("syncsets.fleet.sets.dirty", "Sets whose totals are to be counted again.")
	var err error
	g.oldest, err = meter.Float64ObservableGauge("syncsets.fleet.work.oldest_due", metric.WithUnit("s"),
		metric.WithDescription("How long the longest waiting cluster has been due."))
	_, registered := meter.RegisterCallback(g.observe, g.clusters, g.results, g.health, g.held, g.dirty, g.oldest)
	return g, errors.Join(append(faults, err, registered)...)
}

func (g *gauges) set(f postgres.Fleet) { g.fleet.Store(&f) }

func (g *gauges) clear() { g.fleet.Store(nil) }

func (g *gauges) observe(_ context.Context, o metric.Observer) error {
	f := g.fleet.Load()
	if f == nil {
		return nil
	}
	for _, status := range []string{"True", "False", "Unknown"} {
		o.ObserveInt64(g.clusters, f.Clusters[status], metric.WithAttributes(attribute.String("reachable", status)))
	}
	for result, n := range f.Results {
		o.ObserveInt64(g.results, n, metric.WithAttributes(attribute.String("result", result)))
	}
	for health, n := range f.Health {
		o.ObserveInt64(g.health, n, metric.WithAttributes(attribute.String("health", health)))
	}
	o.ObserveInt64(g.held, f.Held)
	o.ObserveInt64(g.dirty, f.Dirty)
	o.ObserveFloat64(g.oldest, f.OldestDue.Seconds())
	return nil
}
