package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/syncsets/syncsets/cmd/devstack/internal/data"
	"github.com/syncsets/syncsets/cmd/devstack/internal/database"
	"github.com/syncsets/syncsets/cmd/devstack/internal/door"
	"github.com/syncsets/syncsets/cmd/devstack/internal/screen"
	"github.com/syncsets/syncsets/k8s"
	"github.com/syncsets/syncsets/libs/seal"
)

// stack is everything that one run has started.
type stack struct {
	options  options
	out      *screen.Screen
	root     string // of the checkout
	data     *data.Folder
	servers  servers
	services map[string]service
	params   map[string]string // POSTGRES_PARAMS by role
	amqpURL  string
	given    target // what KUBECONFIG names, for the demo
}

// up starts everything, runs the demo when asked, and keeps everything running until ctx is done or a part fails for good.
func up(ctx context.Context, o options, out *screen.Screen) error {
	s, listeners, err := prepare(ctx, o, out)
	if err != nil {
		return err
	}
	defer func() { _ = s.data.Close() }()
	defer s.servers.stop(ctx, out)
	running, cancel := context.WithCancel(ctx)
	parts, running := errgroup.WithContext(running)
	parts.Go(func() error { return s.serveDoor(running, listeners) })
	parts.Go(func() error {
		err := s.drive(running, parts)
		if o.exit || err != nil {
			cancel()
		}
		return err
	})
	err = parts.Wait()
	cancel()
	out.Step("devstack", "the services have ended; stopping the servers")
	return err
}

// prepare takes the port and the data folder, before anything is started.
func prepare(ctx context.Context, o options, out *screen.Screen) (*stack, []net.Listener, error) {
	root, err := checkout()
	if err != nil {
		return nil, nil, err
	}
	if !filepath.IsAbs(o.dataDir) {
		o.dataDir = filepath.Join(root, o.dataDir)
	}
	var given target
	if o.command == "demo" && o.kubeconfig != "" {
		if given = flatten(o.kubeconfig); given.err != nil {
			return nil, nil, given.err
		}
		out.Warn("kubernetes", "KUBECONFIG is set: the demo will register %s and write the ConfigMaps of examples/selectorsyncset.json there; "+
			"unset it for an API server of the demo's own", given.about)
	}
	folder, err := data.Open(o.dataDir, services, append([]string{database.Developer}, database.Schemas...), seal.Generate)
	if errors.Is(err, data.ErrInUse) {
		return nil, nil, usageError(fmt.Sprintf("%s is %s: another stack runs in this checkout; stop it, or choose another folder and port: "+
			"make %s DATA_DIR=.data2 PORT=%d", o.dataDir, err, o.command, o.port+1))
	}
	if err != nil {
		return nil, nil, err
	}
	listeners, err := door.Listen(ctx, o.port)
	if errors.Is(err, door.ErrTaken) {
		_ = folder.Close()
		return nil, nil, usageError(fmt.Sprintf("port %[1]d is taken: stop what listens there (`ss -ltnp 'sport = :%[1]d'` shows it) "+
			"or choose another: make %[2]s PORT=%[3]d", o.port, o.command, o.port+1))
	}
	if err != nil {
		return nil, nil, errors.Join(err, folder.Close())
	}
	addresses, err := newServices(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, folder.Close())
	}
	return &stack{options: o, out: out, root: root, data: folder, services: addresses, given: given}, listeners, nil
}

// drive brings the parts up in order and says what to do with them.
func (s *stack) drive(ctx context.Context, parts *errgroup.Group) error {
	target := s.startTarget(ctx)
	if err := s.startServers(ctx); err != nil {
		return err
	}
	ready, waiting := errgroup.WithContext(ctx)
	for _, name := range services {
		parts.Go(func() error { return s.keep(ctx, name) })
		ready.Go(func() error { return s.waitReady(waiting, name) })
	}
	if err := ready.Wait(); err != nil {
		return err
	}
	s.announce()
	if s.options.command != "demo" {
		s.out.Print("\nCtrl-C stops everything.")
		return nil
	}
	if err := s.demo(ctx, target); err != nil || s.options.exit {
		return err
	}
	s.suggest()
	return nil
}

func (s *stack) serveDoor(ctx context.Context, listeners []net.Listener) error {
	routes, err := k8s.LoadRoutes()
	if err != nil {
		return err
	}
	backends := map[string]string{}
	for name, service := range s.services {
		backends[name] = service.public
	}
	log := slog.New(slog.NewTextHandler(s.out.Writer("door"), &slog.HandlerOptions{Level: slog.LevelError}))
	return door.Serve(ctx, door.Handler(routes, backends, log), listeners)
}

// checkout finds the top of the source tree: the folder with go.work, here or above.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", usageError("run this inside the checkout: there is no go.work here or above")
		}
		dir = filepath.Dir(dir)
	}
}
