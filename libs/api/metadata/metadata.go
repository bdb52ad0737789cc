// Package metadata holds the rules that the metadata of every document follows: what a client may send, and how the server's fields
// come about.
package metadata

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
)

// maxAnnotations is Kubernetes' limit of all annotations of an object together, in bytes.
const maxAnnotations = 256 << 10

// Check returns every fault of what a client sent as metadata of a document of kind. namespaced says whether documents of the kind live
// in namespaces.
func Check(m v1.Metadata, kind string, namespaced bool) []errs.Field {
	var faults []errs.Field
	add := func(path, format string, args ...any) {
		faults = append(faults, errs.Field{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if m.APIVersion != "" && m.APIVersion != v1.APIVersion {
		add("apiVersion", "must be %s", v1.APIVersion)
	}
	if m.Kind != "" && m.Kind != kind {
		add("kind", "must be %s", kind)
	}
	faults = append(faults, CheckName("name", m.Name)...)
	switch {
	case namespaced:
		faults = append(faults, CheckNamespace("namespace", m.Namespace)...)
	case m.Namespace != "":
		add("namespace", "must be absent: a %s has no namespace", kind)
	}
	return append(append(faults, CheckLabels("labels", m.Labels)...), CheckAnnotations("annotations", m.Annotations)...)
}

// CheckName returns the faults of a document's name, a DNS-1123 subdomain.
func CheckName(path, name string) []errs.Field {
	if name == "" {
		return []errs.Field{{Path: path, Message: "is required"}}
	}
	return fields(path, validation.IsDNS1123Subdomain(name))
}

// CheckNamespace returns the faults of a namespace, a DNS-1123 label.
func CheckNamespace(path, namespace string) []errs.Field {
	if namespace == "" {
		return []errs.Field{{Path: path, Message: "is required"}}
	}
	return fields(path, validation.IsDNS1123Label(namespace))
}

// CheckLabels returns the faults of labels, by Kubernetes' rules.
func CheckLabels(path string, labels map[string]string) []errs.Field {
	var faults []errs.Field
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if len(faults) >= errs.MaxFields {
			break // no more are shown
		}
		at := entry(path, key)
		faults = append(faults, fields(at, content.IsLabelKey(key))...)
		faults = append(faults, fields(at, content.IsLabelValue(labels[key]))...)
	}
	return faults
}

// CheckAnnotations returns the faults of annotations, by Kubernetes' rules.
func CheckAnnotations(path string, annotations map[string]string) []errs.Field {
	var faults []errs.Field
	size := 0
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		size += len(key) + len(annotations[key])
		if len(faults) < errs.MaxFields {
			faults = append(faults, fields(entry(path, key), content.IsLabelKey(strings.ToLower(key)))...)
		}
	}
	if size > maxAnnotations {
		faults = append(faults, errs.Field{Path: path, Message: fmt.Sprintf("hold %d bytes, more than %d", size, maxAnnotations)})
	}
	return faults
}

// entry is the path of one entry of a map whose keys may hold dots.
func entry(path, key string) string { return path + "[" + key + "]" }

func fields(path string, messages []string) []errs.Field {
	faults := make([]errs.Field, 0, len(messages))
	for _, message := range messages {
		faults = append(faults, errs.Field{Path: path, Message: message})
	}
	return faults
}

// Begin fills in the server's fields of a new document; what the client sent there is dropped. The store adds the resourceVersion.
func Begin(m *v1.Metadata, kind, actor string, now time.Time) {
	now = now.UTC().Truncate(time.Microsecond)
	m.APIVersion, m.Kind = v1.APIVersion, kind
	m.UID, m.Generation, m.ResourceVersion = uuid.NewString(), 1, ""
	m.CreatedAt, m.UpdatedAt, m.UpdatedBy, m.DeletionRequestedAt = &now, &now, actor, nil
}

// Continue fills in the server's fields of a document that replaces stored. changed says whether the desired content differs.
func Continue(m *v1.Metadata, stored v1.Metadata, changed bool, actor string, now time.Time) {
	now = now.UTC().Truncate(time.Microsecond)
	m.APIVersion, m.Kind = stored.APIVersion, stored.Kind
	m.UID, m.Generation, m.ResourceVersion = stored.UID, stored.Generation, stored.ResourceVersion
	m.CreatedAt, m.UpdatedAt, m.UpdatedBy, m.DeletionRequestedAt = stored.CreatedAt, &now, actor, stored.DeletionRequestedAt
	if changed {
		m.Generation++
	}
}

// Version is the number in a resourceVersion, 0 when it holds none.
func Version(m v1.Metadata) int64 {
	n, err := strconv.ParseInt(m.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
