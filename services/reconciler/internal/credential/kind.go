package credential

import (
	"context"
	"encoding/json"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/seal"
	"github.com/syncsets/syncsets/services/reconciler/internal/postgres"
)

// kind is a kind of value that is fetched: where it comes from and where it goes.
type kind struct {
	name   string // in logs and traces
	stored postgres.Sealed
	ref    func(installation, uid string) seal.Ref
	get    func(ctx context.Context, uid string) (version int64, value []byte, err error)
	wake   chan struct{}
}

// Ref is the place of a cluster's kubeconfig in the reconciler's schema, as it is sealed and opened.
func Ref(installation, clusterUID string) seal.Ref {
	return seal.Ref{Installation: installation, Schema: "reconciler", Table: "credentials", UID: clusterUID, Field: "kubeconfig"}
}

// SecretRef is the place of a secret's values in the reconciler's schema, as they are sealed and opened: a JSON object of base64 values.
func SecretRef(installation, secretUID string) seal.Ref {
	return seal.Ref{Installation: installation, Schema: "reconciler", Table: "secret_data", UID: secretUID, Field: "data"}
}

func (c Config) kinds() []*kind {
	return []*kind{
		{name: "kubeconfig", stored: postgres.Kubeconfigs, ref: Ref, get: c.kubeconfig, wake: make(chan struct{}, 1)},
		{name: "secret", stored: postgres.SecretData, ref: SecretRef, get: c.secretData, wake: make(chan struct{}, 1)},
	}
}

func (c Config) kubeconfig(ctx context.Context, uid string) (int64, []byte, error) {
	version, text, err := c.Clusters.Kubeconfig(ctx, uid)
	return version, []byte(text), err
}

func (c Config) secretData(ctx context.Context, uid string) (int64, []byte, error) {
	version, data, err := c.SyncSets.SecretData(ctx, uid)
	if err != nil {
		return 0, nil, err
	}
	if data == nil {
		data = map[string]string{}
	}
	text, err := json.Marshal(data)
	if err != nil {
		return 0, nil, errs.New(errs.Internal, "the values cannot be encoded")
	}
	return version, text, nil
}
