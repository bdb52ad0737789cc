package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// run claims a cluster, has change say what the run found out, and settles it. A run finds, by default, nothing to do.
func (w *world) run(t *testing.T, c v1.Cluster, change func(*work.Settlement)) {
	t.Helper()
	w.exec(t, "UPDATE reconciler.work SET state = 'queued' WHERE cluster_uid = $1", c.UID)
	claim, err := w.Claim(t.Context(), c.UID, "worker", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := w.Load(t.Context(), claim, func(string, int64) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	st := work.Settlement{
		Claim: claim, Want: snap.Want, Full: true, FullIn: 2 * time.Hour, VerifyIn: 15 * time.Minute,
		Contact: &work.Contact{Reason: v1.ReasonReachable, KubernetesVersion: "v1", Contacted: true},
		LastRun: &v1.RunStatus{Duration: "1.5s"},
	}
	if change != nil {
		change(&st)
	}
	if _, err := w.Settle(t.Context(), st); err != nil {
		t.Fatal(err)
	}
}

// result is what a run says of the set by this name.
func (w *world) result(name, result string) syncstatus.Set {
	return syncstatus.Set{UID: w.sets[name].UID, Observed: w.sets[name].Generation, Result: result}
}

// placed makes a cluster with one set, "s", that is to be there.
func placed(t *testing.T) (*world, v1.Cluster) {
	t.Helper()
	w := newWorld(t)
	w.write(t, "s", nil)
	w.fanOut(t, 0)
	return w, w.register(t, "c", nil)
}

func TestARunIsDueAgainAtTheFirstOfItsTimes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*work.Settlement)
		in     string // seconds, and the class
	}{
		{"nothing to do: verification", nil, "900 3"},
		{"full apply before it", func(s *work.Settlement) { s.FullIn = time.Minute }, "60 3"},
		{"retry before it", func(s *work.Settlement) { s.RetryIn = 5 * time.Second }, "5 2"},
		{"health before it", func(s *work.Settlement) { s.HealthIn, s.RetryIn = 10*time.Second, 20*time.Second }, "10 2"},
		{"unreachable: only the rest", func(s *work.Settlement) {
			s.Full, s.FullIn, s.VerifyIn, s.HealthIn, s.Attempts, s.RetryIn = false, 0, time.Second, time.Second, 2, 30*time.Second
		}, "30 2"},
		{"abandoned: at once", func(s *work.Settlement) { s.Abandon = true }, "0 0"},
		{"due and not done: not at once", func(s *work.Settlement) { s.FullIn, s.VerifyIn = 0, 0 }, "1 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, c := placed(t)
			w.exec(t, "UPDATE reconciler.work SET verify_at = now() - interval '1 minute', full_at = now() - interval '1 minute'")
			w.run(t, c, tt.change)
			got := w.strings(t, `SELECT round(extract(epoch FROM next_at - since))::text || ' ' || class FROM reconciler.work`)
			want(t, "due in, class", got, []string{tt.in})
		})
	}
}

func TestWhatWasPlannedIsNoFurtherAwayThanAnIntervalThatBecameShorter(t *testing.T) {
	t.Parallel()
	w, c := placed(t)
	w.exec(t, "UPDATE reconciler.work SET verify_at = now() + interval '10 minutes', full_at = now() + interval '1 hour'")
	w.run(t, c, func(s *work.Settlement) {
		s.FullIn, s.VerifyIn, s.FullMost, s.VerifyMost = 0, 0, time.Minute, 20*time.Second
	})
	planned := `SELECT round(extract(epoch FROM verify_at - since))::text || ' ' || round(extract(epoch FROM full_at - since)) FROM reconciler.work`
	want(t, "verify and full apply in", w.strings(t, planned), []string{"20 60"})
	w.run(t, c, func(s *work.Settlement) {
		s.FullIn, s.VerifyIn, s.FullMost, s.VerifyMost = 0, 0, time.Hour, time.Hour
	})
	if due := w.strings(t, planned); due[0] > "20 60" {
		t.Errorf("planned later again: %s", due)
	}
}

func TestAnUnreachableClusterKeepsWhatWasPlanned(t *testing.T) {
	t.Parallel()
	w, c := placed(t)
	w.run(t, c, func(s *work.Settlement) { s.HealthIn, s.HealthAttempts = 10*time.Second, 4 })
	const planned = `SELECT full_at || ' ' || verify_at || ' ' || health_at || ' ' || health_attempts FROM reconciler.work`
	before := w.strings(t, planned)
	w.run(t, c, func(s *work.Settlement) {
		s.Full, s.FullIn, s.VerifyIn, s.Attempts, s.RetryIn = false, 0, 0, 1, time.Minute
		s.Contact = &work.Contact{Reason: "Timeout"}
	})
	want(t, "afterwards", w.strings(t, planned), before)
	w.run(t, c, nil)
	want(t, "asking for health ends when a run no longer wants it",
		w.strings(t, "SELECT coalesce(health_at::text, 'never') || ' ' || health_attempts FROM reconciler.work"), []string{"never 0"})
}

