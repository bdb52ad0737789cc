// Command devstack runs the whole system on one machine: `make run` and `make demo` are its two commands.
//
//	front door :7070 ──┬─> clusters ───┐
//	                   ├─> syncsets ───┼──> Postgres   (data folder, kept)
//	                   └─> reconciler ─┴──> RabbitMQ   (data folder, kept)
//	                            └─────────> the demo's target: a Kubernetes API server
//
// A third, share, is for `make test`: it starts throw-away servers, runs a command that uses them, and ends them.
//
// Everything it starts listens on loopback and ends with it, also after a kill -9.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/syncsets/syncsets/cmd/devstack/internal/screen"
	"github.com/syncsets/syncsets/libs/devstack"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // a wrong setting, a taken port, a data folder in use
)

// options are what the environment and the command line chose.
type options struct {
	command    string
	port       int
	dataDir    string
	parts      devstack.Setting // way and images of the servers
	kubeconfig string           // a file; the demo's target when set
	exit       bool             // end after the demo's last step
	withParent bool             // end when the starting process is gone
	run        []string         // share: the command to run
}

func main() {
	o, err := parse(os.Args[1:], os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "devstack:", err)
		os.Exit(exitUsage)
	}
	os.Exit(run(o))
}

// parse reads the command, its flags and the environment.
func parse(args []string, env func(string) string) (options, error) {
	if len(args) == 0 || !slices.Contains([]string{"run", "demo", "share"}, args[0]) {
		return options{}, errors.New("usage: devstack run|demo [flags], devstack share COMMAND; see devstack run -h")
	}
	o := options{command: args[0], kubeconfig: env("KUBECONFIG"), parts: devstack.Setting{
		Way: devstack.Way(env("DEVSTACK")), PostgresImage: env("DEVSTACK_POSTGRES_IMAGE"),
		RabbitMQImage: env("DEVSTACK_RABBITMQ_IMAGE"), K3sImage: env("DEVSTACK_K3S_IMAGE"),
	}}
	flags := flag.NewFlagSet("devstack "+args[0], flag.ContinueOnError)
	port := flags.String("port", either(env("PORT"), "7070"), "port of the front door (PORT)")
	flags.StringVar(&o.dataDir, "data", either(env("DATA_DIR"), ".data"), "folder that keeps the data (DATA_DIR)")
	exit := flags.String("exit", either(env("EXIT"), "0"), "1: end after the demo's last step (EXIT)")
	flags.BoolVar(&o.withParent, "end-with-parent", false, "end when the process that started this one is gone")
	if err := flags.Parse(args[1:]); err != nil {
		return options{}, err
	}
	o.run = flags.Args()
	if wants := o.command == "share"; wants != (len(o.run) > 0) {
		return options{}, fmt.Errorf("devstack %s %v: share needs a command to run, run and demo take none", o.command, o.run)
	}
	if o.command == "share" {
		return o, nil // the tests' setting has its own reader
	}
	var err error
	if o.port, err = strconv.Atoi(*port); err != nil || o.port < 1 || o.port > 65535 {
		return options{}, fmt.Errorf("PORT=%s: not a port between 1 and 65535", *port)
	}
	if o.exit, err = strconv.ParseBool(*exit); err != nil {
		return options{}, fmt.Errorf("EXIT=%s: neither 0 nor 1", *exit)
	}
	if !slices.Contains([]devstack.Way{devstack.Auto, devstack.Processes, devstack.Containers}, o.parts.Way) {
		return options{}, fmt.Errorf("DEVSTACK=%s: neither processes nor containers", o.parts.Way)
	}
	return o, nil
}

// run runs the chosen command until it is done or told to stop, and returns the exit code.
func run(o options) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	if o.withParent {
		ctx = untilParentEnds(ctx)
	}
	out := screen.New(os.Stdout, os.Getenv("NO_COLOR") != "")
	if o.command == "share" {
		code, err := share(ctx, o, out)
		if err != nil {
			out.Warn("devstack", "%s", err)
		}
		return code
	}
	err := up(ctx, o, out)
	var usage usageError
	switch {
	case errors.As(err, &usage):
		out.Warn("devstack", "%s", usage)
		return exitUsage
	case err != nil && ctx.Err() == nil:
		out.Warn("devstack", "%s", err)
		return exitFailed
	case o.exit && o.command == "demo" && ctx.Err() != nil:
		return exitFailed // interrupted before the last step
	}
	return exitOK
}

// untilParentEnds returns a context that is done when the starting process is gone: a killed make must not leave a stack behind.
func untilParentEnds(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	parent := os.Getppid()
	go func() {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if os.Getppid() != parent {
					cancel(errors.New("the starting process is gone"))
					return
				}
			}
		}
	}()
	return ctx
}

// usageError is a fault that the caller can mend; its text says how.
type usageError string

// Error implements error.
func (e usageError) Error() string { return string(e) }

func either(value, otherwise string) string {
	if value != "" {
		return value
	}
	return otherwise
}
