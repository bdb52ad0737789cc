package hive_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/hive"
)

var update = flag.Bool("update", false, "write what the conversion makes of testdata into testdata/converted")

// manifests are the files of testdata with their contents.
func manifests(t *testing.T) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.*")
	if err != nil || len(paths) < 25 {
		t.Fatalf("%d manifests, %v", len(paths), err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(path)] = text
	}
	return all
}

// shown is an item as the files of testdata/converted hold it.
type shown struct {
	Path     string   `json:"path"`
	Document any      `json:"document"`
	Warnings []string `json:"warnings,omitempty"`
}

func document(i hive.Item) any {
	switch {
	case i.SyncSet != nil:
		return i.SyncSet
	case i.SelectorSyncSet != nil:
		return i.SelectorSyncSet
	case i.Secret != nil:
		return i.Secret
	}
	return i.Cluster
}

func TestManifestsBecomeOurDocuments(t *testing.T) {
	t.Parallel()
	for name, text := range manifests(t) {
		items, faults := hive.Decode(text, hive.Options{Clusters: true})
		if len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
			continue
		}
		var list []shown
		for _, i := range items {
			list = append(list, shown{i.Path, document(i), i.Warnings})
		}
		got, err := json.MarshalIndent(list, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata/converted", strings.TrimSuffix(name, filepath.Ext(name))+".json")
		if *update {
			if err := os.WriteFile(path, append(got, '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The way there and back changes nothing: not our documents, and not Hive's but for what Hive does not keep or say.
func TestManifestsSurviveTheWayThereAndBack(t *testing.T) {
	t.Parallel()
	for name, text := range manifests(t) {
		first, _ := hive.Decode(text, hive.Options{Clusters: true})
		first = withoutClusters(first)
		if len(first) == 0 {
			continue
		}
		var back []string
		for _, i := range first {
			back = append(back, string(exported(t, i)))
		}
		second, faults := hive.Decode([]byte(strings.Join(back, "\n")), hive.Options{})
		if len(faults) > 0 || len(second) != len(first) {
			t.Errorf("%s: %d items, then %d, %v", name, len(first), len(second), faults)
			continue
		}
		for n := range first {
			if diff := cmp.Diff(plain(t, document(first[n])), plain(t, document(second[n]))); diff != "" {
				t.Errorf("%s %s (-first +second):\n%s", name, &first[n], diff)
			}
		}
	}
}

func withoutClusters(items []hive.Item) (rest []hive.Item) {
	for _, i := range items {
		if i.Cluster == nil {
			rest = append(rest, i)
		}
	}
	return rest
}

func exported(t *testing.T, i hive.Item) []byte {
	t.Helper()
	text, _ := export(i)
	return text
}

func export(i hive.Item) ([]byte, []string) {
	switch {
	case i.SyncSet != nil:
		return hive.FromSyncSet(*i.SyncSet)
	case i.SelectorSyncSet != nil:
		return hive.FromSelectorSyncSet(*i.SelectorSyncSet)
	}
	return hive.FromSecret(*i.Secret)
}

// plain is a value as decoded JSON without what is empty.
func plain(t *testing.T, value any) any {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	var decoded any
	if err := decoder.Decode(&decoded); err != nil {
		t.Fatal(err)
	}
	return pruned(decoded)
}

func pruned(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			if member = pruned(member); member == nil || reflect.ValueOf(member).Kind() == reflect.Map && len(member.(map[string]any)) == 0 {
				delete(v, key)
				continue
			}
			v[key] = member
		}
	case []any:
		for n := range v {
			v[n] = pruned(v[n])
		}
		if len(v) == 0 {
			return nil
		}
	case string:
		if v == "" {
			return nil
		}
	}
	return value
}

// Hive's documents that need no note come back as they were, word for word.
func TestWhatNeedsNoNoteComesBackAsItWas(t *testing.T) {
	t.Parallel()
	same := 0
	for name, text := range manifests(t) {
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		items, _ := hive.Decode(text, hive.Options{})
		var stream []any
		decoder := json.NewDecoder(strings.NewReader(string(text)))
		decoder.UseNumber()
		for decoder.More() {
			var value map[string]any
			if err := decoder.Decode(&value); err != nil {
				t.Fatal(err)
			}
			stream = append(stream, pruned(value))
		}
		if len(stream) != len(items) {
			continue // a list
		}
		for n := range items {
			same++
			if diff := cmp.Diff(stream[n], plain(t, json.RawMessage(exported(t, items[n])))); diff != "" {
				t.Errorf("%s document %d (-was +is):\n%s", name, n, diff)
			}
		}
	}
	if same < 3 {
		t.Errorf("only %d documents were compared", same)
	}
}

// set is a SelectorSyncSet with more members in its spec.
func set(members string) string {
	return "apiVersion: hive.openshift.io/v1\nkind: SelectorSyncSet\nmetadata: {name: a}\nspec: {clusterDeploymentSelector: {}, " + members + "}\n"
}

func TestEveryFaultIsNamedByItsPlaceInTheInput(t *testing.T) {
	t.Parallel()
	const deployment = "apiVersion: hive.openshift.io/v1\nkind: ClusterDeployment\nmetadata: {name: c, namespace: ns}\n"
	for name, tc := range map[string]struct {
		text    string
		options hive.Options
		want    []string
	}{
		"unknown fields": {
			set("resource: [], patches: [{applyMode: AlwaysApply}]") + "---\n" + set("secretMappings: [{sourceref: {}}]"),
			hive.Options{},
			[]string{
				"documents[0].spec.patches[0].applyMode: is not a known field", "documents[0].spec.resource: is not a known field",
				"documents[1].spec.secretMappings[0].sourceref: is not a known field",
				"documents[1]: is another SelectorSyncSet a than documents[0]: leave one out",
			},
		},
		"wrong types": {
			set("resources: {}, enablePatchTemplates: 'yes'"),
			hive.Options{},
			[]string{"documents[0].spec.enablePatchTemplates: must be a boolean, is a string", "documents[0].spec.resources: must be an array, is an object"},
		},
		"in a list": {
			"kind: List\napiVersion: v1\nitems:\n- {apiVersion: hive.openshift.io/v1, kind: SyncSet, metadata: {nam: a}, spec: {}}\n",
			hive.Options{},
			[]string{"documents[0].items[0].metadata.nam: is not a known field"},
		},
		"other kinds": {
			"apiVersion: hive.openshift.io/v1\nkind: MachinePool\n---\napiVersion: v1\nkind: ConfigMap\n---\nkind: SyncSet\n---\n" +
				"apiVersion: hive.openshift.io/v1alpha1\nkind: SyncSet\n",
			hive.Options{},
			[]string{
				"documents[0].kind: MachinePool of hive.openshift.io/v1 is not taken: SyncSet, SelectorSyncSet, ClusterDeployment and v1 Secret are",
				"documents[1].kind: ConfigMap of v1 is not taken: SyncSet, SelectorSyncSet, ClusterDeployment and v1 Secret are",
				"documents[2]: must say apiVersion and kind",
				"documents[3].apiVersion: must be hive.openshift.io/v1: export the document again from a Hive of today",
			},
		},
		"a cluster where none is taken": {
			deployment,
			hive.Options{},
			[]string{"documents[0]: is a ClusterDeployment, which `syncsetctl import` takes together with the Secret that holds its kubeconfig: " +
				"use it, or leave the document out and register the cluster"},
		},
		"a cluster that is not installed": {
			deployment + "spec: {installed: false}\n",
			hive.Options{Clusters: true},
			[]string{"documents[0].spec.clusterMetadata.adminKubeconfigSecretRef.name: is required: a cluster that is not installed has no kubeconfig"},
		},
		"a cluster without its Secret": {
			deployment + "spec: {clusterMetadata: {adminKubeconfigSecretRef: {name: k}}}\n",
			hive.Options{Clusters: true},
			[]string{"documents[0].spec.clusterMetadata.adminKubeconfigSecretRef.name: names the Secret ns/k, which is not among the documents: add it"},
		},
		"a cluster with an empty Secret": {
			deployment + "spec: {clusterMetadata: {adminKubeconfigSecretRef: {name: k}}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: k, namespace: ns}\n",
			hive.Options{Clusters: true},
			[]string{"documents[0].spec.clusterMetadata.adminKubeconfigSecretRef.name: names the Secret ns/k, which has no kubeconfig or raw-kubeconfig"},
		},
		"a template in a Secret": {
			set(`enableResourceTemplates: true, resources: [{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: ns, labels: {l: "{{ x }}"}},` +
				` stringData: {a: b, c: '{{ fromCDLabel "c" }}'}}]`),
			hive.Options{},
			[]string{
				"documents[0].spec.resources[0].stringData[c]: holds a template, and secrets are copied as they are: write the value itself",
				"documents[0].spec.resources[0].metadata.labels[l]: holds a template, and secrets are copied as they are: write the value itself",
			},
		},
		"an unknown field of a Secret": {
			set("resources: [{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: Yg==}, date: {}}]"),
			hive.Options{},
			[]string{"documents[0].spec.resources[0].date: is not a known field"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, faults := hive.Decode([]byte(tc.text), tc.options)
			if diff := cmp.Diff(tc.want, lines(faults)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func lines(faults []errs.Field) (list []string) {
	for _, f := range faults {
		list = append(list, f.Path+": "+f.Message)
	}
	return list
}

func TestPathsLeadBackIntoTheInput(t *testing.T) {
	t.Parallel()
	items, faults := hive.Decode([]byte(set(`resources: [
		{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: ns}, data: {a: Yg==}}, {apiVersion: v1, kind: A, metadata: {name: a}}],
		secretMappings: [{sourceRef: {name: x, namespace: ys}, targetRef: {name: x, namespace: ns}}]`)), hive.Options{})
	if len(faults) > 0 || len(items) != 2 {
		t.Fatal(items, faults)
	}
	for path, want := range map[string]string{
		"name":                                  "documents[0].metadata.name",
		"labels[a.b/c]":                         "documents[0].metadata.labels[a.b/c]",
		"clusterSelector.matchExpressions[0]":   "documents[0].spec.clusterDeploymentSelector.matchExpressions[0]",
		"resources[0].metadata.name":            "documents[0].spec.resources[1].metadata.name",
		"secretMappings[0].sourceRef.name":      "documents[0].spec.secretMappings[0].sourceRef.name",
		"secretMappings[1].targetRef.namespace": "documents[0].spec.resources[0].metadata.namespace",
		"secretMappings[1].sourceRef.name":      "documents[0].spec.resources[0]",
		"applyBehavior":                         "documents[0].spec.applyBehavior",
		"":                                      "documents[0]",
	} {
		if got := items[1].Locate(path); got != want {
			t.Errorf("%q is at %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]string{"name": "documents[0].spec.resources[0]", "data[a]": "documents[0].spec.resources[0].data[a]"} {
		if got := items[0].Locate(path); got != want {
			t.Errorf("%q of the secret is at %q, want %q", path, got, want)
		}
	}
}

func TestSecretsMadeOfResourcesHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	const kinds = "apiVersion: hive.openshift.io/v1\nkind: %s\nmetadata: {name: %s%s}\nspec: {resources: " +
		"[{apiVersion: v1, kind: Secret, metadata: {name: %s, namespace: %s}, data: {a: Yg==}}]}\n---\n"
	text := fmt.Sprintf(kinds, "SelectorSyncSet", "a", "", "s", "ns") + fmt.Sprintf(kinds, "SelectorSyncSet", "a-s", "", "s", "ns") +
		fmt.Sprintf(kinds, "SelectorSyncSet", "b", "", "s", "ns") + fmt.Sprintf(kinds, "SyncSet", "a", ", namespace: selectorsyncsets", "s", "ns") +
		fmt.Sprintf(kinds, "SelectorSyncSet", strings.Repeat("x", 253), "", strings.Repeat("y", 253), "ns")
	seen := map[string]bool{}
	for range 2 {
		items, faults := hive.Decode([]byte(text), hive.Options{})
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		for _, i := range items {
			if i.Secret != nil {
				seen[i.Secret.Key()] = true
				if len(i.Secret.Name) > 253 {
					t.Errorf("%d characters", len(i.Secret.Name))
				}
			}
		}
	}
	if len(seen) != 5 {
		t.Errorf("five secrets have the names %v", seen)
	}
}

func TestSuspendedMeansAllSets(t *testing.T) {
	t.Parallel()
	items, _ := hive.Decode([]byte(set("resources: []")), hive.Options{Suspended: true})
	if spec, ok := items[0].Spec(); !ok || !spec.Suspended {
		t.Errorf("%+v", spec)
	}
}

func TestWhatHiveCannotExpressIsSaid(t *testing.T) {
	t.Parallel()
	yes := v1.SetSpec{
		ResourceApplyMode: v1.Sync, DeletionPolicy: v1.DeletionPolicyOrphan, ImmutableFields: v1.ImmutableFail, MissingLabel: v1.MissingLabelError,
		Suspended: true, EnableResourceTemplates: true, EnablePatchTemplates: true,
		Resources:      []json.RawMessage{json.RawMessage(`{"a":"{{ fromClusterLabel \"upper\" | upper }} {{ clusterName }} {{ $x.lower }}"}`)},
		Patches:        []v1.Patch{{Patch: `{"a": "{{ if fromClusterLabel "b" }}{{ trim .c }}{{ end }}"}`}},
		SecretMappings: []v1.SecretMapping{{SourceRef: v1.NamespacedName{Name: "{{ clusterName }}", Namespace: hive.SelectorNamespace}}},
	}
	text, warnings := hive.FromSelectorSyncSet(v1.SelectorSyncSet{Metadata: v1.Metadata{Name: "a"}, SetSpec: yes})
	want := []string{
		"suspended: Hive heeds hive.openshift.io/syncset-pause on ClusterDeployments only, and would apply the set",
		"deletionPolicy Orphan: Hive deletes in the mode Sync",
		"adopt false: Hive deletes also what existed before the set",
		"immutableFields Fail: Hive deletes and creates the object again",
		"missingLabel Error: Hive puts an empty text for a label that a cluster lacks",
		"secretMappings: Hive evaluates no templates in them",
		"resources[0]: Hive's templates do not know upper, clusterName",
		"patches[0]: Hive's templates do not know trim",
		"secretMappings[0] copies from the namespace selectorsyncsets, which the hub cluster must have",
	}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !strings.Contains(string(text), `{{ fromCDLabel \"upper\" | upper }}`) || !strings.Contains(string(text), `{{ if fromCDLabel \"b\" }}`) {
		t.Errorf("labels are read by Hive's function: %s", text)
	}
	_, warnings = hive.FromSyncSet(v1.SyncSet{SetSpec: v1.SetSpec{Adopt: true, ImmutableFields: v1.ImmutableRecreate, MissingLabel: v1.MissingLabelEmpty}})
	if len(warnings) > 0 {
		t.Errorf("an imported set has warnings: %v", warnings)
	}
}
