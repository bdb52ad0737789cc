package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rabbitmq/amqp091-go"
	"golang.org/x/sync/errgroup"

	"github.com/syncsets/syncsets/libs/amqp"
	"github.com/syncsets/syncsets/libs/auth"
	"github.com/syncsets/syncsets/libs/backoff"
	"github.com/syncsets/syncsets/libs/config"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/outbox"
	"github.com/syncsets/syncsets/libs/postgres"
	"github.com/syncsets/syncsets/libs/rest"
	"github.com/syncsets/syncsets/libs/telemetry"
)

// Process is a service that is starting or running.
type Process struct {
	Settings  Settings
	Log       *slog.Logger
	Telemetry *telemetry.Telemetry
	Pool      *pgxpool.Pool
	Auth      auth.Authenticator

	spec             Spec
	ctx              context.Context
	group            *errgroup.Group
	public, internal *gate
}

func serve(ctx context.Context, spec Spec, settings Settings, set *config.Set, env Environment) (err error) {
	access, err := settings.authenticator()
	if err != nil {
		return errs.Wrap(errs.Invalid, err, "the settings do not fit together")
	}
	t, err := telemetry.Setup(ctx, options(spec, settings, env))
	if err != nil {
		return err
	}
	defer func() {
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		err = errors.Join(err, t.Shutdown(flush))
	}()
	t.Log.InfoContext(ctx, "starting", "version", spec.Version, "settings", set)
	pool, err := postgres.Open(ctx, postgres.Config{Params: settings.PostgresParams, Application: spec.Name, MaxConns: spec.MaxConns})
	if err != nil {
		return err
	}
	defer pool.Close()
	p := &Process{Settings: settings, Log: t.Log, Telemetry: t, Pool: pool, Auth: access, spec: spec}
	if err := p.run(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	t.Log.InfoContext(ctx, "stopped")
	return nil
}

// run binds the sockets, starts everything, and waits for its end.
func (p *Process) run(ctx context.Context) error {
	listeners, err := p.listen(ctx)
	if err != nil {
		return err
	}
	p.group, p.ctx = errgroup.WithContext(ctx)
	p.Telemetry.AddCheck("start", func(context.Context) error { return errs.New(errs.Unavailable, "the service is starting") })
	p.Telemetry.AddCheck("postgres", func(ctx context.Context) error {
		return postgres.Wrap(p.Pool.Ping(ctx), "ask Postgres")
	})
	p.Go("listeners", func(ctx context.Context) error { return rest.Serve(ctx, p.Log, listeners...) })
	p.Go("start", p.start)
	return p.group.Wait()
}

func (p *Process) listen(ctx context.Context) ([]rest.Listener, error) {
	p.public, p.internal = newGate(p.apiOptions(p.spec.Name, p.Auth)), newGate(p.apiOptions(p.spec.Name, p.Auth))
	listeners := []rest.Listener{
		{Name: "LISTEN_ADDR", Handler: p.public},
		{Name: "ADMIN_ADDR", Handler: p.Telemetry.Admin()},
		{Name: "INTERNAL_ADDR", Handler: p.internal},
	}
	for i, address := range []string{p.Settings.Listen, p.Settings.Admin, p.Settings.Internal} {
		socket, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			for _, bound := range listeners[:i] {
				_ = bound.Socket.Close()
			}
			return nil, fmt.Errorf("%s: %w", listeners[i].Name, err)
		}
		listeners[i].Socket = socket
	}
	return listeners, nil
}

func (p *Process) start(ctx context.Context) error {
	if err := postgres.Wait(ctx, p.Pool, p.Log); err != nil {
		return err
	}
	if err := p.migrations(ctx); err != nil {
		return err
	}
	return p.spec.Wire(ctx, p)
}

