// Package document stores documents: per resource one table of JSON documents with their key, generation, resourceVersion and labels
// beside them, in a schema with a history of generations, a sequence and an outbox. The steps work inside the caller's transaction, so
// that a store can write more beside the document; List and Get read.
package document

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/selector"
)

// KeptGenerations is how many generations of a document its history holds.
const KeptGenerations = 10

// Pointer is a pointer to a document.
type Pointer[T any] interface {
	*T
	Meta() *v1.Metadata
}

// Table is the documents of one resource. Documents must hold no secret values: they are stored and sent to whoever listens.
type Table[T any, P Pointer[T]] struct {
	schema, resource string
}

// NewTable describes the table <schema>.<resource>.
func NewTable[T any, P Pointer[T]](schema, resource string) Table[T, P] {
	return Table[T, P]{schema: schema, resource: resource}
}

// Write is what goes with a write beside the document.
type Write struct {
	Actor string
	// Reason is kept in the history of generations.
	Reason string
	// Options are those of the write that whoever plans its effect must know.
	Options map[string]string
}

// Querier is a pool, a connection or a transaction.
type Querier = outbox.Querier

// Get reads a document. It returns errs.NotFound when there is none.
func (t Table[T, P]) Get(ctx context.Context, q Querier, key request.Key) (T, error) {
	return t.one(ctx, q, key, "SELECT document FROM $table WHERE namespace = $1 AND name = $2")
}

// Lock reads a document and keeps others from writing it until the transaction ends. It returns errs.NotFound when there is none.
func (t Table[T, P]) Lock(ctx context.Context, tx pgx.Tx, key request.Key) (T, error) {
	return t.one(ctx, tx, key, "SELECT document FROM $table WHERE namespace = $1 AND name = $2 FOR UPDATE")
}

func (t Table[T, P]) one(ctx context.Context, q Querier, key request.Key, sql string) (T, error) {
	var document T
	var text []byte
	if !storable(key.Namespace) || !storable(key.Name) {
		return document, errs.New(errs.NotFound, "there is no %q in %s", key, t.resource)
	}
	err := q.QueryRow(ctx, t.sql(sql), key.Namespace, key.Name).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return document, errs.New(errs.NotFound, "there is no %s in %s", key, t.resource)
	}
	if err != nil {
		return document, postgres.Wrap(err, "read %s of %s", key, t.resource)
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return document, fmt.Errorf("decode %s of %s: %w", key, t.resource, err)
	}
	return document, nil
}

// Insert stores a new document whose metadata is filled in but for the resourceVersion, which it sets, with its first generation
// and its created event. It returns errs.Conflict when the name is taken, errs.Invalid when Postgres cannot hold the document.
func (t Table[T, P]) Insert(ctx context.Context, tx pgx.Tx, document P, w Write) error {
	text, err := t.prepare(ctx, tx, document)
	if err != nil {
		return err
	}
	m := document.Meta()
	_, err = tx.Exec(ctx, t.sql(`INSERT INTO $table
		(uid, namespace, name, generation, resource_version, labels, document, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`),
		m.UID, m.Namespace, m.Name, m.Generation, m.ResourceVersion, selector.Index(m.Labels), text, m.CreatedAt, m.UpdatedAt)
	if taken(err) {
		return errs.New(errs.Conflict, "%s exists already in %s", m.Key(), t.resource)
	}
	if err != nil {
		return t.unstorable(err, "insert %s into %s", m.Key(), t.resource)
	}
	if err := t.remember(ctx, tx, document, text, w); err != nil {
		return err
	}
	return outbox.Append(ctx, tx, t.schema, t.change(outbox.Created, document, nil, w))
}

// Update replaces stored, which Lock read in the same transaction, by next, with its updated event; it sets next's resourceVersion. A
// generation other than stored's goes into the history. It returns errs.Invalid when Postgres cannot hold the document.
func (t Table[T, P]) Update(ctx context.Context, tx pgx.Tx, stored, next P, w Write) error {
	text, err := t.prepare(ctx, tx, next)
	if err != nil {
		return err
	}
	m := next.Meta()
	_, err = tx.Exec(ctx, t.sql(`UPDATE $table SET generation = $2, resource_version = $3, labels = $4, document = $5, updated_at = $6
		WHERE uid = $1`), m.UID, m.Generation, m.ResourceVersion, selector.Index(m.Labels), text, m.UpdatedAt)
	if err != nil {
		return t.unstorable(err, "update %s of %s", m.Key(), t.resource)
	}
	if m.Generation != stored.Meta().Generation {
		if err := t.remember(ctx, tx, next, text, w); err != nil {
			return err
		}
	}
	return outbox.Append(ctx, tx, t.schema, t.change(outbox.Updated, next, stored.Meta().Labels, w))
}

