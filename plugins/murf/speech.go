package murf

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/tts/driver"
)

// cancelLimit bounds the sending of a cancellation.
const cancelLimit = 100 * time.Millisecond

// packet is text of a context, or its end.
type packet struct {
	ContextID string `json:"context_id"`
	Text      string `json:"text,omitempty"`
	End       bool   `json:"end,omitempty"`
	Voice     *voice `json:"voice_config,omitempty"`
	MinBuffer int    `json:"min_buffer_size"`
	MaxDelay  int64  `json:"max_buffer_delay_in_ms"`
}

// voice says how to speak.
type voice struct {
	ID     string `json:"voice_id"`
	Style  string `json:"style"`
	Rate   *int   `json:"rate,omitempty"`
	Pitch  *int   `json:"pitch,omitempty"`
	Locale string `json:"locale,omitempty"`
}

func newVoice(o *TTSOptions) voice {
	v := voice{ID: o.Voice, Style: o.Style, Locale: o.Locale}
	if n, ok := o.Speed.Get(); ok {
		v.Rate = &n
	}
	if n, ok := o.Pitch.Get(); ok {
		v.Pitch = &n
	}
	return v
}

// Open implements driver.Streamer.
func (d *synthesizer) Open(ctx context.Context) (driver.Stream, error) {
	l, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return &speech{d: d, Lease: l, id: metrics.NewID("ctx_")}, nil
}

// speech implements driver.Stream: a context of the provider, on a connection that it has alone.
type speech struct {
	d *synthesizer
	*wire.Lease
	id    string
	pcm   wire.PCM
	chunk driver.Chunk

	mu   sync.Mutex
	sent bool // text
	done bool // the provider said that it has finished
	over bool // the lease has ended
}

// Push implements driver.Stream.
func (s *speech) Push(ctx context.Context, text string) error {
	s.mu.Lock()
	s.sent = true
	s.mu.Unlock()
	return s.send(ctx, packet{Text: text})
}

// CloseSend implements driver.Stream.
func (s *speech) CloseSend(ctx context.Context) error { return s.send(ctx, packet{End: true}) }

func (s *speech) send(ctx context.Context, p packet) error {
	o := &s.d.o
	p.ContextID, p.Voice, p.MinBuffer, p.MaxDelay = s.id, &s.d.voice, o.MinBuffer, o.MaxDelay.Milliseconds()
	return s.WriteJSON(ctx, &p)
}

// reply is a message of the provider.
type reply struct {
	ContextID string          `json:"context_id"`
	Audio     []byte          `json:"audio"`
	Final     bool            `json:"final"`
	Status    int             `json:"status_code"`
	Error     json.RawMessage `json:"error"`
	ErrorText string          `json:"error_message"`
}

// Next implements driver.AudioStream.
func (s *speech) Next(ctx context.Context) (*driver.Chunk, error) {
	for {
		var r reply
		if err := s.ReadJSON(ctx, &r); err != nil {
			return nil, err
		}
		if more, err := s.take(&r); more || err != nil {
			return &s.chunk, err
		}
	}
}

// take makes the chunk of a reply; false means that there is nothing in it.
func (s *speech) take(r *reply) (bool, error) {
	if r.ContextID != "" && r.ContextID != s.id {
		return false, nil // of a speech that was cancelled
	}
	if err := s.d.refused(r); err != nil {
		return false, err
	}
	switch {
	case len(r.Audio) > 0:
		s.chunk = driver.Chunk{Frame: audio.Frame{Data: s.pcm.Add(r.Audio), Rate: s.d.o.Rate, Channels: 1}, RequestID: s.id}
		return len(s.chunk.Frame.Data) > 0, nil
	case r.Final:
		s.mu.Lock()
		s.done = true
		s.mu.Unlock()
		return false, io.EOF
	}
	return false, nil
}

// reason is the error that a message states of the connection, if any.
func (d *synthesizer) reason(r *reply) error {
	if r.ContextID != "" {
		return nil
	}
	return d.refused(r)
}

// refused is the error that a message states, if any.
func (d *synthesizer) refused(r *reply) error {
	text := r.ErrorText
	switch {
	case text != "":
	case len(r.Error) > 0 && string(r.Error) != "null":
		text = wire.Explain(r.Error)
	default:
		return nil
	}
	if r.Status == 0 {
		return d.peer.Protocol("speak", "%s", text)
	}
	return d.peer.Status("speak", r.Status, text)
}

// Close implements driver.AudioStream. A speech that is not over is cancelled; its connection stays,
// since answers name their context, and the provider speaks contexts side by side.
func (s *speech) Close() error {
	s.mu.Lock()
	first, cancel := !s.over, s.sent && !s.done
	s.over = true
	s.mu.Unlock()
	if !first {
		return nil
	}
	if s.Broken() {
		s.Discard()
		return nil
	}
	if cancel {
		ctx, stop := context.WithTimeout(context.Background(), cancelLimit)
		defer stop()
		if s.WriteJSON(ctx, map[string]any{"context_id": s.id, "clear": true}) != nil {
			s.Discard()
			return nil
		}
	}
	s.Release()
	return nil
}
