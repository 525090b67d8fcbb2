package speechmatics

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt/driver"
)

// stream implements driver.Stream.
type stream struct {
	*wire.Socket
	r         *recognizer
	language  string
	alone     bool // no utterance is told: every final transcript stands alone
	requestID string
	space     string // between words

	// What follows belongs to those who send.
	pcm     []byte
	sent    int   // messages of audio
	samples int64 // in them

	// What follows belongs to Next.
	events   []*driver.Event
	over     bool
	final    []result // of the utterance
	last     metadata // of the last final transcript
	speaking bool
}

// begin starts the recognition and waits until audio may be sent.
func (s *stream) begin(ctx context.Context, start *startRecognition) error {
	if err := s.WriteJSON(ctx, start); err != nil {
		return s.closed("start", err)
	}
	for {
		m, err := s.read(ctx, "start")
		if err != nil {
			return err
		}
		if m.Message == "RecognitionStarted" {
			s.requestID = m.ID
			s.space = " "
			if m.Language.WordDelimiter != nil {
				s.space = *m.Language.WordDelimiter
			}
			return nil
		}
	}
}

// Push implements driver.Stream.
func (s *stream) Push(ctx context.Context, f audio.Frame) error {
	s.pcm = wire.AppendPCM(s.pcm[:0], f.Data)
	s.sent++
	s.samples += int64(len(f.Data))
	return s.closed("transcribe", s.WriteBinary(ctx, s.pcm))
}

// Flush implements driver.Stream: it ends the utterance.
func (s *stream) Flush(ctx context.Context) error {
	at := float64(s.samples) / sttRate
	return s.closed("transcribe", s.WriteJSON(ctx, map[string]any{"message": "ForceEndOfUtterance", "timestamp": at}))
}

// CloseSend implements driver.Stream.
func (s *stream) CloseSend(ctx context.Context) error {
	return s.closed("transcribe", s.WriteJSON(ctx, map[string]any{"message": "EndOfStream", "last_seq_no": s.sent}))
}

// message is what Speechmatics sends.
type message struct {
	Message  string   `json:"message"`
	ID       string   `json:"id"`
	Metadata metadata `json:"metadata"`
	Results  []result `json:"results"`
	Type     string   `json:"type"`
	Reason   string   `json:"reason"`
	Language struct {
		WordDelimiter *string `json:"word_delimiter"`
	} `json:"language_pack_info"`
}

type metadata struct {
	Start      float64 `json:"start_time"`
	End        float64 `json:"end_time"`
	Transcript string  `json:"transcript"`
}

// result is a word, an entity such as a date, or a punctuation mark.
type result struct {
	Type         string  `json:"type"`
	Start        float64 `json:"start_time"`
	End          float64 `json:"end_time"`
	AttachesTo   string  `json:"attaches_to"`
	Alternatives []struct {
		Content    string  `json:"content"`
		Confidence float64 `json:"confidence"`
		Language   string  `json:"language"`
		Speaker    string  `json:"speaker"`
	} `json:"alternatives"`
}

// read waits for a message that is no error.
func (s *stream) read(ctx context.Context, op string) (*message, error) {
	var m message
	if err := s.ReadJSON(ctx, &m); err != nil {
		return nil, s.closed(op, err)
	}
	return &m, s.r.refused(op, &m)
}

// refused is the error that a message states, if any.
func (r *recognizer) refused(op string, m *message) error {
	if m.Message != "Error" {
		return nil
	}
	return r.Status(op, status(m.Type), strings.TrimSpace(m.Type+": "+m.Reason))
}

// closed gives a close code the status of the error that it stands for.
func (s *stream) closed(op string, err error) error {
	names := map[int]string{4001: "not_authorised", 4003: "not_allowed", 4004: "invalid_model", 4005: "quota_exceeded", 4006: "timelimit_exceeded", 4013: "job_error"}
	var e *model.Error
	if errors.As(err, &e) && names[e.Status] != "" {
		return s.r.Status(op, status(names[e.Status]), names[e.Status])
	}
	return err
}

