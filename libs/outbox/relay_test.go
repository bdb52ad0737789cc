package outbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/outbox"
)

func TestAChangeArrivesOnTheBusAndInTheFeed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r, _ := b.relay(t, func(c *outbox.RelayConfig) { c.Poll = time.Hour })
	devstack.Eventually(t, "an epoch is drawn", func() bool { return b.head(t).Epoch != "" })
	c := change("one")
	c.Operation = outbox.Updated
	c.PreviousLabels = map[string]string{"env": "test"}
	c.Options = map[string]string{"deletionPolicy": "Orphan"}
	b.write(t, c)
	r.Wake()
	devstack.Eventually(t, "the event is heard", func() bool { return len(b.heard.all()) == 1 })
	d := b.heard.all()[0]
	head := b.head(t)
	want := map[string]any{
		"cloudEvents:specversion": "1.0", "cloudEvents:id": head.String(), "cloudEvents:type": "dev.syncsets.clusters.updated",
		"cloudEvents:source": "/clusters", "cloudEvents:subject": "foo/one", "cloudEvents:time": d.Headers["cloudEvents:time"],
		"cloudEvents:revision": head.String(), "cloudEvents:prevrevision": head.Epoch + ".0",
	}
	if diff := cmp.Diff(want, map[string]any(d.Headers)); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if d.RoutingKey != "clusters.updated.foo" || string(d.Body) != `{"name": "one"}` || d.ContentType != "application/json" {
		t.Errorf("got key %q, body %s, type %q", d.RoutingKey, d.Body, d.ContentType)
	}
	events := b.readAll(t, "clusters", outbox.Revision{})
	wantEvent := outbox.Event{
		Revision: outbox.Revision{Epoch: head.Epoch, N: 1}, Resource: "clusters", Operation: "updated", UID: c.UID, Namespace: "foo", Name: "one",
		Generation: 1, ResourceVersion: 1, Document: json.RawMessage(`{"name": "one"}`), PreviousLabels: c.PreviousLabels, Options: c.Options,
		Actor: "someone", Time: events[0].Time,
	}
	if diff := cmp.Diff([]outbox.Event{wantEvent}, events); diff != "" {
		t.Errorf("feed (-want +got):\n%s", diff)
	}
}

