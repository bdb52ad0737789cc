package document

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/syncsets/syncsets/libs/api/request"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/selector"
)

const (
	// pageBytes bounds the documents of a page. One document always fits.
	pageBytes = 8 << 20
	// fetchRows is how many documents are read at once, so that a page of large ones does not come into memory before it is cut.
	fetchRows = 20
)

// List reads a page in the order of namespace and name, of one snapshot: every event up to its revision is in it. Limit must be set. It
// returns errs.Invalid for a labelSelector or a continue token that is none.
func (t Table[T, P]) List(ctx context.Context, pool *pgxpool.Pool, q request.List) (v1.List[T], error) {
	where, args, err := conditions(q)
	if err != nil {
		return v1.List[T]{}, err
	}
	statement := t.sql(fmt.Sprintf("DECLARE page NO SCROLL CURSOR FOR SELECT document FROM $table WHERE %s ORDER BY namespace, name LIMIT %d",
		where, q.Limit+1))
	list := v1.List[T]{Items: []T{}}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = postgres.InTx(ctx, pool, snapshot, func(tx pgx.Tx) error {
		list.Items, list.Continue = []T{}, ""
		head, err := outbox.NewLog(pool, t.schema).Head(ctx, tx)
		if err != nil {
			return err
		}
		list.Revision = head.String()
		if _, err := tx.Exec(ctx, statement, args...); err != nil {
			return err
		}
		return t.fill(ctx, tx, &list, q.Limit)
	})
	return list, postgres.Wrap(err, "list %s", t.resource)
}

// fill reads the cursor until the page is full, and sets the token when something is left.
func (t Table[T, P]) fill(ctx context.Context, tx pgx.Tx, list *v1.List[T], limit int) error {
	size := 0
	for {
		texts, err := fetch(ctx, tx)
		if err != nil || len(texts) == 0 {
			return err
		}
		for _, text := range texts {
			size += len(text)
			if n := len(list.Items); n == limit || n > 0 && size > pageBytes {
				list.Continue = token(P(&list.Items[n-1]).Meta())
				return nil
			}
			var document T
			if err := json.Unmarshal(text, &document); err != nil {
				return fmt.Errorf("decode a document of %s: %w", t.resource, err)
			}
			list.Items = append(list.Items, document)
		}
	}
}

func fetch(ctx context.Context, tx pgx.Tx) ([][]byte, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf("FETCH %d FROM page", fetchRows))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[[]byte])
}

// conditions turns the filters into SQL.
func conditions(q request.List) (string, []any, error) {
	labels, err := selector.Parse(q.LabelSelector)
	if err != nil {
		return "", nil, err
	}
	where, args := labels.SQL("labels", 1)
	parts := []string{where}
	if !storable(q.Namespace) {
		return "", nil, errs.New(errs.Invalid, "namespace is not a name")
	}
	if q.Namespace != "" {
		args = append(args, q.Namespace)
		parts = append(parts, fmt.Sprintf("namespace = $%d", len(args)))
	}
	if q.Continue != "" {
		last, err := parseToken(q.Continue)
		if err != nil {
			return "", nil, err
		}
		args = append(args, last.Namespace, last.Name)
		parts = append(parts, fmt.Sprintf("(namespace, name) > ($%d, $%d)", len(args)-1, len(args)))
	}
	return strings.Join(parts, " AND "), args, nil
}

// token is the opaque name of a place in a list: the key of the last document before it.
func token(m *v1.Metadata) string {
	text, _ := json.Marshal([2]string{m.Namespace, m.Name}) // two strings always encode
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseToken(s string) (request.Key, error) {
	var parts [2]string
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(text, &parts)
	}
	if err != nil || !storable(parts[0]) || !storable(parts[1]) {
		return request.Key{}, errs.New(errs.Invalid, "continue is not a token of this list; take it from the page before")
	}
	return request.Key{Namespace: parts[0], Name: parts[1]}, nil
}
