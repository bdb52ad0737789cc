// Package syncset manages the two kinds of set: syncsets, which name clusters of their own namespace, and selectorsyncsets, which
// select clusters of any namespace by label. One Service serves either; what differs is in its Kind.
package syncset

import (
	"context"
	"time"

	"github.com/syncsets/syncsets/libs/api/metadata"
	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/errs"
)

// Pointer is a pointer to a set of either kind.
type Pointer[T any] interface {
	*T
	Meta() *v1.Metadata
	Spec() *v1.SetSpec
}

// Write is what goes with a write beside the document: who wrote, why, and the options that whoever plans its effect must know.
type Write struct {
	Actor, Reason string
	Options       map[string]string
}

// Store keeps the documents of one kind. Each of its methods is a transaction; a write and its event are one.
type Store[T any] interface {
	// Create stores a new document and sets its resourceVersion. It returns errs.Conflict when the name is taken.
	Create(ctx context.Context, document *T, w Write) error
	// Put stores what decide makes of the stored document, nil when there is none; it may call decide more than once. A created document
	// is one that was not there.
	Put(ctx context.Context, key request.Key, w Write, decide func(stored *T) (*T, error)) (document T, created bool, err error)
	// Get returns errs.NotFound when there is no such document.
	Get(ctx context.Context, key request.Key) (T, error)
	// List returns a page in the order of namespace and name.
	List(ctx context.Context, q request.List) (v1.List[T], error)
	// Delete removes the document unless check, which sees it, objects. It returns errs.NotFound when there is none.
	Delete(ctx context.Context, key request.Key, w Write, check func(stored *T) error) error
}

// Rules are the settings that change what is valid.
type Rules struct {
	// AllowInlineSecrets permits v1 Secrets with values among the resources, where every reader of the set sees them.
	AllowInlineSecrets bool
}

// Service manages the sets of one kind.
type Service[T any, P Pointer[T]] struct {
	kind  Kind[T, P]
	store Store[T]
	rules Rules
	// written is called after each commit that left an event.
	written func()
}

// New returns the service of one kind. written is called after each commit that left an event.
func New[T any, P Pointer[T]](kind Kind[T, P], store Store[T], rules Rules, written func()) *Service[T, P] {
	return &Service[T, P]{kind: kind, store: store, rules: rules, written: written}
}

// Create stores a new set. It returns errs.Invalid with all faults, errs.Conflict when the name is taken.
func (s *Service[T, P]) Create(ctx context.Context, r request.Create[T]) (request.Result[T], error) {
	var none request.Result[T]
	document := r.Document
	meta := P(&document).Meta()
	if err := errs.InvalidFields(s.Validate(&document)...); err != nil {
		return none, err
	}
	if err := r.Options.Check(""); err != nil {
		return none, err
	}
	actor := auth.From(ctx).Name
	metadata.Begin(meta, s.kind.Name, actor, time.Now())
	if err := s.store.Create(ctx, &document, Write{Actor: actor}); err != nil {
		return none, err
	}
	s.written()
	return request.Result[T]{Document: document, Created: true, Location: s.kind.location(*meta)}, nil
}

// Get returns a set, or errs.NotFound.
func (s *Service[T, P]) Get(ctx context.Context, key request.Key) (T, error) {
	return s.store.Get(ctx, key)
}

// List returns a page of sets.
func (s *Service[T, P]) List(ctx context.Context, q request.List) (v1.List[T], error) {
	return s.store.List(ctx, q)
}

// Put creates or replaces the set at the request's key. It returns errs.Invalid with all faults, errs.Precondition or errs.Conflict when
// the stored set is not the one that the request expects to replace.
func (s *Service[T, P]) Put(ctx context.Context, r request.Put[T]) (request.Result[T], error) {
	var none request.Result[T]
	options, err := r.Options.Choose(optionValues)
	if err != nil {
		return none, err
	}
	if err := errs.InvalidFields(s.Validate(&r.Document)...); err != nil {
		return none, err
	}
	actor := auth.From(ctx).Name
	document, created, err := s.store.Put(ctx, r.Key, Write{Actor: actor, Options: options},
		func(stored *T) (*T, error) { return s.replacement(r, stored, actor) })
	if err != nil {
		return none, err
	}
	s.written()
	return request.Result[T]{Document: document, Created: created, Location: s.kind.location(*P(&document).Meta())}, nil
}

// replacement makes the next document from the request and what is stored, nil when nothing is.
func (s *Service[T, P]) replacement(r request.Put[T], stored *T, actor string) (*T, error) {
	next := r.Document
	meta := P(&next).Meta()
	if stored == nil {
		if err := firstFault(r.Options.Check(""), request.CheckVersion(*meta, nil)); err != nil {
			return nil, err
		}
		metadata.Begin(meta, s.kind.Name, actor, time.Now())
		return &next, nil
	}
	old := *P(stored).Meta()
	if err := firstFault(r.Options.Check(old.ETag()), request.CheckVersion(*meta, &old)); err != nil {
		return nil, err
	}
	changed, err := contentDiffers[T, P](stored, &next)
	if err != nil {
		return nil, err
	}
	metadata.Continue(meta, old, changed, actor, time.Now())
	return &next, nil
}

// Delete removes a set. It returns errs.NotFound when there is none, errs.Conflict when it is suspended and its objects are not to be
// left behind: for a suspended set nothing is deleted.
func (s *Service[T, P]) Delete(ctx context.Context, r request.Delete) (struct{}, error) {
	options, err := r.Options.Choose(optionValues)
	if err != nil {
		return struct{}{}, err
	}
	err = s.store.Delete(ctx, r.Key, Write{Actor: auth.From(ctx).Name, Options: options}, func(stored *T) error {
		if err := r.Options.Check(P(stored).Meta().ETag()); err != nil {
			return err
		}
		if P(stored).Spec().Suspended && options[optionDeletionPolicy] != v1.DeletionPolicyOrphan {
			return errs.New(errs.Conflict, "%s is suspended, so nothing is deleted for it: resume it first, or leave its objects with "+
				"?deletionPolicy=Orphan", r.Key)
		}
		return nil
	})
	if err == nil {
		s.written()
	}
	return struct{}{}, err
}

func firstFault(faults ...error) error {
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	return nil
}
