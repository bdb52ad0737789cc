package devstack

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	prefix    = "devstack-"
	ownerFile = ".owner"     // one line: pid and start time of the process that uses the directory
	pidsFile  = ".processes" // a line per started process: pid and start time
)

// A dir is where a server keeps everything it writes.
type dir struct {
	path string
	keep bool // named by the caller: survives Stop
}

// newDir makes or reuses the named directory, or makes a temporary one; leftovers of dead owners are ended and removed first.
func newDir(named, kind string) (*dir, error) {
	if named == "" {
		Sweep()
		path, err := os.MkdirTemp(tempRoot(), prefix+kind+"-")
		if err != nil {
			return nil, fmt.Errorf("make a temporary directory: %w", err)
		}
		d := &dir{path: path}
		return d, d.claim()
	}
	path, err := filepath.Abs(named)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", named, err)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	d := &dir{path: path, keep: true}
	return d, d.claim()
}

// tempRoot is the folder for temporary directories: one that the user postgres can enter too, and short.
func tempRoot() string {
	if os.Geteuid() != 0 || enterable(os.TempDir()) {
		return os.TempDir()
	}
	return "/tmp"
}

func enterable(path string) bool {
	for ; path != "/" && path != "."; path = filepath.Dir(path) {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
	}
	return true
}

// claim makes this process the owner. It fails when another living process is, and ends what a dead one left running.
func (d *dir) claim() error {
	if owner, alive := livingOwner(d.path); alive && owner != os.Getpid() {
		return fmt.Errorf("%s is in use by process %d", d.path, owner)
	}
	endLeftovers(d.path)
	if err := os.Chmod(d.path, 0o755); err != nil {
		return fmt.Errorf("open directory to its servers: %w", err)
	}
	// Whoever sweeps meanwhile must not see the note before it says who the owner is.
	note := filepath.Join(d.path, ownerFile)
	if err := os.WriteFile(note+".new", []byte(identity(os.Getpid())), 0o644); err != nil {
		return fmt.Errorf("note the owner: %w", err)
	}
	if err := os.Rename(note+".new", note); err != nil {
		return fmt.Errorf("note the owner: %w", err)
	}
	return nil
}

// sub makes a directory inside d for the user (nil: this process's).
func (d *dir) sub(name string, user *syscall.Credential) (string, error) {
	path := filepath.Join(d.path, name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("make directory: %w", err)
	}
	if user != nil {
		if err := os.Chown(path, int(user.Uid), int(user.Gid)); err != nil {
			return "", fmt.Errorf("give %s to its server: %w", path, err)
		}
	}
	return path, nil
}

// sweep is what the watchdogs may remove.
func (d *dir) sweep() string {
	if d.keep {
		return ""
	}
	return d.path
}

func (d *dir) remove() error {
	if d.keep {
		return os.Remove(filepath.Join(d.path, ownerFile))
	}
	return os.RemoveAll(d.path)
}

// Sweep ends the processes and removes the temporary directories of callers that are dead. Every start does it first.
func Sweep() {
	left, _ := filepath.Glob(filepath.Join(tempRoot(), prefix+"*"))
	for _, path := range left {
		if _, err := os.Stat(filepath.Join(path, ownerFile)); err != nil {
			continue // being made just now, or not ours
		}
		if _, alive := livingOwner(path); alive {
			continue
		}
		endLeftovers(path)
		_ = os.RemoveAll(path)
	}
}

// remember notes a started process in the directory, for the case that caller and watchdog both die.
func remember(path string, pid int) error {
	file, err := os.OpenFile(filepath.Join(path, pidsFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("note the process: %w", err)
	}
	defer file.Close()
	_, err = file.WriteString(identity(pid))
	return err
}

func endLeftovers(path string) {
	file := filepath.Join(path, pidsFile)
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		pid, alive := same(line)
		if !alive {
			continue
		}
		tree := append(descendants(pid), pid)
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		signalAll(tree, syscall.SIGKILL)
	}
	_ = os.Remove(file)
}

func livingOwner(path string) (int, bool) {
	text, err := os.ReadFile(filepath.Join(path, ownerFile))
	if err != nil {
		return 0, false
	}
	return same(string(text))
}

func identity(pid int) string { return fmt.Sprintf("%d %s\n", pid, born(pid)) }

// same reads a line of identity and says whether that very process still lives.
func same(line string) (pid int, alive bool) {
	first, second, _ := strings.Cut(strings.TrimSpace(line), " ")
	pid, err := strconv.Atoi(first)
	if err != nil || pid <= 1 || second == "" {
		return 0, false
	}
	return pid, born(pid) == second
}
