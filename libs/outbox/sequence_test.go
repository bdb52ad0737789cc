package outbox_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncsets/syncsets/libs/devstack"
)

func TestLargeChangesAreMovedInSeveralTransactions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 8 {
		c := change("large")
		c.Document = map[string]string{"text": strings.Repeat("x", 3<<20)}
		b.write(t, c)
	}
	b.write(t, change("small"))
	b.relay(t)
	devstack.Eventually(t, "all are published", func() bool { return len(b.heard.all()) >= 9 })
	if diff := cmp.Diff([]int64{1, 2, 3, 4, 5, 6, 7, 8, 9}, b.heard.revisions(t)); diff != "" {
		t.Errorf("revisions (-want +got):\n%s", diff)
	}
	var moves int
	if err := b.pool.QueryRow(t.Context(), "SELECT count(DISTINCT xmin::text) FROM clusters.events").Scan(&moves); err != nil {
		t.Fatal(err)
	}
	if moves != 2 {
		t.Errorf("they were moved in %d transactions, not 2", moves)
	}
}
