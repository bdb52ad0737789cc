package amqp_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/rabbitmq/amqp091-go"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/devstack"
)

func TestAQueueLeftWithoutALeaderByAKilledBrokerIsMadeAnew(t *testing.T) {
	t.Parallel()
	rabbit := devstack.NewRabbitMQ(t, devstack.RabbitMQOptions{})
	c := config(t, rabbit)
	name, declare := queue(c)
	conn, err := amqp091.Dial(rabbit.URL)
	if err != nil {
		t.Fatal(err)
	}
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	// RabbitMQ 3.10 and 4.0, killed right after this, know the queue for ever and never give it a leader.
	if err := declare(ch); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(rabbit.Server.Kill(t.Context()), rabbit.Server.Restart(t.Context())); err != nil {
		t.Fatal(err)
	}
	in := &inbox{}
	consume(t, c, 10, in.take)
	p := publisher(t, c, nil)
	publish(t, p, amqp.Message{Key: name, ID: "1"})
	devstack.Eventually(t, "the message arrives", func() bool { return len(in.all()) > 0 })
}

func TestABrokerThatFallsSilentBeforeTheChannelIsOpenIsLeftForAnotherConnection(t *testing.T) {
	t.Parallel()
	c := config(t, devstack.RabbitMQ(t))
	_, declare := queue(c)
	c.URL = silentOnce(t, c.URL)
	publisher(t, c, declare)
}

// silentOnce returns the URL of a broker behind a connection that falls silent, without closing, when its first channel is opened. Later
// connections are fine.
func silentOnce(t *testing.T, target string) string {
	t.Helper()
	uri, err := amqp091.ParseURI(target)
	if err != nil {
		t.Fatal(err)
	}
	backend := net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	var silenced atomic.Bool
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", backend)
			if err != nil {
				client.Close()
				continue
			}
			go func() { defer client.Close(); _, _ = io.Copy(client, server) }()
			go func() { defer server.Close(); _, _ = io.Copy(&untilChannel{server, &silenced}, client) }()
		}
	}()
	uri.Port = listener.Addr().(*net.TCPAddr).Port
	return uri.String()
}

// channelOpen is the class and method of channel.open.
var channelOpen = []byte{0, 20, 0, 10}

// untilChannel passes on what a client writes, up to the first channel that anybody opens, which it swallows with all that follows.
type untilChannel struct {
	io.Writer
	silenced *atomic.Bool
}

func (u *untilChannel) Write(b []byte) (int, error) {
	if bytes.Contains(b, channelOpen) && u.silenced.CompareAndSwap(false, true) {
		u.Writer = io.Discard
	}
	return u.Writer.Write(b)
}
