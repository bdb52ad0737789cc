package postgres_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// secret applies the event of a secret's write in namespace "ns": a new one where s has no uid yet.
func (w *world) secret(t *testing.T, s *v1.Secret, version int64) postgres.Applied {
	t.Helper()
	operation := outbox.Updated
	if s.UID == "" {
		operation, s.UID = outbox.Created, uuid.NewString()
		w.names[s.UID] = s.Name
	}
	s.Namespace, s.Type, s.DataVersion, s.ResourceVersion = "ns", "Opaque", version, w.nextVersion()
	s.Generation++
	return w.page(t, w.event(t, postgres.SyncSets, v1.ResourceSecrets, operation, s.Metadata, *s))
}

func (w *world) dropSecret(t *testing.T, s v1.Secret) {
	t.Helper()
	s.ResourceVersion = w.nextVersion()
	w.page(t, w.event(t, postgres.SyncSets, v1.ResourceSecrets, outbox.Deleted, s.Metadata, s))
}

func (w *world) page(t *testing.T, events ...outbox.Event) postgres.Applied {
	t.Helper()
	done, err := w.ApplyPage(t.Context(), postgres.SyncSets, outbox.Page{Items: events})
	check(t, err)
	return done
}

// arrive stores values of a secret as the fetcher does.
func (w *world) arrive(t *testing.T, s v1.Secret, version int64) postgres.Applied {
	t.Helper()
	done, err := w.StoreSealed(t.Context(), postgres.SecretData, s.UID, version, "k", fmt.Appendf(nil, "sealed %d", version))
	check(t, err)
	return done
}

// copies has a set copy secrets of these names of namespace "ns", or "namespace/name" as it stands.
func copies(refs ...v1.NamespacedName) func(*v1.SelectorSyncSet) {
	return func(s *v1.SelectorSyncSet) {
		s.SecretMappings, s.EnableResourceTemplates = nil, true
		for _, ref := range refs {
			s.SecretMappings = append(s.SecretMappings, v1.SecretMapping{SourceRef: ref, TargetRef: v1.NamespacedName{Namespace: "default", Name: "copy"}})
		}
	}
}

func encoded(t *testing.T, document any) []byte {
	t.Helper()
	text, err := json.Marshal(document)
	check(t, err)
	return text
}

func in(namespace, name string) v1.NamespacedName {
	return v1.NamespacedName{Namespace: namespace, Name: name}
}

// load reads a cluster as a run does.
func (w *world) load(t *testing.T, c v1.Cluster) work.Snapshot {
	t.Helper()
	snap, err := w.Load(t.Context(), work.Claim{ClusterUID: c.UID}, func(string, int64) bool { return true })
	check(t, err)
	return snap
}

func loaded(s work.Snapshot) []string {
	found := []string{}
	for key, secret := range s.Secrets {
		found = append(found, fmt.Sprintf("%s/%s %d/%d %s", key.Namespace, key.Name, secret.Version, secret.Wanted, secret.Sealed))
	}
	slices.Sort(found)
	return found
}

