package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/api/request"
	"github.com/syncsets/syncsets/libs/postgres"
)

// ExplainPage returns the statement that finds the clusters of a page.
func (s *Store) ExplainPage(ctx context.Context, q request.List) (sql string, args []any, err error) {
	l, err := newListing(q)
	if err != nil {
		return "", nil, err
	}
	err = postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error { return l.findSet(ctx, tx, q.Filters) })
	sql = l.sql(q.Limit + 1)
	return sql, l.args, err
}
