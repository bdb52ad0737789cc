// Package request holds what an edge hands to a service beside the document: the key from the path, the options of a write, the
// filters of a list, and what a service says back. It knows no protocol, so a service that takes these knows none either.
package request

import (
	"maps"
	"slices"
	"strings"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
)

// Key names one document. Namespace is empty for resources without namespaces.
type Key struct{ Namespace, Name string }

// String returns "namespace/name", or the name alone where there is no namespace.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}

// Scope is the namespace that access is decided in; "" is the whole system.
func (k Key) Scope() string { return k.Namespace }

// WriteOptions change how a write is done. Query holds the parameters that the route allows, each given at most once.
type WriteOptions struct {
	IfMatch string
	Query   map[string]string
}

// Check compares IfMatch with the entity tag of the stored document, "" when there is none. It returns errs.Precondition unless it
// is absent, "*" and the document exists, or one of its tags is the stored one.
func (o WriteOptions) Check(etag string) error {
	if o.IfMatch == "" || (etag != "" && strings.TrimSpace(o.IfMatch) == "*") {
		return nil
	}
	for tag := range strings.SplitSeq(o.IfMatch, ",") {
		if etag != "" && strings.TrimSpace(tag) == etag {
			return nil
		}
	}
	if etag == "" {
		return errs.New(errs.Precondition, "If-Match is set but the document does not exist")
	}
	return errs.New(errs.Precondition, "If-Match does not name the stored version, which is %s", etag)
}

// Choose returns the options that Query gives, nil when there are none. values says what each option may be: only what weakens a
// protection or asks for more than the plain write, and so is worth an audit; to say the default there is no need. It returns errs.Invalid
// with all faults.
func (o WriteOptions) Choose(values map[string]string) (map[string]string, error) {
	var options map[string]string
	var faults []errs.Field
	for _, name := range slices.Sorted(maps.Keys(o.Query)) {
		want, known := values[name]
		switch {
		case !known:
			faults = append(faults, errs.Field{Path: "query." + name, Message: "is not known"})
		case o.Query[name] != want:
			faults = append(faults, errs.Field{Path: "query." + name, Message: "must be " + want + " or absent"})
		default:
			if options == nil {
				options = map[string]string{}
			}
			options[name] = want
		}
	}
	if len(faults) > 0 {
		return nil, &errs.Error{Kind: errs.Invalid, Message: "the request is not valid", Fields: faults}
	}
	return options, nil
}

// CheckVersion compares the uid and resourceVersion of a document that was sent, where set, with the stored one's (nil: there is
// none). It returns errs.Conflict when they differ.
func CheckVersion(sent v1.Metadata, stored *v1.Metadata) error {
	switch {
	case sent.UID == "" && sent.ResourceVersion == "":
		return nil
	case stored == nil:
		return errs.New(errs.Conflict, "the document states a uid or resourceVersion to replace, but %s does not exist", sent.Key())
	case sent.UID != "" && sent.UID != stored.UID:
		return errs.New(errs.Conflict, "uid is %s, not %s: %s has been deleted and created again", stored.UID, sent.UID, sent.Key())
	case sent.ResourceVersion != "" && sent.ResourceVersion != stored.ResourceVersion:
		return errs.New(errs.Conflict, "resourceVersion is %s, not %s: %s has changed", stored.ResourceVersion, sent.ResourceVersion, sent.Key())
	}
	return nil
}

// Create asks for a new document.
type Create[T any] struct {
	Document T
	Options  WriteOptions
}

// Scope is the namespace of the document.
func (c Create[T]) Scope() string { return scope(c.Document) }

// CarriesSecrets reports whether the document holds secret values.
func (c Create[T]) CarriesSecrets() bool { return carriesSecrets(c.Document) }

// Put asks to create or replace the document at Key.
type Put[T any] struct {
	Key      Key
	Document T
	Options  WriteOptions
}

// Scope is the namespace of the key.
func (p Put[T]) Scope() string { return p.Key.Namespace }

// CarriesSecrets reports whether the document holds secret values.
func (p Put[T]) CarriesSecrets() bool { return carriesSecrets(p.Document) }

// Delete asks to remove the document at Key.
type Delete struct {
	Key     Key
	Options WriteOptions
}

// Scope is the namespace of the key.
func (d Delete) Scope() string { return d.Key.Namespace }

// List asks for a page. Limit is 1 to 1,000; Continue is the token of the page before; Filters are the further parameters that
// the route allows.
type List struct {
	Namespace, LabelSelector, Continue string
	Limit                              int
	Filters                            map[string]string
}

// Scope is the namespace listed; "" is all of them.
func (l List) Scope() string { return l.Namespace }

// Feed asks for a page of an event log. Since is a revision as text; "" is the beginning.
type Feed struct {
	Since string
	Limit int
}

// Scope is "": a log spans all namespaces.
func (Feed) Scope() string { return "" }

// Result is the outcome of a write. Location is the path of the document, used when it was created.
type Result[T any] struct {
	Document T
	Created  bool
	Location string
	Warnings []string
}

// Removal is the outcome of a delete: a document when it stays until something else is done, nil when it is gone.
type Removal[T any] struct {
	Pending *T
}

// Deferred returns the document that stays, for an edge that does not know its type.
func (r Removal[T]) Deferred() (document any, pending bool) { return r.Pending, r.Pending != nil }

func scope(document any) string {
	if s, ok := document.(interface{ Scope() string }); ok {
		return s.Scope()
	}
	return ""
}

func carriesSecrets(document any) bool {
	s, ok := document.(interface{ CarriesSecrets() bool })
	return ok && s.CarriesSecrets()
}

// Outcome takes the result apart for an edge that does not know its document's type.
func (r Result[T]) Outcome() (document any, created bool, location string, warnings []string) {
	return r.Document, r.Created, r.Location, r.Warnings
}