func TestFirstVerificationsAreSpreadOverTheFleet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 40 {
		w.register(t, fmt.Sprintf("c%d", i), nil)
	}
	quarters := w.count(t, `SELECT count(DISTINCT floor(extract(epoch FROM verify_at - since) / 225)) FROM reconciler.work
WHERE verify_at BETWEEN now() - interval '1 minute' AND now() + interval '15 minutes'`)
	if quarters < 4 {
		t.Errorf("40 clusters are verified first within %d of 4 quarters of the interval", quarters)
	}
}

func TestRowsAreWrittenOnlyWhenTheyDiffer(t *testing.T) {
	t.Parallel()
	w, c := placed(t)
	for _, name := range []string{"s2", "s3"} {
		w.write(t, name, nil)
		w.fanOut(t, 0)
	}
	settle := func(change func(*syncstatus.Set)) int {
		before := w.strings(t, "SELECT xmin::text || ctid FROM reconciler.cluster_sets ORDER BY set_uid")
		w.run(t, c, func(st *work.Settlement) {
			for _, name := range []string{"s", "s2", "s3"} {
				r := w.result(name, v1.ResultSuccess)
				r.Health, r.Patches = v1.HealthCurrent, []decide.PatchRecord{{Index: 1, Hash: []byte{1}, UID: "u", ResourceVersion: "7"}}
				r.Objects = []v1.ObjectStatus{{APIVersion: "v1", Kind: "Secret", Name: "x", State: v1.StateRetained}}
				if name == "s2" {
					change(&r)
				}
				st.Sets = append(st.Sets, r)
			}
		})
		written := 0
		for i, row := range w.strings(t, "SELECT xmin::text || ctid FROM reconciler.cluster_sets ORDER BY set_uid") {
			if row != before[i] {
				written++
			}
		}
		return written
	}
	same := func(*syncstatus.Set) {}
	want(t, "the first time", settle(same), 3)
	want(t, "when nothing changed", settle(same), 0)
	for _, tt := range []struct {
		name   string
		change func(*syncstatus.Set)
		again  int // rows written when the run says the same once more
	}{
		{"another result", func(s *syncstatus.Set) { s.Result, s.Message = v1.ResultFailure, "no" }, 0},
		{"another message", func(s *syncstatus.Set) { s.Result, s.Message = v1.ResultFailure, "never" }, 0},
		{"another health", func(s *syncstatus.Set) { s.Health = v1.HealthInProgress }, 0},
		{"another patch", func(s *syncstatus.Set) { s.Patches = nil }, 0},
		{"another object", func(s *syncstatus.Set) { s.Objects = nil }, 0},
		{"a later generation", func(s *syncstatus.Set) { s.Observed = 9 }, 0},
		{"a retry, whose time is another each time", func(s *syncstatus.Set) { s.RetryIn, s.Attempts = time.Second, 2 }, 1},
		{"a retry that stays as it is", func(s *syncstatus.Set) { s.KeepRetry, s.Cause = true, v1.CauseUnreachable }, 0},
	} {
		want(t, tt.name, settle(tt.change), 1)
		want(t, tt.name+", again", settle(tt.change), tt.again)
	}
}

