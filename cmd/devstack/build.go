package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/syncsets/syncsets/cmd/devstack/internal/child"
	"github.com/syncsets/syncsets/cmd/devstack/internal/screen"
)

// build compiles the services into dir and shows how far it is.
func build(ctx context.Context, root, dir string, out *screen.Screen) error {
	args := []string{"build", "-v", "-o", dir + string(filepath.Separator)}
	for _, service := range services {
		args = append(args, "github.com/syncsets/syncsets/services/"+service+"/cmd/"+service)
	}
	out.Step("build", "compiling %s", strings.Join(services, ", "))
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := child.Start(cmd); err != nil {
		return fmt.Errorf("start go build: %w", err)
	}
	problems := followBuild(stderr, out)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, problems)
	}
	out.Step("build", "done")
	return nil
}

// followBuild reads what go build -v prints, a line per package or problem, says every few seconds how many packages are done, and
// returns the last lines.
func followBuild(r io.Reader, out *screen.Screen) string {
	var last [][]byte
	packages, said := 0, time.Now()
	for lines := bufio.NewScanner(r); lines.Scan(); packages++ {
		last = append(last, bytes.Clone(lines.Bytes()))
		last = last[max(0, len(last)-20):]
		if time.Since(said) > 5*time.Second {
			out.Step("build", "%d packages compiled, now %s", packages, lines.Text())
			said = time.Now()
		}
	}
	return string(bytes.Join(last, []byte("\n")))
}
