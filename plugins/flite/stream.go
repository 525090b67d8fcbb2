package flite

import (
	"context"
	"io"
	"sync/atomic"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/tokenize"
	"github.com/parley-go/parley/tts/driver"
)

// longest is the most characters that are spoken in one run; a run cannot be stopped.
const longest = 300

// parts cuts a long text into sentences and leaves others whole.
func parts(text string) []string {
	if len(text) <= longest {
		return []string{text}
	}
	sentences := tokenize.NewSentences(&tokenize.SentenceOptions{MaxLen: longest})
	return append(sentences.Push(text), sentences.Flush()...)
}

// stream is the audio of one request. It makes a part when the one before was taken.
type stream struct {
	s      *Synthesizer
	ctx    context.Context // of the request
	parts  []string
	rest   []int16 // of the current part
	closed atomic.Bool
	chunk  driver.Chunk
}

// Next implements driver.AudioStream with chunks of 20 ms.
func (a *stream) Next(ctx context.Context) (*driver.Chunk, error) {
	for len(a.rest) == 0 {
		if err := a.ended(ctx); err != nil {
			return nil, err
		}
		if len(a.parts) == 0 {
			return nil, io.EOF
		}
		samples, err := a.s.speak(ctx, a.parts[0])
		if err != nil {
			return nil, err
		}
		a.parts, a.rest = a.parts[1:], samples
	}
	if err := a.ended(ctx); err != nil {
		return nil, err
	}
	rate := rates[a.s.voice]
	n := min(rate/50, len(a.rest))
	a.chunk = driver.Chunk{Frame: audio.Frame{Data: a.rest[:n:n], Rate: rate, Channels: 1}}
	a.rest = a.rest[n:]
	return &a.chunk, nil
}

// ended says whether there is nobody left to listen.
func (a *stream) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := a.ctx.Err(); err != nil {
		return err
	}
	if a.closed.Load() {
		return io.ErrClosedPipe
	}
	return nil
}

// Close implements driver.AudioStream. A part that is being made is dropped when it is done.
func (a *stream) Close() error {
	a.closed.Store(true)
	return nil
}
