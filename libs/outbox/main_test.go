package outbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rabbitmq/amqp091-go"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/outbox"
)

func TestMain(m *testing.M) { devstack.Main(m) }

const schema = "clusters"

// bench is a database, a broker, a publisher and a listener on everything that is published.
type bench struct {
	pool      *pgxpool.Pool
	rabbit    *devstack.Rabbit
	config    amqp.Config
	publisher *amqp.Publisher
	heard     *listener
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return benchOn(t, devstack.Postgres(t, schema).Pool, devstack.RabbitMQ(t))
}

func benchOn(t *testing.T, pool *pgxpool.Pool, rabbit *devstack.Rabbit) *bench {
	t.Helper()
	b := &bench{pool: pool, rabbit: rabbit}
	b.config = amqp.Config{URL: rabbit.URL, Prefix: rabbit.Prefix, Name: t.Name(), Log: quiet()}
	exchange := b.config.Exchange(schema)
	b.publisher = amqp.NewPublisher(b.config, func(ch *amqp091.Channel) error { return amqp.DeclareExchange(ch, exchange) })
	devstack.Run(t, b.publisher.Run)
	b.heard = listen(t, b.config, exchange)
	devstack.Eventually(t, "the publisher is connected", b.publisher.Connected)
	return b
}

// relay starts a relay and returns it with the function that ends it.
func (b *bench) relay(t *testing.T, change ...func(*outbox.RelayConfig)) (*outbox.Relay, func()) {
	t.Helper()
	c := outbox.RelayConfig{
		Pool: b.pool, Schema: schema, Exchange: b.config.Exchange(schema), Publisher: b.publisher, Log: quiet(),
		Resources: []string{"clusters"}, Poll: 20 * time.Millisecond,
	}
	for _, f := range change {
		f(&c)
	}
	r := outbox.NewRelay(c)
	return r, devstack.Run(t, r.Run)
}

// write commits one change of one object.
func (b *bench) write(t *testing.T, c outbox.Change) {
	t.Helper()
	if err := b.tryWrite(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) tryWrite(ctx context.Context, c outbox.Change) error {
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error { return outbox.Append(ctx, tx, schema, c) })
}

// change is a change of a new object.
func change(name string) outbox.Change {
	return outbox.Change{
		Resource: "clusters", Operation: outbox.Created, UID: uuid.NewString(), Namespace: "foo", Name: name, Generation: 1, ResourceVersion: 1,
		Document: map[string]any{"name": name}, Actor: "someone",
	}
}

// listener hears everything that an exchange publishes.
type listener struct {
	mu    sync.Mutex
	heard []amqp091.Delivery
}

func listen(t *testing.T, c amqp.Config, exchange string) *listener {
	t.Helper()
	l := &listener{}
	bound := make(chan struct{})
	var once sync.Once
	declare := func(ch *amqp091.Channel) (string, error) {
		if err := amqp.DeclareExchange(ch, exchange); err != nil {
			return "", err
		}
		queue := c.Queue("everything")
		if err := amqp.DeclareQuorum(ch, queue, false); err != nil {
			return "", err
		}
		defer once.Do(func() { close(bound) })
		return queue, ch.QueueBind(queue, "#", exchange, false, nil)
	}
	devstack.Run(t, func(ctx context.Context) error {
		return amqp.Consume(ctx, amqp.ConsumerConfig{Config: c, Prefetch: 100, Declare: declare}, func(_ context.Context, d amqp091.Delivery) {
			l.mu.Lock()
			l.heard = append(l.heard, d)
			l.mu.Unlock()
			_ = d.Ack(false)
		})
	})
	<-bound
	return l
}

func (l *listener) all() []amqp091.Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]amqp091.Delivery(nil), l.heard...)
}

// revisions returns the numbers of the revisions heard, in order of arrival.
func (l *listener) revisions(t *testing.T) []int64 {
	t.Helper()
	var numbers []int64
	for _, d := range l.all() {
		numbers = append(numbers, revisionOf(t, d).N)
	}
	return numbers
}

func revisionOf(t *testing.T, d amqp091.Delivery) outbox.Revision {
	t.Helper()
	revision, err := outbox.ParseRevision(fmt.Sprint(d.Headers[outbox.HeaderRevision]))
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// readAll reads the whole feed of a resource ("" for all), page by page.
func (b *bench) readAll(t *testing.T, resource string, since outbox.Revision) []outbox.Event {
	t.Helper()
	log := outbox.NewLog(b.pool, schema)
	var all []outbox.Event
	for {
		page, err := log.Read(t.Context(), resource, since, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Items) == 0 {
			return all
		}
		all = append(all, page.Items...)
		since = page.Items[len(page.Items)-1].Revision
	}
}

func (b *bench) scan(t *testing.T, sql string, into ...any) {
	t.Helper()
	if err := b.pool.QueryRow(t.Context(), sql).Scan(into...); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := b.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// published reports whether everything in the outbox and the log is published.
func (b *bench) published(t *testing.T) func() bool {
	return func() bool {
		var left int64
		b.scan(t, `SELECT (SELECT count(*) FROM clusters.outbox) + last_rev - published_rev FROM clusters.relay`, &left)
		return left == 0
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
