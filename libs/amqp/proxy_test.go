package amqp_test

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/rabbitmq/amqp091-go"
)

// proxy passes a broker's connections on, until it is told to cut them or to hold what they carry.
type proxy struct {
	url  string
	mu   sync.Mutex
	open []net.Conn
	held chan struct{} // closed while nothing is held
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	uri, err := amqp091.ParseURI(target)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	backend := net.JoinHostPort(uri.Host, fmt.Sprint(uri.Port))
	p := &proxy{held: make(chan struct{})}
	close(p.held)
	host, port, _ := net.SplitHostPort(listener.Addr().String())
	uri.Host = host
	_, _ = fmt.Sscan(port, &uri.Port)
	p.url = uri.String()
	go p.accept(listener, backend)
	t.Cleanup(func() { listener.Close(); p.hold(false); p.cut() })
	return p
}

func (p *proxy) accept(listener net.Listener, backend string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", backend)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.open = append(p.open, client, server)
		p.mu.Unlock()
		go p.pass(client, server)
		go p.pass(server, client)
	}
}

func (p *proxy) pass(from, to net.Conn) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			p.mu.Lock()
			held := p.held
			p.mu.Unlock()
			<-held
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.open {
		conn.Close()
	}
	p.open = nil
}

func (p *proxy) hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.held:
		if on {
			p.held = make(chan struct{})
		}
	default:
		if !on {
			close(p.held)
		}
	}
}
