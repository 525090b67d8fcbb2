package cartesia

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/stt/driver"
)

// input is what the streams of both models have in common: audio out, events in.
type input struct {
	*wire.Socket
	r        *recognizer
	language string
	chunks   wire.Chunks
	ended    atomic.Bool // the provider was told to close

	// What follows belongs to Next.
	events    []*driver.Event
	over      bool
	requestID string
	speaking  bool
}

// Push implements driver.Stream.
func (in *input) Push(ctx context.Context, f audio.Frame) error {
	return in.chunks.Add(f.Data, func(b []byte) error { return in.WriteBinary(ctx, b) })
}

// Sent implements driver.Counter.
func (in *input) Sent() time.Duration { return in.chunks.Sent() }

// rest sends the audio that is no whole message yet.
func (in *input) rest(ctx context.Context) error {
	return in.chunks.Rest(false, func(b []byte) error { return in.WriteBinary(ctx, b) })
}

// finish sends the rest, and text that tells the provider to close.
func (in *input) finish(ctx context.Context, text string) error {
	if err := in.rest(ctx); err != nil {
		return err
	}
	in.ended.Store(true)
	return in.WriteText(ctx, []byte(text))
}

// heard is a message of the provider; both services in one.
type heard struct {
	Type       string  `json:"type"`
	RequestID  string  `json:"request_id"`
	Transcript string  `json:"transcript"` // of a turn
	Text       string  `json:"text"`
	IsFinal    bool    `json:"is_final"`
	Duration   float64 `json:"duration"`
	Language   string  `json:"language"`
	Words      []struct {
		Word  string  `json:"word"`
		Start float64 `json:"start"`
		End   float64 `json:"end"`
	} `json:"words"`

	Status  int             `json:"status_code"`
	Code    int             `json:"code"`
	Title   string          `json:"title"`
	Message string          `json:"message"`
	Error   json.RawMessage `json:"error"`
}

// next returns the next event; take understands a message, and end the end of the connection after
// we asked for it.
func (in *input) next(ctx context.Context, take func(*heard), end func()) (*driver.Event, error) {
	for len(in.events) == 0 {
		if in.over {
			return nil, io.EOF
		}
		raw, err := in.Read(ctx)
		if err != nil && ctx.Err() == nil && in.ended.Load() && in.EndedWell() {
			in.over = true
			end()
			continue
		}
		if err != nil {
			return nil, err
		}
		var m heard
		if err := in.Decode(raw, &m); err != nil {
			return nil, err
		}
		in.requestID = cmp.Or(m.RequestID, in.requestID)
		if err := in.r.refused(&m); err != nil {
			return nil, err
		}
		take(&m)
	}
	e := in.events[0]
	in.events = in.events[1:]
	e.RequestID = in.requestID
	return e, nil
}

// refused is the error that a message states, if any.
func (r *recognizer) refused(m *heard) error {
	if m.Type != "error" {
		return nil
	}
	text := cmp.Or(m.Message, m.Title, wire.Explain(m.Error), "no reason was given")
	if status := cmp.Or(m.Status, m.Code); status != 0 {
		return r.Status("transcribe", status, text)
	}
	return r.Protocol("transcribe", "%s", text)
}

func (in *input) tell(k driver.EventKind, a driver.Alternative) {
	if a.Text != "" {
		in.events = append(in.events, &driver.Event{Kind: k, Alternatives: []driver.Alternative{a}})
	}
}

func (in *input) start() {
	if !in.speaking {
		in.speaking = true
		in.events = append(in.events, &driver.Event{Kind: driver.StartOfSpeech})
	}
}

func (in *input) stop() {
	if in.speaking {
		in.speaking = false
		in.events = append(in.events, &driver.Event{Kind: driver.EndOfSpeech})
	}
}
