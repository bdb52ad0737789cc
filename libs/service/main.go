// Package service is the shell around each of the services: subcommands, settings, logger, listeners, waiting for Postgres, migrations,
// readiness and an orderly end. What a service consists of is said by its Wire function.
//
//	Main -> settings -> listeners (admin answers at once, the others 503)
//	     -> Postgres answers -> migrations -> Wire -> the listeners open
//	SIGTERM -> listeners drain and parts end -> pool closes -> telemetry is flushed
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/syncsets/syncsets/libs/config"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/telemetry"
)

// Exit codes of Main.
const (
	exitDone    = 0
	exitFailure = 1
	exitUsage   = 2
)

// Spec describes a service. Listen, Admin and Internal are the default addresses; Seals says that it needs SEAL_KEYS; Settings
// declares its own settings and may be nil.
type Spec struct {
	Name, Summary           string
	Schema                  string
	Version                 string
	Listen, Admin, Internal string
	Seals                   bool
	MaxConns                int32 // of the pool; 0 is pgx's default
	Settings                func(*config.Set)
	// Wire builds the parts, starts them with Process.Go, and opens the listeners with Process.Open. It runs once Postgres answers
	// and the migrations are in place. An errs.Invalid of it is a fault of the settings.
	Wire func(ctx context.Context, p *Process) error
}

// Environment is what Main may touch of the process it runs in.
type Environment struct {
	Args           []string
	Lookup         func(string) (string, bool)
	Stdout, Stderr io.Writer
}

// Main runs the service's command line until SIGINT or SIGTERM and returns the exit code: 0 after an orderly end, 1 after a failure, 2
// for a wrong or missing setting, which gets one line. A second signal ends the process at once.
func Main(spec Spec, env Environment) int {
	name, args := "serve", env.Args
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	switch name {
	case "serve":
		return execute(name, args, serve, spec, env)
	case "migrate":
		return execute(name, args, migrate, spec, env)
	case "help":
		return execute("serve", []string{"-help"}, serve, spec, env)
	case "version":
		fmt.Fprintln(env.Stdout, spec.Name, spec.Version)
		return exitDone
	}
	fmt.Fprintf(env.Stderr, "%s: %q is not a command; there are serve, migrate, version and help\n", spec.Name, name)
	return exitUsage
}

// command is a subcommand that runs until ctx ends.
type command func(ctx context.Context, spec Spec, settings Settings, set *config.Set, env Environment) error

// execute reads the settings of a subcommand, runs it, and turns its end into an exit code.
func execute(name string, args []string, run command, spec Spec, env Environment) int {
	var settings Settings
	set := config.New(spec.Name)
	if name == "migrate" {
		settings.declareMigrate(set)
	} else {
		settings.declareServe(set, spec)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	err := set.Parse(args, env.Lookup)
	if errors.Is(err, config.ErrHelp) {
		usage(spec, set, env.Stdout)
		return exitDone
	}
	misused := err != nil
	if err == nil {
		err = run(ctx, spec, settings, set, env)
	}
	switch {
	case err == nil:
		return exitDone
	case misused || errs.Is(err, errs.Invalid):
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(env.Stderr, "%s: %s\n", spec.Name, strings.TrimSpace(line))
		}
		return exitUsage
	}
	fmt.Fprintf(env.Stderr, "%s: %v\n", spec.Name, err)
	return exitFailure
}

func usage(spec Spec, set *config.Set, w io.Writer) {
	fmt.Fprintf(w, `%s: %s

Usage:
  %[1]s [serve] [flags]   run the service
  %[1]s migrate [flags]   bring the schema up to date, then end
  %[1]s version           print the version

Settings come from the environment; flags override. In [] what holds now.
`, spec.Name, spec.Summary)
	set.Usage(w)
}

// migrate waits for the database and applies the migrations.
func migrate(ctx context.Context, spec Spec, settings Settings, _ *config.Set, env Environment) error {
	telemetry, err := telemetry.Setup(ctx, options(spec, settings, env))
	if err != nil {
		return err
	}
	pool, err := postgres.Open(ctx, postgres.Config{Params: settings.PostgresParams, Application: spec.Name + " migrate"})
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := postgres.Wait(ctx, pool, telemetry.Log); err != nil {
		return err
	}
	return postgres.Migrate(ctx, settings.PostgresParams, spec.Schema, telemetry.Log)
}

func options(spec Spec, settings Settings, env Environment) telemetry.Options {
	return telemetry.Options{
		Service: spec.Name, Version: spec.Version, Level: settings.LogLevel, Output: env.Stderr, Lookup: env.Lookup,
	}
}

const flushTimeout = 5 * time.Second
