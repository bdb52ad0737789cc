// Package errs is the vocabulary of failures that the services share. An error gets its kind where the cause is known and keeps it
// while it is wrapped with %w; one table per edge turns a kind into an HTTP status, a retry decision, a span status or a log level.
package errs

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what a caller can do about an error.
type Kind int

// The kinds. Internal is the zero value: an error that nobody classified is ours to mend.
const (
	Internal         Kind = iota
	Invalid               // the request can never succeed as it stands
	NotFound              // the object does not exist
	Conflict              // the object's present state does not allow it
	Precondition          // If-Match named another version
	Gone                  // the revision asked for is no longer, or not yet, in the log
	Unauthenticated       // no principal, or one that is not known
	Forbidden             // a known principal without the right
	TooLarge              // the body is larger than allowed
	UnsupportedMedia      // the body is of a type that is not understood
	NotAcceptable         // no representation that the caller accepts
	Unprocessable         // well-formed, but contradicts an earlier request
	Limited               // too many requests; try later
	Unavailable           // a part that is needed does not answer; try later
)

var kindNames = map[Kind]string{
	Internal: "internal", Invalid: "invalid", NotFound: "not_found", Conflict: "conflict", Precondition: "precondition_failed",
	Gone: "gone", Unauthenticated: "unauthenticated", Forbidden: "forbidden", TooLarge: "too_large",
	UnsupportedMedia: "unsupported_media", NotAcceptable: "not_acceptable", Unprocessable: "unprocessable", Limited: "limited",
	Unavailable: "unavailable",
}

// String names the kind in snake case, as logs, metrics and span attributes show it.
func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return "internal"
}

// Field is one fault of a document: where (a path such as "resources[2].metadata.name") and what is wrong with what would be right.
type Field struct {
	Path    string `json:"path"`
	Message string `json:"message"`
}

// Error is an error with a kind. Message is safe to show to any caller; the wrapped cause is for logs only.
type Error struct {
	Kind       Kind
	Message    string
	Fields     []Field
	RetryAfter time.Duration
	Cause      error
}

// Error implements error: the message, the faults, then the cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for i, f := range e.Fields {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %s", sep, f.Path, f.Message)
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New makes an error of a kind with a message for the caller.
func New(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap gives cause a kind and a message for the caller. It returns nil when cause is nil.
func Wrap(kind Kind, cause error, format string, args ...any) error {
	if cause == nil {
		return nil
	}
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), Cause: cause}
}

// MaxFields bounds the faults that one error lists: a small document can have a million of them.
const MaxFields = 100

// InvalidFields makes an Invalid error that lists every fault, the first MaxFields where there are more, or nil when there are none.
func InvalidFields(fields ...Field) error {
	if len(fields) == 0 {
		return nil
	}
	fields = fields[:min(len(fields), MaxFields):min(len(fields), MaxFields)]
	return &Error{Kind: Invalid, Message: "the document is not valid", Fields: fields}
}

// KindOf returns the kind of the outermost classified error in err's chain, Internal when there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is of kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
