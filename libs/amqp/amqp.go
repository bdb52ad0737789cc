// Package amqp keeps publishers and consumers connected to RabbitMQ. It dials anew after every loss, with a new connection and new
// channels: the library's own recovery keeps the channel object, after which a late acknowledgement can hit another message.
// Publishing and consuming use separate connections, because the broker stops reading from a blocked publisher.
package amqp

import (
	"log/slog"

	"github.com/rabbitmq/amqp091-go"
)

// Config says which broker, and as whom.
type Config struct {
	URL    string // amqp:// or amqps://
	Prefix string // goes before the names of exchanges and queues
	Name   string // of the connection, shown by the broker
	Log    *slog.Logger
	// Consuming is told when a consumer begins to get deliveries and when that ends; it may be nil.
	Consuming func(bool)
}

// Exchange returns the name of an exchange on this broker.
func (c Config) Exchange(name string) string { return c.Prefix + name }

// Queue returns the name of a queue on this broker.
func (c Config) Queue(name string) string { return c.Prefix + name }

// DeclareExchange declares a durable topic exchange.
func DeclareExchange(ch *amqp091.Channel, name string) error {
	return ch.ExchangeDeclare(name, amqp091.ExchangeTopic, true, false, false, false, nil)
}

// DeclareQuorum declares a durable quorum queue, with a single active consumer if wanted. Limits belong in policies: arguments of an
// existing queue cannot be changed.
func DeclareQuorum(ch *amqp091.Channel, name string, singleActive bool) error {
	args := amqp091.Table{amqp091.QueueTypeArg: amqp091.QueueTypeQuorum}
	if singleActive {
		args[amqp091.SingleActiveConsumerArg] = true
	}
	_, err := ch.QueueDeclare(name, true, false, false, false, args)
	return err
}

// DeclareExclusive declares a queue for this connection alone, named by the broker and gone with the connection, and returns its name.
func DeclareExclusive(ch *amqp091.Channel) (string, error) {
	q, err := ch.QueueDeclare("", false, true, true, false, amqp091.Table{amqp091.QueueTypeArg: amqp091.QueueTypeClassic})
	return q.Name, err
}
