// Package child keeps processes running: it starts them, starts them again when they end, and ends them with their owner.
package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// ExitMisconfigured is the exit code of a service that was given a wrong or missing setting: starting it again would not help.
const ExitMisconfigured = 2

// Process is one program to keep running.
type Process struct {
	Name string
	Path string
	Env  []string // the whole environment
	Log  string   // file that gets stdout and stderr; the previous one is kept as <Log>.old
	// Ended is told about each end that was not asked for: why, after how long, when the next start is, and the log's last lines.
	Ended func(err error, after, next time.Duration, last string)
	// Grace is how long the process may take after SIGTERM before it is killed.
	Grace time.Duration
}

// Keep runs p until ctx is done and then ends it. It returns an error when p cannot be started at all or says that it is misconfigured.
func Keep(ctx context.Context, p Process) error {
	_ = os.Rename(p.Log, p.Log+".old")
	pause := time.Second
	for {
		started := time.Now()
		err := p.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if final(err) {
			return fmt.Errorf("%s: %w\n%s", p.Name, err, tail(p.Log, 5))
		}
		if time.Since(started) > time.Minute {
			pause = time.Second
		}
		p.Ended(err, time.Since(started), pause, tail(p.Log, 5))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// once runs the process to its end, which it brings about when ctx is done.
func (p Process) once(ctx context.Context) error {
	log, err := os.OpenFile(p.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, p.Path)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.Env, log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = p.Grace
	if err := Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// final reports whether starting again cannot help.
func final(err error) bool {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode() == ExitMisconfigured
	}
	return err != nil
}

func tail(file string, count int) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
