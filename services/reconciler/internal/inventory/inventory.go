// Package inventory says what is ours on a target: one row per object, keyed by its identity. An intent is a row written before
// the first request that may create its object, so that nothing we made can be forgotten.
package inventory

import (
	"cmp"
	"time"
)

// Identity names one object of a target. Objects of cluster-scoped kinds have an empty Namespace. The API version is no part of
// it: other version, same group and kind, is the same object.
type Identity struct {
	Group, Kind, Namespace, Name string
}

// String returns "Kind namespace/name", or "Kind name" without a namespace, as failure messages show it.
func (i Identity) String() string {
	if i.Namespace == "" {
		return i.Kind + " " + i.Name
	}
	return i.Kind + " " + i.Namespace + "/" + i.Name
}

// Compare orders identities by group, kind, namespace and name.
func (i Identity) Compare(o Identity) int {
	return cmp.Or(cmp.Compare(i.Group, o.Group), cmp.Compare(i.Kind, o.Kind),
		cmp.Compare(i.Namespace, o.Namespace), cmp.Compare(i.Name, o.Name))
}

// APIVersion returns "group/version", or the version alone for the core group.
func APIVersion(group, version string) string {
	if group == "" {
		return version
	}
	return group + "/" + version
}

// StateIntent is the state of a row whose object was not yet confirmed; the others are those of v1.ObjectStatus.
const StateIntent = "Intent"

// Row is one object that a set owns, or is about to own, on a cluster.
type Row struct {
	Identity
	SetUID        string
	SetGeneration int64
	Item          int    // position in the set's resources
	Version       string // API version last used, without the group
	Resource      string // plural name in paths; empty while the kind is not known to the target
	State         string
	Existed       bool   // was there, without our mark, before our first apply
	ObjectUID     string // empty until an apply is confirmed
	MarkedUID     string // owner whose marks the object may still carry after it moved to SetUID; else empty
	Hash          []byte // of what was sent last; nil until an apply is confirmed
	// ResourceVersion is what the last answer showed.
	ResourceVersion string
	Message         string
	AppliedAt       *time.Time
	Fields          []byte // digest of our entries in managedFields after the last apply; nil where none was read
	// Health is what the object's own status says, by kstatus' names: Current, InProgress, Failed, Terminating, NotFound, Unknown;
	// empty before it was looked at.
	Health, HealthMessage string
	Drifts                int // how often it was found changed by others and healed
	DriftedAt             *time.Time
	DriftedBy             string // the field manager seen to have changed it
}

// Confirmed reports whether the target has ever acknowledged the object.
func (r Row) Confirmed() bool { return r.ObjectUID != "" }

// Protected reports whether deleting objects of the kind takes more with it than the object, so that it needs an explicit wish.
func (i Identity) Protected() bool {
	switch {
	case i.Group == "" && (i.Kind == "Namespace" || i.Kind == "PersistentVolume" || i.Kind == "PersistentVolumeClaim"):
		return true
	case i.Group == "apiextensions.k8s.io" && i.Kind == "CustomResourceDefinition":
		return true
	}
	return false
}
