package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/selector"
)

// ListClusterSyncs returns a page in the order of namespace and name, without the objects of the sets. A list by set shows
// of each cluster that set alone. A result and a set are about the same row: which clusters fail for a set is one range of an index, however many clusters there are and however few of them fail.
func (s *Store) ListClusterSyncs(ctx context.Context, q request.List) (v1.List[v1.ClusterSync], error) {
	list := v1.List[v1.ClusterSync]{Items: []v1.ClusterSync{}}
	l, err := newListing(q)
	if err != nil {
		return list, err
	}
	list.Revision, err = s.snapshot(ctx, func(tx pgx.Tx) error {
		if err := l.findSet(ctx, tx, q.Filters); err != nil || l.nothing {
			return err
		}
		found, err := l.page(ctx, tx, q.Limit+1)
		if err != nil {
			return err
		}
		list.Items, list.Continue, err = l.documents(ctx, tx, found, q.Limit)
		return err
	})
	return list, postgres.Wrap(err, "list clustersyncs")
}

// documents returns what is known of the first limit of the clusters found, as many as fit on a page, and the token when some are left.
func (l *listing) documents(ctx context.Context, tx pgx.Tx, found []position, limit int) ([]v1.ClusterSync, string, error) {
	p := page[v1.ClusterSync]{items: []v1.ClusterSync{}}
	for part := range slices.Chunk(found[:min(limit, len(found))], pagePart) {
		clusters := make([]string, len(part))
		for i, at := range part {
			clusters[i] = at[2]
		}
		rows, err := clusterRows(ctx, tx, "c.uid = ANY($1::uuid[]) ORDER BY c.namespace, c.name, c.uid", clusters)
		if err != nil {
			return nil, "", err
		}
		documents, err := assemble(ctx, tx, rows, l.set)
		if err != nil {
			return nil, "", err
		}
		if err := p.add(documents); err != nil {
			return nil, "", err
		}
		if p.full {
			last := p.items[len(p.items)-1]
			return p.items, position{last.Namespace, last.Name, last.UID}.token(), nil
		}
	}
	if len(found) > limit {
		return p.items, found[limit-1].token(), nil
	}
	return p.items, "", nil
}

// results are what rows of cluster_sets say.
var results = []string{v1.ResultSuccess, v1.ResultFailure, v1.ResultPending, v1.ResultSuspended, v1.ResultHeld}

// listing finds the clusters of a page. Its conditions are on reconciler.clusters c and reconciler.clustersyncs s; the place where the page
// before ended is apart, because it is said in terms of whatever is walked in order.
type listing struct {
	conditions []string
	args       []any
	after      position
	namespace  string
	result     string // "": any
	set        string // uid; "": any
	nothing    bool   // there is no such set
}

func newListing(q request.List) (*listing, error) {
	labels, err := selector.Parse(q.LabelSelector)
	if err != nil {
		return nil, err
	}
	l := &listing{namespace: q.Namespace, result: q.Filters["result"]}
	if l.after, err = parsePosition(q.Continue, 3); err != nil {
		return nil, err
	}
	if !storable(q.Namespace, strings.Join(l.after, "")) || (l.result != "" && !slices.Contains(results, l.result)) {
		return nil, errs.New(errs.Invalid, "namespace or result is not a name")
	}
	where, args := labels.SQL("c.labels", 1)
	l.conditions, l.args = []string{where}, args
	if reachable := q.Filters["reachable"]; reachable != "" {
		l.and("s.reachable = $%d", reachable)
	}
	if slow := q.Filters["slow"]; slow != "" {
		than, err := time.ParseDuration(slow)
		if err != nil {
			return nil, errs.Wrap(errs.Invalid, err, "slow is not a duration")
		}
		l.and("s.run_seconds > $%d", than.Seconds())
	}
	return l, nil
}

// and adds a condition, whose placeholders are for values.
func (l *listing) and(format string, values ...any) {
	l.conditions = append(l.conditions, l.say(format, values...))
}

// say puts the numbers of values, which become arguments, into a condition.
func (l *listing) say(format string, values ...any) string {
	places := make([]any, len(values))
	for i, v := range values {
		l.args = append(l.args, v)
		places[i] = len(l.args)
	}
	return fmt.Sprintf(format, places...)
}

