package v1

// What an import does to a document.
const (
	ImportCreated    = "created"
	ImportConfigured = "configured"
	ImportUnchanged  = "unchanged"
)

// Import is the answer to an import: what became of each document, in the order of the input.
type Import struct {
	Items []ImportedDocument `json:"items"`
}

// ImportedDocument is one document of an import. Action is created, configured or unchanged; of a dry run, what it would have been.
type ImportedDocument struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Action    string `json:"action"`
	// Warnings are what the document means otherwise than in the system that it comes from.
	Warnings []string `json:"warnings,omitempty"`
}
