package render_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

func TestWhatObjectsAreCalledIsKnownWithoutRenderingThem(t *testing.T) {
	t.Parallel()
	const plain = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"b","name":"a"},"data":{"k":"{{ fromClusterLabel \"none\" }}"}}`
	const named = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"b","name":"x-{{ fromClusterLabel \"zone\" }}"}}`
	mapping := v1.SecretMapping{SourceRef: v1.NamespacedName{Name: "s", Namespace: "n"}, TargetRef: v1.NamespacedName{Name: "t", Namespace: "b"}}
	configMap := inventory.Identity{Kind: "ConfigMap", Namespace: "b", Name: "a"}
	secret := inventory.Identity{Kind: "Secret", Namespace: "b", Name: "t"}
	tests := map[string]struct {
		resources      []string
		templates      bool
		labels         map[string]string
		vary, complete bool
		want           []inventory.Identity
	}{
		"a body that cannot be rendered still has its name": {[]string{plain}, true, nil, false, true, []inventory.Identity{configMap, secret}},
		"a name made of a label": {
			[]string{plain, named},
			true,
			map[string]string{"zone": "eu"},
			true, true,
			[]inventory.Identity{configMap, {Group: "apps", Kind: "Deployment", Namespace: "b", Name: "x-eu"}, secret},
		},
		"a name made of a label that is missing": {[]string{plain, named}, true, nil, true, false, []inventory.Identity{configMap, secret}},
		"templates that are off": {
			[]string{named},
			false, nil, false, true,
			[]inventory.Identity{{Group: "apps", Kind: "Deployment", Namespace: "b", Name: `x-{{ fromClusterLabel "zone" }}`}, secret},
		},
		"a resource that cannot be read": {[]string{`[]`}, true, nil, false, false, []inventory.Identity{secret}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := v1.SetSpec{EnableResourceTemplates: test.templates, SecretMappings: []v1.SecretMapping{mapping}}
			for _, r := range test.resources {
				spec.Resources = append(spec.Resources, json.RawMessage(r))
			}
			set := render.Parse(spec, render.Marks{})
			got, complete := set.Identities(render.Facts{Namespace: "ns", Name: "c", Labels: test.labels})
			if diff := cmp.Diff(test.want, got); diff != "" || complete != test.complete || set.NamesVary() != test.vary {
				t.Errorf("complete %v, vary %v (-want +got):\n%s", complete, set.NamesVary(), diff)
			}
		})
	}
}

func TestAGeneratedNameIsTheOneThatIsRendered(t *testing.T) {
	t.Parallel()
	set := render.Parse(v1.SetSpec{ApplyBehavior: v1.CreateOnly, Resources: []json.RawMessage{
		json.RawMessage(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"b","generateName":"a-"}}`),
	}}, render.Marks{OwnerUID: "set"})
	facts := render.Facts{UID: "cluster"}
	rendered := set.Render(facts, nil, nil)
	got, complete := set.Identities(facts)
	if !complete || !set.NamesVary() || len(got) != 1 || got[0] != rendered[0].Identity || got[0].Name == "" {
		t.Errorf("identities %v, rendered %v", got, rendered)
	}
}
