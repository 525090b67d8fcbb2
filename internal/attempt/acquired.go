package attempt

import (
	"context"
	"sync"
	"time"

	"github.com/parley-go/parley/metrics"
)

// Acquisition is how a call got its connection, as its driver told it in a connection event. It is for
// drivers without a stream that could tell, such as those over HTTP.
type Acquisition struct {
	next metrics.Recorder

	mu   sync.Mutex
	last *metrics.Connection // nil for none
}

// Watch returns a context whose connection events are also noted in the Acquisition.
func Watch(ctx context.Context) (context.Context, *Acquisition) {
	a := &Acquisition{next: metrics.RecorderFrom(ctx)}
	return metrics.WithRecorder(ctx, a), a
}

// Record implements metrics.Recorder.
func (a *Acquisition) Record(ctx context.Context, e metrics.Event) {
	if c, ok := e.(*metrics.Connection); ok {
		a.mu.Lock()
		a.last = c
		a.mu.Unlock()
	}
	if a.next != nil {
		a.next.Record(ctx, e)
	}
}

// Known reports whether the call told of a connection, the latest counting.
func (a *Acquisition) Known() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last != nil
}

// Acquired tells how long it took to get the connection and whether it had been used before.
func (a *Acquisition) Acquired() (took time.Duration, reused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil {
		return 0, false
	}
	return a.last.AcquireTime, a.last.Reused
}
