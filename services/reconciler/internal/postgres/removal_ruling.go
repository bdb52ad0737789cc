package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/postgres"
)

// ruling is how the new removals of a set begin.
type ruling struct {
	governed  bool // a change of the set itself is under way and decides
	hold      bool
	confirmed bool
}

// rulingFanOutSQL prefers fan-outs of writes of the set: one that has clusters look again says nothing new about the set.
const rulingFanOutSQL = "SELECT " + fanOutColumns + ` FROM reconciler.fanouts WHERE set_uid = $1
ORDER BY coalesce(options ? $2, false), id DESC LIMIT 1`

// ruling returns what goes for the removals of a set, whoever finds them needed. While fan-outs of the set are left, the newest decides,
// because all of them bring clusters in step with the generation that it was appended for: an older one's decision and options were about
// something else.
func (s *Store) ruling(ctx context.Context, tx pgx.Tx, target set) (ruling, error) {
	f, err := scanFanOut(tx.QueryRow(ctx, rulingFanOutSQL, target.uid, optionAgain))
	if err != nil {
		return ruling{}, postgres.Wrap(err, "read the newest fan-out of %s", target.name)
	}
	if f == nil {
		return ruling{hold: target.absent, confirmed: target.confirmed()}, nil
	}
	if f.Hold == nil {
		if err := s.decideHold(ctx, tx, target, f); err != nil {
			return ruling{}, err
		}
	}
	return ruling{governed: true, hold: *f.Hold || target.absent, confirmed: f.confirmed(target)}, nil
}

// confirmed reports whether the write confirmed its deletions in advance.
func (f FanOut) confirmed(s set) bool {
	return s.confirmed() || (f.Options[optionHold] == "false" && !s.absent)
}

// decideHold says, before its first removal is made, whether the removals of a change start held: so a deletion beyond the budget is held
// from its first object on.
func (s *Store) decideHold(ctx context.Context, tx pgx.Tx, target set, f *FanOut) error {
	hold := false
	if target.deletes() && !f.confirmed(target) {
		where, args, err := target.where(nextArg)
		if err != nil {
			return err
		}
		needed, err := target.neededArgs(ctx, tx, nil)
		if err != nil {
			return err
		}
		var lost, total int
		var held bool
		err = tx.QueryRow(ctx, fmt.Sprintf(`WITH on_clusters AS (SELECT o.cluster_uid, c.uid IS NOT NULL AND (%s) AS matched
	FROM (SELECT DISTINCT cluster_uid FROM reconciler.inventory WHERE set_uid = $1) o LEFT JOIN reconciler.clusters c ON c.uid = o.cluster_uid),
needed AS (SELECT DISTINCT cluster_uid FROM (%s) n), lost AS (%s)
SELECT EXISTS (SELECT FROM reconciler.removals r JOIN needed USING (cluster_uid)
		WHERE r.set_uid = $1 AND r.state = 'held' AND NOT (r.cause = 'absent' AND $%d)),
	(SELECT count(*) FROM (SELECT cluster_uid FROM needed UNION SELECT cluster_uid FROM lost) u),
	(SELECT count(*) FROM (SELECT cluster_uid FROM on_clusters UNION SELECT cluster_uid FROM lost) u)`, where, neededSQL, lostSQL, nextArg+len(args)),
			append(append(append([]any{planAnew}, needed...), args...), target.cause() == causeDeleted)...).Scan(&held, &lost, &total)
		if err != nil {
			return postgres.Wrap(err, "count what %s would lose", target.name)
		}
		hold = held || !s.budget.Allows(lost, total)
	}
	f.Hold = &hold
	_, err := tx.Exec(ctx, "UPDATE reconciler.fanouts SET hold = $2 WHERE id = $1", f.ID, hold)
	return postgres.Wrap(err, "decide whether fan-out %d is held", f.ID)
}
