package devstack

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// k3sArgs run only what the processes run too: an API server with its audit log and controllers, no node and no add-ons.
func k3sArgs(alwaysAllow bool) []string {
	mode := "Node,RBAC"
	if alwaysAllow {
		mode = "AlwaysAllow"
	}
	return []string{
		"server", "--disable-agent", "--disable=traefik,metrics-server,servicelb,coredns,local-storage", "--disable-cloud-controller",
		"--disable-network-policy", "--flannel-backend=none", "--tls-san=127.0.0.1",
		"--kube-apiserver-arg=audit-policy-file=/devstack/audit-policy.yaml", "--kube-apiserver-arg=audit-log-path=/devstack/audit.log",
		"--kube-apiserver-arg=audit-log-mode=blocking", "--kube-apiserver-arg=authorization-mode=" + mode,
	}
}

// k3sContainer runs a k3s server. Its directory is bound into the container for the audit log.
func k3sContainer(ctx context.Context, o KubernetesOptions) (*Server, error) {
	c := &containerized{image: o.Image, inside: "6443/tcp", port: o.Port, started: o.Started}
	if err := freePorts(&c.port); err != nil {
		return nil, err
	}
	home, err := newDir(o.Dir, "k3s")
	if err != nil {
		return nil, err
	}
	c.home = home
	if err := os.WriteFile(filepath.Join(home.path, "audit-policy.yaml"), []byte(auditPolicy), 0o644); err != nil {
		return nil, fmt.Errorf("write the audit policy: %w", err)
	}
	var made testcontainers.Container
	c.ready = func(ctx context.Context) error { return k3sReady(ctx, made, c.port) }
	c.make = func(ctx context.Context, options ...testcontainers.ContainerCustomizer) (testcontainers.Container, error) {
		options = append(options, testcontainers.WithExposedPorts(c.inside), testcontainers.WithCmd(k3sArgs(o.AlwaysAllow)...),
			testcontainers.WithTmpfs(map[string]string{"/run": "", "/var/run": ""}),
			testcontainers.WithWaitStrategy(wait.ForLog("k3s is up and running").WithStartupTimeout(2*time.Minute)),
			testcontainers.WithHostConfigModifier(func(host *container.HostConfig) {
				host.Privileged = true
				host.Binds = append(host.Binds, home.path+":/devstack", filepath.Join(home.path, "data")+":/var/lib/rancher/k3s")
			}))
		var err error
		made, err = orNil(testcontainers.Run(ctx, o.Image, options...))
		return made, err
	}
	server, err := c.serve(ctx, "https://"+loopback(c.port))
	if err != nil {
		return nil, err
	}
	server.AuditLog = filepath.Join(home.path, "audit.log")
	server.Kubeconfig, err = k3sKubeconfig(ctx, made, c.port)
	return server, err
}

func k3sReady(ctx context.Context, made testcontainers.Container, port int) error {
	text, err := k3sKubeconfig(ctx, made, port)
	if err != nil {
		return err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(text))
	if err != nil {
		return fmt.Errorf("read the kubeconfig of k3s: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client for k3s: %w", err)
	}
	if err := apiReady(ctx, client); err != nil {
		return err
	}
	return namespacesWork(ctx, client)
}

// k3sKubeconfig is the administrator's, with the address of the published port.
func k3sKubeconfig(ctx context.Context, made testcontainers.Container, port int) (string, error) {
	file, err := made.CopyFileFromContainer(ctx, "/etc/rancher/k3s/k3s.yaml")
	if err != nil {
		return "", fmt.Errorf("read the kubeconfig of k3s: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return "", fmt.Errorf("read the kubeconfig of k3s: %w", err)
	}
	config, err := clientcmd.Load(text)
	if err != nil {
		return "", fmt.Errorf("read the kubeconfig of k3s: %w", err)
	}
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + loopback(port)
	}
	text, err = clientcmd.Write(*config)
	return string(text), err
}
