package amqp

import (
	"sync"

	"github.com/rabbitmq/amqp091-go"
)

// handedOut counts the deliveries of one channel that are not acknowledged yet. It stands between a delivery and its channel.
type handedOut struct {
	mu   sync.Mutex
	open map[uint64]struct{}
	idle chan struct{} // made by settled, closed when open is empty
}

// take remembers d and returns it with its acknowledgements going through h.
func (h *handedOut) take(d amqp091.Delivery) amqp091.Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open == nil {
		h.open = map[uint64]struct{}{}
	}
	h.open[d.DeliveryTag] = struct{}{}
	d.Acknowledger = acknowledger{h, d.Acknowledger}
	return d
}

// settled returns a channel that is closed once nothing is handed out any more. Call it once, after the last take.
func (h *handedOut) settled() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.idle = make(chan struct{})
	if len(h.open) == 0 {
		close(h.idle)
	}
	return h.idle
}

func (h *handedOut) settle(tag uint64, multiple bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := len(h.open)
	for open := range h.open {
		if open == tag || (multiple && open < tag) {
			delete(h.open, open)
		}
	}
	if h.idle != nil && before > 0 && len(h.open) == 0 {
		close(h.idle)
	}
}

// acknowledger passes an acknowledgement on to the channel that the delivery came from, then counts it.
type acknowledger struct {
	held  *handedOut
	inner amqp091.Acknowledger
}

func (a acknowledger) Ack(tag uint64, multiple bool) error {
	defer a.held.settle(tag, multiple)
	return a.inner.Ack(tag, multiple)
}

func (a acknowledger) Nack(tag uint64, multiple, requeue bool) error {
	defer a.held.settle(tag, multiple)
	return a.inner.Nack(tag, multiple, requeue)
}

func (a acknowledger) Reject(tag uint64, requeue bool) error {
	defer a.held.settle(tag, false)
	return a.inner.Reject(tag, requeue)
}
