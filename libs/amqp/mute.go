package amqp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// muteAttempts is how often in a row a queue must not have answered before it is deleted. Each takes setUpTimeout, so a queue that only
// changes its leader has the time.
const muteAttempts = 2

// muteQueue watches for a queue that can be declared but not consumed from. RabbitMQ 3.10 and 4.0 leave a quorum queue so when they
// are killed right after the queue was declared: the queue never gets a leader again, confirms of what is routed to it never come, and
// only deleting it helps.
type muteQueue struct {
	name  string
	times int
}

// note counts an attempt to consume from queue, which is empty where it could not even be declared, and its outcome.
func (m *muteQueue) note(queue string, err error) {
	if err == nil || queue != m.name {
		m.name, m.times = queue, 0
	}
	if errors.Is(err, errSilent) && queue != "" {
		m.times++
	}
}

// remove deletes the queue if it did not answer often enough. Once it is gone it counts as new.
func (m *muteQueue) remove(ctx context.Context, s *session, log *slog.Logger) error {
	if m.times < muteAttempts {
		return nil
	}
	log.ErrorContext(ctx, "the queue does not answer, deleting it to declare it anew", "queue", m.name)
	err := s.within(setUpTimeout, func() error {
		_, err := s.ch.QueueDelete(m.name, false, false, false)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete the queue %s, which does not answer: %w", m.name, err)
	}
	m.times = 0
	return nil
}
