package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/test/stack"
)

// channel opens a channel of its own at the stack's broker.
func channel(t *testing.T, s *stack.Stack) *amqp091.Channel {
	t.Helper()
	conn, err := amqp091.Dial(s.Rabbit.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func TestForgedDoubledAndReorderedMessagesChangeNothing(t *testing.T) {
	t.Parallel()
	kube, target, s, ns := begin(t, "forged", stack.Options{})
	ch := channel(t, s)
	messages := subscribe(t, s, ch, "syncsets", "selectorsyncsets")
	register(s, "fleet", "c", kube.Kubeconfig, map[string]string{"a": "b"})
	set := func(v string) map[string]any {
		return selectorSet("set", "a", "b", []json.RawMessage{stack.ConfigMap(ns, "cm", "k", v)}, nil)
	}
	s.Do(http.MethodPost, "/v1/selectorsyncsets", set("1"), 201)
	target.WaitData(soon, ns, "cm", "k", "1")
	s.Do(http.MethodPut, "/v1/selectorsyncsets/set", set("2"), 200)
	target.WaitData(soon, ns, "cm", "k", "2")
	waitResult(t, s, "fleet", "c", "set", v1.ResultSuccess)
	version := target.ConfigMap(ns, "cm").ResourceVersion

	seen := collect(t, messages, 2)
	for i := len(seen) - 1; i >= 0; i-- { // twice, in the wrong order
		publish(t, s, ch, seen[i].RoutingKey, seen[i].Headers, seen[i].Body)
		publish(t, s, ch, seen[i].RoutingKey, seen[i].Headers, seen[i].Body)
	}
	deleted := amqp091.Table{"cloudEvents:specversion": "1.0", "cloudEvents:type": "dev.syncsets.selectorsyncset.deleted", "cloudEvents:revision": "999999"}
	publish(t, s, ch, "selectorsyncsets.deleted._", deleted, seen[len(seen)-1].Body)
	publish(t, s, ch, "selectorsyncsets.deleted._", nil, []byte("not even JSON"))

	// A later write is applied after them: by then they have been taken in, and changed nothing.
	later := selectorSet("later", "a", "b", []json.RawMessage{stack.ConfigMap(ns, "later", "k", "1")}, nil)
	s.Do(http.MethodPost, "/v1/selectorsyncsets", later, 201)
	target.WaitData(soon, ns, "later", "k", "1")
	if cm := target.ConfigMap(ns, "cm"); cm == nil || cm.ResourceVersion != version {
		t.Errorf("the object changed: %+v, want resourceVersion %s", cm, version)
	}
}

func TestItConvergesAfterQueuesWerePurgedAndDeleted(t *testing.T) {
	t.Parallel()
	kube, target, s, ns := begin(t, "purged", stack.Options{})
	register(s, "fleet", "c", kube.Kubeconfig, map[string]string{"a": "b"})
	waitReachable(t, s, "fleet", "c", v1.ReasonReachable)
	queues := []string{s.Rabbit.Prefix + "reconciler.plan", s.Rabbit.Prefix + "reconciler.apply"}
	done := map[string]int{}
	for round := range 6 {
		name := fmt.Sprintf("set-%d", round)
		body := selectorSet(name, "a", "b", []json.RawMessage{stack.ConfigMap(ns, name, "k", "1")}, nil)
		s.Do(http.MethodPost, "/v1/selectorsyncsets", body, 201)
		for _, queue := range queues {
			kind, err := "purged", error(nil)
			if ch := channel(t, s); round%2 == 0 {
				_, err = ch.QueuePurge(queue, false)
			} else {
				kind = "deleted"
				_, err = ch.QueueDelete(queue, false, false, false)
			}
			if err != nil { // it may be being declared again
				t.Logf("round %d, %s not %s: %v", round, queue, kind, err)
				continue
			}
			done[queue+" "+kind]++
		}
	}
	for _, queue := range queues {
		for _, kind := range []string{"purged", "deleted"} {
			if done[queue+" "+kind] == 0 {
				t.Errorf("%s was never %s: %v", queue, kind, done)
			}
		}
	}
	for round := range 6 {
		target.WaitData(2*time.Minute, ns, fmt.Sprintf("set-%d", round), "k", "1")
	}
}

// subscribe returns what a service publishes about a resource from now on.
func subscribe(t *testing.T, s *stack.Stack, ch *amqp091.Channel, exchange, resource string) <-chan amqp091.Delivery {
	t.Helper()
	queue, err := ch.QueueDeclare("", false, true, true, false, amqp091.Table{"x-queue-type": "classic"})
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(queue.Name, resource+".#", s.Rabbit.Prefix+exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	messages, err := ch.Consume(queue.Name, "", true, true, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// collect takes n messages that are not bookmarks.
func collect(t *testing.T, messages <-chan amqp091.Delivery, n int) []amqp091.Delivery {
	t.Helper()
	var seen []amqp091.Delivery
	limit := time.After(soon)
	for len(seen) < n {
		select {
		case m := <-messages:
			if !strings.Contains(m.RoutingKey, ".bookmark.") {
				seen = append(seen, m)
			}
		case <-limit:
			t.Fatalf("%d of %d messages came", len(seen), n)
		}
	}
	return seen
}

func publish(t *testing.T, s *stack.Stack, ch *amqp091.Channel, key string, headers amqp091.Table, body []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	m := amqp091.Publishing{Headers: headers, Body: body, ContentType: "application/json"}
	if err := ch.PublishWithContext(ctx, s.Rabbit.Prefix+"syncsets", key, false, false, m); err != nil {
		t.Fatal(err)
	}
}
