package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncsets/syncsets/libs/backoff"
	"github.com/syncsets/syncsets/libs/kubeconfig"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// Bounds of one request.
const (
	requestTimeout = 15 * time.Second
	maxAnswer      = 32 << 20
	mostWaits      = 10 // how often a request is sent again because the target asked for patience
	mostLosses     = 3  // and because the network connection was lost
)

// What is asked for. A server that cannot answer with metadata alone sends whole objects.
const (
	acceptJSON         = "application/json"
	acceptMetadata     = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
	acceptMetadataList = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
)

// request is one request to a target. Unless it says once, it may be sent twice: reads, applies, creations, and writes with
// preconditions.
type request struct {
	method, path string
	query        url.Values
	accept       string
	contentType  string // of the body
	body         []byte
	once         bool // not sent again when the network connection was lost and it may have arrived
	// decode reads a successful answer that is too large to be kept whole; it starts over when the request is sent again.
	decode func(io.Reader) error
}

// get reads one thing.
func (c *Conn) get(ctx context.Context, path, accept string, into any) error {
	_, err := c.send(ctx, request{method: http.MethodGet, path: path, accept: accept}, into)
	return err
}

// send makes one request within requestTimeout and decodes its answer. Where a network connection is lost, or the target asks for
// patience, it tries again; before a new connection is used the target has to tell again who it is.
func (c *Conn) send(ctx context.Context, r request, into any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for waits, losses := 0, 0; ; {
		var pause time.Duration
		status, pause, err = c.attempt(ctx, r, into)
		switch {
		case err == nil || ctx.Err() != nil:
			return status, err
		case pause > 0 && waits < mostWaits:
			waits++
			if throttled(ctx, pause) != nil {
				return status, err
			}
		case lost(err) && losses < mostLosses && (!r.once || errors.Is(err, errUnidentified)):
			losses++
		default:
			return status, err
		}
	}
}

// throttled waits as long as the target asked for.
func throttled(ctx context.Context, pause time.Duration) error {
	start := time.Now()
	defer func() { work.RecorderFrom(ctx).Throttled(time.Since(start)) }()
	return backoff.Sleep(ctx, pause)
}

