package syncset

import (
	"context"
	"strings"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
)

// Entry is a document of one of the resources in a Directory.
type Entry struct {
	Resource string `json:"resource"`
	Document any    `json:"document"`
}

// List returns a page of documents of one resource.
type List[T any] func(ctx context.Context, q request.List) (v1.List[T], error)

// Directory lists the sets of both kinds and the secrets one after the other, for who needs to know them all.
type Directory struct {
	parts []part
}

// part is one resource of a directory.
type part struct {
	resource string
	list     func(ctx context.Context, q request.List) (v1.List[Entry], error)
}

// NewDirectory returns the directory of what the lists show.
func NewDirectory(syncSets List[v1.SyncSet], selectorSyncSets List[v1.SelectorSyncSet], secrets List[v1.Secret]) *Directory {
	return &Directory{parts: []part{
		entries(v1.ResourceSyncSets, syncSets), entries(v1.ResourceSelectorSyncSets, selectorSyncSets), entries(v1.ResourceSecrets, secrets),
	}}
}

// List returns a page: first the syncsets, then, each from a page of its own on, the selectorsyncsets and the secrets.
func (d *Directory) List(ctx context.Context, q request.List) (v1.List[Entry], error) {
	resource, rest, found := strings.Cut(q.Continue, ".")
	for i, p := range d.parts {
		if found && p.resource != resource || !found && resource != "" {
			continue
		}
		q.Continue = rest
		page, err := p.list(ctx, q)
		if page.Continue == "" && i+1 < len(d.parts) {
			page.Continue = d.parts[i+1].resource + "."
		}
		return page, err
	}
	return v1.List[Entry]{}, errs.New(errs.Invalid, "continue is not a token of this list; take it from the page before")
}

// entries makes a part of a list of one resource.
func entries[T any](resource string, list List[T]) part {
	return part{resource: resource, list: func(ctx context.Context, q request.List) (v1.List[Entry], error) {
		found, err := list(ctx, q)
		page := v1.List[Entry]{Items: make([]Entry, 0, len(found.Items)), Revision: found.Revision}
		for _, document := range found.Items {
			page.Items = append(page.Items, Entry{Resource: resource, Document: document})
		}
		if found.Continue != "" {
			page.Continue = resource + "." + found.Continue
		}
		return page, err
	}}
}
