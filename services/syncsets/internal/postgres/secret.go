package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/document"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/seal"
	"github.com/syncsets/syncsets/services/syncsets/internal/secret"
)

// SecretStore keeps secrets, with their values sealed beside them. It implements secret.Store and secret.Digests.
type SecretStore struct {
	pool         *pgxpool.Pool
	table        document.Table[v1.Secret, *v1.Secret]
	keys         *seal.Keys
	installation string
	written      func()
}

// NewSecretStore returns the store of secrets of an installation. written is called after each commit that left an event.
func NewSecretStore(pool *pgxpool.Pool, keys *seal.Keys, installation string, written func()) *SecretStore {
	return &SecretStore{
		pool: pool, table: document.NewTable[v1.Secret](Schema, v1.ResourceSecrets), keys: keys, installation: installation, written: written,
	}
}

// CheckKeys returns errs.Invalid, naming the key, when values are sealed with a key that the store lacks.
func (s *SecretStore) CheckKeys(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, "SELECT DISTINCT key_id FROM syncsets.secret_values ORDER BY key_id")
	if err != nil {
		return postgres.Wrap(err, "read the ids of the seal keys in use")
	}
	used, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return postgres.Wrap(err, "read the ids of the seal keys in use")
	}
	for _, id := range used {
		if !s.keys.Has(id) {
			return errs.New(errs.Invalid, "SEAL_KEYS lacks the key %q, which values of secrets are sealed with", id)
		}
	}
	return nil
}

// Get implements secret.Store.
func (s *SecretStore) Get(ctx context.Context, key request.Key) (v1.Secret, error) {
	return s.table.Get(ctx, s.pool, key)
}

// List implements secret.Store.
func (s *SecretStore) List(ctx context.Context, q request.List) (v1.List[v1.Secret], error) {
	return s.table.List(ctx, s.pool, q)
}

// errMeanwhile says that a secret appeared between looking for it and inserting it.
var errMeanwhile = errors.New("created meanwhile")

// Change implements secret.Store.
func (s *SecretStore) Change(ctx context.Context, key request.Key, actor string, decide secret.Decide) (v1.Secret, error) {
	var result v1.Secret
	var err error
	for range putAttempts {
		err = postgres.InTx(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) (err error) {
			result, err = s.change(ctx, tx, key, document.Write{Actor: actor}, decide)
			return err
		})
		if !errors.Is(err, errMeanwhile) {
			break
		}
	}
	if err != nil {
		return v1.Secret{}, postgres.Wrap(err, "write secret %s", key)
	}
	s.written()
	return result, nil
}

func (s *SecretStore) change(ctx context.Context, tx pgx.Tx, key request.Key, w document.Write, decide secret.Decide) (v1.Secret, error) {
	stored, err := s.lock(ctx, tx, key)
	if err != nil {
		return v1.Secret{}, err
	}
	next, err := decide(stored)
	if err != nil {
		return v1.Secret{}, err
	}
	switch {
	case next == nil:
		err := s.table.Delete(ctx, tx, stored, w)
		return *stored, err
	case stored == nil:
		return s.insert(ctx, tx, *next, w)
	}
	return s.update(ctx, tx, stored, *next, w)
}

// lock returns nil when there is no secret at key.
func (s *SecretStore) lock(ctx context.Context, tx pgx.Tx, key request.Key) (*v1.Secret, error) {
	stored, err := s.table.Lock(ctx, tx, key)
	if errs.Is(err, errs.NotFound) {
		return nil, nil
	}
	return &stored, err
}

func (s *SecretStore) insert(ctx context.Context, tx pgx.Tx, d v1.Secret, w document.Write) (v1.Secret, error) {
	data := d.Data
	d.Data = nil
	if err := s.table.Insert(ctx, tx, &d, w); err != nil {
		if errs.Is(err, errs.Conflict) {
			return d, errors.Join(errMeanwhile, err)
		}
		return d, err
	}
	return d, s.keep(ctx, tx, d, data)
}

func (s *SecretStore) update(ctx context.Context, tx pgx.Tx, stored *v1.Secret, d v1.Secret, w document.Write) (v1.Secret, error) {
	data := d.Data
	d.Data = nil
	if err := s.keep(ctx, tx, d, data); err != nil {
		return d, err
	}
	return d, s.table.Update(ctx, tx, stored, &d, w)
}

// ref is the place of a secret's values, which they are sealed for.
func (s *SecretStore) ref(uid string) seal.Ref {
	return seal.Ref{Installation: s.installation, Schema: Schema, Table: "secret_values", UID: uid, Field: "data"}
}

// Digest implements secret.Digests.
func (s *SecretStore) Digest(uid string, value []byte) string {
	return s.keys.Digest(s.ref(uid), value)
}

// Matches implements secret.Digests.
func (s *SecretStore) Matches(uid, digest string, value []byte) bool {
	return s.keys.Matches(s.ref(uid), digest, value)
}

// keep seals values and stores them beside d; nil keeps the stored ones.
func (s *SecretStore) keep(ctx context.Context, tx pgx.Tx, d v1.Secret, data map[string]string) error {
	if data == nil {
		return nil
	}
	text, err := json.Marshal(data)
	if err != nil {
		return errs.New(errs.Internal, "the values of secret %s cannot be encoded", d.Key())
	}
	keyID, sealed, err := s.keys.Seal(s.ref(d.UID), text)
	if err != nil {
		return fmt.Errorf("seal the values of secret %s: %w", d.Key(), err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO syncsets.secret_values (secret_uid, version, key_id, sealed) VALUES ($1, $2, $3, $4)
		ON CONFLICT (secret_uid) DO UPDATE SET version = excluded.version, key_id = excluded.key_id, sealed = excluded.sealed`,
		d.UID, d.DataVersion, keyID, sealed)
	return postgres.Wrap(err, "store the values of secret %s", d.Key())
}

// Data opens the values of the secret with this uid. It returns errs.NotFound when there is none.
func (s *SecretStore) Data(ctx context.Context, uid string) (secret.Data, error) {
	missing := errs.New(errs.NotFound, "there is no secret with uid %q", uid)
	if uuid.Validate(uid) != nil {
		return secret.Data{}, missing
	}
	var found secret.Data
	var keyID string
	var sealed []byte
	err := s.pool.QueryRow(ctx, "SELECT version, key_id, sealed FROM syncsets.secret_values WHERE secret_uid = $1", uid).
		Scan(&found.Version, &keyID, &sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return secret.Data{}, missing
	}
	if err != nil {
		return secret.Data{}, postgres.Wrap(err, "read the values of secret %s", uid)
	}
	text, err := s.keys.Open(s.ref(uid), keyID, sealed)
	if err != nil {
		return secret.Data{}, fmt.Errorf("open the values of secret %s: %w", uid, err)
	}
	if json.Unmarshal(text, &found.Data) != nil {
		return secret.Data{}, errs.New(errs.Internal, "the stored values of secret %s cannot be read", uid)
	}
	return found, nil
}