// status is the number that HTTP has for an error of Speechmatics.
func status(name string) int {
	switch name {
	case "not_authorised":
		return 401
	case "timelimit_exceeded": // what the contract allows is used up
		return 402
	case "not_allowed":
		return 403
	case "idle_timeout", "session_timeout":
		return 408
	case "quota_exceeded": // too many streams at a time
		return 429
	case "protocol_error":
		return 400
	}
	if strings.HasPrefix(name, "invalid_") {
		return 400
	}
	return 500
}

// Next implements driver.Stream.
func (s *stream) Next(ctx context.Context) (*driver.Event, error) {
	for len(s.events) == 0 {
		if s.over {
			return nil, io.EOF
		}
		m, err := s.read(ctx, "transcribe")
		if err != nil {
			return nil, err
		}
		s.take(m)
	}
	e := s.events[0]
	s.events = s.events[1:]
	e.RequestID = s.requestID
	return e, nil
}

func (s *stream) tell(k driver.EventKind, a driver.Alternative) {
	s.events = append(s.events, &driver.Event{Kind: k, Alternatives: []driver.Alternative{a}})
}

func (s *stream) take(m *message) {
	switch m.Message {
	case "AddPartialTranscript":
		s.more(m.Results)
	case "AddTranscript":
		if len(m.Results) == 0 || m.Metadata == s.last { // nothing, or told already
			return
		}
		s.last = m.Metadata
		s.final = append(s.final, m.Results...)
		if s.alone {
			s.settle()
		} else {
			s.more(nil)
		}
	case "EndOfUtterance":
		s.end()
	case "EndOfTranscript":
		s.end()
		s.over = true
	}
}

// more tells what is known of the utterance, if there is more than before.
func (s *stream) more(open []result) {
	if a, ok := s.alternative(append(s.final[:len(s.final):len(s.final)], open...)); ok {
		s.start(a.Start)
		s.tell(driver.Interim, a)
	}
}

func (s *stream) start(at time.Duration) {
	if !s.speaking {
		s.speaking = true
		s.events = append(s.events, &driver.Event{Kind: driver.StartOfSpeech, SpeechStart: at})
	}
}

// settle makes final what was gathered.
func (s *stream) settle() {
	if a, ok := s.alternative(s.final); ok {
		s.start(a.Start)
		s.tell(driver.Final, a)
	}
	s.final = nil
}

// end ends the utterance, if there is one.
func (s *stream) end() {
	s.settle()
	if s.speaking {
		s.speaking = false
		s.events = append(s.events, &driver.Event{Kind: driver.EndOfSpeech})
	}
}

// alternative is the text of results; false when it has no word.
func (s *stream) alternative(results []result) (driver.Alternative, bool) {
	var text strings.Builder
	a := driver.Alternative{Language: s.language}
	said := map[string]int{} // words of speakers
	glued := true            // the next result follows without a space
	for _, r := range results {
		if len(r.Alternatives) == 0 {
			continue
		}
		best := r.Alternatives[0]
		attaches := r.AttachesTo
		if r.Type == "punctuation" {
			attaches = cmp.Or(attaches, "previous")
		}
		if !glued && attaches != "previous" && attaches != "both" {
			text.WriteString(s.space)
		}
		glued = attaches == "next" || attaches == "both"
		text.WriteString(best.Content)
		if r.Type == "punctuation" {
			if n := len(a.Words); n > 0 && attaches == "previous" {
				a.Words[n-1].Text += best.Content
			}
			continue
		}
		w := driver.Word{Text: best.Content, Start: wire.Seconds(r.Start), End: wire.Seconds(r.End), Confidence: best.Confidence}
		w.End = max(w.End, w.Start)
		a.Words = append(a.Words, w)
		a.Confidence += best.Confidence
		a.Language = cmp.Or(best.Language, a.Language)
		if said[best.Speaker]++; best.Speaker != "" && said[best.Speaker] > said[a.SpeakerID] {
			a.SpeakerID = best.Speaker
		}
	}
	n := len(a.Words)
	if n == 0 {
		return a, false
	}
	a.Text = strings.TrimSpace(text.String())
	a.Start, a.End, a.Confidence = a.Words[0].Start, a.Words[n-1].End, a.Confidence/float64(n)
	a.End = max(a.End, a.Start)
	return a, a.Text != ""
}
