package work_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// meddling is the real store, with something happening just before one of its writes.
type meddling struct {
	work.Store
	beforeIntents, beforeRecheck, beforeSettle func() error
	settled                                    chan error
}

func (m *meddling) WriteIntents(ctx context.Context, c work.Claim, want int64, target string, rows []inventory.Row) error {
	if m.beforeIntents != nil {
		if err := m.beforeIntents(); err != nil {
			return err
		}
	}
	return m.Store.WriteIntents(ctx, c, want, target, rows)
}

func (m *meddling) Recheck(ctx context.Context, c work.Claim, want int64, removals []string, lease time.Duration) error {
	if m.beforeRecheck != nil {
		if err := m.beforeRecheck(); err != nil {
			return err
		}
	}
	return m.Store.Recheck(ctx, c, want, removals, lease)
}

func (m *meddling) Settle(ctx context.Context, s work.Settlement) (due bool, err error) {
	if m.beforeSettle != nil {
		err = m.beforeSettle()
	}
	if err == nil {
		due, err = m.Store.Settle(ctx, s)
	}
	m.settled <- err
	return due, err
}

// meddle returns a pool over m.
func (s *system) meddle(m *meddling) *work.Pool {
	m.Store, m.settled = s.store, make(chan error, 1)
	return s.newPool(func(c *work.Config) { c.Store = m })
}

// takeOver does what a dispatcher does with a row whose lease has ended.
func (s *system) takeOver() {
	s.exec(`UPDATE reconciler.work SET state = 'queued', fence = fence + 1, takeover = true, full_apply = true WHERE cluster_uid = $1`, s.cluster)
	s.pool.RunCluster(s.t.Context(), s.cluster)
}

// eachBehavior runs a test with every way of writing objects.
func eachBehavior(t *testing.T, name string, test func(*testing.T, *system, options)) {
	for _, behavior := range []string{"Apply", "CreateOnly", "CreateOrUpdate"} {
		t.Run(name+" with "+behavior, func(t *testing.T) {
			t.Parallel()
			test(t, newSystem(t), options{"applyBehavior": behavior})
		})
	}
}

func TestAWorkerDiesBetweenTheApplyAndItsCommit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		before  bool // the object existed before us
		deleted bool // the set is deleted before the next run
		kept    bool
	}{
		{"the object that it made goes when the set is deleted", false, true, false},
		{"an object that existed before stays when the set is deleted", true, true, true},
		{"the next run goes on with what it made", false, false, true},
	} {
		eachBehavior(t, test.name, func(t *testing.T, s *system, o options) {
			if test.before {
				s.target.put("/api/v1/namespaces/"+s.ns+"/configmaps", s.configMap("a", "theirs"))
			}
			set := s.put("", "first", 1, o, s.configMap("a", "1"))
			dying := s.meddle(&meddling{beforeSettle: func() error { return errors.New("killed") }})
			s.offer()
			dying.RunCluster(t.Context(), s.cluster)
			expect(t, "the inventory of the dead worker", s.states(), "ConfigMap/a=Intent")
			value := "1"
			if test.before && o["applyBehavior"] == "CreateOnly" {
				value = "theirs"
			}
			expect(t, "the value", s.target.get(s.at("a")).Data["k"], value)
			if test.deleted {
				s.drop(set, "open")
			}
			s.takeOver()
			a := s.target.get(s.at("a"))
			if (a != nil) != test.kept {
				t.Fatalf("the object is there: %v, want %v", a != nil, test.kept)
			}
			if test.deleted {
				expect(t, "the inventory", s.states(), "")
				return
			}
			expect(t, "the result", s.result(set), "Success/: ")
			expect(t, "existed", s.text("SELECT existed FROM reconciler.inventory"), "false")
			expect(t, "one more full apply in a minute and a half", s.text(`SELECT full_at - now() BETWEEN interval '80 s' AND interval '90 s'
AND next_at = full_at FROM reconciler.work`), "true")
		})
	}
}

func TestAHolderWithAnOlderFenceWritesNothing(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	set := s.put("", "first", 1, nil, s.configMap("a", "1"))
	m := &meddling{beforeSettle: func() error {
		_, err := s.db.Exec(context.Background(), `UPDATE reconciler.work SET fence = fence + 1`)
		return err
	}}
	zombie := s.meddle(m)
	s.offer()
	zombie.RunCluster(t.Context(), s.cluster)
	if err := <-m.settled; !errs.Is(err, errs.Conflict) {
		t.Fatalf("settling under an older fence: %v, want a conflict", err)
	}
	expect(t, "the result", s.result(set), "Pending/Queued: ")
	expect(t, "the inventory", s.states(), "ConfigMap/a=Intent")
	expect(t, "the row", s.text("SELECT state FROM reconciler.work"), "running")
	s.takeOver()
	expect(t, "the result after the takeover", s.result(set), "Success/: ")
}

