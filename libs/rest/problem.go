package rest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/syncsets/syncsets/libs/errs"
)

// statuses is the one table from kinds to HTTP.
var statuses = map[errs.Kind]int{
	errs.Internal: http.StatusInternalServerError, errs.Invalid: http.StatusBadRequest, errs.NotFound: http.StatusNotFound,
	errs.Conflict: http.StatusConflict, errs.Precondition: http.StatusPreconditionFailed, errs.Gone: http.StatusGone,
	errs.Unauthenticated: http.StatusUnauthorized, errs.Forbidden: http.StatusForbidden, errs.TooLarge: http.StatusRequestEntityTooLarge,
	errs.UnsupportedMedia: http.StatusUnsupportedMediaType, errs.NotAcceptable: http.StatusNotAcceptable,
	errs.Unprocessable: http.StatusUnprocessableEntity, errs.Limited: http.StatusTooManyRequests,
	errs.Unavailable: http.StatusServiceUnavailable,
}

// Status returns the HTTP status that err is answered with.
func Status(err error) int { return statuses[kindOf(err)] }

// kindOf also knows the errors of contexts: the time limit of an operation means that a part did not answer in time.
func kindOf(err error) errs.Kind {
	kind := errs.KindOf(err)
	if kind == errs.Internal && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return errs.Unavailable
	}
	return kind
}

// problem is an answer in the form of RFC 9457. Name replaces the kind's in its type.
type problem struct {
	Kind       errs.Kind
	Name       string
	Status     int
	Detail     string
	Fields     []errs.Field
	RetryAfter time.Duration
}

func (a *API) encodeError(ctx context.Context, err error, w http.ResponseWriter) {
	kind := kindOf(err)
	p := problem{Kind: kind, Status: statuses[kind]}
	var known *errs.Error
	if errors.As(err, &known) && kind != errs.Internal {
		p.Detail, p.Fields, p.RetryAfter = known.Message, known.Fields, known.RetryAfter
	}
	if kind == errs.Invalid && len(p.Fields) == 0 {
		p.Fields = []errs.Field{{Path: "request", Message: p.Detail}}
	}
	a.report(ctx, kind, err)
	writeProblem(w, p)
}

// report logs what an operator would care about and marks the span; what the caller did wrong is for debugging only.
func (a *API) report(ctx context.Context, kind errs.Kind, err error) {
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(attribute.String("error.type", kind.String()))
	level := slog.LevelDebug
	switch kind {
	case errs.Internal:
		level = slog.LevelError
		span.SetStatus(codes.Error, kind.String())
	case errs.Unavailable:
		level = slog.LevelWarn
		span.SetStatus(codes.Error, kind.String())
	case errs.Unauthenticated, errs.Forbidden:
		level = slog.LevelInfo
	}
	a.options.Log.Log(ctx, level, "request failed", "kind", kind.String(), "error", err)
}

// WriteError answers with err as a problem, for handlers outside an API.
func WriteError(w http.ResponseWriter, err error) {
	p := problem{Kind: kindOf(err), Status: Status(err)}
	var known *errs.Error
	if errors.As(err, &known) {
		p.Detail, p.Fields, p.RetryAfter = known.Message, known.Fields, known.RetryAfter
	}
	writeProblem(w, p)
}

func writeProblem(w http.ResponseWriter, p problem) {
	name := p.Name
	if name == "" {
		name = p.Kind.String()
	}
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(int(max(1, math.Ceil(p.RetryAfter.Seconds())))))
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="syncsets"`)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	// The only failure left is a connection that is gone.
	_ = json.NewEncoder(w).Encode(struct {
		Type   string       `json:"type"`
		Title  string       `json:"title"`
		Status int          `json:"status"`
		Detail string       `json:"detail,omitempty"`
		Errors []errs.Field `json:"errors,omitempty"`
	}{"urn:syncsets:problem:" + name, http.StatusText(p.Status), p.Status, p.Detail, p.Fields})
}
