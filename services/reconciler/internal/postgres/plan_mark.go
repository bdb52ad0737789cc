package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/propagation"

	"github.com/syncsets/syncsets/libs/postgres"
)

// Classes of due work, the most urgent first.
const (
	classEdit   = 0
	classFanOut = 1
	classRetry  = 2
)

const maxCauses = 8

const markSQL = `INSERT INTO reconciler.work AS w (cluster_uid, class, causes)
SELECT uid, $2, $3 FROM unnest($1::uuid[]) AS uid ORDER BY uid
ON CONFLICT (cluster_uid) DO UPDATE SET
	want    = w.want + 1,
	class   = least(w.class, excluded.class),
	next_at = CASE WHEN w.state = 'idle' THEN least(w.next_at, now()) ELSE w.next_at END,
	since   = CASE WHEN w.state = 'idle' AND w.want = w.done THEN now() ELSE w.since END,
	causes  = CASE WHEN jsonb_array_length(w.causes) + jsonb_array_length(excluded.causes) <= 8 THEN w.causes || excluded.causes
	               ELSE w.causes END`

// mark says that clusters should look again, because of causes (traceparents). It locks their work rows in the order of their uids,
// and comes before every other change of what they should have.
func mark(ctx context.Context, tx pgx.Tx, clusters []string, class int, causes ...string) error {
	if len(clusters) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, markSQL, clusters, class, known(causes))
	return postgres.Wrap(err, "mark %d clusters", len(clusters))
}

// lockWork locks the work rows of clusters in the order of their uids.
func lockWork(ctx context.Context, tx pgx.Tx, clusters []string) error {
	_, err := tx.Exec(ctx, "SELECT FROM reconciler.work WHERE cluster_uid = ANY($1::uuid[]) ORDER BY cluster_uid FOR UPDATE", clusters)
	return postgres.Wrap(err, "lock %d work rows", len(clusters))
}

// known drops causes without a trace and repetitions.
func known(causes []string) []string {
	kept := []string{}
	for _, c := range causes {
		if c != "" && !slices.Contains(kept, c) && len(kept) < maxCauses {
			kept = append(kept, c)
		}
	}
	return kept
}

// traceparent returns the trace context of ctx as text; "" when there is none.
func traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}
