package rest

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-kit/kit/endpoint"
	kithttp "github.com/go-kit/kit/transport/http"
	"github.com/gorilla/mux"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/errs"
)

// Limits that hold where Options say nothing.
const (
	DefaultTimeout = 30 * time.Second
	DefaultMaxBody = 3 << 20

	notReadyRetry = 2 * time.Second
)

// Options configure an API. Service names it in telemetry; Auth and Log are required.
type Options struct {
	Service string
	Auth    auth.Authenticator
	Log     *slog.Logger
	// Tracer is for processes that have no tracer provider of their own, so that their answers carry a traceparent too.
	Tracer trace.TracerProvider
	// Timeout bounds one operation, MaxBody one request body in bytes.
	Timeout time.Duration
	MaxBody int64
}

// API is a set of routes with what they share.
type API struct {
	options Options
	router  *mux.Router
	routes  []Route
}

// Op is a service method.
type Op[Req, Resp any] func(ctx context.Context, req Req) (Resp, error)

// Route describes one operation. Verb on Resource is what a caller needs; Status is the answer's (0: 200; writes that return a Result
// choose between 200 and 201 themselves); Query lists the parameters that are understood: any other is refused by name. Media are the
// media types that a body may have (none: application/json).
type Route struct {
	Operation, Method, Path string
	Verb                    auth.Verb
	Resource                string
	Status                  int
	Query                   []string
	Media                   []string
}

// NewAPI returns an API without routes.
func NewAPI(o Options) *API {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	a := &API{options: o, router: mux.NewRouter().SkipClean(true)}
	a.router.NotFoundHandler = http.HandlerFunc(notFound)
	a.router.MethodNotAllowedHandler = http.HandlerFunc(a.methodNotAllowed)
	return a
}

// Routes returns the routes in the order of their registration.
func (a *API) Routes() []Route { return a.routes }

// Handle serves op at r's method and path. GET routes answer HEAD too.
func Handle[Req, Resp any](a *API, r Route, op Op[Req, Resp], decode func(*http.Request) (Req, error)) {
	if r.Status == 0 {
		r.Status = http.StatusOK
	}
	e := endpoint.Chain(timeout(a.options.Timeout), auth.Middleware(a.options.Auth, r.Verb, r.Resource))(
		func(ctx context.Context, request any) (any, error) { return op(ctx, request.(Req)) })
	server := kithttp.NewServer(e,
		func(ctx context.Context, req *http.Request) (any, error) {
			request, err := decode(req)
			if err != nil {
				err = cmp.Or(a.denied(ctx, r, request), err)
			}
			return request, err
		},
		encode(r.Status),
		kithttp.ServerErrorEncoder(a.encodeError),
	)
	methods := []string{r.Method}
	if r.Method == http.MethodGet {
		methods = append(methods, http.MethodHead)
	}
	a.routes = append(a.routes, r)
	// The path comes first: mux forgets a mismatch of methods when a later route of another path has the method.
	a.router.Path(r.Path).Methods(methods...).Name(r.Operation).Handler(a.route(r, server))
}

// Authorize returns errs.Forbidden unless the context's principal may do verb on resource in the namespace: for operations that learn
// the namespace from what they find.
func (a *API) Authorize(ctx context.Context, verb auth.Verb, resource, namespace string) error {
	return a.options.Auth.Authorize(ctx, auth.From(ctx), auth.Access{Verb: verb, Resource: resource, Namespace: namespace})
}

// denied returns errs.Forbidden for a request that has faults but names a namespace in which the caller may not make it: that is said
// first.
func (a *API) denied(ctx context.Context, r Route, request any) error {
	_, composite := request.(auth.Composite)
	if s, ok := request.(auth.Scoped); !composite && (!ok || s.Scope() == "") {
		return nil
	}
	return auth.AuthorizeRequest(ctx, a.options.Auth, r.Verb, r.Resource, request)
}

func timeout(limit time.Duration) endpoint.Middleware {
	return func(next endpoint.Endpoint) endpoint.Endpoint {
		return func(ctx context.Context, request any) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			return next(ctx, request)
		}
	}
}

// Handler serves the routes, with a server span around each request.
func (a *API) Handler() http.Handler { return a.wrap(a.router) }

func (a *API) wrap(next http.Handler) http.Handler {
	options := []otelhttp.Option{otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method })}
	if a.options.Tracer != nil {
		options = append(options, otelhttp.WithTracerProvider(a.options.Tracer), otelhttp.WithPropagators(propagation.TraceContext{}))
	}
	return otelhttp.NewHandler(a.identify(a.recoverPanics(next)), a.options.Service, options...)
}

// NotReady answers every request with 503 and this message.
func NotReady(o Options, message string) http.Handler {
	return Refuse(o, &errs.Error{Kind: errs.Unavailable, Message: message, RetryAfter: notReadyRetry})
}

// Refuse answers every request with err as a problem, and with what every answer of an API carries.
func Refuse(o Options, err error) http.Handler {
	return NewAPI(o).wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { WriteError(w, err) }))
}
