package syncset

import (
	"errors"
	"slices"
	"strings"

	"github.com/syncsets/syncsets/libs/api/metadata"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
)

// notYet is the message of a fault about behaviour that comes with a later version: it is refused, never stored and ignored.
const notYet = "is not supported yet"

// Validate sets the defaults of document and returns all of its faults.
func (s *Service[T, P]) Validate(document *T) []errs.Field {
	faults := metadata.Check(*P(document).Meta(), s.kind.Name, s.kind.Namespaced)
	faults = append(faults, s.kind.targets(document)...)
	spec := P(document).Spec()
	setDefaults(spec)
	seen := map[identity]string{}
	faults = append(faults, checkResources(spec, s.rules, seen)...)
	faults = append(faults, checkPatches(spec)...)
	scope := mappingScope{namespaced: s.kind.Namespaced, namespace: P(document).Meta().Namespace, templates: spec.EnableResourceTemplates}
	faults = append(faults, scope.check(spec.SecretMappings, seen)...)
	faults = append(faults, checkChoices(spec)...)
	return append(faults, checkLater(spec)...)
}

func setDefaults(s *v1.SetSpec) {
	if s.Resources == nil {
		s.Resources = noResources
	}
	for field, value := range map[*string]string{
		&s.ResourceApplyMode: v1.Upsert, &s.ApplyBehavior: v1.Apply, &s.MissingLabel: v1.MissingLabelError,
		&s.DeletionPolicy: v1.DeletionPolicyDelete, &s.ImmutableFields: v1.ImmutableFail,
	} {
		if *field == "" {
			*field = value
		}
	}
	for i := range s.Patches {
		if s.Patches[i].PatchType == "" {
			s.Patches[i].PatchType = v1.PatchStrategic
		}
	}
	for _, field := range []**bool{&s.DeletionHold, &s.FanOutBrake} {
		if *field == nil {
			on := true
			*field = &on
		}
	}
}

// checkChoices returns the faults of the enumerated fields.
func checkChoices(s *v1.SetSpec) []errs.Field {
	var faults []errs.Field
	for _, c := range []struct {
		path, value string
		choices     []string
	}{
		{"resourceApplyMode", s.ResourceApplyMode, []string{v1.Upsert, v1.Sync}},
		{"applyBehavior", s.ApplyBehavior, []string{v1.Apply, v1.CreateOnly, v1.CreateOrUpdate}},
		{"missingLabel", s.MissingLabel, []string{v1.MissingLabelError, v1.MissingLabelEmpty}},
		{"deletionPolicy", s.DeletionPolicy, []string{v1.DeletionPolicyDelete, v1.DeletionPolicyOrphan}},
		{"immutableFields", s.ImmutableFields, []string{v1.ImmutableFail, v1.ImmutableRecreate}},
	} {
		if !slices.Contains(c.choices, c.value) {
			faults = append(faults, errs.Field{Path: c.path, Message: "must be " + strings.Join(c.choices, " or ")})
		}
	}
	return faults
}

// checkLater returns the faults of fields that may only have their default in this version.
func checkLater(s *v1.SetSpec) []errs.Field {
	if !*s.FanOutBrake {
		return []errs.Field{{Path: "fanOutBrake", Message: notYet}}
	}
	return nil
}

// prefixed returns the faults in err with their paths below prefix.
func prefixed(prefix string, err error) []errs.Field {
	var invalid *errs.Error
	if !errors.As(err, &invalid) {
		return nil
	}
	faults := make([]errs.Field, 0, len(invalid.Fields))
	for _, f := range invalid.Fields {
		faults = append(faults, errs.Field{Path: prefix + f.Path, Message: f.Message})
	}
	return faults
}
