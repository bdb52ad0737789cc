package syncset

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/patch"
)

var patchTypes = []string{v1.PatchStrategic, v1.PatchMerge, v1.PatchJSON}

// checkPatches returns all faults of the patches of a set.
func checkPatches(spec *v1.SetSpec) []errs.Field {
	var faults []errs.Field
	for i, p := range spec.Patches {
		if len(faults) >= errs.MaxFields {
			break // no more are shown
		}
		o := object{
			path: fmt.Sprintf("patches[%d]", i), templates: spec.EnablePatchTemplates,
			fields: map[string]any{"apiVersion": p.APIVersion, "kind": p.Kind, "name": p.Name},
		}
		o.checkPatch(p)
		faults = append(faults, o.faults...)
	}
	return faults
}

// checkPatch notes all faults of a patch. A template is only parsed: what it says only a cluster tells.
func (o *object) checkPatch(p v1.Patch) {
	o.checkVersion()
	o.checkKind()
	o.checkName("name", o.text(o.fields, "name", "name"))
	o.checkNamespace("namespace", p.Namespace)
	for path, text := range pairs("apiVersion", p.APIVersion, "kind", p.Kind, "name", p.Name, "namespace", p.Namespace, "patch", p.Patch) {
		o.checkTemplate(path, text)
	}
	known := slices.Contains(patchTypes, p.PatchType)
	if !known {
		o.fault("patchType", "must be %s", strings.Join(patchTypes, " or "))
	}
	if p.Patch == "" {
		o.fault("patch", "is required")
	} else if known && !o.open(p.Patch) {
		if _, err := patch.Decode(p.Patch, p.PatchType); err != nil {
			o.fault("patch", "%s", err)
		}
	}
}

// pairs goes through names and values in turn.
func pairs(list ...string) func(func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for pair := range slices.Chunk(list, 2) {
			if !yield(pair[0], pair[1]) {
				return
			}
		}
	}
}
