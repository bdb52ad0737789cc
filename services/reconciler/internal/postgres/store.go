// Package postgres keeps the reconciler's schema: projections of clusters and sets, marks on work rows, removals and their ledger,
// runs and inventories. Each exported method is one transaction; a lower-case function that takes a pgx.Tx is a step in one.
//
// Rows are locked in one order everywhere: planner, work (by cluster uid), cluster_sets, inventory, removals, deletion_ledger.
package postgres

import "github.com/jackc/pgx/v5/pgxpool"

// Store is the reconciler's view of its schema. It is safe for concurrent use.
type Store struct {
	pool   *pgxpool.Pool
	budget Budget
	pace   *pace
}

// Option changes a Store from its defaults.
type Option func(*Store)

// WithBudget replaces the default deletion budget of 5 clusters or 10 %.
func WithBudget(b Budget) Option { return func(s *Store) { s.budget = b } }

// WithChunk replaces the default of at most 1,000 clusters per fan-out transaction.
func WithChunk(clusters int) Option { return func(s *Store) { s.pace = newPace(clusters) } }

// New returns a Store over pool, whose role needs the rights on the schema "reconciler" alone.
func New(pool *pgxpool.Pool, options ...Option) *Store {
	s := &Store{pool: pool, budget: Budget{Clusters: 5, Percent: 10}, pace: newPace(1000)}
	for _, o := range options {
		o(s)
	}
	return s
}

// Pool returns the pool for what lies beside the store: migrations, the relay, readiness.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }
