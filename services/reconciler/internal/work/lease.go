package work

import (
	"context"
	"sync"
	"time"

	"github.com/syncsets/syncsets/libs/errs"
)

// margin is how long before the lease's end everything sent to the target must have ended.
const margin = 5 * time.Second

// lease keeps a claim alive while a run lasts. Its end is on the monotonic clock, from before the statement that granted it, so a
// paused process finds it passed.
type lease struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	wait   sync.WaitGroup
}

// keep returns a context that ends with the lease, and renews the lease until release is called. asked is when the claim was asked for.
func (p *Pool) keep(ctx context.Context, c Claim, asked time.Time) (context.Context, *lease) {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &lease{cancel: cancel}
	l.timer = time.AfterFunc(time.Until(p.endOf(asked)), func() { cancel(errLeaseLost) })
	l.wait.Go(func() { p.renew(ctx, c, l) })
	return ctx, l
}

func (p *Pool) endOf(asked time.Time) time.Time {
	return asked.Add(p.config.Lease - min(margin, p.config.Lease/4))
}

// release ends the renewals. The context is of no use any more.
func (l *lease) release() {
	l.timer.Stop()
	l.cancel(nil)
	l.wait.Wait()
}

// renew moves the end of the lease; a refusal ends it at once, while a database that does not answer leaves it to run out.
func (p *Pool) renew(ctx context.Context, c Claim, l *lease) {
	pause := p.config.Renew
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		asked := time.Now()
		err := p.config.Store.Renew(ctx, c, p.config.Lease)
		switch {
		case err == nil:
			pause = p.config.Renew
			if !l.timer.Stop() {
				return
			}
			l.timer.Reset(time.Until(p.endOf(asked)))
		case errs.Is(err, errs.Conflict):
			l.cancel(errLeaseLost)
			return
		default:
			pause = min(time.Second, p.config.Renew)
		}
	}
}
