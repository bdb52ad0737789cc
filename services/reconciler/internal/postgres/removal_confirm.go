package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
)

// What a person says about held removals.
const (
	answerConfirm = "confirm" // delete them
	answerReject  = "reject"  // leave the objects where they are, without our marks
)

// Confirm opens what is held of a set and marks its clusters. It returns errs.Conflict, naming the present hash, when hash is another or
// nothing is held, and errs.NotFound when the set is not known.
func (s *Store) Confirm(ctx context.Context, setUID, hash, actor string) error {
	return s.answer(ctx, setUID, hash, actor, answerConfirm)
}

// Reject releases what is held of a set, as Confirm opens it.
func (s *Store) Reject(ctx context.Context, setUID, hash, actor string) error {
	return s.answer(ctx, setUID, hash, actor, answerReject)
}

func (s *Store) answer(ctx context.Context, setUID, hash, actor, answer string) error {
	err := s.plan(ctx, func(tx pgx.Tx, p Planner) error {
		if p.Stopped() {
			return errs.New(errs.Unavailable, "planning waits for a person: %s", p.PauseReason)
		}
		target, err := findSet(ctx, tx, setUID)
		if err != nil {
			return err
		}
		if target == nil {
			return errs.New(errs.NotFound, "no set has the uid %s", setUID)
		}
		pending, err := pendingDeletion(ctx, tx, *target)
		if err != nil {
			return err
		}
		if err := sameHash(pending, hash); err != nil {
			return err
		}
		if err := answerHeld(ctx, tx, *target, actor, answer); err != nil {
			return err
		}
		return audit(ctx, tx, *target, hash, actor, answer)
	})
	return postgres.Wrap(err, "%s what is held of set %s", answer, setUID)
}

func sameHash(pending *v1.PendingDeletion, hash string) error {
	switch {
	case pending == nil:
		return errs.New(errs.Conflict, "nothing is held")
	case pending.Hash != hash:
		return errs.New(errs.Conflict, "the hash is not that of what is held now, which is %s: %d objects on %d clusters",
			pending.Hash, pending.Objects, pending.Clusters)
	}
	return nil
}

func answerHeld(ctx context.Context, tx pgx.Tx, target set, actor, answer string) error {
	rows, err := tx.Query(ctx, `SELECT cluster_uid::text FROM reconciler.removals WHERE set_uid = $1 AND state = 'held' ORDER BY cluster_uid`,
		target.uid)
	if err != nil {
		return postgres.Wrap(err, "find held removals")
	}
	clusters, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return postgres.Wrap(err, "find held removals")
	}
	if err := mark(ctx, tx, clusters, classEdit, traceparent(ctx)); err != nil {
		return err
	}
	state := "open"
	if answer == answerReject {
		state = "released"
	}
	_, err = tx.Exec(ctx, `UPDATE reconciler.removals SET state = $3, generation = $4, actor = $5, confirmed = $6
WHERE set_uid = $1 AND cluster_uid = ANY($2::uuid[])`, target.uid, clusters, state, target.generation, actor, answer == answerConfirm)
	if err != nil {
		return postgres.Wrap(err, "change held removals")
	}
	return note(ctx, tx, target.uid)
}

// audit leaves the answer in the event log: who, about what.
func audit(ctx context.Context, tx pgx.Tx, target set, hash, actor, answer string) error {
	var version int64
	if err := tx.QueryRow(ctx, "SELECT nextval('reconciler.resource_version')").Scan(&version); err != nil {
		return postgres.Wrap(err, "draw a resource version")
	}
	_, err := tx.Exec(ctx, "UPDATE reconciler.setsyncs SET resource_version = $2 WHERE set_uid = $1", target.uid, version)
	if err != nil {
		return postgres.Wrap(err, "move the setsync of %s", target.name)
	}
	found, err := readSetSyncs(ctx, tx, "uid = $1", target.uid)
	if err != nil || len(found) == 0 {
		return err
	}
	document := found[0]
	document.ResourceVersion, document.UpdatedBy = strconv.FormatInt(version, 10), actor
	return appendSetSync(ctx, tx, outbox.Updated, document, actor, map[string]string{"action": answer, "hash": hash})
}

// pendingDeletion describes what is held of a set; nil when nothing is. The hash names the set, its generation, and each cluster with
// the identities that would go there, in order.
func pendingDeletion(ctx context.Context, tx pgx.Tx, target set) (*v1.PendingDeletion, error) {
	where, args, err := target.where(nextArg)
	if err != nil {
		where, args = "true", nil
	}
	needed, err := target.neededArgs(ctx, tx, nil)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, fmt.Sprintf(`WITH held AS (SELECT cluster_uid FROM reconciler.removals WHERE set_uid = $1 AND state = 'held'),
on_clusters AS (SELECT held.cluster_uid, c.uid IS NOT NULL AND (%s) AS matched FROM held LEFT JOIN reconciler.clusters c ON c.uid = held.cluster_uid),
gone AS (%s)
SELECT held.cluster_uid::text, coalesce(api_group, ''), coalesce(kind, ''), coalesce(namespace, ''), coalesce(name, ''), kind IS NOT NULL
FROM held LEFT JOIN gone USING (cluster_uid)
ORDER BY held.cluster_uid, gone.api_group COLLATE "C", gone.kind COLLATE "C", gone.namespace COLLATE "C", gone.name COLLATE "C"`, where, neededSQL),
		append(needed, args...)...)
	if err != nil {
		return nil, postgres.Wrap(err, "read what is held")
	}
	defer rows.Close()
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\n%d\n", target.uid, target.generation)
	pending, err := sumPending(rows, hash)
	if err != nil || pending.Clusters == 0 {
		return nil, err
	}
	pending.Hash = hex.EncodeToString(hash.Sum(nil))
	return pending, nil
}

func sumPending(rows pgx.Rows, hash io.Writer) (*v1.PendingDeletion, error) {
	var pending v1.PendingDeletion
	last := ""
	for rows.Next() {
		var cluster, group, kind, namespace, name string
		var object bool
		if err := rows.Scan(&cluster, &group, &kind, &namespace, &name, &object); err != nil {
			return nil, postgres.Wrap(err, "read what is held")
		}
		if cluster != last {
			pending.Clusters++
			last = cluster
		}
		if object {
			pending.Objects++
		}
		fmt.Fprintf(hash, "%s\t%s\t%s\t%s\t%s\n", cluster, group, kind, namespace, name)
	}
	return &pending, postgres.Wrap(rows.Err(), "read what is held")
}
