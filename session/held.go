package session

import (
	"context"
	"sync"

	"github.com/parley-go/parley/metrics"
)

// held keeps what an answer costs that was begun before its turn was over, until it is known whether anybody
// wants it: a request that came to its end is delivered then, or discarded. What comes later is passed on
// at once.
type held struct {
	r *run

	mu     sync.Mutex
	events []heldEvent // few: some requests
	known  bool
	wasted bool
}

type heldEvent struct {
	ctx context.Context
	e   metrics.Event
}

// Expect implements metrics.Expecter.
func (h *held) Expect() (done func()) { return h.r.Expect() }

// Record implements metrics.Recorder.
func (h *held) Record(ctx context.Context, e metrics.Event) {
	h.mu.Lock()
	if !h.known {
		h.events = append(h.events, heldEvent{ctx, e})
		h.mu.Unlock()
		return
	}
	wasted := h.wasted
	h.mu.Unlock()
	h.pass(heldEvent{ctx, e}, wasted)
}

// decide passes on what is held. The first decision counts.
func (h *held) decide(wasted bool) {
	h.mu.Lock()
	if h.known {
		h.mu.Unlock()
		return
	}
	h.known, h.wasted = true, wasted
	events := h.events
	h.events = nil
	h.mu.Unlock()
	for _, x := range events {
		h.pass(x, wasted)
	}
}

// pass records x, a changed copy of it if it was wasted: an event is never changed.
func (h *held) pass(x heldEvent, wasted bool) {
	if wasted && x.e.Head().Outcome != metrics.Failed {
		switch e := x.e.(type) {
		case *metrics.LLM:
			c := *e
			c.Outcome, x.e = metrics.Discarded, &c
		case *metrics.TTS:
			c := *e
			c.Outcome, x.e = metrics.Discarded, &c
		}
	}
	h.r.Record(x.ctx, x.e)
}
