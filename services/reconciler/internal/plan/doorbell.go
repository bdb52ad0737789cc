package plan

import (
	"context"

	"github.com/rabbitmq/amqp091-go"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

// Queue is the name, without the prefix, of the queue that events of both services ring.
const Queue = "reconciler.plan"

// Listen consumes the doorbell until ctx ends and returns its cause. Whatever a message says, it does no more than wake the planner and lend it a
// trace; it may be acknowledged at once: the planner also looks on its own.
func (p *Planner) Listen(ctx context.Context) error {
	return amqp.Consume(ctx, amqp.ConsumerConfig{Config: p.AMQP, Prefetch: 64, Declare: p.declare}, func(ctx context.Context, d amqp091.Delivery) {
		p.bells.note(d)
		p.ring(p.source(d.Exchange))
		if err := d.Ack(false); err != nil {
			p.Log.DebugContext(ctx, "a doorbell could not be acknowledged and rings again", "error", err)
		}
	})
}

// source returns which service publishes to an exchange, "" for one that is neither's.
func (p *Planner) source(exchange string) postgres.Source {
	for _, f := range p.followers {
		if exchange == p.AMQP.Exchange(string(f.source)) {
			return f.source
		}
	}
	return ""
}

// declare makes the queue and binds it to everything that the two services publish. The exchanges are theirs; declaring them alike lets
// any of the services start first.
func (p *Planner) declare(ch *amqp091.Channel) (string, error) {
	queue := p.AMQP.Queue(Queue)
	if err := amqp.DeclareQuorum(ch, queue, true); err != nil {
		return "", err
	}
	for _, name := range []string{"clusters", "syncsets"} {
		exchange := p.AMQP.Exchange(name)
		if err := amqp.DeclareExchange(ch, exchange); err != nil {
			return "", err
		}
		if err := ch.QueueBind(queue, "#", exchange, false, nil); err != nil {
			return "", err
		}
	}
	return queue, nil
}
