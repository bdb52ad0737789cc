package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/syncstatus"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// Settle implements work.Store: status, inventory and the row itself in one transaction, refused when the fence moved on.
func (s *Store) Settle(ctx context.Context, st work.Settlement) (due bool, err error) {
	err = postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		want, err := lockClaim(ctx, tx, st.Claim)
		if err != nil {
			return err
		}
		if err := settleParts(ctx, tx, st, want == st.Want); err != nil {
			return err
		}
		due, err = settleWork(ctx, tx, st)
		return err
	})
	return due, postgres.Wrap(err, "settle cluster %s", st.Claim.ClusterUID)
}

// settleParts writes what the run found out. Removals are retired only when the planner has not looked at the cluster since.
func settleParts(ctx context.Context, tx pgx.Tx, st work.Settlement, unmoved bool) error {
	uid := st.Claim.ClusterUID
	if err := settleContact(ctx, tx, st); err != nil {
		return err
	}
	if err := settleSets(ctx, tx, uid, st.Sets); err != nil {
		return err
	}
	if err := upsertInventory(ctx, tx, uid, st.TargetID, st.Upserts); err != nil {
		return err
	}
	if err := dropInventory(ctx, tx, uid, st.TargetID, st.Drops); err != nil {
		return err
	}
	if err := dropGone(ctx, tx, uid, st.Sets); err != nil {
		return err
	}
	if !unmoved {
		return nil
	}
	for _, r := range st.Retired {
		if _, err := tx.Exec(ctx, `DELETE FROM reconciler.removals WHERE cluster_uid = $1 AND set_uid = $2 AND generation = $3
	AND state = $4`, uid, r.SetUID, r.Generation, r.State); err != nil {
			return err
		}
	}
	return nil
}

const settleContactSQL = `INSERT INTO reconciler.clustersyncs AS s (cluster_uid, reachable, reason, message, kubernetes_version, last_run,
	last_contact_at, first_success_at)
VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $7 THEN now() END, CASE WHEN $8 THEN now() END)
ON CONFLICT (cluster_uid) DO UPDATE SET resource_version = nextval('reconciler.resource_version'),
	changed_at = CASE WHEN (s.reachable, s.reason) = (excluded.reachable, excluded.reason) THEN s.changed_at ELSE now() END,
	reachable = excluded.reachable, reason = excluded.reason, message = excluded.message,
	kubernetes_version = CASE WHEN $7 THEN excluded.kubernetes_version ELSE s.kubernetes_version END,
	last_contact_at = coalesce(excluded.last_contact_at, s.last_contact_at),
	first_success_at = coalesce(s.first_success_at, excluded.first_success_at), last_run = coalesce(excluded.last_run, s.last_run)`

func settleContact(ctx context.Context, tx pgx.Tx, st work.Settlement) error {
	if st.Contact == nil {
		return nil
	}
	c := st.Contact
	reachable := "False"
	if c.Reason == v1.ReasonReachable {
		reachable = "True"
	}
	_, err := tx.Exec(ctx, settleContactSQL, st.Claim.ClusterUID, reachable, c.Reason, c.Message, c.KubernetesVersion, st.LastRun,
		c.Contacted, c.AllSucceeded)
	return err
}

// setResult is a syncstatus.Set as jsonb_to_recordset reads it; retry is in seconds, null for none.
type setResult struct {
	SetUID    string            `json:"set_uid"`
	Observed  int64             `json:"observed"`
	Result    string            `json:"result"`
	Cause     string            `json:"cause"`
	Message   string            `json:"message"`
	Attempts  int               `json:"attempts"`
	Retry     *float64          `json:"retry"`
	KeepRetry bool              `json:"keep_retry"`
	Objects   []v1.ObjectStatus `json:"objects"`
}

