package kube

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/services/reconciler/internal/work"
)

// identity knows who is behind the open network connections of a Conn. A network connection is only ever opened to ask who answers,
// while nothing else is sent; when one opens or closes, what was known is forgotten, and the next request has to ask first.
type identity struct {
	gate  sync.RWMutex // held for reading while a request is sent, for writing while the target is asked who it is
	alone atomic.Bool  // the target speaks HTTP/1

	mu      sync.Mutex
	id      string // uid of the target's kube-system namespace; "" when it has to be asked again
	expects string // what the run under way was told
	release string // the target's Kubernetes version
}

// errUnidentified fails a request that would have opened a network connection. Nothing was sent.
var errUnidentified = errors.New("it is not known who answers")

type askingKey struct{}

// asking reports whether a request may open a network connection.
func asking(ctx context.Context) bool { return ctx.Value(askingKey{}) != nil }

func (i *identity) known() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.id
}

func (i *identity) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.id = ""
}

// Identify implements work.Target. It asks only when a network connection opened or closed since it was asked last.
func (c *Conn) Identify(ctx context.Context) (targetID, version string, err error) {
	i := &c.identity
	i.gate.Lock()
	defer i.gate.Unlock()
	if i.known() == "" {
		var release struct {
			GitVersion string `json:"gitVersion"`
		}
		if err := c.get(context.WithValue(ctx, askingKey{}, true), "/version", acceptJSON, &release); err != nil {
			return "", "", asUnreachable(err)
		}
		i.release = release.GitVersion
		if err := c.ask(ctx); err != nil {
			return "", "", err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.expects = i.id
	return i.expects, i.release, nil
}

// ask reads the identity. The gate is closed meanwhile.
func (c *Conn) ask(ctx context.Context) error {
	var namespace metadata
	ctx = context.WithValue(ctx, askingKey{}, true)
	if err := c.get(ctx, "/api/v1/namespaces/kube-system", acceptMetadata, &namespace); err != nil {
		return asUnreachable(err)
	}
	c.identity.mu.Lock()
	defer c.identity.mu.Unlock()
	c.identity.id = namespace.UID()
	return nil
}

// askAgain makes sure, after a network connection was lost, that the next one leads to the target that the run began with.
func (c *Conn) askAgain(ctx context.Context) error {
	i := &c.identity
	i.gate.Lock()
	defer i.gate.Unlock()
	if i.known() == "" {
		if err := c.ask(ctx); err != nil {
			return err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.expects != "" && i.id != i.expects {
		return &work.Unreachable{
			Reason:  v1.ReasonIdentityChanged,
			Message: "another cluster answers: kube-system has uid " + i.id + " instead of " + i.expects,
		}
	}
	return nil
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// watched opens network connections only to ask who answers, and forgets the identity whenever one opens or closes.
func (i *identity) watched(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if !asking(ctx) {
			return nil, errUnidentified
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		i.forget()
		return &watchedConn{Conn: conn, closed: i.forget}, nil
	}
}

type watchedConn struct {
	net.Conn
	once   sync.Once
	closed func()
}

// Close implements net.Conn.
func (w *watchedConn) Close() error {
	w.once.Do(w.closed)
	return w.Conn.Close()
}
