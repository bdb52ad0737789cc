package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
	"github.com/testcontainers/testcontainers-go/modules/rabbitmq"
)

// The images of the way Containers where the caller names none.
const (
	PostgresImage = "postgres:17-alpine"
	RabbitMQImage = "rabbitmq:4-alpine"
	K3sImage      = "rancher/k3s:v1.34.1-k3s1"
)

// missing are the images that could not be had, with the reason: asking again in the same process costs time for nothing.
var missing sync.Map

// haveImage pulls the image unless it is there.
func haveImage(ctx context.Context, image string, progress io.Writer) error {
	if reason, known := missing.Load(image); known {
		return reason.(error)
	}
	err := findImage(ctx, image, progress)
	if err != nil {
		missing.Store(image, err)
	}
	return err
}

func findImage(ctx context.Context, image string, progress io.Writer) error {
	answer, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	engine, err := dockerClient(answer)
	if err != nil {
		return err
	}
	defer engine.Close()
	if err := sweepContainers(answer, engine); err != nil {
		return err
	}
	if _, err := engine.ImageInspect(answer, image); err == nil {
		return nil
	}
	say(progress, "pulling %s", image)
	pull, stop := context.WithTimeout(ctx, 5*time.Minute)
	defer stop()
	stream, err := engine.ImagePull(pull, image, client.ImagePullOptions{})
	if err != nil {
		return fmt.Errorf("pull %s: %w", image, err)
	}
	defer stream.Close()
	if err := stream.Wait(pull); err != nil {
		return fmt.Errorf("pull %s: %w", image, err)
	}
	return nil
}

func postgresContainer(ctx context.Context, o PostgresOptions) (*Server, error) {
	c := &containerized{image: o.Image, inside: "5432/tcp", port: o.Port, started: o.Started}
	home, err := c.open(o.Dir, "postgres")
	if err != nil {
		return nil, err
	}
	url := fmt.Sprintf("postgres://postgres:postgres@%s/postgres?sslmode=disable", loopback(c.port))
	c.ready = func(ctx context.Context) error { return pingPostgres(ctx, url) }
	c.make = func(ctx context.Context, options ...testcontainers.ContainerCustomizer) (testcontainers.Container, error) {
		options = append(options, postgres.WithUsername("postgres"), postgres.WithPassword("postgres"), postgres.WithDatabase("postgres"),
			postgres.BasicWaitStrategies(), testcontainers.WithCmdArgs(fsyncArgs(o.Fsync)...))
		return orNil(postgres.Run(ctx, o.Image, append(options, bind(home, "data", "/var/lib/postgresql/data")...)...))
	}
	return c.serve(ctx, url)
}

func fsyncArgs(fsync bool) []string {
	args := []string{"-c", "max_connections=300"}
	if !fsync {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	return args
}

func rabbitContainer(ctx context.Context, o RabbitMQOptions) (*Server, error) {
	c := &containerized{image: o.Image, inside: "5672/tcp", port: o.Port, started: o.Started}
	home, err := c.open(o.Dir, "rabbitmq")
	if err != nil {
		return nil, err
	}
	url := rabbitURL(c.port)
	c.ready = func(context.Context) error { return pingRabbit(url) }
	c.make = func(ctx context.Context, options ...testcontainers.ContainerCustomizer) (testcontainers.Container, error) {
		// The node's name, under which its data is stored, contains the host's.
		options = append(options, testcontainers.WithConfigModifier(func(config *container.Config) { config.Hostname = "devstack" }))
		return orNil(rabbitmq.Run(ctx, o.Image, append(options, bind(home, "data", "/var/lib/rabbitmq")...)...))
	}
	return c.serve(ctx, url)
}

// orNil keeps a nil pointer from becoming an interface that is not nil.
func orNil[C interface {
	comparable
	testcontainers.Container
}](made C, err error) (testcontainers.Container, error) {
	var none C
	if made == none {
		return nil, err
	}
	return made, err
}

// open draws the port and makes the directory to keep; a container without one needs none.
func (c *containerized) open(named, kind string) (*dir, error) {
	if err := freePorts(&c.port); err != nil {
		return nil, err
	}
	if err := portFree(c.port); err != nil {
		return nil, err
	}
	if named == "" {
		return nil, nil
	}
	home, err := newDir(named, kind)
	c.home = home
	return home, err
}

func (c *containerized) serve(ctx context.Context, url string) (*Server, error) {
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.remove(context.WithoutCancel(ctx)))
	}
	return &Server{URL: url, Way: Containers, run: c}, nil
}

// bind mounts a folder of the directory to keep; without one the image's own volume goes with the container.
func bind(home *dir, name, target string) []testcontainers.ContainerCustomizer {
	if home == nil {
		return nil
	}
	return []testcontainers.ContainerCustomizer{testcontainers.WithHostConfigModifier(func(host *container.HostConfig) {
		host.Binds = append(host.Binds, filepath.Join(home.path, name)+":"+target)
	})}
}
