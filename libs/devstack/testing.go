package devstack

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// PG is a database for one test.
type PG struct {
	// Params is the superuser's URL of the database.
	Params string
	// Pool is connected to it; it is closed at cleanup.
	Pool *pgxpool.Pool
	// Server is nil unless the server is the test's own (NewPostgres).
	Server *Server
}

// Rabbit is a broker for one test.
type Rabbit struct {
	URL string
	// Prefix is unique per call; as AMQP_PREFIX it lets tests share a broker.
	Prefix string
	// Server is nil unless the broker is the test's own (NewRabbitMQ).
	Server *Server
}

// Kube is a control plane for one test. A shared one is shared with other tests: use namespaces of your own.
type Kube struct {
	// Kubeconfig is the YAML text for a cluster administrator, without file paths.
	Kubeconfig string
	// Host is the API server's URL.
	Host string
	// AuditLog is the path of the API server's JSON-lines audit log; "" when the cluster is an external one.
	AuditLog string
	// Server is nil unless the control plane is the test's own (NewKubernetes).
	Server *Server
}

// A KubeOption changes how NewKubernetes starts a control plane.
type KubeOption func(*KubernetesOptions)

// Within this time every server of a test has to be there. The first Kubernetes on a machine may have to be built.
const startWithin = 15 * time.Minute

// Postgres returns a fresh database with the migrations of the named schemas ("clusters", "syncsets", "reconciler"; none: empty),
// cloned from a template on the shared server. It is dropped at cleanup.
func Postgres(t testing.TB, schemas ...string) *PG {
	t.Helper()
	return database(t, sharedPostgres.get(t), schemas)
}

// NewPostgres is Postgres on a server of the test's own, to be killed, paused or restarted. Of o, Dir, Port and Fsync are used.
func NewPostgres(t testing.TB, o PostgresOptions, schemas ...string) *PG {
	t.Helper()
	server := own(t, func(ctx context.Context, s Setting) (*Server, error) {
		chosen := s.Postgres()
		chosen.Dir, chosen.Port, chosen.Fsync = o.Dir, o.Port, o.Fsync
		return StartPostgres(ctx, chosen)
	})
	pg := database(t, server, schemas)
	pg.Server = server
	return pg
}

// RabbitMQ returns the shared broker with a prefix for this test.
func RabbitMQ(t testing.TB) *Rabbit {
	t.Helper()
	return &Rabbit{URL: sharedRabbitMQ.get(t).URL, Prefix: unique("t") + "."}
}

// NewRabbitMQ starts a broker of the test's own, to be killed, paused or restarted. Of o, Dir, Port and Management are used.
func NewRabbitMQ(t testing.TB, o RabbitMQOptions) *Rabbit {
	t.Helper()
	server := own(t, func(ctx context.Context, s Setting) (*Server, error) {
		chosen := s.RabbitMQ()
		chosen.Dir, chosen.Port, chosen.Management = o.Dir, o.Port, o.Management
		return StartRabbitMQ(ctx, chosen)
	})
	return &Rabbit{URL: server.URL, Prefix: unique("t") + ".", Server: server}
}

// Kubernetes returns the shared control plane.
func Kubernetes(t testing.TB) *Kube {
	t.Helper()
	server := sharedKubernetes.get(t)
	return &Kube{Kubeconfig: server.Kubeconfig, Host: server.URL, AuditLog: server.AuditLog}
}

// NewKubernetes starts a control plane of the test's own, to be killed, paused, restarted or emptied.
func NewKubernetes(t testing.TB, opts ...KubeOption) *Kube {
	t.Helper()
	server := own(t, func(ctx context.Context, s Setting) (*Server, error) {
		o := s.Kubernetes()
		for _, option := range opts {
			option(&o)
		}
		return StartKubernetes(ctx, o)
	})
	return &Kube{Kubeconfig: server.Kubeconfig, Host: server.URL, AuditLog: server.AuditLog, Server: server}
}

// own starts a server for one test and stops it at cleanup.
func own(t testing.TB, start func(context.Context, Setting) (*Server, error)) *Server {
	t.Helper()
	s, err := setting()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	server, err := start(ctx, s.own())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, server) })
	return server
}

func stop(t testing.TB, server *Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := server.Stop(ctx); err != nil {
		t.Errorf("stop the server at %s: %v", server.URL, err)
	}
}

// A shared server is started on first use and lives until Main stops it or the process ends.
type shared struct {
	start func(s Setting, ctx context.Context) (*Server, error)

	once   sync.Once
	server *Server
	err    error
}

var (
	sharedPostgres   = &shared{start: Setting.startPostgres}
	sharedRabbitMQ   = &shared{start: Setting.startRabbitMQ}
	sharedKubernetes = &shared{start: Setting.startKubernetes}
)

func (s Setting) startPostgres(ctx context.Context) (*Server, error) {
	o := s.Postgres()
	if o.URL != "" {
		o.Way = External
	}
	return StartPostgres(ctx, o)
}

func (s Setting) startRabbitMQ(ctx context.Context) (*Server, error) {
	o := s.RabbitMQ()
	if o.URL != "" {
		o.Way = External
	}
	return StartRabbitMQ(ctx, o)
}

func (s Setting) startKubernetes(ctx context.Context) (*Server, error) {
	o := s.Kubernetes()
	if o.Kubeconfig != "" {
		o.Way = External
	}
	server, err := StartKubernetes(ctx, o)
	if err == nil && o.Way == External {
		server.AuditLog = s.Given.AuditLog
	}
	return server, err
}

func (s *shared) get(t testing.TB) *Server {
	t.Helper()
	s.once.Do(func() {
		asked, err := setting()
		if err != nil {
			s.err = err
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), startWithin)
		defer cancel()
		s.server, s.err = s.start(asked, ctx)
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server
}

// Main runs the tests of a package, stops what they started, and exits: func TestMain(m *testing.M) { devstack.Main(m) }. Without it
// the watchdogs end the shared servers when the test binary has ended.
func Main(m *testing.M) {
	code := m.Run()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, s := range []*shared{sharedPostgres, sharedRabbitMQ, sharedKubernetes} {
		if s.server != nil {
			_ = s.server.run.kill(ctx)
			_ = s.server.run.remove(ctx)
		}
	}
	os.Exit(code)
}

// unique is a name for one use: lower-case letters and digits, valid in SQL, AMQP and Kubernetes.
func unique(start string) string { return start + strings.ToLower(rand.Text()[:12]) }
