package deepgram

import (
	"cmp"
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/stt/driver"
)

// turns implements driver.Stream: a websocket of Flux.
type turns struct {
	*wire.Socket
	peer     *wire.Peer
	language string
	chunks   wire.Chunks
	ended    atomic.Bool // CloseStream is out

	// What follows belongs to Next.
	events    []*driver.Event
	over      bool
	requestID string
	speaking  bool
	turn      int                  // the last one that is over
	last      []driver.Alternative // of the present one
}

// Push implements driver.Stream.
func (t *turns) Push(ctx context.Context, f audio.Frame) error {
	return t.chunks.Add(f.Data, func(b []byte) error { return t.WriteBinary(ctx, b) })
}

// Sent implements driver.Counter.
func (t *turns) Sent() time.Duration { return t.chunks.Sent() }

// Flush implements driver.Stream: it ends the turn.
func (t *turns) Flush(ctx context.Context) error {
	return t.control(ctx, `{"type":"ForceEndTurn"}`)
}

// CloseSend implements driver.Stream.
func (t *turns) CloseSend(ctx context.Context) error {
	t.ended.Store(true)
	return t.control(ctx, `{"type":"CloseStream"}`)
}

func (t *turns) control(ctx context.Context, message string) error {
	if err := t.chunks.Rest(false, func(b []byte) error { return t.WriteBinary(ctx, b) }); err != nil {
		return err
	}
	return t.WriteText(ctx, []byte(message))
}

// turnInfo is what Flux sends.
type turnInfo struct {
	Type       string   `json:"type"`
	Event      string   `json:"event"`
	RequestID  string   `json:"request_id"`
	Turn       int      `json:"turn_index"`
	From       float64  `json:"audio_window_start"`
	To         float64  `json:"audio_window_end"`
	Transcript string   `json:"transcript"`
	Words      []word   `json:"words"`
	Languages  []string `json:"languages"`
	failure
}

// Next implements driver.Stream.
func (t *turns) Next(ctx context.Context) (*driver.Event, error) {
	for len(t.events) == 0 {
		if t.over {
			return nil, io.EOF
		}
		raw, err := t.Read(ctx)
		if err != nil && ctx.Err() == nil && t.ended.Load() && t.EndedWell() {
			t.over = true
			t.end(t.last)
			continue
		}
		if err != nil {
			return nil, err
		}
		var m turnInfo
		if err := t.Decode(raw, &m); err != nil {
			return nil, err
		}
		if err := m.err(t.peer, "transcribe", m.Type); err != nil {
			return nil, err
		}
		if m.Type == "TurnInfo" {
			t.take(&m)
		}
	}
	e := t.events[0]
	t.events = t.events[1:]
	e.RequestID = t.requestID
	return e, nil
}

func (t *turns) tell(k driver.EventKind, alts []driver.Alternative) {
	if len(alts) > 0 {
		t.events = append(t.events, &driver.Event{Kind: k, Alternatives: alts})
	}
}

func (t *turns) take(m *turnInfo) {
	t.requestID = cmp.Or(m.RequestID, t.requestID)
	if m.Turn <= t.turn {
		return // over already
	}
	var alts []driver.Alternative
	if m.Transcript != "" {
		alts = []driver.Alternative{m.alternative(t.language)}
		t.last = alts
	}
	switch m.Event {
	case "StartOfTurn":
		t.start(wire.Seconds(m.From))
		t.tell(driver.Interim, alts)
	case "Update", "TurnResumed":
		if len(alts) > 0 {
			t.start(alts[0].Start)
		}
		t.tell(driver.Interim, alts)
	case "EagerEndOfTurn":
		t.tell(driver.Preflight, alts)
	case "EndOfTurn":
		t.turn = m.Turn
		t.end(alts)
	}
}

func (t *turns) start(at time.Duration) {
	if !t.speaking {
		t.speaking = true
		t.events = append(t.events, &driver.Event{Kind: driver.StartOfSpeech, SpeechStart: at})
	}
}

// end ends the turn with its text. A turn that the end of the stream cuts off ends with the last that
// was heard of it.
func (t *turns) end(alts []driver.Alternative) {
	t.tell(driver.Final, alts)
	if t.speaking {
		t.events = append(t.events, &driver.Event{Kind: driver.EndOfSpeech})
	}
	t.speaking, t.last = false, nil
}

// alternative is the text of the turn until now.
func (m *turnInfo) alternative(language string) driver.Alternative {
	a := driver.Alternative{Text: m.Transcript, Start: wire.Seconds(m.From), End: wire.Seconds(m.To), Language: language}
	if len(m.Languages) > 0 {
		a.Language = m.Languages[0]
	}
	for _, w := range m.Words {
		a.Confidence += w.Confidence / float64(len(m.Words))
		if w.End > 0 {
			a.Words = append(a.Words, driver.Word{Text: w.Word, Start: wire.Seconds(w.Start), End: wire.Seconds(w.End), Confidence: w.Confidence})
		}
	}
	if n := len(a.Words); n > 0 {
		a.Start, a.End = a.Words[0].Start, a.Words[n-1].End
	}
	return a
}
