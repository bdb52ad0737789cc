package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// Settle implements work.Store: status, inventory and the row itself in one transaction, refused when the fence moved on. What others can
// see change is announced.
func (s *Store) Settle(ctx context.Context, st work.Settlement) (due bool, err error) {
	err = postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		want, err := lockClaim(ctx, tx, st.Claim)
		if err != nil {
			return err
		}
		moved, err := settleParts(ctx, tx, st, want == st.Want)
		if err != nil {
			return err
		}
		if due, err = settleWork(ctx, tx, st); err != nil || !moved {
			return err
		}
		return announce(ctx, tx, announcement{operation: outbox.Updated, clusters: []string{st.Claim.ClusterUID}, actor: runActor})
	})
	return due, postgres.Wrap(err, "settle cluster %s", st.Claim.ClusterUID)
}

// settleParts writes what the run found out and reports whether others can see the difference. Removals are retired, and successes of all
// sets believed, only when the planner has not looked at the cluster since.
func settleParts(ctx context.Context, tx pgx.Tx, st work.Settlement, unmoved bool) (moved bool, err error) {
	uid := st.Claim.ClusterUID
	contact, err := settleContact(ctx, tx, st, unmoved)
	if err != nil {
		return false, err
	}
	sets, err := settleSets(ctx, tx, uid, st.Sets, unmoved)
	if err != nil {
		return false, err
	}
	if err := upsertInventory(ctx, tx, uid, st.TargetID, st.Upserts); err != nil {
		return false, err
	}
	if err := dropInventory(ctx, tx, uid, st.TargetID, st.Drops); err != nil {
		return false, err
	}
	gone, err := dropGone(ctx, tx, uid, st.Sets)
	if err != nil {
		return false, err
	}
	if unmoved {
		err = retire(ctx, tx, uid, st.Retired)
	}
	return contact || sets || gone, err
}

// retire drops removals with which everything is done.
func retire(ctx context.Context, tx pgx.Tx, clusterUID string, removals []decide.Removal) error {
	for _, r := range removals {
		_, err := tx.Exec(ctx, `WITH done AS (DELETE FROM reconciler.removals WHERE cluster_uid = $1 AND set_uid = $2 AND generation = $3
	AND state = $4 RETURNING set_uid) INSERT INTO reconciler.dirty_sets (set_uid) SELECT set_uid FROM done`,
			clusterUID, r.SetUID, r.Generation, r.State)
		if err != nil {
			return err
		}
	}
	return nil
}

const settleContactSQL = `WITH old AS (SELECT reachable, reason, health FROM reconciler.clustersyncs WHERE cluster_uid = $1), new AS (
	INSERT INTO reconciler.clustersyncs AS s (cluster_uid, reachable, reason, message, kubernetes_version, last_run, last_contact_at,
		first_success_at, health, run_seconds)
	VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $7 THEN now() END, CASE WHEN $8 THEN now() END, $9, $10)
	ON CONFLICT (cluster_uid) DO UPDATE SET resource_version = nextval('reconciler.resource_version'),
		changed_at = CASE WHEN (s.reachable, s.reason) = (excluded.reachable, excluded.reason) THEN s.changed_at ELSE now() END,
		reachable = excluded.reachable, reason = excluded.reason, message = excluded.message,
		kubernetes_version = CASE WHEN $7 THEN excluded.kubernetes_version ELSE s.kubernetes_version END,
		last_contact_at = coalesce(excluded.last_contact_at, s.last_contact_at),
		first_success_at = coalesce(s.first_success_at, excluded.first_success_at), last_run = coalesce(excluded.last_run, s.last_run),
		health = CASE WHEN excluded.reachable = 'True' THEN excluded.health ELSE s.health END,
		run_seconds = coalesce(excluded.run_seconds, s.run_seconds)
	RETURNING reachable, reason, health)
SELECT (old.reachable, old.reason, old.health) IS DISTINCT FROM (new.reachable, new.reason, new.health) FROM new LEFT JOIN old ON true`

