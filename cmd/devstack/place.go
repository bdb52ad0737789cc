package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// postgresDir is where Postgres keeps its data: under that name inside the data folder, unless this process is root and a folder above it is closed to
// others (a checkout in /root): Postgres then runs as a user of its own who could not get there.
func (s *stack) postgresDir(name string) (string, error) {
	inside := s.data.Path(name)
	if os.Geteuid() != 0 || enterable(s.data.Dir) {
		return inside, nil
	}
	sum := sha256.Sum256([]byte(inside))
	outside := filepath.Join("/var/lib/syncsets", hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(outside, 0o755); err != nil {
		return "", fmt.Errorf("create a folder for Postgres: %w", err)
	}
	if _, err := os.Lstat(inside); err != nil {
		if err := os.Symlink(outside, inside); err != nil {
			return "", fmt.Errorf("link the folder of Postgres: %w", err)
		}
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
