package devstack_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rabbitmq/amqp091-go"

	"github.com/syncsets/syncsets/libs/devstack"
)

// ownerRole makes this test binary a program that starts servers and waits to be killed; its value is the directory for Postgres.
const ownerRole = "DEVSTACK_TEST_OWNER"

func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(ownerRole); ok {
		os.Exit(owner(dir))
	}
	devstack.Main(m)
}

// owner starts a server of each kind that can be killed cheaply, prints their addresses and blocks until its input ends.
func owner(dir string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	pg, err := devstack.StartPostgres(ctx, devstack.PostgresOptions{Way: devstack.Processes, Dir: dir, Fsync: true})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	mq, err := devstack.StartRabbitMQ(ctx, devstack.RabbitMQOptions{Way: devstack.Processes})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(pg.URL)
	fmt.Println(mq.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// startOwner runs this binary as an owner and returns it with what it printed.
func startOwner(t *testing.T, dir, temp string) (cmd *exec.Cmd, pg, mq string) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), ownerRole+"="+dir, "TMPDIR="+temp)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(stdout)
	for _, into := range []*string{&pg, &mq} {
		if !lines.Scan() || !strings.Contains(lines.Text(), "://") {
			t.Fatalf("the owner printed %q", lines.Text())
		}
		*into = lines.Text()
	}
	return cmd, pg, mq
}

// enterable is a temporary directory that the user postgres can enter, unlike those of package testing.
func enterable(t *testing.T) string {
	t.Helper()
	path, err := os.MkdirTemp("/tmp", "lifecycle-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(path) })
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func eventually(t *testing.T, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline, tick := time.After(within), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: not within %s: %v", what, within, err)
		case <-tick.C:
		}
	}
}

func TestServersGoWithAnOwnerThatIsKilledAndItsKeptDirectoryStartsAgain(t *testing.T) {
	t.Parallel()
	temp, kept := enterable(t), filepath.Join(enterable(t), "data")
	cmd, pg, mq := startOwner(t, kept, temp)
	exec1(t, pg, "CREATE TABLE kept (n int)")
	busy := connect(t, pg)
	go func() { _, _ = busy.Exec(context.Background(), "SELECT pg_sleep(600)") }() // a backend, in a session of its own, that is at work
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{pg, mq} {
		eventually(t, 20*time.Second, "nobody listens any more at "+address, func() error { return refused(address) })
	}
	eventually(t, 20*time.Second, "the temporary directory is gone", func() error { return empty(temp) })
	eventually(t, 20*time.Second, "no process uses the directories", func() error { return unused(temp, kept) })

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	again, err := devstack.StartPostgres(ctx, devstack.PostgresOptions{Way: devstack.Processes, Dir: kept})
	if err != nil {
		t.Fatalf("start in the directory of a dead owner: %v", err)
	}
	defer again.Stop(ctx)
	exec1(t, again.URL, "INSERT INTO kept VALUES (1)")
}

func TestADirectoryInUseIsRefusedWithItsOwner(t *testing.T) {
	t.Parallel()
	temp, kept := enterable(t), filepath.Join(enterable(t), "data")
	cmd, _, _ := startOwner(t, kept, temp)
	_, err := devstack.StartPostgres(t.Context(), devstack.PostgresOptions{Way: devstack.Processes, Dir: kept})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d", cmd.Process.Pid)) {
		t.Errorf("got %v, want the process that uses it", err)
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	_, err = devstack.StartPostgres(t.Context(), devstack.PostgresOptions{Way: devstack.Processes, Port: port})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port %d is taken", port)) {
		t.Errorf("got %v, want the port that is taken", err)
	}
}

