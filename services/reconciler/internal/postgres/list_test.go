package postgres_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

// fleetOf fills the schema with clusters x sets. For set-1 every 2nd cluster fails, for set-2 every 1,000th, for the others none.
func fleetOf(t testing.TB, clusters, sets int) *postgres.Store {
	t.Helper()
	pg := devstack.Postgres(t, "reconciler")
	restore := withoutIndexes(t, pg)
	for _, sql := range []string{
		`INSERT INTO reconciler.clusters (uid, namespace, name, generation, resource_version, labels, document)
SELECT md5('c' || g)::uuid, 'ns-' || g % 100, 'cluster-' || md5(g::text), 1, g, ARRAY['n', 'n=' || g % 10],
	jsonb_build_object('labels', jsonb_build_object('n', (g % 10)::text)) FROM generate_series(1, $1::int) g WHERE $2::int > 0`,
		`INSERT INTO reconciler.work (cluster_uid, want, done, next_at)
SELECT uid, 1, 1, now() + interval '1 hour' FROM reconciler.clusters WHERE $1::int + $2::int > 0`,
		`INSERT INTO reconciler.clustersyncs (cluster_uid, reachable, reason, run_seconds)
SELECT md5('c' || g)::uuid, CASE WHEN g % 500 = 0 THEN 'False' ELSE 'True' END, 'Reachable', g % 1000
FROM generate_series(1, $1::int) g WHERE $2::int > 0`,
		`INSERT INTO reconciler.sets (uid, resource, namespace, name, generation, resource_version, document)
SELECT md5('s' || g)::uuid, 'selectorsyncsets', '', 'set-' || g, 1, g, '{"clusterSelector": {}}'
FROM generate_series(1, $2::int) g WHERE $1::int > 0`,
		`INSERT INTO reconciler.cluster_sets (cluster_uid, set_uid, target_generation, observed_generation, result, cause, message, health,
	cluster_namespace, cluster_name)
SELECT md5('c' || c)::uuid, md5('s' || s)::uuid, 1, 1, CASE WHEN fails THEN 'Failure' ELSE 'Success' END, '',
	CASE WHEN fails THEN 'failed to apply resource 0 (ConfigMap default/x): reason ' || c % 7 ELSE '' END, 'Current',
	'ns-' || c % 100, 'cluster-' || md5(c::text)
FROM generate_series(1, $2::int) s CROSS JOIN generate_series(1, $1::int) c
CROSS JOIN LATERAL (SELECT s = 1 AND c % 2 = 0 OR s = 2 AND c % 1000 = 0 AS fails) f`,
	} {
		if _, err := pg.Pool.Exec(t.Context(), sql, clusters, sets); err != nil {
			t.Fatal(err)
		}
	}
	restore()
	if _, err := pg.Pool.Exec(t.Context(), "VACUUM ANALYZE"); err != nil {
		t.Fatal(err)
	}
	return postgres.New(pg.Pool)
}

