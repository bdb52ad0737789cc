package document_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/api/metadata"
	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/document"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
)

func TestMain(m *testing.M) { devstack.Main(m) }

// fixture is the table of syncsets in a database of its own.
type fixture struct {
	*testing.T
	db    *devstack.PG
	table document.Table[v1.SyncSet, *v1.SyncSet]
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	return fixture{t, devstack.Postgres(t, "syncsets"), document.NewTable[v1.SyncSet]("syncsets", v1.ResourceSyncSets)}
}

// in runs f in a transaction.
func (f fixture) in(run func(tx pgx.Tx) error) error {
	return postgres.InTx(f.Context(), f.db.Pool, pgx.TxOptions{}, run)
}

func (f fixture) insert(namespace, name string, labels map[string]string, resources ...string) v1.SyncSet {
	f.Helper()
	s := v1.SyncSet{Metadata: v1.Metadata{Namespace: namespace, Name: name, Labels: labels}}
	for _, r := range resources {
		s.Resources = append(s.Resources, json.RawMessage(r))
	}
	metadata.Begin(&s.Metadata, v1.KindSyncSet, "alice", time.Now())
	err := f.in(func(tx pgx.Tx) error {
		return f.table.Insert(f.Context(), tx, &s, document.Write{Actor: "alice", Reason: "first"})
	})
	if err != nil {
		f.Fatal(err)
	}
	return s
}

func (f fixture) update(key request.Key, change func(*v1.SyncSet) bool) v1.SyncSet {
	f.Helper()
	var next v1.SyncSet
	err := f.in(func(tx pgx.Tx) error {
		stored, err := f.table.Lock(f.Context(), tx, key)
		if err != nil {
			return err
		}
		next = stored
		changed := change(&next)
		metadata.Continue(&next.Metadata, stored.Metadata, changed, "bob", time.Now())
		return f.table.Update(f.Context(), tx, &stored, &next, document.Write{Actor: "bob", Options: map[string]string{"deletionHold": "false"}})
	})
	if err != nil {
		f.Fatal(err)
	}
	return next
}

// change is a row of the outbox.
type change struct {
	Operation       string
	Generation      int64
	ResourceVersion string
	PreviousLabels  map[string]string
	Options         map[string]string
	Actor           string
}

func (f fixture) changes() []change {
	f.Helper()
	rows, err := f.db.Pool.Query(f.Context(), `SELECT operation, generation, resource_version::text, previous_labels, options, actor
		FROM syncsets.outbox ORDER BY id`)
	if err != nil {
		f.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[change])
	if err != nil {
		f.Fatal(err)
	}
	return list
}

