package kube

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncsets/syncsets/services/reconciler/internal/decide"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// metadata is the part of any object that is read.
type metadata struct {
	Metadata struct {
		Name              string                      `json:"name"`
		Namespace         string                      `json:"namespace"`
		UID               string                      `json:"uid"`
		ResourceVersion   string                      `json:"resourceVersion"`
		Generation        int64                       `json:"generation"`
		DeletionTimestamp *string                     `json:"deletionTimestamp"`
		Labels            map[string]string           `json:"labels"`
		Annotations       map[string]string           `json:"annotations"`
		ManagedFields     []metav1.ManagedFieldsEntry `json:"managedFields"`
	} `json:"metadata"`
}

// UID returns the object's uid.
func (m metadata) UID() string { return m.Metadata.UID }

// terminating reports whether the object is being deleted.
func (m metadata) terminating() bool { return m.Metadata.DeletionTimestamp != nil }

// ours reports whether a field manager is one of this system's.
func ours(manager string) bool { return manager == fieldManager || manager == patchManager }

// othersWrote reports whether anybody but us owns fields of an object. One that came to be between looking for it and applying it is
// our own then, from a run whose lease had ended, unless somebody else's hand shows.
func (m metadata) othersWrote() bool {
	return slices.ContainsFunc(m.Metadata.ManagedFields, func(e metav1.ManagedFieldsEntry) bool { return !ours(e.Manager) })
}

// lastManager returns who, besides us, wrote last to anything but the status.
func (m metadata) lastManager() string {
	var manager string
	var last time.Time
	for _, e := range m.Metadata.ManagedFields {
		if !ours(e.Manager) && e.Subresource != "status" && e.Time != nil && (manager == "" || e.Time.After(last)) {
			manager, last = e.Manager, e.Time.Time
		}
	}
	return manager
}

// fields returns the digest of our entries in managedFields: which fields we own, not since when nor in which API version. It is nil
// when there are none.
func (m metadata) fields() []byte {
	var entries []string
	for _, e := range m.Metadata.ManagedFields {
		if e.Manager == fieldManager {
			entries = append(entries, string(e.Operation)+" "+e.Subresource+" "+canonical(e.FieldsV1))
		}
	}
	if entries == nil {
		return nil
	}
	slices.Sort(entries)
	sum := sha256.Sum256([]byte(strings.Join(entries, "\n")))
	return sum[:]
}

// canonical returns a tree of fields as text that does not depend on the order in which a target writes it.
func canonical(f *metav1.FieldsV1) string {
	text, err := json.Marshal(tree(f))
	if err != nil {
		return ""
	}
	return string(text)
}

// tree decodes a set of fields: a map whose keys are steps of a path (f:, k:, v:, i: or .) and whose values are such maps.
func tree(f *metav1.FieldsV1) map[string]any {
	if f == nil {
		return nil
	}
	var steps map[string]any
	if json.Unmarshal(f.GetRawBytes(), &steps) != nil {
		return nil
	}
	return steps
}

// marks reads whose an object is.
func (c *Conn) marks(m metadata) decide.Observed {
	seen := decide.Observed{
		Presence: decide.Foreign, UID: m.UID(), Installation: m.Metadata.Annotations[render.AnnotationInstallation],
		OwnerUID: m.Metadata.Annotations[render.AnnotationOwnerUID], ClientSide: m.clientSide(),
	}
	switch strings.TrimSpace(seen.Installation) {
	case "":
		seen.Presence = decide.Unmarked
	case c.installation:
		seen.Presence = decide.Ours
	}
	return seen
}

// marked reports whether an object carries our label and all our annotations.
func (c *Conn) marked(m metadata) bool {
	a := m.Metadata.Annotations
	return m.Metadata.Labels[render.LabelManaged] == "true" && a[render.AnnotationOwner] != "" && a[render.AnnotationOwnerUID] != "" &&
		a[render.AnnotationInstallation] == c.installation
}

// object is one object as a target shows it: its metadata and, for a kind that has a status, its health. The rest is dropped as soon
// as it is decoded.
type object struct {
	metadata
	kind   work.Kind
	full   bool // asked for whole, so that its health shows
	health work.Health
}

// objectOf returns an object to decode an answer into that tells the health, too.
func objectOf(k work.Kind) object { return object{kind: k, full: hasStatus(k)} }

// accept returns what to ask for.
func (o *object) accept() string {
	if o.full {
		return acceptJSON
	}
	return acceptMetadata
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *object) UnmarshalJSON(body []byte) error {
	var m metadata
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	o.metadata = m
	switch {
	case o.full:
		o.health = healthOf(o.kind, body)
	case m.terminating():
		o.health = work.Health{Status: terminatingHealth}
	default:
		o.health = work.Health{Status: currentHealth}
	}
	return nil
}

// applied returns what became of the object by a write.
func (o *object) applied() work.Applied {
	return work.Applied{
		UID: o.UID(), ResourceVersion: o.Metadata.ResourceVersion, Generation: o.Metadata.Generation, Terminating: o.terminating(),
		Fields: o.fields(), Health: o.health,
	}
}
