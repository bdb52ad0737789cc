package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
)

// setResult is a syncstatus.Set as jsonb_to_recordset reads it; retry is in seconds, null for none.
type setResult struct {
	SetUID    string               `json:"set_uid"`
	Observed  int64                `json:"observed"`
	Result    string               `json:"result"`
	Cause     string               `json:"cause"`
	Message   string               `json:"message"`
	Health    string               `json:"health"`
	Attempts  int                  `json:"attempts"`
	Retry     *float64             `json:"retry"`
	KeepRetry bool                 `json:"keep_retry"`
	Objects   []v1.ObjectStatus    `json:"objects"`
	Patches   []decide.PatchRecord `json:"patches"`
}

// settleSetsSQL writes the rows that differ from what they say, and notes the sets whose totals may be others now. Whoever writes these rows
// holds the work row's lock, so what is read here is what is written over. Where the planner has looked at the cluster since the run began,
// not $3, its word on retries stands, and so does that on a set which is to be at another generation than the run brought it to.
const settleSetsSQL = `WITH said AS (SELECT r.* FROM jsonb_to_recordset($2) AS r (set_uid uuid, observed bigint, result text, cause text,
	message text, health text, attempts int, retry float8, keep_retry boolean, objects jsonb, patches jsonb) ORDER BY set_uid),
old AS MATERIALIZED (SELECT set_uid, target_generation, result, cause, message, health FROM reconciler.cluster_sets WHERE cluster_uid = $1),
r AS (SELECT set_uid, observed, attempts, retry, keep_retry OR NOT $3 AS keep_retry, objects, patches, said.health, overtaken,
	CASE WHEN overtaken THEN old.result ELSE said.result END AS result, CASE WHEN overtaken THEN old.cause ELSE said.cause END AS cause,
	CASE WHEN overtaken THEN old.message ELSE said.message END AS message
	FROM said JOIN old USING (set_uid)
	CROSS JOIN LATERAL (SELECT NOT $3 AND old.target_generation IS DISTINCT FROM said.observed AS overtaken) o),
written AS (UPDATE reconciler.cluster_sets c SET observed_generation = r.observed,
	changed_at = CASE WHEN c.result = r.result THEN c.changed_at ELSE now() END, result = r.result, cause = r.cause, message = r.message,
	attempts = CASE WHEN r.keep_retry THEN c.attempts ELSE r.attempts END,
	retry_at = CASE WHEN r.keep_retry THEN c.retry_at ELSE now() + make_interval(secs => r.retry) END,
	first_success_at = CASE WHEN r.result = 'Success' AND NOT r.overtaken THEN coalesce(c.first_success_at, now())
		ELSE c.first_success_at END,
	objects = r.objects, patches = r.patches, health = r.health
	FROM r JOIN old USING (set_uid)
	WHERE c.cluster_uid = $1 AND c.set_uid = r.set_uid AND (
		(c.observed_generation, c.result, c.cause, c.message, c.health, c.objects, c.patches)
			IS DISTINCT FROM (r.observed, r.result, r.cause, r.message, r.health, r.objects, r.patches)
		OR NOT r.keep_retry AND (c.attempts <> r.attempts OR c.retry_at IS NOT NULL OR r.retry IS NOT NULL)
		OR r.result = 'Success' AND NOT r.overtaken AND c.first_success_at IS NULL)
	RETURNING c.set_uid, (old.result, old.health) <> (c.result, c.health) AS moved,
		(old.result, old.cause, old.message, old.health) <> (c.result, c.cause, c.message, c.health) AS counts),
noted AS (INSERT INTO reconciler.dirty_sets (set_uid) SELECT set_uid FROM written WHERE counts)
SELECT coalesce(bool_or(moved), false) FROM written`

// settleSets writes the results of sets and reports whether one moved. unmoved says that the planner has not looked at the cluster since the
// run began.
func settleSets(ctx context.Context, tx pgx.Tx, clusterUID string, results []syncstatus.Set, unmoved bool) (moved bool, err error) {
	if len(results) == 0 {
		return false, nil
	}
	rows := make([]setResult, len(results))
	for n, r := range results {
		rows[n] = setResult{
			SetUID: r.UID, Observed: r.Observed, Result: r.Result, Cause: r.Cause, Message: r.Message, Health: r.Health, Attempts: r.Attempts,
			KeepRetry: r.KeepRetry, Objects: append([]v1.ObjectStatus{}, r.Objects...), Patches: append([]decide.PatchRecord{}, r.Patches...),
		}
		if r.RetryIn > 0 {
			seconds := r.RetryIn.Seconds()
			rows[n].Retry = &seconds
		}
	}
	err = tx.QueryRow(ctx, settleSetsSQL, clusterUID, rows, unmoved).Scan(&moved)
	return moved, err
}

// dropGone forgets sets that had to go and of which nothing is left on the cluster, and reports whether there were any.
func dropGone(ctx context.Context, tx pgx.Tx, clusterUID string, results []syncstatus.Set) (bool, error) {
	var gone []string
	for _, r := range results {
		if r.Gone {
			gone = append(gone, r.UID)
		}
	}
	if len(gone) == 0 {
		return false, nil
	}
	tag, err := tx.Exec(ctx, `WITH gone AS (DELETE FROM reconciler.cluster_sets c WHERE cluster_uid = $1 AND set_uid = ANY($2::uuid[])
	AND target_generation IS NULL
	AND NOT EXISTS (SELECT FROM reconciler.inventory i WHERE i.cluster_uid = c.cluster_uid AND i.set_uid = c.set_uid) RETURNING set_uid)
INSERT INTO reconciler.dirty_sets (set_uid) SELECT set_uid FROM gone`, clusterUID, gone)
	return tag.RowsAffected() > 0, err
}
