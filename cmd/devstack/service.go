package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/syncsets/syncsets/cmd/devstack/internal/child"
)

// services are started in this order; the later ones read the installation from the first.
var services = []string{"clusters", "syncsets", "reconciler"}

// service is one of the three with the addresses it listens on.
type service struct {
	name                    string
	public, admin, internal string // host:port
}

// newServices picks free ports.
func newServices(ctx context.Context) (map[string]service, error) {
	all := map[string]service{}
	for _, name := range services {
		var addresses [3]string
		for i := range addresses {
			address, err := freeAddress(ctx)
			if err != nil {
				return nil, err
			}
			addresses[i] = address
		}
		all[name] = service{name: name, public: addresses[0], admin: addresses[1], internal: addresses[2]}
	}
	return all, nil
}

// environment returns the whole environment of a service: nothing of the caller's own settings reaches it but OTEL_* and LOG_LEVEL.
func (s *stack) environment(name string) []string {
	of := s.services[name]
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.data.Dir,
		"POSTGRES_PARAMS=" + s.params[name], "AMQP_URL=" + s.amqpURL,
		"LISTEN_ADDR=" + of.public, "ADMIN_ADDR=" + of.admin, "INTERNAL_ADDR=" + of.internal,
		"INTERNAL_TOKEN=" + s.data.Secrets.InternalToken, "SEAL_KEYS=" + s.data.Secrets.SealKeys[name],
		"AUTH=none", "MIGRATE=auto",
	}
	if name != "clusters" {
		env = append(env, "CLUSTERS_INTERNAL_URL=http://"+s.services["clusters"].internal)
	}
	if name == "reconciler" {
		env = append(env, "SYNCSETS_INTERNAL_URL=http://"+s.services["syncsets"].internal,
			"CLUSTERS_URL=http://"+s.services["clusters"].public, "SYNCSETS_URL=http://"+s.services["syncsets"].public,
			"ALLOW_LOOPBACK_TARGETS=true", "ALLOW_INSECURE_TARGETS=true")
	}
	for _, variable := range os.Environ() {
		if strings.HasPrefix(variable, "OTEL_") || strings.HasPrefix(variable, "LOG_LEVEL=") {
			env = append(env, variable)
		}
	}
	return env
}

// keep keeps a service running until ctx is done.
func (s *stack) keep(ctx context.Context, name string) error {
	log := s.data.Path("log", name+".log")
	return child.Keep(ctx, child.Process{
		Name: name, Path: s.data.Path("bin", name), Env: s.environment(name), Log: log, Grace: 20 * time.Second,
		Ended: func(err error, after, next time.Duration, last string) {
			s.out.Warn(name, "ended after %.1f s (%v); next start in %s; the end of %s:\n%s", after.Seconds(), err, next, log, last)
		},
	})
}

// waitReady waits until the service's readiness is green.
func (s *stack) waitReady(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for last := "no answer yet"; ; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %s; see %s", name, last, s.data.Path("log", name+".log"))
		case <-tick.C:
			var ready bool
			if ready, last = askReady(ctx, s.services[name].admin); ready {
				s.out.Step(name, "ready")
				return nil
			}
		}
	}
}

func askReady(ctx context.Context, admin string) (ready bool, answer string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
	if err != nil {
		return false, err.Error()
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return false, err.Error()
	}
	return res.StatusCode == http.StatusOK, res.Status + " " + strings.TrimSpace(string(body))
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}
