package syncstatus

import (
	"bytes"
	"cmp"
	"reflect"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// item takes in what became of one item of a set.
func (b *builder) item(st *state, s decide.Step) {
	switch s.Action {
	case decide.Unchanged:
		if s.Type != render.Patch {
			b.unchanged(s)
		}
	case decide.Conflict:
		st.conflict = true
		st.fail(s.Message, s.Retry)
		st.show(s, v1.StateConflict)
		if s.Row.SetUID != "" {
			b.upsert(s.Row)
		}
	case decide.Fail:
		st.waiting = st.waiting || s.Waiting
		st.fail(s.Message, s.Retry)
		b.failed(st, s)
	case decide.Apply, decide.Create, decide.Merge:
		b.apply(st, s)
	case decide.Patch:
		if o := b.outcomes.Patches[PatchKey{s.SetUID, s.Item}]; o.Err != "" {
			st.waiting = st.waiting || o.WaitingForKind
			st.fail(o.Err, true)
		}
	}
}

// unchanged takes in an object that needed no writing. What its last writing did to it stays its state, so that a run in which nothing
// changes writes no row.
func (b *builder) unchanged(s decide.Step) {
	row := s.Row
	if row.State != v1.StateCreated && row.State != v1.StateApplied {
		row.State = v1.StateUnchanged
	}
	row.Message = ""
	if h, asked := b.outcomes.Health[s.Identity]; asked {
		row.Health, row.HealthMessage = h.Status, h.Message
	}
	b.upsert(row)
}

// failed shows an object that could not be worked on, in its row when it has one and a verification found the trouble.
func (b *builder) failed(st *state, s decide.Step) {
	switch {
	case s.Row.SetUID != "":
		row := s.Row
		row.State, row.Message = v1.StateFailed, s.Message
		b.upsert(row)
	case s.Kind != "" && s.Name != "" && s.Type != render.Patch:
		st.show(s, v1.StateFailed)
	}
}

// apply takes in what was written. An intent whose request was never made is taken back; one about something that was changed by others
// is left to the next run.
func (b *builder) apply(st *state, s decide.Step) {
	o, attempted := b.outcomes.Objects[s.Identity]
	if attempted && s.Drift != "" {
		b.report.Drifts++
	}
	_, known := b.rows[s.Identity]
	switch {
	case !attempted && !known && s.Intent:
		b.report.Drops = append(b.report.Drops, s.Identity)
	case !attempted && s.Drift != "":
		row := b.rows[s.Identity]
		row.ObjectUID, row.Hash, row.ResourceVersion = s.Row.ObjectUID, nil, ""
		row.State = cmp.Or(s.Row.State, row.State)
		b.upsert(row)
	case !attempted:
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
	now := b.in.Now
	same := row.ResourceVersion == o.ResourceVersion && bytes.Equal(row.Hash, s.Hash)
	switch {
	case o.Untouched:
		row.State = v1.StateUnchanged
		row.Existed = o.Existed || row.Existed && row.ObjectUID == o.UID
	case o.Created:
		row.State, row.Existed, row.AppliedAt = v1.StateCreated, false, &now
	case same && !o.Existed:
		row.State = v1.StateUnchanged
	default:
		row.State, row.Existed, row.AppliedAt = v1.StateApplied, row.Existed || o.Existed, &now
	}
	if !o.Untouched {
		row.MarkedUID = ""
	}
	row.ObjectUID, row.ResourceVersion, row.Fields, row.Hash = o.UID, o.ResourceVersion, o.Fields, s.Hash
	row.Resource, row.Message = cmp.Or(row.Resource, o.Resource), ""
	row.Health, row.HealthMessage = o.Health.Status, o.Health.Message
	return row
}

// removal takes in what became of a row that no set wants.
func (b *builder) removal(st *state, s decide.Step) {
	o, attempted := b.outcomes.Objects[s.Identity]
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
	return sameTime(a.AppliedAt, b.AppliedAt) && sameTime(a.DriftedAt, b.DriftedAt) && bytes.Equal(a.Hash, b.Hash) &&
		bytes.Equal(a.Fields, b.Fields) && reflect.DeepEqual(plain(a), plain(b))
}

// plain is a row without what is compared by its value.
func plain(r inventory.Row) inventory.Row {
	r.AppliedAt, r.DriftedAt, r.Hash, r.Fields = nil, nil, nil, nil
	return r
}

func sameTime(a, b *time.Time) bool {
	return a == b || a != nil && b != nil && a.Equal(*b)
}
