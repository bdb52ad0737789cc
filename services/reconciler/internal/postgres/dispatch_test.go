package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

// work inserts work rows; columns and values as in SQL.
func (w *world) work(t *testing.T, name, columns, values string) {
	t.Helper()
	uid := uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String()
	w.names[uid] = name
	w.exec(t, fmt.Sprintf("INSERT INTO reconciler.work (cluster_uid, %s) VALUES ($1, %s)", columns, values), uid)
}

func (w *world) slots(t *testing.T, n int) {
	t.Helper()
	if err := w.Heartbeat(t.Context(), "worker", n); err != nil {
		t.Fatal(err)
	}
}

// pick returns the names of the clusters that are offered, sorted.
func (w *world) pick(t *testing.T) []string {
	t.Helper()
	offers, err := w.PickDue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, o := range offers {
		names = append(names, w.names[o.ClusterUID])
	}
	slices.Sort(names)
	return names
}

func TestPickingTakesUrgentClassesFirstAndNoMoreThanThereIsRoomFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for class := range 4 {
		for i := range 2 {
			w.work(t, fmt.Sprintf("class %d no %d", class, i), "class, next_at", fmt.Sprintf("%d, now() - interval '%d s'", class, 100*class+10-i))
		}
	}
	w.work(t, "not due", "class, next_at", "0, now() + interval '1 s'")
	want(t, "without a live worker", w.pick(t), []string{})
	w.slots(t, 1)
	want(t, "two per slot", w.pick(t), []string{"class 0 no 0", "class 0 no 1"})
	want(t, "while those are queued", w.pick(t), []string{})
	w.slots(t, 2)
	want(t, "with one more slot", w.pick(t), []string{"class 1 no 0", "class 1 no 1"})
	w.exec(t, "UPDATE reconciler.work SET next_at = now() - interval '1 s' WHERE state = 'queued' AND class = 1")
	want(t, "offers that nobody claimed come again", w.pick(t), []string{"class 1 no 0", "class 1 no 1"})
	w.exec(t, "UPDATE reconciler.workers SET seen_at = now() - interval '1 hour'")
	w.exec(t, "UPDATE reconciler.work SET state = 'idle'")
	want(t, "with a dead worker", w.pick(t), []string{})
}

func TestUnreachableClustersHaveASmallShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slots(t, 10)
	for i := range 5 {
		w.work(t, fmt.Sprintf("unreachable %d", i), "attempts, next_at", fmt.Sprintf("3, now() - interval '%d s'", 60-i))
	}
	w.work(t, "reachable", "next_at", "now()")
	want(t, "first", w.pick(t), []string{"reachable", "unreachable 0", "unreachable 1"})
	want(t, "then", w.pick(t), []string{})
}

func TestALeaseThatEndedIsTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slots(t, 10)
	w.work(t, "lost", "state, fence, next_at", "'running', 7, now() - interval '1 s'")
	w.work(t, "alive", "state, fence, next_at", "'running', 7, now() + interval '1 s'")
	want(t, "offered", w.pick(t), []string{"lost"})
	want(t, "row", w.strings(t, "SELECT state || ' ' || fence || ' ' || takeover || ' ' || full_apply FROM reconciler.work WHERE state = 'queued'"),
		[]string{"queued 8 true true"})
}

func TestNothingIsOfferedWhilePaused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slots(t, 10)
	w.work(t, "due", "next_at", "now()")
	if err := w.Pause(t.Context(), "a test"); err != nil {
		t.Fatal(err)
	}
	want(t, "offered", w.pick(t), []string{})
}

func TestAnOfferThatCouldNotBePublishedIsDueAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.slots(t, 10)
	w.work(t, "a", "next_at", "now()")
	w.work(t, "b", "next_at", "now()")
	offers, err := w.PickDue(t.Context())
	if err != nil || len(offers) != 2 {
		t.Fatal(offers, err)
	}
	if _, err := w.Claim(t.Context(), offers[0].ClusterUID, "worker", time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := w.TakeBack(t.Context(), []string{offers[0].ClusterUID, offers[1].ClusterUID}); err != nil {
		t.Fatal(err)
	}
	want(t, "states", w.strings(t, "SELECT state FROM reconciler.work ORDER BY 1"), []string{"idle", "running"})
	want(t, "due soon", w.count(t, "SELECT count(*) FROM reconciler.work WHERE state = 'idle' AND next_at < now() + interval '2 s'"), 1)
}

const fleet = 100_000

