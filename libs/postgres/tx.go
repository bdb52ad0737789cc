package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/syncsets/syncsets/libs/backoff"
)

// txAttempts is how often InTx runs a transaction that the server rolled back for its own reasons.
const txAttempts = 4

// InTx runs f in a transaction and commits it, or rolls back when f fails. A serialization failure or a deadlock runs f again, up to
// three times: f must have no effect outside the transaction before it returns. Inside Together it becomes a part of that transaction.
func InTx(ctx context.Context, pool *pgxpool.Pool, o pgx.TxOptions, f func(pgx.Tx) error) error {
	if outer := joined(ctx, pool); outer != nil {
		return pgx.BeginFunc(ctx, outer, f)
	}
	retry := backoff.New(20*time.Millisecond, 200*time.Millisecond)
	for attempt := 1; ; attempt++ {
		err := pgx.BeginTxFunc(ctx, pool, o, f)
		if attempt == txAttempts || !hasCode(err, serializationFailure, deadlockDetected) {
			return err
		}
		if waitErr := retry.Wait(ctx); waitErr != nil {
			return err
		}
	}
}

// Together makes one transaction of every InTx on pool that f does with the context it is given: each is a savepoint, so one that fails
// undoes its own writes and f may go on; all is committed when f returns, undone when it fails. The rules of InTx hold for f, and f uses
// the context from one goroutine. Reads that do not go through InTx see what was committed before.
func Together(ctx context.Context, pool *pgxpool.Pool, f func(context.Context) error) error {
	return InTx(ctx, pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		return f(context.WithValue(ctx, togetherKey{}, together{pool, tx}))
	})
}

type togetherKey struct{}

// together is the transaction that InTx joins, and the pool that it is of.
type together struct {
	pool *pgxpool.Pool
	tx   pgx.Tx
}

func joined(ctx context.Context, pool *pgxpool.Pool) pgx.Tx {
	if t, ok := ctx.Value(togetherKey{}).(together); ok && t.pool == pool {
		return t.tx
	}
	return nil
}
