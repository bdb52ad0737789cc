// Package render turns one generation of a set into what is sent to a target: objects with our marks, as JSON that is encoded once,
// and patches, each with a hash that tells whether the target already has it. It is pure.
package render

import (
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/templating"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// Type says what an item of a set is.
type Type string

// The types of items, in the order in which a set's items are worked off.
const (
	Resource Type = "resource"
	Secret   Type = "secret"
	Patch    Type = "patch"
)

// Marks say whose an object is.
type Marks struct{ Owner, OwnerUID, Installation string }

// Item is one rendered resource, secret or patch. Its Namespace is what the text says; whether the kind has one only the target knows.
type Item struct {
	Index int // among those of its type
	Type  Type
	inventory.Identity
	Version string
	Object  []byte // of a patch, what is sent
	// Hash is of the Object and, for a patch, its type; of what may hold values of a Secret it is keyed.
	Hash       []byte
	PatchType  string // v1.PatchStrategic, v1.PatchMerge or v1.PatchJSON
	CreateOnly bool   // its name was made from generateName
	// Fault says, as a complete failure message, why there is no Object; it waits for a change. The identity is then what the text says.
	// Where a part of it could not be rendered it has no Name: it may be any object's.
	Fault string
	// Refused is a Fault that may pass.
	Refused string
	// Defines is the kind that a CustomResourceDefinition brings.
	Defines Kind
}

// Kind is a group and kind.
type Kind struct{ Group, Kind string }

// Facts are what templates may know of a cluster, and what makes generated names differ between clusters.
type Facts struct {
	Namespace, Name, UID string
	Labels               map[string]string
}

// SecretValue is a stored secret with its values, base64 by key.
type SecretValue struct {
	Type                string
	Labels, Annotations map[string]string
	Data                map[string]string
}

// Secrets returns a stored secret, errs.NotFound when there is none. Any other error says that its values have not arrived yet.
type Secrets func(v1.NamespacedName) (SecretValue, error)

// Set is one generation of a set, read once and rendered for any number of clusters. It is safe for concurrent use.
type Set struct {
	parts []part
	names []namer
	vary  bool // names differ between clusters
	empty bool // a missing label is the empty text
	size  int
}

// part is what an item is made of: the item itself where it is the same on every cluster.
type part struct {
	item   Item
	render func(*rendering) Item
}

// rendering is the work on one cluster.
type rendering struct {
	facts   Facts
	run     *templating.Run
	secrets Secrets
}

// Parse reads a set. What is wrong with an item shows when it is rendered.
func Parse(spec v1.SetSpec, m Marks) *Set {
	s := &Set{empty: spec.MissingLabel == v1.MissingLabelEmpty, size: 1 << 10}
	everywhere := &rendering{run: templating.NewRun(templating.Cluster{}, s.empty)}
	for n, text := range spec.Resources {
		r := newResource(n, text, spec, m)
		s.add(r.render, r.same(), everywhere)
		s.name(r.identify, r.fault == "" && (!same(r.naming.texts()...) || r.generate.literal != ""))
		s.size += weight(len(text), r.same())
	}
	for n, mapping := range spec.SecretMappings {
		c := newSecretCopy(n, mapping, spec.EnableResourceTemplates, m)
		s.add(c.render, false, everywhere)
		s.name(c.identify, !same(c.naming.texts()...))
		s.size += weight(0, false)
	}
	for n, text := range spec.Patches {
		p := newPatch(n, text, spec.EnablePatchTemplates)
		s.add(p.render, p.same(), everywhere)
		s.size += weight(len(text.Patch), p.same())
	}
	return s
}

// weight is about what an item takes of memory: as bytes that are ready, or as a tree that is filled in for every cluster.
func weight(text int, same bool) int {
	if same {
		return 1<<10 + 2*text
	}
	return 1<<10 + 8*text
}

// add appends a part, rendered at once when it is the same everywhere.
func (s *Set) add(render func(*rendering) Item, same bool, everywhere *rendering) {
	if same {
		s.parts = append(s.parts, part{item: render(everywhere)})
		return
	}
	s.parts = append(s.parts, part{render: render})
}

// Size is about how many bytes the set takes.
func (s *Set) Size() int { return s.size }

// Render returns the items for one cluster in run order: resources, secrets, patches. digest is a keyed hash for what may hold values of
// Secrets.
func (s *Set) Render(f Facts, secrets Secrets, digest func([]byte) []byte) []Item {
	cluster := templating.Cluster{Namespace: f.Namespace, Name: f.Name, Labels: f.Labels}
	r := &rendering{facts: f, secrets: secrets, run: templating.NewRun(cluster, s.empty)}
	items := make([]Item, 0, len(s.parts))
	for _, p := range s.parts {
		item := p.item
		if p.render != nil {
			item = p.render(r)
		}
		if item.Object != nil && item.Group == "" && item.Kind == "Secret" {
			item.Hash = digest(item.hashed())
		}
		items = append(items, item)
	}
	return items
}

// hashed is what an item's hash is of.
func (i Item) hashed() []byte {
	if i.Type != Patch {
		return i.Object
	}
	return append([]byte(i.PatchType+"\x00"), i.Object...)
}
