package livekit

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tts/driver"
)

// Providers cut long texts into several generations, of about a thousand letters or 35 s of audio, and the
// gateway says that it is done after each. What is shorter is done when it says so for the first time; of
// longer speeches it has to be silent, too.
const (
	shortText  = 800 // bytes
	shortAudio = 30 * time.Second
	silence    = 1500 * time.Millisecond // pauses of 1.26 s have been seen
)

// Open implements driver.Streamer.
func (d *synthesizer) Open(ctx context.Context) (driver.Stream, error) {
	e, err := d.pool(ctx).Exchange(ctx)
	if err != nil {
		return nil, err
	}
	return &speech{Exchange: e, d: d, id: metrics.NewID("tts_")}, nil
}

// speech implements driver.Stream, on a connection that it has alone. The gateway cannot cancel: a speech
// that is not heard to its end costs the connection.
type speech struct {
	*wire.Exchange
	wire.Joined
	d       *synthesizer
	sent    atomic.Int64 // bytes of text
	flushed atomic.Bool

	// What follows belongs to Next.
	id       string
	pcm      wire.PCM
	letters  wire.Letters
	chunk    driver.Chunk
	heard    time.Duration
	done     bool // the gateway is, unless there is another generation
	complete bool
}

type inputTranscript struct {
	Type       string         `json:"type"`
	Transcript string         `json:"transcript"`
	Generation generation     `json:"generation_config"`
	Extra      map[string]any `json:"extra"`
}

type generation struct {
	Voice    string `json:"voice,omitempty"`
	Model    string `json:"model,omitempty"`
	Language string `json:"language,omitempty"`
}

// Push implements driver.Stream.
func (s *speech) Push(ctx context.Context, text string) error {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	s.sent.Add(int64(len(text)))
	err := s.WriteJSON(ctx, inputTranscript{
		"input_transcript", text + " ", generation{s.d.o.Voice, s.d.o.Model, s.d.o.Language}, orEmpty(s.d.o.Extra),
	})
	if err != nil {
		return err
	}
	s.Piece(text)
	return nil
}

// CloseSend implements driver.Stream.
func (s *speech) CloseSend(ctx context.Context) error {
	s.flushed.Store(true)
	return s.WriteText(ctx, []byte(`{"type":"session.flush"}`))
}

// reply is a message of the gateway.
type reply struct {
	Type      string `json:"type"`
	SessionID string `json:"session_id"`
	Audio     []byte `json:"audio"`
	Words     []struct {
		Word  string  `json:"word"`
		Start float64 `json:"start"`
		End   float64 `json:"end"`
	} `json:"words"`
	Chars []struct {
		Char  string  `json:"char"`
		Start float64 `json:"start"`
		End   float64 `json:"end"`
	} `json:"chars"`
	Message string `json:"message"`
	Code    int    `json:"code"`
}

// Next implements driver.AudioStream.
func (s *speech) Next(ctx context.Context) (*driver.Chunk, error) {
	for !s.complete {
		var r reply
		quiet, err := s.read(ctx, &r)
		if quiet {
			s.complete = true // but the connection is not used again: something may still come
			break
		}
		if err != nil {
			return nil, err
		}
		if more, err := s.take(&r); more || err != nil {
			return &s.chunk, err
		}
	}
	return nil, io.EOF
}

// read waits for a message; a while only, when the speech may be over.
func (s *speech) read(ctx context.Context, r *reply) (quiet bool, err error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.done {
		defer time.AfterFunc(silence, cancel).Stop()
	}
	err = s.ReadJSON(inner, r)
	return err != nil && ctx.Err() == nil && inner.Err() != nil, err
}

// take makes the chunk of a message; false means that there is nothing in it.
func (s *speech) take(r *reply) (bool, error) {
	s.chunk = driver.Chunk{RequestID: s.id}
	if r.SessionID != "" {
		s.chunk.RequestID = r.SessionID + "_" + s.id
	}
	switch r.Type {
	case "output_audio":
		s.chunk.Frame = audio.Frame{Data: s.pcm.Add(r.Audio), Rate: s.d.o.Rate, Channels: 1}
		s.heard += s.chunk.Frame.Duration()
		s.done = false
		return len(s.chunk.Frame.Data) > 0, nil
	case "output_alignment":
		s.words(r)
		return len(s.chunk.Words) > 0, nil
	case "done":
		if s.flushed.Load() {
			s.done = true
			if s.sent.Load() <= shortText && s.heard <= shortAudio {
				s.complete = true
				s.Complete()
			}
		}
		s.chunk.Words = s.letters.Flush()
		return len(s.chunk.Words) > 0, nil
	case "session.closed":
		if !s.done {
			return false, s.d.Error(model.KindConnection, "speak", errors.New("the gateway closed the session before its end"))
		}
		s.complete = true
	case "error":
		return false, s.d.refused("speak", r.Code, r.Message)
	}
	return false, nil
}

// words takes the times of words, or makes words of letters.
func (s *speech) words(r *reply) {
	for _, w := range r.Words {
		word := driver.Word{Text: w.Word, Start: wire.Seconds(w.Start), End: wire.Seconds(w.End)}
		word.End = max(word.End, word.Start)
		s.chunk.Words = append(s.chunk.Words, word)
	}
	for _, c := range r.Chars {
		s.chunk.Words = append(s.chunk.Words, s.letters.Add(c.Char, wire.Seconds(c.Start), wire.Seconds(c.End))...)
	}
}
