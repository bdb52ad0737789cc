package devstack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rabbitmq/amqp091-go"
)

func rabbitURL(port int) string { return fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", port) }

// A broker is what the programs of one RabbitMQ node have to know.
type broker struct {
	home                           *dir
	script, epmd, node             string
	port, distPort, epmdPort, http int
}

func rabbitProcess(ctx context.Context, o RabbitMQOptions) (*Server, error) {
	script, err := rabbitScript()
	if err != nil {
		return nil, err
	}
	epmd, err := exec.LookPath("epmd")
	if err != nil {
		return nil, fmt.Errorf("erlang's epmd is not on the PATH: %w", err)
	}
	b := &broker{script: script, epmd: epmd, port: o.Port}
	if err := freePorts(&b.port, &b.distPort, &b.epmdPort); err != nil {
		return nil, err
	}
	if o.Management {
		err = freePorts(&b.http)
	}
	if err := errors.Join(err, awaitPort(ctx, b.port)); err != nil {
		return nil, err
	}
	if b.home, err = newDir(o.Dir, "rabbitmq"); err != nil {
		return nil, err
	}
	run := b.runner()
	if err := run.start(ctx); err != nil {
		return nil, errors.Join(err, run.remove(ctx))
	}
	return &Server{URL: rabbitURL(b.port), Way: Processes, run: run}, nil
}

// runner starts the node behind an epmd of its own: the one that erl would start leaves every process group and stays.
func (b *broker) runner() *processes {
	path := b.home.path
	epmd := &process{
		name: "epmd", argv: []string{b.epmd, "-port", strconv.Itoa(b.epmdPort), "-address", "127.0.0.1"},
		env: environment("HOME=" + path), cwd: path, log: filepath.Join(path, "epmd.log"), signal: syscall.SIGKILL, sweep: b.home.sweep(),
	}
	node := &process{
		name: "rabbitmq", argv: []string{b.script}, cwd: path,
		log: filepath.Join(path, "rabbitmq.log"), signal: syscall.SIGTERM, sweep: b.home.sweep(),
	}
	return &processes{
		dir: b.home, parts: []*process{epmd, node}, within: 90 * time.Second,
		prepare: func(context.Context) error {
			err := b.prepare()
			node.env = b.environment()
			return err
		},
		ready: []func(context.Context) error{
			func(context.Context) error { return listening(b.epmdPort) },
			func(context.Context) error { return pingRabbit(rabbitURL(b.port)) },
		},
	}
}

// prepare writes the files of the node. Its name stays with the directory: the data is stored under it.
func (b *broker) prepare() error {
	plugins := "[]."
	if b.http != 0 {
		plugins = "[rabbitmq_management]."
	}
	config := fmt.Sprintf("loopback_users.guest = false\nlog.file = false\nlog.console = true\nlog.console.level = warning\n"+
		"disk_free_limit.absolute = 50MB\nvm_memory_high_watermark.relative = 0.4\n%s", b.httpConfig())
	name := filepath.Join(b.home.path, "node")
	if _, err := os.Stat(name); err != nil {
		if err := os.WriteFile(name, []byte("devstack-"+strings.ToLower(rand.Text()[:8])+"@localhost"), 0o600); err != nil {
			return fmt.Errorf("name the node: %w", err)
		}
	}
	node, err := os.ReadFile(name)
	b.node = string(node)
	return errors.Join(err,
		os.WriteFile(filepath.Join(b.home.path, "enabled_plugins"), []byte(plugins), 0o600),
		os.WriteFile(filepath.Join(b.home.path, "rabbitmq.conf"), []byte(config), 0o600))
}

func (b *broker) httpConfig() string {
	if b.http == 0 {
		return ""
	}
	return fmt.Sprintf("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = %d\n", b.http)
}

func (b *broker) environment() []string {
	path := b.home.path
	return environment("HOME="+path,
		"RABBITMQ_NODENAME="+b.node,
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT="+strconv.Itoa(b.port),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(b.distPort),
		"RABBITMQ_MNESIA_BASE="+filepath.Join(path, "mnesia"),
		"RABBITMQ_LOG_BASE="+filepath.Join(path, "log"),
		"RABBITMQ_PID_FILE="+filepath.Join(path, "pid"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(path, "enabled_plugins"),
		"RABBITMQ_CONFIG_FILE="+filepath.Join(path, "rabbitmq.conf"),
		"RABBITMQ_CONF_ENV_FILE="+filepath.Join(path, "rabbitmq-env.conf"),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
		"ERL_EPMD_PORT="+strconv.Itoa(b.epmdPort),
		"ERL_EPMD_ADDRESS=127.0.0.1",
	)
}

func pingRabbit(url string) error {
	conn, err := amqp091.DialConfig(url, amqp091.Config{Dial: amqp091.DefaultDial(3 * time.Second)})
	if err != nil {
		return fmt.Errorf("connect to rabbitmq: %w", err)
	}
	return conn.Close()
}

// listening says whether somebody accepts connections on the port.
func listening(port int) error {
	if portFree(port) == nil {
		return fmt.Errorf("nobody listens on port %d yet", port)
	}
	return nil
}

// rabbitScript is the broker's own start script: the one on the PATH insists on a user of its own.
func rabbitScript() (string, error) {
	for _, pattern := range []string{"/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server", "/usr/local/opt/rabbitmq/sbin/rabbitmq-server"} {
		if _, err := os.Stat(pattern); err == nil {
			return pattern, nil
		}
	}
	return "", errors.New("no RabbitMQ server on this machine: run `make deps`")
}
