package data_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncsets/syncsets/cmd/devstack/internal/data"
)

func open(t *testing.T, dir string) *data.Folder {
	t.Helper()
	n := 0
	f, err := data.Open(dir, []string{"clusters", "syncsets"}, []string{"developer"}, func() string { n++; return "key" + strconv.Itoa(n) })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSecretsSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	first := open(t, dir)
	first.Secrets.Postgres = data.Server{Way: "processes", Port: 4711}
	if err := errors.Join(first.Save(), first.Close()); err != nil {
		t.Fatal(err)
	}
	second := open(t, dir)
	defer second.Close()
	if diff := cmp.Diff(first.Secrets, second.Secrets); diff != "" {
		t.Errorf("secrets changed (-first +second):\n%s", diff)
	}
	if second.Secrets.SealKeys["clusters"] == second.Secrets.SealKeys["syncsets"] {
		t.Error("two services share a seal key")
	}
}

func TestSecretsAreReadableByTheirOwnerOnly(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	defer f.Close()
	info, err := os.Stat(f.Path("secrets.json"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %o, want 600", info.Mode().Perm())
	}
}

func TestASecondStackIsRefusedAndToldByWhom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := open(t, dir)
	_, err := data.Open(dir, nil, nil, nil)
	if !errors.Is(err, data.ErrInUse) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("got %v, want ErrInUse with the holder's pid", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

func TestDamagedSecretsAreNamedAndNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "secrets.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := data.Open(dir, nil, nil, nil)
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want an error that names %s", err, file)
	}
	if b, _ := os.ReadFile(file); string(b) != "{" {
		t.Errorf("the file now holds %q", b)
	}
}
