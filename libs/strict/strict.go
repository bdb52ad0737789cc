// Package strict compares JSON text with the Go type it is meant for, before it is decoded: what encoding/json would drop or overwrite in
// silence is a fault with its path.
package strict

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/syncsets/syncsets/libs/errs"
)

// maxDepth bounds the nesting of a document; Kubernetes objects stay far below it.
const maxDepth = 256

// maxFaults bounds what is reported of one document, maxPath the length of a path in bytes: a long name above many values would be
// copied for each of them. maxGrowth bounds, in bytes, how much longer the numbers of a document may become in the store, which writes
// them without exponents: few bytes could else fill the memory of whoever reads the document.
const (
	maxFaults = 100
	maxPath   = 1 << 10
	maxGrowth = 64 << 10
)

var errTooDeep = errors.New("is nested too deep")

// Inspect compares JSON text with the Go type that it will be decoded into and returns every fault by its path: unknown fields, doubled
// keys, wrong types, refused nulls, values that cannot be stored. An error, errs.Invalid, means that the text is not one JSON value.
func Inspect(text []byte, t reflect.Type) ([]errs.Field, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, notJSON("is empty")
	}
	if !utf8.Valid(text) {
		return nil, notJSON("is not valid UTF-8")
	}
	i := inspector{decoder: json.NewDecoder(bytes.NewReader(text))}
	i.decoder.UseNumber()
	if err := i.value(t, "", 0); err != nil {
		return nil, notJSON(syntaxFault(err, i.decoder.InputOffset()))
	}
	if _, err := i.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, notJSON("has something after the document")
	}
	return i.faults, nil
}

func notJSON(message string) error {
	return &errs.Error{Kind: errs.Invalid, Message: "the body is not a JSON document", Fields: []errs.Field{{Path: "body", Message: message}}}
}

func syntaxFault(err error, offset int64) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "ends early"
	}
	if errors.Is(err, errTooDeep) {
		return errTooDeep.Error()
	}
	return fmt.Sprintf("is not valid JSON near byte %d", offset)
}

type inspector struct {
	decoder    *json.Decoder
	faults     []errs.Field
	refuseNull string // why the member that comes next must not be null; "": it may be
	growth     int    // of the numbers so far
}

func (i *inspector) fault(path, format string, args ...any) {
	if len(i.faults) < maxFaults {
		i.faults = append(i.faults, errs.Field{Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

// value reads one value that should fit t; a nil t takes anything.
func (i *inspector) value(t reflect.Type, path string, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	token, err := i.decoder.Token()
	if err != nil {
		return err
	}
	refuseNull := i.refuseNull
	i.refuseNull = ""
	t = plain(t)
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			return i.object(t, path, depth)
		}
		return i.array(t, path, depth)
	case nil:
		if depth == 0 {
			i.fault("body", "must be an object, is null")
		}
		if refuseNull != "" {
			i.fault(path, "%s", refuseNull)
		}
		return nil
	default:
		i.scalar(t, path, token)
		return nil
	}
}

func (i *inspector) object(t reflect.Type, path string, depth int) error {
	if t != nil && t.Kind() != reflect.Struct && t.Kind() != reflect.Map {
		i.fault(where(path), "must be %s, is an object", typeName(t))
		t = nil
	}
	seen := map[string]bool{}
	for i.decoder.More() {
		token, err := i.decoder.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		at := join(path, name)
		i.text(at, name)
		if seen[name] {
			i.fault(at, "is there twice")
		}
		seen[name] = true
		if err := i.value(i.member(t, name, at), at, depth+1); err != nil {
			return err
		}
	}
	_, err := i.decoder.Token()
	return err
}

// member finds the type of a member of t, and faults what t does not have.
func (i *inspector) member(t reflect.Type, name, path string) reflect.Type {
	if t == nil {
		return nil
	}
	if t.Kind() == reflect.Map {
		if t.Elem().Kind() == reflect.String { // it would become the empty string
			i.refuseNull = "must be a string, is null"
		}
		return t.Elem()
	}
	field, ok := fieldOf(t, name)
	if !ok {
		i.fault(path, "is not a known field")
		return nil
	}
	if field.Tag.Get("null") == "refused" {
		i.refuseNull = "must not be null; leave it out to keep what is stored"
	}
	return field.Type
}

func (i *inspector) array(t reflect.Type, path string, depth int) error {
	var element reflect.Type
	switch {
	case t == nil:
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		element = t.Elem()
	default:
		i.fault(where(path), "must be %s, is an array", typeName(t))
	}
	for n := 0; i.decoder.More(); n++ {
		if err := i.value(element, extend(path, "["+strconv.Itoa(n)+"]"), depth+1); err != nil {
			return err
		}
	}
	_, err := i.decoder.Token()
	return err
}

func (i *inspector) scalar(t reflect.Type, path string, token json.Token) {
	kind := "a boolean"
	switch v := token.(type) {
	case string:
		kind = "a string"
		i.text(path, v)
	case json.Number:
		kind = "a number"
		if !i.number(path, v.String()) {
			return
		}
	}
	if t == nil {
		return
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		i.custom(t, path, token)
		return
	}
	if want := typeName(t); want != kind && (want != "an integer" || kind != "a number") {
		i.fault(where(path), "must be %s, is %s", want, kind)
	} else if want == "an integer" {
		i.custom(t, path, token)
	}
}

// number faults what no program reads as a number, and what would be too long when it is written out.
func (i *inspector) number(path, text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	if at := strings.IndexAny(text, "eE"); err == nil && at >= 0 {
		var exponent int
		if exponent, err = strconv.Atoi(text[at+1:]); err == nil {
			i.growth += min(max(exponent, -exponent), maxGrowth+1)
		}
	}
	switch {
	case err != nil:
		i.fault(path, "is out of range")
	case i.growth > maxGrowth:
		i.fault(path, "is too long when it is written without an exponent")
	default:
		return true
	}
	return false
}

// custom tries the value on the type itself.
func (i *inspector) custom(t reflect.Type, path string, token json.Token) {
	text, err := json.Marshal(token)
	if err == nil {
		err = json.Unmarshal(text, reflect.New(t).Interface())
	}
	if err != nil {
		i.fault(path, "must be %s", typeName(t))
	}
}

// text faults what Postgres cannot store.
func (i *inspector) text(path, s string) {
	if strings.ContainsRune(s, 0) {
		i.fault(path, "must not contain the character U+0000")
	}
}

// plain takes pointers off, and returns nil for types that take any JSON.
func plain(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == nil, t.Kind() == reflect.Interface, t == reflect.TypeFor[json.RawMessage]():
		return nil
	}
	return t
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "an integer"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "an array"
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return "a time such as 2006-01-02T15:04:05Z"
	}
	return "an object"
}

// fieldOf finds the field of struct t that JSON calls name, exactly; fields of embedded structs count as t's own.
func fieldOf(t reflect.Type, name string) (reflect.StructField, bool) {
	for _, field := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.IsExported() && !field.Anonymous && tag == name && tag != "-" {
			return field, true
		}
	}
	return reflect.StructField{}, false
}

func join(path, name string) string {
	if path != "" {
		name = "." + name
	}
	return extend(path, name)
}

// cut stands for the rest of a path that is too long.
const cut = "..."

// extend appends to a path what it has room for.
func extend(path, more string) string {
	switch room := maxPath - len(path); {
	case room < 0: // it was cut already
		return path
	case len(more) > room:
		return path + strings.ToValidUTF8(more[:room], "") + cut
	}
	return path + more
}

func where(path string) string {
	if path == "" {
		return "body"
	}
	return path
}
