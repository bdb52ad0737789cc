package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/seal"
)

// runVariable makes the test binary be the service, so that the program under test is built like the test, with the race detector too.
const runVariable = "CLUSTERS_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runVariable) != "" {
		main()
		return
	}
	devstack.Main(m)
}

// program is the service as a process.
type program struct {
	t                       *testing.T
	command                 *exec.Cmd
	public, admin, internal string
	log                     *buffer
	ended                   chan struct{}
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	socket, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	return socket.Addr().String()
}

// command prepares the service with nothing but these variables in its environment.
func command(t *testing.T, args []string, env ...string) *exec.Cmd {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(context.WithoutCancel(t.Context()), path, args...)
	c.Env = append([]string{runVariable + "=1"}, env...)
	return c
}

// start runs the service until the test ends.
func start(t *testing.T, params, amqpURL, prefix string, more ...string) *program {
	t.Helper()
	p := &program{
		t: t, public: freeAddress(t), admin: freeAddress(t), internal: freeAddress(t), log: &buffer{}, ended: make(chan struct{}),
	}
	p.command = command(t, nil, append([]string{
		"POSTGRES_PARAMS=" + params, "AMQP_URL=" + amqpURL, "AMQP_PREFIX=" + prefix, "SEAL_KEYS=" + seal.Generate(), "MIGRATE=auto",
		"LISTEN_ADDR=" + p.public, "ADMIN_ADDR=" + p.admin, "INTERNAL_ADDR=" + p.internal,
	}, more...)...)
	p.command.Stderr = p.log
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.command.Wait() // the exit code is read from ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.command.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("the service's log:\n%s", p.log)
		}
	})
	return p
}

func (p *program) call(method, url, body string) (int, http.Header, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body) // what is missing shows in the comparison
	return response.StatusCode, response.Header, string(text)
}

// wait asks ok until it is true.
func (p *program) wait(what string, ok func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(45 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s did not come true", what)
		}
	}
}

func (p *program) waitStatus(url string, status int) {
	p.t.Helper()
	p.wait(url, func() bool {
		got, _, _ := p.call(http.MethodGet, url, "")
		return got == status
	})
}

func (p *program) ready() { p.t.Helper(); p.waitStatus(p.admin+"/readyz", http.StatusOK) }

func (p *program) register(name string) (int, http.Header) {
	p.t.Helper()
	status, header, text := p.call(http.MethodPost, p.public+"/v1/clusters",
		`{"name": "`+name+`", "namespace": "foo", "kubeconfig": "foobar"}`)
	if status != http.StatusCreated && status != http.StatusServiceUnavailable {
		p.t.Fatalf("registering %s: %d %s", name, status, text)
	}
	return status, header
}