const settleSetsSQL = `UPDATE reconciler.cluster_sets c SET observed_generation = r.observed,
	changed_at = CASE WHEN c.result = r.result THEN c.changed_at ELSE now() END, result = r.result, cause = r.cause, message = r.message,
	attempts = CASE WHEN r.keep_retry THEN c.attempts ELSE r.attempts END,
	retry_at = CASE WHEN r.keep_retry THEN c.retry_at ELSE now() + make_interval(secs => r.retry) END,
	first_success_at = CASE WHEN r.result = 'Success' THEN coalesce(c.first_success_at, now()) ELSE c.first_success_at END,
	objects = r.objects
FROM (SELECT r.* FROM jsonb_to_recordset($2) AS r (set_uid uuid, observed bigint, result text, cause text, message text, attempts int,
	retry float8, keep_retry boolean, objects jsonb) ORDER BY set_uid) r
WHERE c.cluster_uid = $1 AND c.set_uid = r.set_uid`

func settleSets(ctx context.Context, tx pgx.Tx, clusterUID string, results []syncstatus.Set) error {
	if len(results) == 0 {
		return nil
	}
	rows := make([]setResult, len(results))
	for n, r := range results {
		rows[n] = setResult{
			SetUID: r.UID, Observed: r.Observed, Result: r.Result, Cause: r.Cause, Message: r.Message, Attempts: r.Attempts,
			KeepRetry: r.KeepRetry, Objects: append([]v1.ObjectStatus{}, r.Objects...),
		}
		if r.RetryIn > 0 {
			seconds := r.RetryIn.Seconds()
			rows[n].Retry = &seconds
		}
	}
	_, err := tx.Exec(ctx, settleSetsSQL, clusterUID, rows)
	return err
}

// dropGone forgets sets that had to go and of which nothing is left on the cluster.
func dropGone(ctx context.Context, tx pgx.Tx, clusterUID string, results []syncstatus.Set) error {
	var gone []string
	for _, r := range results {
		if r.Gone {
			gone = append(gone, r.UID)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `DELETE FROM reconciler.cluster_sets c WHERE cluster_uid = $1 AND set_uid = ANY($2::uuid[])
	AND target_generation IS NULL
	AND NOT EXISTS (SELECT FROM reconciler.inventory i WHERE i.cluster_uid = c.cluster_uid AND i.set_uid = c.set_uid)`, clusterUID, gone)
	return err
}

const settleWorkSQL = `UPDATE reconciler.work SET state = 'idle', holder = '', queued_at = NULL, since = now(), attempts = $4,
	done       = CASE WHEN $3 OR $2 = 0 THEN done ELSE $2 END,
	takeover   = takeover AND NOT $5, full_apply = full_apply AND NOT ($5 AND want = $2),
	full_at    = CASE WHEN $6::interval > '0' THEN now() + $6::interval ELSE full_at END,
	class      = CASE WHEN $3 THEN least(class, $7) WHEN want > $2 AND $2 > 0 THEN class WHEN $8::interval > '0' THEN 2 ELSE 3 END,
	next_at    = CASE WHEN $3 OR (want > $2 AND $2 > 0) THEN now() WHEN $4 > 0 THEN now() + $8::interval
	                  ELSE least(CASE WHEN $6::interval > '0' THEN now() + $6::interval ELSE full_at END,
	                             CASE WHEN $8::interval > '0' THEN now() + $8::interval END) END
WHERE cluster_uid = $1 RETURNING next_at <= now()`

// settleWork ends the run: due at once when the planner marked the cluster meanwhile, else when the first set may be tried again or
// everything is to be applied again; while the target cannot be reached, or the run could load nothing, only when its rest is over. A
// wish for a full apply that came during the run stays.
func settleWork(ctx context.Context, tx pgx.Tx, st work.Settlement) (due bool, err error) {
	err = tx.QueryRow(ctx, settleWorkSQL, st.Claim.ClusterUID, st.Want, st.Abandon, st.Attempts, st.Full, st.FullIn, st.Claim.Class,
		st.RetryIn).Scan(&due)
	return due, err
}
