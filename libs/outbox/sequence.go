package outbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/postgres"
)

// sequenceLimit is how many changes one transaction moves to the log, sequenceBytes how large their documents may be together, so that a
// run of large ones does not take longer than a statement may.
const (
	sequenceLimit = 500
	sequenceBytes = 16 << 20
)

// fingerprintSQL tells this log from a restored or copied one: the server, its timeline, the database and the table.
const fingerprintSQL = `((SELECT system_identifier::text FROM pg_control_system()) || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
	|| '/' || (SELECT oid::text FROM pg_database WHERE datname = current_database()) || '/' || '$schema.events'::regclass::oid)`

const lookSQL = `SELECT fingerprint <> ` + fingerprintSQL + `, last_rev - published_rev,
	(SELECT clock_timestamp() - created_at FROM $schema.outbox ORDER BY id LIMIT 1)
FROM $schema.relay WHERE one`

// state is what a glance at the tables shows.
type state struct {
	foreign bool  // the log's fingerprint is not this database's: a new epoch is due
	waiting bool  // the outbox is not empty
	lag     int64 // revisions that are not published
}

// look reads the state and records it as metrics, without taking any lock.
func (r *Relay) look(ctx context.Context) (state, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var s state
	var oldest *time.Duration
	err := r.Pool.QueryRow(ctx, in(r.Schema, lookSQL)).Scan(&s.foreign, &s.lag, &oldest)
	if err != nil {
		return s, postgres.Wrap(err, "look at the outbox")
	}
	s.waiting = oldest != nil
	r.metrics.observe(ctx, s.lag, oldest)
	return s, nil
}

const lockRelaySQL = `SELECT fingerprint, ` + fingerprintSQL + `, last_rev FROM $schema.relay WHERE one FOR UPDATE`

const drawEpochSQL = `UPDATE $schema.relay SET epoch = $1, fingerprint = $2 WHERE one`

const ensurePartitionsSQL = `SELECT $schema.ensure_event_partition($1), $schema.ensure_event_partition($2)`

// moveSQL takes the lowest committed rows, numbers them and finds for each the revision before it of the same resource. It tells
// whether it left any; its own view of the outbox still holds those it took.
const moveSQL = `WITH taken AS (
	DELETE FROM $schema.outbox WHERE id IN (
		SELECT id FROM (
			SELECT id, sum(size) OVER before AS total, row_number() OVER before AS place
			FROM $schema.outbox WINDOW before AS (ORDER BY id) ORDER BY id LIMIT $2
		) lowest WHERE total <= $3 OR place = 1
	) RETURNING *
), numbered AS (
	SELECT $1 + row_number() OVER (ORDER BY id) AS revision, * FROM taken
), inserted AS (
	INSERT INTO $schema.events (revision, previous, resource, operation, uid, namespace, name, generation, resource_version,
		document, size, previous_labels, options, actor, traceparent, tracestate, created_at)
	SELECT revision, coalesce(lag(revision) OVER (PARTITION BY resource ORDER BY revision),
			(SELECT r.last_rev FROM $schema.relay_resources r WHERE r.resource = numbered.resource), 0),
		resource, operation, uid, namespace, name, generation, resource_version,
		document, size, previous_labels, options, actor, traceparent, tracestate, created_at
	FROM numbered
	RETURNING revision, resource
), remembered AS (
	INSERT INTO $schema.relay_resources (resource, last_rev) SELECT resource, max(revision) FROM inserted GROUP BY resource
	ON CONFLICT (resource) DO UPDATE SET last_rev = excluded.last_rev
)
UPDATE $schema.relay SET last_rev = last_rev + (SELECT count(*) FROM inserted) WHERE one
RETURNING EXISTS (SELECT FROM $schema.outbox OFFSET (SELECT count(*) FROM taken))`

// sequence moves up to sequenceLimit changes from the outbox to the log; more says that some are left. The relay row is locked
// in a statement of its own, so that the statement after it sees all that the holder before us committed.
func (r *Relay) sequence(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	err = postgres.InTx(ctx, r.Pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		before, err := r.lockRelay(ctx, tx)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, in(r.Schema, ensurePartitionsSQL), before+1, before+sequenceLimit); err != nil {
			return err
		}
		return tx.QueryRow(ctx, in(r.Schema, moveSQL), before, sequenceLimit, sequenceBytes).Scan(&more)
	})
	return more, postgres.Wrap(err, "sequence events")
}

// lockRelay takes the relay row and returns the last revision. Where the log was restored or copied from elsewhere it draws a new epoch
// first: consumers of the old one are sent to list again, and no revision ever names two events.
func (r *Relay) lockRelay(ctx context.Context, tx pgx.Tx) (last int64, err error) {
	var stored, actual string
	if err := tx.QueryRow(ctx, in(r.Schema, lockRelaySQL)).Scan(&stored, &actual, &last); err != nil {
		return 0, err
	}
	if stored == actual {
		return last, nil
	}
	epoch := newEpoch()
	r.Log.InfoContext(ctx, "new epoch of the event log", "schema", r.Schema, "epoch", epoch, "fingerprint", actual, "fingerprint_before", stored)
	_, err = tx.Exec(ctx, in(r.Schema, drawEpochSQL), epoch, actual)
	return last, err
}

// newEpoch draws 64 random bits as lower-case hex.
func newEpoch() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
