package postgres_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// aggregate counts everything that is to be counted, whenever it was counted last, and returns the names of the sets.
func (w *world) aggregate(t *testing.T) []string {
	t.Helper()
	w.exec(t, "UPDATE reconciler.setsyncs SET next_at = now()")
	sets, err := w.SetsToCount(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, uid := range sets {
		names = append(names, w.names[uid])
		if err := w.CountSet(t.Context(), uid); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// says has a run of a cluster say what became of "s".
func (w *world) says(t *testing.T, c v1.Cluster, change func(*syncstatus.Set)) {
	t.Helper()
	w.run(t, c, func(st *work.Settlement) {
		r := w.result("s", v1.ResultSuccess)
		change(&r)
		st.Sets = []syncstatus.Set{r}
	})
}

func TestTotalsOfASet(t *testing.T) {
	t.Parallel()
	w, _ := placed(t) // one stays Pending
	for n, change := range []func(*syncstatus.Set){
		func(s *syncstatus.Set) { s.Health = v1.HealthCurrent },
		func(s *syncstatus.Set) { s.Health = v1.HealthTerminating },
		func(s *syncstatus.Set) { s.Result, s.Message, s.Health = v1.ResultFailure, "some", v1.HealthFailed },
		func(s *syncstatus.Set) {
			s.Result, s.Cause, s.Health = v1.ResultPending, v1.CauseUnreachable, v1.HealthCurrent
		},
		func(s *syncstatus.Set) { s.Result, s.Cause = v1.ResultSuspended, v1.CauseSuspended },
	} {
		w.says(t, w.register(t, fmt.Sprintf("c%d", n), nil), change)
	}
	for n := range 7 {
		w.says(t, w.register(t, fmt.Sprintf("f%d", 6-n), nil), func(s *syncstatus.Set) { s.Result, s.Message = v1.ResultFailure, "most" })
	}
	want(t, "counted", w.aggregate(t), []string{"s"})
	got := w.setSync(t, "s").Status
	if time.Since(got.CountedAt) > time.Minute {
		t.Errorf("countedAt is %s", got.CountedAt)
	}
	got.CountedAt = time.Time{}
	want(t, "status", got, v1.SetSyncStatus{
		SetKind: v1.KindSelectorSyncSet, Generation: 1, Targets: 13, Applied: 2, Pending: 1, Failed: 8, Unreachable: 1, Suspended: 1,
		Health: v1.HealthCounts{Current: 1, InProgress: 1, Failed: 1, Unknown: 1},
		Failures: []v1.FailureGroup{
			{Message: "most", Count: 7, Clusters: []string{"ns/f0", "ns/f1", "ns/f2", "ns/f3", "ns/f4"}},
			{Message: "some", Count: 1, Clusters: []string{"ns/c2"}},
		},
	})
	want(t, "counted again", w.aggregate(t), []string{})
}

func TestAtMostTenGroupsOfFailuresAreKept(t *testing.T) {
	t.Parallel()
	w, c := placed(t)
	w.exec(t, `INSERT INTO reconciler.cluster_sets (cluster_uid, set_uid, target_generation, result, message, cluster_namespace, cluster_name)
SELECT gen_random_uuid(), set_uid, 1, 'Failure', 'm' || g % 12, 'ns', 'g' || g FROM reconciler.cluster_sets, generate_series(0, 23) g
WHERE cluster_uid = $1`, c.UID)
	w.aggregate(t)
	want(t, "groups", len(w.setSync(t, "s").Status.Failures), 10)
}

func TestASetIsNotCountedAgainWithinASecond(t *testing.T) {
	t.Parallel()
	w, c := placed(t)
	w.aggregate(t)
	w.says(t, c, func(*syncstatus.Set) {})
	sets, err := w.SetsToCount(t.Context())
	if err != nil || len(sets) > 0 {
		t.Errorf("to count at once: %v %v, want none", sets, err)
	}
	want(t, "waits", w.strings(t, "SELECT (next_at - counted_at >= interval '1 s')::text FROM reconciler.setsyncs"), []string{"true"})
	want(t, "later", w.aggregate(t), []string{"s"})
	want(t, "applied", w.setSync(t, "s").Status.Applied, 1)
}

func TestEverythingThatChangesTotalsHasTheSetCounted(t *testing.T) {
	t.Parallel()
	w, c := placed(t)
	w.aggregate(t)
	w.run(t, c, nil)
	want(t, "a run that says nothing new", w.aggregate(t), []string{})
	var other v1.Cluster
	for _, tt := range []struct {
		name   string
		change func()
	}{
		{"a result", func() { w.says(t, c, func(*syncstatus.Set) {}) }},
		{"health", func() { w.says(t, c, func(s *syncstatus.Set) { s.Health = v1.HealthFailed }) }},
		{"a cluster comes", func() { other = w.register(t, "other", nil) }},
		{"a cluster goes", func() { w.unregister(t, other) }},
		{"an edit", func() { w.write(t, "s", nil); w.fanOut(t, 0) }},
		{"a cluster no longer matches", func() { w.write(t, "s", selects("a", "b")); w.fanOut(t, 0) }},
		{"it is gone from there", func() {
			w.says(t, c, func(s *syncstatus.Set) { s.Gone = true })
		}},
		{"the set is deleted", func() { w.remove(t, "s", nil) }},
	} {
		tt.change()
		want(t, tt.name, w.aggregate(t), []string{"s"})
		want(t, tt.name+", once more", w.aggregate(t), []string{})
	}
}

func TestASetThatWasNeverCountedIsCounted(t *testing.T) {
	t.Parallel()
	w, _ := placed(t)
	w.exec(t, "DELETE FROM reconciler.dirty_sets")
	want(t, "counted", w.aggregate(t), []string{"s"})
	if err := w.RecountAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, "at a start", w.aggregate(t), []string{"s"})
}

func TestTotalsAreAnnouncedWhenTheyChange(t *testing.T) {
	t.Parallel()
	w, c := placed(t)
	w.drain(t)
	w.aggregate(t)
	want(t, "first", w.drain(t), []string{"setsyncs created s"})
	version := w.setSync(t, "s").ResourceVersion
	if err := w.RecountAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.aggregate(t)
	want(t, "the same", w.drain(t), []string{})
	want(t, "version of the same", w.setSync(t, "s").ResourceVersion, version)
	w.says(t, c, func(*syncstatus.Set) {})
	w.drain(t)
	w.aggregate(t)
	want(t, "version of the event", w.strings(t, "SELECT resource_version::text FROM reconciler.outbox"),
		[]string{w.setSync(t, "s").ResourceVersion})
	want(t, "another", w.drain(t), []string{"setsyncs updated s"})
}

func TestASetThatIsGoneIsReadableUntilNothingIsLeft(t *testing.T) {
	t.Parallel()
	w, c := placed(t)
	w.says(t, c, func(*syncstatus.Set) {})
	w.remove(t, "s", nil)
	w.fanOut(t, 0)
	w.aggregate(t)
	status := w.setSync(t, "s").Status
	want(t, "deleted, targets, pending", [3]any{status.Deleted, status.Targets, status.Pending}, [3]any{true, 0, 1})
	w.says(t, c, func(s *syncstatus.Set) { s.Gone = true })
	w.aggregate(t)
	w.drain(t)
	if err := w.Tidy(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	want(t, "events", w.drain(t), []string{"setsyncs deleted s"})
	want(t, "rows", w.count(t, "SELECT (SELECT count(*) FROM reconciler.setsyncs) + (SELECT count(*) FROM reconciler.sets)"), 0)
	w.exec(t, "INSERT INTO reconciler.dirty_sets (set_uid) VALUES ($1)", w.sets["s"].UID)
	w.aggregate(t)
	want(t, "rows and events after a late note", [2]int{w.count(t, `SELECT (SELECT count(*) FROM reconciler.setsyncs)
	+ (SELECT count(*) FROM reconciler.dirty_sets)`), len(w.drain(t))}, [2]int{0, 0})
}

func TestRefsToClustersThatAreNotRegistered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := v1.SyncSet{
		Metadata:    v1.Metadata{Name: "refs", Namespace: "ns", UID: uuid.NewString(), Generation: 1, ResourceVersion: w.nextVersion()},
		ClusterRefs: []v1.ClusterRef{{Name: "there"}, {Name: "soon"}, {Name: "never"}},
	}
	w.names[s.UID] = s.Name
	w.apply(t, postgres.SyncSets, w.event(t, postgres.SyncSets, v1.ResourceSyncSets, outbox.Created, s.Metadata, s))
	w.register(t, "there", nil)
	missing := func() []string {
		w.aggregate(t)
		got, err := w.GetSetSyncByUID(t.Context(), s.UID)
		if err != nil {
			t.Fatal(err)
		}
		return got.Status.MissingRefs
	}
	want(t, "first", missing(), []string{"ns/never", "ns/soon"})
	w.register(t, "soon", nil)
	want(t, "then", missing(), []string{"ns/never"})
}

func TestOneAggregatorIsActive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, err := w.LeadAggregation(t.Context())
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	if second, err := w.LeadAggregation(t.Context()); err != nil || second != nil {
		t.Errorf("a second one: %v %v", second, err)
	}
	first.Close(t.Context())
	second, err := w.LeadAggregation(t.Context())
	if err != nil || second == nil {
		t.Fatal("after the first is gone:", second, err)
	}
	second.Close(t.Context())
}

func TestTheFleetIsSummedUp(t *testing.T) {
	t.Parallel()
	w, c := placed(t)
	w.says(t, c, func(s *syncstatus.Set) { s.Health = v1.HealthCurrent })
	w.register(t, "new", nil)
	w.aggregate(t)
	w.says(t, c, func(s *syncstatus.Set) { s.Health = v1.HealthFailed })
	w.exec(t, "UPDATE reconciler.work SET next_at = now() - interval '90 s' WHERE cluster_uid <> $1", c.UID)
	f, err := w.Fleet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.OldestDue < 90*time.Second || f.OldestDue > 5*time.Minute {
		t.Errorf("oldest due work: %s, want 90 s", f.OldestDue)
	}
	f.OldestDue = 0
	want(t, "fleet", f, postgres.Fleet{
		Clusters: map[string]int64{"True": 1, "Unknown": 1},
		Results:  map[string]int64{"applied": 1, "pending": 1, "failed": 0, "unreachable": 0, "suspended": 0, "held": 0},
		Health:   map[string]int64{"current": 1, "inProgress": 0, "failed": 0, "unknown": 0}, Dirty: 1,
	})
}
