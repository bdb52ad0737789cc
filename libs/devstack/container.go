package devstack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// ownerLabel marks our containers with the identity of the process that started them.
const ownerLabel = "syncsets.devstack.owner"

// containerized is a runner of one container, whose port on the host stays the same.
type containerized struct {
	home    *dir // nil: nothing on this machine
	make    func(ctx context.Context, options ...testcontainers.ContainerCustomizer) (testcontainers.Container, error)
	image   string
	inside  string // the port that is served, as 5432/tcp
	port    int    // on 127.0.0.1
	ready   func(ctx context.Context) error
	started string // file to which a line per started container is appended; may be empty

	id    string
	watch *watchdog
}

func (c *containerized) start(ctx context.Context) error {
	engine, err := dockerClient(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	if c.id == "" {
		err = c.create(ctx)
	} else {
		_, err = engine.ContainerStart(ctx, c.id, client.ContainerStartOptions{})
	}
	if err != nil {
		return fmt.Errorf("start a container of %s: %w", c.image, err)
	}
	bounded, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return await(bounded, 100*time.Millisecond, func(ctx context.Context) error {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return c.ready(attempt)
	})
}

// create makes and starts the container. Its watchdog is there before it starts.
func (c *containerized) create(ctx context.Context) error {
	quietEngine()
	made, err := c.make(ctx,
		testcontainers.WithLabels(map[string]string{ownerLabel: identity(os.Getpid())}),
		testcontainers.WithHostConfigModifier(func(host *container.HostConfig) {
			host.PortBindings = network.PortMap{network.MustParsePort(c.inside): {
				{HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), HostPort: strconv.Itoa(c.port)},
			}}
		}),
		testcontainers.WithAdditionalLifecycleHooks(testcontainers.ContainerLifecycleHooks{
			PostCreates: []testcontainers.ContainerHook{func(_ context.Context, made testcontainers.Container) (err error) {
				c.id = made.GetContainerID()
				c.watch, err = guardContainer(c.id)
				return err
			}},
		}))
	if err != nil {
		if made != nil {
			err = errors.Join(err, made.Terminate(context.WithoutCancel(ctx)))
		}
		return err
	}
	return c.count()
}

// count notes the container for runs that have to fail when none was started.
func (c *containerized) count() error {
	if c.started == "" {
		return nil
	}
	file, err := os.OpenFile(c.started, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("count the container: %w", err)
	}
	_, err = fmt.Fprintf(file, "%s %s\n", c.image, c.id)
	return errors.Join(err, file.Close())
}

func (c *containerized) stop(ctx context.Context) error {
	return c.do(ctx, func(engine *testcontainers.DockerClient) error {
		patience := 30
		_, err := engine.ContainerStop(ctx, c.id, client.ContainerStopOptions{Timeout: &patience})
		return err
	})
}

func (c *containerized) kill(ctx context.Context) error {
	return c.do(ctx, func(engine *testcontainers.DockerClient) error {
		_, err := engine.ContainerKill(ctx, c.id, client.ContainerKillOptions{Signal: "KILL"})
		return err
	})
}

func (c *containerized) pause(ctx context.Context) error {
	return c.do(ctx, func(engine *testcontainers.DockerClient) error {
		_, err := engine.ContainerPause(ctx, c.id, client.ContainerPauseOptions{})
		return err
	})
}

func (c *containerized) resume(ctx context.Context) error {
	return c.do(ctx, func(engine *testcontainers.DockerClient) error {
		_, err := engine.ContainerUnpause(ctx, c.id, client.ContainerUnpauseOptions{})
		return err
	})
}

func (c *containerized) remove(ctx context.Context) error {
	err := c.do(ctx, func(engine *testcontainers.DockerClient) error {
		_, err := engine.ContainerRemove(ctx, c.id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		return err
	})
	if c.watch != nil && err == nil {
		c.watch.dismiss()
		c.watch = nil
	}
	if c.home != nil {
		err = errors.Join(err, c.home.remove())
	}
	return err
}

func (c *containerized) do(ctx context.Context, act func(*testcontainers.DockerClient) error) error {
	if c.id == "" {
		return nil
	}
	engine, err := dockerClient(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	return act(engine)
}

func dockerClient(ctx context.Context) (*testcontainers.DockerClient, error) {
	quietEngine()
	engine, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, fmt.Errorf("no container engine answers: %w", err)
	}
	return engine, nil
}

// quietEngine silences testcontainers and sets what it reads from the environment only. Its reaper is off because its image cannot be had everywhere
// and the watchdog does its work; a machine that is itself a container reaches published ports on its own loopback.
var quietEngine = sync.OnceFunc(func() {
	_ = os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	log.SetDefault(log.NewNoopLogger()) // Progress says what there is to say
	if _, err := os.Stat("/.dockerenv"); err == nil && os.Getenv("TESTCONTAINERS_HOST_OVERRIDE") == "" {
		_ = os.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	}
})

// sweepContainers removes the containers of callers that are dead.
func sweepContainers(ctx context.Context, engine *testcontainers.DockerClient) error {
	found, err := engine.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", ownerLabel)})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, left := range found.Items {
		if _, alive := same(left.Labels[ownerLabel]); alive {
			continue
		}
		_, err = engine.ContainerRemove(ctx, left.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil {
			return fmt.Errorf("remove a container of a dead process: %w", err)
		}
	}
	return nil
}
