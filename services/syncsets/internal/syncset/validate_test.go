package syncset_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/services/syncsets/internal/syncset"
)

// validator is a service that never reaches a store.
func validator(rules syncset.Rules) *syncset.Service[v1.SyncSet, *v1.SyncSet] {
	return syncset.New[v1.SyncSet](syncset.SyncSets(), nil, rules, func() {})
}

// faultsOf validates a syncset with more members and returns its faults as "path: message".
func faultsOf(t *testing.T, rules syncset.Rules, members string) []string {
	t.Helper()
	var s v1.SyncSet
	text := `{"namespace": "foo", "name": "a"` + members + `}`
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return lines(validator(rules).Validate(&s))
}

func lines(faults []errs.Field) []string {
	var list []string
	for _, f := range faults {
		list = append(list, f.Path+": "+f.Message)
	}
	return list
}

func TestResourcesAreCheckedOneByOne(t *testing.T) {
	t.Parallel()
	const served = "is set by the target's API server: leave it out"
	for name, tc := range map[string]struct {
		resource string
		want     []string // path below resources[0], and the message
	}{
		"a good one":           {`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a","namespace":"b","labels":{"x":"y"}}}`, nil},
		"names with colons":    {`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"system:a"}}`, nil},
		"null":                 {`null`, []string{": must be an object"}},
		"a text":               {`"a"`, []string{": must be an object"}},
		"empty":                {`{}`, []string{".apiVersion: is required", ".kind: is required", ".metadata.name: is required"}},
		"wrong types":          {`{"apiVersion":1,"kind":[],"metadata":"x"}`, []string{".apiVersion: must be a string", ".kind: must be a string", ".metadata: must be an object"}},
		"no version":           {`{"apiVersion":"apps/","kind":"A","metadata":{"name":"a"}}`, []string{".apiVersion: must be a version such as v1 or a group and version such as apps/v1"}},
		"no kind of name":      {`{"apiVersion":"v1","kind":"config map","metadata":{"name":"a"}}`, []string{".kind: must be a kind such as ConfigMap"}},
		"a list":               {`{"apiVersion":"v1","kind":"List","metadata":{"name":"a"},"items":[]}`, []string{".kind: lists are not supported: put the items into resources one by one"}},
		"a list of a kind":     {`{"apiVersion":"v1","kind":"SecretList","metadata":{"name":"a"},"items":[]}`, []string{".kind: lists are not supported: put the items into resources one by one"}},
		"a name with a slash":  {`{"apiVersion":"v1","kind":"A","metadata":{"name":"a/b"}}`, []string{".metadata.name: may not contain '/'"}},
		"generateName":         {`{"apiVersion":"v1","kind":"A","metadata":{"generateName":"a-"}}`, []string{".metadata.generateName: is supported with applyBehavior CreateOnly only: give the object a name, or choose that"}},
		"a bad namespace":      {`{"apiVersion":"v1","kind":"A","metadata":{"name":"a","namespace":1}}`, []string{".metadata.namespace: must be a string"}},
		"resourceVersion":      {`{"apiVersion":"v1","kind":"A","metadata":{"name":"a","resourceVersion":"1"}}`, []string{".metadata.resourceVersion: " + served}},
		"uid":                  {`{"apiVersion":"v1","kind":"A","metadata":{"name":"a","uid":"1"}}`, []string{".metadata.uid: " + served}},
		"managedFields":        {`{"apiVersion":"v1","kind":"A","metadata":{"name":"a","managedFields":[{}]}}`, []string{".metadata.managedFields: " + served}},
		"empty server fields":  {`{"apiVersion":"v1","kind":"A","metadata":{"name":"a","creationTimestamp":null,"uid":"","managedFields":[]}}`, nil},
		"our label":            {`{"apiVersion":"v1","kind":"A","metadata":{"name":"a","labels":{"syncsets.dev/managed":"true"}}}`, []string{".metadata.labels[syncsets.dev/managed]: keys under syncsets.dev/ are set by the system"}},
		"our annotation":       {`{"apiVersion":"v1","kind":"A","metadata":{"name":"a","annotations":{"syncsets.dev/owner":"x"}}}`, []string{".metadata.annotations[syncsets.dev/owner]: keys under syncsets.dev/ are set by the system"}},
		"a label of a number":  {`{"apiVersion":"v1","kind":"A","metadata":{"name":"a","labels":{"x":1}}}`, []string{".metadata.labels[x]: must be a string"}},
		"labels of a list":     {`{"apiVersion":"v1","kind":"A","metadata":{"name":"a","labels":[]}}`, []string{".metadata.labels: must be an object of strings"}},
		"a Secret of no value": {`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"data":{}}`, nil},
		"a Secret elsewhere":   {`{"apiVersion":"vault.example.com/v1","kind":"Secret","metadata":{"name":"a"},"data":{"a":"b"}}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want []string
			for _, line := range tc.want {
				want = append(want, "resources[0]"+line)
			}
			if diff := cmp.Diff(want, faultsOf(t, syncset.Rules{}, `, "resources": [`+tc.resource+`]`)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSecretValuesAreRefusedUnlessAllowed(t *testing.T) {
	t.Parallel()
	const secret = `, "resources": [{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a",
		"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}},"data":{"a":"Yg=="},"stringData":{"c":"d"}}]`
	got := faultsOf(t, syncset.Rules{}, secret)
	if len(got) != 3 || !strings.HasPrefix(got[0], "resources[0].metadata.annotations[kubectl") ||
		!strings.HasPrefix(got[1], "resources[0].data: ") || !strings.HasPrefix(got[2], "resources[0].stringData: ") ||
		!strings.Contains(got[1], "secretMappings") {
		t.Errorf("got %q", got)
	}
	if got := faultsOf(t, syncset.Rules{AllowInlineSecrets: true}, secret); got != nil {
		t.Errorf("allowed: %q", got)
	}
}

func TestOneObjectMayBeThereOnce(t *testing.T) {
	t.Parallel()
	got := faultsOf(t, syncset.Rules{}, `, "resources": [
		{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a","namespace":"b"}},
		{"apiVersion":"v1","kind":"Deployment","metadata":{"name":"a","namespace":"b"}},
		{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"}},
		{"apiVersion":"apps/v1beta1","kind":"Deployment","metadata":{"name":"a","namespace":"b"}}]`)
	if diff := cmp.Diff([]string{"resources[3]: is the same object as resources[0]"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatComesLaterIsRefused(t *testing.T) {
	t.Parallel()
	got := faultsOf(t, syncset.Rules{}, `, "fanOutBrake": false`)
	if diff := cmp.Diff([]string{"fanOutBrake: is not supported yet"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnUnknownChoiceIsToldWhatWouldBeRight(t *testing.T) {
	t.Parallel()
	got := faultsOf(t, syncset.Rules{}, `, "resourceApplyMode": "sync", "applyBehavior": "apply", "missingLabel": "x", "deletionPolicy": "orphan",
		"immutableFields": "x"`)
	want := []string{
		"resourceApplyMode: must be Upsert or Sync",
		"applyBehavior: must be Apply or CreateOnly or CreateOrUpdate",
		"missingLabel: must be Error or Empty",
		"deletionPolicy: must be Delete or Orphan",
		"immutableFields: must be Fail or Recreate",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheOtherValuesOfSupportedFieldsAreValid(t *testing.T) {
	t.Parallel()
	if got := faultsOf(t, syncset.Rules{}, `, "resourceApplyMode": "Sync", "deletionPolicy": "Orphan", "adopt": true, "deletionHold": false,
		"deleteProtectedKinds": true, "suspended": true, "applyBehavior": "CreateOrUpdate", "missingLabel": "Empty", "immutableFields": "Recreate", "clusterRefs": [{"name": "b"}]`); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	t.Parallel()
	var s v1.SyncSet
	s.Name, s.Namespace = "a", "foo"
	if faults := validator(syncset.Rules{}).Validate(&s); faults != nil {
		t.Fatal(faults)
	}
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"name":"a","namespace":"foo","clusterRefs":[],"resources":[],"resourceApplyMode":"Upsert","applyBehavior":"Apply",` +
		`"enableResourceTemplates":false,"enablePatchTemplates":false,"missingLabel":"Error","deletionPolicy":"Delete","adopt":false,` +
		`"deletionHold":true,"fanOutBrake":true,"deleteProtectedKinds":false,"immutableFields":"Fail","suspended":false}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTargetsAreChecked(t *testing.T) {
	t.Parallel()
	got := faultsOf(t, syncset.Rules{}, `, "clusterRefs": [{"name": "b"}, {"name": ""}, {"name": "b"}]`)
	want := []string{"clusterRefs[1].name: is required", "clusterRefs[2].name: names the same cluster as clusterRefs[0]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("syncset (-want +got):\n%s", diff)
	}
	selecting := syncset.New[v1.SelectorSyncSet](syncset.SelectorSyncSets(), nil, syncset.Rules{}, func() {})
	for text, want := range map[string][]string{
		`{"name":"a"}`:                        {"clusterSelector: is required; {} matches every cluster"},
		`{"name":"a","clusterSelector":null}`: {"clusterSelector: is required; {} matches every cluster"},
		`{"name":"a","clusterSelector":{}}`:   nil,
		`{"name":"a","namespace":"b","clusterSelector":{"matchExpressions":[{"key":"a","operator":"Gt","values":["1"]}]}}`: {
			"namespace: must be absent: a SelectorSyncSet has no namespace",
			"clusterSelector.matchExpressions[0].operator: must be In, NotIn, Exists or DoesNotExist",
		},
	} {
		var s v1.SelectorSyncSet
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, lines(selecting.Validate(&s))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
