package assemblyai

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/stt/driver"
)

// final are the codes of errors that trying again does not mend: not authorised, a message or audio that
// is not understood.
var final = []int{1008, 3006, 3007}

// stream implements driver.Stream.
type stream struct {
	*wire.Socket
	r         *recognizer
	language  string
	formatted bool // finals are those that are formatted
	chunks    wire.Chunks

	// What follows belongs to Next.
	events    []*driver.Event
	over      bool
	requestID string
	speaking  bool
	turn      int                 // the last one that is over
	last      *driver.Alternative // of the present one
}

// Push implements driver.Stream.
func (s *stream) Push(ctx context.Context, f audio.Frame) error {
	return s.chunks.Add(f.Data, func(b []byte) error { return s.WriteBinary(ctx, b) })
}

// Sent implements driver.Counter.
func (s *stream) Sent() time.Duration { return s.chunks.Sent() }

// Flush implements driver.Stream: it ends the turn.
func (s *stream) Flush(ctx context.Context) error { return s.control(ctx, `{"type":"ForceEndpoint"}`) }

// CloseSend implements driver.Stream.
func (s *stream) CloseSend(ctx context.Context) error { return s.control(ctx, `{"type":"Terminate"}`) }

func (s *stream) control(ctx context.Context, message string) error {
	if err := s.chunks.Rest(true, func(b []byte) error { return s.WriteBinary(ctx, b) }); err != nil {
		return err
	}
	return s.WriteText(ctx, []byte(message))
}

// message is what AssemblyAI sends. Times are in milliseconds unless their name says otherwise.
type message struct {
	Type       string  `json:"type"`
	ID         string  `json:"id"`
	Timestamp  float64 `json:"timestamp"`
	Turn       int     `json:"turn_order"`
	Transcript string  `json:"transcript"` // the words that are final
	Utterance  string  `json:"utterance"`  // set in a pause
	Words      []word  `json:"words"`
	EndOfTurn  bool    `json:"end_of_turn"`
	Formatted  bool    `json:"turn_is_formatted"`
	Language   string  `json:"language_code"`
	Speaker    string  `json:"speaker_label"`
	Duration   float64 `json:"audio_duration_seconds"`
	Code       int     `json:"error_code"`
	Error      string  `json:"error"`
}

type word struct {
	Text       string  `json:"text"`
	Start      float64 `json:"start"`
	End        float64 `json:"end"`
	Confidence float64 `json:"confidence"`
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

func (s *stream) tell(e driver.Event) { s.events = append(s.events, &e) }

func (s *stream) take(m *message) error {
	switch m.Type {
	case "Begin":
		s.requestID = m.ID
	case "SpeechStarted":
		s.start(milliseconds(m.Timestamp))
	case "Turn":
		if m.Turn > s.turn {
			s.heard(m)
		}
	case "Termination":
		s.over = true
		if s.last != nil { // the end of the stream cut the turn off
			s.end(s.last)
		}
		if d := wire.Seconds(m.Duration); d > 0 {
			s.tell(driver.Event{Kind: driver.Usage, Usage: driver.UsageReport{AudioDuration: d, Raw: wire.Stated("audio_duration_seconds", m.Duration)}})
		}
	}
	return s.r.refused(m)
}

// refused is the error that a message states, if any.
func (r *recognizer) refused(m *message) error {
	if m.Type != "Error" {
		return nil
	}
	e := r.peer.Status("transcribe", m.Code, m.Error)
	e.Permanent = slices.Contains(final, m.Code)
	return e
}

func (s *stream) start(at time.Duration) {
	if !s.speaking {
		s.speaking = true
		s.tell(driver.Event{Kind: driver.StartOfSpeech, SpeechStart: at})
	}
}

// heard takes what is known of the turn.
func (s *stream) heard(m *message) {
	a := m.alternative(s.language)
	if a.Text == "" {
		a.Text = m.Transcript
	}
	if a.Text != "" {
		s.start(a.Start)
		s.last = &a
	}
	over := m.EndOfTurn && (m.Formatted || !s.formatted)
	if m.Transcript != "" && (m.EndOfTurn || m.Utterance != "") { // in a pause all words are final
		a.Text = m.Transcript
		s.last = &a
	}
	switch {
	case over:
		s.turn = m.Turn
		s.end(s.last)
	case a.Text == "":
	case m.EndOfTurn || m.Utterance != "":
		s.tell(driver.Event{Kind: driver.Preflight, Alternatives: []driver.Alternative{a}})
	default:
		s.tell(driver.Event{Kind: driver.Interim, Alternatives: []driver.Alternative{a}})
	}
}

// end ends the turn with its text, if it has one.
func (s *stream) end(a *driver.Alternative) {
	if a != nil {
		s.tell(driver.Event{Kind: driver.Final, Alternatives: []driver.Alternative{*a}})
	}
	if s.speaking {
		s.tell(driver.Event{Kind: driver.EndOfSpeech})
	}
	s.speaking, s.last = false, nil
}

// alternative is the text of the turn until now, with the words that may still change.
func (m *message) alternative(language string) driver.Alternative {
	a := driver.Alternative{Language: cmp.Or(m.Language, language)}
	if m.Speaker != "UNKNOWN" {
		a.SpeakerID = m.Speaker
	}
	var text []string
	for _, w := range m.Words {
		text = append(text, w.Text)
		a.Confidence += w.Confidence / float64(len(m.Words))
		a.Words = append(a.Words, driver.Word{
			Text: w.Text, Start: milliseconds(w.Start), End: milliseconds(w.End), Confidence: w.Confidence,
		})
	}
	if n := len(a.Words); n > 0 {
		a.Start, a.End = a.Words[0].Start, a.Words[n-1].End
	}
	a.Text = strings.Join(text, " ")
	return a
}

func milliseconds(ms float64) time.Duration { return wire.Seconds(ms / 1000) }
