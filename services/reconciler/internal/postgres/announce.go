package postgres

import (
	"context"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
)

// runActor is who wrote what no person did.
const runActor = "reconciler"

// announceAtOnce bounds how many documents are in memory together.
const announceAtOnce = 200

// announcement is an event about each of some clusters' clustersyncs.
type announcement struct {
	operation string
	clusters  []string
	previous  map[string]map[string]string // labels before, by cluster uid
	actor     string
}

// announce appends the events to the outbox: the clustersyncs as the transaction has them now, without objects, under new resource
// versions. The caller holds the work rows' locks, so the events of a cluster are in the order of its transactions. A deletion is
// announced before the rows go.
func announce(ctx context.Context, tx pgx.Tx, a announcement) error {
	for part := range slices.Chunk(a.clusters, announceAtOnce) {
		if err := announcePart(ctx, tx, a, part); err != nil {
			return postgres.Wrap(err, "announce %d clustersyncs", len(part))
		}
	}
	return nil
}

func announcePart(ctx context.Context, tx pgx.Tx, a announcement, clusters []string) error {
	_, err := tx.Exec(ctx, `UPDATE reconciler.clustersyncs SET resource_version = nextval('reconciler.resource_version')
WHERE cluster_uid = ANY($1::uuid[])`, clusters)
	if err != nil {
		return err
	}
	rows, err := clusterRows(ctx, tx, "c.uid = ANY($1::uuid[]) ORDER BY c.uid", clusters)
	if err != nil {
		return err
	}
	documents, err := assemble(ctx, tx, rows, "")
	if err != nil {
		return err
	}
	for _, d := range documents {
		version, err := strconv.ParseInt(d.ResourceVersion, 10, 64)
		if err != nil {
			return err
		}
		err = outbox.Append(ctx, tx, "reconciler", outbox.Change{
			Resource: v1.ResourceClusterSyncs, Operation: a.operation, UID: d.UID, Namespace: d.Namespace, Name: d.Name,
			Generation: d.Generation, ResourceVersion: version, Document: d, PreviousLabels: a.labelsBefore(d), Actor: a.actor,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// labelsBefore are the labels before an update or a deletion; what changes none of them has the document's.
func (a announcement) labelsBefore(d v1.ClusterSync) map[string]string {
	if a.operation == outbox.Created {
		return nil
	}
	if before, relabelled := a.previous[d.UID]; relabelled {
		return before
	}
	return d.Labels
}

// note says that the totals of sets may be others now.
func note(ctx context.Context, tx pgx.Tx, sets ...string) error {
	slices.Sort(sets)
	_, err := tx.Exec(ctx, "INSERT INTO reconciler.dirty_sets (set_uid) SELECT unnest($1::uuid[])", slices.Compact(sets))
	return postgres.Wrap(err, "note %d sets to be counted", len(sets))
}