func TestAWrongSettingIsOneLineAndExitCode2(t *testing.T) {
	t.Parallel()
	keys := seal.Generate()
	good := []string{"POSTGRES_PARAMS=postgres://x@127.0.0.1:1/x", "SEAL_KEYS=" + keys}
	tests := map[string]struct {
		env  []string
		args []string
		want string
	}{
		"no database":                    {[]string{"SEAL_KEYS=" + keys}, nil, "POSTGRES_PARAMS is required"},
		"no keys":                        {good[:1], nil, "SEAL_KEYS is required"},
		"keys that are none":             {[]string{good[0], "SEAL_KEYS=secret"}, nil, "SEAL_KEYS seal key 1"},
		"a database nobody understands":  {[]string{"POSTGRES_PARAMS=a=b=c d", good[1]}, nil, "POSTGRES_PARAMS is not a connection string"},
		"an unknown migration mode":      {append(good, "MIGRATE=sometimes"), nil, "MIGRATE must be one of auto, verify"},
		"an unknown log level":           {append(good, "LOG_LEVEL=loud"), nil, "LOG_LEVEL must be debug, info, warn or error"},
		"an unknown way of access":       {append(good, "AUTH=maybe"), nil, "AUTH must be one of none, token"},
		"open to the world":              {append(good, "LISTEN_ADDR=0.0.0.0:0"), nil, "AUTH=none is only possible when LISTEN_ADDR is on loopback"},
		"open to the world by default":   {append(good, "LISTEN_ADDR=:0"), nil, "AUTH=none is only possible when LISTEN_ADDR is on loopback"},
		"kubeconfigs open to the world":  {append(good, "INTERNAL_ADDR=0.0.0.0:0"), nil, "INTERNAL_TOKEN is required"},
		"tokens without a file":          {append(good, "AUTH=token"), nil, "AUTH_TOKENS_FILE is required"},
		"tokens in a file that is not":   {append(good, "AUTH=token", "AUTH_TOKENS_FILE=/nowhere"), nil, "read tokens"},
		"a flag that overrides":          {good, []string{"-migrate=never"}, "MIGRATE must be one of auto, verify"},
		"an unknown flag":                {good, []string{"-nonsense"}, "flag provided but not defined"},
		"an unknown command":             {good, []string{"launch"}, `"launch" is not a command`},
		"a migration without a database": {good[1:], []string{"migrate"}, "POSTGRES_PARAMS is required"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := command(t, test.args, test.env...)
			output, _ := c.CombinedOutput() // the exit code is looked at below
			if code := c.ProcessState.ExitCode(); code != 2 {
				t.Errorf("exit code %d, not 2", code)
			}
			lines := strings.Split(strings.TrimSpace(string(output)), "\n")
			last := lines[len(lines)-1]
			if !strings.Contains(last, test.want) || strings.Contains(last, "secret") || len(lines) > 2 {
				t.Errorf("output is %q, not one line with %q", output, test.want)
			}
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	for _, test := range [][2]string{{"version", "clusters dev"}, {"-help", "SEAL_KEYS"}, {"help", "migrate [flags]"}} {
		output, err := command(t, test[:1], "SEAL_KEYS=secret").CombinedOutput()
		if err != nil || !strings.Contains(string(output), test[1]) || strings.Contains(string(output), "secret") {
			t.Errorf("%s: %v, %s", test[0], err, output)
		}
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	t.Parallel()
	socket, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	c := command(t, nil, "POSTGRES_PARAMS=postgres://x@127.0.0.1:1/x", "SEAL_KEYS="+seal.Generate(),
		"LISTEN_ADDR=127.0.0.1:0", "INTERNAL_ADDR=127.0.0.1:0", "ADMIN_ADDR="+socket.Addr().String())
	output, _ := c.CombinedOutput() // the exit code is looked at below
	if c.ProcessState.ExitCode() != 1 || !strings.Contains(string(output), "ADMIN_ADDR: listen tcp "+socket.Addr().String()) {
		t.Errorf("exit code %d: %s", c.ProcessState.ExitCode(), output)
	}
}

func TestOneTraceAndOneEventPerWrite(t *testing.T) {
	t.Parallel()
	pg, rabbit := devstack.Postgres(t), devstack.RabbitMQ(t)
	p := start(t, pg.Params, rabbit.URL, rabbit.Prefix)
	p.ready()
	deliveries := consume(t, rabbit)
	_, header := p.register("one")
	type event struct{ Operation, Name, TraceParent, Revision string }
	var page struct{ Items []event }
	p.wait("the event in the feed", func() bool {
		_, _, text := p.call(http.MethodGet, p.public+"/v1/events/clusters", "")
		return json.Unmarshal([]byte(text), &page) == nil && len(page.Items) == 1
	})
	want := header.Get("Traceparent")
	if got := page.Items[0]; got.TraceParent != want || got.Operation != "created" || got.Name != "one" || want == "" {
		t.Errorf("event %+v of the request %s", got, want)
	}
	if d := <-deliveries; d.RoutingKey != "clusters.created.foo" || strings.Contains(string(d.Body), "foobar") {
		t.Errorf("message %s: %s", d.RoutingKey, d.Body)
	}
	var list struct{ Revision string }
	_, _, text := p.call(http.MethodGet, p.public+"/v1/clusters", "")
	if err := json.Unmarshal([]byte(text), &list); err != nil || list.Revision != page.Items[0].Revision {
		t.Errorf("the list is at %q, the event at %q", list.Revision, page.Items[0].Revision)
	}
	if strings.Contains(p.log.String(), "foobar") {
		t.Error("the log shows a kubeconfig")
	}
}

// consume binds a queue to the service's exchange and returns what arrives but bookmarks.
func consume(t *testing.T, rabbit *devstack.Rabbit) <-chan amqp091.Delivery {
	t.Helper()
	connection, err := amqp091.Dial(rabbit.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	channel, err := connection.Channel()
	if err != nil {
		t.Fatal(err)
	}
	queue, err := channel.QueueDeclare("", false, true, true, false, amqp091.Table{amqp091.QueueTypeArg: amqp091.QueueTypeClassic})
	if err != nil {
		t.Fatal(err)
	}
	if err := channel.QueueBind(queue.Name, "clusters.*.foo", rabbit.Prefix+"clusters", false, nil); err != nil {
		t.Fatal(err)
	}
	deliveries, err := channel.Consume(queue.Name, "", true, true, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return deliveries
}

func TestTheServiceWaitsForPostgresAndSurvivesItsAbsence(t *testing.T) {
	t.Parallel()
	pg, rabbit := devstack.NewPostgres(t, devstack.PostgresOptions{}), devstack.RabbitMQ(t)
	stop := func() {
		if err := pg.Server.Halt(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	restart := func() {
		if err := pg.Server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	p := start(t, pg.Params, rabbit.URL, rabbit.Prefix)
	p.waitStatus(p.admin+"/livez", http.StatusOK)
	p.waitStatus(p.admin+"/readyz", http.StatusServiceUnavailable)
	if status, header := p.register("early"); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" ||
		header.Get("X-Request-Id") == "" {
		t.Errorf("before Postgres: status %d, %v", status, header)
	}
	restart()
	p.ready()
	if status, _ := p.register("one"); status != http.StatusCreated {
		t.Errorf("with Postgres: status %d", status)
	}
	stop()
	if status, header := p.register("two"); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("without Postgres: status %d, Retry-After %q", status, header.Get("Retry-After"))
	}
	p.waitStatus(p.admin+"/readyz", http.StatusServiceUnavailable)
	p.waitStatus(p.admin+"/livez", http.StatusOK)
	restart()
	p.ready()
	if status, _ := p.register("two"); status != http.StatusCreated {
		t.Errorf("with Postgres again: status %d", status)
	}
}

func TestWritesDoNotNeedRabbitMQAndAreDeliveredLater(t *testing.T) {
	t.Parallel()
	pg, rabbit := devstack.Postgres(t), devstack.NewRabbitMQ(t, devstack.RabbitMQOptions{})
	if err := rabbit.Server.Halt(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := start(t, pg.Params, rabbit.URL, rabbit.Prefix)
	p.waitStatus(p.admin+"/livez", http.StatusOK)
	p.wait("a write without the broker", func() bool {
		status, _ := p.register("one")
		return status == http.StatusCreated
	})
	p.waitStatus(p.admin+"/readyz", http.StatusServiceUnavailable)
	if err := rabbit.Server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.ready()
	p.wait("the event to be published", func() bool {
		var published int64
		err := pg.Pool.QueryRow(t.Context(), "SELECT published_rev FROM clusters.relay").Scan(&published)
		return err == nil && published == 1
	})
}

func TestSIGTERMEndsInOrder(t *testing.T) {
	t.Parallel()
	pg, rabbit := devstack.Postgres(t), devstack.RabbitMQ(t)
	for name, wait := range map[string]func(*program){
		"while ready":    (*program).ready,
		"while starting": func(p *program) { p.waitStatus(p.admin+"/livez", http.StatusOK) },
	} {
		p := start(t, pg.Params, rabbit.URL, rabbit.Prefix)
		wait(p)
		if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.ended:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: still there after 20 s", name)
		}
		if code := p.command.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s: exit code %d", name, code)
		}
	}
}

func TestAServiceThatMayNotMigrateWaitsForTheOneThatDoes(t *testing.T) {
	t.Parallel()
	pg, rabbit := devstack.Postgres(t), devstack.RabbitMQ(t)
	p := start(t, pg.Params, rabbit.URL, rabbit.Prefix, "MIGRATE=verify")
	p.wait("readiness that names the command", func() bool {
		_, _, text := p.call(http.MethodGet, p.admin+"/readyz", "")
		return strings.Contains(text, "clusters migrate")
	})
	c := command(t, []string{"migrate"}, "POSTGRES_PARAMS="+pg.Params)
	if output, err := c.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v: %s", err, output)
	}
	p.ready()
}
