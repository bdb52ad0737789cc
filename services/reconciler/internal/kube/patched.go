package kube

import (
	"context"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

// withoutPatched returns the text of the object without the fields that patches of sets own on the target.
func (c *Conn) withoutPatched(ctx context.Context, s decide.Step) ([]byte, error) {
	f, err := c.find(ctx, refOf(s))
	if err != nil || !f.there {
		return s.Object, err
	}
	text := s.Object
	for _, e := range f.Metadata.ManagedFields {
		if patchOwned(e) && err == nil {
			text, err = without(text, e.FieldsV1)
		}
	}
	return text, err
}

// patchOwned reports whether an entry of managedFields says what patches of sets own.
func patchOwned(e metav1.ManagedFieldsEntry) bool {
	return e.Manager == patchManager && e.Subresource == ""
}

// without returns the text of an object without some fields.
func without(text []byte, fields *metav1.FieldsV1) ([]byte, error) {
	steps := patchedTree(fields)
	if len(steps) == 0 {
		return text, nil
	}
	object, err := decodeObject(text)
	if err != nil {
		return nil, err
	}
	prune(object, steps)
	return encode(object)
}

// patchedTree decodes the fields of patches. What names the object and whose it is is never theirs.
func patchedTree(fields *metav1.FieldsV1) map[string]any {
	steps := tree(fields)
	spare(steps, "f:apiVersion", "f:kind")
	if m, ok := steps["f:metadata"].(map[string]any); ok {
		spare(m, "f:name", "f:namespace")
		if labels, ok := m["f:labels"].(map[string]any); ok {
			spare(labels, "f:"+render.LabelManaged)
		}
		if annotations, ok := m["f:annotations"].(map[string]any); ok {
			spare(annotations, "f:"+render.AnnotationOwner, "f:"+render.AnnotationOwnerUID, "f:"+render.AnnotationInstallation)
		}
	}
	return steps
}

// spare takes steps out of a tree of fields, which does not come to mean the whole by that.
func spare(steps map[string]any, names ...string) {
	for _, name := range names {
		if _, ok := steps[name]; ok {
			delete(steps, name)
			steps["."] = map[string]any{}
		}
	}
}

// encode is render's form: the metadata first.
func encode(object map[string]any) ([]byte, error) {
	metadata, err := json.Marshal(object["metadata"])
	if err != nil {
		return nil, err
	}
	delete(object, "metadata")
	rest, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	return append(append([]byte(`{"metadata":`), metadata...), append([]byte(","), rest[1:]...)...), nil
}

// prune takes the fields that a tree names out of a value and returns what is left; nil when nothing is.
func prune(value any, steps map[string]any) any {
	switch v := value.(type) {
	case map[string]any:
		for step, below := range steps {
			name, isField := strings.CutPrefix(step, "f:")
			child, there := v[name]
			if !isField || !there {
				continue
			}
			if child = pruneChild(child, below); child == nil {
				delete(v, name)
			} else {
				v[name] = child
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		kept := make([]any, 0, len(v))
		for at, item := range v {
			if item = pruneItem(item, at, steps); item != nil {
				kept = append(kept, item)
			}
		}
		if len(kept) == 0 {
			return nil
		}
		return kept
	}
	return value
}

// pruneChild prunes what a step leads to; a step with nothing below it means all of it.
func pruneChild(child, below any) any {
	steps, _ := below.(map[string]any)
	if len(steps) == 0 {
		return nil
	}
	return prune(child, steps)
}

// pruneItem prunes the item of a list at a position. Its keys stay as long as anything else does, or it is not wholly the patch's.
func pruneItem(item any, at int, steps map[string]any) any {
	for step, below := range steps {
		keys, ok := matches(step, item, at)
		if !ok {
			continue
		}
		sub, _ := below.(map[string]any)
		if len(sub) == 0 {
			return nil
		}
		if keys == nil {
			return prune(item, sub)
		}
		return pruneKeyed(item.(map[string]any), keys, sub)
	}
	return item
}

// pruneKeyed prunes an item that is known by keys.
func pruneKeyed(item, keys, steps map[string]any) any {
	for key := range keys {
		delete(steps, "f:"+key)
	}
	had := len(item)
	prune(item, steps)
	_, whole := steps["."]
	for key := range item {
		if _, isKey := keys[key]; !isKey {
			return item
		}
	}
	if whole && len(item) < had {
		return nil
	}
	return item
}

// matches reports whether a step of a path leads to the item of a list at a position, and by which keys. A key that the item does not
// have is one with a default.
func matches(step string, item any, at int) (keys map[string]any, ok bool) {
	kind, text, _ := strings.Cut(step, ":")
	var want any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if decoder.Decode(&want) != nil {
		return nil, false
	}
	switch kind {
	case "i":
		return nil, want == json.Number(strconv.Itoa(at))
	case "v":
		return nil, reflect.DeepEqual(want, item)
	case "k":
		fields, isMap := item.(map[string]any)
		keys, _ = want.(map[string]any)
		for key, value := range keys {
			if has, there := fields[key]; there && !reflect.DeepEqual(has, value) {
				return nil, false
			}
		}
		return keys, isMap && len(keys) > 0
	}
	return nil, false
}
