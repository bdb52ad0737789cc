// Command syncsetctl works with SyncSets from the command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/syncsets/syncsets/cli/internal/command"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command.Main(ctx, command.Environment{
		Args: os.Args[1:], Lookup: os.LookupEnv, In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Version: version,
	})
	stop()
	os.Exit(code)
}
