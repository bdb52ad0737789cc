package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncsets/syncsets/cmd/devstack/internal/data"
	"github.com/syncsets/syncsets/cmd/devstack/internal/database"
	"github.com/syncsets/syncsets/cmd/devstack/internal/screen"
	"github.com/syncsets/syncsets/libs/backoff"
	"github.com/syncsets/syncsets/libs/devstack"
)

// servers are the parts that are not ours: Postgres, RabbitMQ, the demo's target.
type servers struct {
	mu      sync.Mutex
	started []*devstack.Server
}

func (s *servers) add(server *devstack.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = append(s.started, server)
}

// stop ends all of them at the same time, also when ctx is done already.
func (s *servers) stop(ctx context.Context, out *screen.Screen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for _, server := range s.started {
		all.Go(func() {
			if err := server.Stop(ctx); err != nil {
				out.Warn("devstack", "stop %s: %s", server.URL, err)
			}
		})
	}
	all.Wait()
	out.Step("devstack", "stopped")
}

// startServers brings up Postgres with its database and RabbitMQ while the services are compiled.
func (s *stack) startServers(ctx context.Context) error {
	start, ctx := errgroup.WithContext(ctx)
	start.Go(func() error { return build(ctx, s.root, s.data.Path("bin"), s.out) })
	start.Go(func() error { return s.startPostgres(ctx) })
	start.Go(func() error { return s.startRabbitMQ(ctx) })
	if err := start.Wait(); err != nil {
		return err
	}
	return s.data.Save()
}

func (s *stack) startPostgres(ctx context.Context) error {
	last, way, name := s.last(&s.data.Secrets.Postgres, "postgres")
	dir, err := s.postgresDir(name)
	if err != nil {
		return err
	}
	server, err := devstack.StartPostgres(ctx, devstack.PostgresOptions{
		Way: way, Dir: dir, Port: usable(ctx, last.Port), Fsync: true, Image: s.options.parts.PostgresImage, Progress: s.out.Writer("postgres"),
	})
	if err != nil {
		return fmt.Errorf("start Postgres: %w", err)
	}
	s.servers.add(server)
	*last = data.Server{Way: string(server.Way), Port: portOf(server.URL)}
	if s.params, err = database.Prepare(ctx, server.URL, s.data.Secrets.Passwords); err != nil {
		return err
	}
	s.out.Step("postgres", "ready, data in %s", s.relative(dir))
	return nil
}

func (s *stack) startRabbitMQ(ctx context.Context) error {
	last, way, name := s.last(&s.data.Secrets.RabbitMQ, "rabbitmq")
	dir := s.data.Path(name)
	server, err := devstack.StartRabbitMQ(ctx, devstack.RabbitMQOptions{
		Way: way, Dir: dir, Port: usable(ctx, last.Port), Image: s.options.parts.RabbitMQImage, Progress: s.out.Writer("rabbitmq"),
	})
	if err != nil {
		return fmt.Errorf("start RabbitMQ: %w", err)
	}
	s.servers.add(server)
	s.amqpURL, *last = server.URL, data.Server{Way: string(server.Way), Port: portOf(server.URL)}
	s.out.Step("rabbitmq", "ready, data in %s", s.relative(dir))
	return nil
}

// last returns how a server was started last, the way to start it now, and the name of its folder. The way stays that of the first
// start, whose data is there; another one that is asked for gets a folder of its own and is not remembered.
func (s *stack) last(remembered *data.Server, folder string) (*data.Server, devstack.Way, string) {
	asked := s.options.parts.Way
	if asked != devstack.Auto && remembered.Way != "" && asked != devstack.Way(remembered.Way) {
		return &data.Server{}, asked, folder + "-" + string(asked)
	}
	return remembered, cmp.Or(asked, devstack.Way(remembered.Way)), folder
}

// relative shortens a path for reading.
func (s *stack) relative(path string) string {
	if short, err := filepath.Rel(s.root, path); err == nil {
		return short
	}
	return path
}

// usable returns the port of the last start while nothing else has taken it, so that printed addresses stay the same; else 0. What the
// last start left may still be ending after a kill -9: it gets a few seconds.
func usable(ctx context.Context, port int) int {
	if port == 0 {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = l.Close()
			return port
		}
		if backoff.Sleep(ctx, 100*time.Millisecond) != nil {
			return 0
		}
	}
}

func portOf(address string) int {
	u, err := url.Parse(address)
	if err != nil {
		return 0
	}
	port, _ := strconv.Atoi(u.Port())
	return port
}
