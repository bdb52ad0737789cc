package amqp_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/errs"
)

func TestMain(m *testing.M) { devstack.Main(m) }

func config(t *testing.T, rabbit *devstack.Rabbit) amqp.Config {
	t.Helper()
	return amqp.Config{URL: rabbit.URL, Prefix: rabbit.Prefix, Name: t.Name(), Log: slog.New(slog.DiscardHandler)}
}

func publisher(t *testing.T, c amqp.Config, declare func(*amqp091.Channel) error) *amqp.Publisher {
	t.Helper()
	p := amqp.NewPublisher(c, declare)
	devstack.Run(t, p.Run)
	devstack.Eventually(t, "the publisher is connected", p.Connected)
	return p
}

// queue declares a quorum queue of the test and returns its name.
func queue(c amqp.Config) (string, func(*amqp091.Channel) error) {
	name := c.Queue("work")
	return name, func(ch *amqp091.Channel) error { return amqp.DeclareQuorum(ch, name, false) }
}

// publish tries until the broker has confirmed the messages and a queue wanted each: those for a queue that does not exist at the moment
// are confirmed too, and gone.
func publish(t *testing.T, p *amqp.Publisher, messages ...amqp.Message) {
	t.Helper()
	devstack.Eventually(t, "the messages are in a queue", func() bool {
		unroutable, err := p.Publish(t.Context(), messages)
		return err == nil && len(unroutable) == 0
	})
}

// inbox collects what a consumer is handed.
type inbox struct {
	mu  sync.Mutex
	got []amqp091.Delivery
}

func (in *inbox) take(_ context.Context, d amqp091.Delivery) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.got = append(in.got, d)
}

func (in *inbox) all() []amqp091.Delivery {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]amqp091.Delivery(nil), in.got...)
}

func consume(t *testing.T, c amqp.Config, prefetch int, handle func(context.Context, amqp091.Delivery)) (stop func()) {
	t.Helper()
	name, declare := queue(c)
	return devstack.Run(t, func(ctx context.Context) error {
		return amqp.Consume(ctx, amqp.ConsumerConfig{
			Config: c, Prefetch: prefetch, Grace: time.Second,
			Declare: func(ch *amqp091.Channel) (string, error) { return name, declare(ch) },
		}, handle)
	})
}

func TestUnroutableMessagesAreNamedAndTheOthersArrive(t *testing.T) {
	t.Parallel()
	c := config(t, devstack.RabbitMQ(t))
	name, declare := queue(c)
	p := publisher(t, c, declare)
	var messages []amqp.Message
	var want []int
	for i := range 600 {
		m := amqp.Message{Key: name, ID: fmt.Sprint(i), Body: []byte("x")}
		if i%3 == 0 {
			m.Key = c.Queue("nobody")
			want = append(want, i)
		}
		messages = append(messages, m)
	}
	got, err := p.Publish(t.Context(), messages)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unroutable (-want +got):\n%s", diff)
	}
	in := &inbox{}
	consume(t, c, 1000, in.take)
	devstack.Eventually(t, "the others arrive", func() bool { return len(in.all()) == 400 })
}

func TestARefusedMessageIsToldFromAnAbsentBroker(t *testing.T) {
	t.Parallel()
	c := config(t, devstack.RabbitMQ(t))
	name, declare := queue(c)
	p := publisher(t, c, declare)
	cases := map[string]amqp.Message{
		"a header that the broker cannot use": {Key: name, Headers: map[string]any{"CC": "not a list"}},
		"a key that the protocol cannot hold": {Key: strings.Repeat("k", 256)},
		"a header that cannot be encoded":     {Key: name, Headers: map[string]any{"bad": struct{}{}}},
	}
	for what, m := range cases {
		devstack.Eventually(t, "the publisher is connected", p.Connected)
		if _, err := p.Publish(t.Context(), []amqp.Message{m}); !errors.Is(err, amqp.ErrRefused) {
			t.Errorf("%s: got %v, want ErrRefused", what, err)
		}
		publish(t, p, amqp.Message{Key: name})
	}
	missing := amqp.Message{Exchange: c.Exchange("missing"), Key: "k"}
	if _, err := p.Publish(t.Context(), []amqp.Message{missing}); errors.Is(err, amqp.ErrRefused) || !errs.Is(err, errs.Unavailable) {
		t.Errorf("an exchange that is missing: got %v, want unavailable and not refused", err)
	}
}

// A handler holds its delivery while the connection is cut. The message comes again under another tag; the late acknowledgement must
// fail rather than settle another message.
func TestALateAcknowledgementFailsAndLosesNothing(t *testing.T) {
	t.Parallel()
	rabbit := devstack.RabbitMQ(t)
	c := config(t, rabbit)
	name, declare := queue(c)
	p := publisher(t, c, declare)
	proxy := newProxy(t, rabbit.URL)
	through := c
	through.URL = proxy.url
	in := &inbox{}
	stop := consume(t, through, 10, in.take)
	publish(t, p, amqp.Message{Key: name, Body: []byte("A")})
	publish(t, p, amqp.Message{Key: name, Body: []byte("B")})
	devstack.Eventually(t, "both are delivered", func() bool { return len(in.all()) == 2 })
	if err := in.all()[0].Ack(false); err != nil {
		t.Fatal(err)
	}
	late := in.all()[1]
	proxy.cut()
	publish(t, p, amqp.Message{Key: name, Body: []byte("C")})
	devstack.Eventually(t, "B comes again, and C", func() bool { return bodies(in.all()[2:])["B"] && bodies(in.all()[2:])["C"] })
	if err := late.Ack(false); err == nil {
		t.Error("the late acknowledgement was accepted")
	}
	stop()
	again := &inbox{}
	consume(t, c, 10, again.take)
	devstack.Eventually(t, "B and C are still there", func() bool { return bodies(again.all())["B"] && bodies(again.all())["C"] })
}

