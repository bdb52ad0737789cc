package devstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"k8s.io/client-go/tools/clientcmd"
)

// StartPostgres starts a Postgres server and returns when it takes connections.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Server, error) {
	if o.Way == External {
		return useGiven(o.URL, "POSTGRES_PARAMS")
	}
	o.Image = cmp.Or(o.Image, PostgresImage)
	return containerOrProcess(ctx, kind{"postgres", o.Image, o.Way, o.Progress},
		func() (*Server, error) { return postgresContainer(ctx, o) }, func() (*Server, error) { return postgresProcess(ctx, o) })
}

// StartRabbitMQ starts a broker and returns when it takes connections.
func StartRabbitMQ(ctx context.Context, o RabbitMQOptions) (*Server, error) {
	if o.Way == External {
		return useGiven(o.URL, "AMQP_URL")
	}
	o.Image = cmp.Or(o.Image, RabbitMQImage)
	return containerOrProcess(ctx, kind{"rabbitmq", o.Image, o.Way, o.Progress},
		func() (*Server, error) { return rabbitContainer(ctx, o) }, func() (*Server, error) { return rabbitProcess(ctx, o) })
}

// StartKubernetes starts an API server with its store and controllers and returns when namespaces can be created and used. The way
// Containers falls back to processes where no k3s image is to be had.
func StartKubernetes(ctx context.Context, o KubernetesOptions) (*Server, error) {
	if o.Way == External {
		return useCluster(o.Kubeconfig)
	}
	o.Image = cmp.Or(o.Image, K3sImage)
	if o.Way == Containers {
		o.Way = Auto
	}
	return containerOrProcess(ctx, kind{"kubernetes", o.Image, o.Way, o.Progress},
		func() (*Server, error) { return k3sContainer(ctx, o) }, func() (*Server, error) { return kubeProcess(ctx, o) })
}

func useGiven(url, name string) (*Server, error) {
	if url == "" {
		return nil, fmt.Errorf("DEVSTACK=external needs %s", name)
	}
	return &Server{URL: url, Way: External, run: given{}}, nil
}

func useCluster(kubeconfig string) (*Server, error) {
	if kubeconfig == "" {
		return nil, errors.New("DEVSTACK=external needs TEST_KUBECONFIGS")
	}
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	return &Server{URL: config.Host, Kubeconfig: kubeconfig, Way: External, run: given{}}, nil
}

// say writes a line of progress; w may be nil.
func say(w io.Writer, format string, args ...any) {
	if w != nil {
		fmt.Fprintf(w, "devstack: "+format+"\n", args...)
	}
}

// containerOrProcess takes the way that is asked for, and for Auto a container where one is to be had. It says what it took and why.
func containerOrProcess(ctx context.Context, k kind, inContainer, asProcess func() (*Server, error)) (*Server, error) {
	if k.way == Processes {
		say(k.progress, "%s: processes of this machine", k.name)
		return asProcess()
	}
	err := haveImage(ctx, k.image, k.progress)
	if err == nil {
		say(k.progress, "%s: a container of %s", k.name, k.image)
		return inContainer()
	}
	if k.way == Containers {
		return nil, err
	}
	say(k.progress, "%s: processes of this machine (%v)", k.name, err)
	return asProcess()
}

// A kind is what containerOrProcess has to know of a server.
type kind struct {
	name, image string
	way         Way
	progress    io.Writer
}
