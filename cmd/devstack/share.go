package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncsets/syncsets/cmd/devstack/internal/screen"
	"github.com/syncsets/syncsets/libs/devstack"
)

// share starts throw-away servers, runs a command whose tests use them (DEVSTACK_SHARED), and returns the command's exit code. Servers
// that the environment names already are not started.
func share(ctx context.Context, o options, out *screen.Screen) (int, error) {
	setting, err := devstack.FromEnvironment()
	if err != nil {
		return exitUsage, usageError(err.Error())
	}
	if setting.Way == devstack.External {
		return runCommand(ctx, o.run, nil)
	}
	var started servers
	defer started.stop(ctx, out)
	addresses, err := startShared(ctx, setting, &started, out)
	if err != nil {
		return exitFailed, err
	}
	dir, err := os.MkdirTemp("", "devstack-shared-")
	if err != nil {
		return exitFailed, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "addresses.json")
	if err := addresses.Save(file); err != nil {
		return exitFailed, err
	}
	return runCommand(ctx, o.run, []string{"DEVSTACK_SHARED=" + file})
}

// startShared starts what is not given, all at the same time.
func startShared(ctx context.Context, setting devstack.Setting, started *servers, out *screen.Screen) (devstack.Addresses, error) {
	all := setting.Given
	start, ctx := errgroup.WithContext(ctx)
	part := func(name string, given bool, f func(context.Context) (*devstack.Server, error), use func(*devstack.Server)) {
		if given {
			return
		}
		start.Go(func() error {
			server, err := f(ctx)
			if err != nil {
				return fmt.Errorf("start %s: %w", name, err)
			}
			started.add(server)
			use(server)
			out.Step(name, "shared by the tests, as %s", server.Way)
			return nil
		})
	}
	part("postgres", all.Postgres != "", func(ctx context.Context) (*devstack.Server, error) {
		o := setting.Postgres()
		o.Progress = out.Writer("postgres")
		return devstack.StartPostgres(ctx, o)
	}, func(s *devstack.Server) { all.Postgres, all.Way = s.URL, s.Way })
	part("rabbitmq", all.AMQP != "", func(ctx context.Context) (*devstack.Server, error) {
		o := setting.RabbitMQ()
		o.Progress = out.Writer("rabbitmq")
		return devstack.StartRabbitMQ(ctx, o)
	}, func(s *devstack.Server) { all.AMQP = s.URL })
	part("kubernetes", all.Kubeconfig != "", func(ctx context.Context) (*devstack.Server, error) {
		o := setting.Kubernetes()
		o.Progress = out.Writer("kubernetes")
		return devstack.StartKubernetes(ctx, o)
	}, func(s *devstack.Server) { all.Kubeconfig, all.AuditLog = s.Kubeconfig, s.AuditLog })
	err := start.Wait()
	return all, err
}

// runCommand runs the command to its end, which SIGTERM brings about when ctx is done, and returns its exit code.
func runCommand(ctx context.Context, command, env []string) (int, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return exitFailed, fmt.Errorf("%s: %w", command[0], err)
	}
	return exitOK, nil
}
