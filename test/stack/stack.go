// Package stack runs the three services as real processes on real parts, for end-to-end tests and benchmarks. A test says how many
// replicas it wants and gets their addresses, and can stop, kill, pause and restart each process.
//
//	test ── HTTP ──> clusters, syncsets, reconciler (processes) ──> Postgres, RabbitMQ (devstack)
//	                                            └── HTTPS ──> Proxy (records, holds) ──> kube-apiserver (devstack)
package stack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/seal"
)

// Options choose what Start runs. The zero value is one replica of each service.
type Options struct {
	Clusters, Syncsets, Reconcilers int
	// Env is added to the environment of every service, ReconcilerEnv to the reconciler's only.
	Env, ReconcilerEnv map[string]string
	// Gated puts a Gate before Postgres and one before RabbitMQ.
	Gated bool
	// Lazy starts no process: the test starts them one by one.
	Lazy bool
}

// Stack is one private system. Fields are slices of replicas.
type Stack struct {
	PG         *devstack.PG
	Rabbit     *devstack.Rabbit
	Clusters   []*Process
	Syncsets   []*Process
	Reconciler []*Process

	// PGGate and RabbitGate are there when Options.Gated asked for them.
	PGGate, RabbitGate *Gate

	t        testing.TB
	dir      string
	token    string
	pgURL    string
	amqpURL  string
	sealKeys map[string]string
	options  Options
}

// Start brings the parts up, migrates and starts the services, and waits until they are ready. All goes with the test.
func Start(t testing.TB, o Options) *Stack {
	t.Helper()
	s := &Stack{
		PG: devstack.Postgres(t, "clusters", "syncsets", "reconciler"), Rabbit: devstack.RabbitMQ(t),
		t: t, dir: t.TempDir(), token: secret(t), options: o,
		sealKeys: map[string]string{"clusters": seal.Generate(), "syncsets": seal.Generate(), "reconciler": seal.Generate()},
	}
	s.pgURL, s.amqpURL = s.PG.Params, s.Rabbit.URL
	if o.Gated {
		s.PGGate, s.pgURL = NewGate(t, s.PG.Params)
		s.RabbitGate, s.amqpURL = NewGate(t, s.Rabbit.URL)
	}
	for range max(1, o.Clusters) {
		s.Clusters = append(s.Clusters, s.process("clusters"))
	}
	for range max(1, o.Syncsets) {
		s.Syncsets = append(s.Syncsets, s.process("syncsets"))
	}
	for range max(1, o.Reconcilers) {
		s.Reconciler = append(s.Reconciler, s.process("reconciler"))
	}
	s.newInstallation()
	t.Cleanup(s.stop)
	if !o.Lazy {
		s.StartAll()
	}
	return s
}

// newInstallation gives the database an identity of its own: test databases are copies of one template.
func (s *Stack) newInstallation() {
	s.t.Helper()
	if _, err := s.PG.Pool.Exec(s.t.Context(), "UPDATE clusters.installation SET id = gen_random_uuid()"); err != nil {
		s.t.Fatal(err)
	}
}

// StartAll starts every process and waits until all are ready.
func (s *Stack) StartAll() {
	s.t.Helper()
	for _, p := range s.All() {
		p.Start()
	}
	for _, p := range s.All() {
		p.WaitReady(60 * time.Second)
	}
}

// All returns every process.
func (s *Stack) All() []*Process {
	var all []*Process
	all = append(all, s.Clusters...)
	all = append(all, s.Syncsets...)
	return append(all, s.Reconciler...)
}

func (s *Stack) stop() {
	for _, p := range s.All() {
		p.Stop(15 * time.Second)
	}
	if s.t.Failed() {
		for _, p := range s.All() {
			s.t.Logf("the end of %s's log (%s):\n%s", p.Name, p.LogFile, tail(p.LogFile, 60))
		}
	}
}

func (s *Stack) process(service string) *Process {
	n := 0
	for _, p := range s.All() {
		if p.Service == service {
			n++
		}
	}
	p := &Process{
		Name: fmt.Sprintf("%s-%d", service, n), Service: service, t: s.t,
		Public: freeAddr(s.t), Admin: freeAddr(s.t), Internal: freeAddr(s.t),
		binary: Binary(s.t, service), env: map[string]string{},
	}
	p.LogFile = filepath.Join(s.dir, p.Name+".log")
	maps.Copy(p.env, s.environment(p))
	maps.Copy(p.env, s.options.Env)
	if service == "reconciler" {
		maps.Copy(p.env, s.options.ReconcilerEnv)
	}
	return p
}

func (s *Stack) environment(p *Process) map[string]string {
	env := map[string]string{
		"POSTGRES_PARAMS": s.pgURL, "AMQP_URL": s.amqpURL, "AMQP_PREFIX": s.Rabbit.Prefix,
		"LISTEN_ADDR": p.Public, "ADMIN_ADDR": p.Admin, "INTERNAL_ADDR": p.Internal, "INTERNAL_TOKEN": s.token,
		"AUTH": "none", "MIGRATE": "auto", "SEAL_KEYS": s.sealKeys[p.Service], "LOG_LEVEL": "debug",
		"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none",
	}
	if p.Service != "clusters" {
		env["CLUSTERS_INTERNAL_URL"] = "http://" + s.Clusters[0].Internal
	}
	if p.Service == "reconciler" {
		env["SYNCSETS_INTERNAL_URL"] = "http://" + s.Syncsets[0].Internal
		env["CLUSTERS_URL"] = "http://" + s.Clusters[0].Public
		env["SYNCSETS_URL"] = "http://" + s.Syncsets[0].Public
		env["ALLOW_LOOPBACK_TARGETS"] = "true"
		env["ALLOW_INSECURE_TARGETS"] = "true"
		env["SHARED_TARGETS"] = "allow"
	}
	return env
}

// Wait asks ok every 20 ms until it says yes, and fails the test with what ok said last when it has not within limit.
func Wait(t testing.TB, limit time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		done, last := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s; last seen: %s", what, limit, last)
		}
		pause(20 * time.Millisecond)
	}
}

// pause waits between two looks at a condition.
func pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

func secret(t testing.TB) string {
	t.Helper()
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

func freeAddr(t testing.TB) string {
	t.Helper()
	address, err := devstack.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func tail(file string, lines int) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// answers reports whether the admin listener at addr answers 200 on path.
func answers(addr, path string) (bool, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return false, err.Error()
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return false, err.Error()
	}
	return res.StatusCode == http.StatusOK, res.Status + ": " + strings.TrimSpace(string(body))
}
