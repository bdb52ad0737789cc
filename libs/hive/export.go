package hive

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
)

// FromSyncSet makes Hive's document of a syncset, as JSON. Warnings say what Hive would do otherwise.
func FromSyncSet(s v1.SyncSet) (text []byte, warnings []string) {
	common, warnings := fromSpec(s.SetSpec)
	out := syncSet{APIVersion: APIVersion, Kind: KindSyncSet, Metadata: fromMeta(s.Metadata, s.Suspended)}
	out.Spec = syncSetSpec{ClusterDeploymentRefs: s.ClusterRefs, commonSpec: common}
	if out.Spec.ClusterDeploymentRefs == nil {
		out.Spec.ClusterDeploymentRefs = []v1.ClusterRef{}
	}
	return encoded(out), warnings
}

// FromSelectorSyncSet makes Hive's document of a selectorsyncset, as JSON. Warnings say what Hive would do otherwise.
func FromSelectorSyncSet(s v1.SelectorSyncSet) (text []byte, warnings []string) {
	common, warnings := fromSpec(s.SetSpec)
	for i, m := range s.SecretMappings {
		if m.SourceRef.Namespace == SelectorNamespace {
			warnings = append(warnings, fmt.Sprintf("secretMappings[%d] copies from the namespace %s, which the hub cluster must have", i,
				SelectorNamespace))
		}
	}
	out := selectorSyncSet{APIVersion: APIVersion, Kind: KindSelectorSyncSet, Metadata: fromMeta(s.Metadata, s.Suspended)}
	out.Spec = selectorSyncSetSpec{ClusterDeploymentSelector: s.ClusterSelector, commonSpec: common}
	return encoded(out), warnings
}

// FromSecret makes a v1 Secret of a secret, as JSON. Those that were read from the system have no values.
func FromSecret(s v1.Secret) (text []byte, warnings []string) {
	if !s.CarriesSecrets() {
		warnings = append(warnings, "its values are never returned: fill them in")
	}
	return encoded(secret{
		APIVersion: "v1", Kind: v1.KindSecret, Metadata: fromMeta(s.Metadata, false), Type: s.Type, Data: s.Data, StringData: s.StringData,
	}), warnings
}

func fromMeta(m v1.Metadata, paused bool) objectMeta {
	meta := objectMeta{Name: m.Name, Namespace: m.Namespace, Labels: m.Labels, Annotations: m.Annotations}
	if paused {
		meta.Annotations = without(m.Annotations)
		if meta.Annotations == nil {
			meta.Annotations = map[string]string{}
		}
		meta.Annotations[pauseAnnotation] = "true"
	}
	return meta
}

func fromSpec(s v1.SetSpec) (commonSpec, []string) {
	out := commonSpec{
		ResourceApplyMode: s.ResourceApplyMode, ApplyBehavior: s.ApplyBehavior, SecretMappings: s.SecretMappings,
		EnableResourceTemplates: s.EnableResourceTemplates, EnablePatchTemplates: s.EnablePatchTemplates,
	}
	warnings := losses(s)
	for i, r := range s.Resources {
		if s.EnableResourceTemplates {
			text, unknown := hiveTemplates(string(r))
			r = json.RawMessage(text)
			warnings = append(warnings, foreign(fmt.Sprintf("resources[%d]", i), unknown)...)
		}
		out.Resources = append(out.Resources, r)
	}
	for i, p := range s.Patches {
		if s.EnablePatchTemplates {
			text, unknown := hiveTemplates(p.Patch)
			p.Patch = text
			warnings = append(warnings, foreign(fmt.Sprintf("patches[%d]", i), unknown)...)
		}
		out.Patches = append(out.Patches, patch(p))
	}
	return out, warnings
}

// losses are the fields that Hive has no counterpart of, where they say something else than what Hive does.
func losses(s v1.SetSpec) []string {
	templates := s.EnableResourceTemplates || s.EnablePatchTemplates
	var all []string
	for _, c := range []struct {
		lost bool
		text string
	}{
		{s.Suspended, "suspended: Hive heeds " + pauseAnnotation + " on ClusterDeployments only, and would apply the set"},
		{s.DeletionPolicy == v1.DeletionPolicyOrphan, "deletionPolicy Orphan: Hive deletes in the mode Sync"},
		{s.ResourceApplyMode == v1.Sync && !s.Adopt, "adopt false: Hive deletes also what existed before the set"},
		{s.ImmutableFields == v1.ImmutableFail, "immutableFields Fail: Hive deletes and creates the object again"},
		{templates && s.MissingLabel == v1.MissingLabelError, "missingLabel Error: Hive puts an empty text for a label that a cluster lacks"},
		{s.EnableResourceTemplates && mappedByTemplate(s), "secretMappings: Hive evaluates no templates in them"},
	} {
		if c.lost {
			all = append(all, c.text)
		}
	}
	return all
}

func mappedByTemplate(s v1.SetSpec) bool {
	return slices.ContainsFunc(s.SecretMappings, func(m v1.SecretMapping) bool {
		return strings.Contains(m.SourceRef.Name+m.SourceRef.Namespace+m.TargetRef.Name+m.TargetRef.Namespace, "{{")
	})
}

var (
	action   = regexp.MustCompile(`\{\{.*?\}\}`)
	ourLabel = regexp.MustCompile(`\bfromClusterLabel\b`)
	quoted   = regexp.MustCompile("\\\\?\"[^\"]*\"|`[^`]*`")
	word     = regexp.MustCompile(`(^|[^.$\w])([A-Za-z_]\w*)`)
)

// hiveWords are the words that a template may have in Hive: those of Go's templates and its one function.
var hiveWords = map[string]bool{
	"and": true, "block": true, "break": true, "call": true, "continue": true, "define": true, "else": true, "end": true, "eq": true,
	"false": true, "fromCDLabel": true, "ge": true, "gt": true, "html": true, "if": true, "index": true, "js": true, "le": true, "len": true,
	"lt": true, "ne": true, "nil": true, "not": true, "or": true, "print": true, "printf": true, "println": true, "range": true, "slice": true,
	"template": true, "true": true, "urlquery": true, "with": true,
}

// hiveTemplates gives the function that reads a label its name in Hive, and returns the words that Hive does not know.
func hiveTemplates(text string) (converted string, unknown []string) {
	converted = action.ReplaceAllStringFunc(text, func(a string) string {
		a = ourLabel.ReplaceAllString(a, "fromCDLabel")
		for _, found := range word.FindAllStringSubmatch(quoted.ReplaceAllString(a, " "), -1) {
			if !hiveWords[found[2]] && !slices.Contains(unknown, found[2]) {
				unknown = append(unknown, found[2])
			}
		}
		return a
	})
	return converted, unknown
}

func foreign(path string, words []string) []string {
	if len(words) == 0 {
		return nil
	}
	return []string{path + ": Hive's templates do not know " + strings.Join(words, ", ")}
}
