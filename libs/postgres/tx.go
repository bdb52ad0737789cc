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
// three times: f must have no effect outside the transaction before it returns.
func InTx(ctx context.Context, pool *pgxpool.Pool, o pgx.TxOptions, f func(pgx.Tx) error) error {
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
