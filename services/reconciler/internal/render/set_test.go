package render_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/inventory"
	"github.com/syncsets/syncsets/services/reconciler/internal/render"
)

func resources(texts ...string) []json.RawMessage {
	var list []json.RawMessage
	for _, text := range texts {
		list = append(list, json.RawMessage(text))
	}
	return list
}

// unmarked is an item's object without our marks.
func unmarked(t *testing.T, i render.Item) string {
	t.Helper()
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(i.Object))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		t.Fatalf("%v: %s", err, i.Fault)
	}
	metadata, _ := object["metadata"].(map[string]any)
	for field, keys := range map[string][]string{
		"labels": {render.LabelManaged}, "annotations": {render.AnnotationOwner, render.AnnotationOwnerUID, render.AnnotationInstallation},
	} {
		entries, _ := metadata[field].(map[string]any)
		for _, key := range keys {
			if entries[key] == nil {
				t.Errorf("%s %s is missing", field, key)
			}
			delete(entries, key)
		}
		if len(entries) == 0 {
			delete(metadata, field)
		}
	}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTemplatesAreRenderedInStringValuesOnly(t *testing.T) {
	t.Parallel()
	spec := v1.SetSpec{EnableResourceTemplates: true, Resources: resources(`{"apiVersion":"v1","kind":"ConfigMap",
		"metadata":{"name":"a-{{clusterName}}","namespace":"{{clusterNamespace}}","labels":{"r":"{{fromClusterLabel \"region\"}}"}},
		"data":{"{{key}}":"{{fromCDLabel \"region\" | upper}}","list":["{{1}}",2.50,null,true]}}`)}
	item := only(spec)
	const want = `{"apiVersion":"v1","data":{"list":["1",2.50,null,true],"{{key}}":"EU"},"kind":"ConfigMap",` +
		`"metadata":{"labels":{"r":"eu"},"name":"a-one","namespace":"foo"}}`
	if diff := cmp.Diff(want, unmarked(t, item)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if want := (inventory.Identity{Kind: "ConfigMap", Namespace: "foo", Name: "a-one"}); item.Identity != want {
		t.Errorf("got %+v", item.Identity)
	}
	spec.EnableResourceTemplates = false
	if item := only(spec); item.Name != "a-{{clusterName}}" || item.Fault != "" {
		t.Errorf("off: got %+v", item)
	}
}

func TestARenderedResourceIsWhatTheSameTextWithoutTemplatesIs(t *testing.T) {
	t.Parallel()
	templated := only(v1.SetSpec{EnableResourceTemplates: true, Resources: resources(
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{clusterName}}","annotations":{"x":"y"}},"data":{"a":"{{1}}"}}`)})
	plain := one(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"one","annotations":{"x":"y"}},"data":{"a":"1"}}`)
	if string(templated.Object) != string(plain.Object) || !bytes.Equal(templated.Hash, plain.Hash) {
		t.Errorf("got %s, want %s", templated.Object, plain.Object)
	}
}

func TestAFailingTemplateLeavesOfTheIdentityWhatCanBeTold(t *testing.T) {
	t.Parallel()
	const missing = `line 1: the cluster has no label "zone"`
	const rest = `"metadata":{"name":"a","namespace":"b"}`
	known := inventory.Identity{Kind: "ConfigMap", Namespace: "b", Name: "a"}
	nameless := inventory.Identity{Kind: "ConfigMap", Namespace: "b"}
	for name, tc := range map[string]struct {
		text, missingLabel, want string
		identity                 inventory.Identity
	}{
		"in a value": {
			`{"apiVersion":"v1","kind":"ConfigMap",` + rest + `,"data":{"x":{"y.z":["{{fromClusterLabel \"zone\"}}"]}}}`, "",
			"failed to render resource 0: data.x[y.z][0]: " + missing, known,
		},
		"in a value, Empty": {`{"apiVersion":"v1","kind":"ConfigMap",` + rest + `,"data":{"x":"{{fromClusterLabel \"zone\"}}"}}`, "Empty", "", known},
		"in the name, Empty": {
			`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a-{{fromClusterLabel \"zone\"}}","namespace":"b"}}`, "Empty",
			"failed to render resource 0: metadata.name: " + missing, nameless,
		},
		"in the namespace, Empty": {
			`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"{{fromClusterLabel \"zone\"}}"}}`, "Empty",
			"failed to render resource 0: metadata.namespace: " + missing,
			inventory.Identity{Kind: "ConfigMap"},
		},
		"in the kind, Empty": {
			`{"apiVersion":"v1","kind":"{{fromClusterLabel \"zone\"}}",` + rest + `}`, "Empty",
			"failed to render resource 0: kind: " + missing,
			inventory.Identity{Namespace: "b"},
		},
		"in the apiVersion, Empty": {
			`{"apiVersion":"{{fromClusterLabel \"zone\"}}","kind":"ConfigMap",` + rest + `}`, "Empty",
			"failed to render resource 0: apiVersion: " + missing, nameless,
		},
		"no template": {
			`{"apiVersion":"v1","kind":"ConfigMap",` + rest + `,"data":{"x":"{{"}}`, "",
			"failed to render resource 0: data.x: line 1: unclosed action", known,
		},
		"an empty name": {
			`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{fromClusterLabel \"none\"}}","namespace":"b"}}`, "",
			"failed to render resource 0: metadata.name is missing", nameless,
		},
		"a name that leads elsewhere": {
			`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{\"../x\"}}"}}`, "",
			"failed to render resource 0: metadata.name and metadata.namespace may not be . or .. and may not contain / or %",
			inventory.Identity{Kind: "ConfigMap", Name: "../x"},
		},
		"a version that leads elsewhere": {
			`{"apiVersion":"{{\"a/b/c\"}}","kind":"ConfigMap",` + rest + `}`, "",
			"failed to render resource 0: apiVersion must be a version such as v1 or a group and version such as apps/v1",
			inventory.Identity{Group: "a", Kind: "ConfigMap", Namespace: "b", Name: "a"},
		},
		"in a Secret, nothing that it works on": {
			`{"apiVersion":"v1","kind":"Secret",` + rest + `,"stringData":{"x":"{{fail \"hunter2\"}}"}}`, "",
			"failed to render resource 0: stringData.x: line 1: the template fails",
			inventory.Identity{Kind: "Secret", Namespace: "b", Name: "a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			item := only(v1.SetSpec{EnableResourceTemplates: true, MissingLabel: tc.missingLabel, Resources: resources(tc.text)})
			if item.Fault != tc.want || item.Identity != tc.identity {
				t.Errorf("got %q, %+v; want %q, %+v", item.Fault, item.Identity, tc.want, tc.identity)
			}
			if (item.Object == nil) != (tc.want != "") {
				t.Errorf("object %s", item.Object)
			}
		})
	}
}

func TestAGeneratedNameIsOfTheSetTheClusterAndTheItem(t *testing.T) {
	t.Parallel()
	const text = `{"apiVersion":"batch/v1","kind":"Job","metadata":{"generateName":"a-","namespace":"b"}}`
	spec := v1.SetSpec{ApplyBehavior: v1.CreateOnly, Resources: resources(text, text)}
	names := map[string]bool{}
	for _, m := range []render.Marks{marks, {OwnerUID: "other"}} {
		set := render.Parse(spec, m)
		for _, uid := range []string{"c", "d"} {
			f := render.Facts{UID: uid}
			items, again := set.Render(f, noSecrets, keyed), render.Parse(spec, m).Render(f, noSecrets, keyed)
			for n, i := range items {
				if i.Name != again[n].Name || !i.CreateOnly || !strings.HasPrefix(i.Name, "a-") || len(i.Name) != 12 {
					t.Errorf("got %+v and then %+v", i, again[n])
				}
				if want := `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"` + i.Name + `","namespace":"b"}}`; unmarked(t, i) != want {
					t.Errorf("got %s", unmarked(t, i))
				}
				names[i.Name] = true
			}
		}
	}
	if len(names) != 8 {
		t.Errorf("%d names for 8 objects", len(names))
	}
	spec.ApplyBehavior = v1.Apply
	if i := only(spec); !strings.HasPrefix(i.Fault, "failed to render resource 0: metadata.generateName needs applyBehavior CreateOnly") || i.Name != "" {
		t.Errorf("with Apply: %+v", i)
	}
}

func secretsOf(values map[v1.NamespacedName]render.SecretValue) render.Secrets {
	return func(ref v1.NamespacedName) (render.SecretValue, error) {
		if ref.Name == "late" {
			return render.SecretValue{}, errors.New("its values have not arrived yet")
		}
		if v, known := values[ref]; known {
			return v, nil
		}
		return noSecrets(ref)
	}
}

func TestSecretsAreCopiedWithTypeLabelsAndAnnotations(t *testing.T) {
	t.Parallel()
	stored := secretsOf(map[v1.NamespacedName]render.SecretValue{{Namespace: "foo", Name: "a-one"}: {
		Type: "kubernetes.io/tls", Data: map[string]string{"tls.key": "Yg=="},
		Labels: map[string]string{"x": "y", "syncsets.dev/managed": "no"},
		Annotations: map[string]string{
			"k": "v", "kubectl.kubernetes.io/last-applied-configuration": "{}", "syncsets.dev/owner": "another",
		},
	}})
	item := render.Parse(v1.SetSpec{EnableResourceTemplates: true, SecretMappings: []v1.SecretMapping{{
		SourceRef: v1.NamespacedName{Namespace: "foo", Name: "a-{{clusterName}}"},
		TargetRef: v1.NamespacedName{Namespace: "in-{{fromClusterLabel \"region\"}}", Name: "b"},
	}}}, marks).Render(facts, stored, keyed)[0]
	const want = `{"apiVersion":"v1","data":{"tls.key":"Yg=="},"kind":"Secret",` +
		`"metadata":{"annotations":{"k":"v"},"labels":{"x":"y"},"name":"b","namespace":"in-eu"},"type":"kubernetes.io/tls"}`
	if diff := cmp.Diff(want, unmarked(t, item)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if item.Type != render.Secret || item.Namespace != "in-eu" || item.Kind != "Secret" || item.Version != "v1" {
		t.Errorf("got %+v", item)
	}
	if !bytes.Equal(item.Hash, keyed(item.Object)) {
		t.Errorf("the hash is not keyed: %q", item.Hash)
	}
}

func TestAnInlineSecretHasAKeyedHash(t *testing.T) {
	t.Parallel()
	inline := one(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":"b"},"data":{"a":"Yg=="}}`)
	patched := only(v1.SetSpec{Patches: []v1.Patch{{APIVersion: "v1", Kind: "Secret", Name: "a", Namespace: "b", Patch: `{"data":null}`}}})
	other := one(`{"apiVersion":"example.com/v1","kind":"Secret","metadata":{"name":"a","namespace":"b"}}`)
	if !bytes.HasPrefix(inline.Hash, []byte("keyed ")) || !bytes.HasPrefix(patched.Hash, []byte("keyed ")) || len(other.Hash) != 32 {
		t.Errorf("got %q, %q, %q", inline.Hash, patched.Hash, other.Hash)
	}
}

