package postgres

import (
	"sync/atomic"
	"time"
)

// A chunk keeps the work rows that it has marked locked until it commits, and a worker that claims one of them waits for so long. So
// chunks grow and shrink with the time that they take: on an idle database they are large, on a busy one nobody waits long all the same.
const (
	chunkShort = 25 * time.Millisecond
	chunkLong  = 50 * time.Millisecond
)

// pace is how many clusters the next chunk takes. It is safe for concurrent use.
type pace struct {
	least, most int64
	now         atomic.Int64
}

// newPace begins with a tenth of most.
func newPace(most int) *pace {
	p := &pace{least: int64(max(1, most/20)), most: int64(most)}
	p.now.Store(max(p.least, p.most/10))
	return p
}

func (p *pace) clusters() int { return int(p.now.Load()) }

// took notes how long the rows of a full chunk were locked.
func (p *pace) took(held time.Duration) {
	switch n := p.now.Load(); {
	case held > chunkLong:
		p.now.Store(max(p.least, n/2))
	case held < chunkShort:
		p.now.Store(min(p.most, n*2))
	}
}