func TestEveryChangeOfASecretMarksTheClustersOfTheSetsThatCopyIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register(t, "c", labels("env", "prod"))
	w.register(t, "other", labels("env", "test"))
	w.write(t, "s", func(s *v1.SelectorSyncSet) { selects("env", "prod")(s); copies(in("ns", "x"))(s) })
	w.fanOut(t, 0)
	w.settled(t)
	want(t, "a mapping may come before its secret", loaded(w.load(t, c)), []string{})

	x, y := v1.Secret{}, v1.Secret{}
	x.Name, y.Name = "x", "y"
	done := w.secret(t, &x, 1)
	want(t, "created: wanted, and nobody is due before the values are here", []any{done.Wanted, done.Marked, w.due(t)}, []any{true, false, []string{}})
	want(t, "until then", loaded(w.load(t, c)), []string{"ns/x 0/1 "})
	w.arrive(t, x, 1)
	want(t, "arrived", w.due(t), []string{"c"})
	want(t, "arrived", loaded(w.load(t, c)), []string{"ns/x 1/1 sealed 1"})

	w.settled(t)
	w.secret(t, &y, 1)
	w.arrive(t, y, 1)
	want(t, "another secret", w.due(t), []string{})

	x.Labels = labels("a", "b")
	done = w.secret(t, &x, 1)
	want(t, "labels", []any{done.Wanted, done.Marked, w.due(t)}, []any{false, true, []string{"c"}})
	want(t, "labels are carried over", w.load(t, c).Secrets[in("ns", "x")].Labels, labels("a", "b"))

	w.settled(t)
	w.exec(t, "UPDATE reconciler.cluster_sets SET result = 'Failure', attempts = 9, retry_at = now() + interval '1 hour'")
	w.secret(t, &x, 2)
	want(t, "rotated", loaded(w.load(t, c)), []string{"ns/x 1/2 sealed 1"})
	w.arrive(t, x, 2)
	want(t, "rotated", w.due(t), []string{"c"})
	want(t, "rotated", loaded(w.load(t, c)), []string{"ns/x 2/2 sealed 2"})
	want(t, "backoffs that go on", w.count(t, "SELECT count(*) FROM reconciler.cluster_sets WHERE retry_at IS NOT NULL OR attempts > 0"), 0)

	w.settled(t)
	w.arrive(t, x, 2)
	w.arrive(t, x, 1)
	want(t, "the same and older values", w.due(t), []string{})
	w.dropSecret(t, x)
	want(t, "deleted", w.due(t), []string{"c"})
	want(t, "deleted", loaded(w.load(t, c)), []string{})
	want(t, "removals", w.removals(t), []string{})
	want(t, "values", w.count(t, "SELECT count(*) FROM reconciler.secret_data WHERE secret_uid = $1", x.UID), 0)

	w.settled(t)
	again := v1.Secret{}
	again.Name = "x"
	w.secret(t, &again, 1)
	w.arrive(t, again, 1)
	want(t, "created anew", w.due(t), []string{"c"})
}

func TestOldEventsOfASecretChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t, "c", nil)
	w.write(t, "s", copies(in("ns", "x")))
	w.fanOut(t, 0)
	x := v1.Secret{}
	x.Name = "x"
	w.secret(t, &x, 1)
	w.arrive(t, x, 1)
	older := x
	w.secret(t, &x, 1)
	w.settled(t)
	w.page(t, w.event(t, postgres.SyncSets, v1.ResourceSecrets, outbox.Updated, older.Metadata, older))
	w.page(t, w.event(t, postgres.SyncSets, v1.ResourceSecrets, outbox.Deleted, older.Metadata, older))
	want(t, "due", w.due(t), []string{})
	want(t, "secrets", w.count(t, "SELECT count(*) FROM reconciler.secrets"), 1)
}

func TestATemplatedSourceDependsOnAnySecretAndLoadsTheOneItNames(t *testing.T) {
	t.Parallel()
	for name, ref := range map[string]v1.NamespacedName{
		"the name":      in("ns", "{{ clusterName }}-tls"),
		"the namespace": in(`{{ fromClusterLabel "home" }}`, "c1-tls"),
		"both":          in(`{{ fromClusterLabel "home" }}`, "{{ clusterName }}-tls"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c1, c2 := w.register(t, "c1", labels("home", "ns")), w.register(t, "c2", labels("home", "elsewhere"))
			w.write(t, "s", copies(ref, in("ns", `{{ fromClusterLabel "missing" }}`)))
			w.fanOut(t, 0)
			var x, other v1.Secret
			x.Name, other.Name = "c1-tls", "c9-tls"
			for _, s := range []*v1.Secret{&x, &other} {
				w.secret(t, s, 1)
				w.settled(t)
				w.arrive(t, *s, 1)
				want(t, "due when "+s.Name+" arrives", w.due(t), []string{"c1", "c2"})
			}
			want(t, "what c1 copies", loaded(w.load(t, c1)), []string{"ns/c1-tls 1/1 sealed 1"})
			want(t, "what c2 copies", loaded(w.load(t, c2)), []string{})
		})
	}
}

