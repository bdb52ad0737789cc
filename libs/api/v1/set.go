package v1

import "encoding/json"

// Resource apply modes.
const (
	Upsert = "Upsert" // objects that leave the set are released
	Sync   = "Sync"   // objects that leave the set are deleted
)

// Apply behaviours.
const (
	Apply          = "Apply"
	CreateOnly     = "CreateOnly"
	CreateOrUpdate = "CreateOrUpdate"
)

// Values of the other enumerated fields of a set.
const (
	DeletionPolicyDelete = "Delete"
	DeletionPolicyOrphan = "Orphan"

	MissingLabelError = "Error"
	MissingLabelEmpty = "Empty"

	ImmutableFail     = "Fail"
	ImmutableRecreate = "Recreate"

	PatchStrategic = "strategic"
	PatchMerge     = "merge"
	PatchJSON      = "json"
)

// SyncSet is a set for clusters of its own namespace, named one by one.
type SyncSet struct {
	Metadata
	// ClusterRefs name clusters of the set's namespace; they need not exist yet.
	ClusterRefs []ClusterRef `json:"clusterRefs"`
	SetSpec
}

// SelectorSyncSet is a set for all clusters whose labels match, in any namespace.
type SelectorSyncSet struct {
	Metadata
	// ClusterSelector is required; {} matches every cluster.
	ClusterSelector *LabelSelector `json:"clusterSelector"`
	SetSpec
}

// ClusterRef names a cluster of the set's namespace.
type ClusterRef struct {
	Name string `json:"name"`
}

// LabelSelector matches labels as Kubernetes' does: all terms must hold.
type LabelSelector struct {
	MatchLabels      map[string]string     `json:"matchLabels,omitempty"`
	MatchExpressions []SelectorRequirement `json:"matchExpressions,omitempty"`
}

// SelectorRequirement is one term: Operator is In, NotIn, Exists or DoesNotExist; Values only with the first two.
type SelectorRequirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values,omitempty"`
}

// SetSpec is what a set wants on each of its clusters. All fields are stored and returned with their defaults.
type SetSpec struct {
	// Resources are Kubernetes objects, applied in order.
	Resources []json.RawMessage `json:"resources"`
	Patches   []Patch           `json:"patches,omitempty"`
	// SecretMappings copy stored secrets to the clusters.
	SecretMappings []SecretMapping `json:"secretMappings,omitempty"`

	ResourceApplyMode       string `json:"resourceApplyMode"`
	ApplyBehavior           string `json:"applyBehavior"`
	EnableResourceTemplates bool   `json:"enableResourceTemplates"`
	EnablePatchTemplates    bool   `json:"enablePatchTemplates"`
	MissingLabel            string `json:"missingLabel"`
	// DeletionPolicy Orphan releases objects where Delete removes them.
	DeletionPolicy string `json:"deletionPolicy"`
	// Adopt allows deleting later what existed before the set was first applied.
	Adopt bool `json:"adopt"`
	// DeletionHold keeps deletions beyond the budget waiting for a confirmation. Default true.
	DeletionHold *bool `json:"deletionHold"`
	// FanOutBrake stops a fan-out whose first attempts keep failing. Default true.
	FanOutBrake *bool `json:"fanOutBrake"`
	// DeleteProtectedKinds allows deleting Namespaces, CustomResourceDefinitions, PersistentVolumes and PersistentVolumeClaims.
	DeleteProtectedKinds bool   `json:"deleteProtectedKinds"`
	ImmutableFields      string `json:"immutableFields"`
	// Suspended stops all writes and deletions for this set.
	Suspended bool `json:"suspended"`
}

// Spec returns s itself: what any of the two kinds of set, which embed it, wants.
func (s *SetSpec) Spec() *SetSpec { return s }

// Patch changes an object that the set does not own.
type Patch struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Namespace  string `json:"namespace,omitempty"`
	Patch      string `json:"patch"`
	PatchType  string `json:"patchType"`
}

// SecretMapping copies a stored secret to a place on the clusters.
type SecretMapping struct {
	SourceRef NamespacedName `json:"sourceRef"`
	TargetRef NamespacedName `json:"targetRef"`
}

// NamespacedName names an object.
type NamespacedName struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}
