package soniox

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/stt/driver"
)

// stream implements driver.Stream.
type stream struct {
	*wire.Socket
	r        *recognizer
	language string // when Soniox does not tell
	pcm      []byte

	// What follows belongs to Next.
	events    []*driver.Event
	over      bool
	requestID string
	final     []token       // of the utterance
	heard     time.Duration // the end of the utterance before
	speaking  bool
	told      string // the last that was told of the utterance, with its kind
}

// Push implements driver.Stream.
func (s *stream) Push(ctx context.Context, f audio.Frame) error {
	s.pcm = wire.AppendPCM(s.pcm[:0], f.Data)
	return s.WriteBinary(ctx, s.pcm)
}

// Flush implements driver.Stream: it ends the utterance.
func (s *stream) Flush(ctx context.Context) error {
	return s.WriteText(ctx, []byte(`{"type":"finalize"}`))
}

// CloseSend implements driver.Stream.
func (s *stream) CloseSend(ctx context.Context) error { return s.WriteText(ctx, nil) }

// message is what Soniox sends. Its tokens are the new final ones, and all that may still change.
type message struct {
	Tokens       []token     `json:"tokens"`
	TotalMS      float64     `json:"total_audio_proc_ms"`
	Finished     bool        `json:"finished"`
	RequestID    string      `json:"request_id"`
	ErrorCode    json.Number `json:"error_code"`
	ErrorType    string      `json:"error_type"`
	ErrorMessage string      `json:"error_message"`
}

// token is a part of a word, or a word with the space before it.
type token struct {
	Text       string          `json:"text"`
	StartMS    float64         `json:"start_ms"`
	EndMS      float64         `json:"end_ms"`
	Confidence float64         `json:"confidence"`
	Final      bool            `json:"is_final"`
	Speaker    json.RawMessage `json:"speaker"` // a string; a number in old versions
	Language   string          `json:"language"`
}

func (t *token) end() time.Duration { return wire.Seconds(t.EndMS / 1000) }

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
	s.requestID = cmp.Or(m.RequestID, s.requestID)
	if err := s.r.refused(m); err != nil {
		return err
	}
	var open []token // may still change
	for _, t := range m.Tokens {
		switch {
		case t.Text == "<end>" || t.Text == "<fin>":
			s.end()
		case !t.Final:
			open = append(open, t)
		case t.EndMS > 0 && t.end() <= s.heard: // told already
		default:
			s.final = append(s.final, t)
		}
	}
	s.more(open)
	if m.Finished {
		s.end()
		s.over = true
		if d := wire.Seconds(m.TotalMS / 1000); d > 0 {
			s.tell(&driver.Event{Kind: driver.Usage, Usage: driver.UsageReport{AudioDuration: d, Raw: wire.Stated("total_audio_proc_ms", m.TotalMS)}})
		}
	}
	return nil
}

// refused is the error that a message states, if any, in the numbers of HTTP.
func (r *recognizer) refused(m *message) error {
	if m.ErrorCode == "" && m.ErrorMessage == "" {
		return nil
	}
	text := cmp.Or(m.ErrorMessage, m.ErrorType, "no reason was given")
	code, err := strconv.Atoi(m.ErrorCode.String())
	if err != nil {
		return r.Protocol("transcribe", "%s", text)
	}
	return r.Status("transcribe", code, text)
}

// more tells what is known of the utterance, if that is news. When no word of it may change any more the
// speaker pauses, and it may be over.
func (s *stream) more(open []token) {
	a, ok := s.alternative(append(s.final[:len(s.final):len(s.final)], open...))
	if !ok {
		return
	}
	if !s.speaking {
		s.speaking = true
		s.tell(&driver.Event{Kind: driver.StartOfSpeech, SpeechStart: a.Start})
	}
	kind := driver.Interim
	if len(open) == 0 {
		kind = driver.Preflight
	}
	if news := kind.String() + " " + a.Text; news != s.told {
		s.told = news
		s.tell(&driver.Event{Kind: kind, Alternatives: []driver.Alternative{a}})
	}
}

// end ends the utterance, if there is one.
func (s *stream) end() {
	if a, ok := s.alternative(s.final); ok {
		if !s.speaking {
			s.tell(&driver.Event{Kind: driver.StartOfSpeech, SpeechStart: a.Start})
		}
		s.speaking = true
		s.heard = max(s.heard, a.End)
		s.tell(&driver.Event{Kind: driver.Final, Alternatives: []driver.Alternative{a}})
	}
	if s.speaking {
		s.tell(&driver.Event{Kind: driver.EndOfSpeech})
	}
	s.final, s.speaking, s.told = nil, false, ""
}

// alternative is the text of tokens; false when there is none.
func (s *stream) alternative(tokens []token) (driver.Alternative, bool) {
	var text strings.Builder
	var languages, speakers tally
	a := driver.Alternative{}
	for i := range tokens {
		t := &tokens[i]
		text.WriteString(t.Text)
		a.Confidence += t.Confidence / float64(len(tokens))
		if a.End == 0 {
			a.Start = wire.Seconds(t.StartMS / 1000)
		}
		a.End = max(a.End, t.end())
		languages.add(t.Language, len(t.Text))
		speakers.add(strings.Trim(string(t.Speaker), `"`), len(t.Text))
	}
	a.Text = strings.TrimSpace(text.String())
	a.Start = min(a.Start, a.End)
	a.Language = cmp.Or(languages.most, s.language)
	a.SpeakerID = speakers.most
	a.Words = words(tokens)
	return a, a.Text != ""
}
