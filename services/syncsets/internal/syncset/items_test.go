package syncset_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/syncsets/internal/syncset"
)

type faultCase = struct {
	members string
	want    []string
}

// expectFaults validates syncsets with more members, each with what ends it, and compares the faults.
func expectFaults(t *testing.T, cases map[string]faultCase, end string) {
	t.Helper()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, faultsOf(t, syncset.Rules{}, tc.members+end)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPatchesAreChecked(t *testing.T) {
	t.Parallel()
	const target = `"apiVersion":"v1","kind":"ConfigMap","name":"a","namespace":"b"`
	expectFaults(t, map[string]faultCase{
		"good ones": {`, "patches": [{` + target + `,"patch":"data: {a: b}"}, {` + target + `,"patchType":"merge","patch":"{\"data\":null}"},
			{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","name":"system:a","patchType":"json",
			"patch":"[{\"op\":\"remove\",\"path\":\"/rules/0\"}]"}]`, nil},
		"an empty one": {`, "patches": [{}]`, []string{
			"patches[0].apiVersion: is required", "patches[0].kind: is required", "patches[0].name: is required", "patches[0].patch: is required",
		}},
		"names that are none": {`, "patches": [{"apiVersion":"a/b/c","kind":"x y","name":"a/b","namespace":"A","patch":"{}"}]`, []string{
			"patches[0].apiVersion: must be a version such as v1 or a group and version such as apps/v1",
			"patches[0].kind: must be a kind such as ConfigMap",
			"patches[0].name: may not contain '/'",
			"patches[0].namespace: a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end " +
				"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
		}},
		"a type that is none":    {`, "patches": [{` + target + `,"patch":"{","patchType":"Merge"}]`, []string{"patches[0].patchType: must be strategic or merge or json"}},
		"a list where an object": {`, "patches": [{` + target + `,"patch":"[]"}]`, []string{"patches[0].patch: a strategic patch must be an object"}},
		"a key twice":            {`, "patches": [{` + target + `,"patch":"a: 1\na: 2"}]`, []string{`patches[0].patch: is neither JSON nor YAML: line 2: key "a" already set in map`}},
		"braces without templates": {`, "patches": [{` + target + `,"patch":"a: {{fromClusterLabel \"x\"}}"}]`, []string{
			"patches[0].patch: is neither JSON nor YAML: a key is no text (a template needs enablePatchTemplates)",
		}},
		"templates": {`, "enablePatchTemplates": true, "patches": [{"apiVersion":"v1","kind":"ConfigMap","name":"a-{{clusterName}}",
			"namespace":"{{clusterNamespace}}","patch":"a: {{fromClusterLabel \"x\"}}"}]`, nil},
		"templates that are none": {`, "enablePatchTemplates": true, "patches": [{"apiVersion":"v1","kind":"ConfigMap","name":"a-{{x}}",
			"patch":"a: 1\nb: {{if}}"}, {` + target + `,"patch":"[]"}]`, []string{
			`patches[0].name: is not a valid template: line 1: function "x" not defined`,
			"patches[0].patch: is not a valid template: line 2: missing value for if",
			"patches[1].patch: a strategic patch must be an object",
		}},
	}, "")
}

func TestSecretMappingsAreChecked(t *testing.T) {
	t.Parallel()
	expectFaults(t, map[string]faultCase{
		"good ones": {`, "secretMappings": [{"sourceRef":{"name":"a"},"targetRef":{"name":"a","namespace":"x"}},
			{"sourceRef":{"name":"a","namespace":"foo"},"targetRef":{"name":"b","namespace":"x"}}]`, nil},
		"an empty one": {`, "secretMappings": [{}]`, []string{
			"secretMappings[0].sourceRef.name: is required", "secretMappings[0].targetRef.name: is required",
			"secretMappings[0].targetRef.namespace: is required",
		}},
		"a secret of another namespace": {`, "secretMappings": [{"sourceRef":{"name":"a","namespace":"bar"},"targetRef":{"name":"a","namespace":"x"}}]`, []string{
			"secretMappings[0].sourceRef.namespace: must be foo, the namespace of the set, or absent",
		}},
		"a template for the namespace": {`, "enableResourceTemplates": true, "secretMappings": [{"sourceRef":{"name":"a","namespace":"{{\"bar\"}}"},
			"targetRef":{"name":"a","namespace":"x"}}]`, []string{
			"secretMappings[0].sourceRef.namespace: must be foo, the namespace of the set, or absent",
		}},
		"templates": {`, "enableResourceTemplates": true, "secretMappings": [{"sourceRef":{"name":"a-{{clusterName}}"},
			"targetRef":{"name":"{{fromCDLabel \"x\"}}","namespace":"{{bad}}"}}]`, []string{
			`secretMappings[0].targetRef.namespace: is not a valid template: line 1: function "bad" not defined`,
		}},
		"one target twice": {`, "secretMappings": [{"sourceRef":{"name":"a"},"targetRef":{"name":"a","namespace":"x"}},
			{"sourceRef":{"name":"b"},"targetRef":{"name":"a","namespace":"x"}}]`, []string{
			"secretMappings[1].targetRef: is the same object as secretMappings[0]",
		}},
		"a target among the resources": {`, "resources": [{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":"x"}}],
			"secretMappings": [{"sourceRef":{"name":"a"},"targetRef":{"name":"a","namespace":"x"}}]`, []string{
			"secretMappings[0].targetRef: is the same object as resources[0]",
		}},
	}, "")
}

func TestASelectorSyncSetNamesTheNamespaceOfASecret(t *testing.T) {
	t.Parallel()
	selecting := syncset.New[v1.SelectorSyncSet](syncset.SelectorSyncSets(), nil, syncset.Rules{}, func() {})
	var s v1.SelectorSyncSet
	text := `{"name":"a","clusterSelector":{},"secretMappings":[{"sourceRef":{"name":"a"},"targetRef":{"name":"a","namespace":"x"}},
		{"sourceRef":{"name":"a","namespace":"b"},"targetRef":{"name":"b","namespace":"x"}}]}`
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"secretMappings[0].sourceRef.namespace: is required"}, lines(selecting.Validate(&s))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheDefaultsOfPatchesAndSecretMappingsAreFilledIn(t *testing.T) {
	t.Parallel()
	s := v1.SyncSet{Metadata: v1.Metadata{Name: "a", Namespace: "foo"}}
	s.Patches = []v1.Patch{{APIVersion: "v1", Kind: "ConfigMap", Name: "a", Patch: "{}"}}
	s.SecretMappings = []v1.SecretMapping{{
		SourceRef: v1.NamespacedName{Name: "a"}, TargetRef: v1.NamespacedName{Name: "a", Namespace: "b"},
	}}
	if faults := validator(syncset.Rules{}).Validate(&s); faults != nil {
		t.Fatal(faults)
	}
	if s.Patches[0].PatchType != "strategic" || s.SecretMappings[0].SourceRef.Namespace != "foo" {
		t.Errorf("got %+v, %+v", s.Patches, s.SecretMappings)
	}
}

func TestResourceTemplatesAreChecked(t *testing.T) {
	t.Parallel()
	const on = `, "enableResourceTemplates": true, "resources": [`
	expectFaults(t, map[string]faultCase{
		"templates everywhere": {on + `{"apiVersion":"{{\"v1\"}}","kind":"{{\"A\"}}","metadata":{"name":"{{clusterName}}","namespace":"{{clusterNamespace}}",
			"labels":{"x":"{{fromClusterLabel \"a b\"}}"}},"spec":[{"a":"{{1}}"}]}`, nil},
		"off, they are text": {`, "resources": [{"apiVersion":"v1","kind":"A","metadata":{"name":"a"},"data":{"a":"{{x}}"}}`, nil},
		"off, they are no name": {`, "resources": [{"apiVersion":"v1","kind":"A","metadata":{"name":"a","namespace":"{{x}}"}}`, []string{
			"resources[0].metadata.namespace: a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end " +
				"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
		}},
		"faults by their paths": {on + `{"apiVersion":"v1","kind":"A","metadata":{"name":"{{x}}","annotations":{"a/b":"{{"}},"spec":{"b":[1,{"c.d":"\n{{now}}"}]}}`, []string{
			`resources[0].metadata.annotations[a/b]: is not a valid template: line 1: unclosed action`,
			`resources[0].metadata.name: is not a valid template: line 1: function "x" not defined`,
			`resources[0].spec.b[1][c.d]: is not a valid template: line 2: function "now" not defined`,
		}},
		"names that a cluster tells may differ": {on + `{"apiVersion":"v1","kind":"A","metadata":{"name":"a{{1}}"}},{"apiVersion":"v1","kind":"A","metadata":{"name":"a{{1}}"}}`, nil},
		"values for what may be a Secret": {on + `{"apiVersion":"v1","kind":"{{\"Secret\"}}","metadata":{"name":"a"},"data":{"a":"Yg=="}}`, []string{
			"resources[0].data: holds values that whoever reads the set would see: use secretMappings instead, or allow it for all sets with " +
				"ALLOW_INLINE_SECRETS=true",
		}},
	}, "]")
}

func TestGenerateNameNeedsCreateOnly(t *testing.T) {
	t.Parallel()
	const once = `, "applyBehavior": "CreateOnly", "resources": [`
	const path = "resources[0].metadata.generateName: "
	expectFaults(t, map[string]faultCase{
		"a good one":      {once + `{"apiVersion":"v1","kind":"A","metadata":{"generateName":"a-"}},{"apiVersion":"v1","kind":"A","metadata":{"generateName":"a-"}}`, nil},
		"beside a name":   {once + `{"apiVersion":"v1","kind":"A","metadata":{"generateName":"a-","name":"a"}}`, []string{path + "may not stand beside name: leave one of them out"}},
		"no text":         {once + `{"apiVersion":"v1","kind":"A","metadata":{"generateName":1}}`, []string{path + "must be a string"}},
		"with a slash":    {once + `{"apiVersion":"v1","kind":"A","metadata":{"generateName":"a/"}}`, []string{path + "may not contain '/'"}},
		"too long":        {once + `{"apiVersion":"v1","kind":"A","metadata":{"generateName":"` + strings.Repeat("a", 244) + `"}}`, []string{path + "must be no more than 243 characters"}},
		"CreateOrUpdate":  {strings.Replace(once, "CreateOnly", "CreateOrUpdate", 1) + `{"apiVersion":"v1","kind":"A","metadata":{"generateName":"a-"}}`, []string{path + "is supported with applyBehavior CreateOnly only: give the object a name, or choose that"}},
		"neither of them": {once + `{"apiVersion":"v1","kind":"A","metadata":{}}`, []string{"resources[0].metadata.name: is required"}},
	}, "]")
}
