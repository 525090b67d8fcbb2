package sessiontest

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
)

// Frame is the length of the frames of an Input.
const Frame = 20 * time.Millisecond

// Input is a session.AudioInput at the speed of the clock. It is silent, but for the times at which
// the user was told to speak: then its samples have the amplitude Loud.
type Input struct {
	rate int

	mu     sync.Mutex
	spoken []span
	start  time.Time
	frames int
	buf    []int16
}

// Loud is the amplitude of speech in an Input.
const Loud = 8000

type span struct{ from, to time.Time }

// NewInput makes an input of the given rate, in Hz.
func NewInput(rate int) *Input {
	return &Input{rate: rate, buf: make([]int16, audio.SamplesIn(Frame, rate))}
}

// Speak makes the user audible from one time to another.
func (in *Input) Speak(from, to time.Time) {
	in.mu.Lock()
	in.spoken = append(in.spoken, span{from, to})
	in.mu.Unlock()
}

// ReadFrame implements session.AudioInput. The frame is what was said in the 20 ms before it.
func (in *Input) ReadFrame(ctx context.Context) (audio.Frame, error) {
	in.mu.Lock()
	if in.start.IsZero() {
		in.start = time.Now()
	}
	in.frames++
	due := in.start.Add(time.Duration(in.frames) * Frame)
	in.mu.Unlock()
	t := time.NewTimer(time.Until(due))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return audio.Frame{}, io.EOF
	}
	var v int16
	in.mu.Lock()
	for _, s := range in.spoken {
		if s.from.Before(due) && due.Add(-Frame).Before(s.to) {
			v = Loud
		}
	}
	in.mu.Unlock()
	for i := range in.buf {
		in.buf[i] = v
	}
	return audio.Frame{Data: in.buf, Rate: in.rate, Channels: 1}, nil
}
