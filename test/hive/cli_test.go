// Package hive_test runs syncsetctl, and the way over from Hive, against the services as processes and a real kube-apiserver.
package hive_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/hive"
	"github.com/syncsets/syncsets/test/stack"
)

func TestMain(m *testing.M) { devstack.Main(m) }

// control is syncsetctl in a folder of its own, against one system.
type control struct {
	*testing.T
	stack       *stack.Stack
	door, dir   string
	environment []string
}

func newControl(t *testing.T) *control {
	t.Helper()
	c := &control{T: t, stack: stack.Start(t, stack.Options{}), dir: t.TempDir()}
	c.door = c.stack.Door()
	c.environment = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "SYNCSETS_SERVER=" + c.door}
	return c
}

// write puts a file into the folder.
func (c *control) write(name, text string) {
	c.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
}

// try runs syncsetctl and returns what it wrote and its exit code.
func (c *control) try(args ...string) (out, errors string, code int) {
	c.Helper()
	cmd := exec.CommandContext(context.Background(), stack.Program(c, "cli/cmd/syncsetctl"), args...)
	cmd.Dir, cmd.Env = c.dir, c.environment
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		c.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// run runs syncsetctl, which must succeed, and returns the lines that it wrote.
func (c *control) run(args ...string) []string {
	c.Helper()
	out, errors, code := c.try(args...)
	if code != 0 {
		c.Fatalf("syncsetctl %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errors)
	}
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
}

const ownDocuments = `
apiVersion: syncsets.dev/v1
kind: Cluster
name: one
namespace: foo
labels: {tier: live}
kubeconfig: foobar
---
apiVersion: syncsets.dev/v1
kind: Secret
metadata: {name: s, namespace: foo}
spec: {stringData: {password: hunter2}}
---
apiVersion: syncsets.dev/v1
kind: SelectorSyncSet
metadata: {name: all, annotations: {a: b}}
spec:
  clusterSelector: {matchLabels: {tier: live}}
  suspended: true
  resources:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, data: {x: "1"}}
`

func TestTheCommandLine(t *testing.T) {
	t.Parallel()
	c := newControl(t)
	t.Run("documents of ours are applied, and exported as they were", c.appliesOwn)
	t.Run("documents of Hive are taken over with their clusters", c.takesHive)
	t.Run("faults are shown one per line with their places", c.showsFaults)
	t.Run("the version is printed", func(t *testing.T) {
		if got := c.run("version"); len(got) != 1 || !strings.HasPrefix(got[0], "syncsetctl ") {
			t.Errorf("%q", got)
		}
	})
}

func (c *control) appliesOwn(t *testing.T) {
	c.write("own.yaml", ownDocuments)
	steps := func(action string) []string {
		return []string{"cluster/foo/one " + action, "secret/foo/s " + action, "selectorsyncset/all " + action}
	}
	out, errors, code := c.try("apply", "-f", "own.yaml")
	if diff := cmp.Diff(strings.Join(steps("created"), "\n")+"\n", out); diff != "" || code != 0 ||
		!strings.Contains(errors, "warning: own.yaml documents[0]: ") {
		t.Errorf("code %d\n%s\n(-want +got):\n%s", code, errors, diff)
	}
	if diff := cmp.Diff(steps("unchanged"), c.run("apply", "-f", c.dir)); diff != "" {
		t.Errorf("again (-want +got):\n%s", diff)
	}
	exported := strings.Join(c.run("export"), "\n") + "\n"
	if strings.Contains(exported, "hunter2") || strings.Contains(exported, "resourceVersion") {
		t.Errorf("exported:\n%s", exported)
	}
	c.write("own.yaml", exported)
	if diff := cmp.Diff(steps("unchanged"), c.run("apply", "-f", "own.yaml")); diff != "" {
		t.Errorf("what was exported (-want +got):\n%s", diff)
	}
	c.write("own.yaml", strings.Replace(exported, `x: "1"`, `x: "2"`, 1))
	want := []string{"cluster/foo/one unchanged", "secret/foo/s unchanged", "selectorsyncset/all configured"}
	if diff := cmp.Diff(want, c.run("apply", "-f", "own.yaml")); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
}

const hiveDocuments = `
apiVersion: hive.openshift.io/v1
kind: ClusterDeployment
metadata: {name: two, namespace: foo, labels: {tier: lab}}
spec: {clusterMetadata: {adminKubeconfigSecretRef: {name: two-admin-kubeconfig}}}
---
apiVersion: v1
kind: Secret
metadata: {name: two-admin-kubeconfig, namespace: foo}
stringData: {kubeconfig: "apiVersion: v1"}
---
apiVersion: hive.openshift.io/v1
kind: SelectorSyncSet
metadata: {name: lab}
spec:
  clusterDeploymentSelector: {matchLabels: {tier: lab}}
  resourceApplyMode: Sync
  enableResourceTemplates: true
  resources:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: lab, namespace: default}, data: {tier: '{{ fromCDLabel "tier" }}'}}
`

func (c *control) takesHive(t *testing.T) {
	c.write("hive.yaml", hiveDocuments)
	want := []string{"selectorsyncset/lab created (dry run)", "cluster/foo/two created (dry run)"}
	if diff := cmp.Diff(want, c.run("import", "-f", "hive.yaml", "--dry-run")); diff != "" {
		t.Errorf("dry run (-want +got):\n%s", diff)
	}
	if _, _, code := c.try("export", "selectorsyncset/lab"); code != 1 {
		t.Error("a dry run stored the set")
	}
	if diff := cmp.Diff([]string{"selectorsyncset/lab created", "cluster/foo/two created"}, c.run("import", "-f", "hive.yaml", "--suspended")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if a := c.stack.Do(http.MethodGet, "/v1/secrets/foo/two-admin-kubeconfig", nil); a.Status != http.StatusNotFound {
		t.Errorf("the kubeconfig has become a secret: %d", a.Status)
	}
	set := stack.JSON[v1.SelectorSyncSet](t, c.stack.Do(http.MethodGet, "/v1/selectorsyncsets/lab", nil, http.StatusOK))
	if !set.Suspended || !set.Adopt {
		t.Errorf("%+v", set)
	}
	if diff := cmp.Diff([]string{"selectorsyncset/lab configured", "cluster/foo/two unchanged"}, c.run("apply", "-f", "hive.yaml")); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
	out, errors, code := c.try("export", "--format", "hive", "selectorsyncset/lab")
	items, faults := hive.Decode([]byte(out), hive.Options{})
	if code != 0 || errors != "" || len(faults) > 0 || len(items) != 1 || items[0].SelectorSyncSet.ResourceApplyMode != v1.Sync {
		t.Errorf("code %d, %v\n%s\n%s", code, faults, out, errors)
	}
	if _, errors, _ := c.try("export", "--format", "hive", "cluster"); !strings.Contains(errors, "warning: cluster/foo/two: ") {
		t.Errorf("no warning of the clusters: %s", errors)
	}
}

func (c *control) showsFaults(t *testing.T) {
	c.write("bad.yaml", "apiVersion: hive.openshift.io/v1\nkind: SyncSet\nmetadata: {name: bad, namespace: foo}\nspec: {resource: []}\n---\n"+
		"apiVersion: syncsets.dev/v1\nkind: SyncSet\nname: bad\n---\nkind: Other\napiVersion: v1\n---\na: [\n")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"apply", "-f", "bad.yaml"}, "error: the documents are not valid; nothing has been sent\n" +
			"  bad.yaml documents[3]: is not valid YAML at line 13\n" +
			"  bad.yaml documents[1].namespace: is required: a text that is the document's namespace\n" +
			"  bad.yaml documents[2]: \"Other\" of \"v1\" is not applied: give apiVersion syncsets.dev/v1, or a SyncSet, SelectorSyncSet, " +
			"ClusterDeployment or Secret of Hive\n" +
			"  bad.yaml documents[0].spec.resource: is not a known field\n"},
		{[]string{"import", "-f", "wrong.yaml"}, "error: nothing was imported: the document is not valid (400)\n" +
			"  wrong.yaml documents[1].spec.resourceApplyMode: must be Upsert or Sync\n"},
		{[]string{"apply", "-f", "own-wrong.yaml"}, "error: own-wrong.yaml documents[0]: the document is not valid (400)\n" +
			"  own-wrong.yaml documents[0].resourceApplyMode: must be Upsert or Sync\n"},
		{[]string{"apply"}, "error: required flag(s) \"filename\" not set\n"},
		{[]string{"export", "widget"}, "error: widget is no type: use cluster, secret, syncset or selectorsyncset\n"},
		{[]string{"export", "syncset/a"}, "error: syncset/a needs a namespace: give it with -n\n"},
		{[]string{"export", "syncset/a", "-n", "foo"}, "error: there is no syncset/foo/a\n"},
	} {
		c.write("wrong.yaml", strings.Replace(hiveDocuments, "Sync\n  enable", "Snyc\n  enable", 1)[strings.Index(hiveDocuments, "apiVersion: v1\n")-4:])
		c.write("own-wrong.yaml", "apiVersion: syncsets.dev/v1\nkind: SyncSet\nname: bad\nnamespace: foo\nresourceApplyMode: Snyc\n")
		out, errors, code := c.try(tc.args...)
		if diff := cmp.Diff(tc.want, errors); diff != "" || code != 1 || out != "" {
			t.Errorf("%v: code %d, %q (-want +got):\n%s", tc.args, code, out, diff)
		}
	}
}
