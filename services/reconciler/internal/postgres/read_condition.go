package postgres

import (
	"fmt"
	"strings"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
)

// describe puts the rows of one cluster into words.
func (r clusterRow) describe(sets []setStatus) v1.ClusterSync {
	d := r.document
	d.Status.SyncSets, d.Status.SelectorSyncSets = []v1.SetStatus{}, []v1.SetStatus{}
	away := r.reachable.Status == "False"
	d.Status.Health = lastKnown(d.Status.Health, away)
	for i := range sets {
		s := &sets[i]
		s.Health = lastKnown(s.Health, away)
		if away && s.Result == v1.ResultSuccess {
			s.Result, s.Cause = v1.ResultPending, v1.CauseUnreachable
		}
		if sets[i].resource == v1.ResourceSyncSets {
			d.Status.SyncSets = append(d.Status.SyncSets, sets[i].SetStatus)
		} else {
			d.Status.SelectorSyncSets = append(d.Status.SelectorSyncSets, sets[i].SetStatus)
		}
	}
	d.Status.Work = r.workStatus(sets)
	failed := r.failed(sets)
	d.Status.Conditions = []v1.Condition{r.ready(sets, failed), r.reachable, failed}
	return d
}

// lastKnown is the health of something on a cluster, which is Unknown while the cluster is away.
func lastKnown(health string, away bool) string {
	if away && health != "" {
		return v1.HealthUnknown
	}
	return health
}

// workStatus says what the queue has in mind. There is a next attempt only where time alone brings it; while sets back off, the attempts are
// theirs.
func (r clusterRow) workStatus(sets []setStatus) v1.WorkStatus {
	w := r.work
	w.State, w.Cause = r.state, r.workCause(sets)
	switch w.Cause {
	case v1.CauseRunning, v1.CauseQueued, v1.CausePaused, v1.CauseSuspended:
		w.NextAttemptAt = nil
	case v1.CauseBackoff, v1.CauseWaitingForKind:
		for _, s := range sets {
			if s.backoff {
				w.Attempts = max(w.Attempts, s.attempts)
			}
		}
	}
	return w
}

// workCause says why the cluster is, or is not, being worked on.
func (r clusterRow) workCause(sets []setStatus) string {
	has := func(match func(setStatus) bool) bool { return len(only(sets, match)) > 0 }
	switch {
	case r.state == "running":
		return v1.CauseRunning
	case r.paused:
		return v1.CausePaused
	case r.state == "queued" || r.due:
		return v1.CauseQueued
	case r.suspended:
		return v1.CauseSuspended
	case r.work.Attempts > 0, r.reachable.Status == "False":
		return v1.CauseUnreachable
	case has(func(s setStatus) bool { return s.backoff && s.Cause == v1.CauseWaitingForKind }):
		return v1.CauseWaitingForKind
	case has(func(s setStatus) bool { return s.backoff }):
		return v1.CauseBackoff
	case has(func(s setStatus) bool { return s.Result == v1.ResultHeld }):
		return v1.CauseHeld
	}
	return v1.CauseIdle
}

// failed is the condition that is True while some set fails.
func (r clusterRow) failed(sets []setStatus) v1.Condition {
	c := v1.Condition{
		Type: v1.ConditionFailed, Status: "False", Reason: "NoFailure", ObservedGeneration: r.document.Generation,
		LastTransitionTime: r.latest(sets),
	}
	failing := only(sets, func(s setStatus) bool { return s.Result == v1.ResultFailure })
	if len(failing) > 0 {
		c.Status, c.Reason, c.Message = "True", "SetsFailed", tally("failing", failing)
	}
	return c
}

// ready is the condition that is True when the cluster was reached and has everything it should.
func (r clusterRow) ready(sets []setStatus, failed v1.Condition) v1.Condition {
	c := v1.Condition{
		Type: v1.ConditionReady, Status: "False", ObservedGeneration: r.document.Generation, LastTransitionTime: r.latest(sets),
	}
	of := func(result string) []setStatus {
		return only(sets, func(s setStatus) bool { return s.Result == result })
	}
	switch {
	case r.suspended:
		c.Reason, c.Message = v1.CauseSuspended, "the cluster is suspended"
	case r.reachable.Status != "True":
		c.Status, c.Reason, c.Message = r.reachable.Status, r.reachable.Reason, r.reachable.Message
	case failed.Status == "True":
		c.Reason, c.Message = failed.Reason, failed.Message
	case len(of(v1.ResultHeld)) > 0:
		c.Reason, c.Message = v1.CauseHeld, tally("held", of(v1.ResultHeld))
	case len(of(v1.ResultPending)) > 0:
		c.Reason, c.Message = "Pending", tally("pending", of(v1.ResultPending))
	default:
		c.Status, c.Reason = "True", "Applied"
	}
	return c
}

// latest is when something of the cluster last changed.
func (r clusterRow) latest(sets []setStatus) *time.Time {
	latest := r.reachable.LastTransitionTime
	for _, s := range sets {
		if latest == nil || (s.LastTransitionTime != nil && s.LastTransitionTime.After(*latest)) {
			latest = s.LastTransitionTime
		}
	}
	return latest
}

func only(sets []setStatus, match func(setStatus) bool) []setStatus {
	var kept []setStatus
	for _, s := range sets {
		if match(s) {
			kept = append(kept, s)
		}
	}
	return kept
}

// tally names how many sets there are of a sort, and the first of them.
func tally(sort string, sets []setStatus) string {
	names := make([]string, 0, 3)
	for _, s := range sets[:min(len(sets), 3)] {
		names = append(names, v1.Metadata{Namespace: s.Namespace, Name: s.Name}.Key())
	}
	if len(sets) > len(names) {
		names = append(names, "...")
	}
	return fmt.Sprintf("%d %s: %s", len(sets), sort, strings.Join(names, ", "))
}
