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
		report = report.Interrupted(r.in)
		s.Sets, s.Upserts, s.Drops, r.drifts = report.Sets, report.Upserts, report.Drops, report.Drifts
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
	return Settlement{
		Claim: r.claim, Want: r.snap.Want, TargetID: r.snap.TargetID, Sets: report.Sets, FullIn: r.reapplyIn(), VerifyIn: r.verifyIn(),
	}
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
	s.FullMost, s.VerifyMost = r.reapplyIn(), r.verifyIn()
	switch {
	case r.claim.Takeover:
		s.FullIn = repeatAfter
	case r.snap.FullDue:
		s.FullIn = r.reapplyIn()
	}
	if r.in.Verify || r.in.FullApply {
		s.VerifyIn = r.verifyIn()
	}
	r.askAgain(&s, report)
	return s
}

// The pause before health is asked for again.
const (
	firstAsk = 5 * time.Second
	mostAsk  = 5 * time.Minute
)

// askAgain plans when to ask for the health of what is in progress: rarer and rarer, unless it moves.
func (r *run) askAgain(s *Settlement, report syncstatus.Report) {
	if !report.InProgress {
		return
	}
	s.HealthAttempts = max(r.snap.HealthAttempts, 1)
	switch {
	case report.Moved:
		s.HealthAttempts = 1
	case r.in.AskHealth:
		s.HealthAttempts = r.snap.HealthAttempts + 1
	}
	s.HealthIn = min(firstAsk<<min(s.HealthAttempts-1, 10), mostAsk)
}

func (r *run) settlement(report syncstatus.Report) Settlement {
	r.drifts = report.Drifts
	return Settlement{
		Claim: r.claim, Want: r.snap.Want, TargetID: cmp.Or(r.targetID, r.snap.TargetID), Sets: report.Sets,
		Upserts: report.Upserts, Drops: report.Drops, Retired: report.Retired, Health: report.Health,
	}
}

// reapplyIn is when the next periodic full apply is due.
func (r *run) reapplyIn() time.Duration {
	return every(r.snap.Cluster.ReapplyInterval, r.pool.config.Reapply)
}

// verifyIn is when the next periodic verification is due.
func (r *run) verifyIn() time.Duration {
	return every(r.snap.Cluster.VerifyInterval, r.pool.config.Verify)
}

// every returns a cluster's own interval, or else the usual one, with up to 10 % by chance.
func every(own string, usual time.Duration) time.Duration {
	if d, err := time.ParseDuration(own); err == nil && d > 0 {
		usual = d
	}
	return usual + time.Duration(rand.Float64()*float64(usual)/10)
}

// status describes the run.
func (r *run) status(span trace.Span) *v1.RunStatus {
	status := &v1.RunStatus{
		StartedAt: r.started.UTC(), Duration: time.Since(r.started).Round(time.Microsecond).String(),
		QueuedFor: r.claim.QueuedFor.Round(time.Millisecond).String(), Requests: r.recorder.Requests(),
		Slowest: r.recorder.Slowest(), TraceID: traceID(span),
	}
	if d := r.recorder.ThrottledFor(); d > 0 {
		status.ThrottledFor = d.Round(time.Millisecond).String()
	}
	return status
}

func traceID(span trace.Span) string {
	if c := span.SpanContext(); c.HasTraceID() {
		return c.TraceID().String()
	}
	return ""
}
