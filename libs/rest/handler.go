package rest

import (
	"cmp"
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/errs"
)

const requestIDHeader = "X-Request-Id"

// identify gives every answer its request id (the caller's, where it is a sensible one) and the traceparent of its span.
func (a *API) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !sensibleID(id) {
			id = uuid.NewString()
		}
		w.Header().Set(requestIDHeader, id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		propagation.TraceContext{}.Inject(r.Context(), propagation.HeaderCarrier(w.Header()))
		trace.SpanFromContext(r.Context()).SetAttributes(attribute.String("http.request.header.x-request-id", id))
		next.ServeHTTP(w, r)
	})
}

func sensibleID(id string) bool {
	return id != "" && len(id) <= 128 && strings.IndexFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) < 0
}

// recoverPanics turns a panic into a 500 that says nothing about it, and logs it with its stack.
func (a *API) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tracked := &trackingWriter{ResponseWriter: w}
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause)
			}
			trace.SpanFromContext(r.Context()).SetStatus(codes.Error, "panic")
			a.options.Log.ErrorContext(r.Context(), "request panicked", "method", r.Method, "path", r.URL.Path,
				"panic", cause, "stack", string(debug.Stack()))
			if !tracked.started {
				writeProblem(w, problem{Kind: errs.Internal, Status: http.StatusInternalServerError})
			}
		}()
		next.ServeHTTP(tracked, r)
	})
}

// trackingWriter remembers whether an answer has begun.
type trackingWriter struct {
	http.ResponseWriter
	started bool
}

func (t *trackingWriter) WriteHeader(status int) {
	t.started = true
	t.ResponseWriter.WriteHeader(status)
}

func (t *trackingWriter) Write(b []byte) (int, error) {
	t.started = true
	return t.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (t *trackingWriter) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// route names the span, then authenticates, turns away whoever may not do this anywhere, and checks headers and query before the body
// is looked at.
func (a *API) route(r Route, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx := req.Context()
		span := trace.SpanFromContext(ctx)
		span.SetName(r.Method + " " + r.Path)
		span.SetAttributes(semconv.HTTPRoute(r.Path), attribute.String("syncsets.operation", r.Operation))
		if labels, ok := otelhttp.LabelerFromContext(ctx); ok {
			labels.Add(semconv.HTTPRoute(r.Path))
		}
		principal, err := a.options.Auth.Authenticate(req)
		ctx = auth.With(ctx, principal)
		if err == nil {
			err = a.Authorize(ctx, r.Verb, r.Resource, cmp.Or(mux.Vars(req)["namespace"], auth.Somewhere))
		}
		if err == nil {
			err = checkRequest(req, r, a.options.MaxBody)
		}
		if err != nil {
			a.encodeError(ctx, err, w)
			return
		}
		req.Body = http.MaxBytesReader(w, req.Body, a.options.MaxBody)
		next.ServeHTTP(w, req.WithContext(ctx))
	})
}

func notFound(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, problem{Kind: errs.NotFound, Status: http.StatusNotFound, Detail: "there is nothing at " + r.URL.Path})
}

func (a *API) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, route := range a.routes {
		probe := *r
		probe.Method = route.Method
		var match mux.RouteMatch
		if a.router.Match(&probe, &match) && match.MatchErr == nil {
			allowed = append(allowed, route.Method)
		}
	}
	slices.Sort(allowed)
	allowed = slices.Compact(allowed)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	writeProblem(w, problem{
		Name: "method_not_allowed", Status: http.StatusMethodNotAllowed,
		Detail: r.Method + " is not supported here; " + strings.Join(allowed, ", ") + " is",
	})
}
