package syncstatus

import (
	"cmp"
	"slices"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// patches returns what is to be remembered of a set's patches: those that it still has, as they were sent last.
func (b *builder) patches(s decide.Set, d decide.Disposition) []decide.PatchRecord {
	if d != decide.Act || s.Fault != "" {
		records := slices.Clone(s.Previous.Patches)
		for n, r := range records {
			records[n].Stale = r.Stale || b.overwrote(r)
		}
		return records
	}
	var records []decide.PatchRecord
	for _, i := range s.Items {
		if i.Type != render.Patch {
			continue
		}
		record, known := recorded(s.Previous.Patches, i)
		o, attempted := b.outcomes.Patches[PatchKey{s.UID, i.Index}]
		sent := attempted && o.Err == ""
		if sent && !o.Untouched {
			record, known = decide.PatchRecord{
				Identity: i.Identity, Hash: i.Hash, UID: o.UID, ResourceVersion: o.ResourceVersion, Generation: o.Generation,
			}, true
		}
		if known {
			missed := attempted || record.Stale || s.Previous.Observed != *s.Target
			record.Index, record.Stale = i.Index, !sent && missed || b.overwrote(record)
			if sent && !o.Untouched {
				bringUp(records, record)
			}
			records = append(records, record)
		}
	}
	return records
}

// bringUp has the patches of an object before one that was just sent know what that one left of it: to them it is no change by others. A
// generation tells whether there was another change between.
func bringUp(before []decide.PatchRecord, sent decide.PatchRecord) {
	for n, r := range before {
		ours := r.Identity == sent.Identity && r.UID == sent.UID && !r.Stale
		if ours && sent.Generation-r.Generation <= 1 {
			before[n].ResourceVersion, before[n].Generation = sent.ResourceVersion, sent.Generation
		}
	}
}

// overwrote reports whether this run wrote the object of a patch after the patch was sent.
func (b *builder) overwrote(r decide.PatchRecord) bool {
	o, attempted := b.outcomes.Objects[r.Identity]
	return attempted && !o.Untouched && (o.Err != "" || later(o.ResourceVersion, r.ResourceVersion))
}

// recorded returns what is remembered of a patch. One that cannot be rendered now is still the one at its place.
func recorded(records []decide.PatchRecord, i decide.Item) (decide.PatchRecord, bool) {
	if i.Fault == "" {
		return decide.Recorded(records, i)
	}
	for _, r := range records {
		if r.Index == i.Index {
			return r, true
		}
	}
	return decide.PatchRecord{}, false
}

// settlePatched brings the rows of objects that were patched in this run up to what the patch left, so that the next verification does
// not take our own patch for somebody's drift.
func (b *builder) settlePatched(plan decide.Plan) {
	for _, s := range plan.Sets {
		for _, step := range s.Steps {
			o := b.outcomes.Patches[PatchKey{step.SetUID, step.Item}]
			if step.Action != decide.Patch || o.Err != "" || o.ResourceVersion == "" || o.Untouched {
				continue
			}
			row, found := b.written(step.Identity)
			if found && row.ObjectUID == o.UID && later(o.ResourceVersion, row.ResourceVersion) {
				row.ResourceVersion, row.Fields = o.ResourceVersion, o.Fields
				b.rewrite(row)
			}
		}
	}
}

// written returns a row as it is after the run.
func (b *builder) written(id inventory.Identity) (inventory.Row, bool) {
	for _, r := range b.report.Upserts {
		if r.Identity == id {
			return r, true
		}
	}
	row, known := b.rows[id]
	return row, known
}

func (b *builder) rewrite(row inventory.Row) {
	for n, r := range b.report.Upserts {
		if r.Identity == row.Identity {
			b.report.Upserts[n] = row
			return
		}
	}
	b.upsert(row)
}

// later reports whether a resource version is newer than another: they are decimal numbers, of any length.
func later(a, b string) bool {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) > 0
}
