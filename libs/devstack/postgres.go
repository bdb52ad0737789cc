package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresURL is the superuser's URL. The server trusts whoever reaches its loopback port: it holds nothing that is not the caller's.
func postgresURL(port int) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)
}

func postgresProcess(ctx context.Context, o PostgresOptions) (*Server, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	account, err := postgresUser()
	if err != nil {
		return nil, err
	}
	if err := freePorts(&o.Port); err != nil {
		return nil, err
	}
	if err := awaitPort(ctx, o.Port); err != nil {
		return nil, err
	}
	home, err := newDir(o.Dir, "postgres")
	if err != nil {
		return nil, err
	}
	run := postgresRunner(home, bin, account, o)
	server := &Server{URL: postgresURL(o.Port), Way: Processes, run: run}
	if err := run.start(ctx); err != nil {
		return nil, errors.Join(err, run.remove(ctx))
	}
	return server, nil
}

func postgresRunner(home *dir, bin string, account *syscall.Credential, o PostgresOptions) *processes {
	data := filepath.Join(home.path, "data")
	server := &process{
		name: "postgres",
		argv: append([]string{filepath.Join(bin, "postgres"), "-D", data}, postgresSettings(o)...),
		env:  environment("HOME=" + home.path), cwd: home.path, user: account,
		log: filepath.Join(home.path, "postgres.log"), signal: syscall.SIGINT, sweep: home.sweep(),
	}
	return &processes{
		dir: home, parts: []*process{server}, within: time.Minute,
		prepare: func(ctx context.Context) error { return initdb(ctx, home, bin, account, o) },
		ready:   []func(context.Context) error{func(ctx context.Context) error { return pingPostgres(ctx, postgresURL(o.Port)) }},
	}
}

func postgresSettings(o PostgresOptions) []string {
	settings := []string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(o.Port), "unix_socket_directories=",
		"max_connections=300", "shared_buffers=64MB", "log_min_messages=warning", "timezone=UTC",
	}
	if !o.Fsync { // a crash of the machine may lose data; a kill of the server never does
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	var args []string
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	return args
}

// initdb makes the data directory when there is none yet, and frees an old one from the lock of a server that is gone.
func initdb(ctx context.Context, home *dir, bin string, account *syscall.Credential, o PostgresOptions) error {
	data, err := home.sub("data", account)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
		_ = os.Remove(filepath.Join(data, "postmaster.pid")) // the directory is ours alone: nobody is using it
		return nil
	}
	args := []string{"-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"}
	if !o.Fsync {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), args...)
	cmd.Dir, cmd.Env = home.path, environment("HOME="+home.path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: account}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func pingPostgres(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	return errors.Join(conn.Ping(ctx), conn.Close(ctx))
}

// postgresBin is the folder of the newest Postgres server of this machine.
func postgresBin() (string, error) {
	var found []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin/postgres", "/usr/pgsql-*/bin/postgres", "/opt/homebrew/opt/postgresql@*/bin/postgres", "/usr/local/opt/postgresql@*/bin/postgres",
	} {
		matches, _ := filepath.Glob(pattern)
		found = append(found, matches...)
	}
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b string) int { return versionIn(a) - versionIn(b) })
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", errors.New("no Postgres server on this machine: run `make deps`")
	}
	return filepath.Dir(path), nil
}

// versionIn is the first number in a path.
func versionIn(path string) int {
	number := 0
	for i := range len(path) {
		if digit := path[i]; digit >= '0' && digit <= '9' {
			number = number*10 + int(digit-'0')
		} else if number > 0 {
			break
		}
	}
	return number
}

// postgresUser is the account for the server when this process is root, which Postgres refuses to run as; else nil.
func postgresUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(account.Uid, 10, 32)
		gid, _ := strconv.ParseUint(account.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: false}, nil
	}
	return nil, errors.New("postgres refuses to run as root and there is no user postgres: run `make deps`")
}
