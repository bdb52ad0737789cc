package render

import (
	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/templating"
)

// Sources returns which stored secrets a set's mappings copy on one cluster. A mapping whose source cannot be rendered there has none; what
// is wrong shows when it is rendered.
func Sources(spec v1.SetSpec, f Facts) []v1.NamespacedName {
	cluster := templating.Cluster{Namespace: f.Namespace, Name: f.Name, Labels: f.Labels}
	on := &rendering{facts: f, run: templating.NewRun(cluster, spec.MissingLabel == v1.MissingLabelEmpty)}
	var refs []v1.NamespacedName
	for n, m := range spec.SecretMappings {
		if ref, err := newSecretCopy(n, m, spec.EnableResourceTemplates, Marks{}).source(on); err == nil {
			refs = append(refs, ref)
		}
	}
	return refs
}

// Copies returns which stored secrets a set's mappings may copy, whatever the cluster: "" stands for any namespace or name, where that
// depends on the cluster.
func Copies(spec v1.SetSpec) []v1.NamespacedName {
	any := func(s string) string {
		if spec.EnableResourceTemplates && templating.Templated(s) {
			return ""
		}
		return s
	}
	refs := make([]v1.NamespacedName, len(spec.SecretMappings))
	for n, m := range spec.SecretMappings {
		refs[n] = v1.NamespacedName{Namespace: any(m.SourceRef.Namespace), Name: any(m.SourceRef.Name)}
	}
	return refs
}
