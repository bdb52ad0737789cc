package amqp

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
)

// Inject writes the trace context of ctx into headers as traceparent and tracestate.
func Inject(ctx context.Context, headers map[string]any) {
	propagation.TraceContext{}.Inject(ctx, carrier(headers))
}

// Extract returns ctx with the trace context that headers carry.
func Extract(ctx context.Context, headers map[string]any) context.Context {
	return propagation.TraceContext{}.Extract(ctx, carrier(headers))
}

// carrier reads and writes headers as other AMQP clients do: a string may arrive as bytes.
type carrier map[string]any

func (c carrier) Get(key string) string {
	switch value := c[key].(type) {
	case string:
		return value
	case []byte:
		return string(value)
	}
	return ""
}

func (c carrier) Set(key, value string) { c[key] = value }

func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}
