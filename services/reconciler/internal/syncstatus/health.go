package syncstatus

import (
	v1 "github.com/syncsets/syncsets/libs/api/v1"
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

// health returns the worst health of each set's rows, as they are after the run.
func (b *builder) health() map[string]string {
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
	of := make(map[string]string, len(b.sets))
	for _, r := range rows {
		if _, known := b.sets[r.SetUID]; known {
			of[r.SetUID] = worse(of[r.SetUID], r.Health)
		}
	}
	return of
}

func worstOf(sets map[string]string) string {
	worst := ""
	for _, h := range sets {
		worst = worse(worst, h)
	}
	return worst
}
