package amqp

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/syncsets/syncsets/libs/errs"
)

const (
	// DefaultConfirmTimeout is how long the broker may take to confirm a batch.
	DefaultConfirmTimeout = 10 * time.Second

	inFlight     = 256 // messages sent before their confirms are awaited
	maxShortText = 255 // bytes of a routing key or message id, by the protocol
	retryAfter   = 2 * time.Second
)

// ErrRefused marks a message that the broker or the protocol refuses for what it is: sending it again will not help.
var ErrRefused = errors.New("message refused")

var (
	errNotConfirmed = errors.New("not confirmed in time")
	errNacked       = errors.New("nacked")
)

// Message is what to publish. It is always persistent and mandatory.
type Message struct {
	Exchange    string // "" is the default exchange: Key names a queue
	Key         string
	ID          string
	ContentType string
	Headers     map[string]any
	Body        []byte
}

// Publisher publishes with confirms over a connection of its own. Its methods may be called by any number of goroutines.
type Publisher struct {
	// ConfirmTimeout may be changed before Run.
	ConfirmTimeout time.Duration

	config  Config
	declare func(*amqp091.Channel) error
	turn    chan struct{} // holds a token while somebody publishes
	current atomic.Pointer[outlet]
}

// outlet is the publishing side of a session.
type outlet struct {
	*session
	returns chan amqp091.Return
	blocked atomic.Bool
	ended   chan struct{} // closed when the session is lost, after why is set
	why     error
}

// NewPublisher makes a publisher; Run connects it. declare runs on every new connection, before anything is published; it may be nil.
func NewPublisher(c Config, declare func(*amqp091.Channel) error) *Publisher {
	return &Publisher{ConfirmTimeout: DefaultConfirmTimeout, config: c, declare: declare, turn: make(chan struct{}, 1)}
}

// Run keeps the publisher connected until ctx ends and returns its cause. Call it once.
func (p *Publisher) Run(ctx context.Context) error {
	return p.config.supervise(ctx, "publisher", p.serve)
}

// serve prepares a session for publishing, offers it to Publish and waits until it is lost.
func (p *Publisher) serve(ctx context.Context, s *session) (err error) {
	if err := s.within(setUpTimeout, func() error { return p.setUp(s.ch) }); err != nil {
		return err
	}
	o := &outlet{session: s, returns: s.ch.NotifyReturn(make(chan amqp091.Return, inFlight)), ended: make(chan struct{})}
	blockings := s.conn.NotifyBlocked(make(chan amqp091.Blocking, 8))
	p.current.Store(o)
	defer func() {
		p.current.Store(nil)
		o.why = err
		close(o.ended)
	}()
	p.config.Log.InfoContext(ctx, "connected to rabbitmq", "connection", p.config.Name+" publisher")
	return p.watch(ctx, o, blockings)
}

func (p *Publisher) setUp(ch *amqp091.Channel) error {
	if p.declare != nil {
		if err := p.declare(ch); err != nil {
			return fmt.Errorf("declare: %w", err)
		}
	}
	if err := ch.Confirm(false); err != nil {
		return fmt.Errorf("ask for confirms: %w", err)
	}
	return nil
}

// watch follows the broker's blocking until the session is lost.
func (p *Publisher) watch(ctx context.Context, o *outlet, blockings <-chan amqp091.Blocking) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case reason := <-o.connClosed:
			return closeReason("connection", reason)
		case reason := <-o.chanClosed:
			return closeReason("channel", reason)
		case b, open := <-blockings:
			if !open {
				return o.lost(ctx)
			}
			o.blocked.Store(b.Active)
			p.config.Log.WarnContext(ctx, "rabbitmq changed whether it blocks publishers", "blocked", b.Active, "reason", b.Reason)
		}
	}
}

// Connected reports whether messages can be published at this moment.
func (p *Publisher) Connected() bool {
	o := p.current.Load()
	return o != nil && !o.blocked.Load()
}

