package transport_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/auth"
)

// imported posts documents to the import with a query and fails the test unless the status is wanted.
func (f *fixture) imported(status int, query, text string, headers ...string) answer {
	f.Helper()
	return f.must(status, "POST", "/v1/import"+query, text, append([]string{"Content-Type", "application/yaml"}, headers...)...)
}

// actions are "kind key action" of an import's answer.
func (f *fixture) actions(a answer) (list []string) {
	f.Helper()
	for _, i := range read[v1.Import](f, a).Items {
		list = append(list, i.Kind+" "+strings.TrimPrefix(i.Namespace+"/"+i.Name, "/")+" "+i.Action)
	}
	return list
}

const hiveSets = `
apiVersion: hive.openshift.io/v1
kind: SelectorSyncSet
metadata: {name: all, labels: {team: a}, resourceVersion: "12", uid: theirs, managedFields: [{manager: kubectl}]}
spec:
  clusterDeploymentSelector: {matchLabels: {tier: live}}
  resourceApplyMode: Sync
  resources:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, data: {x: "1"}}
  - {apiVersion: v1, kind: Secret, metadata: {name: s, namespace: default}, stringData: {password: hunter2}}
status: {}
---
apiVersion: hive.openshift.io/v1
kind: SyncSet
metadata: {name: one, namespace: foo}
spec: {clusterDeploymentRefs: [{name: c}], secretMappings: [{sourceRef: {name: s}, targetRef: {name: s, namespace: default}}]}
---
{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "foo"}, "data": {"a": "Yg=="}}
`

