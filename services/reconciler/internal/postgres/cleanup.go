package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/postgres"
)

// CleanClusters returns the uids of at most limit clusters that were to be cleaned up and on whose targets nothing of ours is left. A run
// that still goes on can add nothing any more: its intents are refused since the cluster was marked.
func (s *Store) CleanClusters(ctx context.Context, limit int) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT c.uid::text FROM reconciler.clusters c
WHERE c.leaving AND NOT EXISTS (SELECT FROM reconciler.inventory i WHERE i.cluster_uid = c.uid) ORDER BY c.uid LIMIT $1`, limit)
	if err != nil {
		return nil, postgres.Wrap(err, "find clean clusters")
	}
	clean, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return clean, postgres.Wrap(err, "find clean clusters")
}