// Publish sends messages in order and returns when the broker has confirmed them all. unroutable lists the indexes of messages that no
// queue wanted; they count as confirmed. On an error any of them may have been published: errs.Unavailable when the broker is away,
// blocks, refuses or does not confirm in time; errors.Is ErrRefused when one of the messages can never be published.
func (p *Publisher) Publish(ctx context.Context, messages []Message) (unroutable []int, err error) {
	if err := check(messages); err != nil {
		return nil, err
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, unavailable(context.Cause(ctx), "waiting for another publisher")
	}
	for from := 0; from < len(messages); from += inFlight {
		to := min(from+inFlight, len(messages))
		back, err := p.publishSome(ctx, messages[from:to])
		for _, i := range back {
			unroutable = append(unroutable, from+i)
		}
		if err != nil {
			return unroutable, err
		}
	}
	return unroutable, nil
}

// check finds what the protocol cannot express, before it costs the connection.
func check(messages []Message) error {
	for i, m := range messages {
		if len(m.Key) > maxShortText || len(m.ID) > maxShortText || len(m.Exchange) > maxShortText || len(m.ContentType) > maxShortText {
			return fmt.Errorf("message %d: %w: its key, id or exchange is longer than %d bytes", i, ErrRefused, maxShortText)
		}
		if err := amqp091.Table(m.Headers).Validate(); err != nil {
			return fmt.Errorf("message %d: %w: %w", i, ErrRefused, err)
		}
	}
	return nil
}

// publishSome sends at most inFlight messages and waits for their confirms. A session whose answers did not all come is given up:
// later confirms and returns on it could not be told apart from those of the next batch.
func (p *Publisher) publishSome(ctx context.Context, messages []Message) ([]int, error) {
	o := p.current.Load()
	if o == nil {
		return nil, unavailable(nil, "no connection to the message broker")
	}
	if o.blocked.Load() {
		return nil, unavailable(nil, "the message broker blocks publishers")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.ConfirmTimeout, errNotConfirmed)
	defer cancel()
	stop := context.AfterFunc(ctx, o.abort)
	confirms, err := o.send(ctx, messages)
	if err == nil {
		err = settle(ctx, confirms)
	}
	stop()
	unroutable := o.returned(messages)
	switch {
	case err == nil:
		return unroutable, nil
	case errors.Is(err, errNacked) && !o.ch.IsClosed():
		return nil, unavailable(err, "the message broker did not accept a message")
	}
	o.abort()
	return nil, o.failure(ctx, err)
}

// settle waits for every confirm, so that none is left over for the next batch.
func settle(ctx context.Context, confirms []*amqp091.DeferredConfirmation) error {
	var nacked error
	for _, confirm := range confirms {
		acked, err := confirm.WaitContext(ctx)
		if err != nil {
			return context.Cause(ctx)
		}
		if !acked {
			nacked = errNacked
		}
	}
	return nacked
}

func (o *outlet) send(ctx context.Context, messages []Message) ([]*amqp091.DeferredConfirmation, error) {
	confirms := make([]*amqp091.DeferredConfirmation, 0, len(messages))
	for _, m := range messages {
		confirm, err := o.ch.PublishWithDeferredConfirmWithContext(ctx, m.Exchange, m.Key, true, false, amqp091.Publishing{
			Headers: m.Headers, ContentType: m.ContentType, MessageId: m.ID, Body: m.Body,
			DeliveryMode: amqp091.Persistent,
		})
		if err != nil {
			return nil, err
		}
		confirms = append(confirms, confirm)
	}
	return confirms, nil
}

// returned drains the return channel: the broker sends a return before the confirm of the same message, and the library hands both
// on in that order, so after the last confirm every return is there.
func (o *outlet) returned(messages []Message) []int {
	type identity struct{ exchange, key, id string }
	var unroutable []int
	var open map[identity][]int
	for {
		select {
		case r, ok := <-o.returns:
			if !ok {
				return unroutable
			}
			if open == nil {
				open = make(map[identity][]int, len(messages))
				for i, m := range messages {
					k := identity{m.Exchange, m.Key, m.ID}
					open[k] = append(open[k], i)
				}
			}
			k := identity{r.Exchange, r.RoutingKey, r.MessageId}
			if left := open[k]; len(left) > 0 {
				unroutable = append(unroutable, left[0])
				open[k] = left[1:]
			}
		default:
			return unroutable
		}
	}
}

func unavailable(cause error, message string) error {
	return &errs.Error{Kind: errs.Unavailable, Message: message, RetryAfter: retryAfter, Cause: cause}
}
