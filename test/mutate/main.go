// Command mutate asks whether the tests of a package notice when its code is wrong. It makes mutants: a condition negated or an operand
// dropped, an assignment, a call, a break or a field left out, a number one too big. All are compiled into one test binary, each behind
// a switch, which is run, short, once per mutant; a mutant that no test notices has survived.
//
//	go run ./test/mutate -least 90 ./services/reconciler/internal/decide
//
// It prints the survivors and the ratio, and exits 1 when fewer than -least percent were killed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

func main() {
	least := flag.Float64("least", 90, "percentage of mutants that must be killed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ratio, err := run(ctx, flag.Arg(0))
	stop()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	case ratio < *least:
		fmt.Printf("fewer than %.0f %% killed\n", *least)
		os.Exit(1)
	}
}

// run mutates the package in a directory and returns the percentage of mutants that its tests killed.
func run(ctx context.Context, dir string) (float64, error) {
	if dir == "" {
		return 0, errors.New("name the directory of a package")
	}
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	dir, err = filepath.Abs(dir)
	if err != nil {
		return 0, err
	}
	binary := filepath.Join(work, "mutants.test")
	mutants, err := compile(ctx, dir, work, binary)
	if err != nil {
		return 0, err
	}
	took, err := baseline(ctx, binary, dir)
	if err != nil {
		return 0, err
	}
	return hunt(ctx, binary, dir, mutants, 5*time.Second+10*took)
}

// compile builds the test binary with all mutants. Those that the compiler does not take are left out.
func compile(ctx context.Context, dir, work, binary string) ([]mutant, error) {
	refused := map[string]bool{}
	for range 20 {
		mutants, overlay, err := instrument(dir, work, refused)
		if err != nil {
			return nil, err
		}
		build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-gcflags=-e", "-overlay", overlay, "-o", binary, ".")
		build.Dir = dir
		out, err := build.CombinedOutput()
		if err == nil {
			return mutants, nil
		}
		before := len(refused)
		for line := range strings.Lines(string(out)) {
			if parts := strings.SplitN(line, ":", 3); len(parts) == 3 && strings.HasSuffix(parts[0], ".go") {
				refused[filepath.Base(parts[0])+":"+parts[1]] = true
			}
		}
		if len(refused) == before {
			return nil, fmt.Errorf("the mutants do not compile: %w\n%s", err, out)
		}
	}
	return nil, errors.New("the mutants do not compile")
}

// baseline runs the tests without a mutant: they must pass.
func baseline(ctx context.Context, binary, dir string) (time.Duration, error) {
	started := time.Now()
	if out, err := test(ctx, binary, dir, 0, time.Minute); err != nil {
		return 0, fmt.Errorf("the tests fail without a mutant: %w\n%s", err, out)
	}
	return time.Since(started), nil
}

func test(ctx context.Context, binary, dir string, id int, timeout time.Duration) ([]byte, error) {
	cmd := exec.CommandContext(ctx, binary, "-test.short", "-test.failfast", "-test.timeout", timeout.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), switchVariable+"="+strconv.Itoa(id))
	return cmd.CombinedOutput()
}

// hunt runs the tests once per mutant and tells of those that survive.
func hunt(ctx context.Context, binary, dir string, mutants []mutant, timeout time.Duration) (float64, error) {
	var killed atomic.Int64
	survived := make([]bool, len(mutants))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for n, m := range mutants {
		group.Go(func() error {
			_, err := test(ctx, binary, dir, m.id, timeout)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			var exit *exec.ExitError
			switch {
			case err == nil:
				survived[n] = true
			case errors.As(err, &exit):
				killed.Add(1)
			default:
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	for n, m := range mutants {
		if survived[n] {
			fmt.Printf("survived  %s  %s\n", m.at, m.what)
		}
	}
	ratio := 100 * float64(killed.Load()) / float64(max(len(mutants), 1))
	fmt.Printf("%d mutants, %d killed, %d survived: %.1f %%\n", len(mutants), killed.Load(), int64(len(mutants))-killed.Load(), ratio)
	return ratio, nil
}
