package hive

import (
	"encoding/json"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
)

// APIVersion is the one version of Hive's API that its sets and cluster deployments have.
const APIVersion = "hive.openshift.io/v1"

// Kinds of Hive that are understood.
const (
	KindSyncSet           = "SyncSet"
	KindSelectorSyncSet   = "SelectorSyncSet"
	KindClusterDeployment = "ClusterDeployment"
)

// Annotations with a meaning.
const (
	// pauseAnnotation with the value "true" stops Hive's work on a ClusterDeployment.
	pauseAnnotation = "hive.openshift.io/syncset-pause"
	// lastApplied is where kubectl keeps a copy of the whole object.
	lastApplied = "kubectl.kubernetes.io/last-applied-configuration"
)

// syncSet is a SyncSet or, with a selector in place of refs, a SelectorSyncSet: openshift/hive, apis/hive/v1/syncset_types.go.
type syncSet struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   objectMeta      `json:"metadata"`
	Spec       syncSetSpec     `json:"spec"`
	Status     json.RawMessage `json:"status,omitempty"`
}

type selectorSyncSet struct {
	APIVersion string              `json:"apiVersion"`
	Kind       string              `json:"kind"`
	Metadata   objectMeta          `json:"metadata"`
	Spec       selectorSyncSetSpec `json:"spec"`
	Status     json.RawMessage     `json:"status,omitempty"`
}

type syncSetSpec struct {
	ClusterDeploymentRefs []v1.ClusterRef `json:"clusterDeploymentRefs"`
	commonSpec
}

type selectorSyncSetSpec struct {
	ClusterDeploymentSelector *v1.LabelSelector `json:"clusterDeploymentSelector,omitempty"`
	commonSpec
}

// commonSpec is Hive's SyncSetCommonSpec.
type commonSpec struct {
	Resources               []json.RawMessage  `json:"resources,omitempty"`
	ResourceApplyMode       string             `json:"resourceApplyMode,omitempty"`
	Patches                 []patch            `json:"patches,omitempty"`
	SecretMappings          []v1.SecretMapping `json:"secretMappings,omitempty"`
	ApplyBehavior           string             `json:"applyBehavior,omitempty"`
	EnableResourceTemplates bool               `json:"enableResourceTemplates,omitempty"`
	EnablePatchTemplates    bool               `json:"enablePatchTemplates,omitempty"`
}

// patch is Hive's SyncObjectPatch.
type patch struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Namespace  string `json:"namespace,omitempty"`
	Patch      string `json:"patch"`
	PatchType  string `json:"patchType,omitempty"`
}

// secret is a v1 Secret.
type secret struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   objectMeta        `json:"metadata"`
	Immutable  bool              `json:"immutable,omitempty"`
	Type       string            `json:"type,omitempty"`
	Data       map[string]string `json:"data,omitempty"`
	StringData map[string]string `json:"stringData,omitempty"`
}

// clusterDeployment is what matters of a ClusterDeployment: the rest is about installing and removing a cluster.
type clusterDeployment struct {
	Metadata objectMeta `json:"metadata"`
	Spec     struct {
		ClusterMetadata *struct {
			AdminKubeconfigSecretRef struct {
				Name string `json:"name"`
			} `json:"adminKubeconfigSecretRef"`
		} `json:"clusterMetadata"`
	} `json:"spec"`
}

// objectMeta is Kubernetes' metadata. What clients set comes first; the rest is known so that it can be left behind.
type objectMeta struct {
	Name        string            `json:"name,omitempty"`
	Namespace   string            `json:"namespace,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`

	ClusterName                json.RawMessage `json:"clusterName,omitempty"`
	CreationTimestamp          json.RawMessage `json:"creationTimestamp,omitempty"`
	DeletionGracePeriodSeconds json.RawMessage `json:"deletionGracePeriodSeconds,omitempty"`
	DeletionTimestamp          *string         `json:"deletionTimestamp,omitempty"`
	Finalizers                 json.RawMessage `json:"finalizers,omitempty"`
	GenerateName               json.RawMessage `json:"generateName,omitempty"`
	Generation                 json.RawMessage `json:"generation,omitempty"`
	ManagedFields              json.RawMessage `json:"managedFields,omitempty"`
	OwnerReferences            json.RawMessage `json:"ownerReferences,omitempty"`
	ResourceVersion            json.RawMessage `json:"resourceVersion,omitempty"`
	SelfLink                   json.RawMessage `json:"selfLink,omitempty"`
	UID                        json.RawMessage `json:"uid,omitempty"`
}

// serverFields are the members of an object's metadata that its API server sets.
var serverFields = []string{
	"clusterName", "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields", "resourceVersion",
	"selfLink", "uid",
}

// metadata makes the metadata of a document of ours.
func (m objectMeta) metadata() v1.Metadata {
	return v1.Metadata{Name: m.Name, Namespace: m.Namespace, Labels: m.Labels, Annotations: without(m.Annotations, lastApplied, pauseAnnotation)}
}

// paused reports whether Hive is told to leave the object alone.
func (m objectMeta) paused() bool { return m.Annotations[pauseAnnotation] == "true" }

// without returns m without keys, nil when nothing is left.
func without(m map[string]string, keys ...string) map[string]string {
	kept := map[string]string{}
	for key, value := range m {
		kept[key] = value
	}
	for _, key := range keys {
		delete(kept, key)
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}
