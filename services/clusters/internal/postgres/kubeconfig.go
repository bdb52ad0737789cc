package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/seal"
	"github.com/syncsets/syncsets/services/clusters/internal/cluster"
)

// ref is the place of a cluster's kubeconfig, which it is sealed for.
func (s *Store) ref(uid string) seal.Ref {
	return seal.Ref{Installation: s.installation, Schema: Schema, Table: "kubeconfigs", UID: uid, Field: "kubeconfig"}
}

// Digest implements cluster.Digests.
func (s *Store) Digest(uid, kubeconfig string) string {
	return s.keys.Digest(s.ref(uid), []byte(kubeconfig))
}

// Matches implements cluster.Digests.
func (s *Store) Matches(uid, digest, kubeconfig string) bool {
	return s.keys.Matches(s.ref(uid), digest, []byte(kubeconfig))
}

// keep seals a kubeconfig and stores it beside c; nil keeps the stored one.
func (s *Store) keep(ctx context.Context, tx pgx.Tx, c v1.Cluster, kubeconfig *string) error {
	if kubeconfig == nil {
		return nil
	}
	keyID, sealed, err := s.keys.Seal(s.ref(c.UID), []byte(*kubeconfig))
	if err != nil {
		return fmt.Errorf("seal the kubeconfig of %s: %w", c.Key(), err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO clusters.kubeconfigs (cluster_uid, version, key_id, sealed) VALUES ($1, $2, $3, $4)
		ON CONFLICT (cluster_uid) DO UPDATE SET version = excluded.version, key_id = excluded.key_id, sealed = excluded.sealed`,
		c.UID, c.KubeconfigVersion, keyID, sealed)
	return postgres.Wrap(err, "store the kubeconfig of %s", c.Key())
}

// Kubeconfig opens the kubeconfig of the cluster with this uid. It returns errs.NotFound when there is none.
func (s *Store) Kubeconfig(ctx context.Context, uid string) (cluster.Credential, error) {
	missing := errs.New(errs.NotFound, "there is no cluster with uid %q", uid)
	if !validUID(uid) {
		return cluster.Credential{}, missing
	}
	var found cluster.Credential
	var keyID string
	var sealed []byte
	err := s.pool.QueryRow(ctx, "SELECT version, key_id, sealed FROM clusters.kubeconfigs WHERE cluster_uid = $1", uid).
		Scan(&found.Version, &keyID, &sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return cluster.Credential{}, missing
	}
	if err != nil {
		return cluster.Credential{}, postgres.Wrap(err, "read the kubeconfig of %s", uid)
	}
	text, err := s.keys.Open(s.ref(uid), keyID, sealed)
	if err != nil {
		return cluster.Credential{}, fmt.Errorf("open the kubeconfig of %s: %w", uid, err)
	}
	found.Kubeconfig = string(text)
	return found, nil
}
