package stack

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/syncsets/syncsets/k8s"
)

// Door returns the URL of a front door before the first replica of each service: one host for all, as the Ingress makes it.
func (s *Stack) Door() string {
	s.t.Helper()
	routes, err := k8s.LoadRoutes()
	if err != nil {
		s.t.Fatal(err)
	}
	first := map[string]*Process{"clusters": s.Clusters[0], "syncsets": s.Syncsets[0], "reconciler": s.Reconciler[0]}
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		service, ok := routes.Find(r.URL.Path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		proxy := httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: first[service].Public})
		}}
		proxy.ServeHTTP(w, r)
	}))
	s.t.Cleanup(door.Close)
	return door.URL
}

// Program builds the main package at a path of the checkout, such as "cli/cmd/syncsetctl", once, and returns its file.
func Program(t testing.TB, path string) string {
	t.Helper()
	build, _ := binaries.LoadOrStore(path, sync.OnceValues(func() (string, error) {
		dir, err := binaryDir()
		if err != nil {
			return "", err
		}
		file := filepath.Join(dir, filepath.Base(path))
		cmd := exec.CommandContext(context.Background(), "go", "build", "-o", file, "./"+path)
		cmd.Dir = Root()
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", path, err, out)
		}
		return file, nil
	}))
	file, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return file
}
