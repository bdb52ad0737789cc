package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/syncsets/syncsets/cmd/devstack/internal/data"
)

// outsideRoot holds the data of Postgres that cannot be inside a data folder. tools/forget.sh deletes only below it.
const outsideRoot = "/var/lib/syncsets"

// postgresDir is where Postgres keeps its data: under that name inside the data folder, unless this process is root and a folder above it is closed to
// others (a checkout in /root): Postgres then runs as a user of its own who could not get there.
func (s *stack) postgresDir(name string) (string, error) {
	if os.Geteuid() != 0 || enterable(s.data.Dir) {
		return s.data.Path(name), nil
	}
	return placeOutside(s.data, outsideRoot, name)
}

// placeOutside makes the folder below root that keeps what would be name inside the data folder, and links to it from there. The secrets name it, as only
// they open what is in it: whoever lost them starts with another one.
func placeOutside(folder *data.Folder, root, name string) (string, error) {
	inside, outside := folder.Path(name), filepath.Join(root, folder.Secrets.Outside+"-"+name)
	if err := os.MkdirAll(outside, 0o755); err != nil {
		return "", fmt.Errorf("create a folder for Postgres: %w", err)
	}
	linked, err := os.Readlink(inside)
	switch {
	case err == nil && linked == outside:
		return outside, nil
	case err == nil:
		if err := os.Remove(inside); err != nil {
			return "", fmt.Errorf("remove the link to data whose secrets are lost: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s has data, but its user can no longer get there; open the folders above it (chmod o+x), or make forget: %w", inside, err)
	}
	if err := os.Symlink(outside, inside); err != nil {
		return "", fmt.Errorf("link the folder of Postgres: %w", err)
	}
	return outside, nil
}

// enterable reports whether every user may enter the folder.
func enterable(dir string) bool {
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
	}
	return true
}
