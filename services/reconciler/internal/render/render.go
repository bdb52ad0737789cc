// Package render turns the resources of one generation of a set into the bytes that are sent to a target: with our marks, as JSON
// that is encoded once, and with a hash that tells whether the target already has them. It is pure.
package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// The marks that every object carries.
const (
	LabelManaged           = "syncsets.dev/managed"
	AnnotationOwner        = "syncsets.dev/owner"
	AnnotationOwnerUID     = "syncsets.dev/owner-uid"
	AnnotationInstallation = "syncsets.dev/installation"
)

// head is how every rendered object begins, so that a precondition can be put into its metadata without parsing it again.
const head = `{"metadata":{`

// Type says what an item of a set is.
type Type string

// The types of items, in the order in which a set's items are worked off.
const (
	Resource Type = "resource"
	Secret   Type = "secret"
	Patch    Type = "patch"
)

// Marks say whose an object is.
type Marks struct{ Owner, OwnerUID, Installation string }

// Item is one rendered resource. Its Namespace is what the text says; whether the kind has one only the target knows.
type Item struct {
	Index int
	inventory.Identity
	Version string
	Object  []byte
	Hash    []byte
	// Fault says why the resource cannot be decoded; the identity is then what could be read of it.
	Fault string
	// Defines is the kind that a CustomResourceDefinition brings.
	Defines Kind
}

// Kind is a group and kind.
type Kind struct{ Group, Kind string }

// Resources renders all resources of a set, in order.
func Resources(resources []json.RawMessage, m Marks) []Item {
	items := make([]Item, 0, len(resources))
	for n, text := range resources {
		items = append(items, resource(n, text, m))
	}
	return items
}

func resource(n int, text json.RawMessage, m Marks) Item {
	item := Item{Index: n}
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // numbers go out as they came in
	if err := decoder.Decode(&object); err != nil {
		return item.fault(err.Error())
	}
	metadata, _ := object["metadata"].(map[string]any)
	apiVersion, _ := object["apiVersion"].(string)
	item.Group, item.Version = splitAPIVersion(apiVersion)
	item.Kind, _ = object["kind"].(string)
	item.Name, _ = metadata["name"].(string)
	item.Namespace, _ = metadata["namespace"].(string)
	for field, value := range map[string]string{"apiVersion": apiVersion, "kind": item.Kind, "metadata.name": item.Name} {
		if value == "" {
			return item.fault(field + " is missing")
		}
	}
	if !segment(item.Name) || !segment(item.Namespace) {
		return item.fault("metadata.name and metadata.namespace may not be . or .. and may not contain / or %")
	}
	item.Defines = defines(item, object)
	if err := mark(metadata, m); err != nil {
		return item.fault(err.Error())
	}
	return item.encode(object, metadata)
}

// segment reports whether a name can be part of a path without leading elsewhere.
func segment(name string) bool {
	return name != "." && name != ".." && !strings.ContainsAny(name, "/%")
}

// fault returns the item with a failure message.
func (i Item) fault(why string) Item {
	i.Fault = fmt.Sprintf("failed to decode resource %d: %s", i.Index, why)
	return i
}

// mark puts our label and annotations into metadata and takes out what only the target may set.
func mark(metadata map[string]any, m Marks) error {
	for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields", "selfLink"} {
		delete(metadata, field)
	}
	if err := merge(metadata, "labels", map[string]string{LabelManaged: "true"}); err != nil {
		return err
	}
	return merge(metadata, "annotations", map[string]string{
		AnnotationOwner: m.Owner, AnnotationOwnerUID: m.OwnerUID, AnnotationInstallation: m.Installation,
	})
}

func merge(metadata map[string]any, field string, add map[string]string) error {
	values, ok := metadata[field].(map[string]any)
	if !ok && metadata[field] != nil {
		return fmt.Errorf("metadata.%s is not an object", field)
	}
	if values == nil {
		values = make(map[string]any, len(add))
		metadata[field] = values
	}
	for k, v := range add {
		values[k] = v
	}
	return nil
}

// encode fills in the bytes and their hash.
func (i Item) encode(object, metadata map[string]any) Item {
	delete(object, "metadata")
	body, err := join(metadata, object)
	if err != nil {
		return i.fault(err.Error())
	}
	i.Object, i.Hash = body, digest(body)
	return i
}

// join encodes an object with its metadata first.
func join(metadata, rest any) ([]byte, error) {
	first, err := json.Marshal(metadata)
	if err != nil {
		return nil, err
	}
	second, err := json.Marshal(rest)
	if err != nil {
		return nil, err
	}
	body := make([]byte, 0, len(first)+len(second)+len(`{"metadata":,`))
	body = append(append(body, `{"metadata":`...), first...)
	return append(append(body, ','), second[1:]...), nil
}

// WithUID returns object with the precondition that it still is the one with this uid.
func WithUID(object []byte, uid string) []byte {
	if uid == "" {
		return object
	}
	precondition := `"uid":"` + uid + `",`
	body := make([]byte, 0, len(object)+len(precondition))
	body = append(append(body, object[:len(head)]...), precondition...)
	return append(body, object[len(head):]...)
}

// WithoutNamespace returns a rendered object, and its hash, as it is sent when its kind turns out to have no namespaces.
func WithoutNamespace(rendered []byte) (object, hash []byte) {
	var parts struct {
		Metadata map[string]json.RawMessage `json:"metadata"`
	}
	var whole map[string]json.RawMessage
	if json.Unmarshal(rendered, &parts) != nil || json.Unmarshal(rendered, &whole) != nil {
		return rendered, digest(rendered)
	}
	delete(parts.Metadata, "namespace")
	delete(whole, "metadata")
	body, err := join(parts.Metadata, whole)
	if err != nil {
		return rendered, digest(rendered)
	}
	return body, digest(body)
}

func digest(body []byte) []byte {
	sum := sha256.Sum256(body)
	return sum[:]
}

// defines returns the kind that a CustomResourceDefinition brings.
func defines(i Item, object map[string]any) Kind {
	if i.Kind != "CustomResourceDefinition" || i.Group != "apiextensions.k8s.io" {
		return Kind{}
	}
	spec, _ := object["spec"].(map[string]any)
	names, _ := spec["names"].(map[string]any)
	group, _ := spec["group"].(string)
	kind, _ := names["kind"].(string)
	return Kind{Group: group, Kind: kind}
}

func splitAPIVersion(s string) (group, version string) {
	if before, after, ok := bytes.Cut([]byte(s), []byte("/")); ok {
		return string(before), string(after)
	}
	return "", s
}