// Delete removes stored, which Lock read in the same transaction, and its history, with its deleted event; it sets stored's
// resourceVersion to a new one, the version of the deletion.
func (t Table[T, P]) Delete(ctx context.Context, tx pgx.Tx, stored P, w Write) error {
	m := stored.Meta()
	if _, err := t.prepare(ctx, tx, stored); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, t.sql("DELETE FROM $schema.revisions WHERE uid = $1"), m.UID); err != nil {
		return postgres.Wrap(err, "delete the history of %s of %s", m.Key(), t.resource)
	}
	if _, err := tx.Exec(ctx, t.sql("DELETE FROM $table WHERE uid = $1"), m.UID); err != nil {
		return postgres.Wrap(err, "delete %s of %s", m.Key(), t.resource)
	}
	return outbox.Append(ctx, tx, t.schema, t.change(outbox.Deleted, stored, m.Labels, w))
}

// prepare draws the document's new resourceVersion and encodes it. Call it with the row locked or not yet there: then versions of one
// object grow in the order of its writes.
func (t Table[T, P]) prepare(ctx context.Context, tx pgx.Tx, document P) ([]byte, error) {
	var version int64
	if err := tx.QueryRow(ctx, t.sql("SELECT nextval('$schema.resource_version')")).Scan(&version); err != nil {
		return nil, postgres.Wrap(err, "draw a resource version")
	}
	document.Meta().ResourceVersion = strconv.FormatInt(version, 10)
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("encode %s of %s: %w", document.Meta().Key(), t.resource, err)
	}
	return text, nil
}

// remember writes the document's generation into the history and drops the oldest ones.
func (t Table[T, P]) remember(ctx context.Context, tx pgx.Tx, document P, text []byte, w Write) error {
	m := document.Meta()
	_, err := tx.Exec(ctx, t.sql(`INSERT INTO $schema.revisions
		(uid, generation, resource, resource_version, document, actor, reason, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`),
		m.UID, m.Generation, t.resource, m.ResourceVersion, text, w.Actor, w.Reason, m.UpdatedAt)
	if err != nil {
		return postgres.Wrap(err, "remember generation %d of %s of %s", m.Generation, m.Key(), t.resource)
	}
	_, err = tx.Exec(ctx, t.sql("DELETE FROM $schema.revisions WHERE uid = $1 AND generation <= $2"), m.UID, m.Generation-KeptGenerations)
	return postgres.Wrap(err, "drop old generations of %s of %s", m.Key(), t.resource)
}

func (t Table[T, P]) change(operation string, document P, previous map[string]string, w Write) outbox.Change {
	m := document.Meta()
	version, _ := strconv.ParseInt(m.ResourceVersion, 10, 64) // prepare wrote it
	return outbox.Change{
		Resource: t.resource, Operation: operation, UID: m.UID, Namespace: m.Namespace, Name: m.Name, Generation: m.Generation,
		ResourceVersion: version, Document: document, PreviousLabels: previous, Options: w.Options, Actor: w.Actor,
	}
}

// sql puts the names of the table and of its schema into a statement.
func (t Table[T, P]) sql(statement string) string {
	schema := pgx.Identifier{t.schema}.Sanitize()
	return strings.NewReplacer("$table", pgx.Identifier{t.schema, t.resource}.Sanitize(), "$schema", schema).Replace(statement)
}

// storable reports whether Postgres takes s as text; what it does not take names nothing.
func storable(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// taken reports whether err says that the key exists.
func taken(err error) bool {
	var failure *pgconn.PgError
	return errors.As(err, &failure) && failure.Code == "23505"
}

// unstorable turns what Postgres refuses as JSON into errs.Invalid: NUL characters, halves of surrogate pairs, numbers beyond its
// range, nesting beyond its stack. Its words name the fault, not the content.
func (t Table[T, P]) unstorable(err error, format string, args ...any) error {
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		switch failure.Code {
		case "22P02", "22P05", "22003", "54000", "54001", "22021":
			return errs.New(errs.Invalid, "the document cannot be stored: %s %s", failure.Message, failure.Detail)
		}
	}
	return postgres.Wrap(err, format, args...)
}
