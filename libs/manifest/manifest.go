// Package manifest reads files of objects as people keep them: YAML or JSON, many documents in one, lists of objects.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/syncsets/syncsets/libs/errs"
)

// Document is one object of a file. APIVersion and Kind are "" where the object does not say them.
type Document struct {
	// Path is where the object stands, counted from 0 without empty documents: "documents[2]", in a list "documents[0].items[3]".
	Path             string
	APIVersion, Kind string
	JSON             json.RawMessage
}

// Split takes text apart into its objects. What cannot be read is a fault, and the rest is returned all the same; faults quote nothing of
// the text, which may hold secrets.
func Split(text []byte) ([]Document, []errs.Field) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !utf8.Valid(text) {
		return nil, []errs.Field{{Path: "body", Message: "is not valid UTF-8"}}
	}
	s := splitter{}
	if values, ok := jsonStream(text); ok {
		for _, value := range values {
			s.add(value)
		}
	} else {
		s.addYAML(text)
	}
	if s.count == 0 && len(s.faults) == 0 {
		s.faults = append(s.faults, errs.Field{Path: "body", Message: "holds no document"})
	}
	return s.documents, s.faults
}

// jsonStream returns the values of a text that is nothing but JSON objects. A YAML document may begin with a brace, too.
func jsonStream(text []byte) ([]json.RawMessage, bool) {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	var values []json.RawMessage
	for {
		var value json.RawMessage
		err := decoder.Decode(&value)
		if errors.Is(err, io.EOF) {
			return values, true
		}
		if err != nil {
			return nil, false
		}
		values = append(values, value)
	}
}

type splitter struct {
	documents []Document
	faults    []errs.Field
	count     int // of documents so far, readable or not
}

func (s *splitter) fault(path, format string, args ...any) {
	s.faults = append(s.faults, errs.Field{Path: path, Message: fmt.Sprintf(format, args...)})
}

// addYAML adds the documents of a YAML stream.
func (s *splitter) addYAML(text []byte) {
	for _, c := range chunks(text) {
		if len(s.faults) >= errs.MaxFields {
			return // no more are shown
		}
		value, err := toJSON(c.text)
		switch {
		case err != nil:
			s.fault(s.next(), "%s", describe(err, c.line))
		case string(value) != "null":
			s.add(value)
		}
	}
}

// next returns the path of the document that comes now.
func (s *splitter) next() string {
	s.count++
	return fmt.Sprintf("documents[%d]", s.count-1)
}

// header is what says whether an object is a list.
type header struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Items      *[]json.RawMessage `json:"items"`
}

func (s *splitter) add(value json.RawMessage) {
	path := s.next()
	h, ok := s.header(path, value)
	if !ok {
		return
	}
	if of, isList := strings.CutSuffix(h.Kind, "List"); isList && h.Items != nil {
		s.addItems(path, h, of)
		return
	}
	s.documents = append(s.documents, Document{Path: path, APIVersion: h.APIVersion, Kind: h.Kind, JSON: value})
}

// addItems adds the objects of a list; those of a list of one kind need not say which.
func (s *splitter) addItems(path string, list header, kind string) {
	for i, item := range *list.Items {
		at := fmt.Sprintf("%s.items[%d]", path, i)
		h, ok := s.header(at, item)
		switch {
		case len(s.faults) >= errs.MaxFields:
			return
		case !ok:
			continue
		case strings.HasSuffix(h.Kind, "List") && h.Items != nil:
			s.fault(at, "is a list in a list")
			continue
		}
		d := Document{Path: at, APIVersion: h.APIVersion, Kind: h.Kind, JSON: item}
		if d.Kind == "" && d.APIVersion == "" && kind != "" {
			d.APIVersion, d.Kind = list.APIVersion, kind
		}
		s.documents = append(s.documents, d)
	}
}

// header reads what an object says of itself, and faults what is none. Fields of another type count as absent: whoever reads the object
// strictly reports them.
func (s *splitter) header(path string, value json.RawMessage) (header, bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(value, &fields) != nil || fields == nil {
		s.fault(path, "must be an object")
		return header{}, false
	}
	var h header
	_ = json.Unmarshal(fields["apiVersion"], &h.APIVersion)
	_ = json.Unmarshal(fields["kind"], &h.Kind)
	_ = json.Unmarshal(fields["items"], &h.Items)
	return h, true
}