func bodies(deliveries []amqp091.Delivery) map[string]bool {
	set := map[string]bool{}
	for _, d := range deliveries {
		set[string(d.Body)] = true
	}
	return set
}

func TestABrokerThatDoesNotConfirmIsGivenUpInTime(t *testing.T) {
	t.Parallel()
	rabbit := devstack.RabbitMQ(t)
	c := config(t, rabbit)
	name, declare := queue(c)
	proxy := newProxy(t, rabbit.URL)
	c.URL = proxy.url
	p := amqp.NewPublisher(c, declare)
	p.ConfirmTimeout = 300 * time.Millisecond
	devstack.Run(t, p.Run)
	devstack.Eventually(t, "the publisher is connected", p.Connected)
	proxy.hold(true)
	started := time.Now()
	body := make([]byte, 8<<20) // more than the sockets buffer: the write blocks too
	if _, err := p.Publish(t.Context(), []amqp.Message{{Key: name, Body: body}}); !errs.Is(err, errs.Unavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("gave up after %s", took)
	}
	proxy.hold(false)
	publish(t, p, amqp.Message{Key: name})
}

func TestPublisherAndConsumerComeBackAfterABrokerRestart(t *testing.T) {
	t.Parallel()
	rabbit := devstack.NewRabbitMQ(t, devstack.RabbitMQOptions{})
	c := config(t, rabbit)
	name, declare := queue(c)
	p := publisher(t, c, declare)
	var acked atomic.Int64
	consume(t, c, 10, func(_ context.Context, d amqp091.Delivery) {
		if d.Ack(false) == nil {
			acked.Add(1)
		}
	})
	publish(t, p, amqp.Message{Key: name, Body: []byte("before")})
	devstack.Eventually(t, "the first is handled", func() bool { return acked.Load() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 2*devstack.Patience)
	defer cancel()
	if err := rabbit.Server.Halt(ctx); err != nil {
		t.Fatal(err)
	}
	devstack.Eventually(t, "the publisher notices", func() bool { return !p.Connected() })
	if _, err := p.Publish(t.Context(), []amqp.Message{{Key: name}}); !errs.Is(err, errs.Unavailable) {
		t.Errorf("with the broker away: got %v, want unavailable", err)
	}
	if err := rabbit.Server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	publish(t, p, amqp.Message{Key: name, Body: []byte("after")})
	devstack.Eventually(t, "the second is handled", func() bool { return acked.Load() >= 2 })
}

func TestAConsumerWhoseQueueIsDeletedDeclaresItAgain(t *testing.T) {
	t.Parallel()
	c := config(t, devstack.RabbitMQ(t))
	name, declare := queue(c)
	p := publisher(t, c, declare)
	in := &inbox{}
	consume(t, c, 10, in.take)
	publish(t, p, amqp.Message{Key: name})
	devstack.Eventually(t, "the first arrives", func() bool { return len(in.all()) == 1 })
	publisher(t, c, func(ch *amqp091.Channel) error {
		_, err := ch.QueueDelete(name, false, false, false)
		return err
	})
	publish(t, p, amqp.Message{Key: name})
	devstack.Eventually(t, "the second arrives", func() bool { return len(in.all()) >= 2 })
}

// Serial, so that no other test's goroutines are counted.
func TestAStoppedConsumerWaitsForAcknowledgementsAndLeavesNothingRunning(t *testing.T) {
	rabbit := devstack.RabbitMQ(t)
	c := config(t, rabbit)
	name, declare := queue(c)
	ignore := goleak.IgnoreCurrent()
	p := amqp.NewPublisher(c, declare)
	stopPublisher := devstack.Run(t, p.Run)
	devstack.Eventually(t, "the publisher is connected", p.Connected)
	in := &inbox{}
	stopConsumer := consume(t, c, 10, in.take)
	publish(t, p, amqp.Message{Key: name})
	devstack.Eventually(t, "the message arrives", func() bool { return len(in.all()) == 1 })
	result := make(chan error, 1)
	go func() { result <- in.all()[0].Ack(false) }()
	stopConsumer()
	if err := <-result; err != nil {
		t.Errorf("an acknowledgement within the grace period failed: %v", err)
	}
	stopPublisher()
	goleak.VerifyNone(t, ignore)
}

func TestTraceHeadersAreReadAsTextAndAsBytes(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for what, value := range map[string]any{"text": parent, "bytes": []byte(parent)} {
		headers := map[string]any{}
		amqp.Inject(amqp.Extract(t.Context(), map[string]any{"traceparent": value}), headers)
		if headers["traceparent"] != parent {
			t.Errorf("%s: got %v", what, headers)
		}
	}
}

func TestAWrongURLIsNotEchoed(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"amqp://user:secret@host:port/", "http://user:secret@host", "amqp://user:secret@[::1"} {
		err := amqp.Config{URL: text}.Validate()
		if !errs.Is(err, errs.Invalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
