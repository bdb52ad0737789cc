package devstack

import (
	"context"
	"fmt"
	"io"
)

// Way is how a server comes to be.
type Way string

// The ways. Auto takes containers when an engine and the image are at hand, else processes.
const (
	Auto       Way = ""
	Processes  Way = "processes"
	Containers Way = "containers"
	External   Way = "external"
)

// A Server is one running server: a few processes or a container. Its addresses stay the same over Kill and Restart.
type Server struct {
	// URL is where it serves: postgres://… (superuser), amqp://… or https://….
	URL string
	// Kubeconfig is the YAML text for a cluster administrator; Kubernetes only.
	Kubeconfig string
	// AuditLog is the path of the JSON-lines audit log; Kubernetes only.
	AuditLog string
	// Way is the way that was taken.
	Way Way

	run runner
}

// A runner starts and signals what a Server is made of.
type runner interface {
	// start starts everything and returns when it is ready to serve.
	start(ctx context.Context) error
	// stop ends everything in order, data kept.
	stop(ctx context.Context) error
	// kill ends everything at once, as kill -9 does.
	kill(ctx context.Context) error
	pause(ctx context.Context) error
	resume(ctx context.Context) error
	// remove frees what start does not need to be called again: directories that are not to be kept, containers.
	remove(ctx context.Context) error
}

// Stop ends the server in order and removes its data, unless the caller named the directory.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.run.stop(ctx); err != nil {
		_ = s.run.kill(ctx)
	}
	return s.run.remove(ctx)
}

// Halt ends the server in order and keeps its data for Restart.
func (s *Server) Halt(ctx context.Context) error { return s.run.stop(ctx) }

// Kill ends every process of the server at once and keeps its data for Restart. RabbitMQ itself forgets a quorum queue that was
// declared in the second before.
func (s *Server) Kill(ctx context.Context) error { return s.run.kill(ctx) }

// Pause freezes every process of the server: connections stay open, nothing answers.
func (s *Server) Pause(ctx context.Context) error { return s.run.pause(ctx) }

// Resume ends a Pause.
func (s *Server) Resume(ctx context.Context) error { return s.run.resume(ctx) }

// Restart ends the server in order when it runs, and starts it with the same ports and data. It returns when it is ready.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.run.stop(ctx); err != nil {
		return fmt.Errorf("stop before the restart: %w", err)
	}
	return s.run.start(ctx)
}

// PostgresOptions choose how Postgres is started. The zero value is a throw-away server for tests.
type PostgresOptions struct {
	Way      Way
	Dir      string    // data directory to create or reuse and to keep; "" is a temporary one
	Port     int       // 0 is a free one
	Fsync    bool      // true where the data matters
	URL      string    // the server to use; Way External only
	Image    string    // of the container; "" is PostgresImage
	Started  string    // file that gets a line per started container; "" is none
	Progress io.Writer // lines that say what is done; nil is silent
}

// RabbitMQOptions choose how RabbitMQ is started. The zero value is a throw-away broker for tests.
type RabbitMQOptions struct {
	Way        Way
	Dir        string    // directory to create or reuse and to keep; "" is a temporary one
	Port       int       // 0 is a free one
	Management bool      // enable the management plugin on a free port; processes only
	URL        string    // the broker to use; Way External only
	Image      string    // of the container; "" is RabbitMQImage
	Started    string    // file that gets a line per started container; "" is none
	Progress   io.Writer // lines that say what is done; nil is silent
}

// KubernetesOptions choose how a control plane is started. The zero value is a throw-away one with RBAC.
type KubernetesOptions struct {
	Way         Way
	Dir         string    // directory to create or reuse and to keep; "" is a temporary one
	Port        int       // of the API server; 0 is a free one
	AlwaysAllow bool      // no authorization instead of RBAC
	Kubeconfig  string    // YAML text of the cluster to use; Way External only
	Image       string    // of the container; "" is K3sImage
	Started     string    // file that gets a line per started container; "" is none
	Progress    io.Writer // lines that say what is done; nil is silent
}
