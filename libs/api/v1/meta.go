// Package v1 holds the documents of syncsets.dev/v1: what travels over HTTP and the bus and what is stored, in one set of types.
package v1

import (
	"strconv"
	"time"
)

// APIVersion is the value of every document's apiVersion.
const APIVersion = "syncsets.dev/v1"

// The resources by their names in paths, routing keys and rules.
const (
	ResourceClusters         = "clusters"
	ResourceSyncSets         = "syncsets"
	ResourceSelectorSyncSets = "selectorsyncsets"
	ResourceSecrets          = "secrets"
	ResourceClusterSyncs     = "clustersyncs"
	ResourceSetSyncs         = "setsyncs"
)

// The kinds of documents.
const (
	KindCluster         = "Cluster"
	KindSyncSet         = "SyncSet"
	KindSelectorSyncSet = "SelectorSyncSet"
	KindSecret          = "Secret"
	KindClusterSync     = "ClusterSync"
	KindSetSync         = "SetSync"
)

// Metadata is what every document carries at its top level. Clients set Name, Namespace, Labels and Annotations; the rest is the
// server's, accepted and ignored on writes except UID and ResourceVersion, which then state what the client expects to replace.
type Metadata struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`

	// Name is a DNS-1123 subdomain of at most 253 characters. Immutable.
	Name string `json:"name"`
	// Namespace is a DNS-1123 label of at most 63 characters; absent on selectorsyncsets. Immutable.
	Namespace string `json:"namespace,omitempty"`
	// Labels and Annotations follow Kubernetes' syntax and limits.
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`

	UID string `json:"uid,omitempty"`
	// Generation counts changes of the desired content, not of labels or annotations.
	Generation int64 `json:"generation,omitempty"`
	// ResourceVersion is a decimal from one sequence per service, new with every write.
	ResourceVersion     string     `json:"resourceVersion,omitempty"`
	CreatedAt           *time.Time `json:"createdAt,omitempty"`
	UpdatedAt           *time.Time `json:"updatedAt,omitempty"`
	UpdatedBy           string     `json:"updatedBy,omitempty"`
	DeletionRequestedAt *time.Time `json:"deletionRequestedAt,omitempty"`
}

// Key returns "namespace/name", or the name alone where there is no namespace.
func (m Metadata) Key() string {
	if m.Namespace == "" {
		return m.Name
	}
	return m.Namespace + "/" + m.Name
}

// Meta returns m itself: the metadata of any document that embeds it.
func (m *Metadata) Meta() *Metadata { return m }

// Scope is the namespace that access to the document is decided in.
func (m Metadata) Scope() string { return m.Namespace }

// ETag returns the entity tag of this version of the document: "<uid>.<resourceVersion>", with the quotes.
func (m Metadata) ETag() string { return strconv.Quote(m.UID + "." + m.ResourceVersion) }

// List is a page of documents. Continue is empty on the last page; Revision ("<epoch>.<rev>") is where a watch goes on from.
type List[T any] struct {
	Items    []T    `json:"items"`
	Continue string `json:"continue,omitempty"`
	Revision string `json:"revision"`
}