func TestASecretThatCannotBeCopiedSaysWhy(t *testing.T) {
	t.Parallel()
	there := v1.NamespacedName{Namespace: "x", Name: "t"}
	for name, tc := range map[string]struct {
		source, target v1.NamespacedName
		fault, refused string
		identity       string
	}{
		"unknown":     {v1.NamespacedName{Namespace: "foo", Name: "a"}, there, `failed to read secret 0: secret "foo/a" not found`, "", "t"},
		"not arrived": {v1.NamespacedName{Namespace: "foo", Name: "late"}, there, "", `failed to read secret 0: secret "foo/late": its values have not arrived yet`, "t"},
		"a source by a missing label": {
			v1.NamespacedName{Namespace: "foo", Name: `{{fromCDLabel "zone"}}`},
			there,
			`failed to render secret 0: sourceRef.name: line 1: the cluster has no label "zone"`, "", "t",
		},
		"a target by a missing label": {
			v1.NamespacedName{Namespace: "foo", Name: "a"},
			v1.NamespacedName{Namespace: "x", Name: `t{{fromCDLabel "zone"}}`},
			`failed to render secret 0: targetRef.name: line 1: the cluster has no label "zone"`, "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := v1.SetSpec{EnableResourceTemplates: true, SecretMappings: []v1.SecretMapping{{SourceRef: tc.source, TargetRef: tc.target}}}
			i := render.Parse(spec, marks).Render(facts, secretsOf(nil), keyed)[0]
			if i.Fault != tc.fault || i.Refused != tc.refused || i.Name != tc.identity || i.Object != nil {
				t.Errorf("got %+v", i)
			}
		})
	}
	spec := v1.SetSpec{EnableResourceTemplates: true, MissingLabel: v1.MissingLabelEmpty, SecretMappings: []v1.SecretMapping{{
		SourceRef: v1.NamespacedName{Namespace: "foo", Name: `a{{fromCDLabel "zone"}}`}, TargetRef: v1.NamespacedName{Namespace: "x", Name: `t{{fromCDLabel "zone"}}`},
	}}}
	if i := only(spec); i.Fault != `failed to render secret 0: targetRef.name: line 1: the cluster has no label "zone"` {
		t.Errorf("Empty: got %+v", i)
	}
}

