package local_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/syncsets/syncsets/libs/devstack"
)

// documents are those whose shell blocks are run, in this order on one stack.
var documents = []string{"README.md", "docs/getting-started.md"}

// block is a fenced block of shell commands. Its tag says who runs it: "" and "target" this test, the latter on a stack with a
// Kubernetes API server; "ci" the script .ci/run.
type block struct{ file, tag, commands string }

var fence = regexp.MustCompile("(?ms)^```sh ?([a-z]*)\n(.*?)^```$")

func blocks(t testing.TB) []block {
	t.Helper()
	var all []block
	for _, file := range documents {
		b, err := os.ReadFile(filepath.Join(root(), file))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range fence.FindAllStringSubmatch(string(b), -1) {
			all = append(all, block{file: file, tag: found[1], commands: found[2]})
		}
	}
	return all
}

func TestEveryCommandOfTheDocumentationWorks(t *testing.T) {
	l := start(t, buildDevstack(t), filepath.Join(t.TempDir(), "data"), freePort(t))
	dir, path := workplace(t)
	document := ""
	for i, b := range blocks(t) {
		if b.file != document {
			document = b.file
			forget(t, fmt.Sprintf("http://localhost:%d/v1/clusters/foo/cluster1", l.Port))
		}
		if b.tag == "ci" {
			continue
		}
		t.Run(fmt.Sprintf("%s block %d", filepath.Base(b.file), i), func(t *testing.T) {
			commands := strings.ReplaceAll(b.commands, "localhost:7070", fmt.Sprintf("localhost:%d", l.Port))
			cmd := exec.Command("bash", "-euo", "pipefail", "-c", commands)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"), "POSTGRES_PARAMS="+l.Postgres, "AMQP_URL="+l.Broker, "PAGER=cat")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s\n%s", err, commands, out)
			}
			t.Logf("%s", out)
		})
	}
}

// forget deletes what each document creates as if it were the first to do so.
func forget(t testing.TB, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNoContent && res.StatusCode != http.StatusNotFound {
		t.Fatalf("DELETE %s answered %s", url, res.Status)
	}
}

func TestTheOtherCommandsAreRunByTheScript(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join(root(), ".ci/run"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := map[string]string{"make run": "TestDataSurvivesKillNineAndRestarts"}
	for _, b := range blocks(t) {
		if b.tag != "ci" {
			continue
		}
		for line := range strings.Lines(b.commands) {
			command := strings.TrimSpace(line)
			target, isMake := strings.CutPrefix(command, "make ")
			if elsewhere[command] == "" && (!isMake || !strings.Contains(string(script), "make --no-print-directory "+target)) {
				t.Errorf("%s: nothing runs %q", b.file, command)
			}
		}
	}
}

func TestEveryLinkOfTheDocumentationLeadsSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	files, err := filepath.Glob(filepath.Join(root(), "docs", "*", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"*.md", "docs/*.md", "k8s/*.md", "services/*/*.md"} {
		more, err := filepath.Glob(filepath.Join(root(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(b), -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), found[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", file, found[1])
			}
		}
	}
}

// The page names files so that a reader finds them: each must exist.
func TestTheArchitecturePageNamesFilesThatExist(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join(root(), "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:libs|services|cmd|migrations|test|k8s)/[A-Za-z0-9_./-]+)`").FindAllStringSubmatch(string(b), -1)
	if len(named) < 20 {
		t.Errorf("only %d files are named; is the pattern still right?", len(named))
	}
	for _, found := range named {
		if _, err := os.Stat(filepath.Join(root(), found[1])); err != nil {
			t.Errorf("%s is not there", found[1])
		}
	}
}

// workplace makes a folder that looks like the checkout to the commands, with a target's kubeconfig in it, and one with the programs
// that they need.
func workplace(t testing.TB) (dir, path string) {
	t.Helper()
	dir, path = t.TempDir(), t.TempDir()
	for _, name := range []string{"examples", "migrations"} {
		if err := os.Symlink(filepath.Join(root(), name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".data"), 0o700); err != nil {
		t.Fatal(err)
	}
	kubeconfig := devstack.Kubernetes(t).Kubeconfig
	if err := os.WriteFile(filepath.Join(dir, ".data", "target.kubeconfig"), []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	goose := exec.Command("make", "goose", "BIN="+path)
	goose.Dir = root()
	if out, err := goose.CombinedOutput(); err != nil {
		t.Fatalf("make goose: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(path, "http"), []byte(httpie(t)), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

// httpie is HTTPie as a person meets it: it takes no body from a terminal that is not there, a refusal is a failure, and a document that
// the reconciler has not made yet is asked for again.
func httpie(t testing.TB) string {
	t.Helper()
	real, err := exec.LookPath("http")
	if err != nil {
		t.Fatalf("%v: make deps installs it", err)
	}
	return fmt.Sprintf(`#!/bin/bash
if [ -p /dev/stdin ] || [ -f /dev/stdin ]; then
	exec %[1]s --check-status "$@"
fi
for try in {1..100}; do
	%[1]s --check-status --ignore-stdin "$@" && exit 0
	status=$?
	sleep 0.1
done
exit $status
`, real)
}