func TestManyClustersAreMarkedByAFanOutOfTheSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.WithChunk(60))
	const clusters = 130
	w.exec(t, `INSERT INTO reconciler.clusters (uid, namespace, name, generation, resource_version, document)
SELECT gen_random_uuid(), 'ns', 'c' || n, 1, 1, '{}' FROM generate_series(1, $1) n`, clusters)
	w.write(t, "s", copies(in("ns", "x")))
	w.fanOut(t, 0)
	x := v1.Secret{}
	x.Name = "x"
	w.secret(t, &x, 1)
	w.settled(t)
	done := w.arrive(t, x, 1)
	want(t, "done", done, postgres.Applied{FanOuts: 1})
	want(t, "due before the first chunk", len(w.due(t)), 0)
	x.Labels = labels("a", "b")
	w.secret(t, &x, 1)
	want(t, "fan-outs that have been nowhere yet", w.count(t, "SELECT count(*) FROM reconciler.fanouts"), 1)
	w.exec(t, "UPDATE reconciler.cluster_sets SET result = 'Failure', attempts = 9, retry_at = now() + interval '1 hour'")
	w.fanOut(t, 1)
	if n := len(w.due(t)); n == 0 || n == clusters {
		t.Errorf("%d clusters are due after the first chunk", n)
	}
	w.secret(t, &x, 1)
	want(t, "one more, as the first has been somewhere", w.count(t, "SELECT count(*) FROM reconciler.fanouts"), 2)
	w.fanOut(t, 0)
	want(t, "due in the end", len(w.due(t)), clusters)
	want(t, "backoffs that go on", w.count(t, "SELECT count(*) FROM reconciler.cluster_sets WHERE retry_at IS NOT NULL OR attempts > 0"), 0)
	want(t, "targets that changed", w.count(t, "SELECT count(*) FROM reconciler.cluster_sets WHERE target_generation <> 1"), 0)
	want(t, "removals", w.removals(t), []string{})
}

func TestWhatASetCopiesFollowsTheGenerationsInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register(t, "c", nil)
	noted := func() []string {
		return w.strings(t, "SELECT namespace || '/' || name FROM reconciler.set_secrets ORDER BY 1")
	}
	for _, name := range []string{"x", "y"} {
		s := v1.Secret{}
		s.Name = name
		w.secret(t, &s, 1)
		w.arrive(t, s, 1)
	}
	w.write(t, "s", copies(in("ns", "x")))
	w.fanOut(t, 0)
	w.write(t, "s", copies(in("ns", "y"), in("ns", "y")))
	want(t, "before the fan-out", noted(), []string{"ns/x", "ns/y"})
	want(t, "the generation to apply copies", loaded(w.load(t, c)), []string{"ns/x 1/1 sealed 1"})
	w.fanOut(t, 0)
	want(t, "after it", noted(), []string{"ns/y"})
	want(t, "the generation to apply copies", loaded(w.load(t, c)), []string{"ns/y 1/1 sealed 1"})
	w.write(t, "s", copies())
	w.fanOut(t, 0)
	want(t, "without mappings", noted(), []string{})
	if s := w.load(t, c).Secrets; s != nil {
		t.Errorf("secrets are loaded for nobody: %v", s)
	}
}

func TestAResyncOfSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register(t, "c", nil)
	set := w.write(t, "s", copies(in("ns", "x"), in("ns", "gone")))
	w.fanOut(t, 0)
	var x, gone v1.Secret
	x.Name, gone.Name = "x", "gone"
	for _, s := range []*v1.Secret{&x, &gone} {
		w.secret(t, s, 1)
		w.arrive(t, *s, 1)
	}
	w.exec(t, `INSERT INTO reconciler.inventory (cluster_uid, target_id, api_group, kind, namespace, name, set_uid, set_generation, item,
	version, resource, state, object_uid) VALUES ($1, 'target', '', 'Secret', 'default', 'copy', $2, 1, 0, 'v1', 'secrets', 'Applied', 'u')`,
		c.UID, set.UID)
	w.settled(t)
	list := func(at int64, secrets ...v1.Secret) (postgres.Resynced, error) {
		r, err := w.BeginResync(t.Context(), postgres.SyncSets)
		check(t, err)
		defer r.Close(t.Context())
		check(t, r.Stage(t.Context(), []postgres.Listed{{Resource: v1.ResourceSelectorSyncSets, Document: encoded(t, set)}}))
		for _, s := range secrets {
			check(t, r.Stage(t.Context(), []postgres.Listed{{Resource: v1.ResourceSecrets, Document: encoded(t, s)}}))
		}
		return r.Apply(t.Context(), outbox.Revision{Epoch: "e", N: at}, outbox.Revision{})
	}
	done, err := list(20, x, gone)
	check(t, err)
	w.fanOut(t, 0)
	want(t, "nothing new", done, postgres.Resynced{})
	want(t, "nothing new", w.due(t), []string{})

	x.ResourceVersion, x.DataVersion = w.nextVersion(), 2
	done, err = list(21, x)
	check(t, err)
	want(t, "a newer one, and one that is gone", done, postgres.Resynced{Listed: 1, Written: 1, Dropped: 1})
	want(t, "due because one is gone", w.due(t), []string{"c"})
	want(t, "known", loaded(w.load(t, c)), []string{"ns/x 1/2 sealed 1"})
	w.fanOut(t, 0)
	want(t, "absence deletes nothing", w.removals(t), []string{})
	want(t, "the set's targets", w.targets(t), []string{"c s 1"})
}

func TestAbsentSecretsAndSetsAreCountedApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secrets := []any{}
	for i := range 100 {
		s := v1.Secret{}
		s.Name = fmt.Sprintf("x%d", i)
		w.secret(t, &s, 1)
		secrets = append(secrets, s)
	}
	for i := range 6 {
		w.write(t, fmt.Sprintf("s%d", i), nil)
	}
	_, err := w.resync(t, postgres.SyncSets, outbox.Revision{Epoch: "e", N: 999}, outbox.Revision{}, secrets...)
	if !errs.Is(err, errs.Conflict) {
		t.Errorf("six of six sets are missing beside a hundred secrets: %v, want a conflict", err)
	}
	want(t, "sets", w.count(t, "SELECT count(*) FROM reconciler.sets WHERE deleted_at IS NULL"), 6)
}

// Kubeconfigs and values of secrets are wanted and put off each for itself.
func TestWantedValuesAreReservedAndPutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register(t, "c", nil)
	x := v1.Secret{}
	x.Name = "x"
	w.secret(t, &x, 3)
	for kind, wanted := range map[postgres.Sealed]postgres.Wanted{
		postgres.Kubeconfigs: {UID: c.UID, Version: 1}, postgres.SecretData: {UID: x.UID, Version: 3},
	} {
		got, err := w.Wanted(t.Context(), kind, 10, time.Hour)
		check(t, err)
		want(t, "wanted", got, []postgres.Wanted{wanted})
		got, err = w.Wanted(t.Context(), kind, 10, time.Hour)
		check(t, err)
		want(t, "reserved", len(got), 0)
		check(t, w.RetrySealed(t.Context(), kind, wanted.UID, 0))
		got, err = w.Wanted(t.Context(), kind, 10, time.Hour)
		check(t, err)
		wanted.Attempts = 1
		want(t, "after a failure", got, []postgres.Wanted{wanted})
	}
	w.arrive(t, x, 3)
	ids, err := w.SealKeys(t.Context())
	check(t, err)
	want(t, "keys in use", ids, []string{"k"})
}
