package amqp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rabbitmq/amqp091-go"
)

// ConsumerConfig says what to consume.
type ConsumerConfig struct {
	Config
	// Prefetch bounds the deliveries that are not yet acknowledged.
	Prefetch int
	// Declare runs on every new connection and returns the queue to consume.
	Declare func(*amqp091.Channel) (queue string, err error)
	// Exclusive refuses other consumers of the queue.
	Exclusive bool
	// Grace is how long, after the context has ended, the connection is kept for acknowledgements of what was handed out.
	Grace time.Duration
}

// consumerTag names the consumer within its channel.
const consumerTag = "consumer"

// Consume hands deliveries to handle, one after the other, until ctx ends; it returns ctx's cause. handle must hand over quickly and
// see to it that the delivery is acknowledged, at any later time and by any goroutine. After a lost connection an acknowledgement
// fails and the message comes again.
//
// A queue that the broker knows but that does not answer, time after time, is deleted and declared anew: a message must be no more than a
// hint, whose loss delays what it tells of.
func Consume(ctx context.Context, c ConsumerConfig, handle func(context.Context, amqp091.Delivery)) error {
	mute := &muteQueue{}
	return c.supervise(ctx, "consumer", func(ctx context.Context, s *session) error { return c.serve(ctx, s, mute, handle) })
}

// serve consumes from one session until it is lost, the broker cancels the consumer, or ctx ends.
func (c ConsumerConfig) serve(
	ctx context.Context, s *session, mute *muteQueue, handle func(context.Context, amqp091.Delivery),
) error {
	if err := mute.remove(ctx, s, c.Log); err != nil {
		return err
	}
	var deliveries <-chan amqp091.Delivery
	var queue string
	cancelled := s.ch.NotifyCancel(make(chan string, 1))
	err := s.within(setUpTimeout, func() (err error) {
		if queue, err = c.declareOn(s.ch); err == nil {
			deliveries, err = c.consumeFrom(ctx, s.ch, queue)
		}
		return err
	})
	if mute.note(queue, err); err != nil {
		return err
	}
	if c.Consuming != nil {
		c.Consuming(true)
		defer c.Consuming(false)
	}
	held := &handedOut{}
	for {
		select {
		case <-ctx.Done():
			c.finish(ctx, s, held)
			return context.Cause(ctx)
		case d, open := <-deliveries:
			if !open {
				return s.stopped(ctx, cancelled)
			}
			handle(ctx, held.take(d))
		}
	}
}

func (c ConsumerConfig) declareOn(ch *amqp091.Channel) (string, error) {
	if err := ch.Qos(c.Prefetch, 0, false); err != nil {
		return "", fmt.Errorf("set the prefetch: %w", err)
	}
	queue, err := c.Declare(ch)
	if err != nil {
		return "", fmt.Errorf("declare: %w", err)
	}
	return queue, nil
}

func (c ConsumerConfig) consumeFrom(ctx context.Context, ch *amqp091.Channel, queue string) (<-chan amqp091.Delivery, error) {
	deliveries, err := ch.Consume(queue, consumerTag, false, c.Exclusive, false, false, nil)
	if err != nil {
		return nil, fmt.Errorf("consume %s: %w", queue, err)
	}
	c.Log.InfoContext(ctx, "consuming from rabbitmq", "connection", c.Name+" consumer", "queue", queue)
	return deliveries, nil
}

// stopped says why deliveries ended: the queue was deleted or its leader went, or the session was lost.
func (s *session) stopped(ctx context.Context, cancelled <-chan string) error {
	select {
	case _, told := <-cancelled:
		if told {
			return errors.New("the broker cancelled the consumer")
		}
	default:
	}
	return s.lost(ctx)
}

// finish asks for no more deliveries and waits for the acknowledgements of those handed out, at most for the grace period. What was
// not acknowledged is delivered again, to whoever consumes next.
func (c ConsumerConfig) finish(ctx context.Context, s *session, held *handedOut) {
	if c.Grace <= 0 || s.within(closeTimeout, func() error { return s.ch.Cancel(consumerTag, false) }) != nil {
		return
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), c.Grace, errors.New("the grace period is over"))
	defer cancel()
	lost := make(chan error, 1)
	go func() { lost <- s.lost(ctx) }()
	select {
	case <-held.settled():
	case reason := <-lost:
		c.Log.WarnContext(ctx, "stopped consuming before every delivery was acknowledged", "connection", c.Name+" consumer", "error", reason)
	}
}
