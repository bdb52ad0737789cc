package selector_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/selector"
)

func TestMain(m *testing.M) { devstack.Main(m) }

// labelled makes a table of n rows with random labels, and returns them by id.
func labelled(t *testing.T, db *devstack.PG, g generator, n int) []map[string]string {
	t.Helper()
	ctx := t.Context()
	if _, err := db.Pool.Exec(ctx, "CREATE TABLE things (id int, labels text[] NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	sets := make([]map[string]string, n)
	rows := make([][]any, n)
	for i := range sets {
		sets[i] = g.labels()
		rows[i] = []any{i, selector.Index(sets[i])}
	}
	if _, err := db.Pool.CopyFrom(ctx, pgx.Identifier{"things"}, []string{"id", "labels"}, pgx.CopyFromRows(rows)); err != nil {
		t.Fatal(err)
	}
	return sets
}

func TestSQLMeansWhatMatchesMeans(t *testing.T) {
	t.Parallel()
	db := devstack.Postgres(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	sets := labelled(t, db, g, 300)
	for range 500 {
		text := g.text()
		s, err := selector.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		found := matching(t, db, s)
		for id, set := range sets {
			if found[id] != s.Matches(set) {
				where, args := s.SQL("labels", 2)
				t.Fatalf("%q on %v: SQL says %v, Matches %v\n%s %v", text, set, found[id], s.Matches(set), where, args)
			}
		}
	}
}

// matching returns the ids that the selector's SQL finds; its placeholders begin after one of the query's own.
func matching(t *testing.T, db *devstack.PG, s selector.Selector) map[int]bool {
	t.Helper()
	where, args := s.SQL("labels", 2)
	rows, err := db.Pool.Query(t.Context(), "SELECT id FROM things WHERE id >= $1 AND "+where, append([]any{0}, args...)...)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	found := make(map[int]bool, len(ids))
	for _, id := range ids {
		found[id] = true
	}
	return found
}

func TestAnIndexServesThePositiveTerms(t *testing.T) {
	t.Parallel()
	db := devstack.Postgres(t)
	ctx := t.Context()
	for _, statement := range []string{
		"CREATE TABLE many (id int, labels text[] NOT NULL)",
		`INSERT INTO many SELECT i, ARRAY['app', 'app=' || i, 'tier', 'tier=' || i % 5000] || CASE WHEN i % 5000 = 0 THEN ARRAY['rare', 'rare=1'] END
			FROM generate_series(1, 50000) AS i`,
		"CREATE INDEX many_labels ON many USING gin (labels)",
		"ANALYZE many",
	} {
		if _, err := db.Pool.Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	for text, indexed := range map[string]bool{
		"app=7": true, "app in (7,8,9)": true, "rare": true, "app=7,tier!=3": true, "rare>0": true, "tier=7,!rare": true,
		"!rare": false, "tier!=7": false,
	} {
		plan := explain(ctx, t, db, text)
		if strings.Contains(plan, "Index Scan on many_labels") != indexed {
			t.Errorf("%q: want an index scan: %v, got\n%s", text, indexed, plan)
		}
	}
}

func explain(ctx context.Context, t *testing.T, db *devstack.PG, text string) string {
	t.Helper()
	s, err := selector.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	where, args := s.SQL("labels", 1)
	rows, err := db.Pool.Query(ctx, "EXPLAIN SELECT id FROM many WHERE "+where, args...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
