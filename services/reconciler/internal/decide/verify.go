package decide

import (
	"bytes"
	"cmp"

	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// nobody stands for a field manager that cannot be told.
const nobody = "?"

// verify compares an object that the inventory has as wanted with what the target has.
func (d decision) verify(s Set, i Item, v *view, found Seen) {
	there := found.Presence != Absent
	switch {
	case found.Fault != "":
		v.asWanted, v.trouble = false, found.Fault
	case there && s.once(i):
		v.row = healthy(v.row, found)
	case !there || found.Presence == Foreign || found.UID != v.row.ObjectUID:
		v.asWanted, v.row, v.seen, v.drift = false, lost(v.row), found.Observed, cmp.Or(found.Manager, nobody)
	case found.Terminating:
		v.asWanted, v.trouble = false, "it is being deleted"
	case found.ResourceVersion == v.row.ResourceVersion:
		v.row = healthy(v.row, found)
	case v.row.Fields != nil && bytes.Equal(found.Fields, v.row.Fields) && found.Marked && found.OwnerUID == s.UID:
		v.row = healthy(v.row, found)
		v.row.ResourceVersion = found.ResourceVersion
	default:
		v.asWanted, v.drift = false, d.culprit(i, v.row, found)
	}
}

// culprit names who changed an object of ours. Where nothing was recorded to compare with, or our own patch was the last to write, it
// is nobody's drift.
func (d decision) culprit(i Item, row inventory.Row, found Seen) string {
	if row.Fields == nil || d.patched[i.Identity] && found.Manager == "" {
		return ""
	}
	return cmp.Or(found.Manager, nobody)
}

// healthy returns a row with the health that was seen, if any was.
func healthy(r inventory.Row, found Seen) inventory.Row {
	if found.Health != "" {
		r.Health, r.HealthMessage = found.Health, found.HealthMessage
	}
	return r
}

// lost returns the row of an object that is gone, or not ours any more: what stands under its name is to be looked at as unknown.
func lost(r inventory.Row) inventory.Row {
	r.State, r.ObjectUID, r.Hash, r.ResourceVersion, r.Fields = inventory.StateIntent, "", nil, "", nil
	r.Existed, r.Message = false, ""
	return r
}
