package neuphonic

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/tts/driver"
)

// stop is the mark of an end: without it Neuphonic waits for more before it says the last words.
const stop = "<STOP>"

// Open implements driver.Streamer.
func (d *synthesizer) Open(ctx context.Context) (driver.Stream, error) {
	e, err := d.pool.Exchange(ctx)
	if err != nil {
		return nil, err
	}
	s := &speech{Exchange: e, d: d, id: metrics.NewID("ctx_")}
	s.over, s.finish = context.WithCancel(context.Background())
	return s, nil
}

// speech implements driver.Stream: the texts of a context, on a connection that it has alone. Each text
// is answered with its audio and a stop; after the last one nothing tells that no more will come.
type speech struct {
	*wire.Exchange
	d     *synthesizer
	id    string
	pcm   wire.PCM
	chunk driver.Chunk

	over   context.Context // ends with the last stop, or the text if that is later, or Close
	finish context.CancelFunc

	mu      sync.Mutex
	pending int  // texts whose stop has not come
	ended   bool // the text is complete
}

// Push implements driver.Stream.
func (s *speech) Push(ctx context.Context, text string) error {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	s.mu.Lock()
	s.pending++
	s.mu.Unlock()
	return s.WriteJSON(ctx, map[string]string{"text": text + stop, "context_id": s.id})
}

// CloseSend implements driver.Stream.
func (s *speech) CloseSend(context.Context) error {
	s.count(func() { s.ended = true })
	return nil
}

// count changes what the end depends on.
func (s *speech) count(change func()) {
	s.mu.Lock()
	change()
	s.mu.Unlock()
	if s.done() {
		s.finish()
	}
}

// done reports whether all audio has come.
func (s *speech) done() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended && s.pending <= 0
}

// Close implements driver.AudioStream.
func (s *speech) Close() error {
	defer s.finish()
	return s.Exchange.Close()
}

// reply is a message of the provider.
type reply struct {
	Type   string          `json:"type"`
	Status int             `json:"status_code"`
	Errors json.RawMessage `json:"errors"`
	Data   struct {
		Audio     []byte `json:"audio"`
		ContextID string `json:"context_id"`
		Stop      bool   `json:"stop"`
	} `json:"data"`
}

// Next implements driver.AudioStream.
func (s *speech) Next(ctx context.Context) (*driver.Chunk, error) {
	for {
		r, err := s.read(ctx)
		if err != nil {
			return nil, err
		}
		if more, err := s.take(r); more || err != nil {
			return &s.chunk, err
		}
	}
}

// read waits for a message; io.EOF says that none will come.
func (s *speech) read(outer context.Context) (*reply, error) {
	if s.done() {
		s.Complete()
		return nil, io.EOF
	}
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	defer context.AfterFunc(s.over, cancel)()
	m, err := s.Read(ctx)
	if err != nil {
		if s.done() && outer.Err() == nil && !s.Broken() { // the end of the text was late
			s.Complete()
			return nil, io.EOF
		}
		return nil, err
	}
	var r reply
	if err := s.Decode(m, &r); err != nil {
		return nil, err
	}
	return &r, s.d.refused(&r, m.Data)
}

// take makes the chunk of a reply; false means that there is nothing in it.
func (s *speech) take(r *reply) (bool, error) {
	if r.Data.ContextID != "" && r.Data.ContextID != s.id {
		return false, nil // of a speech before
	}
	s.chunk = driver.Chunk{Frame: audio.Frame{Data: s.pcm.Add(r.Data.Audio), Rate: s.d.o.Rate, Channels: 1}, RequestID: s.id}
	if r.Data.Stop {
		s.count(func() { s.pending-- })
	}
	return len(s.chunk.Frame.Data) > 0, nil
}

// reason is the error that a message states, if any.
func (d *synthesizer) reason(raw []byte) error {
	return wire.Reason(func(r *reply) error { return d.refused(r, raw) })(raw)
}

// refused is the error that a message states, if any.
func (d *synthesizer) refused(r *reply, raw []byte) error {
	if r.Type != "error" && r.Status < 400 && (len(r.Errors) == 0 || string(r.Errors) == "null") || len(r.Data.Audio) > 0 {
		return nil
	}
	text := wire.Explain(raw)
	if t := wire.Explain(r.Errors); t != "" && t != "null" {
		text = t
	}
	text = cmp.Or(text, "no reason was given")
	if r.Status >= 400 && r.Status < 600 {
		return d.Status("speak", r.Status, text)
	}
	return d.Protocol("speak", "%s", text)
}