func (b *bench) head(t *testing.T) outbox.Revision {
	t.Helper()
	head, err := outbox.NewLog(b.pool, schema).Head(t.Context(), b.pool)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// 16 writers change 8 objects in turn, two relays work at once and without their lock: nothing may be lost, doubled in the log or out
// of order per object, on the bus neither but for copies.
func TestConcurrentWritersAndTwoRelaysLoseAndReorderNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const writers, writes, objects = 16, 40, 8
	b.exec(t, `CREATE TABLE objects (id int PRIMARY KEY, uid uuid NOT NULL, generation bigint NOT NULL)`)
	for i := range objects {
		b.exec(t, `INSERT INTO objects VALUES ($1, $2, 0)`, i, uuid.New())
	}
	b.relay(t)
	b.relay(t)
	b.freeLocks(t)
	b.relay(t)
	var written atomic.Int64
	var group errgroup.Group
	for w := range writers {
		group.Go(func() error {
			for i := range writes {
				if err := b.edit(t.Context(), (w+i)%objects); err != nil {
					return err
				}
				written.Add(1)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	devstack.Eventually(t, "all is published", b.published(t))
	events := b.readAll(t, "", outbox.Revision{})
	if len(events) != int(written.Load()) {
		t.Fatalf("%d writes were acknowledged, %d events are in the log", written.Load(), len(events))
	}
	generations := map[string]int64{}
	for i, e := range events {
		if e.Revision.N != int64(i+1) || e.Previous != int64(i) {
			t.Fatalf("event %d has revision %d, previous %d", i, e.Revision.N, e.Previous)
		}
		if e.Generation != generations[e.UID]+1 {
			t.Fatalf("object %s: generation %d after %d", e.UID, e.Generation, generations[e.UID])
		}
		generations[e.UID] = e.Generation
	}
	devstack.Eventually(t, "every revision is heard", func() bool {
		heard := b.heard.revisions(t)
		slices.Sort(heard)
		return len(slices.Compact(heard)) == len(events)
	})
}

// edit changes an object under its row lock and appends the event after it, as a store does.
func (b *bench) edit(ctx context.Context, id int) error {
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		var uid string
		var generation int64
		err := tx.QueryRow(ctx, `UPDATE objects SET generation = generation + 1 WHERE id = $1 RETURNING uid::text, generation`, id).
			Scan(&uid, &generation)
		if err != nil {
			return err
		}
		return outbox.Append(ctx, tx, schema, outbox.Change{
			Resource: "clusters", Operation: outbox.Updated, UID: uid, Namespace: "foo", Name: fmt.Sprint("object", id),
			Generation: generation, ResourceVersion: generation, Document: map[string]any{"generation": generation},
		})
	})
}

// freeLocks takes the elected relay's session away, so that another is elected while the first may still be at work.
func (b *bench) freeLocks(t *testing.T) {
	t.Helper()
	devstack.Eventually(t, "a relay is elected", func() bool {
		var ended int
		b.scan(t, `SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_database d ON d.oid = database
			WHERE locktype = 'advisory' AND datname = current_database()`, &ended)
		return ended > 0
	})
}

// The relay is stopped after the broker confirmed and before published_rev moved: a trigger holds that update until the relay is dead.
func TestARelayKilledBeforeItNotedWhatItPublishedOnlyDoubles(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exec(t, `CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$`)
	b.exec(t, `CREATE TRIGGER hold BEFORE UPDATE OF published_rev ON clusters.relay FOR EACH ROW EXECUTE FUNCTION hold()`)
	for i := range 5 {
		b.write(t, change(fmt.Sprint("object", i)))
	}
	_, kill := b.relay(t)
	devstack.Eventually(t, "all events are heard", func() bool { return len(b.heard.all()) == 5 })
	kill()
	b.exec(t, `DROP TRIGGER hold ON clusters.relay`)
	var published int64
	b.scan(t, `SELECT published_rev FROM clusters.relay`, &published)
	if published != 0 {
		t.Fatalf("published_rev is %d: the first relay was not stopped in time", published)
	}
	b.relay(t)
	devstack.Eventually(t, "the events are heard again", func() bool { return len(b.heard.all()) == 10 })
	if diff := cmp.Diff([]int64{1, 2, 3, 4, 5, 1, 2, 3, 4, 5}, b.heard.revisions(t)); diff != "" {
		t.Error(diff)
	}
	devstack.Eventually(t, "published_rev follows", b.published(t))
}

func TestAForeignFingerprintDrawsANewEpochBeforeAnythingIsPublished(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"a dump restored into another server": `UPDATE clusters.relay SET fingerprint = 'other/00000001/5/16384'`,
		"a table that was made again": `ALTER TABLE clusters.events RENAME TO old;
			CREATE TABLE clusters.events (LIKE clusters.old INCLUDING ALL) PARTITION BY RANGE (revision);
			DROP TABLE clusters.old CASCADE; SELECT clusters.ensure_event_partition(0)`,
	}
	for name, restore := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			_, stop := b.relay(t)
			b.write(t, change("before"))
			devstack.Eventually(t, "the first event is heard and noted as published", func() bool { return len(b.heard.all()) == 1 && b.published(t)() })
			stop()
			old := b.head(t)
			b.exec(t, restore)
			b.write(t, change("after"))
			b.relay(t)
			devstack.Eventually(t, "the second event is heard", func() bool { return len(b.heard.all()) == 2 })
			if got := revisionOf(t, b.heard.all()[1]); got.Epoch == old.Epoch || got.N != old.N+1 {
				t.Errorf("the event after the restore has revision %s, the one before %s", got, old)
			}
			_, err := outbox.NewLog(b.pool, schema).Read(t.Context(), "", old, 10)
			wantGone(t, err)
		})
	}
}

