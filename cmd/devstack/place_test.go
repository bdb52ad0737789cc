package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/syncsets/syncsets/cmd/devstack/internal/data"
	"github.com/syncsets/syncsets/libs/seal"
)

// place opens the data folder, as a start does, and returns where Postgres then keeps its data.
func place(t *testing.T, dir, root string) string {
	t.Helper()
	folder, err := data.Open(dir, services, nil, seal.Generate)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	placed, err := placeOutside(folder, root, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if linked, err := os.Readlink(filepath.Join(dir, "postgres")); err != nil || linked != placed {
		t.Errorf("the data folder links to %q (%v), want %q", linked, err, placed)
	}
	return placed
}

func TestPostgresOutsideTheDataFolderKeepsItsPlaceOverARestart(t *testing.T) {
	t.Parallel()
	dir, root := filepath.Join(t.TempDir(), "data"), t.TempDir()
	if first, second := place(t, dir, root), place(t, dir, root); first != second {
		t.Errorf("the first start used %s, the second %s", first, second)
	}
}

func TestLostSecretsStartWithAnotherFolderForPostgres(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, lost string }{
		{"the secrets alone", "secrets.json"},
		{"the whole data folder, as a new clone at the same path does", "."},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, root := filepath.Join(t.TempDir(), "data"), t.TempDir()
			first := place(t, dir, root)
			if err := os.RemoveAll(filepath.Join(dir, c.lost)); err != nil {
				t.Fatal(err)
			}
			if second := place(t, dir, root); first == second {
				t.Errorf("new secrets met the data of the old ones in %s", first)
			}
		})
	}
}

func TestDataThatPostgresCanNoLongerReachIsNamedAndLeftAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	folder, err := data.Open(dir, services, nil, seal.Generate)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if err := os.Mkdir(folder.Path("postgres"), 0o700); err != nil {
		t.Fatal(err)
	}
	if placed, err := placeOutside(folder, t.TempDir(), "postgres"); err == nil {
		t.Errorf("Postgres starts empty in %s beside the data it has", placed)
	}
}

func TestMakeForgetDeletesTheDataThatIsOutsideToo(t *testing.T) {
	t.Parallel()
	dir, root, other := filepath.Join(t.TempDir(), "data"), t.TempDir(), t.TempDir()
	placed := place(t, dir, root)
	if err := os.Symlink(other, filepath.Join(dir, "postgres-elsewhere")); err != nil {
		t.Fatal(err)
	}
	if out, err := forget(t, dir, root); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, gone := range []string{dir, placed} {
		if _, err := os.Lstat(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there (%v)", gone, err)
		}
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("a link of the user's was followed: %v", err)
	}
}

func TestMakeForgetLeavesAlone(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, want string
		prepare    func(t *testing.T, dir string)
	}{
		{"a folder that is not a data folder", "is not a data folder", func(*testing.T, string) {}},
		{"the data of a running stack", "is in use by process " + strconv.Itoa(os.Getpid()), func(t *testing.T, dir string) {
			folder, err := data.Open(dir, services, nil, seal.Generate)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = folder.Close() })
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c.prepare(t, dir)
			if out, err := forget(t, dir, t.TempDir()); err == nil || !strings.Contains(out, c.want) {
				t.Errorf("printed %q (%v), want %q and a failure", out, err, c.want)
			}
			if _, err := os.Stat(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// forget does what make forget does.
func forget(t *testing.T, dir, outside string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../../tools/forget.sh", dir, outside).CombinedOutput()
	return string(out), err
}
