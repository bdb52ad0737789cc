package work

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/trace"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
)

// repeatAfter is when everything is applied once more after a takeover: later than any request of the former holder can last.
const repeatAfter = 90 * time.Second

// cutShort settles a run that did not come to its end: what was acknowledged is kept, the row is due at once, or, when the reason is
// none that passes by running again, after a rest.
func (r *run) cutShort(cause error) Settlement {
	s := Settlement{Claim: r.claim, Want: r.snap.Want, TargetID: r.targetID, Attempts: r.claim.Attempts, Abandon: true}
	if r.plan.Sets != nil {
		report := syncstatus.Of(r.in, r.plan, r.outcomes.all(), rand.Float64)
		s.Upserts, s.Drops = report.Upserts, report.Drops
	}
	if !passing(cause) {
		s.Abandon, s.Attempts = false, r.claim.Attempts+1
		s.RetryIn = decide.Backoff(s.Attempts, rand.Float64())
	}
	return s
}

// passing reports whether a run that ended because of cause may well start over at once.
func passing(cause error) bool {
	return errors.Is(cause, ErrMovedOn) || errors.Is(cause, errStopping) || errors.Is(cause, errLeaseLost) ||
		errors.Is(cause, context.Canceled)
}

// idle settles a cluster that is not to be written to.
func (r *run) idle(report syncstatus.Report) Settlement {
	return Settlement{Claim: r.claim, Want: r.snap.Want, TargetID: r.snap.TargetID, Sets: report.Sets, FullIn: r.reapplyIn()}
}

// unreachable settles a run whose target could not be worked with, keeping what was done before.
func (r *run) unreachable(u *Unreachable) Settlement {
	report := syncstatus.Of(r.in, r.planned(), r.outcomes.all(), rand.Float64).Unreachable(r.in, u.Message)
	s := r.settlement(report)
	s.Contact = &Contact{Reason: u.Reason, Message: u.Message, KubernetesVersion: r.version, Contacted: r.targetID != ""}
	if u.Reason == v1.ReasonWaitingForKubeconfig {
		s.FullIn = r.reapplyIn() // its arrival marks the cluster
		return s
	}
	s.Attempts = r.claim.Attempts + 1
	s.RetryIn = decide.Backoff(s.Attempts, rand.Float64())
	return s
}

// planned is the plan as far as it was made: before that, no set has steps.
func (r *run) planned() decide.Plan {
	if r.plan.Sets != nil {
		return r.plan
	}
	plan := decide.Plan{}
	for _, s := range r.in.Sets {
		plan.Sets = append(plan.Sets, decide.SetPlan{UID: s.UID, Disposition: decide.Suspended})
	}
	return plan
}

// done settles a run that reached its target.
func (r *run) done() Settlement {
	report := syncstatus.Of(r.in, r.planned(), r.outcomes.all(), rand.Float64)
	s := r.settlement(report)
	s.Contact = &Contact{
		Reason: v1.ReasonReachable, KubernetesVersion: r.version, Contacted: true, AllSucceeded: report.Succeeded,
	}
	s.Full, s.RetryIn = true, report.RetryIn
	switch {
	case r.claim.Takeover:
		s.FullIn = repeatAfter
	case r.snap.FullDue:
		s.FullIn = r.reapplyIn()
	}
	return s
}

func (r *run) settlement(report syncstatus.Report) Settlement {
	return Settlement{
		Claim: r.claim, Want: r.snap.Want, TargetID: cmp.Or(r.targetID, r.snap.TargetID), Sets: report.Sets,
		Upserts: report.Upserts, Drops: report.Drops, Retired: report.Retired,
	}
}

// reapplyIn is when the next periodic full apply is due, with up to 10 % by chance.
func (r *run) reapplyIn() time.Duration {
	every := r.pool.config.Reapply
	if own, err := time.ParseDuration(r.snap.Cluster.ReapplyInterval); err == nil && own > 0 {
		every = own
	}
	return every + time.Duration(rand.Float64()*float64(every)/10)
}

// status describes the run.
func (r *run) status(span trace.Span) *v1.RunStatus {
	return &v1.RunStatus{
		StartedAt: r.started.UTC(), Duration: time.Since(r.started).Round(time.Microsecond).String(),
		QueuedFor: r.claim.QueuedFor.Round(time.Millisecond).String(), Requests: r.recorder.Requests(),
		Slowest: r.recorder.Slowest(), TraceID: traceID(span),
	}
}

func traceID(span trace.Span) string {
	if c := span.SpanContext(); c.HasTraceID() {
		return c.TraceID().String()
	}
	return ""
}
