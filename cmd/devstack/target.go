package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/syncsets/syncsets/cmd/devstack/internal/demo"
	"github.com/syncsets/syncsets/libs/devstack"
	"github.com/syncsets/syncsets/libs/installation"
)

// target is the Kubernetes API server of the demo, or why there is none.
type target struct {
	kubeconfig string // with all data embedded
	about      string
	err        error
}

// startTarget prepares the demo's target while everything else starts; the channel yields it once.
func (s *stack) startTarget(ctx context.Context) <-chan target {
	found := make(chan target, 1)
	if s.options.command != "demo" {
		return found
	}
	if s.options.kubeconfig != "" {
		found <- s.given
		return found
	}
	go func() { found <- s.startKubernetes(ctx) }()
	return found
}

func (s *stack) startKubernetes(ctx context.Context) target {
	server, err := devstack.StartKubernetes(ctx, devstack.KubernetesOptions{
		Way: s.options.parts.Way, Image: s.options.parts.K3sImage, Progress: s.out.Writer("kubernetes"),
	})
	if err != nil {
		return target{err: fmt.Errorf("start a Kubernetes API server: %w", err)}
	}
	s.servers.add(server)
	s.out.Step("kubernetes", "ready at %s", server.URL)
	return target{kubeconfig: server.Kubeconfig, about: "an API server of its own, gone with this command"}
}

// flatten reads the current context of a kubeconfig (or several, as KUBECONFIG may name) and embeds the files it names.
func flatten(file string) target {
	for _, f := range filepath.SplitList(file) {
		if _, err := os.Stat(f); err != nil {
			return target{err: usageError(fmt.Sprintf("KUBECONFIG=%s: %s", file, err))}
		}
	}
	config, err := (&clientcmd.ClientConfigLoadingRules{Precedence: filepath.SplitList(file)}).Load()
	if err != nil {
		return target{err: usageError(fmt.Sprintf("KUBECONFIG=%s: %s", file, err))}
	}
	if err := clientapi.MinifyConfig(config); err != nil {
		return target{err: usageError(fmt.Sprintf("KUBECONFIG=%s: no usable current context: %s", file, err))}
	}
	if err := clientapi.FlattenConfig(config); err != nil {
		return target{err: usageError(fmt.Sprintf("KUBECONFIG=%s: a file it names cannot be read: %s", file, err))}
	}
	text, err := clientcmd.Write(*config)
	if err != nil {
		return target{err: err}
	}
	return target{kubeconfig: string(text), about: fmt.Sprintf("context %s of %s", config.CurrentContext, file)}
}

// demo waits for the target and shows the system at work on it.
func (s *stack) demo(ctx context.Context, targets <-chan target) error {
	var t target
	select {
	case t = <-targets:
	case <-ctx.Done():
		return ctx.Err()
	}
	if t.err != nil {
		return t.err
	}
	if err := os.WriteFile(s.targetFile(), []byte(t.kubeconfig), 0o600); err != nil {
		return err
	}
	id, err := installation.Read(ctx, http.DefaultClient, "http://"+s.services["clusters"].internal, s.data.Secrets.InternalToken)
	if err != nil {
		return err
	}
	return demo.Run(ctx, demo.Options{
		URL: fmt.Sprintf("http://127.0.0.1:%d", s.options.port), Kubeconfig: t.kubeconfig, About: t.about,
		Examples: os.DirFS(s.root + "/examples"), Out: s.out, Installation: id,
	})
}

// targetFile is where the target's kubeconfig is kept for the reader.
func (s *stack) targetFile() string { return s.data.Path("target.kubeconfig") }
