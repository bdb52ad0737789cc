package syncset

import v1 "github.com/syncsets/syncsets/libs/api/v1"

// The options of a write, as query parameters and in its event.
const (
	optionDeletionHold   = "deletionHold"
	optionDeletionPolicy = "deletionPolicy"
)

// PutParameters and DeleteParameters are the query parameters of the two writes that take any.
var (
	PutParameters    = []string{optionDeletionHold}
	DeleteParameters = []string{optionDeletionHold, optionDeletionPolicy}
)

// optionValues is what each option may say: only what weakens a protection, and so is worth an audit. Saying the default has no effect.
var optionValues = map[string]string{optionDeletionHold: "false", optionDeletionPolicy: v1.DeletionPolicyOrphan}
