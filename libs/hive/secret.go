package hive

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/manifest"
)

// SelectorNamespace is where the secrets live that were resources of selectorsyncsets, which have no namespace.
const SelectorNamespace = "selectorsyncsets"

// defaultType is the type of a Secret that names none.
const defaultType = "Opaque"

func (c *converter) secret(d manifest.Document) {
	var from secret
	c.read(d, &from)
	item := Item{Path: d.Path, Kind: v1.KindSecret}
	item.Secret = item.convertSecret(from)
	c.add(item)
}

func (i *Item) convertSecret(from secret) *v1.Secret {
	if from.Immutable {
		i.warn("is not immutable here")
	}
	s := &v1.Secret{Metadata: from.Metadata.metadata(), Type: from.Type, Data: from.Data, StringData: from.StringData}
	if s.Type == "" {
		s.Type = defaultType
	}
	if s.Data == nil && s.StringData == nil {
		s.Data = map[string]string{} // else a replacement would keep the stored values
	}
	return s
}

// takeSecret makes a secret of resource n, a Secret with values, and the mapping that puts it where the resource would be.
func (c *converter) takeSecret(set *Item, spec *v1.SetSpec, n int, text []byte) Item {
	path := fmt.Sprintf("%s.spec.resources[%d]", set.Path, n)
	var from secret
	c.read(manifest.Document{Path: path, JSON: text}, &from)
	item := Item{Path: path, Kind: v1.KindSecret}
	item.Secret = item.convertSecret(from)
	if spec.EnableResourceTemplates {
		c.refuseTemplates(path, from)
	}
	target := v1.NamespacedName{Name: from.Metadata.Name, Namespace: from.Metadata.Namespace}
	source := v1.NamespacedName{Name: secretName(set, target), Namespace: set.Meta().Namespace}
	if set.SelectorSyncSet != nil {
		source.Namespace = SelectorNamespace
	}
	item.Secret.Name, item.Secret.Namespace = source.Name, source.Namespace
	spec.SecretMappings = append(spec.SecretMappings, v1.SecretMapping{SourceRef: source, TargetRef: target})
	set.moved = append(set.moved, n)
	set.warn("spec.resources[%d], a Secret, becomes the secret %s/%s and its mapping: it is written after all other resources", n,
		source.Namespace, source.Name)
	return item
}

// refuseTemplates faults templates in what a mapping copies as it is.
func (c *converter) refuseTemplates(path string, from secret) {
	for _, part := range []struct {
		name   string
		values map[string]string
	}{{"stringData", from.StringData}, {"metadata.labels", from.Metadata.Labels}, {"metadata.annotations", from.Metadata.Annotations}} {
		for _, key := range slices.Sorted(maps.Keys(part.values)) {
			if strings.Contains(part.values[key], "{{") {
				c.fault(path+"."+part.name+"["+key+"]", "holds a template, and secrets are copied as they are: write the value itself")
			}
		}
	}
}

// secretName names the secret made of a set's resource: the same one each time, and no other's.
func secretName(set *Item, target v1.NamespacedName) string {
	hash := sha256.New()
	for _, part := range []string{set.Kind, set.Meta().Namespace, set.Meta().Name, target.Namespace, target.Name} {
		fmt.Fprintf(hash, "%d:%s", len(part), part)
	}
	const longest = 240 // of 253, with room for the digest
	readable := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, set.Meta().Name+"-"+target.Name)
	readable = strings.Trim(readable[:min(len(readable), longest)], "-")
	return strings.TrimPrefix(readable+"-"+hex.EncodeToString(hash.Sum(nil))[:10], "-")
}

// collectSecrets remembers the Secrets of the input, which ClusterDeployments anywhere in it may name. What cannot be read is reported
// when its turn comes.
func (c *converter) collectSecrets(documents []manifest.Document) {
	if !c.options.Clusters {
		return
	}
	for _, d := range documents {
		if isSecret(d) {
			silent := converter{}
			var s secret
			silent.read(d, &s)
			c.kubeconfigs[s.Metadata.Namespace+"/"+s.Metadata.Name] = &s
		}
	}
}

// value returns one value of a Secret.
func (s *secret) value(key string) (string, bool) {
	if text, ok := s.StringData[key]; ok {
		return text, true
	}
	text, ok := s.Data[key]
	if !ok {
		return "", false
	}
	value, err := base64.StdEncoding.DecodeString(text)
	return string(value), err == nil
}

// dropKubeconfigs leaves out the secrets that have become kubeconfigs of clusters, unless a set copies them.
func (c *converter) dropKubeconfigs() {
	for source := range c.sources() {
		delete(c.wanted, source)
	}
	c.items = slices.DeleteFunc(c.items, func(i Item) bool { return i.Secret != nil && c.wanted[i.Secret.Key()] })
}

// sources are the keys of all secrets that sets copy.
func (c *converter) sources() map[string]bool {
	all := map[string]bool{}
	for n := range c.items {
		if spec, ok := c.items[n].Spec(); ok {
			for _, m := range spec.SecretMappings {
				all[source(&c.items[n], m).Key()] = true
			}
		}
	}
	return all
}

// source is the secret that a mapping of a set copies.
func source(set *Item, m v1.SecretMapping) v1.Metadata {
	meta := v1.Metadata{Namespace: m.SourceRef.Namespace, Name: m.SourceRef.Name}
	if meta.Namespace == "" {
		meta.Namespace = set.Meta().Namespace
	}
	return meta
}

// checkSources warns of mappings whose secret is not in the input.
func (c *converter) checkSources() {
	there := map[string]bool{}
	for _, i := range c.items {
		if i.Secret != nil {
			there[i.Secret.Key()] = true
		}
	}
	for n := range c.items {
		spec, ok := c.items[n].Spec()
		if !ok {
			continue
		}
		for at, m := range spec.SecretMappings {
			if key := source(&c.items[n], m).Key(); !there[key] {
				c.items[n].warn("spec.secretMappings[%d] copies the secret %s, which is not among the documents: store it, or the set fails",
					c.items[n].mappings[at], key) // those that were made have their secret
			}
		}
	}
}
