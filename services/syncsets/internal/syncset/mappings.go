package syncset

import (
	"fmt"

	"github.com/syncsets/syncsets/libs/api/metadata"
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
)

// mappingScope is what the secretMappings of a set are checked against.
type mappingScope struct {
	namespaced bool   // the set is: its secrets come from its own namespace
	namespace  string // of the set
	templates  bool
}

// check returns all faults of secretMappings and sets their defaults. seen holds where each object of the set is.
func (s mappingScope) check(mappings []v1.SecretMapping, seen map[identity]string) []errs.Field {
	var faults []errs.Field
	for i := range mappings {
		if len(faults) >= errs.MaxFields {
			break // no more are shown
		}
		m := &mappings[i]
		path := fmt.Sprintf("secretMappings[%d]", i)
		o := object{path: path, templates: s.templates}
		s.checkSource(&o, &m.SourceRef)
		o.checkRef("targetRef", m.TargetRef)
		id := identity{kind: "Secret", namespace: m.TargetRef.Namespace, name: m.TargetRef.Name}
		if id.namespace != "" && id.name != "" && !o.open(id.namespace) && !o.open(id.name) {
			if first, twice := seen[id]; twice {
				o.fault("targetRef", "is the same object as %s", first)
			} else {
				seen[id] = path
			}
		}
		faults = append(faults, o.faults...)
	}
	return faults
}

// checkSource checks where a secret comes from. A syncset may copy secrets of its own namespace only, so a template may not choose it.
func (s mappingScope) checkSource(o *object, ref *v1.NamespacedName) {
	if !s.namespaced {
		o.checkRef("sourceRef", *ref)
		return
	}
	if ref.Namespace == "" {
		ref.Namespace = s.namespace
	}
	if ref.Namespace != s.namespace {
		o.fault("sourceRef.namespace", "must be %s, the namespace of the set, or absent", s.namespace)
	}
	o.checkRefField("sourceRef.name", ref.Name, metadata.CheckName)
}

// checkRef checks a name and a namespace, both of which must be there.
func (o *object) checkRef(path string, ref v1.NamespacedName) {
	o.checkRefField(path+".name", ref.Name, metadata.CheckName)
	o.checkRefField(path+".namespace", ref.Namespace, metadata.CheckNamespace)
}

func (o *object) checkRefField(path, value string, check func(path, value string) []errs.Field) {
	if o.open(value) {
		o.checkTemplate(path, value)
		return
	}
	for _, f := range check(path, value) {
		o.fault(f.Path, "%s", f.Message)
	}
}