func TestEveryWriteLeavesItsDocumentItsHistoryAndItsEvent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key := request.Key{Namespace: "foo", Name: "a"}
	first := f.insert("foo", "a", map[string]string{"x": "1"}, `{"kind":"ConfigMap"}`)
	relabelled := f.update(key, func(s *v1.SyncSet) bool { s.Labels = map[string]string{"x": "2"}; return false })
	suspended := f.update(key, func(s *v1.SyncSet) bool { s.Suspended = true; return true })
	got, err := f.table.Get(t.Context(), f.db.Pool, key)
	if diff := cmp.Diff(suspended.Metadata, got.Metadata); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := f.in(func(tx pgx.Tx) error {
		stored, err := f.table.Lock(t.Context(), tx, key)
		return errors.Join(err, f.table.Delete(t.Context(), tx, &stored, document.Write{Actor: "carol"}))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.table.Get(t.Context(), f.db.Pool, key); !errs.Is(err, errs.NotFound) {
		t.Errorf("after the deletion: %v, want not found", err)
	}
	list := f.changes()
	hold := map[string]string{"deletionHold": "false"}
	want := []change{
		{outbox.Created, 1, first.ResourceVersion, nil, nil, "alice"},
		{outbox.Updated, 1, relabelled.ResourceVersion, map[string]string{"x": "1"}, hold, "bob"},
		{outbox.Updated, 2, suspended.ResourceVersion, map[string]string{"x": "2"}, hold, "bob"},
		{outbox.Deleted, 2, list[len(list)-1].ResourceVersion, map[string]string{"x": "2"}, nil, "carol"},
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestTheHistoryKeepsTheLastTenGenerations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.insert("foo", "a", nil)
	for range 12 {
		f.update(request.Key{Namespace: "foo", Name: "a"}, func(s *v1.SyncSet) bool { s.Suspended = !s.Suspended; return true })
	}
	rows, err := f.db.Pool.Query(t.Context(), "SELECT generation FROM syncsets.revisions ORDER BY generation")
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if diff := cmp.Diff([]int{4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestATakenNameIsAConflict(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	again := f.insert("foo", "a", nil)
	metadata.Begin(&again.Metadata, v1.KindSyncSet, "alice", time.Now())
	err := f.in(func(tx pgx.Tx) error { return f.table.Insert(t.Context(), tx, &again, document.Write{}) })
	if !errs.Is(err, errs.Conflict) {
		t.Errorf("%v, want a conflict", err)
	}
	if n := len(f.changes()); n != 1 {
		t.Errorf("%d events, want that of the first creation only", n)
	}
}

func TestWhatPostgresCannotHoldIsInvalid(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, resource := range map[string]string{
		"NUL":                       `{"a": "\u0000"}`,
		"half of a surrogate pair":  `{"a": "\ud800"}`,
		"a number beyond its range": `{"a": 1e999999}`,
	} {
		s := v1.SyncSet{Metadata: v1.Metadata{Namespace: "foo", Name: "a"}, SetSpec: v1.SetSpec{Resources: []json.RawMessage{json.RawMessage(resource)}}}
		metadata.Begin(&s.Metadata, v1.KindSyncSet, "alice", time.Now())
		err := f.in(func(tx pgx.Tx) error { return f.table.Insert(t.Context(), tx, &s, document.Write{}) })
		if !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v, want an invalid error", name, err)
		}
	}
	for _, key := range []request.Key{{Namespace: "foo", Name: "a\x00"}, {Namespace: "\xff", Name: "a"}} {
		if _, err := f.table.Get(t.Context(), f.db.Pool, key); !errs.Is(err, errs.NotFound) {
			t.Errorf("key %q: %v, want not found", key, err)
		}
	}
}

func TestListPagesThroughAllDocumentsInOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var want []string
	for _, namespace := range []string{"bar", "foo"} {
		for i := range 25 {
			labels := map[string]string{"even": fmt.Sprint(i%2 == 0)}
			want = append(want, f.insert(namespace, fmt.Sprintf("n%02d", i), labels).Key())
		}
	}
	for name, tc := range map[string]struct {
		query request.List
		want  []string
	}{
		"everything":     {request.List{Limit: 7}, want},
		"one page":       {request.List{Limit: 1000}, want},
		"exactly a page": {request.List{Limit: 50}, want},
		"a namespace":    {request.List{Limit: 10, Namespace: "foo"}, want[25:]},
		"a selector":     {request.List{Limit: 5, Namespace: "bar", LabelSelector: "even=false"}, odd(want[:25])},
		"nothing":        {request.List{Limit: 5, Namespace: "none"}, nil},
	} {
		if diff := cmp.Diff(tc.want, f.pages(tc.query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func odd(list []string) []string {
	var out []string
	for i := 1; i < len(list); i += 2 {
		out = append(out, list[i])
	}
	return out
}

// pages reads a list to its end and returns the keys.
func (f fixture) pages(q request.List) []string {
	f.Helper()
	var keys []string
	for {
		page, err := f.table.List(f.Context(), f.db.Pool, q)
		if err != nil {
			f.Fatal(err)
		}
		if len(page.Items) > q.Limit || page.Items == nil || page.Continue != "" && len(page.Items) == 0 {
			f.Fatalf("a page of %d items, continue %q", len(page.Items), page.Continue)
		}
		for _, s := range page.Items {
			keys = append(keys, s.Key())
		}
		if q.Continue = page.Continue; q.Continue == "" {
			return keys
		}
	}
}

func TestAPageEndsBeforeItGrowsTooLarge(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	large := fmt.Sprintf(`{"kind":"ConfigMap","data":{"x":%q}}`, strings.Repeat("x", 3<<20-500))
	for i := range 5 {
		f.insert("foo", fmt.Sprintf("n%d", i), nil, large)
	}
	page, err := f.table.List(t.Context(), f.db.Pool, request.List{Limit: 100})
	if err != nil || len(page.Items) != 2 || page.Continue == "" {
		t.Errorf("%d items, continue %q, %v, want two of 3 MiB", len(page.Items), page.Continue, err)
	}
	if n := len(f.pages(request.List{Limit: 100})); n != 5 {
		t.Errorf("%d documents in all pages, want 5", n)
	}
}

func TestListRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, q := range map[string]request.List{
		"selector":       {Limit: 1, LabelSelector: "a in b"},
		"token":          {Limit: 1, Continue: "x"},
		"token with NUL": {Limit: 1, Continue: "WyJcdTAwMDAiLCJhIl0"},
		"namespace":      {Limit: 1, Namespace: "a\x00"},
	} {
		if _, err := f.table.List(t.Context(), f.db.Pool, q); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v, want an invalid error", name, err)
		}
	}
}
