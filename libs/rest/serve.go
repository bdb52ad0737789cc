package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// Drain is how long Serve waits for requests in flight once its context has ended.
const Drain = 15 * time.Second

// Listener is a bound socket and what answers there.
type Listener struct {
	Name    string
	Socket  net.Listener
	Handler http.Handler
}

// Serve answers on all listeners until ctx ends, then finishes what is in flight, at most for Drain. Requests do not see the end of
// ctx. It returns nil after an orderly end.
func Serve(ctx context.Context, log *slog.Logger, listeners ...Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		group.Go(func() error { return serve(ctx, log, l) })
	}
	return group.Wait()
}

func serve(ctx context.Context, log *slog.Logger, l Listener) error {
	server := &http.Server{
		Handler:           l.Handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      120 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), Drain)
		defer cancel()
		done <- server.Shutdown(drain)
	}()
	log.InfoContext(ctx, "listening", "listener", l.Name, "address", l.Socket.Addr().String())
	if err := server.Serve(l.Socket); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Name, err)
	}
	if err := <-done; err != nil {
		_ = server.Close()
		log.WarnContext(ctx, "requests cut off at shutdown", "listener", l.Name, "error", err)
	}
	return nil
}
