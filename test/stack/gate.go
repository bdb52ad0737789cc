package stack

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Gate is a TCP forwarder before a real server. Shut refuses new connections and cuts the open ones, as a server does that is gone;
// Open lets them through again at the same address.
type Gate struct {
	Addr string

	t        testing.TB
	upstream string
	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]struct{}
}

// NewGate makes an open gate before the server that rawURL names and returns it with the URL that leads through it.
func NewGate(t testing.TB, rawURL string) (*Gate, string) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{Addr: freeAddr(t), t: t, upstream: u.Host, conns: map[net.Conn]struct{}{}}
	u.Host = g.Addr
	g.Open()
	t.Cleanup(g.Shut)
	return g, u.String()
}

// Open accepts connections again.
func (g *Gate) Open() {
	g.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", g.Addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	g.listener = l
	g.mu.Unlock()
	go g.accept(l)
}

// Shut refuses and cuts.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener != nil {
		_ = g.listener.Close()
		g.listener = nil
	}
	for c := range g.conns {
		_ = c.Close()
	}
	clear(g.conns)
}

func (g *Gate) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go g.forward(c)
	}
}

func (g *Gate) forward(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", g.upstream)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	if !g.keep(client, server) {
		return
	}
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
	g.mu.Lock()
	delete(g.conns, client)
	delete(g.conns, server)
	g.mu.Unlock()
}

// keep notes the two ends so that Shut can cut them; false when the gate is shut already.
func (g *Gate) keep(client, server net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener == nil {
		return false
	}
	g.conns[client], g.conns[server] = struct{}{}, struct{}{}
	return true
}