func TestSweepRemovesWhatDeadOwnersLeft(t *testing.T) {
	t.Parallel()
	left, err := os.MkdirTemp("/tmp", "devstack-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(left) })
	orphan := exec.Command("sleep", "600")
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()
	born, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", orphan.Process.Pid))
	if err != nil {
		_ = orphan.Process.Kill()
		t.Skip("the orphan's start time is read from /proc, which this system lacks")
	}
	start := strings.Fields(string(born[strings.LastIndexByte(string(born), ')')+1:]))[19]
	write(t, filepath.Join(left, ".processes"), fmt.Sprintf("%d %s\n", orphan.Process.Pid, start))
	write(t, filepath.Join(left, ".owner"), "999999999 1\n")
	devstack.Sweep()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		_ = orphan.Process.Kill()
		t.Error("the process that the dead owner left still runs")
	}
}

func TestPostgresKeepsDataAndAddressOverKillPauseAndRestart(t *testing.T) {
	t.Parallel()
	pg := devstack.NewPostgres(t, devstack.PostgresOptions{})
	exec1(t, pg.Params, "CREATE TABLE kept (n int)")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := pg.Server.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	short, done := context.WithTimeout(ctx, time.Second)
	defer done()
	if conn, err := pgx.Connect(short, pg.Params); err == nil {
		t.Errorf("a paused server took a connection: %v", conn.Close(ctx))
	}
	if err := pg.Server.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	exec1(t, pg.Params, "INSERT INTO kept VALUES (1)")
	if err := pg.Server.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if err := refused(pg.Params); err != nil {
		t.Errorf("after Kill: %v", err)
	}
	for range 2 {
		if err := pg.Server.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		exec1(t, pg.Params, "INSERT INTO kept VALUES (2)")
	}
}

func TestRabbitMQKeepsDurableMessagesOverRestartAndKill(t *testing.T) {
	t.Parallel()
	mq := devstack.NewRabbitMQ(t, devstack.RabbitMQOptions{})
	queue := mq.Prefix + "kept"
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	withChannel(t, mq.URL, func(ch *amqp091.Channel) error {
		_, err := ch.QueueDeclare(queue, true, false, false, false, amqp091.Table{"x-queue-type": "quorum"})
		return err
	})
	if err := mq.Server.Restart(ctx); err != nil { // in order: a quorum queue made in the last second does not survive a kill
		t.Fatal(err)
	}
	withChannel(t, mq.URL, func(ch *amqp091.Channel) error { return publish(ctx, ch, queue) })
	if err := mq.Server.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if err := mq.Server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the message is there after the restart", func() error {
		var got bool
		var err error
		withChannel(t, mq.URL, func(ch *amqp091.Channel) error {
			_, got, err = ch.Get(queue, true)
			return nil
		})
		if err == nil && !got {
			err = errors.New("the queue is empty")
		}
		return err
	})
}

// publish returns when the broker has confirmed the message.
func publish(ctx context.Context, ch *amqp091.Channel, queue string) error {
	if err := ch.Confirm(false); err != nil {
		return err
	}
	message := amqp091.Publishing{DeliveryMode: amqp091.Persistent, Body: []byte("hello")}
	confirmation, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", queue, true, false, message)
	if err != nil {
		return err
	}
	confirmed, err := confirmation.WaitContext(ctx)
	if err == nil && !confirmed {
		err = errors.New("the message was not confirmed")
	}
	return err
}

func withChannel(t *testing.T, address string, do func(*amqp091.Channel) error) {
	t.Helper()
	conn, err := amqp091.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := do(ch); err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func exec1(t *testing.T, address, statement string) {
	t.Helper()
	conn := connect(t, address)
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// refused is nil when nobody listens at the address.
func refused(address string) error {
	parsed, err := url.Parse(address)
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", parsed.Host, time.Second)
	if err != nil {
		return nil
	}
	return errors.Join(errors.New("somebody listens at "+parsed.Host), conn.Close())
}

func empty(path string) error {
	entries, err := os.ReadDir(path)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s still has %s", path, entries[0].Name())
	}
	return err
}

// unused is nil when no process has its working directory or its arguments in one of the paths.
func unused(paths ...string) error {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		cwd, _ := os.Readlink(filepath.Join(process, "cwd"))
		for _, path := range paths {
			if strings.HasPrefix(cwd, path) {
				return fmt.Errorf("%s is at work in %s", process, cwd)
			}
		}
	}
	return nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
