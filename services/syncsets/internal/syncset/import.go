package syncset

import (
	"context"
	"errors"
	"maps"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
)

// errUnchanged keeps a store from writing what is there already.
var errUnchanged = errors.New("unchanged")

// Import creates or replaces a valid set, and says which: v1.ImportCreated, v1.ImportConfigured, or v1.ImportUnchanged when the stored one
// wants the same and has the same labels and annotations: then nothing is written.
func (s *Service[T, P]) Import(ctx context.Context, document T) (string, error) {
	meta := P(&document).Meta()
	meta.UID, meta.ResourceVersion = "", ""
	key, actor := request.Key{Namespace: meta.Namespace, Name: meta.Name}, auth.From(ctx).Name
	_, created, err := s.store.Put(ctx, key, Write{Actor: actor, Reason: "imported"}, func(stored *T) (*T, error) {
		next, err := s.replacement(request.Put[T]{Key: key, Document: document}, stored, actor)
		if err == nil && stored != nil && unchanged(*P(stored).Meta(), *P(next).Meta()) {
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
		s.written()
		return v1.ImportCreated, nil
	}
	s.written()
	return v1.ImportConfigured, nil
}

// unchanged compares a stored document's metadata with that of its replacement, whose generation tells whether it wants something else.
func unchanged(stored, next v1.Metadata) bool {
	return stored.Generation == next.Generation && maps.Equal(stored.Labels, next.Labels) && maps.Equal(stored.Annotations, next.Annotations)
}
