package deepgram

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt/driver"
)

// stream implements driver.Stream: a websocket for live audio.
type stream struct {
	*wire.Socket
	peer     *wire.Peer
	language string
	pcm      []byte
	ended    atomic.Bool // CloseStream is out

	// What follows belongs to Next.
	events    []*driver.Event
	over      bool
	requestID string
	speaking  bool
	heard     time.Duration // the end of the last final results
}

// Push implements driver.Stream.
func (s *stream) Push(ctx context.Context, f audio.Frame) error {
	s.pcm = wire.AppendPCM(s.pcm[:0], f.Data)
	return s.WriteBinary(ctx, s.pcm)
}

// Flush implements driver.Stream.
func (s *stream) Flush(ctx context.Context) error {
	return s.WriteText(ctx, []byte(`{"type":"Finalize"}`))
}

// CloseSend implements driver.Stream.
func (s *stream) CloseSend(ctx context.Context) error {
	s.ended.Store(true)
	return s.WriteText(ctx, []byte(`{"type":"CloseStream"}`))
}

// message is what Deepgram sends.
type message struct {
	Type         string          `json:"type"`
	RequestID    string          `json:"request_id"`
	Start        float64         `json:"start"`
	Duration     float64         `json:"duration"`
	Timestamp    float64         `json:"timestamp"`
	IsFinal      bool            `json:"is_final"`
	SpeechFinal  bool            `json:"speech_final"`
	FromFinalize bool            `json:"from_finalize"`
	Channel      json.RawMessage `json:"channel"` // of results an object, of other messages a list
	Metadata     struct {
		RequestID string `json:"request_id"`
	} `json:"metadata"`
	failure
}

// channel is what was heard on a channel of the audio.
type channel struct {
	Alternatives     []alternative `json:"alternatives"`
	DetectedLanguage string        `json:"detected_language"`
}

type alternative struct {
	Transcript string   `json:"transcript"`
	Confidence float64  `json:"confidence"`
	Languages  []string `json:"languages"`
	Words      []word   `json:"words"`
}

type word struct {
	Word       string  `json:"word"`
	Punctuated string  `json:"punctuated_word"`
	Start      float64 `json:"start"`
	End        float64 `json:"end"`
	Confidence float64 `json:"confidence"`
	Speaker    *int    `json:"speaker"`
}

// failure is what a message of an error says; services differ in the names.
type failure struct {
	Code        string `json:"code"`
	ErrCode     string `json:"err_code"`
	Description string `json:"description"`
	Message     string `json:"message"`
	ErrMsg      string `json:"err_msg"`
}

// err is the error that a message of a kind states, if any. Its codes are words, so that there is no status.
func (f *failure) err(p *wire.Peer, op, kind string) error {
	if kind != "Error" {
		return nil
	}
	return p.Protocol(op, "%s: %s", cmp.Or(f.Code, f.ErrCode, "error"), cmp.Or(f.Description, f.Message, f.ErrMsg, "no reason was given"))
}

// Next implements driver.Stream.
func (s *stream) Next(ctx context.Context) (*driver.Event, error) {
	for len(s.events) == 0 {
		if s.over {
			return nil, io.EOF
		}
		var m message
		if err := s.ReadJSON(ctx, &m); err != nil {
			return nil, err
		}
		if err := s.take(&m); err != nil {
			return nil, err
		}
	}
	e := s.events[0]
	s.events = s.events[1:]
	e.RequestID = s.requestID
	return e, nil
}

func (s *stream) tell(e *driver.Event) { s.events = append(s.events, e) }

func (s *stream) take(m *message) error {
	s.requestID = cmp.Or(m.RequestID, m.Metadata.RequestID, s.requestID)
	switch m.Type {
	case "SpeechStarted":
		s.start(wire.Seconds(m.Timestamp))
	case "Results":
		return s.results(m)
	case "UtteranceEnd":
		s.end()
	case "Metadata":
		if !s.ended.Load() {
			break // only the last one sums up
		}
		s.over = true
		if m.Duration > 0 {
			s.tell(&driver.Event{Kind: driver.Usage, Usage: driver.UsageReport{AudioDuration: wire.Seconds(m.Duration), Raw: wire.Stated("duration", m.Duration)}})
		}
	}
	return m.err(s.peer, "transcribe", m.Type)
}

func (s *stream) start(at time.Duration) {
	if !s.speaking {
		s.speaking = true
		s.tell(&driver.Event{Kind: driver.StartOfSpeech, SpeechStart: at})
	}
}

func (s *stream) end() {
	if s.speaking {
		s.speaking = false
		s.tell(&driver.Event{Kind: driver.EndOfSpeech})
	}
}

func (s *stream) results(m *message) error {
	var c channel
	if err := json.Unmarshal(m.Channel, &c); err != nil {
		return s.peer.Error(model.KindProtocol, "transcribe", err)
	}
	from, to := wire.Seconds(m.Start), wire.Seconds(m.Start+m.Duration)
	if m.IsFinal && to <= s.heard {
		return nil // told already
	}
	if m.IsFinal {
		s.heard = to
	}
	if alts := alternatives(c.Alternatives, s.language, from, to); len(alts) > 0 && alts[0].Text != "" {
		s.start(alts[0].Start)
		e := &driver.Event{Kind: driver.Interim, Alternatives: alts}
		if m.IsFinal {
			e.Kind = driver.Final
		}
		s.tell(e)
	}
	if m.SpeechFinal || m.IsFinal && m.FromFinalize {
		s.end()
	}
	return nil
}

// alternatives translates what was heard between from and to.
func alternatives(heard []alternative, language string, from, to time.Duration) []driver.Alternative {
	var all []driver.Alternative
	for _, h := range heard {
		a := driver.Alternative{Text: h.Transcript, Language: language, Start: from, End: to, Confidence: h.Confidence}
		if len(h.Languages) > 0 {
			a.Language = h.Languages[0]
		}
		for _, w := range h.Words {
			a.Words = append(a.Words, driver.Word{
				Text: cmp.Or(w.Punctuated, w.Word), Start: wire.Seconds(w.Start), End: wire.Seconds(w.End), Confidence: w.Confidence,
			})
		}
		if n := len(a.Words); n > 0 {
			a.Start, a.End = a.Words[0].Start, a.Words[n-1].End
		}
		a.SpeakerID = speaker(h.Words)
		all = append(all, a)
	}
	return all
}

// speaker is who said most of the words.
func speaker(words []word) (id string) {
	count := map[int]int{}
	most := 0
	for _, w := range words {
		if w.Speaker == nil {
			continue
		}
		if count[*w.Speaker]++; count[*w.Speaker] > most {
			most, id = count[*w.Speaker], "S"+strconv.Itoa(*w.Speaker)
		}
	}
	return id
}