func TestHivesDocumentsAreImportedOnceAndForAll(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	steps := func(action string) []string {
		return []string{
			"Secret selectorsyncsets/all-s-e3482c31cb " + action, "SelectorSyncSet all " + action, "SyncSet foo/one " + action, "Secret foo/s " + action,
		}
	}
	if diff := cmp.Diff(steps("created"), f.actions(f.imported(http.StatusOK, "?dryRun=true", hiveSets))); diff != "" {
		t.Errorf("dry run (-want +got):\n%s", diff)
	}
	f.must(http.StatusNotFound, "GET", "/v1/selectorsyncsets/all", "")
	if got := f.changes(); len(got) != 0 {
		t.Errorf("a dry run left the events %v", got)
	}
	first := f.imported(http.StatusOK, "", hiveSets)
	if diff := cmp.Diff(steps("created"), f.actions(first)); diff != "" {
		t.Errorf("first (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(first.body), "becomes the secret") {
		t.Errorf("no warning of the moved Secret: %s", first.body)
	}
	events := len(f.changes())
	if diff := cmp.Diff(steps("unchanged"), f.actions(f.imported(http.StatusOK, "", hiveSets))); diff != "" {
		t.Errorf("again (-want +got):\n%s", diff)
	}
	if got := len(f.changes()); events != 4 || got != events {
		t.Errorf("%d events, then %d", events, got)
	}
	all := read[v1.SelectorSyncSet](f, f.must(http.StatusOK, "GET", "/v1/selectorsyncsets/all", ""))
	want := v1.SelectorSyncSet{ClusterSelector: &v1.LabelSelector{MatchLabels: map[string]string{"tier": "live"}}}
	if diff := cmp.Diff(want.ClusterSelector, all.ClusterSelector); diff != "" || all.UID == "theirs" || len(all.Resources) != 1 ||
		all.MissingLabel != v1.MissingLabelEmpty || all.ImmutableFields != v1.ImmutableRecreate || !all.Adopt || all.Suspended {
		t.Errorf("the set is %+v %s", all, diff)
	}
}

func TestAnImportReplacesAndSuspends(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.imported(http.StatusOK, "?suspended=true", hiveSets)
	if s := read[v1.SyncSet](f, f.must(http.StatusOK, "GET", "/v1/syncsets/foo/one", "")); !s.Suspended {
		t.Errorf("not suspended: %+v", s)
	}
	changed := strings.ReplaceAll(strings.Replace(hiveSets, "Yg==", "Yw==", 1), "team: a", "team: b")
	want := []string{
		"Secret selectorsyncsets/all-s-e3482c31cb unchanged", "SelectorSyncSet all configured", "SyncSet foo/one unchanged", "Secret foo/s configured",
	}
	if diff := cmp.Diff(want, f.actions(f.imported(http.StatusOK, "?suspended=true", changed))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f.imported(http.StatusOK, "?suspended=false", changed)
	s := read[v1.SyncSet](f, f.must(http.StatusOK, "GET", "/v1/syncsets/foo/one", ""))
	if s.Suspended || s.Generation != 2 {
		t.Errorf("not resumed: %+v", s)
	}
}

func TestTheFaultsOfAllDocumentsAreAnsweredAndNothingIsStored(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.must(http.StatusCreated, "PUT", "/v1/secrets/foo/taken", `{"type":"Opaque","data":{"a":"Yg=="}}`)
	const broken = `
---
apiVersion: hive.openshift.io/v1
kind: SyncSet
metadata: {name: Bad, namespace: foo}
spec:
  clusterDeploymentRefs: [{name: c}, {nam: d}]
  resources:
  - {apiVersion: v1, kind: Secret, metadata: {name: s, namespace: default}, data: {a: "%"}}
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: x/y}}
---
apiVersion: hive.openshift.io/v1
kind: ClusterDeployment
metadata: {name: c, namespace: foo}
---
apiVersion: hive.openshift.io/v1
kind: SelectorSyncSet
metadata: {name: a, namespace: foo}
spec: {clusterDeploymentSelector: {matchExpressions: [{key: a, operator: Near}]}, resourceApplyMode: Snyc}
---
a: [
`
	a := f.imported(http.StatusBadRequest, "", hiveSets+"---\n"+broken)
	var paths []string
	for _, fault := range a.fields() {
		paths = append(paths, fault.Path)
	}
	slices.Sort(paths)
	want := []string{
		"documents[3].metadata.name", "documents[3].spec.clusterDeploymentRefs[1].nam", "documents[3].spec.clusterDeploymentRefs[1].name",
		"documents[3].spec.resources[0].data[a]", "documents[3].spec.resources[1].metadata.name",
		"documents[4]", "documents[5].metadata.namespace", "documents[5].spec.clusterDeploymentSelector.matchExpressions[0].operator",
		"documents[5].spec.resourceApplyMode", "documents[6]",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("%s (-want +got):\n%s", a.body, diff)
	}
	if !strings.Contains(string(a.body), "syncsetctl") {
		t.Errorf("nobody says who takes ClusterDeployments: %s", a.body)
	}
	other := "---\napiVersion: v1\nkind: Secret\nmetadata: {name: taken, namespace: foo}\ntype: example.com/other\ndata: {a: Yg==}\n"
	a = f.imported(http.StatusBadRequest, "", hiveSets+other)
	if got := a.fields(); len(got) != 1 || got[0].Path != "documents[3].type" {
		t.Errorf("a fault found when storing: %s", a.body)
	}
	f.must(http.StatusNotFound, "GET", "/v1/selectorsyncsets/all", "")
	f.must(http.StatusNotFound, "GET", "/v1/secrets/foo/s", "")
	if got := len(f.changes()); got != 1 {
		t.Errorf("%d events, want the first secret's only", got)
	}
	if strings.Contains(f.logged.String(), "hunter2") {
		t.Error("the log shows a secret")
	}
}

func TestAnImportTakesWhatItSaysAndNoMore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.imported(http.StatusBadRequest, "", "")
	f.imported(http.StatusBadRequest, "", "# nothing")
	f.imported(http.StatusBadRequest, "?dryRun=yes", hiveSets)
	f.imported(http.StatusBadRequest, "?force=true", hiveSets)
	f.imported(http.StatusUnsupportedMediaType, "", hiveSets, "Content-Type", "text/plain")
	f.must(http.StatusMethodNotAllowed, "GET", "/v1/import", "")
	f.must(http.StatusOK, "POST", "/v1/import", `{"apiVersion":"hive.openshift.io/v1","kind":"SyncSet","metadata":{"name":"j","namespace":"foo"},"spec":{}}`)
	f.imported(http.StatusRequestEntityTooLarge, "", hiveSets+"#"+strings.Repeat("x", 3<<20))
}

func TestAnImportNeedsTheRightsOfAllItWrites(t *testing.T) {
	t.Parallel()
	sum := func(token string) string {
		hash := sha256.Sum256([]byte(token))
		return hex.EncodeToString(hash[:])
	}
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	rules := `
tokens: [{name: full, sha256: ` + sum("full") + `}, {name: sets, sha256: ` + sum("sets") + `}, {name: foo, sha256: ` + sum("foo") + `},
  {name: one, sha256: ` + sum("one") + `}, {name: reader, sha256: ` + sum("reader") + `}]
rules:
- {subjects: [full], verbs: [write, secrets], resources: ["*"], namespaces: ["*"]}
- {subjects: [sets], verbs: [write], resources: ["*"], namespaces: ["*"]}
- {subjects: [foo], verbs: [write, secrets], resources: ["*"], namespaces: [foo]}
- {subjects: [one], verbs: [write], resources: [syncsets], namespaces: [foo]}
- {subjects: [reader], verbs: [read], resources: ["*"], namespaces: ["*"]}
`
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	access, err := auth.NewTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixtureFor(t, access)
	documents := strings.Split(hiveSets, "---")
	as := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	f.imported(http.StatusUnauthorized, "", hiveSets)
	f.imported(http.StatusForbidden, "?dryRun=true", hiveSets, as("sets")...)
	f.imported(http.StatusForbidden, "", hiveSets, as("foo")...)
	f.imported(http.StatusForbidden, "", documents[2], as("sets")...)
	f.imported(http.StatusForbidden, "", "a: [", as("reader")...)
	f.imported(http.StatusForbidden, "", strings.Replace(documents[1], "namespace: foo", "namespace: bar, colour: red", 1), as("one")...)
	f.imported(http.StatusBadRequest, "", strings.Replace(documents[1], ", namespace: foo", "", 1), as("one")...)
	f.imported(http.StatusOK, "", documents[1], as("one")...)
	f.imported(http.StatusOK, "", documents[1], as("sets")...)
	f.imported(http.StatusOK, "", documents[1]+"---"+documents[2], as("foo")...)
	f.imported(http.StatusOK, "", hiveSets, as("full")...)
}

func TestEveryManifestOfTheProjectIsImported(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	files, err := filepath.Glob("../../../../libs/hive/testdata/*.*")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "kind: ClusterDeployment\n") {
			continue // the command line's
		}
		if a := f.do("POST", "/v1/import", string(text), "Content-Type", "application/yaml"); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", filepath.Base(file), a.status, a.body)
		}
	}
}
