// Package telemetry sets up what a service says about itself: JSON logs with trace ids (slog), traces and metrics (OpenTelemetry,
// exported as the OTEL_* variables say, nowhere by default), and the admin listener with health, metrics, version and profiles.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Options say who speaks, how loudly and where to. Lookup reads the environment; nil: no exporter is configured.
type Options struct {
	Service, Version string
	Level            slog.Level
	Output           io.Writer
	Lookup           func(string) (string, bool)
}

// Telemetry is the running set-up of one process.
type Telemetry struct {
	Log      *slog.Logger
	Registry *prometheus.Registry

	version  map[string]string
	mu       sync.Mutex
	checks   map[string]Check
	shutdown []func(context.Context) error
}

// Check reports whether a part works. It must heed its context.
type Check func(ctx context.Context) error

// Setup builds logger, tracer provider and meter provider and makes the latter two, with W3C propagation, the process's own. Shutdown
// flushes them.
func Setup(ctx context.Context, o Options) (*Telemetry, error) {
	t := &Telemetry{
		Log:      newLogger(o),
		Registry: prometheus.NewRegistry(),
		version:  buildVersion(o),
		checks:   map[string]Check{},
	}
	t.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	about, err := resource.New(ctx, resource.WithAttributes(
		semconv.ServiceName(o.Service), semconv.ServiceVersion(o.Version)), resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return nil, fmt.Errorf("describe the service for telemetry: %w", err)
	}
	if err := t.setupTraces(ctx, o, about); err != nil {
		return nil, err
	}
	if err := t.setupMetrics(ctx, o, about); err != nil {
		return nil, err
	}
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { t.Log.Warn("telemetry failed", "error", err) }))
	return t, nil
}

// setupTraces always makes trace ids, so that logs and answers carry them, and exports spans where an exporter is configured.
func (t *Telemetry) setupTraces(ctx context.Context, o Options, about *resource.Resource) error {
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(about)}
	if o.exports("TRACES") {
		exporter, err := autoexport.NewSpanExporter(ctx)
		if err != nil {
			return fmt.Errorf("set up the export of traces: %w", err)
		}
		options = append(options, sdktrace.WithBatcher(exporter))
	} else {
		options = append(options, sdktrace.WithSampler(sdktrace.NeverSample())) // nobody reads the spans: keep only their ids
	}
	provider := sdktrace.NewTracerProvider(options...)
	otel.SetTracerProvider(provider)
	t.shutdown = append(t.shutdown, provider.Shutdown)
	return nil
}

// setupMetrics always serves Prometheus and pushes where an exporter is configured.
func (t *Telemetry) setupMetrics(ctx context.Context, o Options, about *resource.Resource) error {
	scraped, err := otelprometheus.New(otelprometheus.WithRegisterer(t.Registry))
	if err != nil {
		return fmt.Errorf("set up metrics: %w", err)
	}
	// A caller chooses the Host header: as a label it would make as many series as it likes.
	hostless := sdkmetric.NewView(sdkmetric.Instrument{Name: "http.server.*"},
		sdkmetric.Stream{AttributeFilter: attribute.NewDenyKeysFilter(semconv.ServerAddressKey, semconv.ServerPortKey)})
	options := []sdkmetric.Option{sdkmetric.WithResource(about), sdkmetric.WithReader(scraped), sdkmetric.WithView(hostless)}
	if o.exports("METRICS") {
		pushed, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return fmt.Errorf("set up the export of metrics: %w", err)
		}
		options = append(options, sdkmetric.WithReader(pushed))
	}
	provider := sdkmetric.NewMeterProvider(options...)
	otel.SetMeterProvider(provider)
	t.shutdown = append(t.shutdown, provider.Shutdown)
	return nil
}

// exports reports whether the environment asks for an exporter of this signal.
func (o Options) exports(signal string) bool {
	if o.Lookup == nil {
		return false
	}
	for _, name := range []string{
		"OTEL_" + signal + "_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT",
	} {
		if value, ok := o.Lookup(name); ok && value != "" {
			return value != "none"
		}
	}
	return false
}

// Shutdown flushes what has not been exported yet.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var failures []error
	for _, stop := range t.shutdown {
		failures = append(failures, stop(ctx))
	}
	return errors.Join(failures...)
}
