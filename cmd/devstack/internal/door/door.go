// Package door is the front door of a local stack: a reverse proxy that sends each request to the service that owns its path, as the
// Ingress does in a cluster.
package door

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"syscall"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/syncsets/syncsets/k8s"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/rest"
)

// ErrTaken means that something else listens on the port.
var ErrTaken = errors.New("taken")

// Listen listens on the port on both loopback addresses, so that "localhost" works whichever of them it means. The IPv6 one is left
// out where the machine has none. It returns ErrTaken when the port is in use on either.
func Listen(ctx context.Context, port int) ([]net.Listener, error) {
	var config net.ListenConfig
	v4, err := config.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d: %w", port, ErrTaken)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	v6, err := config.Listen(ctx, "tcp6", net.JoinHostPort("::1", strconv.Itoa(port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, errors.Join(fmt.Errorf("port %d: %w", port, ErrTaken), v4.Close())
	}
	if err != nil {
		return []net.Listener{v4}, nil
	}
	return []net.Listener{v4, v6}, nil
}

// Handler serves every path by its route; backends maps a service to the host:port of its public listener.
func Handler(routes k8s.Routes, backends map[string]string, log *slog.Logger) http.Handler {
	own := rest.Options{Service: "door", Log: log, Tracer: sdktrace.NewTracerProvider()}
	proxies := map[string]http.Handler{}
	for service, address := range backends {
		proxies[service] = proxy(service, address, own)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		service, ok := routes.Find(r.URL.Path)
		if !ok || proxies[service] == nil {
			rest.Refuse(own, errs.New(errs.NotFound, "no service serves %s", r.URL.Path)).ServeHTTP(w, r)
			return
		}
		proxies[service].ServeHTTP(w, r)
	})
}

// Serve answers on all listeners until ctx is done, then lets requests in flight finish for at most 5 seconds.
func Serve(ctx context.Context, handler http.Handler, listeners []net.Listener) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- server.Serve(l) }()
	}
	select {
	case err := <-failed:
		return errors.Join(fmt.Errorf("front door: %w", err), server.Close())
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		return server.Close()
	}
	return nil
}

// proxy passes requests on to a service; what it has to answer itself looks as an answer of the services does.
func proxy(service, address string, own rest.Options) http.Handler {
	target := &url.URL{Scheme: "http", Host: address}
	away := rest.Refuse(own, &errs.Error{
		Kind: errs.Unavailable, Message: "the " + service + " service does not answer", RetryAfter: time.Second,
	})
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.SetXForwarded()
			p.Out.Host = p.In.Host
		},
		FlushInterval: -1, // answers that stream pass line by line
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return
			}
			own.Log.WarnContext(r.Context(), "service does not answer", "service", service, "error", err)
			away.ServeHTTP(w, r)
		},
	}
}
