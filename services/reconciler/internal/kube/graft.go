package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
)

// besidePatched returns the text of the object to merge into the one that is there, so that the fields that patches of sets own stay as
// they are. They are left out, except in lists, which a merge replaces: there they are what the target has.
func (c *Conn) besidePatched(ctx context.Context, s decide.Step) ([]byte, error) {
	f, err := c.find(ctx, refOf(s))
	if err != nil || !f.there || !slices.ContainsFunc(f.Metadata.ManagedFields, patchOwned) {
		return s.Object, err
	}
	var body json.RawMessage
	if err := c.get(ctx, f.at, acceptJSON, &body); err != nil {
		return nil, err
	}
	live, err := decodeObject(body)
	if err != nil {
		return nil, err
	}
	text, err := decodeObject(s.Object)
	if err != nil {
		return nil, err
	}
	for _, e := range f.Metadata.ManagedFields {
		if patchOwned(e) {
			leaveOut(text, live, patchedTree(e.FieldsV1))
		}
	}
	return encode(text)
}

// decodeObject keeps numbers as they are written.
func decodeObject(text []byte) (object map[string]any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	err = decoder.Decode(&object)
	return object, err
}

// leaveOut takes the fields that a tree names out of an object; in lists they become those of live.
func leaveOut(object, live, steps map[string]any) {
	for step, below := range steps {
		name, isField := strings.CutPrefix(step, "f:")
		child, there := object[name]
		if !isField || !there {
			continue
		}
		sub, _ := below.(map[string]any)
		switch child := child.(type) {
		case map[string]any:
			if len(sub) > 0 {
				lives, _ := live[name].(map[string]any)
				leaveOut(child, lives, sub)
				continue
			}
		case []any:
			if lives, ok := live[name].([]any); ok && len(sub) > 0 {
				object[name] = graftList(child, lives, sub)
				continue
			}
		}
		delete(object, name)
	}
}

// graftList returns a list with what a tree names as it is in live.
func graftList(list, live []any, steps map[string]any) []any {
	for at, item := range live {
		for _, step := range slices.Sorted(maps.Keys(steps)) {
			if _, ok := matches(step, item, at); !ok {
				continue
			}
			sub, _ := steps[step].(map[string]any)
			_, whole := sub["."]
			to := position(list, step)
			switch {
			case to >= 0:
				list[to] = graft(list[to], item, sub)
			case whole || len(sub) == 0: // the patch made it
				list = append(list, item)
			}
		}
	}
	return list
}

// position returns where a list has the item that a step leads to; -1 when it does not.
func position(list []any, step string) int {
	for at, item := range list {
		if _, ok := matches(step, item, at); ok {
			return at
		}
	}
	return -1
}

// graft returns a value inside a list with what a tree names as it is in live. What a patch owns part of and the value does not mention
// stays as it is.
func graft(value, live any, steps map[string]any) any {
	into, isMap := value.(map[string]any)
	from, bothMaps := live.(map[string]any)
	if len(steps) == 0 || isMap != bothMaps {
		return live
	}
	if !isMap {
		list, isList := value.([]any)
		lives, bothLists := live.([]any)
		if !isList || !bothLists {
			return live
		}
		return graftList(list, lives, steps)
	}
	for step, below := range steps {
		name, isField := strings.CutPrefix(step, "f:")
		lives, there := from[name]
		if !isField || !there {
			continue
		}
		sub, _ := below.(map[string]any)
		if has, mentioned := into[name]; mentioned {
			lives = graft(has, lives, sub)
		}
		into[name] = lives
	}
	return value
}