// The shipped query with the planner's default settings and without knowing its arguments, on a fleet of which 99 % are not due.
func TestPickingReadsOnlyAnIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `INSERT INTO reconciler.work (cluster_uid, class, attempts, next_at)
SELECT gen_random_uuid(), g % 4, (g % 50 = 0)::int, now() + CASE WHEN g % 100 = 0 THEN -1 ELSE 1 END * interval '1 minute' * random() * 60
FROM generate_series(1, $1::int) g`, fleet)
	w.exec(t, "ANALYZE reconciler.work")
	conn, err := w.pg.Pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), "SET plan_cache_mode = force_generic_plan"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "PREPARE pick (bigint, bigint, float8) AS "+postgres.PickSQL); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), "EXPLAIN (ANALYZE) EXECUTE pick (64, 4, 60)", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	explained := strings.Join(lines, "\n")
	t.Log("\n" + explained)
	for _, index := range []string{"work_due", "work_unreachable", "work_pkey"} {
		if !strings.Contains(explained, "Index Scan using "+index) {
			t.Errorf("the plan does not read %s in order", index)
		}
	}
	if strings.Contains(explained, "Seq Scan") || strings.Contains(explained, "Bitmap") {
		t.Error("the plan reads more of the table than it has to")
	}
}

// While a set goes out to 100,000 clusters in chunks, claims go on: none is kept waiting for a row for more than 200 ms, else the server
// refuses it. The figures also hold what a busy machine adds.
// A machine that is busy with something else may stop a chunk that holds locks; a fan-out that holds them for too long does so each time.
func TestAFanOutDoesNotBlockClaims(t *testing.T) {
	const attempts = 3
	w := newWorld(t)
	w.exec(t, `INSERT INTO reconciler.clusters (uid, namespace, name, generation, resource_version, document)
SELECT gen_random_uuid(), 'ns', 'c' || g, 1, 1, '{}' FROM generate_series(1, $1::int) g`, fleet)
	w.exec(t, "INSERT INTO reconciler.work (cluster_uid) SELECT uid FROM reconciler.clusters")
	for generation := 1; ; generation++ {
		blocked := claimDuringFanOut(t, w)
		want(t, "clusters that are told",
			w.count(t, "SELECT count(*) FROM reconciler.cluster_sets WHERE target_generation = $1", generation), fleet)
		want(t, "clusters that are marked", w.count(t, "SELECT count(*) FROM reconciler.work WHERE want = 1 + $1", generation), fleet)
		if blocked == 0 {
			return
		}
		if generation == attempts {
			t.Fatalf("in each of %d fan-outs claims waited for a row for more than 200 ms, %d in the last", attempts, blocked)
		}
	}
}

// claimDuringFanOut fans a new generation out to all clusters while others claim them, and returns how many claims waited too long.
func claimDuringFanOut(t *testing.T, w *world) (blocked int) {
	t.Helper()
	w.exec(t, "UPDATE reconciler.work SET state = 'queued', next_at = now() + interval '1 hour'")
	w.exec(t, "ANALYZE reconciler.work, reconciler.clusters")
	w.write(t, "everywhere", nil)
	uids := w.strings(t, "SELECT uid::text FROM reconciler.clusters ORDER BY uid LIMIT 20000")
	claiming := impatient(t, w.pg.Params)

	ctx, stop := context.WithCancel(t.Context())
	var claimers sync.WaitGroup
	waits, refused := make([][]time.Duration, 4), make([]int, 4)
	for n := range waits {
		claimers.Go(func() {
			for i := n; ctx.Err() == nil && i < len(uids); i += len(waits) {
				began := time.Now()
				_, err := claiming.Claim(ctx, uids[i], "worker", time.Minute)
				var failure *pgconn.PgError
				switch {
				case ctx.Err() != nil:
				case errors.As(err, &failure) && failure.Code == lockNotAvailable:
					refused[n]++
				default:
					check(t, err)
					waits[n] = append(waits[n], time.Since(began))
				}
			}
		})
	}
	began := time.Now()
	chunks := w.fanOut(t, 0)
	took := time.Since(began)
	stop()
	claimers.Wait()
	for _, n := range refused {
		blocked += n
	}
	all := slices.Concat(waits...)
	slices.Sort(all)
	t.Logf("%d clusters in %d chunks took %s; %d claims meanwhile: p50 %s, p99 %s, longest %s; %d waited too long", fleet, chunks,
		took.Round(time.Millisecond), len(all), all[len(all)/2], all[len(all)*99/100], all[len(all)-1], blocked)
	return blocked
}

// lockNotAvailable is what Postgres says of a statement that waited for longer than lock_timeout.
const lockNotAvailable = "55P03"

// impatient returns a store whose statements fail when they wait for a row for more than 200 ms.
func impatient(t *testing.T, params string) *postgres.Store {
	t.Helper()
	config, err := pgxpool.ParseConfig(params)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.RuntimeParams["lock_timeout"] = "200ms"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return postgres.New(pool)
}
