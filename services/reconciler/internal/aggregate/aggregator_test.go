package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/services/reconciler/internal/aggregate"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

func TestMain(m *testing.M) { devstack.Main(m) }

const setUID = "00000000-0000-0000-0000-0000000000a1"

// start runs an aggregator until the returned function is called.
func start(t *testing.T, store *postgres.Store) (stop func()) {
	t.Helper()
	a, err := aggregate.New(aggregate.Config{Store: store, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := a.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v, want that it was canceled", err)
		}
	})
	return func() { cancel(); done.Wait() }
}

// Two aggregators; the one that is active ends, and the other takes over what it missed.
func TestCountingGoesOnWhenTheActiveAggregatorEnds(t *testing.T) {
	t.Parallel()
	pg := devstack.Postgres(t, "reconciler")
	store := postgres.New(pg.Pool)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := pg.Pool.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	pending := func(want int) {
		t.Helper()
		devstack.Eventually(t, fmt.Sprintf("%d pending", want), func() bool {
			found, err := store.GetSetSyncByUID(t.Context(), setUID)
			if err != nil {
				t.Fatal(err)
			}
			return found.Status.Pending == want
		})
	}
	exec(`INSERT INTO reconciler.sets (uid, resource, namespace, name, generation, resource_version, document)
VALUES ($1, 'selectorsyncsets', '', 's', 1, 1, '{"clusterSelector": {}}')`, setUID)
	add := func() {
		t.Helper()
		exec(`INSERT INTO reconciler.cluster_sets (cluster_uid, set_uid, target_generation) VALUES (gen_random_uuid(), $1, 1)`, setUID)
	}
	add()
	stopFirst := start(t, store)
	pending(1)
	stopSecond := start(t, store)
	defer stopSecond()
	add()
	exec("INSERT INTO reconciler.dirty_sets (set_uid) VALUES ($1)", setUID)
	pending(2)
	stopFirst()
	add()
	exec("INSERT INTO reconciler.dirty_sets (set_uid) VALUES ($1)", setUID)
	pending(3)
}
