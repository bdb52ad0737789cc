package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/strict"
)

// Body reads the body as a T, strictly: a fault is every unknown field, duplicate key, wrong type, refused null or value that cannot be
// stored, each with its path, all at once.
func Body[T any](r *http.Request) (T, error) {
	document, faults, err := read[T](r)
	if err == nil {
		err = errs.InvalidFields(faults...)
	}
	return document, err
}

// Raw reads the body as it is. It returns errs.TooLarge when there is more of it than the API allows.
func Raw(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	var limit *http.MaxBytesError
	if errors.As(err, &limit) {
		return nil, tooLarge(limit.Limit)
	}
	return body, errs.Wrap(errs.Invalid, err, "the body ended early")
}

// CreateOf returns the decoder of a creation. When the body has faults, those that validate finds in the rest of the document are
// reported with them; without, validating is left to the service.
func CreateOf[T any](validate func(*T) []errs.Field) func(*http.Request) (Create[T], error) {
	return func(r *http.Request) (Create[T], error) {
		document, faults, err := read[T](r)
		if err == nil {
			err = withFaults(faults, &document, validate)
		}
		return Create[T]{Document: document, Options: optionsOf(r)}, err
	}
}

// PutOf returns the decoder of a replacement: as CreateOf, with name and namespace from the path, which those of the body must not
// contradict.
func PutOf[T any, P documentOf[T]](validate func(*T) []errs.Field) func(*http.Request) (Put[T], error) {
	return func(r *http.Request) (Put[T], error) {
		key, err := KeyOf(r)
		if err != nil {
			return Put[T]{}, err
		}
		document, faults, err := read[T](r)
		if err != nil {
			return Put[T]{}, err
		}
		meta := P(&document).Meta()
		faults = append(faults, fromPath(&meta.Namespace, "namespace", key.Namespace)...)
		faults = append(faults, fromPath(&meta.Name, "name", key.Name)...)
		return Put[T]{Key: key, Document: document, Options: optionsOf(r)}, withFaults(faults, &document, validate)
	}
}

func fromPath(field *string, name, want string) []errs.Field {
	var faults []errs.Field
	if *field != "" && *field != want {
		faults = append(faults, errs.Field{Path: name, Message: fmt.Sprintf("must be %q, as in the path", want)})
	}
	*field = want
	return faults
}

func withFaults[T any](faults []errs.Field, document *T, validate func(*T) []errs.Field) error {
	if len(faults) == 0 {
		return nil
	}
	if validate != nil {
		faults = Merge(faults, validate(document))
	}
	return errs.InvalidFields(faults...)
}

// Merge appends the faults of b whose path has none in a: what could not be decoded is also missing.
func Merge(a, b []errs.Field) []errs.Field {
	seen := map[string]bool{}
	for _, f := range a {
		seen[f.Path] = true
	}
	for _, f := range b {
		if !seen[f.Path] {
			a = append(a, f)
		}
	}
	return a
}

// read returns the document as far as it could be read, and its faults; an error when there is no document at all.
func read[T any](r *http.Request) (document T, faults []errs.Field, err error) {
	body, err := Raw(r)
	if err != nil {
		return document, nil, err
	}
	faults, err = strict.Inspect(body, reflect.TypeFor[T]())
	if err != nil {
		return document, nil, err
	}
	// Only type errors are left, and strict.Inspect has reported them: what can be read is read.
	var wrongType *json.UnmarshalTypeError
	if err := json.Unmarshal(body, &document); err != nil && len(faults) == 0 && !errors.As(err, &wrongType) {
		return document, nil, errs.Wrap(errs.Invalid, err, "the body cannot be read as this document")
	} else if err != nil && len(faults) == 0 {
		faults = append(faults, errs.Field{Path: wrongType.Field, Message: "has the wrong type"})
	}
	return document, faults, nil
}

func tooLarge(limit int64) error {
	return errs.New(errs.TooLarge, "the body may have at most %d bytes", limit)
}