// settleContact writes what the run learned about the target. Health is what was seen last: an unreachable target says nothing new of it.
func settleContact(ctx context.Context, tx pgx.Tx, st work.Settlement, unmoved bool) (moved bool, err error) {
	if st.Contact == nil {
		return false, nil
	}
	c := st.Contact
	reachable := "False"
	if c.Reason == v1.ReasonReachable {
		reachable = "True"
	}
	err = tx.QueryRow(ctx, settleContactSQL, st.Claim.ClusterUID, reachable, c.Reason, c.Message, c.KubernetesVersion, st.LastRun,
		c.Contacted, c.AllSucceeded && unmoved, st.Health, seconds(st.LastRun)).Scan(&moved)
	return moved, err
}

// seconds is how long a run took; nil when that is not known.
func seconds(r *v1.RunStatus) *float64 {
	if r == nil {
		return nil
	}
	took, err := time.ParseDuration(r.Duration)
	if err != nil {
		return nil
	}
	s := took.Seconds()
	return &s
}

const settleWorkSQL = `UPDATE reconciler.work w SET state = 'idle', holder = '', queued_at = NULL, since = now(), attempts = $4,
	done       = CASE WHEN $3 OR $2 = 0 THEN done ELSE $2 END,
	takeover   = takeover AND NOT $5, full_apply = full_apply AND NOT ($5 AND want = $2),
	full_at    = at.whole, verify_at = at.verify, health_at = at.health,
	health_attempts = CASE WHEN $3 OR $4 > 0 THEN health_attempts ELSE $11 END,
	class      = CASE WHEN $3 THEN least(class, $7) WHEN want > $2 AND $2 > 0 THEN class
	                  WHEN $8::interval > '0' OR $10::interval > '0' THEN 2 ELSE 3 END,
	next_at    = CASE WHEN $3 OR (want > $2 AND $2 > 0) THEN now() WHEN $4 > 0 THEN now() + $8::interval
	                  ELSE greatest(now() + interval '1 second', coalesce(least(
	                      CASE WHEN at.whole > now() OR $5 THEN at.whole END, CASE WHEN at.verify > now() OR $5 THEN at.verify END,
	                      CASE WHEN at.health > now() OR $5 THEN at.health END, CASE WHEN $8::interval > '0' THEN now() + $8::interval END),
	                      now() + interval '15 minutes')) END
FROM (SELECT CASE WHEN $6::interval > '0' THEN now() + $6::interval
		ELSE least(full_at, CASE WHEN $12::interval > '0' THEN now() + $12::interval END) END AS whole,
	CASE WHEN $9::interval > '0' THEN now() + $9::interval
		ELSE least(verify_at, CASE WHEN $13::interval > '0' THEN now() + $13::interval END) END AS verify,
	CASE WHEN $10::interval > '0' THEN now() + $10::interval WHEN $3 OR $4 > 0 THEN health_at END AS health
	FROM reconciler.work WHERE cluster_uid = $1) at
WHERE cluster_uid = $1 RETURNING next_at <= now()`

// settleWork ends the run: due at once when the planner marked the cluster meanwhile, else at the first of: a set may be tried again,
// health is to be asked for, what is applied is to be verified, everything is to be applied again. While the target cannot be reached, or
// the run could load nothing, only when its rest is over, and what was planned stays planned. What was due and is not done by a run that
// came to its end would be due again and again, so there is a second between; a run that did not come so far leaves it for the next. A
// wish for a full apply that came during the run stays.
func settleWork(ctx context.Context, tx pgx.Tx, st work.Settlement) (due bool, err error) {
	err = tx.QueryRow(ctx, settleWorkSQL, st.Claim.ClusterUID, st.Want, st.Abandon, st.Attempts, st.Full, st.FullIn, st.Claim.Class,
		st.RetryIn, st.VerifyIn, st.HealthIn, st.HealthAttempts, st.FullMost, st.VerifyMost).Scan(&due)
	return due, err
}
