package livekit

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt/driver"
)

// How long a stream whose input has ended waits for further words, from the last sign of any. The gateway
// says that all is final before the last finals have come, and does not say it for every provider.
const (
	afterFinalized = time.Second     // and nothing is open
	afterFinal     = 3 * time.Second // without that word
	afterNothing   = 8 * time.Second // without any, or with words that are not final
	// afterClose is how long the gateway may take to close the session.
	afterClose = time.Second
)

// stream implements driver.Stream.
type stream struct {
	*wire.Socket
	a        *access
	language string // when the gateway does not tell
	session  string
	chunks   wire.Chunks

	ending context.Context // ends when the input has
	end    context.CancelFunc

	// What follows belongs to Next.
	events    []*driver.Event
	over      bool
	ended     bool // the end of the input was noticed
	speaking  bool
	open      bool // words were told that may still change
	said      bool // a final came since the end of the input
	finalized bool // the gateway has said since the end of the input that all is final
	closing   bool // it was asked to close the session
	sign      time.Time
	last      told // the last final
}

// told is what tells one final from another.
type told struct {
	text            string
	start, duration float64
}

type inputAudio struct {
	Type  string `json:"type"`
	Audio []byte `json:"audio"`
}

func (s *stream) send(ctx context.Context) func(b []byte) error {
	return func(b []byte) error { return s.WriteJSON(ctx, inputAudio{"input_audio", b}) }
}

// Push implements driver.Stream.
func (s *stream) Push(ctx context.Context, f audio.Frame) error {
	return s.chunks.Add(f.Data, s.send(ctx))
}

// Sent implements driver.Counter.
func (s *stream) Sent() time.Duration { return s.chunks.Sent() }

// Flush implements driver.Stream.
func (s *stream) Flush(ctx context.Context) error {
	return s.finalize(ctx, func() {})
}

// CloseSend implements driver.Stream. The answer may come at once.
func (s *stream) CloseSend(ctx context.Context) error { return s.finalize(ctx, s.end) }

func (s *stream) finalize(ctx context.Context, before func()) error {
	if err := s.chunks.Rest(false, s.send(ctx)); err != nil {
		return err
	}
	before()
	return s.WriteText(ctx, []byte(`{"type":"session.finalize"}`))
}

// Close implements driver.Stream.
func (s *stream) Close() error {
	s.end()
	return s.Socket.Close()
}

// heard is a message of the gateway.
type heard struct {
	Type       string  `json:"type"`
	RequestID  string  `json:"request_id"`
	Transcript string  `json:"transcript"`
	Start      float64 `json:"start"`
	Duration   float64 `json:"duration"`
	Language   string  `json:"language"`
	Confidence float64 `json:"confidence"`
	SpeakerID  string  `json:"speaker_id"`
	Words      []struct {
		Word       string  `json:"word"`
		Start      float64 `json:"start"`
		End        float64 `json:"end"`
		Confidence float64 `json:"confidence"`
	} `json:"words"`
	Message string `json:"message"`
	Code    int    `json:"code"`
}

// Next implements driver.Stream.
func (s *stream) Next(ctx context.Context) (*driver.Event, error) {
	for len(s.events) == 0 {
		if s.over {
			return nil, io.EOF
		}
		m, err := s.read(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.take(m); err != nil {
			return nil, err
		}
	}
	e := s.events[0]
	s.events = s.events[1:]
	return e, nil
}

// read waits for a message. After the end of the input it does so no longer than there may be one that
// matters: then it has the session closed, whose end it makes a message of.
func (s *stream) read(ctx context.Context) (*heard, error) {
	for {
		if !s.ended && s.ending.Err() != nil {
			s.ended, s.sign = true, time.Now()
		}
		m, err := s.wait(ctx)
		switch {
		case err == nil:
			var h heard
			if err := s.Decode(m, &h); err != nil {
				return nil, err
			}
			return &h, nil
		case ctx.Err() == nil && s.ended && s.EndedWell():
			return &heard{Type: "session.closed"}, nil
		case !errors.Is(err, errQuiet):
			return nil, err
		case s.closing:
			return &heard{Type: "session.closed"}, nil
		case !s.ended: // it has now
		default:
			if err := s.WriteText(ctx, []byte(goodbye)); err != nil && !s.EndedWell() {
				return nil, err
			}
			s.closing, s.sign = true, time.Now()
		}
	}
}

var errQuiet = errors.New("nothing came")

// wait waits for a message, until the input ends or, after that, for as long as there may be one.
func (s *stream) wait(ctx context.Context) (wire.Message, error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	if !s.ended {
		defer context.AfterFunc(s.ending, cancel)()
	} else {
		defer time.AfterFunc(time.Until(s.until()), cancel).Stop()
	}
	m, err := s.Read(inner)
	if err != nil && ctx.Err() == nil && inner.Err() != nil {
		err = errQuiet
	}
	return m, err
}

// until is when there is nothing more to expect. The input has ended.
func (s *stream) until() time.Time {
	d := afterNothing
	switch {
	case s.closing:
		d = afterClose
	case s.open:
	case s.finalized:
		d = afterFinalized
	case s.said:
		d = afterFinal
	}
	return s.sign.Add(d)
}

// take makes events of a message.
func (s *stream) take(m *heard) error {
	ended := s.ending.Err() != nil
	switch m.Type {
	case "start_of_speech":
		s.begin(m)
	case "interim_transcript":
		if m.Transcript == "" { // some providers send such for ever
			return nil
		}
		s.open = true
		s.begin(m)
		s.tell(driver.Interim, m)
	case "preflight_transcript":
		if m.Transcript != "" && s.speaking {
			s.tell(driver.Preflight, m)
		}
	case "final_transcript":
		s.final(m)
		s.said = ended
	case "session.finalized":
		s.finalized = ended
	case "session.closed":
		return s.closed()
	case "error":
		return s.a.refused("transcribe", m.Code, m.Message)
	default:
		return nil
	}
	s.sign = time.Now()
	return nil
}

// closed ends the stream, well if nothing is missing.
func (s *stream) closed() error {
	if s.ending.Err() == nil || s.open {
		return s.a.Error(model.KindConnection, "transcribe", errors.New("the gateway closed the session before its end"))
	}
	if s.speaking {
		s.finish()
	}
	s.over = true
	return nil
}

func (s *stream) begin(m *heard) {
	if !s.speaking {
		s.speaking = true
		s.events = append(s.events, &driver.Event{
			Kind: driver.StartOfSpeech, SpeechStart: wire.Seconds(m.Start), RequestID: cmp.Or(m.RequestID, s.session),
		})
	}
}

func (s *stream) finish() {
	s.speaking = false
	s.events = append(s.events, &driver.Event{Kind: driver.EndOfSpeech, RequestID: s.session})
}

// final ends an utterance.
func (s *stream) final(m *heard) {
	t := told{m.Transcript, m.Start, m.Duration}
	if t == s.last && m.Duration > 0 { // told already
		return
	}
	s.last, s.open = t, false
	if m.Transcript != "" {
		s.begin(m)
		s.tell(driver.Final, m)
	}
	if s.speaking {
		s.finish()
	}
}

func (s *stream) tell(k driver.EventKind, m *heard) {
	a := driver.Alternative{
		Text: m.Transcript, Language: cmp.Or(m.Language, s.language), SpeakerID: m.SpeakerID, Confidence: m.Confidence,
		Start: wire.Seconds(m.Start),
	}
	a.End = a.Start + wire.Seconds(m.Duration)
	for _, w := range m.Words {
		word := driver.Word{Text: w.Word, Start: wire.Seconds(w.Start), End: wire.Seconds(w.End), Confidence: w.Confidence}
		word.End = max(word.End, word.Start)
		a.Words = append(a.Words, word)
	}
	s.events = append(s.events, &driver.Event{Kind: k, Alternatives: []driver.Alternative{a}, RequestID: cmp.Or(m.RequestID, s.session)})
}
