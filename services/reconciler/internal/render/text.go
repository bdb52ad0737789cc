package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/syncsets/syncsets/libs/templating"
)

// text is a string of a set's document, with where it is in its item. With templates it may say something else on each cluster.
type text struct {
	path, literal string
	template      *templating.Template
	fault         error // of the template
}

// newText reads a string, as a template when templates are on.
func newText(path, literal string, templates bool) text {
	t := text{path: path, literal: literal}
	if templates && templating.Templated(literal) {
		t.template, t.fault = templating.Parse(literal)
	}
	return t
}

func (t text) templated() bool { return t.template != nil || t.fault != nil }

// same reports whether the text says the same on every cluster.
func (t text) same() bool { return t.template == nil || t.template.Static() }

func same(texts ...text) bool {
	return !slices.ContainsFunc(texts, func(t text) bool { return !t.same() })
}

func templated(texts ...text) bool { return slices.ContainsFunc(texts, text.templated) }

// in returns what the text says on a cluster. Its error is a *templating.Fault behind the text's path.
func (t text) in(r *rendering, place templating.Place) (string, error) {
	if t.fault != nil {
		return "", t.failure(t.fault)
	}
	if t.template == nil {
		return t.literal, nil
	}
	s, err := r.run.Render(t.template, place)
	if err != nil {
		return "", t.failure(err)
	}
	return s, nil
}

func (t text) failure(err error) error {
	if t.path == "" {
		return err
	}
	return fmt.Errorf("%s: %w", t.path, err)
}

// terse is the message of an error without what templates work on.
func terse(err error) string {
	var fault *templating.Fault
	if !errors.As(err, &fault) {
		return "a template fails"
	}
	return strings.TrimSuffix(err.Error(), fault.Error()) + fault.Terse()
}

// A value of a resource that holds templates is a text, a members or an elements; any other is decoded JSON, which is shared and never
// changed.
type (
	members []member // in the order of their keys, so that the first fault is always the same
	member  struct {
		key   string
		value any
	}
	elements []any
)

// compile reads the templates in decoded JSON. found says whether there are any.
func compile(value any, path string) (compiled any, found bool) {
	switch v := value.(type) {
	case string:
		if t := newText(path, v, true); t.templated() {
			return t, true
		}
	case map[string]any:
		list := make(members, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			child, holds := compile(v[key], below(path, key))
			list, found = append(list, member{key, child}), found || holds
		}
		if found {
			return list, true
		}
	case []any:
		list := make(elements, 0, len(v))
		for n, element := range v {
			child, holds := compile(element, path+"["+strconv.Itoa(n)+"]")
			list, found = append(list, child), found || holds
		}
		if found {
			return list, true
		}
	}
	return value, false
}

// below is the path of a member: a.b, or a[b.c/d] where the key is no plain word.
func below(path, key string) string {
	if strings.ContainsAny(key, "./[] ") {
		return path + "[" + key + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// unchanging reports whether what compile returned says the same on every cluster.
func unchanging(value any) bool {
	switch v := value.(type) {
	case text:
		return v.same()
	case members:
		return !slices.ContainsFunc(v, func(m member) bool { return !unchanging(m.value) })
	case elements:
		return !slices.ContainsFunc(v, func(e any) bool { return !unchanging(e) })
	}
	return true
}

// fill returns what a compiled value says on a cluster, as decoded JSON.
func fill(value any, r *rendering) (any, error) {
	switch v := value.(type) {
	case text:
		return v.in(r, templating.Value)
	case members:
		object := make(map[string]any, len(v))
		for _, m := range v {
			child, err := fill(m.value, r)
			if err != nil {
				return nil, err
			}
			object[m.key] = child
		}
		return object, nil
	case elements:
		list := make([]any, 0, len(v))
		for _, element := range v {
			child, err := fill(element, r)
			if err != nil {
				return nil, err
			}
			list = append(list, child)
		}
		return list, nil
	}
	return value, nil
}