// attempt sends a request once. pause is how long the target asks to wait before it is sent again; 0 when it does not.
func (c *Conn) attempt(ctx context.Context, r request, into any) (status int, pause time.Duration, err error) {
	if !asking(ctx) && c.identity.known() == "" {
		if err := c.askAgain(ctx); err != nil {
			return 0, 0, err
		}
	}
	leave, err := c.enter(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer leave()
	recorder, start := work.RecorderFrom(ctx), time.Now()
	response, err := c.roundTrip(ctx, c.httpRequest(ctx, r, recorder.Run()))
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	if asking(ctx) {
		c.identity.alone.Store(response.ProtoMajor == 1)
	}
	recorder.Record(r.method+" "+r.path, time.Since(start))
	if r.decode != nil && response.StatusCode < http.StatusMultipleChoices {
		err := r.decode(response.Body)
		_, _ = io.CopyN(io.Discard, response.Body, 512) // to the end, so that the network connection stays
		return response.StatusCode, 0, err
	}
	body, err := read(response.Body)
	defer buffers.Put(body)
	if err != nil {
		return response.StatusCode, 0, err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		after, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		if after == 0 && response.StatusCode == http.StatusTooManyRequests {
			after = 1
		}
		return response.StatusCode, time.Duration(after) * time.Second, statusError(r, response.StatusCode, after, body.Bytes())
	}
	return response.StatusCode, 0, json.Unmarshal(body.Bytes(), into)
}

// enter waits until a request may be under way. Over HTTP/1 that is one at a time, since each one beside it would need a network
// connection of its own. Who asks for the identity does not wait: nobody who needs the answer may keep the question from being sent.
func (c *Conn) enter(ctx context.Context) (leave func(), err error) {
	places := c.slots
	if c.identity.alone.Load() {
		places = c.only
	}
	if asking(ctx) {
		return func() {}, nil
	}
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// tracer makes the spans of requests.
var tracer = otel.Tracer("github.com/syncsets/syncsets/services/reconciler/internal/kube")

// roundTrip sends a request while the gate is open, in a span whose context the target gets.
func (c *Conn) roundTrip(ctx context.Context, r *http.Request) (*http.Response, error) {
	if !asking(ctx) {
		c.identity.gate.RLock()
		defer c.identity.gate.RUnlock()
		if c.identity.known() == "" {
			return nil, errUnidentified
		}
	}
	ctx, span := tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	otel.GetTextMapPropagator().Inject(ctx, propagation.HeaderCarrier(r.Header))
	response, err := c.transport.RoundTrip(r)
	if span.IsRecording() {
		describe(span, r, response, err)
	}
	return response, err
}

// describe puts the attributes of the semantic conventions for HTTP clients on a request's span.
func describe(span trace.Span, r *http.Request, response *http.Response, err error) {
	span.SetAttributes(attribute.String("http.request.method", r.Method), attribute.String("server.address", r.URL.Host),
		attribute.String("url.full", r.URL.String()))
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		return
	}
	span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
	if response.StatusCode >= http.StatusBadRequest {
		span.SetStatus(codes.Error, "")
	}
}

// httpRequest names the run, when there is one, so that the target's audit log tells which run of which process asked.
func (c *Conn) httpRequest(ctx context.Context, r request, run string) *http.Request {
	at := *c.base
	at.Path += r.path
	at.RawQuery = r.query.Encode()
	agent := c.userAgent
	if run != "" {
		agent += " (" + run + ")"
	}
	out := &http.Request{
		Method: r.method, URL: &at, Host: at.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Accept": {r.accept}, "User-Agent": {agent}},
	}
	if r.body != nil {
		out.Header["Content-Type"] = []string{r.contentType}
		out.ContentLength = int64(len(r.body))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.body)), nil }
		out.Body, _ = out.GetBody()
	}
	return out.WithContext(ctx)
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// errTooLarge fails an answer rather than cutting it off.
var errTooLarge = fmt.Errorf("the answer is larger than %d bytes", maxAnswer)

// read reads an answer to its end. The buffer goes back to the pool in any case.
func read(body io.Reader) (*bytes.Buffer, error) {
	buffer := buffers.Get().(*bytes.Buffer)
	buffer.Reset()
	n, err := buffer.ReadFrom(io.LimitReader(body, maxAnswer+1))
	if err == nil && n > maxAnswer {
		err = errTooLarge
	}
	return buffer, err
}

// statusError returns what the target answered as an error that the apierrors package recognises.
func statusError(r request, code, retryAfter int, body []byte) error {
	var s metav1.Status
	if json.Unmarshal(body, &s) == nil && s.Kind == "Status" && s.Status != metav1.StatusSuccess {
		return &apierrors.StatusError{ErrStatus: s}
	}
	text := string(body[:min(len(body), 1024)])
	return apierrors.NewGenericServerResponse(code, r.method, schema.GroupResource{}, "", text, retryAfter, true)
}

// lost reports whether the network connection went away under a request, or before it: trying again opens another one, or tells why
// there is none.
func lost(err error) bool {
	var status apierrors.APIStatus
	var unreachable *work.Unreachable
	var network *net.OpError
	switch {
	case errors.Is(err, errUnidentified):
		return true
	case errors.As(err, &status), errors.As(err, &unreachable), errors.Is(err, errTooLarge), errors.Is(err, kubeconfig.ErrRedirect),
		errors.Is(err, syscall.ECONNREFUSED), errors.As(err, &network) && network.Op == "dial", isJSON(err):
		return false
	}
	return reason(err) == reasonOther
}

func isJSON(err error) bool {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	return errors.As(err, &syntax) || errors.As(err, &mismatch)
}
