package outbox_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/outbox"
)

func TestWithTheBrokerAwayWritesGoOnAndAreDeliveredWhenItIsBack(t *testing.T) {
	t.Parallel()
	b := benchOn(t, devstack.Postgres(t, schema).Pool, devstack.NewRabbitMQ(t, devstack.RabbitMQOptions{}))
	b.relay(t)
	b.write(t, change("before"))
	devstack.Eventually(t, "the first event is heard", func() bool { return len(b.heard.all()) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 2*devstack.Patience)
	defer cancel()
	if err := b.rabbit.Server.Halt(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		b.write(t, change(fmt.Sprint("object", i)))
	}
	devstack.Eventually(t, "the feed shows them though the broker is away", func() bool { return b.head(t).N == 301 })
	if err := b.rabbit.Server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	devstack.Eventually(t, "all events are heard", func() bool { return distinct(b.heard.revisions(t)) == 301 })
	devstack.Eventually(t, "published_rev follows", b.published(t))
}

func distinct(numbers []int64) int {
	seen := map[int64]bool{}
	for _, n := range numbers {
		seen[n] = true
	}
	return len(seen)
}

// Serial, so that no other test's goroutines are counted.
func TestAStoppedRelayLeavesNothingRunning(t *testing.T) {
	pg, rabbit := devstack.Postgres(t, schema), devstack.RabbitMQ(t)
	ignore := goleak.IgnoreCurrent()
	config := amqp.Config{URL: rabbit.URL, Prefix: rabbit.Prefix, Name: t.Name(), Log: quiet()}
	publisher := amqp.NewPublisher(config, nil)
	relay := outbox.NewRelay(outbox.RelayConfig{
		Pool: pg.Pool, Schema: schema, Exchange: "amq.topic", Publisher: publisher, Log: quiet(), Poll: time.Millisecond,
	})
	stopPublisher, stopRelay := devstack.Run(t, publisher.Run), devstack.Run(t, relay.Run)
	devstack.Eventually(t, "the relay works", func() bool {
		head, err := outbox.NewLog(pg.Pool, schema).Head(t.Context(), pg.Pool)
		return err == nil && head.Epoch != ""
	})
	stopRelay()
	stopPublisher()
	relay.Wake()
	pg.Pool.Close()
	goleak.VerifyNone(t, ignore)
	if got := cmp.Diff(false, publisher.Connected()); got != "" {
		t.Error("a stopped publisher says that it is connected")
	}
}
