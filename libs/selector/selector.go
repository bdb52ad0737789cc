// Package selector is Kubernetes' label selector in the three forms that the system needs: parsed from a query or a document,
// matched against labels in memory, and as an SQL condition over a text[] column that a GIN index serves.
package selector

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation/field"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
)

// Selector is a conjunction of terms over labels. The zero value matches everything. It is safe for concurrent use.
type Selector struct {
	inner labels.Selector
}

// maxTerms bounds a selector: each term may become a condition of its own in SQL, and costs time for every cluster that is matched.
const maxTerms = 100

// Parse reads the Kubernetes syntax of a labelSelector parameter ("app=web,tier in (a,b),!old"). The empty string matches everything.
// The error is errs.Invalid.
func Parse(s string) (Selector, error) {
	inner, err := labels.Parse(s)
	if err != nil {
		return Selector{}, errs.New(errs.Invalid, "labelSelector %q is not a Kubernetes label selector: %v", s, err)
	}
	if terms, _ := inner.Requirements(); len(terms) > maxTerms {
		return Selector{}, errs.New(errs.Invalid, "labelSelector has %d terms, more than %d", len(terms), maxTerms)
	}
	return Selector{inner: inner}, nil
}

// FromAPI compiles the selector of a document; {} matches everything. The error is errs.Invalid and lists every fault with its path
// relative to the selector, such as "matchExpressions[0].operator".
func FromAPI(s v1.LabelSelector) (Selector, error) {
	var terms []labels.Requirement
	faults := append(tooMany("matchLabels", len(s.MatchLabels)), tooMany("matchExpressions", len(s.MatchExpressions))...)
	if err := errs.InvalidFields(faults...); err != nil {
		return Selector{}, err
	}
	for _, key := range sortedKeys(s.MatchLabels) {
		path := field.NewPath("matchLabels").Key(key)
		term, err := labels.NewRequirement(key, selection.Equals, []string{s.MatchLabels[key]}, field.WithPath(path))
		if err != nil {
			faults = append(faults, fieldFaults(err, func(string) string { return path.String() })...)
			continue
		}
		terms = append(terms, *term)
	}
	for i, e := range s.MatchExpressions {
		path := field.NewPath("matchExpressions").Index(i)
		op, ok := operators[e.Operator]
		if !ok {
			faults = append(faults, errs.Field{Path: path.Child("operator").String(), Message: "must be In, NotIn, Exists or DoesNotExist"})
			continue
		}
		term, err := labels.NewRequirement(e.Key, op, e.Values, field.WithPath(path))
		if err != nil {
			// apimachinery appends the key to the path of a value.
			faults = append(faults, fieldFaults(err, func(at string) string { return strings.TrimSuffix(at, "["+e.Key+"]") })...)
			continue
		}
		terms = append(terms, *term)
	}
	if err := errs.InvalidFields(faults...); err != nil {
		return Selector{}, err
	}
	return Selector{inner: labels.NewSelector().Add(terms...)}, nil
}

func tooMany(path string, terms int) []errs.Field {
	if terms <= maxTerms {
		return nil
	}
	return []errs.Field{{Path: path, Message: fmt.Sprintf("has %d terms, more than %d", terms, maxTerms)}}
}

// operators maps the operators of documents to those of apimachinery.
var operators = map[string]selection.Operator{
	"In": selection.In, "NotIn": selection.NotIn, "Exists": selection.Exists, "DoesNotExist": selection.DoesNotExist,
}

// fieldFaults turns apimachinery's aggregate of field errors into ours; at corrects their paths.
func fieldFaults(err error, at func(path string) string) []errs.Field {
	aggregate, ok := err.(interface{ Errors() []error })
	if !ok {
		return []errs.Field{{Path: at(""), Message: err.Error()}}
	}
	var faults []errs.Field
	for _, one := range aggregate.Errors() {
		fault := &field.Error{BadValue: field.OmitValueType{}, Detail: one.Error()}
		errors.As(one, &fault)
		faults = append(faults, errs.Field{Path: at(fault.Field), Message: fault.ErrorBody()})
	}
	return faults
}

// Matches reports whether all terms hold for set.
func (s Selector) Matches(set map[string]string) bool {
	return s.inner == nil || s.inner.Matches(labels.Set(set))
}

// Empty reports whether the selector has no terms and so matches everything.
func (s Selector) Empty() bool { return s.inner == nil || s.inner.Empty() }

// String returns the selector in the syntax that Parse reads, with its terms sorted by key.
func (s Selector) String() string {
	if s.inner == nil {
		return ""
	}
	return s.inner.String()
}

// Index returns the elements of the text[] column that SQL looks into: "k=v" and "k" for every label, sorted. It is never nil.
func Index(set map[string]string) []string {
	elements := make([]string, 0, 2*len(set))
	for _, key := range sortedKeys(set) {
		elements = append(elements, key, pair(key, set[key]))
	}
	return elements
}

// pair is the element of one label. Label keys hold no "=", so it can be told from the element of a bare key.
func pair(key, value string) string { return strings.Join([]string{key, value}, "=") }