// migrations returns when the schema is as this program needs it. It goes on trying while the database is away or, without the right
// to migrate, while somebody else has not migrated yet.
func (p *Process) migrations(ctx context.Context) error {
	retry := backoff.New(500*time.Millisecond, 10*time.Second)
	for {
		var err error
		if p.Settings.Migrate == migrateAuto {
			err = postgres.Migrate(ctx, p.Settings.PostgresParams, p.spec.Schema, p.Log)
		} else {
			err = postgres.Verify(ctx, p.Pool, p.spec.Schema)
		}
		if err == nil || !errs.Is(err, errs.Unavailable) {
			return err
		}
		p.Log.WarnContext(ctx, "waiting for the schema", "error", err)
		p.Telemetry.AddCheck("start", func(context.Context) error { return err })
		if err := retry.Wait(ctx); err != nil {
			return err
		}
	}
}

// Go runs a part until it ends. A part that fails, or ends before the process does, ends the process.
func (p *Process) Go(name string, run func(ctx context.Context) error) {
	p.group.Go(func() error {
		err := run(p.ctx)
		if err == nil || p.ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("%s: %w", name, err)
	})
}

// NewAPI returns an API for the public listener.
func (p *Process) NewAPI() *rest.API { return rest.NewAPI(p.apiOptions(p.spec.Name, p.Auth)) }

// NewInternalAPI returns an API for the internal listener, behind its token.
func (p *Process) NewInternalAPI() *rest.API {
	return rest.NewAPI(p.apiOptions(p.spec.Name+" internal", auth.NewShared(p.Settings.InternalToken)))
}

func (p *Process) apiOptions(name string, access auth.Authenticator) rest.Options {
	return rest.Options{Service: name, Auth: access, Log: p.Log}
}

// Open lets the two listeners answer and makes the process ready.
func (p *Process) Open(public, internal *rest.API) {
	p.public.open(public.Handler())
	p.internal.open(internal.Handler())
	p.Telemetry.AddCheck("start", func(context.Context) error { return nil })
	p.Log.InfoContext(p.ctx, "ready to answer")
}

// AMQP returns the broker's configuration for a part of this name.
func (p *Process) AMQP(name string) amqp.Config {
	return amqp.Config{URL: p.Settings.AMQPURL, Prefix: p.Settings.AMQPPrefix, Name: p.spec.Name + " " + name, Log: p.Log}
}

// ConsumerAMQP is AMQP for a part that consumes; readiness depends on its getting deliveries.
func (p *Process) ConsumerAMQP(name string) amqp.Config {
	var consuming atomic.Bool
	p.needRabbitMQ(name, consuming.Load)
	config := p.AMQP(name)
	config.Consuming = consuming.Store
	return config
}

// StartPublisher starts a publisher and makes readiness depend on its connection. declare may be nil.
func (p *Process) StartPublisher(name string, declare func(*amqp091.Channel) error) *amqp.Publisher {
	publisher := amqp.NewPublisher(p.AMQP(name), declare)
	p.needRabbitMQ(name, publisher.Connected)
	p.Go(name, publisher.Run)
	return publisher
}

// needRabbitMQ makes readiness depend on the connection of the part of this name.
func (p *Process) needRabbitMQ(name string, connected func() bool) {
	p.Telemetry.AddCheck("rabbitmq "+name, func(context.Context) error {
		if !connected() {
			return errs.New(errs.Unavailable, "no connection to RabbitMQ")
		}
		return nil
	})
}

// StartRelay starts the relay of the service's outbox to its exchange, with bookmarks for resources.
func (p *Process) StartRelay(resources ...string) *outbox.Relay {
	exchange := p.AMQP("").Exchange(p.spec.Schema)
	relay := outbox.NewRelay(outbox.RelayConfig{
		Pool: p.Pool, Schema: p.spec.Schema, Exchange: exchange, Resources: resources, Log: p.Log,
		Publisher: p.StartPublisher("relay", func(ch *amqp091.Channel) error { return amqp.DeclareExchange(ch, exchange) }),
	})
	p.Go("relay", relay.Run)
	return relay
}

// gate answers 503 until it is opened.
type gate struct {
	closed http.Handler
	opened atomic.Pointer[http.Handler]
}

func newGate(o rest.Options) *gate { return &gate{closed: rest.NotReady(o, "the service is starting")} }

func (g *gate) open(h http.Handler) { g.opened.Store(&h) }

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := g.opened.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	g.closed.ServeHTTP(w, r)
}
