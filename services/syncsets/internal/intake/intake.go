// Package intake takes in documents of other systems: it checks all of them, and stores all or none.
package intake

import (
	"context"
	"errors"
	"slices"
	"strings"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/hive"
)

// Importer stores documents of one kind.
type Importer[T any] interface {
	// Validate sets the defaults of document and returns all of its faults.
	Validate(document *T) []errs.Field
	// Import creates or replaces a valid document unless the stored one is the same, and says which. It returns errs.Invalid when the
	// stored one cannot become this one.
	Import(ctx context.Context, document T) (action string, err error)
}

// Together makes one transaction of all that f stores.
type Together func(ctx context.Context, f func(context.Context) error) error

// Service imports documents.
type Service struct {
	syncSets         Importer[v1.SyncSet]
	selectorSyncSets Importer[v1.SelectorSyncSet]
	secrets          Importer[v1.Secret]
	together         Together
	// written is called after a commit that may have left events.
	written func()
}

// New returns a service that stores with the importers, all in one transaction by together.
func New(
	syncSets Importer[v1.SyncSet], selectorSyncSets Importer[v1.SelectorSyncSet], secrets Importer[v1.Secret], together Together, written func(),
) *Service {
	return &Service{syncSets: syncSets, selectorSyncSets: selectorSyncSets, secrets: secrets, together: together, written: written}
}

// Request asks to import items. With DryRun everything is checked and answered, and nothing stored.
type Request struct {
	Items  []hive.Item
	DryRun bool
}

// Accesses are what the import needs: writing each resource in each of the namespaces, and secret values where there are some.
func (r Request) Accesses() []auth.Access {
	all := []auth.Access{}
	need := func(a auth.Access) {
		if a.Namespace == "" && a.Resource != v1.ResourceSelectorSyncSets {
			a.Namespace = auth.Somewhere // it is missing, which is a fault of the document
		}
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	for _, i := range r.Items {
		switch {
		case i.SyncSet != nil:
			need(auth.Access{Verb: auth.Write, Resource: v1.ResourceSyncSets, Namespace: i.SyncSet.Namespace})
		case i.SelectorSyncSet != nil:
			need(auth.Access{Verb: auth.Write, Resource: v1.ResourceSelectorSyncSets})
		case i.Secret != nil:
			need(auth.Access{Verb: auth.Write, Resource: v1.ResourceSecrets, Namespace: i.Secret.Namespace})
			need(auth.Access{Verb: auth.Secrets, Resource: v1.ResourceSecrets, Namespace: i.Secret.Namespace})
		}
	}
	return all
}

// Validate sets the defaults of all items and returns all of their faults, with paths into the input.
func (s *Service) Validate(items []hive.Item) []errs.Field {
	var faults []errs.Field
	for n := range items {
		if len(faults) >= errs.MaxFields {
			break // no more are shown
		}
		for _, f := range s.validate(&items[n]) {
			faults = append(faults, errs.Field{Path: items[n].Locate(f.Path), Message: f.Message})
		}
	}
	return faults
}

func (s *Service) validate(i *hive.Item) []errs.Field {
	switch {
	case i.SyncSet != nil:
		return s.syncSets.Validate(i.SyncSet)
	case i.SelectorSyncSet != nil:
		return s.selectorSyncSets.Validate(i.SelectorSyncSet)
	case i.Secret != nil:
		return s.secrets.Validate(i.Secret)
	}
	return []errs.Field{{Message: "is a " + i.Kind + ", which is not imported here"}}
}

// errNotStored undoes a dry run.
var errNotStored = errors.New("not stored: dry run")

// Import stores all items or none. It returns errs.Invalid with the faults of all of them.
func (s *Service) Import(ctx context.Context, r Request) (v1.Import, error) {
	if err := errs.InvalidFields(s.Validate(r.Items)...); err != nil {
		return v1.Import{}, err
	}
	var result v1.Import
	err := s.together(ctx, func(ctx context.Context) (err error) {
		result, err = s.store(ctx, r.Items)
		if err == nil && r.DryRun {
			err = errNotStored
		}
		return err
	})
	if errors.Is(err, errNotStored) {
		return result, nil
	}
	if err == nil {
		s.written()
	}
	return result, err
}

// store writes the items in one order for all callers, so that two imports never wait for each other, and answers in that of the input.
func (s *Service) store(ctx context.Context, items []hive.Item) (v1.Import, error) {
	order := make([]int, len(items))
	for n := range order {
		order[n] = n
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(items[a].String(), items[b].String()) })
	result := v1.Import{Items: make([]v1.ImportedDocument, len(items))}
	var faults []errs.Field
	for _, n := range order {
		i := &items[n]
		action, err := s.storeOne(ctx, i)
		var invalid *errs.Error
		switch {
		case errors.As(err, &invalid) && invalid.Kind == errs.Invalid:
			faults = append(faults, located(i, invalid)...)
		case err != nil:
			return v1.Import{}, err
		}
		meta := i.Meta()
		result.Items[n] = v1.ImportedDocument{Kind: i.Kind, Namespace: meta.Namespace, Name: meta.Name, Action: action, Warnings: i.Warnings}
	}
	return result, errs.InvalidFields(faults...)
}

func (s *Service) storeOne(ctx context.Context, i *hive.Item) (string, error) {
	switch {
	case i.SyncSet != nil:
		return s.syncSets.Import(ctx, *i.SyncSet)
	case i.SelectorSyncSet != nil:
		return s.selectorSyncSets.Import(ctx, *i.SelectorSyncSet)
	}
	return s.secrets.Import(ctx, *i.Secret)
}

// located are the faults of an item, found when it was stored.
func located(i *hive.Item, e *errs.Error) []errs.Field {
	if len(e.Fields) == 0 {
		return []errs.Field{{Path: i.Path, Message: e.Message}}
	}
	faults := make([]errs.Field, 0, len(e.Fields))
	for _, f := range e.Fields {
		faults = append(faults, errs.Field{Path: i.Locate(f.Path), Message: f.Message})
	}
	return faults
}
