package postgres_test

import (
	"encoding/json"
	"testing"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

func key(c v1.Cluster) request.Key { return request.Key{Namespace: c.Namespace, Name: c.Name} }

// drain empties the outbox and returns what was in it: "resource operation name".
func (w *world) drain(t *testing.T) []string {
	t.Helper()
	found := w.strings(t, "SELECT resource || ' ' || operation || ' ' || name FROM reconciler.outbox ORDER BY id")
	w.exec(t, "DELETE FROM reconciler.outbox")
	return found
}

func TestAClusterSyncIsAnnouncedWhenOthersCanSeeADifference(t *testing.T) {
	t.Parallel()
	w, c := placed(t)
	want(t, "registered", w.drain(t), []string{"clustersyncs created c"})
	with := func(change func(*work.Settlement, *syncstatus.Set)) func(*work.Settlement) {
		return func(st *work.Settlement) {
			r := w.result("s", v1.ResultSuccess)
			change(st, &r)
			st.Sets = []syncstatus.Set{r}
		}
	}
	updated, nothing := []string{"clustersyncs updated c"}, []string{}
	same := with(func(*work.Settlement, *syncstatus.Set) {})
	for _, tt := range []struct {
		name   string
		change func(*work.Settlement)
		events []string
	}{
		{"reached, and applied", same, updated},
		{"nothing new", same, nothing},
		{"in progress", with(func(st *work.Settlement, s *syncstatus.Set) {
			st.Health, s.Health = v1.HealthInProgress, v1.HealthInProgress
		}), updated},
		{"still", with(func(st *work.Settlement, s *syncstatus.Set) {
			st.Health, s.Health = v1.HealthInProgress, v1.HealthInProgress
		}), nothing},
		{"failing", with(func(_ *work.Settlement, s *syncstatus.Set) { s.Result, s.Message = v1.ResultFailure, "no" }), updated},
		{"failing again, later", with(func(_ *work.Settlement, s *syncstatus.Set) {
			s.Result, s.Message, s.RetryIn, s.Attempts = v1.ResultFailure, "no", 1, 3
		}), nothing},
		{"unreachable", with(func(st *work.Settlement, s *syncstatus.Set) {
			st.Contact, st.Attempts, st.RetryIn = &work.Contact{Reason: "Timeout", Message: "1"}, 1, 1
			s.Result, s.Cause, s.KeepRetry = v1.ResultPending, v1.CauseUnreachable, true
		}), updated},
		{"still unreachable", with(func(st *work.Settlement, s *syncstatus.Set) {
			st.Contact, st.Attempts, st.RetryIn = &work.Contact{Reason: "Timeout", Message: "2"}, 2, 1
			s.Result, s.Cause, s.KeepRetry = v1.ResultPending, v1.CauseUnreachable, true
		}), nothing},
		{"for another reason", with(func(st *work.Settlement, s *syncstatus.Set) {
			st.Contact, st.Attempts, st.RetryIn = &work.Contact{Reason: "Unauthorized"}, 3, 1
			s.Result, s.Cause, s.KeepRetry = v1.ResultPending, v1.CauseUnreachable, true
		}), updated},
		{"abandoned", func(st *work.Settlement) { st.Abandon, st.Contact = true, nil }, nothing},
	} {
		w.run(t, c, tt.change)
		want(t, tt.name, w.drain(t), tt.events)
	}
	w.relabel(t, &c, labels("env", "prod"))
	want(t, "relabelled", w.drain(t), updated)
	w.unregister(t, c)
	want(t, "unregistered", w.drain(t), []string{"clustersyncs deleted c"})
}

func TestAnEventIsTheDocumentAsInLists(t *testing.T) {
	t.Parallel()
	w, c := placed(t)
	w.relabel(t, &c, labels("env", "prod"))
	w.drain(t)
	w.relabel(t, &c, labels("env", "test"))
	var d v1.ClusterSync
	var text, before []byte
	var version int64
	if err := w.pg.Pool.QueryRow(t.Context(), "SELECT document, previous_labels, resource_version FROM reconciler.outbox").
		Scan(&text, &before, &version); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	listed, err := w.ListClusterSyncs(t.Context(), request.List{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "document", d, listed.Items[0])
	want(t, "version", w.strings(t, "SELECT resource_version::text FROM reconciler.clustersyncs"), []string{d.ResourceVersion})
	want(t, "labels before", string(before), `{"env": "prod"}`)
}