// findSet looks up the set that the filters name: the one that has the name now, or else the last one that had it.
func (l *listing) findSet(ctx context.Context, tx pgx.Tx, filters map[string]string) error {
	resource, namespace, name := v1.ResourceSelectorSyncSets, "", filters["selectorSyncSet"]
	if key := filters["syncSet"]; key != "" {
		resource = v1.ResourceSyncSets
		namespace, name, _ = strings.Cut(key, "/")
	}
	if name == "" {
		return nil
	}
	if l.nothing = !storable(namespace, name); l.nothing {
		return nil
	}
	err := tx.QueryRow(ctx, `SELECT uid::text FROM reconciler.sets WHERE resource = $1 AND namespace = $2 AND name = $3
ORDER BY deleted_at IS NOT NULL, deleted_at DESC, uid LIMIT 1`, resource, namespace, name).Scan(&l.set)
	if l.nothing = errors.Is(err, pgx.ErrNoRows); l.nothing {
		return nil
	}
	return err
}

// page returns the namespaces, names and uids of up to limit clusters in order.
func (l *listing) page(ctx context.Context, tx pgx.Tx, limit int) ([]position, error) {
	rows, err := tx.Query(ctx, l.sql(limit), append([]any{planAnew}, l.args...)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (position, error) {
		p := make(position, 3)
		return p, row.Scan(&p[0], &p[1], &p[2])
	})
}

func (l *listing) sql(limit int) string {
	switch {
	case l.set != "":
		return l.ofSet(limit)
	case l.result != "" && l.result != v1.ResultSuccess:
		return l.inTrouble(limit)
	case l.result != "":
		l.and("EXISTS (SELECT FROM reconciler.cluster_sets t WHERE t.cluster_uid = c.uid AND t.result = $%d)", l.result)
	}
	l.from("c.namespace", "c.name", "c.uid")
	return fmt.Sprintf(`SELECT c.namespace, c.name, c.uid::text FROM reconciler.clusters c JOIN reconciler.clustersyncs s ON s.cluster_uid = c.uid
WHERE %s ORDER BY c.namespace, c.name, c.uid LIMIT %d`, l.where(), limit)
}

// ofSet walks, for each result, the range of the index that is about the set and that result.
func (l *listing) ofSet(limit int) string {
	of := results
	if l.result != "" {
		of = []string{l.result}
	}
	clusters := l.clusters()
	ranges := l.say("unnest($%d::text[])", of)
	l.and("t.set_uid = $%d", l.set)
	l.from("t.cluster_namespace", "t.cluster_name", "t.cluster_uid")
	return fmt.Sprintf(`SELECT found.cluster_namespace, found.cluster_name, found.cluster_uid::text FROM %s AS r (result) CROSS JOIN LATERAL (
	SELECT t.cluster_namespace, t.cluster_name, t.cluster_uid FROM reconciler.cluster_sets t
	%s WHERE t.result = r.result AND %s ORDER BY t.cluster_namespace, t.cluster_name, t.cluster_uid LIMIT %d) found
ORDER BY found.cluster_namespace, found.cluster_name, found.cluster_uid LIMIT %d`, ranges, clusters, l.where(), limit, limit)
}

// inTrouble walks what is not a Success, whatever the set. The result is written out, so that the index of such rows alone is used; it is
// one of a few known words.
func (l *listing) inTrouble(limit int) string {
	clusters := l.clusters()
	l.from("t.cluster_namespace", "t.cluster_name", "t.cluster_uid")
	return fmt.Sprintf(`SELECT t.cluster_namespace, t.cluster_name, t.cluster_uid::text FROM reconciler.cluster_sets t
%s WHERE t.result = '%s' AND t.result <> 'Success' AND %s GROUP BY t.cluster_namespace, t.cluster_name, t.cluster_uid
ORDER BY t.cluster_namespace, t.cluster_name, t.cluster_uid LIMIT %d`, clusters, l.result, l.where(), limit)
}

// clusters joins what the conditions so far are about; without any, the rows of cluster_sets t say all.
func (l *listing) clusters() string {
	if len(l.conditions) == 1 && l.conditions[0] == "true" {
		return ""
	}
	return `JOIN reconciler.clusters c ON c.uid = t.cluster_uid JOIN reconciler.clustersyncs s ON s.cluster_uid = t.cluster_uid`
}

// from adds where to begin, in terms of the columns that are walked in order.
func (l *listing) from(namespace, name, uid string) {
	if l.namespace != "" {
		l.and(namespace+" = $%d", l.namespace)
	}
	if l.after != nil {
		l.and("("+namespace+", "+name+", "+uid+") > ($%d, $%d, $%d::text::uuid)", l.after[0], l.after[1], l.after[2])
	}
}

func (l *listing) where() string { return strings.Join(l.conditions, " AND ") }