func TestAChangeDuringTheRunStopsIt(t *testing.T) {
	t.Parallel()
	moveOn := `UPDATE reconciler.work SET want = want + 1`
	for _, test := range []struct {
		name    string
		intents string // what happens before the intents
		recheck string // and before the deletions
		created bool
	}{
		{"a mark before the intents: nothing is applied", moveOn, "", false},
		{"a mark before the deletions: nothing is deleted", "", moveOn, true},
		{"a pause before the deletions: nothing is deleted", "", `UPDATE reconciler.planner SET paused_at = now()`, true},
		{"a hold before the deletions: nothing is deleted", "", `UPDATE reconciler.removals SET state = 'held'`, true},
	} {
		eachBehavior(t, test.name, func(t *testing.T, s *system, o options) {
			set := s.put("", "first", 1, o, s.configMap("old", "1"))
			s.run()
			s.put(set, "first", 2, o, s.configMap("new", "1"))
			s.remove(set, "open")
			m := &meddling{beforeIntents: s.happens(test.intents), beforeRecheck: s.happens(test.recheck)}
			pool := s.meddle(m)
			s.offer()
			pool.RunCluster(t.Context(), s.cluster)
			if err := <-m.settled; err != nil {
				t.Fatal(err)
			}
			if got := s.target.get(s.at("new")) != nil; got != test.created {
				t.Errorf("the new object is there: %v, want %v", got, test.created)
			}
			if s.target.get(s.at("old")) == nil {
				t.Error("the old object was deleted")
			}
			expect(t, "the row", s.text("SELECT state || (next_at <= now()) FROM reconciler.work"), "idletrue")
		})
	}
}

func TestSetsThatWaitLeaveRoomForTheOneThatBringsWhatTheyNeed(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	late := s.ns + "-late"
	var sets []string
	for n := range 5 {
		object := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m%d","namespace":%q}}`, n, late)
		sets = append(sets, s.put("", fmt.Sprintf("a%d", n), 1, nil, object))
	}
	sets = append(sets, s.put("", "z-brings", 1, nil, fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, late)))
	started := time.Now()
	s.run()
	for _, set := range sets {
		expect(t, "the result", s.result(set), "Success/: ")
	}
	if took := time.Since(started); took > 15*time.Second {
		t.Errorf("the run took %s", took)
	}
}

func TestNobodyWaitsForWhatARestingSetBrings(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	late := s.ns + "-late"
	waits := s.put("", "a", 1, nil, fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m","namespace":%q}}`, late))
	rests := s.put("", "b", 1, nil, fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, late))
	s.exec(`UPDATE reconciler.cluster_sets SET result = 'Failure', observed_generation = 1, retry_at = now() + interval '1 hour'
WHERE set_uid = $1`, rests)
	started := time.Now()
	s.fanOut()
	expect(t, "the result", strings.SplitN(s.result(waits), ":", 2)[0], "Failure/")
	if took := time.Since(started); took > 15*time.Second {
		t.Errorf("the run took %s", took)
	}
}

func TestASetThatWaitsForAKindActsInTheRunThatBringsIt(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	crd, widget, at := s.widgets()
	waits := s.put("", "a", 1, nil, widget)
	s.run()
	expect(t, "the result without the kind", strings.SplitN(s.result(waits), ":", 2)[0], "Failure/WaitingForKind")
	s.put("", "b", 1, nil, crd)
	s.fanOut()
	expect(t, "the result", s.result(waits), "Success/: ")
	if s.target.get(at) == nil {
		t.Error("the object did not arrive")
	}
}

func (s *system) happens(sql string) func() error {
	return func() error {
		if sql == "" {
			return nil
		}
		_, err := s.db.Exec(context.Background(), sql)
		return err
	}
}

func TestAnotherTargetBehindTheSameDocumentIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	set := s.put("", "first", 1, nil, s.configMap("a", "1"))
	s.exec(`INSERT INTO reconciler.clustersyncs (cluster_uid, target_id) VALUES ($1, 'another')`, s.cluster)
	s.run()
	expect(t, "the reason", s.reason(), "False/IdentityChanged")
	if s.target.get(s.at("a")) != nil {
		t.Error("written to")
	}
	expect(t, "the inventory", s.states(), "")
	if got := s.result(set); !strings.HasPrefix(got, "Pending/Unreachable: ") {
		t.Errorf("the result is %q", got)
	}
}

func TestATargetIsDrivenByOneDocument(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.run()
	expect(t, "the first document", s.reason(), "True/Reachable")
	first := s.cluster
	s.cluster = s.addCluster("two", s.kube.Kubeconfig)
	s.put("", "second", 1, nil, s.configMap("a", "1"))
	s.run()
	expect(t, "the second document", s.reason(), "False/DuplicateTarget")
	expect(t, "the message", s.text("SELECT message FROM reconciler.clustersyncs WHERE cluster_uid <> $1", first),
		"the target is already registered as foo/one")
	if s.target.get(s.at("a")) != nil {
		t.Error("driven by two")
	}
	s.pool = s.newPool(func(c *work.Config) { c.SharedTargets = true })
	s.run()
	expect(t, "the second document where sharing is allowed", s.reason(), "True/Reachable")
}

