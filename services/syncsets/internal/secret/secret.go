// Package secret is what the syncsets service does with secrets, the sources of secretMappings: it says what a valid one is and keeps its
// values out of sight. A document shows the keys with keyed digests; the values lie sealed beside it.
package secret

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/syncsets/syncsets/libs/api/metadata"
	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/errs"
)

// Store keeps secrets and their events. Documents in it hold no values.
type Store interface {
	// Get returns errs.NotFound when there is none.
	Get(ctx context.Context, key request.Key) (v1.Secret, error)
	// List returns errs.Invalid for a selector or a token that is none.
	List(ctx context.Context, q request.List) (v1.List[v1.Secret], error)
	// Change locks the secret at key, hands it to decide (nil: there is none) and, in the same transaction, stores what decide returns
	// with its event. Data in the result is sealed and stored beside it; a nil result deletes. decide may be called more than once; its
	// errors are returned as they are. Change returns the secret as stored or deleted.
	Change(ctx context.Context, key request.Key, actor string, decide Decide) (v1.Secret, error)
}

// Decide makes of the stored secret, nil when there is none, what is to be stored, nil when it is to be deleted.
type Decide func(stored *v1.Secret) (next *v1.Secret, err error)

// Data is a secret's values with their version, for whoever may read them: base64 by key.
type Data struct {
	Version int64             `json:"version"`
	Data    map[string]string `json:"data"`
}

// Digests makes and compares keyed digests of values, which tell nothing about them.
type Digests interface {
	Digest(uid string, value []byte) string
	Matches(uid, digest string, value []byte) bool
}

// Service is what callers can do with secrets.
type Service struct {
	store   Store
	digests Digests
}

// NewService returns a service over store.
func NewService(store Store, digests Digests) *Service {
	return &Service{store: store, digests: digests}
}

// Get returns a secret without its values, errs.NotFound when there is none.
func (s *Service) Get(ctx context.Context, key request.Key) (v1.Secret, error) {
	return s.store.Get(ctx, key)
}

// List returns a page of secrets without their values, in the order of namespace and name.
func (s *Service) List(ctx context.Context, q request.List) (v1.List[v1.Secret], error) {
	return s.store.List(ctx, q)
}

// Create stores a secret. It returns errs.Conflict when the name is taken, errs.Invalid with every fault.
func (s *Service) Create(ctx context.Context, r request.Create[v1.Secret]) (request.Result[v1.Secret], error) {
	faults := Validate(&r.Document)
	if !r.Document.CarriesSecrets() {
		faults = append(faults, checkValues(r.Document.Type, nil)...)
	}
	if err := errs.InvalidFields(faults...); err != nil {
		return request.Result[v1.Secret]{}, err
	}
	key := request.Key{Namespace: r.Document.Namespace, Name: r.Document.Name}
	return s.write(ctx, key, r.Document, func(stored *v1.Secret) error {
		if stored != nil {
			return errs.New(errs.Conflict, "secret %s exists already", key)
		}
		return r.Options.Check("")
	})
}

// Put creates or replaces the secret at the request's key. It returns errs.Precondition when If-Match names another version, errs.Conflict
// when the document names another uid or resourceVersion, errs.Invalid with every fault.
func (s *Service) Put(ctx context.Context, r request.Put[v1.Secret]) (request.Result[v1.Secret], error) {
	r.Document.Namespace, r.Document.Name = r.Key.Namespace, r.Key.Name
	if err := errs.InvalidFields(Validate(&r.Document)...); err != nil {
		return request.Result[v1.Secret]{}, err
	}
	sent := r.Document.Metadata
	return s.write(ctx, r.Key, r.Document, func(stored *v1.Secret) error {
		if stored == nil {
			return firstOf(r.Options.Check(""), request.CheckVersion(sent, nil))
		}
		return firstOf(r.Options.Check(stored.ETag()), request.CheckVersion(sent, &stored.Metadata))
	})
}

