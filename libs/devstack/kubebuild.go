package devstack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"
)

// kubePrograms are the argument lists that start the three programs.
type kubePrograms struct {
	etcd, apiserver, manager []string
	ownEtcd                  bool // etcd of test/kube, with its own few flags
}

// findKubePrograms takes kube-apiserver and etcd from KUBEBUILDER_ASSETS when that is set; kube-controller-manager, which is not among
// those, and otherwise all three, from the binary of test/kube.
func findKubePrograms(ctx context.Context, progress io.Writer) (kubePrograms, error) {
	built, err := BuildKube(ctx, progress)
	if err != nil {
		return kubePrograms{}, err
	}
	programs := kubePrograms{
		etcd: []string{built, "etcd"}, apiserver: []string{built, "kube-apiserver"},
		manager: []string{built, "kube-controller-manager"}, ownEtcd: true,
	}
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		programs.etcd = []string{filepath.Join(assets, "etcd")}
		programs.apiserver = []string{filepath.Join(assets, "kube-apiserver")}
		programs.ownEtcd = false
	}
	return programs, nil
}

// BuildKube returns the path of the binary of test/kube, built on the first call for its sources and modules and kept in the user's
// cache folder. It takes 6 to 8 minutes of two cores and says so on progress; of several callers one builds and the others wait.
func BuildKube(ctx context.Context, progress io.Writer) (string, error) {
	source, err := kubeSource()
	if err != nil {
		return "", err
	}
	target, err := kubeTarget(source)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	unlock, err := lockFile(ctx, target+".lock", progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	return target, compileKube(ctx, source, target, progress)
}

// kubeSource finds test/kube from the working directory upwards.
func kubeSource() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("where am I: %w", err)
	}
	for {
		source := filepath.Join(at, "test", "kube")
		if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
			return source, nil
		}
		if at == filepath.Dir(at) {
			return "", errors.New("no folder test/kube here or above: start in a checkout of the project")
		}
		at = filepath.Dir(at)
	}
}

// kubeTarget is where the binary is kept: <cache>/syncsets/kube/<hash of go.mod, go.sum and the sources>/kube.
func kubeTarget(source string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache folder: %w", err)
	}
	files, _ := filepath.Glob(filepath.Join(source, "*.go"))
	slices.Sort(files)
	sum := sha256.New()
	for _, file := range append(files, filepath.Join(source, "go.mod"), filepath.Join(source, "go.sum")) {
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			return "", fmt.Errorf("read the sources of test/kube: %w", err)
		}
		fmt.Fprintf(sum, "%s %d\n%s", filepath.Base(file), len(text), text)
	}
	return filepath.Join(cache, "syncsets", "kube", hex.EncodeToString(sum.Sum(nil))[:16], "kube"), nil
}

// lockFile waits until this process holds the file's lock. The system frees it when the process ends, however it ends.
func lockFile(ctx context.Context, path string, progress io.Writer) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the build's lock: %w", err)
	}
	said := time.Time{}
	err = await(ctx, 500*time.Millisecond, func(context.Context) error {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil && time.Since(said) > 10*time.Second {
			said = time.Now()
			say(progress, "waiting for another process that builds kube-apiserver")
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("wait for the build's lock: %w", err), file.Close())
	}
	return func() { _ = file.Close() }, nil
}

var kubeVersion = regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes (v\S+)$`)

// compileKube builds beside the target and renames, so that a half-built binary is never taken for a whole one.
func compileKube(ctx context.Context, source, target string, progress io.Writer) error {
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return fmt.Errorf("read the modules of test/kube: %w", err)
	}
	version := kubeVersion.FindSubmatch(mod)
	if version == nil {
		return errors.New("test/kube/go.mod does not require k8s.io/kubernetes")
	}
	draft := target + ".draft"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath",
		"-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion="+string(version[1]), "-o", draft, ".")
	cmd.Dir, cmd.Env = source, append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	say(progress, "building kube-apiserver %s, once: 6 to 8 minutes on two cores; kept as %s", version[1], target)
	done := ticking(progress)
	err = cmd.Run()
	done()
	if err != nil {
		return fmt.Errorf("build test/kube: %w\n%s", err, out.Bytes())
	}
	return os.Rename(draft, target)
}

// ticking writes a line every 10 seconds until done is called.
func ticking(progress io.Writer) (done func()) {
	start, ticker, stop := time.Now(), time.NewTicker(10*time.Second), make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ticker.C:
				say(progress, "still building kube-apiserver: %s", time.Since(start).Round(time.Second))
			case <-stop:
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(stop); <-ended }
}
