// Package postgres keeps clusters in the schema "clusters": the document and its history, the event in the outbox, and the sealed
// kubeconfig beside them, all in one transaction.
package postgres

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/document"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/seal"
	"github.com/syncsets/syncsets/services/clusters/internal/cluster"
)

// Schema is the schema that this service owns.
const Schema = "clusters"

// Store is the clusters service's database.
type Store struct {
	pool         *pgxpool.Pool
	table        document.Table[v1.Cluster, *v1.Cluster]
	keys         *seal.Keys
	installation string
	wake         func()
}

// Open returns the store of a migrated database. It returns errs.Invalid, naming the key, when a kubeconfig is sealed with a key that
// keys lacks. wake is called after each commit with an event in it.
func Open(ctx context.Context, pool *pgxpool.Pool, keys *seal.Keys, wake func()) (*Store, error) {
	s := &Store{pool: pool, table: document.NewTable[v1.Cluster](Schema, v1.ResourceClusters), keys: keys, wake: wake}
	err := pool.QueryRow(ctx, "SELECT id::text FROM clusters.installation WHERE one").Scan(&s.installation)
	if err != nil {
		return nil, postgres.Wrap(err, "read the installation's id")
	}
	return s, s.checkKeys(ctx)
}

func (s *Store) checkKeys(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, "SELECT DISTINCT key_id FROM clusters.kubeconfigs ORDER BY key_id")
	if err != nil {
		return postgres.Wrap(err, "read the ids of the seal keys in use")
	}
	used, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return postgres.Wrap(err, "read the ids of the seal keys in use")
	}
	for _, id := range used {
		if !s.keys.Has(id) {
			return errs.New(errs.Invalid, "SEAL_KEYS lacks the key %q, which stored kubeconfigs are sealed with", id)
		}
	}
	return nil
}

// Installation returns the id of this system.
func (s *Store) Installation() string { return s.installation }

// Get reads a cluster. It returns errs.NotFound when there is none.
func (s *Store) Get(ctx context.Context, key request.Key) (v1.Cluster, error) {
	return s.table.Get(ctx, s.pool, key)
}

// List reads a page, with the revision of its snapshot.
func (s *Store) List(ctx context.Context, q request.List) (v1.List[v1.Cluster], error) {
	return s.table.List(ctx, s.pool, q)
}

// Feed reads a page of the event log, of one resource or, where it is empty, of all. It returns errs.Gone when since cannot be continued
// from.
func (s *Store) Feed(ctx context.Context, resource string, q request.Feed) (outbox.Page, error) {
	var since outbox.Revision
	if q.Since != "" {
		var err error
		if since, err = outbox.ParseRevision(q.Since); err != nil {
			return outbox.Page{}, err
		}
	}
	return outbox.NewLog(s.pool, Schema).Read(ctx, resource, since, q.Limit)
}

// writeAttempts is how often Change starts over when a cluster of the same name was created meanwhile.
const writeAttempts = 3

// errMeanwhile says that a cluster appeared between looking for it and inserting it.
var errMeanwhile = errors.New("created meanwhile")

// Change implements cluster.Store.
func (s *Store) Change(ctx context.Context, key request.Key, w cluster.Write, decide cluster.Decide) (v1.Cluster, error) {
	var result v1.Cluster
	var err error
	for range writeAttempts {
		err = postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) (err error) {
			result, err = s.change(ctx, tx, key, w, decide)
			return err
		})
		if !errors.Is(err, errMeanwhile) {
			break
		}
	}
	if err != nil {
		return v1.Cluster{}, postgres.Wrap(err, "write cluster %s", key)
	}
	s.wake()
	return result, nil
}

func (s *Store) change(ctx context.Context, tx pgx.Tx, key request.Key, w cluster.Write, decide cluster.Decide) (v1.Cluster, error) {
	stored, err := s.lock(ctx, tx, key)
	if err != nil {
		return v1.Cluster{}, err
	}
	next, err := decide(stored)
	if err != nil {
		return v1.Cluster{}, err
	}
	write := document.Write{Actor: w.Actor, Options: w.Options}
	switch {
	case next == nil:
		err := s.table.Delete(ctx, tx, stored, write)
		return *stored, err
	case stored == nil:
		return s.insert(ctx, tx, *next, write)
	}
	return s.update(ctx, tx, stored, *next, write)
}

// lock returns nil when there is no cluster at key.
func (s *Store) lock(ctx context.Context, tx pgx.Tx, key request.Key) (*v1.Cluster, error) {
	stored, err := s.table.Lock(ctx, tx, key)
	if errs.Is(err, errs.NotFound) {
		return nil, nil
	}
	return &stored, err
}

func (s *Store) insert(ctx context.Context, tx pgx.Tx, c v1.Cluster, write document.Write) (v1.Cluster, error) {
	kubeconfig := c.Kubeconfig
	c.Kubeconfig = nil
	if err := s.table.Insert(ctx, tx, &c, write); err != nil {
		if errs.Is(err, errs.Conflict) {
			return c, errors.Join(errMeanwhile, err)
		}
		return c, err
	}
	return c, s.keep(ctx, tx, c, kubeconfig)
}

func (s *Store) update(ctx context.Context, tx pgx.Tx, stored *v1.Cluster, c v1.Cluster, write document.Write) (v1.Cluster, error) {
	kubeconfig := c.Kubeconfig
	c.Kubeconfig = nil
	if err := s.keep(ctx, tx, c, kubeconfig); err != nil {
		return c, err
	}
	return c, s.table.Update(ctx, tx, stored, &c, write)
}

// KeyOf implements cluster.Store.
func (s *Store) KeyOf(ctx context.Context, uid string) (request.Key, error) {
	var key request.Key
	missing := errs.New(errs.NotFound, "there is no cluster with uid %q", uid)
	if !validUID(uid) {
		return key, missing
	}
	err := s.pool.QueryRow(ctx, "SELECT namespace, name FROM clusters.clusters WHERE uid = $1", uid).Scan(&key.Namespace, &key.Name)
	if errors.Is(err, pgx.ErrNoRows) {
		return key, missing
	}
	return key, postgres.Wrap(err, "find the cluster with uid %s", uid)
}

// validUID reports whether s can name a row: Postgres would refuse anything else as an error of ours.
func validUID(s string) bool { return uuid.Validate(s) == nil }