func TestWhyATargetCannotBeReached(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, reason string
		spoil        func(cluster, user map[string]any)
	}{
		{"nobody listens", "ConnectionRefused", server("https://127.0.0.1:1")},
		{"the name is not known", "DNSFailed", server("https://nowhere.invalid:6443")},
		{"the address is refused", "AddressDenied", server("https://169.254.169.254")},
		{"no kubeconfig that can be used", "InvalidKubeconfig", func(cluster, _ map[string]any) { delete(cluster, "server") }},
		{"another authority signed the certificate", "TLSFailed", func(cluster, _ map[string]any) {
			cluster["certificate-authority-data"] = base64.StdEncoding.EncodeToString([]byte(otherCA))
		}},
		{"the credential is not known", "Unauthorized", func(_, user map[string]any) {
			clear(user)
			user["token"] = "nobody"
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			set := s.put("", "first", 1, nil, s.configMap("a", "1"))
			s.exec(`UPDATE reconciler.credentials SET sealed = $1`, spoiled(t, s.kube.Kubeconfig, test.spoil))
			s.run()
			expect(t, "the reason", s.reason(), "False/"+test.reason)
			if got := s.result(set); !strings.HasPrefix(got, "Pending/Unreachable: ") {
				t.Errorf("the result is %q", got)
			}
			expect(t, "the rest", s.text(`SELECT attempts || ' ' || (next_at - now() BETWEEN interval '4 s' AND interval '7 s')
FROM reconciler.work`), "1 true")
			s.exec(`UPDATE reconciler.credentials SET sealed = $1, version = 2, wanted = 2`, []byte(s.kube.Kubeconfig))
			s.run()
			expect(t, "the reason after mending", s.reason(), "True/Reachable")
			expect(t, "the result after mending", s.result(set), "Success/: ")
		})
	}
}

func server(url string) func(cluster, user map[string]any) {
	return func(cluster, _ map[string]any) { cluster["server"] = url }
}

// spoiled returns a kubeconfig with changes in its only cluster and user.
func spoiled(t *testing.T, text string, spoil func(cluster, user map[string]any)) []byte {
	t.Helper()
	var config struct {
		APIVersion     string           `json:"apiVersion"`
		Kind           string           `json:"kind"`
		Clusters       []map[string]any `json:"clusters"`
		Users          []map[string]any `json:"users"`
		Contexts       []map[string]any `json:"contexts"`
		CurrentContext string           `json:"current-context"`
	}
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	spoil(config.Clusters[0]["cluster"].(map[string]any), config.Users[0]["user"].(map[string]any))
	out, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNothingIsWrittenBeforeItMayBe(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, stop, resume, result string }{
		{
			"while the kubeconfig has not arrived", `UPDATE reconciler.credentials SET wanted = 2`, `UPDATE reconciler.credentials SET wanted = 1`,
			"Pending/Unreachable: the kubeconfig has not arrived yet",
		},
		{
			"while the installation is paused", `UPDATE reconciler.planner SET paused_at = now()`, `UPDATE reconciler.planner SET paused_at = NULL`,
			"Pending/Paused: ",
		},
		{
			"while the cluster is suspended", `UPDATE reconciler.clusters SET document = document || '{"suspended": true}'`,
			`UPDATE reconciler.clusters SET document = document || '{"suspended": false}'`, "Suspended/Suspended: ",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			set := s.put("", "first", 1, nil, s.configMap("a", "1"))
			s.exec(test.stop)
			s.run()
			expect(t, "the result", s.result(set), test.result)
			if s.target.get(s.at("a")) != nil {
				t.Error("written to")
			}
			s.exec(test.resume)
			s.run()
			expect(t, "the result afterwards", s.result(set), "Success/: ")
		})
	}
}

// otherCA is the certificate of an authority that signed nothing.
const otherCA = `-----BEGIN CERTIFICATE-----
MIIBdjCCAR2gAwIBAgIUOG4t8yKAh5dvo+DilDgHBhdq43owCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFb3RoZXIwIBcNMjYxMTIyMTEyNzQ4WhgPMjEyNjEwMjkxMTI3
NDhaMBAxDjAMBgNVBAMMBW90aGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
uSUk9Xg0x7JxEVcjO/9BST/mNpyQa44R7eUTyHzPNPpSd1iDYToi8IYE8w6rN/VR
EIKcOZYzKk35Cq2Uj2i4hqNTMFEwHQYDVR0OBBYEFER8lETGuVqC0G/17lms+9co
gfW3MB8GA1UdIwQYMBaAFER8lETGuVqC0G/17lms+9cogfW3MA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgftzlvahBE2D0zdHfZRPoi6iwn9bVd/oi
c6RHtFph0PcCIDw/PDxxZ21gUHqgQ2ETs0TtFOtjfFio55pHliyiea71
-----END CERTIFICATE-----
`
