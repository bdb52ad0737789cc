package secret

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/syncsets/syncsets/libs/api/metadata"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
)

// maxSize is Kubernetes' limit of all values of a Secret together, in bytes.
const maxSize = corev1.MaxSecretSize

// Keys of labels and annotations that a secret cannot have: the system's own, and the annotation in which kubectl keeps a whole object,
// its values included.
const (
	ownPrefix   = "syncsets.dev/"
	lastApplied = corev1.LastAppliedConfigAnnotation
)

// Validate returns every fault of a secret as a client sends it. What depends on the stored one is not decided here: whether the type may
// be this one, and whether the values may be absent.
func Validate(s *v1.Secret) []errs.Field {
	faults := append(metadata.Check(s.Metadata, v1.KindSecret, true), checkMarks(s.Metadata)...)
	found, more := valuesOf(*s)
	faults = append(faults, more...)
	if s.Type == "" {
		return faults
	}
	faults = append(faults, checkAnnotations(s.Type, s.Annotations)...)
	if s.CarriesSecrets() && len(more) == 0 {
		faults = append(faults, checkValues(s.Type, found)...)
	}
	return faults
}

// checkMarks refuses what must not get onto targets with the labels and annotations, which are carried there.
func checkMarks(m v1.Metadata) []errs.Field {
	var faults []errs.Field
	for _, marks := range []struct {
		path    string
		entries map[string]string
	}{{"labels", m.Labels}, {"annotations", m.Annotations}} {
		for _, key := range slices.Sorted(maps.Keys(marks.entries)) {
			if strings.HasPrefix(key, ownPrefix) && len(faults) < errs.MaxFields {
				faults = append(faults, errs.Field{Path: entry(marks.path, key), Message: "keys under " + ownPrefix + " are set by the system"})
			}
		}
	}
	if m.Annotations[lastApplied] != "" {
		faults = append(faults, errs.Field{Path: entry("annotations", lastApplied), Message: "holds a copy of the values: leave it out"})
	}
	return faults
}

// values are the values of a secret by key.
type values map[string][]byte

// valuesOf reads the values that were sent, and what is wrong with them. No fault shows a value.
func valuesOf(s v1.Secret) (values, []errs.Field) {
	all := values{}
	faults := checkKeys("data", s.Data)
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		value, err := base64.StdEncoding.DecodeString(s.Data[key])
		if err != nil && len(faults) < errs.MaxFields {
			faults = append(faults, errs.Field{Path: entry("data", key), Message: "must be base64; use stringData for plain text"})
		}
		all[key] = value
	}
	faults = append(faults, checkKeys("stringData", s.StringData)...)
	for key, value := range s.StringData {
		all[key] = []byte(value)
	}
	if size := all.size(); size > maxSize {
		faults = append(faults, errs.Field{Path: "data", Message: fmt.Sprintf("the values hold %d bytes, more than %d", size, maxSize)})
	}
	return all, faults
}

func checkKeys(path string, data map[string]string) []errs.Field {
	var faults []errs.Field
	for _, key := range slices.Sorted(maps.Keys(data)) {
		for _, message := range validation.IsConfigMapKey(key) {
			if len(faults) < errs.MaxFields {
				faults = append(faults, errs.Field{Path: entry(path, key), Message: message})
			}
		}
	}
	return faults
}

// entry is the path of one entry of a map whose keys may hold dots and, where they are faulty, be long.
func entry(path, key string) string {
	if len(key) > validation.DNS1123SubdomainMaxLength {
		key = strings.ToValidUTF8(key[:validation.DNS1123SubdomainMaxLength], "") + "..."
	}
	return path + "[" + key + "]"
}

func (v values) size() int {
	size := 0
	for _, value := range v {
		size += len(value)
	}
	return size
}

// encoded returns the values as a document and a Secret on a target spell them.
func (v values) encoded() map[string]string {
	data := make(map[string]string, len(v))
	for key, value := range v {
		data[key] = base64.StdEncoding.EncodeToString(value)
	}
	return data
}
