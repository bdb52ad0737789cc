// Package kube talks to targets: server-side apply, metadata reads, guarded deletes. It is this service's only importer of client-go.
// A Pool keeps a bounded number of connections, each with the kinds it has learned and the identity that was read over it.
package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"k8s.io/client-go/rest"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/errs"
	"github.com/syncsets/syncsets/libs/kubeconfig"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// Config says how targets are talked to. Zero numbers get their defaults.
type Config struct {
	Policy       kubeconfig.Policy
	Installation string // uuid that marks what is ours
	Connections  int    // kept open at most; default 512
	Parallel     int    // requests at once per target; default 8
	UserAgent    string
}

// Pool opens and keeps connections. It is safe for concurrent use.
type Pool struct {
	config Config
	mu     sync.Mutex
	open   *lru.Cache[string, *Conn] // by cluster uid
}

// A Pool is where workers get their targets from.
var _ work.Targets = (*Pool)(nil)

// New returns an empty pool.
func New(c Config) (*Pool, error) {
	if c.Connections == 0 {
		c.Connections = 512
	}
	if c.Parallel == 0 {
		c.Parallel = 8
	}
	open, err := lru.NewWithEvict(c.Connections, func(_ string, conn *Conn) { conn.close() })
	return &Pool{config: c, open: open}, err
}

// Connect implements work.Targets. Nothing is sent: the first request opens the connection.
func (p *Pool) Connect(_ context.Context, clusterUID string, version int64, text func() (string, error)) (work.Target, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if conn, ok := p.open.Get(clusterUID); ok && conn.version == version {
		return conn, nil
	}
	kubeconfigText, err := text()
	if err != nil {
		return nil, err
	}
	conn, err := p.dial(kubeconfigText)
	if err != nil {
		return nil, err
	}
	conn.version = version
	p.open.Remove(clusterUID)
	p.open.Add(clusterUID, conn)
	return conn, nil
}

// Close ends all connections.
func (p *Pool) Close() { p.open.Purge() }

func (p *Pool) dial(text string) (*Conn, error) {
	config, err := kubeconfig.Load(text, p.config.Policy)
	if err != nil {
		return nil, &work.Unreachable{Reason: v1.ReasonInvalidKubeconfig, Message: invalidKubeconfig(err), Cause: err}
	}
	conn := &Conn{
		installation: p.config.Installation, userAgent: cmp.Or(p.config.UserAgent, "syncsets-reconciler"),
		kinds: map[work.Kind]work.Mapping{}, slots: make(chan struct{}, p.config.Parallel),
		only: make(chan struct{}, 1),
	}
	config.Dial = conn.identity.watched(config.Dial)
	if conn.transport, err = rest.TransportFor(config); err == nil {
		conn.base, _, err = rest.DefaultServerUrlFor(config)
	}
	if err != nil {
		return nil, &work.Unreachable{Reason: v1.ReasonInvalidKubeconfig, Message: "no client can be made of the kubeconfig", Cause: err}
	}
	conn.base.Path = strings.TrimSuffix(conn.base.Path, "/")
	return conn, nil
}

// invalidKubeconfig returns what may be shown of Load's error.
func invalidKubeconfig(err error) string {
	var e *errs.Error
	if !errors.As(err, &e) {
		return "the kubeconfig cannot be used"
	}
	message := e.Message
	for _, f := range e.Fields {
		message += fmt.Sprintf("; %s: %s", f.Path, f.Message)
	}
	return message
}
