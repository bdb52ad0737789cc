package devstack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// processes is a runner of programs on this machine.
type processes struct {
	dir     *dir
	parts   []*process // in the order in which they start
	prepare func(ctx context.Context) error
	ready   []func(ctx context.Context) error // one per part: nil once the next may start
	within  time.Duration                     // for each part to be ready
}

func (r *processes) start(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	for i, part := range r.parts {
		if err := r.startPart(ctx, part, r.ready[i]); err != nil {
			return errors.Join(err, r.kill(context.WithoutCancel(ctx)))
		}
	}
	return nil
}

func (r *processes) startPart(ctx context.Context, part *process, ready func(context.Context) error) error {
	if err := part.start(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, r.within)
	defer cancel()
	err := await(bounded, 50*time.Millisecond, func(ctx context.Context) error {
		if err := part.failure(); err != nil {
			return err
		}
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return ready(attempt)
	})
	if err == nil || part.failure() != nil {
		return err
	}
	return fmt.Errorf("%s is not ready after %s: %w; the end of its log:\n%s", part.name, r.within, err, tail(part.log))
}

func (r *processes) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, part := range slices.Backward(r.parts) {
		if err := part.stop(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *processes) kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var all error
	for _, part := range r.parts {
		all = errors.Join(all, part.kill(ctx))
	}
	return all
}

func (r *processes) pause(context.Context) error  { return r.send(syscall.SIGSTOP) }
func (r *processes) resume(context.Context) error { return r.send(syscall.SIGCONT) }

func (r *processes) send(s syscall.Signal) error {
	for _, part := range r.parts {
		if err := part.send(s); err != nil {
			return err
		}
	}
	return nil
}

func (r *processes) remove(context.Context) error { return r.dir.remove() }
