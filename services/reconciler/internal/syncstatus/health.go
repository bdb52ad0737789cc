package syncstatus

import (
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// Health is what an object's own status says, by kstatus' names.
type Health struct{ Status, Message string }

// ranks order health from good to bad; what is still on its way, up or down, counts as one.
var ranks = map[string]int{
	"": 0, v1.HealthCurrent: 1, v1.HealthUnknown: 2, v1.HealthInProgress: 3, v1.HealthTerminating: 3, v1.HealthNotFound: 3, v1.HealthFailed: 4,
}

// rollups are what a set or a cluster shows, by the rank of the worst.
var rollups = []string{"", v1.HealthCurrent, v1.HealthUnknown, v1.HealthInProgress, v1.HealthFailed}

// worse returns the worse of two, as it is rolled up.
func worse(a, b string) string { return rollups[max(ranks[a], ranks[b])] }

// after returns the rows as they are after the run.
func (b *builder) after() map[inventory.Identity]inventory.Row {
	rows := make(map[inventory.Identity]inventory.Row, len(b.rows))
	for id, r := range b.rows {
		rows[id] = r
	}
	for _, r := range b.report.Upserts {
		rows[r.Identity] = r
	}
	for _, id := range b.report.Drops {
		delete(rows, id)
	}
	return rows
}

// health returns the worst health of each set's rows.
func (b *builder) health(rows map[inventory.Identity]inventory.Row) map[string]string {
	of := make(map[string]string, len(b.sets))
	for _, r := range rows {
		if _, known := b.sets[r.SetUID]; known {
			of[r.SetUID] = worse(of[r.SetUID], r.Health)
		}
	}
	return of
}

// progress notes whether there is anything whose health is worth asking for again, and whether it moves.
func (b *builder) progress(rows map[inventory.Identity]inventory.Row) {
	for id, r := range rows {
		before := b.rows[id]
		if st, known := b.sets[r.SetUID]; !known || st.disposition != decide.Act {
			continue
		}
		on := r.Health == v1.HealthInProgress
		b.report.InProgress = b.report.InProgress || on
		b.report.Moved = b.report.Moved || on && (before.Health != r.Health || before.HealthMessage != r.HealthMessage)
	}
}

func worstOf(sets map[string]string) string {
	worst := ""
	for _, h := range sets {
		worst = worse(worst, h)
	}
	return worst
}
