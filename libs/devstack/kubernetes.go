package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// A controlPlane is what the three programs of a Kubernetes have to know.
type controlPlane struct {
	home        *dir
	programs    kubePrograms
	keys        *keys
	alwaysAllow bool

	etcd, etcdPeer, apiserver, manager int // ports
}

func kubeProcess(ctx context.Context, o KubernetesOptions) (*Server, error) {
	programs, err := findKubePrograms(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	plane := &controlPlane{programs: programs, alwaysAllow: o.AlwaysAllow, apiserver: o.Port}
	if err := freePorts(&plane.apiserver, &plane.etcd, &plane.etcdPeer, &plane.manager); err != nil {
		return nil, err
	}
	if err := portFree(plane.apiserver); err != nil {
		return nil, err
	}
	if plane.home, err = newDir(o.Dir, "kube"); err != nil {
		return nil, err
	}
	if err := plane.writeFiles(); err != nil {
		return nil, errors.Join(err, plane.home.remove())
	}
	run, err := plane.runner()
	if err != nil {
		return nil, errors.Join(err, plane.home.remove())
	}
	if err := run.start(ctx); err != nil {
		return nil, errors.Join(err, run.remove(ctx))
	}
	return &Server{
		URL: plane.url(), Kubeconfig: plane.kubeconfig(), AuditLog: plane.path("audit.log"), Way: Processes, run: run,
	}, nil
}

func (c *controlPlane) path(name string) string { return filepath.Join(c.home.path, name) }
func (c *controlPlane) url() string             { return "https://" + loopback(c.apiserver) }
func (c *controlPlane) etcdURL() string         { return "http://" + loopback(c.etcd) }
func (c *controlPlane) kubeconfig() string      { return c.keys.kubeconfig(c.url()) }

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// writeFiles makes the keys and certificates on the first start and writes the files that the programs read.
func (c *controlPlane) writeFiles() (err error) {
	if c.keys, err = loadKeys(c.home.path); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(c.path("audit-policy.yaml"), []byte(auditPolicy), 0o600),
		os.WriteFile(c.path("kubeconfig.yaml"), []byte(c.kubeconfig()), 0o600),
	)
}

func (c *controlPlane) runner() (*processes, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(c.kubeconfig()))
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for the API server: %w", err)
	}
	return &processes{
		dir: c.home, within: 2 * time.Minute,
		parts: []*process{
			c.process("etcd", c.programs.etcd, c.etcdArgs()),
			c.process("kube-apiserver", c.programs.apiserver, c.apiserverArgs()),
			c.process("kube-controller-manager", c.programs.manager, c.managerArgs()),
		},
		prepare: func(context.Context) error { return nil },
		ready: []func(context.Context) error{
			func(ctx context.Context) error { return healthy(ctx, c.etcdURL()+"/health") },
			func(ctx context.Context) error { return apiReady(ctx, client) },
			func(ctx context.Context) error { return namespacesWork(ctx, client) },
		},
	}, nil
}

func (c *controlPlane) process(name string, program, args []string) *process {
	return &process{
		name: name, argv: append(program[:len(program):len(program)], args...), env: environment("HOME=" + c.home.path),
		cwd: c.home.path, log: c.path(name + ".log"), signal: syscall.SIGTERM, sweep: c.home.sweep(),
	}
}

func (c *controlPlane) etcdArgs() []string {
	peer := "http://" + loopback(c.etcdPeer)
	args := []string{"--data-dir=" + c.path("etcd")}
	if c.programs.ownEtcd {
		return append(args, "--client-url="+c.etcdURL(), "--peer-url="+peer)
	}
	return append(args, "--listen-client-urls="+c.etcdURL(), "--advertise-client-urls="+c.etcdURL(), "--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer, "--unsafe-no-fsync", "--log-level=warn")
}

func (c *controlPlane) apiserverArgs() []string {
	mode := "Node,RBAC"
	if c.alwaysAllow {
		mode = "AlwaysAllow"
	}
	return []string{
		"--etcd-servers=" + c.etcdURL(),
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(c.apiserver),
		"--endpoint-reconciler-type=none", // a loopback address cannot be the endpoint of the service "kubernetes"
		"--service-cluster-ip-range=10.96.0.0/16",
		"--tls-cert-file=" + c.path("apiserver.crt"), "--tls-private-key-file=" + c.path("apiserver.key"),
		"--client-ca-file=" + c.path("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("sa.key"), "--service-account-signing-key-file=" + c.path("sa.key"),
		"--authorization-mode=" + mode,
		"--audit-policy-file=" + c.path("audit-policy.yaml"), "--audit-log-path=" + c.path("audit.log"),
		"--audit-log-mode=blocking", "--audit-log-maxsize=0",
		"--allow-privileged=true", "--profiling=false", "--cert-dir=" + c.home.path,
	}
}

func (c *controlPlane) managerArgs() []string {
	return []string{
		"--kubeconfig=" + c.path("kubeconfig.yaml"),
		"--controllers=namespace-controller,garbage-collector-controller,deployment-controller,replicaset-controller," +
			"serviceaccount-controller,serviceaccount-token-controller",
		"--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(c.manager), "--cert-dir=" + c.home.path,
		"--service-account-private-key-file=" + c.path("sa.key"), "--root-ca-file=" + c.path("ca.crt"), "--profiling=false",
	}
}

func healthy(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %d: %s", url, answer.StatusCode, body)
	}
	return err
}

func apiReady(ctx context.Context, client kubernetes.Interface) error {
	_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	return err
}

// namespacesWork says whether the controllers have caught up: pods are refused in a namespace without its service account.
func namespacesWork(ctx context.Context, client kubernetes.Interface) error {
	if _, err := client.CoreV1().Namespaces().Get(ctx, "kube-system", metav1.GetOptions{}); err != nil {
		return err
	}
	_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
	return err
}
