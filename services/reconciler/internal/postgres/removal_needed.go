package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// neededSQL selects what a set owns on clusters and no longer wants: on clusters that it is not to be on, all of it; elsewhere what
// its text does not name. A text without a namespace, or with one for a kind that has none, names the object all the same. Objects
// that were last rendered before the set went on Sync are released, never deleted. Its arguments are those of neededArgs; on_clusters is
// a relation of (cluster_uid, matched).
const neededSQL = `SELECT i.cluster_uid, i.api_group, i.kind, i.namespace, i.name
FROM reconciler.inventory i JOIN on_clusters USING (cluster_uid)
WHERE i.set_uid = $1 AND i.set_generation >= $2 AND NOT on_clusters.matched
UNION ALL SELECT i.cluster_uid, i.api_group, i.kind, i.namespace, i.name
FROM reconciler.inventory i JOIN on_clusters USING (cluster_uid)
WHERE i.set_uid = $1 AND i.set_generation >= $2 AND on_clusters.matched AND NOT $7 AND i.cluster_uid <> ALL($8::uuid[])
	AND NOT EXISTS (SELECT FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS l (api_group, kind, namespace, name)
		WHERE l.api_group = i.api_group AND l.kind = i.kind AND l.name = i.name
			AND (l.namespace = i.namespace OR l.namespace = '' OR i.namespace = ''))
	AND NOT EXISTS (SELECT FROM unnest($9::uuid[], $10::text[], $11::text[], $12::text[], $13::text[])
			AS l (cluster_uid, api_group, kind, namespace, name)
		WHERE l.cluster_uid = i.cluster_uid AND l.api_group = i.api_group AND l.kind = i.kind AND l.name = i.name
			AND (l.namespace = i.namespace OR l.namespace = '' OR i.namespace = ''))`

// nextArg is the number of the first argument behind those of neededSQL.
const nextArg = 14

// neededArgs are the arguments of neededSQL: the set, since when it deletes, what it is known to want everywhere, and where names depend
// on the cluster, what it wants on each of clusters, or on all that have something of it when that is nil.
func (s set) neededArgs(ctx context.Context, tx pgx.Tx, clusters []string) ([]any, error) {
	tracked := int64(0)
	if s.trackedFrom != nil {
		tracked = *s.trackedFrom
	}
	var everywhere, named identities
	everywhere.clear()
	named.clear()
	names := s.names()
	if !names.NamesVary() {
		ids, complete := names.Identities(render.Facts{})
		everywhere.add("", ids)
		everywhere.opaque = !complete
	} else if err := named.on(ctx, tx, s, names, clusters); err != nil {
		return nil, err
	}
	return []any{
		s.uid, tracked, everywhere.groups, everywhere.kinds, everywhere.namespaces, everywhere.names, everywhere.opaque,
		named.unnamed, named.clusters, named.groups, named.kinds, named.namespaces, named.names,
	}, nil
}

// identities are what a set wants, as columns for SQL. opaque says that some item could not be named, so that nobody knows what the set
// contains; unnamed are the clusters on which that is so. There everything that the set owns counts as wanted.
type identities struct {
	clusters, groups, kinds, namespaces, names, unnamed []string
	opaque                                              bool
}

// clear makes the columns empty ones: NULL is not an empty list.
func (i *identities) clear() {
	for _, column := range []*[]string{&i.clusters, &i.groups, &i.kinds, &i.namespaces, &i.names, &i.unnamed} {
		*column = []string{}
	}
}

func (i *identities) add(cluster string, ids []inventory.Identity) {
	for _, id := range ids {
		i.clusters, i.groups, i.kinds = append(i.clusters, cluster), append(i.groups, id.Group), append(i.kinds, id.Kind)
		i.namespaces, i.names = append(i.namespaces, id.Namespace), append(i.names, id.Name)
	}
}

// on adds what the set wants on clusters.
func (i *identities) on(ctx context.Context, tx pgx.Tx, s set, names *render.Set, clusters []string) error {
	rows, err := tx.Query(ctx, `SELECT uid::text, namespace, name, coalesce(document -> 'labels', '{}') FROM reconciler.clusters c
WHERE CASE WHEN $2::uuid[] IS NULL THEN EXISTS (SELECT FROM reconciler.inventory i WHERE i.set_uid = $1 AND i.cluster_uid = c.uid)
	ELSE c.uid = ANY($2) END`, planAnew, s.uid, clusters)
	if err != nil {
		return postgres.Wrap(err, "read what %s is rendered from", s.name)
	}
	var f render.Facts
	_, err = pgx.ForEachRow(rows, []any{&f.UID, &f.Namespace, &f.Name, &f.Labels}, func() error {
		ids, complete := names.Identities(f)
		i.add(f.UID, ids)
		if !complete {
			i.unnamed = append(i.unnamed, f.UID)
		}
		f.Labels = nil
		return nil
	})
	return postgres.Wrap(err, "read what %s is rendered from", s.name)
}

// names is what tells what the set's objects are called.
func (s set) names() *render.Set {
	return render.Parse(s.spec.SetSpec, render.Marks{OwnerUID: s.uid})
}
