package hive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/manifest"
)

func (c *converter) syncSet(d manifest.Document) {
	var from syncSet
	c.read(d, &from)
	set := &v1.SyncSet{Metadata: from.Metadata.metadata()}
	item := Item{Path: d.Path, Kind: v1.KindSyncSet, SyncSet: set}
	for _, ref := range from.Spec.ClusterDeploymentRefs {
		if slices.Contains(set.ClusterRefs, ref) {
			item.warn("spec.clusterDeploymentRefs names %s twice", ref.Name)
			continue
		}
		set.ClusterRefs = append(set.ClusterRefs, ref)
	}
	c.set(&item, from.Metadata, from.Spec.commonSpec)
}

func (c *converter) selectorSyncSet(d manifest.Document) {
	var from selectorSyncSet
	c.read(d, &from)
	set := &v1.SelectorSyncSet{Metadata: from.Metadata.metadata(), ClusterSelector: from.Spec.ClusterDeploymentSelector}
	item := Item{Path: d.Path, Kind: v1.KindSelectorSyncSet, SelectorSyncSet: set}
	if set.ClusterSelector == nil {
		set.ClusterSelector = &v1.LabelSelector{}
		item.warn("spec.clusterDeploymentSelector is absent: as in Hive, every cluster matches")
	}
	c.set(&item, from.Metadata, from.Spec.commonSpec)
}

// set converts what both kinds of set have, and adds the item with the secrets taken out of its resources.
func (c *converter) set(item *Item, meta objectMeta, from commonSpec) {
	spec, _ := item.Spec()
	spec.ResourceApplyMode, spec.ApplyBehavior = from.ResourceApplyMode, from.ApplyBehavior
	spec.EnableResourceTemplates, spec.EnablePatchTemplates = from.EnableResourceTemplates, from.EnablePatchTemplates
	spec.MissingLabel, spec.ImmutableFields = v1.MissingLabelEmpty, v1.ImmutableRecreate
	spec.Adopt = from.ResourceApplyMode == v1.Sync
	spec.Suspended = c.options.Suspended || meta.paused()
	if meta.paused() {
		item.warn("is suspended by its annotation %s, which Hive heeds on ClusterDeployments only", pauseAnnotation)
	}
	if meta.DeletionTimestamp != nil {
		item.warn("was being deleted from Hive when it was saved")
	}
	item.patches(spec, from.Patches)
	item.copyMappings(spec, from.SecretMappings)
	secrets := c.resources(item, spec, from.Resources)
	for _, s := range secrets {
		c.add(s)
	}
	c.add(*item)
}

func (i *Item) patches(spec *v1.SetSpec, from []patch) {
	for n, p := range from {
		spec.Patches = append(spec.Patches, v1.Patch(p))
		if p.Namespace == "" && !clusterScoped(p.APIVersion, p.Kind) {
			i.warn("spec.patches[%d] has no namespace: it fails unless %s is a kind without namespaces", n, p.Kind)
		}
	}
}

// clusterScoped reports whether a kind is known to live outside namespaces.
func clusterScoped(apiVersion, kind string) bool {
	switch kind {
	case "Namespace", "Node", "PersistentVolume", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "StorageClass",
		"PriorityClass", "APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "SecurityContextConstraints":
		return true
	}
	return strings.HasPrefix(apiVersion, "config.openshift.io/")
}

func (i *Item) copyMappings(spec *v1.SetSpec, from []v1.SecretMapping) {
	for n, m := range from {
		if slices.Contains(spec.SecretMappings, m) {
			i.warn("spec.secretMappings[%d] is there before", n)
			continue
		}
		spec.SecretMappings = append(spec.SecretMappings, m)
		i.mappings = append(i.mappings, n)
	}
}

// resources converts the objects of a set and returns the secrets made of those that hold values.
func (c *converter) resources(item *Item, spec *v1.SetSpec, from []json.RawMessage) []Item {
	var secrets []Item
	seen := map[string]int{}
	for n, text := range from {
		o := parseObject(text)
		text = o.stripped(text)
		key := string(o.canonical(text))
		if first, twice := seen[key]; twice && key != "" {
			item.warn("spec.resources[%d] is the same as spec.resources[%d]", n, first)
			continue
		}
		seen[key] = n
		if o.secretWithValues() {
			secrets = append(secrets, c.takeSecret(item, spec, n, text))
			continue
		}
		spec.Resources = append(spec.Resources, text)
		item.resources = append(item.resources, n)
	}
	return secrets
}

// object is a resource taken apart as far as it matters; nil members are what could not be.
type object struct{ fields, metadata map[string]json.RawMessage }

func parseObject(text json.RawMessage) object {
	var o object
	if json.Unmarshal(text, &o.fields) == nil {
		_ = json.Unmarshal(o.fields["metadata"], &o.metadata)
	}
	return o
}

// text returns a member that is a string.
func (o object) text(field string) string {
	var s string
	_ = json.Unmarshal(o.fields[field], &s)
	return s
}

// secretWithValues reports whether the object is a v1 Secret that holds any. One without, such as a token that the target fills in, is an
// object like others.
func (o object) secretWithValues() bool {
	if o.text("apiVersion") != "v1" || o.text("kind") != v1.KindSecret {
		return false
	}
	for _, field := range []string{"data", "stringData"} {
		var values map[string]json.RawMessage
		if json.Unmarshal(o.fields[field], &values) == nil && len(values) > 0 {
			return true
		}
	}
	return false
}

// stripped returns the object, whose text is given, without what an API server says in its metadata.
func (o object) stripped(text json.RawMessage) json.RawMessage {
	if o.metadata == nil {
		return text
	}
	changed := false
	for _, field := range serverFields {
		if _, there := o.metadata[field]; there {
			delete(o.metadata, field)
			changed = true
		}
	}
	var annotations map[string]json.RawMessage
	if json.Unmarshal(o.metadata["annotations"], &annotations) == nil && annotations[lastApplied] != nil {
		delete(annotations, lastApplied)
		if o.metadata["annotations"] = encoded(annotations); len(annotations) == 0 {
			delete(o.metadata, "annotations")
		}
		changed = true
	}
	if !changed {
		return text
	}
	o.fields["metadata"] = encoded(o.metadata)
	return encoded(o.fields)
}

// canonical spells the object in one way; nil for what is none.
func (o object) canonical(text json.RawMessage) []byte {
	value, err := decoded(text)
	if err != nil || o.fields == nil {
		return nil
	}
	return encoded(value)
}

// decoded decodes JSON with its numbers as they are.
func decoded(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	return value, err
}

// encoded encodes what was decoded from JSON.
func encoded(value any) json.RawMessage {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("encode decoded JSON: %v", err)) // nothing decoded fails to encode
	}
	return bytes.TrimSpace(b.Bytes())
}