// Delete removes a secret and its values. Copies on targets stay as they are. It returns errs.NotFound when there is none.
func (s *Service) Delete(ctx context.Context, r request.Delete) (struct{}, error) {
	_, err := s.store.Change(ctx, r.Key, auth.From(ctx).Name, func(stored *v1.Secret) (*v1.Secret, error) {
		if stored == nil {
			return nil, firstOf(r.Options.Check(""), errs.New(errs.NotFound, "there is no secret %s", r.Key))
		}
		return nil, r.Options.Check(stored.ETag())
	})
	return struct{}{}, err
}

// write stores the valid document sent unless check objects to what is stored.
func (s *Service) write(
	ctx context.Context, key request.Key, sent v1.Secret, check func(stored *v1.Secret) error,
) (request.Result[v1.Secret], error) {
	var result request.Result[v1.Secret]
	actor := auth.From(ctx).Name
	found, _ := valuesOf(sent)
	document, err := s.store.Change(ctx, key, actor, func(stored *v1.Secret) (*v1.Secret, error) {
		if err := check(stored); err != nil {
			return nil, err
		}
		result.Created = stored == nil
		if stored == nil {
			return s.begin(sent, found, actor)
		}
		return s.replace(sent, *stored, found, actor)
	})
	result.Document, result.Location = document, "/v1/"+v1.ResourceSecrets+"/"+key.String()
	return result, err
}

// begin makes a new secret of what a client sent. One without values has none.
func (s *Service) begin(sent v1.Secret, found values, actor string) (*v1.Secret, error) {
	if sent.Type == "" {
		sent.Type = defaultType
	}
	if err := checkType(sent, found); err != nil {
		return nil, err
	}
	metadata.Begin(&sent.Metadata, v1.KindSecret, actor, time.Now())
	s.fill(&sent, found, 1)
	return &sent, nil
}

// replace makes the next version of stored: type and values stay unless others were sent, and the type cannot be another one. Labels and
// annotations are carried to the targets and so count as content.
func (s *Service) replace(sent, stored v1.Secret, found values, actor string) (*v1.Secret, error) {
	if sent.Type == "" {
		sent.Type = stored.Type
	}
	if sent.Type != stored.Type {
		return nil, errs.InvalidFields(errs.Field{Path: "type", Message: "is " + stored.Type +
			" and cannot be changed, as on a target: delete the secret and create it anew, or give the new one another name"})
	}
	if err := errs.InvalidFields(checkAnnotations(sent.Type, sent.Annotations)...); err != nil {
		return nil, err
	}
	fresh := sent.CarriesSecrets() && !s.same(stored, found)
	if fresh {
		if err := checkType(sent, found); err != nil {
			return nil, err
		}
	}
	changed := fresh || !maps.Equal(sent.Labels, stored.Labels) || !maps.Equal(sent.Annotations, stored.Annotations)
	metadata.Continue(&sent.Metadata, stored.Metadata, changed, actor, time.Now())
	if fresh {
		s.fill(&sent, found, stored.DataVersion+1)
		return &sent, nil
	}
	sent.Data, sent.StringData, sent.DataVersion, sent.Keys = nil, nil, stored.DataVersion, stored.Keys
	return &sent, nil
}

func checkType(s v1.Secret, found values) error {
	return errs.InvalidFields(append(checkAnnotations(s.Type, s.Annotations), checkValues(s.Type, found)...)...)
}

// same reports whether the values are the stored ones.
func (s *Service) same(stored v1.Secret, found values) bool {
	if len(stored.Keys) != len(found) {
		return false
	}
	for _, k := range stored.Keys {
		value, there := found[k.Key]
		if !there || !s.digests.Matches(stored.UID, k.Digest, value) {
			return false
		}
	}
	return true
}

// fill puts the values into the document in the one form that the store seals, with what is shown of them.
func (s *Service) fill(d *v1.Secret, found values, version int64) {
	d.Data, d.StringData, d.DataVersion, d.Keys = found.encoded(), nil, version, nil
	for _, key := range slices.Sorted(maps.Keys(found)) {
		d.Keys = append(d.Keys, v1.SecretKey{Key: key, Digest: s.digests.Digest(d.UID, found[key])})
	}
}

func firstOf(failures ...error) error {
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}
