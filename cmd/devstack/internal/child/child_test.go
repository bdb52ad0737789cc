package child_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncsets/syncsets/cmd/devstack/internal/child"
)

// script writes an executable shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func process(t *testing.T, text string, ended func(string)) child.Process {
	t.Helper()
	return child.Process{
		Name: "program", Path: script(t, text), Log: filepath.Join(t.TempDir(), "program.log"), Grace: 5 * time.Second,
		Env:   []string{"PATH=" + os.Getenv("PATH")},
		Ended: func(_ error, _, _ time.Duration, last string) { ended(last) },
	}
}

func TestAnEndedProcessIsStartedAgainAndTheEndOfItsLogShown(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	ends := make(chan string, 10)
	p := process(t, "echo it broke; exit 1", func(last string) { ends <- last })
	done := make(chan error, 1)
	go func() { done <- child.Keep(ctx, p) }()
	for range 2 {
		if last := <-ends; !strings.Contains(last, "it broke") {
			t.Errorf("shown: %q", last)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Keep: %v", err)
	}
}

func TestAMisconfiguredProcessIsNotStartedAgain(t *testing.T) {
	t.Parallel()
	p := process(t, "echo SEAL_KEYS is missing; exit 2", func(string) { t.Error("it was started again") })
	err := child.Keep(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), "SEAL_KEYS is missing") {
		t.Errorf("got %v, want its last words", err)
	}
}

func TestAProgramThatDoesNotExistIsAnError(t *testing.T) {
	t.Parallel()
	p := process(t, "", func(string) { t.Error("it was started again") })
	p.Path = filepath.Join(t.TempDir(), "missing")
	if err := child.Keep(t.Context(), p); err == nil {
		t.Error("Keep returned nil")
	}
}

func TestStoppingAsksWithSIGTERMAndKillsAfterTheGrace(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, text string
		grace      time.Duration
		want       string
	}{
		{"a process that listens ends by itself", "trap 'echo bye; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done", 10 * time.Second, "bye"},
		{"a process that does not is killed", "trap '' TERM\necho up\nwhile :; do sleep 0.05; done", 200 * time.Millisecond, "up"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithCancel(t.Context())
			p := process(t, c.text, func(string) { t.Error("it was started again") })
			p.Grace = c.grace
			done := make(chan error, 1)
			go func() { done <- child.Keep(ctx, p) }()
			waitForLog(t, p.Log, "up")
			stop()
			if err := <-done; err != nil {
				t.Errorf("Keep: %v", err)
			}
			waitForLog(t, p.Log, c.want)
		})
	}
}

// waitForLog waits until the file holds text.
func waitForLog(t *testing.T, file, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		b, _ := os.ReadFile(file)
		if strings.Contains(string(b), text) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%q never appeared in the log:\n%s", text, b)
		}
	}
}
