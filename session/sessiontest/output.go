package sessiontest

import (
	"context"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/session"
)

// tick is the grain of playback.
const tick = 10 * time.Millisecond

// Output is a session.AudioOutput that plays at the speed of the clock and keeps nothing. Make one
// with NewOutput and Close it.
type Output struct {
	rate   int
	limit  int // samples that may wait
	done   chan struct{}
	ended  chan struct{}
	wake   chan struct{} // size 1: a full channel means that the player knows already
	mu     sync.Mutex
	notify func(session.PlaybackEvent)
	open   bool
	begun  bool // playback started
	flush  bool
	clear  bool
	paused bool
	queued int
	played audio.Samples
	space  chan struct{} // closed and replaced when there is room or the segment ended
	heard  []Heard
}

// Heard is a segment that an Output played.
type Heard struct {
	Started, Finished time.Time // Started is zero when nothing was audible
	Played            time.Duration
	Interrupted       bool
}

var _ session.AudioOutput = (*Output)(nil)

// NewOutput makes an output for frames of the given rate that queues 200 ms.
func NewOutput(rate int) *Output {
	o := &Output{rate: rate, limit: rate / 5, done: make(chan struct{}), ended: make(chan struct{}),
		wake: make(chan struct{}, 1), space: make(chan struct{})}
	go o.run()
	return o
}

// Close ends the output; an open segment finishes as interrupted.
func (o *Output) Close() {
	o.Clear()
	close(o.done)
	<-o.ended
}

// Segments is what was played so far.
func (o *Output) Segments() []Heard {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Heard(nil), o.heard...)
}

// SampleRate implements session.AudioOutput.
func (o *Output) SampleRate() int { return o.rate }

// Notify implements session.AudioOutput.
func (o *Output) Notify(f func(session.PlaybackEvent)) {
	o.mu.Lock()
	o.notify = f
	o.mu.Unlock()
}

// Write implements session.AudioOutput.
func (o *Output) Write(ctx context.Context, f audio.Frame) error {
	o.mu.Lock()
	if !o.open {
		o.open, o.begun, o.flush, o.clear, o.queued, o.played = true, false, false, false, 0, 0
		o.heard = append(o.heard, Heard{})
	}
	for o.queued >= o.limit && !o.clear {
		space := o.space
		o.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return ctx.Err()
		}
		o.mu.Lock()
	}
	defer o.signal()
	defer o.mu.Unlock()
	if o.clear || !o.open {
		return session.ErrCleared
	}
	o.queued += f.Samples()
	return nil
}

// Flush implements session.AudioOutput.
func (o *Output) Flush() { o.set(func() { o.flush = o.open }) }

// Clear implements session.AudioOutput.
func (o *Output) Clear() { o.set(func() { o.clear = o.open; o.freeSpace() }) }

// Pause implements session.AudioOutput.
func (o *Output) Pause() { o.set(func() { o.paused = true }) }

// Resume implements session.AudioOutput.
func (o *Output) Resume() { o.set(func() { o.paused = false }) }

// Played implements session.AudioOutput.
func (o *Output) Played() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open {
		return 0
	}
	return o.played.At(o.rate)
}

func (o *Output) set(f func()) {
	o.mu.Lock()
	f()
	o.mu.Unlock()
	o.signal()
}

func (o *Output) freeSpace() {
	close(o.space)
	o.space = make(chan struct{})
}

func (o *Output) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run plays. Between segments, and while there is nothing to play, it waits.
func (o *Output) run() {
	defer close(o.ended)
	for {
		playing := o.advance(0)
		if !playing {
			select {
			case <-o.wake:
				continue
			case <-o.done:
				o.advance(0)
				return
			}
		}
		o.play()
	}
}

// play lets one tick pass, or less when the segment is cleared or paused meanwhile.
func (o *Output) play() {
	began := time.Now()
	t := time.NewTimer(tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			o.advance(tick)
			return
		case <-o.wake:
			o.mu.Lock()
			stop := o.clear || o.paused
			o.mu.Unlock()
			if stop {
				o.advance(time.Since(began))
				return
			}
		}
	}
}

// advance counts d of the queue as played, tells what is to be told, and reports whether playback
// goes on.
func (o *Output) advance(d time.Duration) bool {
	o.mu.Lock()
	n := min(audio.SamplesIn(d, o.rate), o.queued)
	if n > 0 {
		o.queued -= n
		o.played += audio.Samples(n)
		o.freeSpace()
	}
	var events []session.PlaybackEvent
	if o.open && !o.begun && o.queued > 0 && !o.paused && !o.clear {
		o.begun = true
		o.heard[len(o.heard)-1].Started = time.Now()
		events = append(events, session.PlaybackEvent{At: time.Now()})
	}
	if o.open && (o.clear || o.flush && o.queued == 0 && !o.paused) {
		ev := session.PlaybackEvent{Finished: true, At: time.Now(), Played: o.played.At(o.rate), Interrupted: o.clear}
		o.open, o.queued = false, 0
		h := &o.heard[len(o.heard)-1]
		h.Finished, h.Played, h.Interrupted = ev.At, ev.Played, ev.Interrupted
		events = append(events, ev)
	}
	playing := o.open && o.queued > 0 && !o.paused
	notify := o.notify
	o.mu.Unlock()
	for _, e := range events {
		if notify != nil {
			notify(e)
		}
	}
	return playing
}
