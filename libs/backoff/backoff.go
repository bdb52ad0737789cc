// Package backoff spaces out attempts: exponential, with full jitter, so that many processes that lost the same server do not come
// back to it in step.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff counts failed attempts. It belongs to one goroutine.
type Backoff struct {
	first, most time.Duration
	attempts    int
}

// New makes a Backoff whose first wait is at most first, and no wait longer than most.
func New(first, most time.Duration) *Backoff { return &Backoff{first: first, most: most} }

// Next returns how long to wait before the next attempt: uniform over a range that doubles with each call.
func (b *Backoff) Next() time.Duration {
	ceiling := b.most
	if shift := b.attempts; shift < 30 && b.first<<shift < b.most {
		ceiling = b.first << shift
	}
	b.attempts++
	return ceiling/10 + rand.N(ceiling-ceiling/10)
}

// Reset starts over after a success.
func (b *Backoff) Reset() { b.attempts = 0 }

// Wait sleeps for Next, or returns ctx's cause when it ends first.
func (b *Backoff) Wait(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// Sleep waits for d, or returns ctx's cause when it ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
