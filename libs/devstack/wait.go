package devstack

import (
	"context"
	"testing"
	"time"
)

// Patience is how long Eventually and the end of what Run started are waited for: much longer than a busy machine needs.
const Patience = 60 * time.Second

// Eventually waits until holds returns true, and fails the test when it has not within Patience.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(Patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// Run starts f, which works until its context is done, and returns the function that ends it and waits for it; cleanup calls it too.
func Run(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f(ctx)
	}()
	stop = func() {
		cancel()
		select {
		case <-done:
		case <-time.After(Patience):
			t.Error("did not end when its context did")
		}
	}
	t.Cleanup(stop)
	return stop
}
