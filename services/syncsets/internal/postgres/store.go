// Package postgres keeps the sets in the schema syncsets. An exported method is a transaction; a document and its event are written in one.
package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/document"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/services/syncsets/internal/syncset"
)

// Schema is the schema that the service owns.
const Schema = "syncsets"

// putAttempts is how often Put starts over when somebody else created or deleted the document in between.
const putAttempts = 3

// Store keeps the documents of one resource. It implements syncset.Store.
type Store[T any, P document.Pointer[T]] struct {
	pool  *pgxpool.Pool
	table document.Table[T, P]
}

// NewStore returns the store of the resource, which names its table.
func NewStore[T any, P document.Pointer[T]](pool *pgxpool.Pool, resource string) *Store[T, P] {
	return &Store[T, P]{pool: pool, table: document.NewTable[T, P](Schema, resource)}
}

// Create implements syncset.Store.
func (s *Store[T, P]) Create(ctx context.Context, d *T, w syncset.Write) error {
	err := postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		return s.table.Insert(ctx, tx, d, document.Write(w))
	})
	return postgres.Wrap(err, "create %s", P(d).Meta().Key())
}

// Put implements syncset.Store.
func (s *Store[T, P]) Put(ctx context.Context, key request.Key, w syncset.Write, decide func(*T) (*T, error)) (T, bool, error) {
	for attempt := 1; ; attempt++ {
		d, created, lost, err := s.put(ctx, key, w, decide)
		if !lost || attempt == putAttempts {
			return d, created, postgres.Wrap(err, "put %s", key)
		}
	}
}

// put is one attempt. lost says that the document was created by somebody else after it was not found.
func (s *Store[T, P]) put(ctx context.Context, key request.Key, w syncset.Write, decide func(*T) (*T, error)) (d T, created, lost bool, err error) {
	err = postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		lost = false
		stored, err := s.table.Lock(ctx, tx, key)
		if created = errs.Is(err, errs.NotFound); created {
			next, err := decide(nil)
			if err != nil {
				return err
			}
			err = s.table.Insert(ctx, tx, next, document.Write(w))
			lost = errs.Is(err, errs.Conflict)
			d = *next
			return err
		}
		if err != nil {
			return err
		}
		next, err := decide(&stored)
		if err != nil {
			return err
		}
		d = *next
		return s.table.Update(ctx, tx, &stored, &d, document.Write(w))
	})
	return d, created, lost, err
}

// Get implements syncset.Store.
func (s *Store[T, P]) Get(ctx context.Context, key request.Key) (T, error) {
	return s.table.Get(ctx, s.pool, key)
}

// List implements syncset.Store.
func (s *Store[T, P]) List(ctx context.Context, q request.List) (v1.List[T], error) {
	return s.table.List(ctx, s.pool, q)
}

// Delete implements syncset.Store.
func (s *Store[T, P]) Delete(ctx context.Context, key request.Key, w syncset.Write, check func(*T) error) error {
	err := postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		stored, err := s.table.Lock(ctx, tx, key)
		if err != nil {
			return err
		}
		if err := check(&stored); err != nil {
			return err
		}
		return s.table.Delete(ctx, tx, &stored, document.Write(w))
	})
	return postgres.Wrap(err, "delete %s", key)
}