func TestPatches(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		templates bool
		patch     v1.Patch
		want, err string
	}{
		"YAML":            {false, v1.Patch{Patch: "data:\n  a: b"}, `{"data":{"a":"b"}}`, ""},
		"json":            {false, v1.Patch{Patch: `[{"op":"remove","path":"/data"}]`, PatchType: "json"}, `[{"op":"remove","path":"/data"}]`, ""},
		"braces are text": {false, v1.Patch{Patch: `{"data":{"a":"{{x}}"}}`}, `{"data":{"a":"{{x}}"}}`, ""},
		"a template": {
			true, v1.Patch{Name: "a-{{clusterName}}", Patch: "{{if true}}data:\n  a: {{fromClusterLabel \"region\"}}{{end}}"}, `{"data":{"a":"eu"}}`, "",
		},
		"not decoded": {false, v1.Patch{Patch: "[]"}, "", "failed to decode patch 0: a strategic patch must be an object"},
		"not decoded once rendered": {
			true, v1.Patch{Patch: `a: {{"["}}`}, "", "failed to decode patch 0: is neither JSON nor YAML: line 1: did not find expected node content",
		},
		"not rendered": {
			true, v1.Patch{Patch: "a: 1\nb: {{fromCDLabel \"zone\"}}"}, "", `failed to render patch 0: line 2: the cluster has no label "zone"`,
		},
		"a name not rendered": {
			true, v1.Patch{Name: `a{{fromCDLabel "zone"}}`, Patch: "{}"}, "", `failed to render patch 0: name: line 1: the cluster has no label "zone"`,
		},
		"of a Secret, not rendered": {
			true, v1.Patch{Kind: "Secret", Patch: `{{fail "hunter2"}}`}, "", "failed to render patch 0: line 1: the template fails",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tc.patch
			p.APIVersion, p.Namespace = "v1", "b"
			if p.Kind == "" {
				p.Kind = "ConfigMap"
			}
			if p.Name == "" {
				p.Name = "a"
			}
			i := only(v1.SetSpec{EnablePatchTemplates: tc.templates, Patches: []v1.Patch{p}})
			if string(i.Object) != tc.want || i.Fault != tc.err || i.Type != render.Patch {
				t.Errorf("got %s, %q; want %s, %q", i.Object, i.Fault, tc.want, tc.err)
			}
		})
	}
}

