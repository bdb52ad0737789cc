// Package command is the commands of syncsetctl: one file each, and what they share.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncsets/syncsets/cli/internal/client"
	"github.com/syncsets/syncsets/libs/errs"
)

// defaultServer is where `make run` listens.
const defaultServer = "http://localhost:7070"

// Environment is the world that a command works in.
type Environment struct {
	Args     []string
	Lookup   func(name string) (string, bool)
	In       io.Reader
	Out, Err io.Writer
	Version  string
}

// Main runs a command and returns its exit code: 0, or 1 when anything failed.
func Main(ctx context.Context, e Environment) int {
	root := newRoot(&app{env: e})
	root.SetArgs(e.Args)
	root.SetIn(e.In)
	root.SetOut(e.Out)
	root.SetErr(e.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	printError(e.Err, err)
	return 1
}

// app is what the commands share.
type app struct {
	env                      Environment
	server, token, tokenFile string
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use: "syncsetctl", Short: "Work with SyncSets: sets of resources that many clusters are kept in step with",
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", a.setting("SYNCSETS_SERVER", defaultServer), "URL of the server (SYNCSETS_SERVER)")
	flags.StringVar(&a.token, "token", "", "bearer token (SYNCSETS_TOKEN)")
	flags.StringVar(&a.tokenFile, "token-file", a.setting("SYNCSETS_TOKEN_FILE", ""), "file that holds the bearer token (SYNCSETS_TOKEN_FILE)")
	root.AddCommand(newApply(a), newImport(a), newExport(a), newVersion(a))
	return root
}

func (a *app) setting(name, absent string) string {
	if value, ok := a.env.Lookup(name); ok && value != "" {
		return value
	}
	return absent
}

// client returns the client of the chosen server. What is given on the command line goes before the environment.
func (a *app) client() (*client.Client, error) {
	token := a.token
	if token == "" && a.tokenFile == "" {
		token = a.setting("SYNCSETS_TOKEN", "")
	}
	if token == "" && a.tokenFile != "" {
		text, err := os.ReadFile(a.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("read the token: %w", err)
		}
		token = strings.TrimSpace(string(text))
	}
	return &client.Client{Server: a.server, Token: token, Agent: "syncsetctl/" + a.env.Version}, nil
}

// faulty is an error with faults, each of which is printed on a line of its own.
type faulty struct {
	message string
	faults  []errs.Field
}

func (f *faulty) Error() string { return f.message }

// invalid makes an error of faults, nil when there are none.
func invalid(faults []errs.Field) error {
	if len(faults) == 0 {
		return nil
	}
	return &faulty{"the documents are not valid; nothing has been sent", faults}
}

// printError prints an error on one line, and the faults that it is made of on one each.
func printError(w io.Writer, err error) {
	fmt.Fprintln(w, "error:", err)
	var known *faulty
	var problem *client.Problem
	switch {
	case errors.As(err, &known):
		printFaults(w, known.faults)
	case errors.As(err, &problem):
		printFaults(w, problem.Errors)
	}
}

func printFaults(w io.Writer, faults []errs.Field) {
	for _, f := range faults {
		fmt.Fprintf(w, "  %s: %s\n", f.Path, f.Message)
	}
}
