package work_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

func TestAPoolTakesClustersFromTheQueueUntilItIsStopped(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	rabbit := devstack.RabbitMQ(t)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	pool := s.newPool(func(c *work.Config) {
		c.AMQP = amqp.Config{URL: rabbit.URL, Prefix: rabbit.Prefix, Name: "test", Log: log}
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	eventually(t, "the worker's heartbeat", func() bool { return s.text("SELECT count(*) FROM reconciler.workers") == "1" })

	set := s.put("", "first", 1, nil, s.configMap("a", "1"))
	s.offer()
	ch := dial(t, rabbit.URL)
	queue := rabbit.Prefix + work.Queue
	eventually(t, "the queue", func() bool {
		probe := dial(t, rabbit.URL)
		_, err := probe.QueueDeclarePassive(queue, true, false, false, false, amqp091.Table{"x-queue-type": "quorum"})
		return err == nil
	})
	for _, body := range []string{s.cluster, s.cluster, "no uuid"} { // doubled and forged messages change nothing
		if err := ch.PublishWithContext(t.Context(), "", queue, true, false, amqp091.Publishing{Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the set's success", func() bool { return s.result(set) == "Success/: " })
	eventually(t, "an empty queue", func() bool {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, amqp091.Table{"x-queue-type": "quorum"})
		return err == nil && q.Messages == 0
	})
	expect(t, "claims", s.text("SELECT fence FROM reconciler.work"), "1")
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the pool ended with %v", err)
	}
	expect(t, "workers left", s.text("SELECT count(*) FROM reconciler.workers"), "0")
}

func TestAStoppedPoolHandsItsClusterBack(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.put("", "first", 1, nil, s.configMap("a", "1"))
	ctx, stop := context.WithCancelCause(t.Context())
	m := &meddling{beforeIntents: func() error { stop(nil); return nil }}
	pool := s.meddle(m)
	s.offer()
	pool.RunCluster(ctx, s.cluster)
	if err := <-m.settled; err != nil {
		t.Fatal(err)
	}
	expect(t, "the row", s.text("SELECT state || ' ' || class || ' ' || (next_at <= now()) FROM reconciler.work"), "idle 0 true")
	if s.target.get(s.at("a")) != nil {
		t.Error("the run went on")
	}
}

func dial(t *testing.T, url string) *amqp091.Channel {
	t.Helper()
	conn, err := amqp091.Dial(url)
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

// eventually waits until done.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
