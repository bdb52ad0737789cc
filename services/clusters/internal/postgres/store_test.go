package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/syncsets/syncsets/libs/api/metadata"
	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/seal"
	"github.com/syncsets/syncsets/services/clusters/internal/cluster"
	"github.com/syncsets/syncsets/services/clusters/internal/postgres"
)

func TestMain(m *testing.M) { devstack.Main(m) }

// system is a store with what tests look at beside it.
type system struct {
	*postgres.Store
	pg    *devstack.PG
	keys  *seal.Keys
	mu    sync.Mutex
	wakes int
}

func newSystem(t *testing.T) *system {
	t.Helper()
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	s := &system{pg: devstack.Postgres(t, postgres.Schema), keys: keys}
	s.Store, err = postgres.Open(t.Context(), s.pg.Pool, keys, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wakes++
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *system) count(t *testing.T, sql string, args ...any) int {
	t.Helper()
	var n int
	if err := s.pg.Pool.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func document(namespace, name string, labels map[string]string) v1.Cluster {
	c := v1.Cluster{Metadata: v1.Metadata{Namespace: namespace, Name: name, Labels: labels}}
	metadata.Begin(&c.Metadata, v1.KindCluster, "alice", time.Now())
	text := "kubeconfig of " + name
	c.Kubeconfig, c.KubeconfigVersion = &text, 1
	return c
}

func keyOf(c v1.Cluster) request.Key { return request.Key{Namespace: c.Namespace, Name: c.Name} }

// always decides for next whatever is stored.
func always(next *v1.Cluster) cluster.Decide {
	return func(*v1.Cluster) (*v1.Cluster, error) { return next, nil }
}

func (s *system) create(t *testing.T, c v1.Cluster) v1.Cluster {
	t.Helper()
	stored, err := s.Change(t.Context(), keyOf(c), cluster.Write{Actor: "alice"}, always(&c))
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func TestACreatedClusterIsReadBackWithoutItsKubeconfig(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	stored := s.create(t, document("foo", "one", map[string]string{"env": "prod"}))
	if stored.Kubeconfig != nil || stored.ResourceVersion == "" {
		t.Errorf("stored with kubeconfig %v and resourceVersion %q", stored.Kubeconfig, stored.ResourceVersion)
	}
	read, err := s.Get(t.Context(), keyOf(stored))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(stored, read); diff != "" {
		t.Errorf("read differs from stored (-stored +read):\n%s", diff)
	}
	for _, table := range []string{"clusters", "revisions", "outbox"} {
		if n := s.count(t, "SELECT count(*) FROM clusters."+table+" WHERE document::text LIKE '%kubeconfig of%'"); n != 0 {
			t.Errorf("table %s shows the kubeconfig", table)
		}
	}
}

func TestAWriteLeavesDocumentHistoryAndEvent(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	first := s.create(t, document("foo", "one", map[string]string{"env": "prod"}))
	next := first
	next.Labels, next.Suspended = map[string]string{"env": "test"}, true
	metadata.Continue(&next.Metadata, first.Metadata, true, "bob", time.Now())
	second, err := s.Change(t.Context(), keyOf(first), cluster.Write{Actor: "bob"}, always(&next))
	if err != nil {
		t.Fatal(err)
	}
	if metadata.Version(second.Metadata) <= metadata.Version(first.Metadata) {
		t.Errorf("resourceVersion went from %s to %s", first.ResourceVersion, second.ResourceVersion)
	}
	if _, err := s.Change(t.Context(), keyOf(first), cluster.Write{Actor: "carol"}, always(nil)); err != nil {
		t.Fatal(err)
	}
	type event struct {
		Operation, Actor  string
		Generation        int64
		Previous, Current string
	}
	rows, err := s.pg.Pool.Query(t.Context(), `SELECT operation, actor, generation, coalesce(previous_labels ->> 'env', ''),
		document -> 'labels' ->> 'env' FROM clusters.outbox ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	var got []event
	for rows.Next() {
		var e event
		if err := rows.Scan(&e.Operation, &e.Actor, &e.Generation, &e.Previous, &e.Current); err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	want := []event{{"created", "alice", 1, "", "prod"}, {"updated", "bob", 2, "prod", "test"}, {"deleted", "carol", 2, "test", "test"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if n := s.count(t, "SELECT count(*) FROM clusters.kubeconfigs"); n != 0 {
		t.Errorf("%d kubeconfigs outlive their cluster", n)
	}
	if s.wakes != 3 {
		t.Errorf("the relay was woken %d times, not 3", s.wakes)
	}
}

func TestTheHistoryKeepsTenGenerations(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	stored := s.create(t, document("foo", "one", nil))
	for range 12 {
		next := stored
		metadata.Continue(&next.Metadata, stored.Metadata, true, "alice", time.Now())
		var err error
		if stored, err = s.Change(t.Context(), keyOf(stored), cluster.Write{Actor: "alice"}, always(&next)); err != nil {
			t.Fatal(err)
		}
	}
	n, oldest := s.count(t, "SELECT count(*) FROM clusters.revisions"), s.count(t, "SELECT min(generation) FROM clusters.revisions")
	if n != 10 || oldest != 4 {
		t.Errorf("%d generations from %d on, not 10 from 4 on", n, oldest)
	}
}

func TestARefusedChangeLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	refusal := errs.New(errs.Precondition, "no")
	_, err := s.Change(t.Context(), request.Key{Namespace: "foo", Name: "one"}, cluster.Write{Actor: "alice"},
		func(*v1.Cluster) (*v1.Cluster, error) { return nil, refusal })
	if !errors.Is(err, refusal) {
		t.Errorf("got %v, not the refusal", err)
	}
	if n := s.count(t, "SELECT count(*) FROM clusters.outbox"); n != 0 || s.wakes != 0 {
		t.Errorf("%d events and %d wake-ups after a refusal", n, s.wakes)
	}
}

func TestConcurrentCreatorsOfOneNameAreSerialised(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	taken := errs.New(errs.Conflict, "taken")
	outcomes := make(chan error, 8)
	for i := range 8 {
		go func() {
			c := document("foo", "one", map[string]string{"writer": fmt.Sprint(i)})
			_, err := s.Change(context.WithoutCancel(t.Context()), keyOf(c), cluster.Write{Actor: "alice"}, func(stored *v1.Cluster) (*v1.Cluster, error) {
				if stored != nil {
					return nil, taken
				}
				return &c, nil
			})
			outcomes <- err
		}()
	}
	won := 0
	for range 8 {
		switch err := <-outcomes; {
		case err == nil:
			won++
		case !errors.Is(err, taken):
			t.Errorf("a loser got %v", err)
		}
	}
	if events := s.count(t, "SELECT count(*) FROM clusters.outbox"); won != 1 || events != 1 {
		t.Errorf("%d winners and %d events, not one each", won, events)
	}
}

func TestAKubeconfigComesBackAsItWasSealed(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	stored := s.create(t, document("foo", "one", nil))
	got, err := s.Kubeconfig(t.Context(), stored.UID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cluster.Credential{Version: 1, Kubeconfig: "kubeconfig of one"}, got); diff != "" {
		t.Errorf("kubeconfig (-want +got):\n%s", diff)
	}
	if n := s.count(t, "SELECT count(*) FROM clusters.kubeconfigs WHERE position('kubeconfig of' IN encode(sealed, 'escape')) > 0"); n != 0 {
		t.Error("the kubeconfig is stored in the clear")
	}
	for _, uid := range []string{uuid.NewString(), "nonsense", ""} {
		if _, err := s.Kubeconfig(t.Context(), uid); !errs.Is(err, errs.NotFound) {
			t.Errorf("kubeconfig of uid %q: %v, not NotFound", uid, err)
		}
	}
}

func TestASealedKubeconfigOpensOnlyForItsOwnCluster(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	one, two := s.create(t, document("foo", "one", nil)), s.create(t, document("foo", "two", nil))
	_, err := s.pg.Pool.Exec(t.Context(), `UPDATE clusters.kubeconfigs k SET sealed = o.sealed FROM clusters.kubeconfigs o
		WHERE k.cluster_uid = $1 AND o.cluster_uid = $2`, one.UID, two.UID)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Kubeconfig(t.Context(), one.UID); err == nil {
		t.Errorf("the other cluster's kubeconfig opened: version %d", got.Version)
	}
}

func TestAStoreDoesNotOpenWithoutAKeyInUse(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.create(t, document("foo", "one", nil))
	other, err := seal.Parse(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	_, err = postgres.Open(t.Context(), s.pg.Pool, other, func() {})
	if !errs.Is(err, errs.Invalid) {
		t.Errorf("opened without the key in use: %v", err)
	}
}

func TestListsArePagedByKeyAndFilteredByLabels(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	for _, namespace := range []string{"b", "a"} {
		for i := range 4 {
			s.create(t, document(namespace, fmt.Sprintf("c%d", i), map[string]string{"parity": []string{"even", "odd"}[i%2]}))
		}
	}
	tests := map[string]struct {
		query request.List
		want  []string
	}{
		"everything, in the order of namespace and name": {
			request.List{Limit: 3}, []string{"a/c0", "a/c1", "a/c2", "a/c3", "b/c0", "b/c1", "b/c2", "b/c3"},
		},
		"one namespace":             {request.List{Limit: 3, Namespace: "b"}, []string{"b/c0", "b/c1", "b/c2", "b/c3"}},
		"a label":                   {request.List{Limit: 1, LabelSelector: "parity=odd"}, []string{"a/c1", "a/c3", "b/c1", "b/c3"}},
		"a label in one namespace":  {request.List{Limit: 9, LabelSelector: "parity!=odd", Namespace: "a"}, []string{"a/c0", "a/c2"}},
		"nothing that matches":      {request.List{Limit: 9, LabelSelector: "nothing"}, nil},
		"a namespace without any":   {request.List{Limit: 9, Namespace: "c"}, nil},
		"exactly one page, no more": {request.List{Limit: 8}, []string{"a/c0", "a/c1", "a/c2", "a/c3", "b/c0", "b/c1", "b/c2", "b/c3"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for q := test.query; ; {
				page, err := s.List(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if len(page.Items) > q.Limit {
					t.Fatalf("%d items on a page of %d", len(page.Items), q.Limit)
				}
				for _, c := range page.Items {
					got = append(got, c.Key())
				}
				if q.Continue = page.Continue; q.Continue == "" {
					break
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNonsenseInAListIsInvalid(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	for name, q := range map[string]request.List{
		"a token that is none":      {Limit: 1, Continue: "nonsense"},
		"a selector that is none":   {Limit: 1, LabelSelector: "=="},
		"a namespace with U+0000":   {Limit: 1, Namespace: "\x00"},
		"a selector with bad value": {Limit: 1, LabelSelector: "a=b c"},
	} {
		if _, err := s.List(t.Context(), q); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v, not Invalid", name, err)
		}
	}
	if _, err := s.Feed(t.Context(), "", request.Feed{Since: "nonsense", Limit: 1}); !errs.Is(err, errs.Invalid) {
		t.Errorf("a revision that is none: %v, not Invalid", err)
	}
}
