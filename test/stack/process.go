package stack

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is one replica of a service.
type Process struct {
	Name, Service           string
	Public, Admin, Internal string // addresses, host:port
	LogFile                 string

	t      testing.TB
	binary string
	env    map[string]string
	cmd    *exec.Cmd
	exited chan struct{}
}

// SetEnv changes a variable for the next Start; an empty value leaves it out.
func (p *Process) SetEnv(name, value string) { p.env[name] = value }

// Env returns a variable as the process gets it.
func (p *Process) Env(name string) string { return p.env[name] }

// PID returns the process id of the running process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Start starts the process; its output is appended to LogFile.
func (p *Process) Start() {
	p.t.Helper()
	log, err := os.OpenFile(p.LogFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.CommandContext(context.Background(), p.binary) // Stop or Kill ends it
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(p.LogFile)}
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		if value := p.env[name]; value != "" {
			p.cmd.Env = append(p.cmd.Env, name+"="+value)
		}
	}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.Name, err)
	}
	p.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		_ = log.Close()
		close(exited)
	}(p.cmd, p.exited)
}

// WaitReady waits until the readiness endpoint is green.
func (p *Process) WaitReady(limit time.Duration) {
	p.t.Helper()
	Wait(p.t, limit, p.Name+" ready", func() (bool, string) {
		select {
		case <-p.exited:
			p.t.Fatalf("%s ended (%s):\n%s", p.Name, p.cmd.ProcessState, tail(p.LogFile, 30))
		default:
		}
		return p.Ready()
	})
}

// Ready asks the readiness endpoint; the text is its status and body.
func (p *Process) Ready() (bool, string) { return answers(p.Admin, "/readyz") }

// Live asks the liveness endpoint.
func (p *Process) Live() (bool, string) { return answers(p.Admin, "/livez") }

// Stop sends SIGTERM and, after limit, SIGKILL; it returns whether the process ended by itself with exit code 0.
func (p *Process) Stop(limit time.Duration) bool {
	if !p.running() {
		return false
	}
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode() == 0
	case <-time.After(limit):
		p.t.Errorf("%s did not end within %s of SIGTERM", p.Name, limit)
		p.Kill()
		return false
	}
}

// Kill ends the process with SIGKILL and waits for it.
func (p *Process) Kill() {
	if p.running() {
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// Pause stops the process with SIGSTOP; Resume lets it go on.
func (p *Process) Pause() { p.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume() { p.signal(syscall.SIGCONT) }

// Wait waits for the process to end by itself and returns its exit code.
func (p *Process) Wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.t.Fatalf("%s did not end within %s", p.Name, limit)
		return -1
	}
}

// Log returns all that the process has printed so far.
func (p *Process) Log() string {
	b, _ := os.ReadFile(p.LogFile)
	return string(b)
}

func (p *Process) signal(sig syscall.Signal) {
	if p.running() {
		_ = p.cmd.Process.Signal(sig)
	}
}

func (p *Process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

var (
	binaries  sync.Map // service -> func() (string, error), built once
	binaryDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "syncsets-bin-") })
)

// Binary builds the service once per test binary, with the race detector when the test has it, and returns its path.
// SYNCSETS_BIN names a folder with binaries built before.
func Binary(t testing.TB, service string) string {
	t.Helper()
	if dir := os.Getenv("SYNCSETS_BIN"); dir != "" {
		return filepath.Join(dir, service)
	}
	build, _ := binaries.LoadOrStore(service, sync.OnceValues(func() (string, error) { return buildBinary(service) }))
	path, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func buildBinary(service string) (string, error) {
	dir, err := binaryDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, service)
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(context.Background(), "go", append(args, "github.com/syncsets/syncsets/services/"+service+"/cmd/"+service)...)
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", service, err, out)
	}
	return path, nil
}

// Root returns the checkout's top folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Metric returns the sum of all series whose name contains word, from the process's /metrics.
func (p *Process) Metric(t testing.TB, word string) float64 {
	t.Helper()
	a, err := Request(context.Background(), http.MethodGet, "http://"+p.Admin+"/metrics", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for line := range strings.Lines(string(a.Body)) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		series, _, _ := strings.Cut(name, "{")
		if strings.HasPrefix(line, "#") || !strings.Contains(series, word) {
			continue
		}
		if i := strings.LastIndex(rest, " "); i >= 0 {
			rest = rest[i+1:]
		}
		if v, err := strconv.ParseFloat(rest, 64); err == nil {
			sum += v
		}
	}
	return sum
}
