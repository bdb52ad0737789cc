package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// Bounds of a list: objects asked for at once, bytes of one answer.
const (
	pageSize = "500"
	maxPage  = 512 << 20
)

// listing is a reading of a collection.
type listing struct {
	at, selector string
	kind         work.Kind
	full         bool // whole objects rather than their metadata
	pages        int  // how far it is followed
	visit        func(object)
	enough       func() bool // ends it after a page
}

// list reads a collection page by page and reports whether it came to the end, or enough was seen. Of a page only one object is kept
// at a time.
func (c *Conn) list(ctx context.Context, l listing) (whole bool, err error) {
	next := ""
	for range l.pages {
		r := request{method: http.MethodGet, path: l.at, accept: acceptMetadataList, query: url.Values{"limit": {pageSize}}}
		if l.full {
			r.accept = acceptJSON
		}
		if l.selector != "" {
			r.query.Set("labelSelector", l.selector)
		}
		if next != "" {
			r.query.Set("continue", next)
		}
		r.decode = func(body io.Reader) (err error) {
			next, err = l.page(body)
			return err
		}
		if _, err := c.send(ctx, r, nil); err != nil {
			return false, err
		}
		if next == "" || l.enough() {
			return true, nil
		}
	}
	return false, nil
}

// page decodes one answer and returns the token of the next one.
func (l listing) page(body io.Reader) (next string, err error) {
	var metadata struct {
		Continue string `json:"continue"`
	}
	meter := &meter{from: body}
	decoder := json.NewDecoder(meter)
	if err := expect(decoder, '{'); err != nil {
		return "", err
	}
	for decoder.More() && err == nil {
		var field json.Token
		if field, err = decoder.Token(); err != nil {
			break
		}
		switch field {
		case "metadata":
			err = decoder.Decode(&metadata)
		case "items":
			err = l.items(decoder, meter)
		default:
			err = decoder.Decode(&json.RawMessage{})
		}
	}
	if err == nil {
		err = expect(decoder, '}')
	}
	return metadata.Continue, err
}

// items visits the objects of a page.
func (l listing) items(decoder *json.Decoder, meter *meter) error {
	start, err := decoder.Token()
	if err != nil || start == nil { // null: there are none
		return err
	}
	for decoder.More() {
		item := object{kind: l.kind, full: l.full}
		meter.item = 0
		if err := decoder.Decode(&item); err != nil {
			return err
		}
		l.visit(item)
	}
	return expect(decoder, ']')
}

func expect(decoder *json.Decoder, want json.Delim) error {
	token, err := decoder.Token()
	if err == nil && token != want {
		err = fmt.Errorf("the answer is not a list: %w", &json.SyntaxError{Offset: decoder.InputOffset()})
	}
	if err == io.EOF { //nolint:errorlint // the decoder returns exactly this
		err = io.ErrUnexpectedEOF
	}
	return err
}

// errListTooLarge fails a list rather than cutting it off.
var errListTooLarge = fmt.Errorf("a page of the list is larger than %d bytes, or an object in it is too large: %w", maxPage, errTooLarge)

// meter bounds what is read of a page, and of each object in it.
type meter struct {
	from        io.Reader
	item, total int
}

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.item, m.total = m.item+n, m.total+n
	if m.item > maxAnswer || m.total > maxPage {
		return 0, errListTooLarge
	}
	return n, err
}
