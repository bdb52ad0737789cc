package v1

// Secret is a source of secretMappings. Values are write-only: they are sealed in a place of their own, and answers show the keys with
// keyed digests.
type Secret struct {
	Metadata

	// Type is a Kubernetes Secret type; default Opaque. Immutable, as on a target.
	Type string `json:"type"`
	// Data holds base64 values by key, StringData plain ones, which win. Both absent in a replace keeps what is stored.
	Data       map[string]string `json:"data,omitempty"       null:"refused"`
	StringData map[string]string `json:"stringData,omitempty" null:"refused"`

	// DataVersion counts the changes of the values.
	DataVersion int64 `json:"dataVersion,omitempty"`
	// Keys are the stored keys in order.
	Keys []SecretKey `json:"keys,omitempty"`
}

// SecretKey is a key of a secret with the keyed digest of its value: equal digests, equal values, within one secret.
type SecretKey struct {
	Key    string `json:"key"`
	Digest string `json:"digest"`
}

// CarriesSecrets reports whether the document holds values, as only writes do.
func (s Secret) CarriesSecrets() bool { return s.Data != nil || s.StringData != nil }
