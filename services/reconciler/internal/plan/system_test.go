package plan_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/rabbitmq/amqp091-go"

	"github.com/syncsets/syncsets/libs/amqp"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/rest"
	"github.com/syncsets/syncsets/services/reconciler/internal/plan"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/source"
)

func TestMain(m *testing.M) { devstack.Main(m) }

// system is a planner between the logs of the two services, which are real ones with their relays, and the reconciler's schema. Only
// the documents' lists are made up here, from what was written.
type system struct {
	pg      *devstack.PG
	rabbit  *devstack.Rabbit
	amqp    amqp.Config
	store   *postgres.Store
	planner *plan.Planner
	relays  map[string]*outbox.Relay

	mu        sync.Mutex
	version   int64
	documents map[string]map[string]json.RawMessage // by schema and uid
	requests  int
	reads     map[string]int  // of each log
	silent    map[string]bool // logs that fail
}

func start(t *testing.T, poll time.Duration) *system {
	t.Helper()
	pg, rabbit := devstack.Postgres(t, "clusters", "syncsets", "reconciler"), devstack.RabbitMQ(t)
	log := slog.New(slog.DiscardHandler)
	s := &system{
		pg: pg, rabbit: rabbit, store: postgres.New(pg.Pool, postgres.WithChunk(4)), relays: map[string]*outbox.Relay{},
		amqp:      amqp.Config{URL: rabbit.URL, Prefix: rabbit.Prefix, Name: t.Name(), Log: log},
		reads:     map[string]int{},
		silent:    map[string]bool{},
		documents: map[string]map[string]json.RawMessage{"clusters": {}, "syncsets": {}},
	}
	ctx, stop := context.WithCancel(t.Context())
	var parts sync.WaitGroup
	t.Cleanup(func() { stop(); parts.Wait() })
	run := func(f func(context.Context) error) { parts.Go(func() { _ = f(ctx) }) }
	for _, schema := range []string{"clusters", "syncsets"} {
		exchange := s.amqp.Exchange(schema)
		publisher := amqp.NewPublisher(s.amqp, func(ch *amqp091.Channel) error { return amqp.DeclareExchange(ch, exchange) })
		relay := outbox.NewRelay(outbox.RelayConfig{
			Pool: pg.Pool, Schema: schema, Exchange: exchange, Publisher: publisher, Log: log, Bookmark: time.Hour,
		})
		s.relays[schema] = relay
		run(publisher.Run)
		run(relay.Run)
	}
	planner, err := plan.New(plan.Config{
		Store: s.store, Clusters: s.serve(t, "clusters"), SyncSets: s.serve(t, "syncsets"), AMQP: s.amqp, Log: log, Poll: poll, PageSize: 5,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.planner = planner
	run(planner.Run)
	run(planner.Listen)
	eventually(t, "the planner has listed both services", func() bool {
		p, err := s.store.Planner(t.Context())
		return err == nil && p.Clusters.Epoch != "" && p.SyncSets.Epoch != ""
	})
	return s
}

// serve answers as a service's internal listener does.
func (s *system) serve(t *testing.T, schema string) *source.Client {
	t.Helper()
	log := outbox.NewLog(s.pg.Pool, schema)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /internal/v1/events", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests++
		s.reads[schema]++
		silent := s.silent[schema]
		s.mu.Unlock()
		if silent {
			answer(w, nil, errs.New(errs.Unavailable, "silent"))
			return
		}
		since, err := outbox.ParseRevision(r.URL.Query().Get("since"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		var page outbox.Page
		if err == nil {
			page, err = log.Read(r.Context(), "", since, limit)
		}
		answer(w, page, err)
	})
	list := func(w http.ResponseWriter, r *http.Request) {
		head, err := log.Head(r.Context(), s.pg.Pool)
		s.mu.Lock()
		defer s.mu.Unlock()
		items := []any{}
		for _, d := range s.documents[schema] {
			if schema == "clusters" {
				items = append(items, d)
			} else {
				items = append(items, map[string]any{"resource": v1.ResourceSelectorSyncSets, "document": d})
			}
		}
		answer(w, map[string]any{"items": items, "revision": head}, err)
	}
	mux.HandleFunc("GET /internal/v1/clusters", list)
	mux.HandleFunc("GET /internal/v1/sets", list)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return source.New(server.URL, "")
}

func answer(w http.ResponseWriter, document any, err error) {
	if err != nil {
		rest.WriteError(w, err)
		return
	}
	_ = json.NewEncoder(w).Encode(document)
}

// write commits a document with its event, as a service does.
func (s *system) write(t *testing.T, schema, resource, operation string, m *v1.Metadata, document any) {
	t.Helper()
	s.mu.Lock()
	s.version++
	version := s.version
	s.mu.Unlock()
	m.ResourceVersion = strconv.FormatInt(version, 10)
	err := pgx.BeginFunc(t.Context(), s.pg.Pool, func(tx pgx.Tx) error {
		return outbox.Append(t.Context(), tx, schema, outbox.Change{
			Resource: resource, Operation: operation, UID: m.UID, Namespace: m.Namespace, Name: m.Name, Generation: m.Generation,
			ResourceVersion: version, Document: document, Actor: "tester",
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.documents[schema][m.UID] = text
	s.mu.Unlock()
	s.relays[schema].Wake()
}

func (s *system) cluster(t *testing.T, name string) {
	t.Helper()
	c := &v1.Cluster{Metadata: v1.Metadata{Name: name, Namespace: "ns", UID: uuid.NewString(), Generation: 1}}
	s.write(t, "clusters", v1.ResourceClusters, outbox.Created, &c.Metadata, c)
}

func (s *system) set(t *testing.T, name string) *v1.SelectorSyncSet {
	t.Helper()
	set := &v1.SelectorSyncSet{
		Metadata: v1.Metadata{Name: name, UID: uuid.NewString(), Generation: 1}, ClusterSelector: &v1.LabelSelector{},
	}
	s.write(t, "syncsets", v1.ResourceSelectorSyncSets, outbox.Created, &set.Metadata, set)
	return set
}

// targets counts the (cluster, set) pairs that are told of a generation.
func (s *system) targets(t *testing.T, generation int) int {
	t.Helper()
	var n int
	err := s.pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM reconciler.cluster_sets WHERE target_generation = $1", generation).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *system) read(schema string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads[schema]
}

// silence has a log fail, or answer again.
func (s *system) silence(schema string, silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent[schema] = silent
}

func (s *system) clusters(t *testing.T) int {
	t.Helper()
	var n int
	if err := s.pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM reconciler.clusters").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// state is everything that planning writes, as one text.
func (s *system) state(t *testing.T) string {
	t.Helper()
	var text string
	err := s.pg.Pool.QueryRow(t.Context(), `SELECT concat((SELECT string_agg(c::text, ';' ORDER BY uid) FROM reconciler.clusters c),
	(SELECT string_agg(n::text, ';' ORDER BY uid) FROM reconciler.sets n), (SELECT string_agg(t::text, ';' ORDER BY cluster_uid, set_uid)
	FROM reconciler.cluster_sets t), (SELECT string_agg(w.cluster_uid || ' ' || want, ';' ORDER BY cluster_uid) FROM reconciler.work w),
	(SELECT count(*) FROM reconciler.fanouts), (SELECT p::text FROM reconciler.planner p))`).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func (s *system) channel(t *testing.T) *amqp091.Channel {
	t.Helper()
	conn, err := amqp091.Dial(s.rabbit.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}
