package source_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncsets/syncsets/cli/internal/source"
	"github.com/syncsets/syncsets/libs/manifest"
)

func TestFilesFoldersAndStandardInputAreRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"b.yaml": "kind: B\n---\nkind: C\n", "a.json": `{"kind":"A"}`, "notes.txt": "x: [", "empty.yaml": "# nothing\n", "x.yml": "kind: D\n---\nx: ["} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "deeper.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	documents, faults, err := source.Read([]string{dir, source.Standard}, strings.NewReader("kind: E\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range documents {
		got = append(got, strings.TrimPrefix(d.Path, dir+"/")+" "+d.Kind)
	}
	for _, f := range faults {
		got = append(got, strings.TrimPrefix(f.Path, dir+"/")+": "+f.Message)
	}
	want := []string{
		"a.json documents[0] A", "b.yaml documents[0] B", "b.yaml documents[1] C", "x.yml documents[0] D", "- documents[0] E",
		"x.yml documents[1]: is not valid YAML at line 3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, path := range []string{t.TempDir(), filepath.Join(dir, "none.yaml"), filepath.Join(dir, "empty.yaml")} {
		if _, _, err := source.Read([]string{path}, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestOurDocumentsMayBeNested(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ kind, text, want, fault string }{
		"flat": {
			"SyncSet", `{"kind":"SyncSet","namespace":"foo","name":"a","suspended":true}`,
			`syncset/foo/a /v1/syncsets/foo/a {"kind":"SyncSet","name":"a","namespace":"foo","suspended":true}`, "",
		},
		"nested": {
			"SelectorSyncSet", `{"kind":"SelectorSyncSet","metadata":{"name":"a","labels":{"x":"y"}},"spec":{"clusterSelector":{}},"status":{"a":1}}`,
			`selectorsyncset/a /v1/selectorsyncsets/a {"clusterSelector":{},"kind":"SelectorSyncSet","labels":{"x":"y"},"name":"a"}`, "",
		},
		"there twice":      {"Cluster", `{"name":"a","metadata":{"name":"b","namespace":"foo"}}`, "", "d.metadata.name: is there twice"},
		"without a name":   {"SelectorSyncSet", `{"spec":{}}`, "", "d.name: is required: a text that is the document's name"},
		"without a place":  {"Secret", `{"name":"a"}`, "", "d.namespace: is required: a text that is the document's namespace"},
		"metadata a text":  {"SelectorSyncSet", `{"name":"a","metadata":"x"}`, "", "d.metadata: must be an object"},
		"an unknown kind":  {"Widget", `{"name":"a"}`, "", "d.kind: must be Cluster, Secret, SyncSet or SelectorSyncSet"},
		"a name of digits": {"SelectorSyncSet", `{"name":1}`, "", "d.name: is required: a text that is the document's name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own, faults := source.ParseOwn(manifest.Document{Path: "d", Kind: tc.kind, JSON: []byte(tc.text)})
			got, fault := "", ""
			for _, f := range faults {
				fault += f.Path + ": " + f.Message
			}
			if fault == "" {
				got = own.Resource.Label(own.Namespace, own.Name) + " " + own.Resource.Path(own.Namespace, own.Name) + " " + string(own.JSON)
			}
			if got != tc.want || fault != tc.fault {
				t.Errorf("got %s\nfault %s", got, fault)
			}
		})
	}
}
