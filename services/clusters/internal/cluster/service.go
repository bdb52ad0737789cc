package cluster

import (
	"context"
	"time"

	"github.com/syncsets/syncsets/libs/api/metadata"
	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/errs"
)

// Store keeps clusters, their history and their events. Documents in it hold no kubeconfig.
type Store interface {
	// Get returns errs.NotFound when there is none.
	Get(ctx context.Context, key request.Key) (v1.Cluster, error)
	// List returns errs.Invalid for a selector or a token that is none.
	List(ctx context.Context, q request.List) (v1.List[v1.Cluster], error)
	// Change locks the cluster at key, hands it to decide (nil: there is none) and, in the same transaction, stores what decide returns
	// with its event. A kubeconfig in the result is sealed and stored beside it; a nil result deletes. decide may be called more
	// than once; its errors are returned as they are. Change returns the cluster as stored or deleted.
	Change(ctx context.Context, key request.Key, w Write, decide Decide) (v1.Cluster, error)
	// KeyOf returns the key of the cluster with this uid, errs.NotFound when there is none.
	KeyOf(ctx context.Context, uid string) (request.Key, error)
}

// Write is what goes with a write beside the document: who wrote, and the options that whoever plans its effect must know.
type Write struct {
	Actor   string
	Options map[string]string
}

// Decide makes of the stored cluster, nil when there is none, what is to be stored, nil when it is to be deleted.
type Decide func(stored *v1.Cluster) (next *v1.Cluster, err error)

// Credential is a cluster's kubeconfig with its version, for whoever may read it.
type Credential struct {
	Version    int64  `json:"version"`
	Kubeconfig string `json:"kubeconfig"`
}

// Digests makes and compares keyed digests of kubeconfigs, which tell nothing about them.
type Digests interface {
	Digest(uid, kubeconfig string) string
	Matches(uid, digest, kubeconfig string) bool
}

// Service is what callers can do with clusters.
type Service struct {
	store   Store
	digests Digests
}

// NewService returns a service over store.
func NewService(store Store, digests Digests) *Service {
	return &Service{store: store, digests: digests}
}

// Get returns a cluster, errs.NotFound when there is none.
func (s *Service) Get(ctx context.Context, key request.Key) (v1.Cluster, error) {
	return s.store.Get(ctx, key)
}

// List returns a page of clusters in the order of namespace and name.
func (s *Service) List(ctx context.Context, q request.List) (v1.List[v1.Cluster], error) {
	return s.store.List(ctx, q)
}

// Create registers a cluster. It returns errs.Conflict when the name is taken, errs.Invalid with every fault. A kubeconfig that cannot be
// used is accepted with a warning.
func (s *Service) Create(ctx context.Context, r request.Create[v1.Cluster]) (request.Result[v1.Cluster], error) {
	if err := errs.InvalidFields(ValidateNew(&r.Document)...); err != nil {
		return request.Result[v1.Cluster]{}, err
	}
	key := request.Key{Namespace: r.Document.Namespace, Name: r.Document.Name}
	return s.write(ctx, key, r.Document, nil, func(stored *v1.Cluster) error {
		if stored != nil {
			return errs.New(errs.Conflict, "cluster %s exists already", key)
		}
		return r.Options.Check("")
	})
}

// Put creates or replaces the cluster at the request's key. It returns errs.Precondition when If-Match names another version, errs.Conflict
// when the document names another uid or resourceVersion, errs.Invalid with every fault.
func (s *Service) Put(ctx context.Context, r request.Put[v1.Cluster]) (request.Result[v1.Cluster], error) {
	r.Document.Namespace, r.Document.Name = r.Key.Namespace, r.Key.Name
	if err := errs.InvalidFields(Validate(&r.Document)...); err != nil {
		return request.Result[v1.Cluster]{}, err
	}
	options, err := r.Options.Choose(putOptions)
	if err != nil {
		return request.Result[v1.Cluster]{}, err
	}
	sent := r.Document.Metadata
	return s.write(ctx, r.Key, r.Document, options, func(stored *v1.Cluster) error {
		if stored == nil {
			return firstOf(r.Options.Check(""), request.CheckVersion(sent, nil))
		}
		return firstOf(r.Options.Check(stored.ETag()), request.CheckVersion(sent, &stored.Metadata))
	})
}

var missingKubeconfig = errs.Field{Path: "kubeconfig", Message: "is required"}

// write stores the valid document sent unless check objects to what is stored.
func (s *Service) write(
	ctx context.Context, key request.Key, sent v1.Cluster, options map[string]string, check func(stored *v1.Cluster) error,
) (request.Result[v1.Cluster], error) {
	var result request.Result[v1.Cluster]
	actor := auth.From(ctx).Name
	document, err := s.store.Change(ctx, key, Write{Actor: actor, Options: options}, func(stored *v1.Cluster) (*v1.Cluster, error) {
		if err := check(stored); err != nil {
			return nil, err
		}
		result.Created = stored == nil
		if stored == nil {
			return s.begin(sent, actor)
		}
		return s.replace(sent, *stored, actor), nil
	})
	result.Document = document
	if err == nil && sent.Kubeconfig != nil {
		if found, _ := examine(*sent.Kubeconfig); found.warning != "" {
			result.Warnings = append(result.Warnings, found.warning)
		}
	}
	return result, err
}

// begin makes a new cluster of what a client sent.
func (s *Service) begin(sent v1.Cluster, actor string) (*v1.Cluster, error) {
	if sent.Kubeconfig == nil {
		return nil, errs.InvalidFields(missingKubeconfig)
	}
	metadata.Begin(&sent.Metadata, v1.KindCluster, actor, time.Now())
	s.credential(&sent, 1)
	return &sent, nil
}

// replace makes the next version of stored: the kubeconfig stays unless another one was sent.
func (s *Service) replace(sent, stored v1.Cluster, actor string) *v1.Cluster {
	if sent.Kubeconfig != nil && s.digests.Matches(stored.UID, stored.KubeconfigDigest, *sent.Kubeconfig) {
		sent.Kubeconfig = nil
	}
	changed := sent.Kubeconfig != nil || sent.Suspended != stored.Suspended || sent.VerifyInterval != stored.VerifyInterval ||
		sent.ReapplyInterval != stored.ReapplyInterval
	metadata.Continue(&sent.Metadata, stored.Metadata, changed, actor, time.Now())
	if sent.Kubeconfig != nil {
		s.credential(&sent, stored.KubeconfigVersion+1)
		return &sent
	}
	sent.KubeconfigVersion, sent.KubeconfigDigest = stored.KubeconfigVersion, stored.KubeconfigDigest
	sent.CredentialExpiresAt = stored.CredentialExpiresAt
	return &sent
}

// credential fills in what is shown of the document's kubeconfig.
func (s *Service) credential(c *v1.Cluster, version int64) {
	found, _ := examine(*c.Kubeconfig)
	c.KubeconfigVersion, c.CredentialExpiresAt = version, found.expiresAt
	c.KubeconfigDigest = s.digests.Digest(c.UID, *c.Kubeconfig)
}

func firstOf(failures ...error) error {
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}
