package plan

import "context"

// chunks is what the planner knows of fan-outs that are left.
type chunks struct {
	pause
	pending bool // false: there is none, as far as this process knows
}

// chunk does the next chunk of the next fan-out, if there may be one, and reports whether it did.
func (p *Planner) chunk(ctx context.Context) (did bool, err error) {
	if !p.fanOuts.pending || p.fanOuts.resting() {
		return false, nil
	}
	p.fanOuts.pending, err = p.nextChunk(ctx)
	p.fanOuts.note(err)
	if err != nil {
		p.fanOuts.pending = true
	}
	return err == nil && p.fanOuts.pending, err
}

// nextChunk reports whether there was a fan-out.
func (p *Planner) nextChunk(ctx context.Context) (bool, error) {
	next, err := p.Store.NextFanOut(ctx)
	if err != nil || next == nil {
		return false, err
	}
	ctx, span := startChunk(ctx, *next)
	done, err := p.Store.ApplyChunk(ctx, traceparent(ctx))
	endChunk(span, done, err)
	if err != nil {
		return false, err
	}
	if done.Fault != "" {
		p.Log.ErrorContext(ctx, "the targets of a set cannot be read; nothing is changed on any cluster", "set", done.FanOut.SetUID,
			"fault", done.Fault)
	}
	if done.Marked > 0 {
		p.metrics.marks.Add(ctx, int64(done.Marked))
		p.Config.Wake()
	}
	return done.Found, nil
}
