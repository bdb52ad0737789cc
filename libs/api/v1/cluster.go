package v1

import "time"

// Cluster is a registered target. The kubeconfig is write-only: it is sealed in a place of its own and answers carry only its
// version, a keyed digest and the expiry of its client certificate or token.
type Cluster struct {
	Metadata

	// Kubeconfig is the text of a kubeconfig file. Required on create; absent in a replace keeps the stored one.
	Kubeconfig *string `json:"kubeconfig,omitempty" null:"refused"`
	// Suspended stops all writes to this cluster.
	Suspended bool `json:"suspended"`
	// VerifyInterval and ReapplyInterval override the reconciler's, as Go durations ("30m").
	VerifyInterval  string `json:"verifyInterval,omitempty"`
	ReapplyInterval string `json:"reapplyInterval,omitempty"`

	KubeconfigVersion   int64      `json:"kubeconfigVersion,omitempty"`
	KubeconfigDigest    string     `json:"kubeconfigDigest,omitempty"`
	CredentialExpiresAt *time.Time `json:"credentialExpiresAt,omitempty"`
}

// CarriesSecrets reports whether the document holds a kubeconfig, as only writes do.
func (c Cluster) CarriesSecrets() bool { return c.Kubeconfig != nil }