func TestThePatchTypeIsPartOfAPatchsHash(t *testing.T) {
	t.Parallel()
	hashes := map[string]string{}
	for _, patchType := range []string{"", "strategic", "merge"} {
		i := only(v1.SetSpec{Patches: []v1.Patch{{APIVersion: "v1", Kind: "ConfigMap", Name: "a", Patch: "{}", PatchType: patchType}}})
		hashes[patchType] = string(i.Hash)
	}
	if hashes[""] != hashes["strategic"] || hashes["strategic"] == hashes["merge"] {
		t.Error("the hashes do not follow the type")
	}
}

// whole is a set with items of every type, some of them the same on every cluster.
var whole = v1.SetSpec{
	EnableResourceTemplates: true, EnablePatchTemplates: true, ApplyBehavior: v1.CreateOnly,
	Resources: resources(
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"same","namespace":"b"},"data":{"a":"{{keys (dict \"b\" 1 \"a\" 2)}}"}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{clusterName}}","namespace":"b","labels":{"a":"b"}},"data":{"a":"{{fromCDLabel \"region\"}}","b":{"c":1}}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"g-","namespace":"b"}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bad","namespace":"b"},"data":{"x":"{{fail \"x\"}}","y":"{{fromCDLabel \"zone\"}}"}}`,
	),
	SecretMappings: []v1.SecretMapping{{SourceRef: v1.NamespacedName{Namespace: "foo", Name: "s"}, TargetRef: v1.NamespacedName{Namespace: "b", Name: "s"}}},
	Patches: []v1.Patch{
		{APIVersion: "v1", Kind: "ConfigMap", Name: "p", Namespace: "b", Patch: `{"a":1}`},
		{APIVersion: "v1", Kind: "ConfigMap", Name: "p", Namespace: "b", Patch: `{"a":"{{clusterName}}"}`},
	},
}

func TestItemsComeInRunOrderEachTypeCounted(t *testing.T) {
	t.Parallel()
	var got []string
	for _, i := range render.Parse(whole, marks).Render(facts, noSecrets, keyed) {
		got = append(got, fmt.Sprintf("%s %d", i.Type, i.Index))
	}
	want := []string{"resource 0", "resource 1", "resource 2", "resource 3", "secret 0", "patch 0", "patch 1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRenderingIsTheSameEveryTimeWhateverElseIsRendered(t *testing.T) {
	t.Parallel()
	secrets := secretsOf(map[v1.NamespacedName]render.SecretValue{{Namespace: "foo", Name: "s"}: {Data: map[string]string{"a": "Yg==", "b": "Yw=="}}})
	cluster := func(n int) render.Facts {
		return render.Facts{Namespace: "foo", Name: fmt.Sprint("c", n), UID: fmt.Sprint("uid", n), Labels: map[string]string{"region": fmt.Sprint("r", n)}}
	}
	shared := render.Parse(whole, marks)
	var wait sync.WaitGroup
	for n := range 50 {
		wait.Go(func() {
			got := shared.Render(cluster(n), secrets, keyed)
			want := render.Parse(whole, marks).Render(cluster(n), secrets, keyed)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("cluster %d (-alone +shared):\n%s", n, diff)
			}
			if !bytes.Contains(got[1].Object, []byte(fmt.Sprintf(`"r%d"`, n))) || !bytes.Contains(got[6].Object, []byte(fmt.Sprintf(`"c%d"`, n))) {
				t.Errorf("cluster %d: %s, %s", n, got[1].Object, got[6].Object)
			}
		})
	}
	wait.Wait()
	a, b := shared.Render(cluster(1), secrets, keyed), shared.Render(cluster(2), secrets, keyed)
	if &a[0].Object[0] != &b[0].Object[0] || &a[5].Object[0] != &b[5].Object[0] {
		t.Error("what is the same on every cluster is not shared")
	}
}

func TestALargerSetTakesMore(t *testing.T) {
	t.Parallel()
	small := render.Parse(whole, marks).Size()
	more := whole
	more.Patches = append(more.Patches, v1.Patch{APIVersion: "v1", Kind: "ConfigMap", Name: "p", Patch: `{"a":"` + strings.Repeat("x", 1<<20) + `"}`})
	if large := render.Parse(more, marks).Size(); small < 1<<10 || large < small+1<<20 {
		t.Errorf("got %d and %d", small, large)
	}
}

func TestTheOutputOfAWholeSetIsBounded(t *testing.T) {
	t.Parallel()
	spec := v1.SetSpec{EnablePatchTemplates: true}
	for range 5 {
		spec.Patches = append(spec.Patches, v1.Patch{
			APIVersion: "v1", Kind: "ConfigMap", Name: "p", Patch: `{"a":"{{clusterName}}{{repeat 900000 "x"}}"}`,
		})
	}
	items := render.Parse(spec, marks).Render(facts, noSecrets, keyed)
	if items[2].Fault != "" || items[3].Fault != "failed to render patch 3: the output of all templates is larger than 3 MiB" {
		t.Errorf("got %q and %q", items[2].Fault, items[3].Fault)
	}
}

func FuzzAnItemIsAFaultOrAnObjectOfItsIdentity(f *testing.F) {
	f.Add(`{"apiVersion":"v1","kind":"A","metadata":{"name":"{{clusterName}}"},"x":["{{1}}"]}`, "a: {{clusterName}}", true)
	f.Add(`{"apiVersion":"a/b","kind":"A","metadata":{"name":"a","labels":null}}`, `[{"op":"test","path":"","value":1}]`, false)
	f.Add(`null`, "", true)
	f.Add(`{"metadata":{"generateName":"x"}}`, "{{", true)
	f.Fuzz(func(t *testing.T, resource, patch string, templates bool) {
		if !json.Valid([]byte(resource)) {
			return
		}
		spec := v1.SetSpec{
			EnableResourceTemplates: templates, EnablePatchTemplates: templates, ApplyBehavior: v1.CreateOnly, Resources: resources(resource),
			Patches: []v1.Patch{{APIVersion: "v1", Kind: "A", Name: "a", Patch: patch}, {APIVersion: "v1", Kind: "A", Name: "a", Patch: patch, PatchType: "json"}},
		}
		for _, i := range render.Parse(spec, marks).Render(facts, noSecrets, keyed) {
			if (i.Object == nil) == (i.Fault == "") || i.Object != nil && (!json.Valid(i.Object) || len(i.Hash) == 0 || i.Name == "" || i.Kind == "") {
				t.Errorf("got %+v", i)
			}
			if len(i.Fault) > 1024 {
				t.Errorf("a message of %d bytes", len(i.Fault))
			}
		}
	})
}
