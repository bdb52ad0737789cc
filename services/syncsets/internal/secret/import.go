package secret

import (
	"context"
	"errors"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/errs"
)

// errUnchanged keeps the store from writing what is there already.
var errUnchanged = errors.New("unchanged")

// Validate is the function Validate, for whoever has a service in hand.
func (s *Service) Validate(document *v1.Secret) []errs.Field { return Validate(document) }

// Import creates or replaces a valid secret, and says which: v1.ImportCreated, v1.ImportConfigured, or v1.ImportUnchanged when the stored
// one has the same values, labels and annotations: then nothing is written. It returns errs.Invalid when its type would change.
func (s *Service) Import(ctx context.Context, document v1.Secret) (string, error) {
	document.UID, document.ResourceVersion = "", ""
	key, actor := request.Key{Namespace: document.Namespace, Name: document.Name}, auth.From(ctx).Name
	found, _ := valuesOf(document)
	created := false
	_, err := s.store.Change(ctx, key, actor, func(stored *v1.Secret) (*v1.Secret, error) {
		if created = stored == nil; created {
			return s.begin(document, found, actor)
		}
		next, err := s.replace(document, *stored, found, actor)
		if err == nil && next.Generation == stored.Generation {
			return nil, errUnchanged
		}
		return next, err
	})
	switch {
	case errors.Is(err, errUnchanged):
		return v1.ImportUnchanged, nil
	case err != nil:
		return "", err
	case created:
		return v1.ImportCreated, nil
	}
	return v1.ImportConfigured, nil
}
