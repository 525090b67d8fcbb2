package elevenlabs

import (
	"context"
	"io"
	"strings"
	"sync/atomic"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/tts/driver"
)

// speech implements driver.Stream: a context of the provider.
type speech struct {
	*wire.Channel[*reply]
	wire.Joined
	d     *synthesizer
	begun atomic.Bool

	// What follows belongs to Next.
	chunk   driver.Chunk
	pcm     []int16
	rest    []byte // half a sample
	letters letters
	over    bool
}

// piece is text of a speech, or its end.
type piece struct {
	Text      *string `json:"text,omitempty"`
	ContextID string  `json:"context_id"`
	Flush     bool    `json:"flush,omitempty"`
	Close     bool    `json:"close_context,omitempty"`
}

// Push implements driver.Stream. Pieces end with a space, which the provider asks for.
func (s *speech) Push(ctx context.Context, text string) error {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	spaced := text + " "
	list := []any{piece{Text: &spaced, ContextID: s.ID(), Flush: s.d.auto()}}
	if !s.begun.Swap(true) {
		first := s.d.init
		first.ContextID = s.ID()
		list = []any{first, list[0]}
	}
	if err := s.WriteJSON(ctx, list...); err != nil {
		return err
	}
	s.Piece(text)
	return nil
}

// CloseSend implements driver.Stream.
func (s *speech) CloseSend(ctx context.Context) error {
	none := ""
	return s.End(ctx, piece{Text: &none, ContextID: s.ID(), Flush: true}, piece{ContextID: s.ID(), Close: true})
}

// Next implements driver.AudioStream.
func (s *speech) Next(ctx context.Context) (*driver.Chunk, error) {
	for !s.over {
		r, err := s.Channel.Next(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.d.refused(r); err != nil {
			return nil, err
		}
		s.chunk = driver.Chunk{RequestID: s.ID()}
		if !s.d.o.NoWords {
			s.chunk.Words = s.letters.take(r)
		}
		b := r.Audio
		if len(s.rest) > 0 {
			b = append(s.rest, b...)
		}
		s.rest = b[len(b)&^1:]
		s.pcm = wire.Samples(s.pcm[:0], b)
		s.chunk.Frame = audio.Frame{Data: s.pcm, Rate: s.d.o.Rate, Channels: 1}
		s.letters.heard += s.chunk.Frame.Duration()
		if s.over = r.Final; s.over && !s.d.o.NoWords {
			s.chunk.Words = append(s.chunk.Words, s.letters.Flush()...)
		}
		if len(s.pcm) > 0 || len(s.chunk.Words) > 0 {
			return &s.chunk, nil
		}
	}
	return nil, io.EOF
}

// Close implements driver.AudioStream. A speech that is not over is closed at the provider; the
// connection stays.
func (s *speech) Close() error {
	s.Channel.Close(piece{ContextID: s.ID(), Close: true})
	return nil
}
