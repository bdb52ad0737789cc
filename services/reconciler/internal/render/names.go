package render

import (
	"github.com/syncsets/syncsets/libs/templating"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
)

// namer tells what one item of a set is called on a cluster; false when that cannot be told.
type namer func(*rendering) (inventory.Identity, bool)

func (s *Set) name(identify namer, varies bool) {
	s.names = append(s.names, identify)
	s.vary = s.vary || varies
}

// NamesVary reports whether what the set's objects are called depends on the cluster.
func (s *Set) NamesVary() bool { return s.vary }

// Identities returns what the set's resources and secrets are called on a cluster, without rendering them. complete is false when one of
// them cannot be named there: then nobody knows all that the set wants. Patches are about the objects of others.
func (s *Set) Identities(f Facts) (ids []inventory.Identity, complete bool) {
	cluster := templating.Cluster{Namespace: f.Namespace, Name: f.Name, Labels: f.Labels}
	r := &rendering{facts: f, run: templating.NewRun(cluster, s.empty)}
	ids, complete = make([]inventory.Identity, 0, len(s.names)), true
	for _, identify := range s.names {
		id, known := identify(r)
		if !known {
			complete = false
			continue
		}
		ids = append(ids, id)
	}
	return ids, complete
}

func (r resource) identify(on *rendering) (inventory.Identity, bool) {
	i := r.item
	if r.fault != "" || r.naming.identify(&i, on) != nil || r.generateName(&i, on) != nil || i.Name == "" || i.Kind == "" {
		return inventory.Identity{}, false
	}
	return i.Identity, true
}

func (c secretCopy) identify(on *rendering) (inventory.Identity, bool) {
	i := c.item
	if c.naming.identify(&i, on) != nil || i.Name == "" {
		return inventory.Identity{}, false
	}
	return i.Identity, true
}
