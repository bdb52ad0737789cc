package syncset

import (
	"maps"
	"slices"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
)

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

// writeOptions returns the options that query gives, nil when there are none. It returns errs.Invalid with all faults.
func writeOptions(query map[string]string) (map[string]string, error) {
	var options map[string]string
	var faults []errs.Field
	for _, name := range slices.Sorted(maps.Keys(query)) {
		want, known := optionValues[name]
		switch {
		case !known:
			faults = append(faults, errs.Field{Path: "query." + name, Message: "is not known"})
		case query[name] != want:
			faults = append(faults, errs.Field{Path: "query." + name, Message: "must be " + want + " or absent"})
		default:
			if options == nil {
				options = map[string]string{}
			}
			options[name] = want
		}
	}
	if len(faults) > 0 {
		return nil, &errs.Error{Kind: errs.Invalid, Message: "the request is not valid", Fields: faults}
	}
	return options, nil
}