func TestWhatARunFoundIsLoadedByTheNext(t *testing.T) {
	t.Parallel()
	w, c := placed(t)
	record := decide.PatchRecord{Index: 1, Hash: []byte{1, 2}, UID: "u", ResourceVersion: "7"}
	record.Kind, record.Name = "ConfigMap", "cm"
	w.run(t, c, func(s *work.Settlement) {
		r := w.result("s", v1.ResultSuccess)
		r.Health, r.Patches = v1.HealthInProgress, []decide.PatchRecord{record}
		s.Sets, s.Health, s.HealthIn, s.HealthAttempts = []syncstatus.Set{r}, v1.HealthInProgress, time.Second, 3
	})
	w.exec(t, "UPDATE reconciler.work SET health_at = now(), verify_at = now(), state = 'queued'")
	claim, err := w.Claim(t.Context(), c.UID, "worker", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := w.Load(t.Context(), claim, func(string, int64) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	want(t, "patches", snap.Sets[0].Previous.Patches, []decide.PatchRecord{record})
	want(t, "health", snap.Sets[0].Previous.Health, v1.HealthInProgress)
	want(t, "due", []bool{snap.HealthDue, snap.VerifyDue, snap.FullDue}, []bool{true, true, false})
	want(t, "attempts", snap.HealthAttempts, 3)
	want(t, "health of the cluster", w.strings(t, "SELECT health || ' ' || run_seconds FROM reconciler.clustersyncs"), []string{"InProgress 1.5"})
}

func TestAnotherIdentityKnowsNothingOfPatchesAndHealth(t *testing.T) {
	t.Parallel()
	w, c := placed(t)
	w.run(t, c, func(s *work.Settlement) {
		r := w.result("s", v1.ResultSuccess)
		r.Health, r.Patches = v1.HealthCurrent, []decide.PatchRecord{{Index: 1}}
		s.Sets, s.Health = []syncstatus.Set{r}, v1.HealthCurrent
	})
	w.exec(t, "UPDATE reconciler.clustersyncs SET reason = 'IdentityChanged', first_success_at = now()")
	w.exec(t, "DELETE FROM reconciler.dirty_sets")
	w.drain(t)
	if err := w.AcceptIdentity(t.Context(), key(c)); err != nil {
		t.Fatal(err)
	}
	want(t, "rows", w.strings(t, `SELECT t.result || ' ' || t.patches::text || ' ' || t.health || s.health FROM reconciler.cluster_sets t
JOIN reconciler.clustersyncs s USING (cluster_uid)`), []string{"Pending [] "})
	want(t, "first successes", w.count(t, `SELECT count(t.first_success_at) + count(s.first_success_at) FROM reconciler.cluster_sets t
JOIN reconciler.clustersyncs s USING (cluster_uid)`), 0)
	want(t, "noted", w.count(t, "SELECT count(*) FROM reconciler.dirty_sets"), 1)
	want(t, "events", w.drain(t), []string{"clustersyncs updated c"})
}

func TestARunThatAnEditOvertookSaysNothingOfTheEdit(t *testing.T) {
	t.Parallel()
	const rows = `SELECT s.name || ' ' || coalesce(t.target_generation::text, '-') || ' ' || t.observed_generation || ' ' || t.result || ' ' || t.cause
	|| ' ' || t.message || ' ' || t.attempts || ' ' || (t.retry_at IS NOT NULL)::int || ' ' || (t.first_success_at IS NOT NULL)::int
FROM reconciler.cluster_sets t JOIN reconciler.sets s ON s.uid = t.set_uid ORDER BY 1`
	for _, tt := range []struct {
		name      string
		says      func(*syncstatus.Set)
		overtake  func(t *testing.T, w *world)
		want      []string
		succeeded int
	}{
		{"nothing comes between", nil, func(*testing.T, *world) {}, []string{"other 1 1 Success   0 0 1", "s 1 1 Success   0 0 1"}, 1},
		{
			"a new generation", nil,
			func(t *testing.T, w *world) { w.write(t, "s", nil); w.fanOut(t, 0) },
			[]string{"other 1 1 Success   0 0 1", "s 2 1 Pending Queued  0 0 0"},
			0,
		},
		{
			"a new generation, and the older one failed",
			func(s *syncstatus.Set) {
				s.Result, s.Message, s.Attempts, s.RetryIn = v1.ResultFailure, "no", 4, time.Hour
			},
			func(t *testing.T, w *world) { w.write(t, "s", nil); w.fanOut(t, 0) },
			[]string{"other 1 1 Success   0 0 1", "s 2 1 Pending Queued  0 0 0"},
			0,
		},
		{
			"a wish to try at once, and the run failed",
			func(s *syncstatus.Set) {
				s.Result, s.Message, s.Attempts, s.RetryIn = v1.ResultFailure, "no", 4, time.Hour
			},
			func(t *testing.T, w *world) {
				check(t, w.SyncNow(t.Context(), request.Key{Namespace: "ns", Name: "c"}))
			},
			[]string{"other 1 1 Success   0 0 1", "s 1 1 Failure  no 0 0 0"},
			0,
		},
		{
			"the set's deletion", nil,
			func(t *testing.T, w *world) { w.remove(t, "s", nil); w.fanOut(t, 0) },
			[]string{"other 1 1 Success   0 0 1", "s - 1 Pending Queued  0 0 0"},
			0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, c := placed(t)
			w.write(t, "other", nil)
			w.fanOut(t, 0)
			w.owns(t, c, "s", "a")
			w.run(t, c, func(st *work.Settlement) {
				result := w.result("s", v1.ResultSuccess)
				if tt.says != nil {
					tt.says(&result)
				}
				st.Sets = []syncstatus.Set{result, w.result("other", v1.ResultSuccess)}
				st.Contact.AllSucceeded = result.Result == v1.ResultSuccess
				tt.overtake(t, w)
			})
			want(t, "rows", w.strings(t, rows), tt.want)
			want(t, "successes of all", w.count(t, "SELECT count(first_success_at) FROM reconciler.clustersyncs"), tt.succeeded)
		})
	}
}
