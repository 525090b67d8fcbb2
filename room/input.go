package room

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
)

// inputFrame is the length of the frames that are heard.
const inputFrame = 50 * time.Millisecond

// frameSource is one track, decoded. After close its ReadFrame returns io.EOF.
type frameSource interface {
	ReadFrame(ctx context.Context) (audio.Frame, error)
	close()
}

// input is what a session hears: the track that is attached, and silence at the pace of real time
// while none is. It implements session.AudioInput.
type input struct {
	open    func(rtpTrack) frameSource
	silence audio.Frame
	next    time.Time // when the next frame of silence is due; only ReadFrame's

	mu      sync.Mutex
	source  frameSource   // nil while nothing is attached
	changed chan struct{} // closed when source is another one
	closed  bool
}

func newInput(rate int, log *slog.Logger) *input {
	return newInputFrom(rate, func(t rtpTrack) frameSource { return openTrack(t, rate, log) })
}

func newInputFrom(rate int, open func(rtpTrack) frameSource) *input {
	return &input{open: open, silence: audio.Silence(inputFrame, rate, 1), changed: make(chan struct{})}
}

// ReadFrame implements session.AudioInput.
func (in *input) ReadFrame(ctx context.Context) (audio.Frame, error) {
	for {
		in.mu.Lock()
		source, changed, closed := in.source, in.changed, in.closed
		in.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return audio.Frame{}, context.Cause(ctx)
		case closed:
			return audio.Frame{}, io.EOF
		case source != nil:
			f, err := source.ReadFrame(ctx)
			if err == nil {
				in.next = time.Now().Add(inputFrame)
				return f, nil
			}
			in.drop(source)
		case in.waitSilence(ctx, changed):
			return in.silence, nil
		}
	}
}

// waitSilence waits until a frame of silence is due. It reports false when something else came first.
func (in *input) waitSilence(ctx context.Context, changed <-chan struct{}) bool {
	now := time.Now()
	if late := now.Sub(in.next); late > inputFrame { // the first one, or nobody read for a while
		in.next = now.Add(inputFrame)
	}
	due := time.NewTimer(in.next.Sub(now))
	defer due.Stop()
	select {
	case <-due.C:
		in.next = in.next.Add(inputFrame)
		return true
	case <-changed:
	case <-ctx.Done():
	}
	return false
}

// attach listens to t from now on.
func (in *input) attach(t rtpTrack) { in.swap(func() frameSource { return in.open(t) }) }

// detach listens to nothing.
func (in *input) detach() { in.swap(func() frameSource { return nil }) }

// drop forgets a source that ended, unless it was replaced meanwhile.
func (in *input) drop(ended frameSource) {
	in.mu.Lock()
	mine := in.source == ended
	if mine {
		in.source = nil
	}
	in.mu.Unlock()
	if mine {
		ended.close()
	}
}

func (in *input) swap(open func() frameSource) {
	in.mu.Lock()
	old := in.source
	in.source = nil
	if !in.closed {
		in.source = open()
	}
	close(in.changed)
	in.changed = make(chan struct{})
	in.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// close ends the input: ReadFrame returns io.EOF from now on.
func (in *input) close() {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	in.detach()
}
