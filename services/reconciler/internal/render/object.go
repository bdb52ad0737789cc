package render

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
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

// mark returns metadata with our label and annotations and without what only the target may set.
func mark(metadata map[string]any, m Marks) (map[string]any, error) {
	marked := make(map[string]any, len(metadata)+1)
	maps.Copy(marked, metadata)
	for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields", "selfLink"} {
		delete(marked, field)
	}
	if err := merge(marked, "labels", map[string]string{LabelManaged: "true"}); err != nil {
		return nil, err
	}
	return marked, merge(marked, "annotations", map[string]string{
		AnnotationOwner: m.Owner, AnnotationOwnerUID: m.OwnerUID, AnnotationInstallation: m.Installation,
	})
}

// merge puts entries into a copy of a map of metadata.
func merge(metadata map[string]any, field string, add map[string]string) error {
	old, ok := metadata[field].(map[string]any)
	if !ok && metadata[field] != nil {
		return fmt.Errorf("metadata.%s is not an object", field)
	}
	values := make(map[string]any, len(old)+len(add))
	maps.Copy(values, old)
	for k, v := range add {
		values[k] = v
	}
	metadata[field] = values
	return nil
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
