// Package work brings clusters in step, one run at a time per cluster. A pool of slots takes cluster uids from the competing queue;
// a run is
//
//	claim -> load -> identity -> render, observe, verify -> decide -> intents -> apply, ask for health -> recheck -> delete -> settle -> ack
//
// under a lease that is renewed while the run lasts. Every request ends before the lease does, every write to the schema carries the
// claim's fence, and a message is acknowledged only when its row is settled or was never ours; nothing is requeued in the broker.
package work

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/syncsets/syncsets/libs/amqp"
)

// scope names this package in traces and metrics.
const scope = "github.com/syncsets/syncsets/services/reconciler/internal/work"

// settleTimeout bounds the writing of what a run leaves behind.
const settleTimeout = 10 * time.Second

// ErrMovedOn says that what the cluster should have changed after it was loaded: the run stops and the row is due again.
var ErrMovedOn = errors.New("the cluster's wishes moved on during the run")

// Why a run ends early.
var (
	errStopping  = errors.New("the worker stops")
	errLeaseLost = errors.New("the lease is lost")
)

// Config is what a pool is made of. Zero durations get their defaults.
type Config struct {
	Store   Store
	Targets Targets
	// Unseal opens a stored kubeconfig of a cluster.
	Unseal func(clusterUID string, c Credential) (string, error)
	// UnsealSecret opens the stored values of a secret: a JSON object of base64 values by key.
	UnsealSecret func(s Secret) ([]byte, error)
	// Digest is a keyed hash, for what may hold values of secrets; the installation is the key by default.
	Digest func([]byte) []byte
	AMQP   amqp.Config
	Holder string // unique among living processes
	Slots  int    // runs at once; default 16

	Installation  string        // uuid that marks what is ours
	SharedTargets bool          // two cluster documents may have one target
	Reapply       time.Duration // how often everything is applied again; default 2 h
	Verify        time.Duration // how often what was applied is compared with the target; default 15 min
	Lease         time.Duration
	Renew         time.Duration
	Heartbeat     time.Duration
	Drain         time.Duration // how long runs may go on after the pool was told to stop; default 10 s
	Log           *slog.Logger
	// Wake, when set, is called after a run whose cluster is due again at once.
	Wake func()
}

// Queue is the name, without the prefix, of the competing queue of cluster uids.
const Queue = "reconciler.apply"

// Pool runs clusters. Make it with New.
type Pool struct {
	config Config
	sets   *setCache
	slots  chan struct{}
	meters meters
	tracer trace.Tracer
}

// New returns a pool that does nothing before Run.
func New(c Config) (*Pool, error) {
	c = c.withDefaults()
	sets, err := newSetCache()
	if err != nil {
		return nil, err
	}
	m, err := newMeters()
	if err != nil {
		return nil, err
	}
	return &Pool{config: c, sets: sets, slots: make(chan struct{}, c.Slots), meters: m, tracer: otel.Tracer(scope)}, nil
}

func (c Config) withDefaults() Config {
	c.Slots = cmp.Or(c.Slots, 16)
	c.Reapply = cmp.Or(c.Reapply, 2*time.Hour)
	c.Verify = cmp.Or(c.Verify, 15*time.Minute)
	c.Lease = cmp.Or(c.Lease, time.Minute)
	c.Renew = cmp.Or(c.Renew, c.Lease/3)
	c.Heartbeat = cmp.Or(c.Heartbeat, 5*time.Second)
	c.Drain = cmp.Or(c.Drain, 10*time.Second)
	if c.UnsealSecret == nil {
		c.UnsealSecret = func(Secret) ([]byte, error) { return nil, errors.New("no key for secrets") }
	}
	if c.Digest == nil {
		c.Digest = func(body []byte) []byte {
			h := hmac.New(sha256.New, []byte(c.Installation))
			h.Write(body)
			return h.Sum(nil)
		}
	}
	if c.Wake == nil {
		c.Wake = func() {}
	}
	return c
}

// Run works until ctx ends, then hands back what it cannot finish in time, and returns when every slot is empty.
func (p *Pool) Run(ctx context.Context) error {
	runs, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var handled sync.WaitGroup
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.beat(groupCtx) })
	group.Go(func() error {
		return amqp.Consume(groupCtx, p.consumer(), func(_ context.Context, d amqp091.Delivery) {
			handled.Add(1)
			go func() {
				defer handled.Done()
				p.handle(runs, d)
			}()
		})
	})
	group.Go(func() error {
		<-groupCtx.Done()
		timer := time.AfterFunc(p.config.Drain, func() { stop(errStopping) })
		defer timer.Stop()
		handled.Wait()
		return nil
	})
	err := group.Wait()
	p.leave(ctx)
	return err
}

func (p *Pool) consumer() amqp.ConsumerConfig {
	return amqp.ConsumerConfig{
		Config: p.config.AMQP, Prefetch: p.config.Slots, Grace: p.config.Drain + settleTimeout,
		Declare: func(ch *amqp091.Channel) (string, error) {
			queue := p.config.AMQP.Queue(Queue)
			return queue, amqp.DeclareQuorum(ch, queue, false)
		},
	}
}

// handle works on one message and acknowledges it whatever came of it: what is still to do stands in the work row.
func (p *Pool) handle(ctx context.Context, d amqp091.Delivery) {
	p.slots <- struct{}{}
	defer func() { <-p.slots }()
	p.RunCluster(amqp.Extract(ctx, d.Headers), string(d.Body))
	if err := d.Ack(false); err != nil {
		p.config.Log.WarnContext(ctx, "could not acknowledge; the message will come again", "error", err)
	}
}

// beat tells the dispatchers that these slots live.
func (p *Pool) beat(ctx context.Context) error {
	ticker := time.NewTicker(p.config.Heartbeat)
	defer ticker.Stop()
	for {
		if err := p.config.Store.Heartbeat(ctx, p.config.Holder, p.config.Slots); err != nil && ctx.Err() == nil {
			p.config.Log.WarnContext(ctx, "worker heartbeat failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

func (p *Pool) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err := p.config.Store.Leave(ctx, p.config.Holder); err != nil {
		p.config.Log.WarnContext(ctx, "could not take the worker's heartbeat back", "error", err)
	}
}
