package transport_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rabbitmq/amqp091-go"

	"github.com/syncsets/syncsets/libs/amqp"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	pg "github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/rest"
	"github.com/syncsets/syncsets/libs/seal"
	"github.com/syncsets/syncsets/services/syncsets/internal/intake"
	"github.com/syncsets/syncsets/services/syncsets/internal/postgres"
	"github.com/syncsets/syncsets/services/syncsets/internal/secret"
	"github.com/syncsets/syncsets/services/syncsets/internal/syncset"
	"github.com/syncsets/syncsets/services/syncsets/internal/transport"
)

func TestMain(m *testing.M) { devstack.Main(m) }

// fixture is the service's HTTP surface over a database of its own.
type fixture struct {
	*testing.T
	public, internal *httptest.Server
	db               *devstack.PG
	woken            atomic.Int64
	keys             *seal.Keys
	logged           syncBuffer
}

// syncBuffer is a buffer that several goroutines write to.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// system is the installation that the fixture's database belongs to.
const system = "0b2f4a5e-3a60-4c83-8c43-6d6b3a3b1f10"

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureFor(t, auth.NewNone())
}

// newFixtureFor serves whoever access lets in.
func newFixtureFor(t *testing.T, access auth.Authenticator) *fixture {
	t.Helper()
	f := &fixture{T: t, db: devstack.Postgres(t, postgres.Schema)}
	var err error
	if f.keys, err = seal.Parse(seal.Generate()); err != nil {
		t.Fatal(err)
	}
	wake := func() { f.woken.Add(1) }
	syncSets := syncset.New(syncset.SyncSets(), postgres.NewStore[v1.SyncSet](f.db.Pool, v1.ResourceSyncSets), syncset.Rules{}, wake)
	selectorSyncSets := syncset.New(syncset.SelectorSyncSets(),
		postgres.NewStore[v1.SelectorSyncSet](f.db.Pool, v1.ResourceSelectorSyncSets), syncset.Rules{}, wake)
	secrets := postgres.NewSecretStore(f.db.Pool, f.keys, system, wake)
	log := outbox.NewLog(f.db.Pool, postgres.Schema)
	options := rest.Options{Service: "syncsets", Auth: access, Log: slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), &f.logged), nil))}
	public := rest.NewAPI(options)
	options.Auth = auth.NewShared("")
	internal := rest.NewAPI(options)
	secretService := secret.NewService(secrets, secrets)
	together := func(ctx context.Context, do func(context.Context) error) error {
		return pg.Together(ctx, f.db.Pool, do)
	}
	imports := intake.New(syncSets, selectorSyncSets, secretService, together, wake)
	transport.Routes(public, syncSets, selectorSyncSets, secretService, imports, log)
	transport.Internal(internal, syncset.NewDirectory(syncSets.List, selectorSyncSets.List, secrets.List), secrets.Data, log)
	f.public, f.internal = httptest.NewServer(public.Handler()), httptest.NewServer(internal.Handler())
	t.Cleanup(f.public.Close)
	t.Cleanup(f.internal.Close)
	return f
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// fields returns the faults of a problem.
func (a answer) fields() []errs.Field {
	var problem struct {
		Errors []errs.Field `json:"errors"`
	}
	_ = json.Unmarshal(a.body, &problem) // no problem: no faults
	return problem.Errors
}

func (f *fixture) do(method, path, body string, headers ...string) answer {
	f.Helper()
	return f.ask(f.public, method, path, body, headers...)
}

func (f *fixture) ask(server *httptest.Server, method, path, body string, headers ...string) answer {
	f.Helper()
	request, err := http.NewRequestWithContext(f.Context(), method, server.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		f.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := server.Client().Do(request)
	if err != nil {
		f.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		f.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, text}
}

// must does a request and fails the test unless the status is wanted.
func (f *fixture) must(status int, method, path, body string, headers ...string) answer {
	f.Helper()
	a := f.do(method, path, body, headers...)
	if a.status != status {
		f.Fatalf("%s %s: %d, want %d\n%.2000s", method, path, a.status, status, a.body)
	}
	return a
}

// read decodes an answer.
func read[T any](f *fixture, a answer) T {
	f.Helper()
	var value T
	if err := json.Unmarshal(a.body, &value); err != nil {
		f.Fatalf("%v\n%.2000s", err, a.body)
	}
	return value
}

// change is a row of the outbox.
type change struct {
	Resource, Operation, Name, Actor string
	Options                          map[string]string
}

func (f *fixture) changes() []change {
	f.Helper()
	rows, err := f.db.Pool.Query(f.Context(), "SELECT resource, operation, name, actor, options FROM syncsets.outbox ORDER BY id")
	if err != nil {
		f.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[change])
	if err != nil {
		f.Fatal(err)
	}
	return list
}

// relay runs the relay of the database until the test ends, and returns when it has opened the log.
func (f *fixture) relay() {
	f.Helper()
	rabbit := devstack.RabbitMQ(f.T)
	log := slog.New(slog.DiscardHandler)
	config := amqp.Config{URL: rabbit.URL, Prefix: rabbit.Prefix, Name: "relay", Log: log}
	exchange := config.Exchange(postgres.Schema)
	publisher := amqp.NewPublisher(config, func(ch *amqp091.Channel) error { return amqp.DeclareExchange(ch, exchange) })
	relay := outbox.NewRelay(outbox.RelayConfig{
		Pool: f.db.Pool, Schema: postgres.Schema, Exchange: exchange, Publisher: publisher, Log: log, Poll: 10 * time.Millisecond,
	})
	ctx, stop := context.WithCancel(f.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = publisher.Run(ctx) })
	running.Go(func() { _ = relay.Run(ctx) })
	f.Cleanup(func() { stop(); running.Wait() })
	f.until("the relay opens the log", func() bool {
		head, err := outbox.NewLog(f.db.Pool, postgres.Schema).Head(ctx, f.db.Pool)
		return err == nil && head.Epoch != ""
	})
}

// until waits for a condition.
func (f *fixture) until(what string, done func() bool) {
	f.Helper()
	deadline, tick := time.After(30*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			f.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}
