// Package data keeps what `make run` must remember between two starts in one ignored folder: the servers' files, the secrets that
// open them, and the ports that were printed last.
package data

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Secrets is the content of secrets.json. Losing it means losing the stored kubeconfigs.
type Secrets struct {
	InternalToken string            `json:"internalToken"`
	SealKeys      map[string]string `json:"sealKeys"`  // by service
	Passwords     map[string]string `json:"passwords"` // by database role
	Postgres      Server            `json:"postgres"`
	RabbitMQ      Server            `json:"rabbitmq"`
	Outside       string            `json:"outside"` // names what is kept outside the folder: new secrets never meet old data there
}

// Server is how a server was started last. Its data fits this way only: a container's Postgres is another version than the machine's.
type Server struct {
	Way  string `json:"way,omitempty"`
	Port int    `json:"port,omitempty"`
}

// Folder is the opened data folder.
type Folder struct {
	Dir     string
	Secrets Secrets
	lock    *os.File
}

// ErrInUse means that another devstack uses the folder.
var ErrInUse = errors.New("in use")

// Open creates or opens the folder and takes it for this process until Close, or its end. It returns ErrInUse when another has it.
// Secrets that are missing are made: a seal key per service with newKey, a password per role.
func Open(dir string, services, roles []string, newKey func() string) (*Folder, error) {
	for _, d := range []string{dir, filepath.Join(dir, "log")} {
		// 0711: Postgres runs as a user of its own below this folder when the caller is root.
		if err := os.MkdirAll(d, 0o711); err != nil {
			return nil, fmt.Errorf("create the data folder: %w", err)
		}
	}
	lock, err := take(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	f := &Folder{Dir: dir, lock: lock}
	if err := f.load(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	f.complete(services, roles, newKey)
	if err := f.Save(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Path returns a path inside the folder.
func (f *Folder) Path(elem ...string) string {
	return filepath.Join(append([]string{f.Dir}, elem...)...)
}

// Save writes the secrets, readable by their owner only.
func (f *Folder) Save() error {
	b, err := json.MarshalIndent(f.Secrets, "", "  ")
	if err != nil {
		return fmt.Errorf("encode secrets: %w", err)
	}
	next := f.Path("secrets.json.next")
	if err := os.WriteFile(next, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write secrets: %w", err)
	}
	return os.Rename(next, f.Path("secrets.json"))
}

// Close lets another process take the folder.
func (f *Folder) Close() error { return f.lock.Close() }

func (f *Folder) load() error {
	b, err := os.ReadFile(f.Path("secrets.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read secrets: %w", err)
	}
	if err := json.Unmarshal(b, &f.Secrets); err != nil {
		return fmt.Errorf("read %s: %w", f.Path("secrets.json"), err)
	}
	return nil
}

func (f *Folder) complete(services, roles []string, newKey func() string) {
	s := &f.Secrets
	if s.InternalToken == "" {
		s.InternalToken = rand.Text()
	}
	if s.Outside == "" {
		s.Outside = strings.ToLower(rand.Text())
	}
	if s.SealKeys == nil {
		s.SealKeys = map[string]string{}
	}
	if s.Passwords == nil {
		s.Passwords = map[string]string{}
	}
	for _, name := range services {
		if s.SealKeys[name] == "" {
			s.SealKeys[name] = newKey()
		}
	}
	for _, name := range roles {
		if s.Passwords[name] == "" {
			s.Passwords[name] = rand.Text()
		}
	}
}
