package plan_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rabbitmq/amqp091-go"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/services/reconciler/internal/plan"
)

// With an hour between polls only the doorbell can wake the planner.
func TestTheDoorbellWakesThePlanner(t *testing.T) {
	t.Parallel()
	s := start(t, time.Hour)
	for i := range 12 {
		s.cluster(t, fmt.Sprintf("c%d", i))
	}
	s.set(t, "everywhere")
	eventually(t, "12 clusters are told of the set", func() bool { return s.targets(t, 1) == 12 })
}

func TestForgedDoubledAndReorderedMessagesChangeNothing(t *testing.T) {
	t.Parallel()
	s := start(t, time.Hour)
	s.cluster(t, "c")
	set := s.set(t, "everywhere")
	eventually(t, "the cluster is told of the set", func() bool { return s.targets(t, 1) == 1 })
	before := s.state(t)

	ch := s.channel(t)
	s.mu.Lock()
	requests := s.requests
	s.mu.Unlock()
	forged := *set
	forged.Generation, forged.ResourceVersion = 99, "99"
	body, err := json.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	for _, operation := range []string{"deleted", "updated", "created", "deleted", "deleted"} {
		key := "selectorsyncsets." + operation + "._"
		err := ch.PublishWithContext(t.Context(), s.amqp.Exchange("syncsets"), key, false, false, amqp091.Publishing{
			ContentType: "application/json", Body: body,
			Headers: amqp091.Table{"cloudEvents:revision": "zzz.7", "cloudEvents:id": uuid.NewString(), "cloudEvents:subject": "everywhere"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the planner was woken and has looked", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.requests > requests
	})
	s.cluster(t, "last") // planned after the forged messages: when it is there, they have been dealt with
	eventually(t, "the new cluster is told, too", func() bool { return s.targets(t, 1) == 2 })
	if s.targets(t, 99) != 0 || before == "" {
		t.Error("a forged message reached the projection")
	}
	p, err := s.store.GetSetSyncByUID(t.Context(), set.UID)
	if err != nil || p.Status.Deleted || p.Status.Generation != 1 {
		t.Errorf("the set is now %+v, %v", p.Status, err)
	}
}

// Messages may be thrown away by hand: the planner finds out by itself.
func TestAPurgedQueueStillConverges(t *testing.T) {
	t.Parallel()
	s := start(t, 300*time.Millisecond)
	ch := s.channel(t)
	queue := s.amqp.Queue(plan.Queue)
	eventually(t, "the queue is there", func() bool {
		_, err := s.channel(t).QueueDeclarePassive(queue, true, false, false, false, amqp091.Table{amqp091.QueueTypeArg: amqp091.QueueTypeQuorum})
		return err == nil
	})
	for _, exchange := range []string{"clusters", "syncsets"} {
		if err := ch.QueueUnbind(queue, "#", s.amqp.Exchange(exchange), nil); err != nil {
			t.Fatal(err)
		}
	}
	s.cluster(t, "c1")
	set := s.set(t, "everywhere")
	if _, err := ch.QueuePurge(queue, false); err != nil {
		t.Fatal(err)
	}
	s.cluster(t, "c2")
	eventually(t, "both are told", func() bool { return s.targets(t, 1) == 2 })
	set.Generation = 2
	s.write(t, "syncsets", v1.ResourceSelectorSyncSets, outbox.Updated, &set.Metadata, set)
	if _, err := ch.QueuePurge(queue, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are told of the edit", func() bool { return s.targets(t, 2) == 2 })
}

func TestALogThatWentBackwardsStopsThePlannerAndAllWriting(t *testing.T) {
	t.Parallel()
	s := start(t, 200*time.Millisecond)
	s.cluster(t, "c")
	s.set(t, "everywhere")
	eventually(t, "the cluster is told of the set", func() bool { return s.targets(t, 1) == 1 })
	s.mu.Lock()
	clear(s.documents["syncsets"])
	s.mu.Unlock()
	if _, err := s.pg.Pool.Exec(t.Context(), "UPDATE syncsets.relay SET epoch = 'restored', last_rev = 0, published_rev = 0"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the planner has stopped", func() bool {
		p, err := s.store.Planner(t.Context())
		return err == nil && p.Stopped()
	})
	if n := s.targets(t, 1); n != 1 {
		t.Errorf("%d clusters are told of the set, want still 1", n)
	}
	if err := s.store.Heartbeat(t.Context(), "worker", 4); err != nil {
		t.Fatal(err)
	}
	if offers, err := s.store.PickDue(t.Context()); err != nil || len(offers) != 0 {
		t.Errorf("offers while stopped: %v, %v", offers, err)
	}
}

func TestACompactedLogIsListedAgain(t *testing.T) {
	t.Parallel()
	s := start(t, 200*time.Millisecond)
	s.cluster(t, "c1")
	s.set(t, "everywhere")
	eventually(t, "the cluster is told of the set", func() bool { return s.targets(t, 1) == 1 })
	// The planner is behind, and what it would read next is no longer in the log.
	_, err := s.pg.Pool.Exec(t.Context(), "UPDATE reconciler.planner SET clusters_rev = 0")
	if err == nil {
		_, err = s.pg.Pool.Exec(t.Context(), "UPDATE clusters.relay SET compacted_rev = last_rev")
	}
	if err != nil {
		t.Fatal(err)
	}
	s.cluster(t, "c2")
	eventually(t, "both are told", func() bool { return s.targets(t, 1) == 2 })
}

// The doorbell says which service rang, and only that one's log is read: a write of one service costs no request to the other.
func TestOnlyTheLogOfTheServiceThatRangIsRead(t *testing.T) {
	t.Parallel()
	s := start(t, time.Hour)
	s.cluster(t, "c")
	s.set(t, "everywhere")
	eventually(t, "the cluster is told of the set", func() bool { return s.targets(t, 1) == 1 })
	before := s.read("syncsets")
	for i := range 5 {
		s.cluster(t, fmt.Sprintf("later%d", i))
	}
	eventually(t, "the later clusters are told, too", func() bool { return s.targets(t, 1) == 6 })
	if n := s.read("syncsets") - before; n > 1 {
		t.Errorf("the log of syncsets was read %d times for clusters", n)
	}
}

// A service that does not answer keeps neither the other's events nor the chunks waiting.
func TestASourceThatFailsDoesNotKeepTheOtherWaiting(t *testing.T) {
	t.Parallel()
	s := start(t, time.Hour)
	s.set(t, "everywhere")
	s.silence("syncsets", true)
	s.planner.Wake()
	for i := range 12 {
		s.cluster(t, fmt.Sprintf("c%d", i))
	}
	eventually(t, "12 clusters are planned", func() bool { return s.clusters(t) == 12 })
	s.silence("syncsets", false)
	eventually(t, "the set reaches them when its service is back", func() bool { return s.targets(t, 1) == 12 })
}