// withoutIndexes drops the indexes of cluster_sets, which millions of rows are faster written without, and returns what makes them again.
func withoutIndexes(t testing.TB, pg *devstack.PG) (restore func()) {
	t.Helper()
	rows, err := pg.Pool.Query(t.Context(), `SELECT indexdef FROM pg_indexes WHERE schemaname = 'reconciler' AND tablename = 'cluster_sets'
	AND indexname <> 'cluster_sets_pkey'`)
	if err != nil {
		t.Fatal(err)
	}
	definitions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	again := append([]string{"ALTER TABLE reconciler.cluster_sets ADD PRIMARY KEY (cluster_uid, set_uid)"}, definitions...)
	exec := func(statements ...string) {
		for _, sql := range statements {
			if _, err := pg.Pool.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	exec("ALTER TABLE reconciler.cluster_sets DROP CONSTRAINT cluster_sets_pkey")
	for _, d := range definitions {
		exec("DROP INDEX reconciler." + strings.Fields(d)[2])
	}
	return func() { exec(again...) }
}

// pages are the queries that a person with a large fleet asks.
var pages = []struct {
	name    string
	filters map[string]string
}{
	{"many fail for a set", map[string]string{"selectorSyncSet": "set-1", "result": v1.ResultFailure}},
	{"few fail for a set", map[string]string{"selectorSyncSet": "set-2", "result": v1.ResultFailure}},
	{"none fails for a set", map[string]string{"selectorSyncSet": "set-3", "result": v1.ResultFailure}},
	{"clusters of a set", map[string]string{"selectorSyncSet": "set-3"}},
	{"failing for any set", map[string]string{"result": v1.ResultFailure}},
}

func list(ctx context.Context, t testing.TB, s *postgres.Store, filters map[string]string, token string) v1.List[v1.ClusterSync] {
	t.Helper()
	found, err := s.ListClusterSyncs(ctx, request.List{Limit: 100, Filters: filters, Continue: token})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What the pages of a list are read with, as Postgres says, at a size at which reading a whole table would look harmless.
func TestPagesOfClustersByResultReadNoWholeTable(t *testing.T) {
	t.Parallel()
	store := fleetOf(t, 4000, 20)
	for _, page := range pages {
		token := ""
		for n := range 2 {
			plan := explain(t, store, request.List{Limit: 100, Filters: page.filters, Continue: token})
			for _, table := range []string{"cluster_sets", "clusters", "clustersyncs"} {
				if strings.Contains(plan, "Seq Scan on "+table) {
					t.Errorf("page %d of %s reads all of %s:\n%s", n+1, page.name, table, plan)
				}
			}
			if token = list(t.Context(), t, store, page.filters, token).Continue; token == "" {
				break
			}
		}
	}
}

func explain(t *testing.T, store *postgres.Store, q request.List) string {
	t.Helper()
	sql, args, err := store.ExplainPage(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := store.Pool().Query(t.Context(), "EXPLAIN (ANALYZE) "+sql, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func TestPagesGoThroughAllFailingClustersInOrder(t *testing.T) {
	t.Parallel()
	store := fleetOf(t, 1000, 3)
	for _, page := range pages {
		names, token := []string{}, ""
		for {
			found := list(t.Context(), t, store, page.filters, token)
			for _, c := range found.Items {
				names = append(names, c.Namespace+" "+c.Name)
			}
			if token = found.Continue; token == "" {
				break
			}
		}
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("%s: not in order, or one comes twice", page.name)
		}
		want(t, page.name, len(names), map[string]int{
			"many fail for a set": 500, "few fail for a set": 1, "none fails for a set": 0, "clusters of a set": 1000, "failing for any set": 500,
		}[page.name])
	}
}

// BenchmarkFailingClusters answers "which clusters fail for set X, and why" with 100,000 clusters x 50 sets: first pages, and later ones.
func BenchmarkFailingClusters(b *testing.B) {
	store := fleetOf(b, fleet, 50)
	for _, page := range pages {
		b.Run(strings.ReplaceAll(page.name, " ", "-"), func(b *testing.B) {
			measure(b, store, page.filters)
		})
	}
	b.Run("count-a-set", func(b *testing.B) {
		var took time.Duration
		for b.Loop() {
			began := time.Now()
			if err := store.CountSet(b.Context(), setUID(b, store, "set-1")); err != nil {
				b.Fatal(err)
			}
			took = max(took, time.Since(began))
		}
		b.ReportMetric(float64(took.Milliseconds()), "max-ms")
	})
}

func setUID(b *testing.B, store *postgres.Store, name string) (uid string) {
	b.Helper()
	if err := store.Pool().QueryRow(b.Context(), "SELECT uid::text FROM reconciler.sets WHERE name = $1", name).Scan(&uid); err != nil {
		b.Fatal(err)
	}
	return uid
}

// measure walks five pages, from the first on, again and again, and reports how long the first and the later ones took.
func measure(b *testing.B, store *postgres.Store, filters map[string]string) {
	b.Helper()
	var first, later []time.Duration
	token := ""
	for b.Loop() {
		for n := range 1000 {
			began := time.Now()
			next := list(b.Context(), b, store, filters, token).Continue
			took := time.Since(began)
			if token == "" {
				first = append(first, took)
			} else {
				later = append(later, took)
			}
			if token = next; n%5 == 4 {
				token = ""
			}
		}
	}
	for name, all := range map[string][]time.Duration{"first": first, "later": later} {
		if len(all) > 0 {
			slices.Sort(all)
			b.ReportMetric(ms(all[len(all)/2]), name+"-p50-ms")
			b.ReportMetric(ms(all[len(all)*99/100]), name+"-p99-ms")
		}
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
