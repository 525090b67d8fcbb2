package background

import (
	"context"
	"math"

	"github.com/parley-go/parley/audio"
)

// Handle is a sound that was played. Its methods may be called from any goroutine.
type Handle struct {
	p      *Player
	cancel context.CancelFunc // ends the source
	done   chan struct{}
	err    error // read after done

	// Guarded by the lock of the player.
	from      reader
	amplitude float64
	fadeIn    int // samples
	fadeOut   int // samples
	given     int // samples so far
	stopping  bool
	left      int // samples until it is silent, once it is stopping
	over      bool
}

// Stop lets the sound fade out. It returns at once and may be called again.
func (h *Handle) Stop() {
	if h.p == nil {
		return
	}
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	h.stop()
}

// stop is Stop under the lock.
func (h *Handle) stop() {
	if !h.stopping {
		h.stopping, h.left = true, h.fadeOut
	}
}

// Done is closed when the sound is over: played to its end or stopped. The last of it may be on its way
// for 80 ms.
func (h *Handle) Done() <-chan struct{} { return h.done }

// Wait waits until the sound is over or ctx ends. It returns the error of the source, ErrClosed for
// a player that was closed before, or the error of ctx.
func (h *Handle) Wait(ctx context.Context) error {
	select {
	case <-h.done:
		return h.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// mix adds the sound to sum and reports whether it is over. pcm is for its use. The lock is held.
func (h *Handle) mix(sum []float64, pcm []int16) (over bool) {
	n, ended := h.from.read(pcm[:len(sum)])
	for i, s := range pcm[:n] {
		sum[i] += float64(s) * h.amplitude * h.level(i)
	}
	h.given += n
	h.left -= len(sum)
	return ended || h.stopping && h.left <= 0
}

// level is how far the i-th of the next samples is faded, from 0 to 1.
func (h *Handle) level(i int) float64 {
	level := 1.0
	if at := h.given + i; at < h.fadeIn {
		level = float64(at) / float64(h.fadeIn)
	}
	if h.stopping {
		level *= max(0, float64(h.left-i)/float64(h.fadeOut))
	}
	return level
}

// end finishes the sound, once. The lock is held.
func (h *Handle) end(err error) {
	if h.over {
		return
	}
	h.over = true
	h.err = err
	h.cancel()
	close(h.done)
}

// clip16 brings a sum of sounds back to 16 bits.
func clip16(x float64) int16 {
	return int16(math.Round(min(max(x, math.MinInt16), math.MaxInt16)))
}

// newHandle begins to play s. The lock is held.
func (p *Player) newHandle(s Sound, loop bool) *Handle {
	ctx, cancel := context.WithCancel(p.ctx)
	return &Handle{
		p: p, cancel: cancel, done: make(chan struct{}),
		from:      s.Source.open(ctx, loop, p.streams.Go),
		amplitude: s.amplitude(),
		fadeIn:    audio.SamplesIn(s.FadeIn, rate),
		fadeOut:   audio.SamplesIn(max(s.FadeOut, minFadeOut), rate),
	}
}

// endedHandle is a handle of something that is not played.
func endedHandle(err error) *Handle {
	h := &Handle{done: make(chan struct{}), err: err}
	close(h.done)
	return h
}
