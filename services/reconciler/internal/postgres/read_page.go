package postgres

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
)

// snapshot runs f in one consistent view of the schema and returns the revision that a watch goes on from.
func (s *Store) snapshot(ctx context.Context, f func(tx pgx.Tx) error) (revision string, err error) {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = postgres.InTx(ctx, s.pool, options, func(tx pgx.Tx) error {
		head, err := outbox.NewLog(s.pool, "reconciler").Head(ctx, tx)
		if err != nil {
			return err
		}
		revision = head.String()
		return f(tx)
	})
	return revision, err
}

const (
	// pageBytes bounds the documents of a page. One document always fits.
	pageBytes = 8 << 20
	// pagePart is how many documents are read at once, so that a page of large ones does not come into memory before it is cut.
	pagePart = 50
)

// page gathers the documents of a list that fit.
type page[T any] struct {
	items []T
	bytes int
	full  bool
}

// add takes documents until one does not fit any more.
func (p *page[T]) add(documents []T) error {
	for _, d := range documents {
		text, err := json.Marshal(d)
		if err != nil {
			return err
		}
		p.bytes += len(text)
		if p.full = len(p.items) > 0 && p.bytes > pageBytes; p.full {
			return nil
		}
		p.items = append(p.items, d)
	}
	return nil
}

// position is where a page of a list ended, in the order of the list.
type position []string

func (p position) token() string {
	text, _ := json.Marshal([]string(p)) // strings always encode
	return base64.RawURLEncoding.EncodeToString(text)
}

// parsePosition reads a token of n parts; nil for an empty one.
func parsePosition(token string, n int) (position, error) {
	if token == "" {
		return nil, nil
	}
	var p position
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil || len(p) != n || !storable(p...) {
		return nil, errs.New(errs.Invalid, "continue is not a token of this list; take it from the page before")
	}
	return p, nil
}

// storable reports whether Postgres takes texts as they are.
func storable(texts ...string) bool {
	for _, t := range texts {
		if !utf8.ValidString(t) || strings.ContainsRune(t, 0) {
			return false
		}
	}
	return true
}
