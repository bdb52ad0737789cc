package outbox_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
)

func wantGone(t *testing.T, err error) {
	t.Helper()
	if !errs.Is(err, errs.Gone) {
		t.Errorf("got %v, want an error of kind gone", err)
	}
}

func TestReadingTheLog(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.relay(t)
	for i := range 6 {
		c := change(fmt.Sprint("object", i))
		if i%2 == 1 {
			c.Resource = "sets"
		}
		b.write(t, c)
	}
	devstack.Eventually(t, "all is published", func() bool { return b.head(t).N == 6 && b.published(t)() })
	epoch := b.head(t).Epoch
	at := func(n int64) outbox.Revision { return outbox.Revision{Epoch: epoch, N: n} }
	cases := map[string]struct {
		resource string
		since    outbox.Revision
		limit    int
		want     [][2]int64 // revision and the one before it
	}{
		"everything from the beginning":          {"", outbox.Revision{}, 10, [][2]int64{{1, 0}, {2, 0}, {3, 1}, {4, 2}, {5, 3}, {6, 4}}},
		"one resource only":                      {"sets", outbox.Revision{}, 10, [][2]int64{{2, 0}, {4, 2}, {6, 4}}},
		"from the middle":                        {"", at(4), 10, [][2]int64{{5, 3}, {6, 4}}},
		"at most as many as asked for":           {"", at(1), 2, [][2]int64{{2, 0}, {3, 1}}},
		"nothing at the end":                     {"", at(6), 10, nil},
		"nothing of a resource without an event": {"none", at(1), 10, nil},
	}
	log := outbox.NewLog(b.pool, schema)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			page, err := log.Read(t.Context(), c.resource, c.since, c.limit)
			if err != nil {
				t.Fatal(err)
			}
			var got [][2]int64
			for _, e := range page.Items {
				got = append(got, [2]int64{e.Revision.N, e.Previous})
			}
			if diff := cmp.Diff(c.want, got); diff != "" || page.Revision != at(6) {
				t.Errorf("end of log %s, (-want +got):\n%s", page.Revision, diff)
			}
		})
	}
	b.exec(t, `UPDATE clusters.relay SET compacted_rev = 3`)
	gone := map[string]outbox.Revision{
		"beyond the end": at(7), "another epoch": {Epoch: "other", N: 5}, "compacted": at(2), "the beginning, compacted": {},
	}
	for name, since := range gone {
		t.Run(name+" is gone", func(t *testing.T) {
			_, err := log.Read(t.Context(), "", since, 10)
			wantGone(t, err)
		})
	}
	if _, err := log.Read(t.Context(), "", at(3), 10); err != nil {
		t.Errorf("right behind what was compacted: %v", err)
	}
}

func TestAPageIsBoundedByBytesButNeverEmpty(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.relay(t)
	for i := range 3 {
		b.write(t, change(fmt.Sprint("object", i)))
	}
	devstack.Eventually(t, "all is published", func() bool { return b.head(t).N == 3 })
	b.exec(t, `UPDATE clusters.events SET size = 1 << 30`)
	if events := b.readAll(t, "", outbox.Revision{}); len(events) != 3 {
		t.Errorf("read %d of 3 events", len(events))
	}
	page, err := outbox.NewLog(b.pool, schema).Read(t.Context(), "", outbox.Revision{}, 10)
	if err != nil || len(page.Items) != 1 {
		t.Errorf("a page of too large events holds %d, %v", len(page.Items), err)
	}
}

func TestRevisionsAsText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]outbox.Revision{
		"":        {},
		"e1.0":    {Epoch: "e1"},
		"ab12.42": {Epoch: "ab12", N: 42},
	} {
		got, err := outbox.ParseRevision(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q is read as %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"5", ".5", "e1.", "e1.-1", "e1.05", "E.1", "e1.1.1", "e1.99999999999999999999", "e 1.1"} {
		if got, err := outbox.ParseRevision(text); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q is read as %+v, %v; want an error of kind invalid", text, got, err)
		}
	}
}
