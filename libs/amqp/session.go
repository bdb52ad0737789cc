package amqp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/syncsets/syncsets/libs/backoff"
	"github.com/syncsets/syncsets/libs/errs"
)

const (
	heartbeat    = 10 * time.Second
	dialTimeout  = 5 * time.Second
	setUpTimeout = 10 * time.Second
	closeTimeout = 2 * time.Second
	stableAfter  = 5 * time.Second // a connection that lived this long makes the next attempt an immediate one
	sayEvery     = 30 * time.Second
)

// Validate checks the URL without echoing it, since it holds a password. Its error is errs.Invalid.
func (c Config) Validate() error {
	if _, err := amqp091.ParseURI(c.URL); err != nil {
		return errs.Wrap(errs.Invalid, withoutURL(err), "not an AMQP URL: want amqp://user:password@host:port/vhost")
	}
	return nil
}

func withoutURL(err error) error {
	var parse *url.Error
	if errors.As(err, &parse) {
		return parse.Err
	}
	return err
}

// session is one connection with one channel, from dial to loss. It is never repaired.
type session struct {
	conn        *amqp091.Connection
	ch          *amqp091.Channel
	raw         net.Conn
	connClosed  chan *amqp091.Error
	chanClosed  chan *amqp091.Error
	connectedAt time.Time
}

// open dials and opens a channel. Everything in it ends with ctx or after dialTimeout.
func (c Config) open(ctx context.Context, role string) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s := &session{}
	properties := amqp091.NewConnectionProperties()
	properties.SetClientConnectionName(c.Name + " " + role)
	conn, err := amqp091.DialConfig(c.URL, amqp091.Config{
		Heartbeat:  heartbeat,
		Properties: properties,
		Dial: func(network, address string) (net.Conn, error) {
			raw, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			deadline, _ := ctx.Deadline()
			s.raw = raw
			return raw, raw.SetDeadline(deadline)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("dial: %w", withoutURL(err))
	}
	if err := s.raw.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(fmt.Errorf("dial: %w", err), conn.Close())
	}
	s.conn, s.connectedAt = conn, time.Now()
	s.connClosed = conn.NotifyClose(make(chan *amqp091.Error, 1))
	if err := s.within(dialTimeout, func() (err error) { s.ch, err = conn.Channel(); return err }); err != nil {
		s.close()
		return nil, fmt.Errorf("open channel: %w", err)
	}
	s.chanClosed = s.ch.NotifyClose(make(chan *amqp091.Error, 1))
	return s, nil
}

// errSilent marks what the broker did not answer in time.
var errSilent = errors.New("no answer")

// within ends the session unless f returns in time: calls to the broker take no context, and a queue without a leader never answers.
func (s *session) within(limit time.Duration, f func() error) error {
	timer := time.AfterFunc(limit, s.abort)
	err := f()
	if !timer.Stop() {
		return errors.Join(fmt.Errorf("%w within %s", errSilent, limit), err)
	}
	return err
}

// lost waits for the end of the connection or the channel and says why.
func (s *session) lost(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case reason := <-s.connClosed:
		return closeReason("connection", reason)
	case reason := <-s.chanClosed:
		return closeReason("channel", reason)
	}
}

func closeReason(what string, reason *amqp091.Error) error {
	if reason == nil {
		return fmt.Errorf("%s closed", what)
	}
	return fmt.Errorf("%s closed: %w", what, reason)
}

// close says goodbye if the broker listens, and closes the socket in any case.
func (s *session) close() {
	err := s.conn.CloseDeadline(time.Now().Add(closeTimeout))
	if err != nil {
		s.abort()
	}
}

// abort closes the socket at once. It also frees a publisher that is stuck in a write because the broker has blocked it.
func (s *session) abort() { _ = s.raw.Close() }

// supervise keeps a session open until ctx ends: serve works on it and returns when it is lost.
func (c Config) supervise(ctx context.Context, role string, serve func(context.Context, *session) error) error {
	retry := backoff.New(200*time.Millisecond, 10*time.Second)
	var said time.Time
	for ctx.Err() == nil {
		lived, err := c.once(ctx, role, serve)
		if ctx.Err() != nil {
			break
		}
		if lived > stableAfter {
			retry.Reset()
			said = time.Time{}
		}
		if time.Since(said) > sayEvery {
			c.Log.WarnContext(ctx, "no connection to rabbitmq, dialing again", "connection", c.Name+" "+role, "error", err)
			said = time.Now()
		}
		if retry.Wait(ctx) != nil {
			break
		}
	}
	return context.Cause(ctx)
}

// once runs one session from dial to close and returns how long it lived.
func (c Config) once(ctx context.Context, role string, serve func(context.Context, *session) error) (time.Duration, error) {
	s, err := c.open(ctx, role)
	if err != nil {
		return 0, err
	}
	defer s.close()
	err = serve(ctx, s)
	return time.Since(s.connectedAt), err
}