func TestLargeDocumentsAndLongNamesTravel(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.relay(t)
	large := change(strings.Repeat("n", 253))
	large.Namespace = strings.Repeat("s", 63)
	large.Resource = "selectorsyncsets"
	text := strings.Repeat("0123456789abcdef", 3<<16)
	large.Document = map[string]string{"text": text}
	b.write(t, change("first"))
	b.write(t, large)
	devstack.Eventually(t, "both events are heard", func() bool { return len(b.heard.all()) == 2 })
	d := b.heard.all()[1]
	revision := revisionOf(t, d)
	ref := fmt.Sprintf("/v1/events/selectorsyncsets?since=%s.%d", revision.Epoch, revision.N-1)
	if len(d.Body) != 0 || d.Headers[outbox.HeaderDataRef] != ref {
		t.Errorf("body of %d bytes, dataref %v, want none and %s", len(d.Body), d.Headers[outbox.HeaderDataRef], ref)
	}
	if want := large.Namespace + "/" + large.Name; d.Headers[outbox.HeaderSubject] != want {
		t.Errorf("subject %v", d.Headers[outbox.HeaderSubject])
	}
	events := b.readAll(t, "selectorsyncsets", outbox.Revision{Epoch: revision.Epoch, N: revision.N - 1})
	var got map[string]string
	if err := json.Unmarshal(events[0].Document, &got); err != nil || got["text"] != text {
		t.Errorf("the feed's document differs (%v)", err)
	}
}

func TestAnEventThatCanNeverBePublishedIsSetAside(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	poison := change("poison")
	poison.Namespace = strings.Repeat("n", 300) // no routing key can hold it
	b.write(t, change("before"))
	b.write(t, poison)
	b.write(t, change("after"))
	b.relay(t)
	devstack.Eventually(t, "the others are heard", func() bool { return slices.Contains(b.heard.revisions(t), 3) })
	if heard := b.heard.revisions(t); slices.Contains(heard, 2) {
		t.Errorf("heard %v", heard)
	}
	devstack.Eventually(t, "published_rev passes it", b.published(t))
	var reason string
	b.scan(t, `SELECT set_aside FROM clusters.events WHERE revision = 2`, &reason)
	if !strings.Contains(reason, "refused") {
		t.Errorf("set aside because %q", reason)
	}
	if events := b.readAll(t, "", outbox.Revision{}); len(events) != 3 {
		t.Errorf("the feed shows %d of 3 events", len(events))
	}
}

func TestTheLogGrowsAcrossAPartition(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exec(t, `UPDATE clusters.relay SET last_rev = 999990, published_rev = 999990`)
	for i := range 20 {
		b.write(t, change(fmt.Sprint("object", i)))
	}
	b.relay(t)
	devstack.Eventually(t, "all are heard", func() bool { return len(b.heard.all()) == 20 })
	for i, n := range b.heard.revisions(t) {
		if n != int64(999991+i) {
			t.Fatalf("revision %d in place %d", n, i)
		}
	}
	events := b.readAll(t, "clusters", outbox.Revision{Epoch: b.head(t).Epoch, N: 999990})
	if len(events) != 20 || events[19].Revision.N != 1000010 {
		t.Errorf("the feed shows %d of 20 events", len(events))
	}
}

func TestABookmarkNamesTheLastRevisionOfEachResource(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	set := change("set")
	set.Resource = "sets"
	b.write(t, change("one"))
	b.write(t, set)
	b.relay(t, func(c *outbox.RelayConfig) {
		c.Bookmark = 100 * time.Millisecond
		c.Resources = []string{"clusters", "sets", "none"}
	})
	want := map[string]string{"clusters.bookmark._": ".1", "sets.bookmark._": ".2", "none.bookmark._": ".0"}
	devstack.Eventually(t, "right bookmarks of all resources are heard", func() bool {
		right := map[string]bool{}
		for _, d := range b.heard.all() {
			if previous, isBookmark := want[d.RoutingKey]; isBookmark && revisionOf(t, d).N == 2 {
				right[d.RoutingKey] = strings.HasSuffix(fmt.Sprint(d.Headers[outbox.HeaderPrevious]), previous)
			}
		}
		return len(right) == 3 && right["clusters.bookmark._"] && right["sets.bookmark._"] && right["none.bookmark._"]
	})
}
