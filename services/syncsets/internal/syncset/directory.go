package syncset

import (
	"context"
	"strings"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
)

// Entry is a set of either kind in a Directory.
type Entry struct {
	Resource string `json:"resource"`
	Document any    `json:"document"`
}

// Directory lists the sets of both kinds one after the other, for who needs to know them all.
type Directory struct {
	syncSets         *Service[v1.SyncSet, *v1.SyncSet]
	selectorSyncSets *Service[v1.SelectorSyncSet, *v1.SelectorSyncSet]
}

// NewDirectory returns the directory of what the two services manage.
func NewDirectory(syncSets *Service[v1.SyncSet, *v1.SyncSet], selectorSyncSets *Service[v1.SelectorSyncSet, *v1.SelectorSyncSet]) *Directory {
	return &Directory{syncSets: syncSets, selectorSyncSets: selectorSyncSets}
}

// List returns a page: first the syncsets, then, from a page of their own on, the selectorsyncsets.
func (d *Directory) List(ctx context.Context, q request.List) (v1.List[Entry], error) {
	resource, rest, found := strings.Cut(q.Continue, ".")
	q.Continue = rest
	switch {
	case !found && resource == "":
		return d.first(ctx, q)
	case found && resource == v1.ResourceSyncSets:
		return d.first(ctx, q)
	case found && resource == v1.ResourceSelectorSyncSets:
		list, err := d.selectorSyncSets.List(ctx, q)
		return entries(list, v1.ResourceSelectorSyncSets), err
	}
	return v1.List[Entry]{}, errs.New(errs.Invalid, "continue is not a token of this list; take it from the page before")
}

// first returns a page of syncsets, whose last one leads to the selectorsyncsets.
func (d *Directory) first(ctx context.Context, q request.List) (v1.List[Entry], error) {
	list, err := d.syncSets.List(ctx, q)
	page := entries(list, v1.ResourceSyncSets)
	if page.Continue == "" {
		page.Continue = v1.ResourceSelectorSyncSets + "."
	}
	return page, err
}

func entries[T any](list v1.List[T], resource string) v1.List[Entry] {
	page := v1.List[Entry]{Items: make([]Entry, 0, len(list.Items)), Revision: list.Revision}
	for _, document := range list.Items {
		page.Items = append(page.Items, Entry{Resource: resource, Document: document})
	}
	if list.Continue != "" {
		page.Continue = resource + "." + list.Continue
	}
	return page
}
