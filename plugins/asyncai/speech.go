package asyncai

import (
	"context"
	"encoding/json"
	"io"
	"strings"
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
	ContextID  string `json:"context_id"`
	Transcript string `json:"transcript"`
	Force      bool   `json:"force,omitempty"` // to speak it now
	Close      bool   `json:"close_context,omitempty"`
}

// Open implements driver.Streamer.
func (d *synthesizer) Open(ctx context.Context) (driver.Stream, error) {
	e, err := d.pool.Exchange(ctx)
	if err != nil {
		return nil, err
	}
	return &speech{Exchange: e, d: d, id: metrics.NewID("ctx_")}, nil
}

// speech implements driver.Stream: a context of the provider, on a connection that it has alone.
type speech struct {
	*wire.Exchange
	wire.Joined
	d     *synthesizer
	id    string
	pcm   wire.PCM
	chunk driver.Chunk
	final bool // the end has come

	mu           sync.Mutex
	sent, closed bool // text; the context
}

// Push implements driver.Stream. The provider wants one space behind every text.
func (s *speech) Push(ctx context.Context, text string) error {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	s.mu.Lock()
	s.sent = true
	s.mu.Unlock()
	if err := s.WriteJSON(ctx, &packet{ContextID: s.id, Transcript: text + " ", Force: true}); err != nil {
		return err
	}
	s.Piece(text)
	return nil
}

// CloseSend implements driver.Stream.
func (s *speech) CloseSend(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.WriteJSON(ctx, &packet{ContextID: s.id, Close: true})
}

// reply is a message of the provider.
type reply struct {
	ContextID string          `json:"context_id"`
	Audio     []byte          `json:"audio"`
	Final     bool            `json:"final"`
	Code      json.RawMessage `json:"error_code"` // documented as a string
	Message   string          `json:"message"`
}

// Next implements driver.AudioStream.
func (s *speech) Next(ctx context.Context) (*driver.Chunk, error) {
	for !s.final {
		var r reply
		if err := s.ReadJSON(ctx, &r); err != nil {
			return nil, err
		}
		if more, err := s.take(&r); more || err != nil {
			return &s.chunk, err
		}
	}
	return nil, io.EOF
}

// take makes the chunk of a reply; false means that there is nothing in it. The last audio may come with
// the end.
func (s *speech) take(r *reply) (bool, error) {
	if r.ContextID != "" && r.ContextID != s.id {
		return false, nil // of a speech that was cancelled
	}
	if err := s.d.refused(r); err != nil {
		return false, err
	}
	if r.Final {
		s.final = true
		s.Complete()
	}
	s.chunk = driver.Chunk{Frame: audio.Frame{Data: s.pcm.Add(r.Audio), Rate: s.d.o.Rate, Channels: 1}, RequestID: s.id}
	return len(s.chunk.Frame.Data) > 0, nil
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
	if len(r.Code) == 0 || string(r.Code) == "null" {
		return nil
	}
	return d.peer.Protocol("speak", "%s: %s", strings.Trim(string(r.Code), `"`), r.Message)
}

// Close implements driver.AudioStream. A speech that is not over is cancelled by closing its context; its
// connection stays, since answers name their context. A context that was closed before cannot be
// cancelled: it costs the connection.
func (s *speech) Close() error {
	s.mu.Lock()
	cancel, idle := s.sent && !s.closed, !s.sent && !s.closed
	s.closed = true
	s.mu.Unlock()
	if cancel && !s.Broken() {
		ctx, stop := context.WithTimeout(context.Background(), cancelLimit)
		defer stop()
		idle = s.WriteJSON(ctx, &packet{ContextID: s.id, Close: true}) == nil
	}
	if idle {
		s.Complete()
	}
	return s.Exchange.Close()
}
