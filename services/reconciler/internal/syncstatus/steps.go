package syncstatus

import (
	"bytes"
	"cmp"
	"slices"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// item takes in what became of one item of a set.
func (b *builder) item(st *state, s decide.Step) {
	switch s.Action {
	case decide.Unchanged:
		row := s.Row
		row.State, row.Message = v1.StateUnchanged, ""
		b.upsert(row)
	case decide.Conflict:
		st.conflict = true
		st.fail(s.Message, s.Retry)
		st.show(s, v1.StateConflict)
	case decide.Fail:
		st.waiting = st.waiting || s.Waiting
		st.fail(s.Message, s.Retry)
		if s.Kind != "" && s.Name != "" {
			st.show(s, v1.StateFailed)
		}
	case decide.Apply:
		b.apply(st, s)
	}
}

// apply takes in an apply. An intent whose request was never made is taken back.
func (b *builder) apply(st *state, s decide.Step) {
	o, attempted := b.outcomes[s.Identity]
	switch {
	case !attempted:
		if _, known := b.rows[s.Identity]; !known && s.Intent {
			b.report.Drops = append(b.report.Drops, s.Identity)
		}
	case o.Err != "":
		st.waiting = st.waiting || o.WaitingForKind
		st.fail(o.Err, true)
		row := s.Row
		row.State, row.Message, row.Resource = v1.StateFailed, o.Err, cmp.Or(row.Resource, o.Resource)
		b.upsert(row)
	default:
		b.upsert(b.applied(s, o))
	}
}

// applied returns the row of an object that the target acknowledged.
func (b *builder) applied(s decide.Step, o Outcome) inventory.Row {
	row := s.Row
	row.State = v1.StateApplied
	switch {
	case o.Created:
		row.State, row.Existed = v1.StateCreated, false
	case o.Existed:
		row.Existed = true
	case row.ResourceVersion == o.ResourceVersion && bytes.Equal(row.Hash, s.Hash):
		row.State = v1.StateUnchanged
	}
	now := b.in.Now
	row.ObjectUID, row.ResourceVersion, row.Hash, row.MarkedUID = o.UID, o.ResourceVersion, s.Hash, ""
	row.Resource, row.Message, row.AppliedAt = cmp.Or(row.Resource, o.Resource), "", &now
	return row
}

// removal takes in what became of a row that no set wants.
func (b *builder) removal(st *state, s decide.Step) {
	o, attempted := b.outcomes[s.Identity]
	row := s.Row
	row.Message = s.Message
	switch {
	case s.Action == decide.Forget:
		b.report.Drops = append(b.report.Drops, s.Identity)
		return
	case s.Action == decide.Hold:
		st.held, row.State = true, v1.StateHeld
	case s.Action == decide.Keep && s.Retry:
		st.fail(s.Message, true)
	case s.Action == decide.Keep || !attempted:
	case o.Err != "":
		st.fail(o.Err, true)
		row.State, row.Message = v1.StateFailed, o.Err
	case o.Deleting:
		st.deleting, row.State = true, v1.StateDeleting
	default:
		b.report.Drops = append(b.report.Drops, s.Identity)
		if o.Elsewhere {
			return
		}
		if o.NotOurs {
			s.Message, s.Retained = "left alone: it does not carry our marks", true
		}
		if s.Retained {
			st.show(s, v1.StateRetained)
		}
		return
	}
	st.left = true
	b.upsert(row)
}

// fail notes the first failure; one that may pass makes the set try again.
func (s *state) fail(message string, retry bool) {
	if s.failure == "" {
		s.failure = message
	}
	s.retry = s.retry || retry
}

// show adds an object that the inventory does not hold.
func (s *state) show(step decide.Step, as string) {
	s.objects = append(s.objects, v1.ObjectStatus{
		APIVersion: inventory.APIVersion(step.Group, step.Version), Kind: step.Kind, Namespace: step.Namespace, Name: step.Name,
		State: as, Message: step.Message,
	})
}

// upsert writes a row that differs from what is there.
func (b *builder) upsert(r inventory.Row) {
	if old, known := b.rows[r.Identity]; known && equal(old, r) {
		return
	}
	b.report.Upserts = append(b.report.Upserts, r)
}

func equal(a, b inventory.Row) bool {
	return a.Identity == b.Identity && a.SetUID == b.SetUID && a.SetGeneration == b.SetGeneration && a.Item == b.Item &&
		a.Version == b.Version && a.Resource == b.Resource && a.State == b.State && a.Existed == b.Existed &&
		a.ObjectUID == b.ObjectUID && a.MarkedUID == b.MarkedUID && slices.Equal(a.Hash, b.Hash) &&
		a.ResourceVersion == b.ResourceVersion && a.Message == b.Message && a.AppliedAt == b.AppliedAt
}
