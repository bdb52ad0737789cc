package amqp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rabbitmq/amqp091-go"
)

// failure explains why a batch failed: the reason the broker gave for closing, where it gave one, is the cause.
func (o *outlet) failure(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if reason := o.reason(); reason != nil {
		err = reason
		if refusal(reason) {
			err = fmt.Errorf("%w: %w", ErrRefused, reason)
		}
	}
	return unavailable(err, "the message broker did not confirm")
}

// reason asks the channel's and the connection's own record of why they ended. It waits a moment, since the notice of a close
// travels on another Go channel than the confirms that it settles.
func (o *outlet) reason() *amqp091.Error {
	select {
	case <-o.ended:
	case <-time.After(closeTimeout):
		return nil
	}
	var reason *amqp091.Error
	if errors.As(o.why, &reason) {
		return reason
	}
	return nil
}

// refusal reports whether the broker closed the channel because of what was in a message: its size (precondition failed, content too
// large) or a header it cannot use (also precondition failed). A frame or syntax error, which closes the connection, counts too.
func refusal(reason *amqp091.Error) bool {
	switch reason.Code {
	case amqp091.ContentTooLarge, amqp091.PreconditionFailed, amqp091.FrameError, amqp091.SyntaxError, amqp091.UnexpectedFrame:
		return reason.Server
	}
	return false
}
