package outbox

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/backoff"
)

const (
	standInterval = time.Second
	guardInterval = 5 * time.Second
)

// term stands for election on a connection of its own and, once elected, leads until that connection is lost or ctx ends. The lock
// belongs to the session, so it is free as soon as the server notices that the session is gone.
func (r *Relay) term(ctx context.Context) error {
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	for elected := false; !elected; {
		if elected, err = r.tryLock(ctx, conn); err != nil {
			return err
		}
		if elected {
			break
		}
		if _, err := r.look(ctx); err != nil {
			return err
		}
		if err := backoff.Sleep(ctx, standInterval); err != nil {
			return err
		}
	}
	r.Log.InfoContext(ctx, "relay elected", "schema", r.Schema)
	return r.lead(ctx, func(ctx context.Context) error { return guard(ctx, conn) })
}

// connect dials a connection that belongs to no pool: the lock must not travel to another user of it.
func (r *Relay) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	config := r.Pool.Config().ConnConfig
	config.Tracer = nil
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

func (r *Relay) tryLock(ctx context.Context, conn *pgx.Conn) (elected bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, guardInterval)
	defer cancel()
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lockKey(r.Schema)).Scan(&elected)
	return elected, err
}

// guard returns an error as soon as the session that holds the lock is seen to be gone.
func guard(ctx context.Context, conn *pgx.Conn) error {
	for {
		if err := backoff.Sleep(ctx, guardInterval); err != nil {
			return err
		}
		if err := answers(ctx, conn); err != nil {
			return fmt.Errorf("the session that holds the relay's lock is gone: %w", err)
		}
	}
}

func answers(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, guardInterval)
	defer cancel()
	return conn.Ping(ctx)
}

// lockKey is the key of the advisory lock of schema's relay.
func lockKey(schema string) int64 {
	h := fnv.New64a()
	h.Write([]byte("relay " + schema))
	return int64(h.Sum64()) //nolint:gosec // any 64 bits will do
}
