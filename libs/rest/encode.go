package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	kithttp "github.com/go-kit/kit/transport/http"
)

// tagged is a document with an entity tag.
type tagged interface{ ETag() string }

// outcome is a request.Result of any document.
type outcome interface {
	Outcome() (document any, created bool, location string, warnings []string)
}

// deferred is a request.Removal of any document.
type deferred interface {
	Deferred() (document any, pending bool)
}

// encode writes the answer: a write's result with its status, location and warnings, what a delete leaves pending with 202, anything else
// as JSON; nothing with a 204.
func encode(status int) kithttp.EncodeResponseFunc {
	return func(_ context.Context, w http.ResponseWriter, response any) error {
		if d, ok := response.(deferred); ok {
			if document, pending := d.Deferred(); pending {
				return writeJSON(w, http.StatusAccepted, document)
			}
		}
		if status == http.StatusNoContent {
			w.WriteHeader(status)
			return nil
		}
		o, ok := response.(outcome)
		if !ok {
			return writeJSON(w, status, response)
		}
		document, created, location, warnings := o.Outcome()
		for _, warning := range warnings {
			w.Header().Add("Warning", "299 - "+quote(warning))
		}
		if !created {
			return writeJSON(w, http.StatusOK, document)
		}
		w.Header().Set("Location", location)
		return writeJSON(w, http.StatusCreated, document)
	}
}

func writeJSON(w http.ResponseWriter, status int, document any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if t, ok := document.(tagged); ok {
		w.Header().Set("ETag", t.ETag())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A caller that has gone is no failure of the operation.
	_, _ = w.Write(append(body, '\n'))
	return nil
}

// quote makes s an HTTP quoted-string in ASCII, on one line.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < ' ' || c > '~':
			b.WriteByte('?')
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
