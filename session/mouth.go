package session

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
)

// mouth gives the audio output to one speech at a time and tells it what became of its audio.
type mouth struct {
	out AudioOutput

	mu   sync.Mutex
	seg  *segment      // the open one; nil between segments
	said time.Duration // of all segments that ended
}

// segment is a piece of speech that is played as a whole. It is used by one goroutine.
type segment struct {
	m       *mouth
	started func(time.Time)
	rate    *audio.Resampler // nil when the rates are equal
	from    int              // rate of the frames
	buf     []int16
	touched bool // something was handed to the output, which may have taken it or not
	done    chan struct{}
	end     PlaybackEvent // valid once done is closed
}

func newMouth(out AudioOutput) *mouth {
	m := &mouth{out: out}
	if out != nil {
		out.Notify(m.onPlayback)
	}
	return m
}

func (m *mouth) onPlayback(ev PlaybackEvent) {
	m.mu.Lock()
	seg := m.seg
	if ev.Finished {
		m.seg = nil
		m.said += ev.Played
	}
	m.mu.Unlock()
	switch {
	case seg == nil:
	case ev.Finished:
		seg.end = ev
		close(seg.done)
	default:
		seg.started(ev.At)
	}
}

// clear stops what is playing.
func (m *mouth) clear() {
	if m.out != nil {
		m.out.Clear()
	}
}

// open begins a segment. started is called when its first sample is heard.
func (m *mouth) open(started func(time.Time)) *segment {
	seg := &segment{m: m, started: started, done: make(chan struct{})}
	m.mu.Lock()
	m.seg = seg
	m.mu.Unlock()
	return seg
}

// mine reports whether the output still plays seg. A speech that was given up must not touch the
// segment of the one after it.
func (seg *segment) mine() bool {
	seg.m.mu.Lock()
	defer seg.m.mu.Unlock()
	return seg.m.seg == seg
}

// write queues f for playing and blocks while the queue is full.
func (seg *segment) write(ctx context.Context, f audio.Frame) error {
	if len(f.Data) == 0 {
		return nil
	}
	if err := f.Validate(); err != nil {
		return err
	}
	out := seg.m.out.SampleRate()
	if seg.from == 0 {
		seg.from = f.Rate
		if f.Rate != out {
			rs, err := audio.NewResampler(f.Rate, out, 1, audio.Fast)
			if err != nil {
				return fmt.Errorf("playing: %w", err)
			}
			seg.rate = rs
		}
	}
	if f.Rate != seg.from || f.Channels != 1 {
		return fmt.Errorf("playing: frame of %d Hz and %d channels in a segment of %d Hz and one", f.Rate, f.Channels, seg.from)
	}
	if seg.rate != nil {
		seg.buf = seg.rate.Process(seg.buf[:0], f.Data)
		f = audio.Frame{Data: seg.buf, Rate: out, Channels: 1}
	}
	return seg.send(ctx, f)
}

func (seg *segment) send(ctx context.Context, f audio.Frame) error {
	if len(f.Data) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !seg.mine() {
		return ErrCleared
	}
	seg.touched = true
	return seg.m.out.Write(ctx, f)
}

// finish ends the segment and waits until it was heard, or until ctx ends, which stops it. broken
// stops it too: the audio will not be completed.
func (seg *segment) finish(ctx context.Context, broken bool) PlaybackEvent {
	if !broken && ctx.Err() == nil && seg.rate != nil && seg.touched {
		seg.buf = seg.rate.Flush(seg.buf[:0])
		broken = seg.send(ctx, audio.Frame{Data: seg.buf, Rate: seg.m.out.SampleRate(), Channels: 1}) != nil
	}
	if !seg.touched {
		seg.m.forget(seg)
		return PlaybackEvent{Finished: true, At: now(), Interrupted: ctx.Err() != nil}
	}
	if !broken && seg.mine() {
		seg.m.out.Flush()
		select {
		case <-seg.done:
			return seg.end
		case <-ctx.Done():
		}
	}
	return seg.stop()
}

// stop clears the segment and waits until the output says how much of it was heard. An output that
// does not say so in time has lost it.
func (seg *segment) stop() PlaybackEvent {
	if !seg.touched {
		seg.m.forget(seg)
		return PlaybackEvent{Finished: true, At: now(), Interrupted: true}
	}
	if seg.mine() {
		seg.m.out.Clear()
	}
	await(seg.done, closeWait, nil)
	if isClosed(seg.done) {
		return seg.end
	}
	seg.m.forget(seg)
	return PlaybackEvent{Finished: true, At: now(), Interrupted: true}
}

func (m *mouth) forget(seg *segment) {
	m.mu.Lock()
	if m.seg == seg {
		m.seg = nil
	}
	m.mu.Unlock()
}
