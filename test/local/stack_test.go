// Package local_test runs what a newcomer runs: `devstack run` as `make run` does, and every command of the documentation.
package local_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncsets/syncsets/libs/devstack"
)

func TestMain(m *testing.M) { devstack.Main(m) }

// root is the top of the checkout.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// local is a running `devstack run`.
type local struct {
	Port             int
	Postgres, Broker string // what it printed
	Ready            time.Duration
	t                testing.TB
	cmd              *exec.Cmd
	out              *os.File
	ended            chan struct{}
}

// buildDevstack compiles the command as make does.
func buildDevstack(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "devstack")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/devstack")
	cmd.Dir = root()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// launch starts devstack without waiting for it.
func launch(t testing.TB, binary, data string, port int) *local {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	l := &local{t: t, Port: port, out: out, ended: make(chan struct{})}
	l.cmd = exec.Command(binary, "run", "-data", data, "-port", strconv.Itoa(port))
	l.cmd.Dir, l.cmd.Stdout, l.cmd.Stderr = root(), out, out
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = l.cmd.Wait(); close(l.ended) }()
	t.Cleanup(func() {
		_ = l.cmd.Process.Signal(syscall.SIGTERM)
		<-l.ended
		_ = out.Close()
		if t.Failed() {
			t.Logf("devstack printed:\n%s", l.output())
		}
	})
	return l
}

// start launches devstack and waits until it says that all is ready.
func start(t testing.TB, binary, data string, port int) *local {
	t.Helper()
	began := time.Now()
	l := launch(t, binary, data, port)
	l.await("Ctrl-C stops everything", 6*time.Minute)
	l.Ready = time.Since(began)
	l.Postgres, l.Broker = l.printed("POSTGRES_PARAMS"), l.printed("AMQP_URL")
	return l
}

func (l *local) output() string {
	b, _ := os.ReadFile(l.out.Name())
	return string(b)
}

// printed returns the value of an export line.
func (l *local) printed(variable string) string {
	l.t.Helper()
	found := regexp.MustCompile(`export ` + variable + `=(\S+)\n`).FindStringSubmatch(l.output())
	if found == nil {
		l.t.Fatalf("%s was not printed", variable)
	}
	return found[1]
}

func (l *local) await(text string, limit time.Duration) {
	l.t.Helper()
	waitFor(l.t, limit, "devstack to print "+text, func() bool {
		select {
		case <-l.ended:
			l.t.Fatalf("devstack ended with %v", l.cmd.ProcessState)
		default:
		}
		return strings.Contains(l.output(), text)
	})
}

// exit waits for the end and returns the exit code, -1 after a signal.
func (l *local) exit(limit time.Duration) int {
	l.t.Helper()
	select {
	case <-l.ended:
		return l.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		l.t.Fatalf("devstack is still there %s later", limit)
		return 0
	}
}

// processes returns the command lines of all processes that were started with a path in data.
func processes(data string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(b, []byte(data)) {
			continue
		}
		found = append(found, filepath.Base(filepath.Dir(file))+" "+string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
	}
	return found
}

func awaitGone(t testing.TB, data string) {
	t.Helper()
	waitFor(t, 20*time.Second, "every process of the stack to be gone", func() bool { return len(processes(data)) == 0 })
	if left := processes(data); len(left) > 0 {
		t.Errorf("still there: %v", left)
	}
}

// waitFor asks ok every 20 ms and fails the test when it has not said yes within limit.
func waitFor(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited %s for %s", limit, what)
		}
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
