package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/postgres"
)

// matches are the sets of clusters: cluster and set side by side, as SQL wants them. unclear are sets whose selector nobody can read;
// what they have stays as it is.
type matches struct {
	clusters, sets []string
	generations    []*int64
	unclear        []string
}

func (m *matches) add(cluster, set string, generation *int64) {
	m.clusters, m.sets, m.generations = append(m.clusters, cluster), append(m.sets, set), append(m.generations, generation)
}

// match evaluates sets against clusters: those of only, or all when that is nil.
func match(ctx context.Context, tx pgx.Tx, clusters []clusterChange, only []string) (matches, error) {
	var m matches
	err := m.byName(ctx, tx, uids(clusters), only)
	if err != nil {
		return m, err
	}
	rows, err := tx.Query(ctx, `SELECT uid::text, generation, document -> 'clusterSelector' FROM reconciler.sets
WHERE resource = 'selectorsyncsets' AND deleted_at IS NULL AND ($1::uuid[] IS NULL OR uid = ANY($1))`, planAnew, only)
	if err != nil {
		return m, postgres.Wrap(err, "read the selectors")
	}
	defer rows.Close()
	for rows.Next() {
		selecting := set{resource: v1.ResourceSelectorSyncSets}
		if err := rows.Scan(&selecting.uid, &selecting.generation, &selecting.spec.ClusterSelector); err != nil {
			return m, postgres.Wrap(err, "read a selector")
		}
		m.bySelector(selecting, clusters)
	}
	return m, postgres.Wrap(rows.Err(), "read the selectors")
}

// byName adds the syncsets that name the clusters.
func (m *matches) byName(ctx context.Context, tx pgx.Tx, clusters, only []string) error {
	rows, err := tx.Query(ctx, `SELECT c.uid::text, s.uid::text, s.generation FROM reconciler.clusters c
JOIN reconciler.sets s ON s.resource = 'syncsets' AND s.namespace = c.namespace AND s.deleted_at IS NULL
	AND NOT c.leaving AND s.document -> 'clusterRefs' @> jsonb_build_array(jsonb_build_object('name', c.name))
WHERE c.uid = ANY($1::uuid[]) AND ($2::uuid[] IS NULL OR s.uid = ANY($2))`, planAnew, clusters, only)
	if err != nil {
		return postgres.Wrap(err, "read the syncsets of %d clusters", len(clusters))
	}
	defer rows.Close()
	for rows.Next() {
		var cluster, set string
		var generation int64
		if err := rows.Scan(&cluster, &set, &generation); err != nil {
			return postgres.Wrap(err, "read a syncset")
		}
		m.add(cluster, set, &generation)
	}
	return postgres.Wrap(rows.Err(), "read the syncsets of %d clusters", len(clusters))
}

func (m *matches) bySelector(s set, clusters []clusterChange) {
	sel, err := s.selector()
	if err != nil {
		m.unclear = append(m.unclear, s.uid)
		return
	}
	for _, c := range clusters {
		if !c.leaving && sel.Matches(c.labels) {
			m.add(c.uid, s.uid, &s.generation)
		}
	}
}
