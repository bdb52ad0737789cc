package devstack

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Addresses are servers that are there already: shared by all test binaries of one run, or named by the user.
type Addresses struct {
	Postgres   string `json:"postgres,omitempty"`
	AMQP       string `json:"amqp,omitempty"`
	Kubeconfig string `json:"kubeconfig,omitempty"` // YAML text
	AuditLog   string `json:"auditLog,omitempty"`
	// Way is how they came to be.
	Way Way `json:"way,omitempty"`
}

// Save writes a to the file that DEVSTACK_SHARED names for the tests. It holds credentials: only the owner may read it.
func (a Addresses) Save(path string) error {
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode the shared addresses: %w", err)
	}
	return os.WriteFile(path, text, 0o600)
}

// A Setting is what the environment asks of the functions for tests.
type Setting struct {
	// Way forces one; Auto where DEVSTACK is not set.
	Way Way
	// Given are the servers not to be started again: from DEVSTACK_SHARED, or with DEVSTACK=external from POSTGRES_PARAMS, AMQP_URL
	// and the first file of TEST_KUBECONFIGS.
	Given Addresses
	// Images of the way Containers, from DEVSTACK_POSTGRES_IMAGE, DEVSTACK_RABBITMQ_IMAGE, DEVSTACK_K3S_IMAGE; "" is the default.
	PostgresImage, RabbitMQImage, K3sImage string
	// Started is a file that gets a line per started container, from DEVSTACK_STARTED; "" is none.
	Started string
}

// FromEnvironment reads DEVSTACK ("", external, containers, processes), DEVSTACK_SHARED (a file written by Addresses.Save), the images,
// DEVSTACK_STARTED and, only with DEVSTACK=external, POSTGRES_PARAMS, AMQP_URL and TEST_KUBECONFIGS.
func FromEnvironment() (Setting, error) {
	s := Setting{
		Way:           Way(os.Getenv("DEVSTACK")),
		PostgresImage: os.Getenv("DEVSTACK_POSTGRES_IMAGE"),
		RabbitMQImage: os.Getenv("DEVSTACK_RABBITMQ_IMAGE"),
		K3sImage:      os.Getenv("DEVSTACK_K3S_IMAGE"),
		Started:       os.Getenv("DEVSTACK_STARTED"),
	}
	var err error
	switch s.Way {
	case Auto, Processes, Containers:
		s.Given, err = sharedAddresses(os.Getenv("DEVSTACK_SHARED"))
	case External:
		s.Given, err = externalAddresses()
	default:
		err = fmt.Errorf("DEVSTACK=%s: use external, containers or processes, or leave it out", s.Way)
	}
	return s, err
}

func sharedAddresses(path string) (a Addresses, err error) {
	if path == "" {
		return a, nil
	}
	text, err := os.ReadFile(filepath.Clean(path))
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		return a, fmt.Errorf("DEVSTACK_SHARED: %w", err)
	}
	return a, nil
}

func externalAddresses() (Addresses, error) {
	a := Addresses{Postgres: os.Getenv("POSTGRES_PARAMS"), AMQP: os.Getenv("AMQP_URL"), Way: External}
	paths := filepath.SplitList(os.Getenv("TEST_KUBECONFIGS"))
	if len(paths) == 0 {
		return a, nil
	}
	text, err := os.ReadFile(filepath.Clean(paths[0]))
	if err != nil {
		return a, fmt.Errorf("TEST_KUBECONFIGS: %w", err)
	}
	a.Kubeconfig = string(text)
	return a, nil
}

// setting is the environment's, read once per process.
var setting = sync.OnceValues(FromEnvironment)

// Postgres are the options of a throw-away server under this setting; it says on standard error what it does.
func (s Setting) Postgres() PostgresOptions {
	return PostgresOptions{Way: s.Way, URL: s.Given.Postgres, Image: s.PostgresImage, Started: s.Started, Progress: os.Stderr}
}

// RabbitMQ are the options of a throw-away broker under this setting.
func (s Setting) RabbitMQ() RabbitMQOptions {
	return RabbitMQOptions{Way: s.Way, URL: s.Given.AMQP, Image: s.RabbitMQImage, Started: s.Started, Progress: os.Stderr}
}

// Kubernetes are the options of a throw-away control plane under this setting.
func (s Setting) Kubernetes() KubernetesOptions {
	return KubernetesOptions{Way: s.Way, Kubeconfig: s.Given.Kubeconfig, Image: s.K3sImage, Started: s.Started, Progress: os.Stderr}
}

// own is s for a server that nobody else uses: no address is given, and what may be stopped and killed is not external.
func (s Setting) own() Setting {
	s.Given = Addresses{}
	if s.Way == External {
		s.Way = Processes
	}
	return s
}
