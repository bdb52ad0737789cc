package work

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
)

// Recorder names a run to its target and counts the run's requests. It is safe for concurrent use; a nil one records nothing.
type Recorder struct {
	run       string // for the user agent
	mu        sync.Mutex
	requests  int
	throttled time.Duration
	slowest   []timing // at most slowestKept, the slowest first
}

type timing struct {
	request string
	took    time.Duration
}

const slowestKept = 3

type recorderKey struct{}

// WithRecorder returns a context whose requests r counts.
func WithRecorder(ctx context.Context, r *Recorder) context.Context {
	return context.WithValue(ctx, recorderKey{}, r)
}

// RecorderFrom returns the context's recorder; nil when it has none.
func RecorderFrom(ctx context.Context) *Recorder {
	r, _ := ctx.Value(recorderKey{}).(*Recorder)
	return r
}

// newRecorder returns the recorder of the run under a claim. A target's audit log then tells which run of which process asked.
func newRecorder(c Claim, holder string) *Recorder {
	return &Recorder{run: fmt.Sprintf("cluster %s; run %d; %s", c.ClusterUID, c.Fence, holder)}
}

// Run names the run: its cluster, its fence, its process. It is empty on a nil recorder.
func (r *Recorder) Run() string {
	if r == nil {
		return ""
	}
	return r.run
}

// Record counts one request to the target.
func (r *Recorder) Record(request string, took time.Duration) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	at, _ := slices.BinarySearchFunc(r.slowest, took, func(t timing, d time.Duration) int { return int(d - t.took) })
	if at >= slowestKept {
		return
	}
	r.slowest = slices.Insert(r.slowest, at, timing{request, took})
	r.slowest = r.slowest[:min(len(r.slowest), slowestKept)]
}

// Throttled counts time spent waiting because the target asked for patience.
func (r *Recorder) Throttled(waited time.Duration) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.throttled += waited
}

// ThrottledFor returns the time spent waiting, of all requests together.
func (r *Recorder) ThrottledFor() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.throttled
}

// Requests returns the count.
func (r *Recorder) Requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

// Slowest returns the slowest requests, the slowest first.
func (r *Recorder) Slowest() []v1.RequestTiming {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []v1.RequestTiming
	for _, t := range r.slowest {
		out = append(out, v1.RequestTiming{Request: t.request, Duration: t.took.Round(time.Microsecond).String()})
	}
	return out
}
