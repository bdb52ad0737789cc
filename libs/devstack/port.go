package devstack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"
)

// Ports are drawn below the range that systems give to outgoing connections, so that a server gets the same one after a restart.
const (
	firstPort = 20000
	lastPort  = 32000
)

// portPatience is how long a server that is to get the port it had waits for it.
const portPatience = 10 * time.Second

// handedOut are the ports that this process was given: who got one may not listen on it yet.
var handedOut sync.Map

// freePort is a port on 127.0.0.1 that nobody listens on, another one each time.
func freePort() (int, error) {
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if _, taken := handedOut.LoadOrStore(port, true); !taken && portFree(port) == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d", firstPort, lastPort)
}

// FreeAddress is an address on 127.0.0.1 that nobody listens on, and that no outgoing connection will be given.
func FreeAddress() (string, error) {
	port, err := freePort()
	return loopback(port), err
}

// freePorts fills the zeros among want with different free ports.
func freePorts(want ...*int) error {
	for _, port := range want {
		if *port != 0 {
			continue
		}
		found, err := freePort()
		if err != nil {
			return err
		}
		*port = found
	}
	return nil
}

// portFree says who cannot listen where, nil when the port is free.
func portFree(port int) error {
	listener, err := net.Listen("tcp4", loopback(port))
	if err != nil {
		return fmt.Errorf("port %d is taken: %w", port, err)
	}
	return listener.Close()
}

// awaitPort waits until the port is free: the servers of a caller that was killed take a moment to be gone. It says who has the port when
// they are not the ones.
func awaitPort(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, portPatience)
	defer cancel()
	if await(ctx, 100*time.Millisecond, func(context.Context) error { return portFree(port) }) == nil {
		return nil
	}
	return portFree(port)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
