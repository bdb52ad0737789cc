package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// A process is one program of a server. It leads a process group of its own and is guarded by a watchdog.
type process struct {
	name   string
	argv   []string
	env    []string
	cwd    string
	user   *syscall.Credential // nil: this process's
	log    string              // file that its output is appended to
	signal syscall.Signal      // asks it to end in order
	sweep  string              // directory that the watchdog removes; "" when it is to be kept

	mu    sync.Mutex
	cmd   *exec.Cmd
	watch *watchdog
	ended chan struct{} // closed when the leader has ended
}

// start runs the program; it returns as soon as it is started and guarded.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.name, err)
	}
	defer out.Close()
	argv := shell(p.argv)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.cwd, p.env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: p.user}
	open, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("pipe to %s: %w", p.name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	dog, err := guard(cmd.Process.Pid, p.sweep)
	if err != nil {
		_ = open.Close()
		_ = cmd.Wait()
		return err
	}
	_, err = io.WriteString(open, "go\n")
	p.cmd, p.watch, p.ended = cmd, dog, make(chan struct{})
	go reap(cmd, p.ended)
	return errors.Join(err, open.Close(), remember(p.cwd, cmd.Process.Pid))
}

func reap(cmd *exec.Cmd, ended chan struct{}) {
	_ = cmd.Wait()
	close(ended)
}

// stop asks the program to end and waits for it and its descendants.
func (p *process) stop(ctx context.Context) error {
	cmd, ended := p.current()
	if cmd == nil {
		return nil
	}
	tree := descendants(cmd.Process.Pid)
	signalAll(tree, syscall.SIGCONT)
	_ = cmd.Process.Signal(syscall.SIGCONT)
	_ = cmd.Process.Signal(p.signal)
	select {
	case <-ended:
	case <-ctx.Done():
		return fmt.Errorf("%s does not end: %w", p.name, ctx.Err())
	}
	return p.kill(ctx)
}

// kill ends the program and all its descendants at once.
func (p *process) kill(ctx context.Context) error {
	cmd, ended := p.current()
	if cmd == nil {
		return nil
	}
	group := cmd.Process.Pid
	tree := append(descendants(group), group)
	_ = syscall.Kill(-group, syscall.SIGKILL)
	signalAll(tree, syscall.SIGKILL)
	err := await(ctx, 10*time.Millisecond, func(context.Context) error {
		if living(tree) {
			return fmt.Errorf("%s is still there", p.name)
		}
		return nil
	})
	<-ended
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == cmd {
		p.watch.dismiss()
		p.cmd, p.watch = nil, nil
	}
	return err
}

// send signals every process of the program: the group and the descendants that left it.
func (p *process) send(s syscall.Signal) error {
	cmd, _ := p.current()
	if cmd == nil {
		return fmt.Errorf("%s is not running", p.name)
	}
	if err := syscall.Kill(-cmd.Process.Pid, s); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	signalAll(descendants(cmd.Process.Pid), s)
	return nil
}

func (p *process) current() (*exec.Cmd, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd, p.ended
}

// failure is nil while the program runs; afterwards it says so with the end of its log.
func (p *process) failure() error {
	cmd, ended := p.current()
	if cmd == nil {
		return fmt.Errorf("%s is not running", p.name)
	}
	select {
	case <-ended:
		return &exitError{name: p.name, state: cmd.ProcessState.String(), log: tail(p.log)}
	default:
		return nil
	}
}

// An exitError is the early end of a program: waiting for it to be ready is pointless.
type exitError struct{ name, state, log string }

func (e *exitError) Error() string {
	return fmt.Sprintf("%s ended early (%s); the end of its log:\n%s", e.name, e.state, e.log)
}

// tail is the last 2,000 bytes of a file.
func tail(path string) string {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// await calls check every interval until it succeeds; an exitError or the end of ctx ends it with the last failure.
func await(ctx context.Context, interval time.Duration, check func(context.Context) error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if early := (*exitError)(nil); errors.As(err, &early) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-ticker.C:
		}
	}
}
