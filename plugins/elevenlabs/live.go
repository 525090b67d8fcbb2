package elevenlabs

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/stt/driver"
)

// settled is how long nothing comes once all is transcribed.
const settled = time.Second

// live implements driver.Stream: a websocket for live audio.
type live struct {
	*wire.Socket
	r        *recognizer
	language string
	ended    atomic.Bool // the last commit is out

	chunks wire.Chunks // of Push, Flush and CloseSend

	// What follows belongs to Next.
	events    []*driver.Event
	requestID string
	speaking  bool
	answered  bool // something was committed after the last commit was out
	over      bool
	to        time.Duration // the end of the last words
	last      *scribed      // the last commit, if nothing came after it
}

// audioChunk is the only message that there is.
type audioChunk struct {
	Type     string `json:"message_type"`
	Audio    []byte `json:"audio_base_64"`
	Commit   bool   `json:"commit"`
	Rate     int    `json:"sample_rate"`
	Previous string `json:"previous_text,omitempty"`
}

// Push implements driver.Stream.
func (l *live) Push(ctx context.Context, f audio.Frame) error {
	return l.chunks.Add(f.Data, func(b []byte) error { return l.send(ctx, b, false) })
}

// Sent implements driver.Counter.
func (l *live) Sent() time.Duration { return l.chunks.Sent() }

// Flush implements driver.Stream.
func (l *live) Flush(ctx context.Context) error {
	if err := l.chunks.Rest(false, func(b []byte) error { return l.send(ctx, b, false) }); err != nil {
		return err
	}
	return l.send(ctx, nil, true)
}

// CloseSend implements driver.Stream.
func (l *live) CloseSend(ctx context.Context) error {
	l.ended.Store(true)
	return l.Flush(ctx)
}

func (l *live) send(ctx context.Context, pcm []byte, commit bool) error {
	return l.WriteJSON(ctx, chunk(pcm, commit))
}

func chunk(pcm []byte, commit bool) audioChunk {
	return audioChunk{Type: "input_audio_chunk", Audio: append([]byte{}, pcm...), Commit: commit, Rate: sttRate}
}

// scribed is what ElevenLabs sends.
type scribed struct {
	Type      string  `json:"message_type"`
	SessionID string  `json:"session_id"`
	Text      string  `json:"text"`
	Language  string  `json:"language_code"`
	Words     []token `json:"words"`

	Error   string `json:"error"`
	Message string `json:"message"`
	Details string `json:"details"`
}

// token is a word, or what is between words.
type token struct {
	Text    string   `json:"text"`
	Type    string   `json:"type"`
	Start   float64  `json:"start"`
	End     float64  `json:"end"`
	Speaker string   `json:"speaker_id"`
	LogProb *float64 `json:"logprob"`
}

// Next implements driver.Stream.
func (l *live) Next(ctx context.Context) (*driver.Event, error) {
	for len(l.events) == 0 {
		if l.over {
			return nil, io.EOF
		}
		var m scribed
		if err := l.read(ctx, &m); err != nil {
			return nil, err
		}
		if err := l.take(&m); err != nil {
			return nil, err
		}
	}
	e := l.events[0]
	l.events = l.events[1:]
	e.RequestID = l.requestID
	return e, nil
}

// read reads a message. There is none that says that all is transcribed: silence after an answer to the
// last commit does.
func (l *live) read(ctx context.Context, m *scribed) error {
	if !l.answered {
		return l.ReadJSON(ctx, m)
	}
	bounded, cancel := context.WithTimeout(ctx, settled)
	defer cancel()
	err := l.ReadJSON(bounded, m)
	if err != nil && ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || l.EndedWell()) {
		l.finish()
		return nil
	}
	return err
}

// finish ends the stream well.
func (l *live) finish() {
	l.over = true
	l.stop()
}

func (l *live) take(m *scribed) error {
	switch m.Type {
	case "session_started":
		l.requestID = cmp.Or(m.SessionID, l.requestID)
	case "partial_transcript":
		l.last = nil
		l.tell(driver.Interim, driver.Alternative{Text: m.Text, Language: l.language})
	case "committed_transcript":
		if l.r.o.NoWords || m.Text == "" {
			l.commit(m)
		}
	case "committed_transcript_with_timestamps":
		if !l.r.o.NoWords {
			l.commit(m)
		}
	case "commit_throttled", "insufficient_audio_activity": // there was nothing to commit
		if l.ended.Load() {
			l.finish()
		}
	default:
		return l.r.refused(m)
	}
	return nil
}

// refused is the error that a message states, if any.
func (r *recognizer) refused(m *scribed) error {
	text := cmp.Or(m.Error, m.Message)
	switch {
	case m.Type == "commit_throttled", m.Type == "insufficient_audio_activity":
		return nil
	case text == "" && !strings.HasSuffix(m.Type, "error") && m.Type != "quota_exceeded":
		return nil
	case m.Details != "":
		text += ": " + m.Details
	}
	return r.stated("transcribe", m.Type, text, 0)
}

func (l *live) tell(k driver.EventKind, a driver.Alternative) {
	if a.Text = strings.TrimSpace(a.Text); a.Text == "" {
		return
	}
	if !l.speaking {
		l.speaking = true
		l.events = append(l.events, &driver.Event{Kind: driver.StartOfSpeech})
	}
	l.events = append(l.events, &driver.Event{Kind: k, Alternatives: []driver.Alternative{a}})
}

func (l *live) stop() {
	if l.speaking {
		l.speaking = false
		l.events = append(l.events, &driver.Event{Kind: driver.EndOfSpeech})
	}
}

// commit is told of text that does not change any more. An empty one says that nothing was said.
func (l *live) commit(m *scribed) {
	if m.Text != "" && reflect.DeepEqual(l.last, m) {
		return // told already
	}
	l.last = m
	a := alternative(m.Text, cmp.Or(m.Language, l.language), m.Words)
	if a.Start+back < l.to { // by another clock
		a.Start, a.End, a.Words = 0, 0, nil
	}
	l.to = max(l.to, a.End)
	l.tell(driver.Final, a)
	if a.Text == "" || !l.r.o.ManualCommit {
		l.stop()
	}
	if l.ended.Load() {
		l.answered = true
		if a.Text == "" {
			l.finish()
		}
	}
}

// alternative translates what was heard.
func alternative(text, language string, tokens []token) driver.Alternative {
	a := driver.Alternative{Text: strings.TrimSpace(text), Language: language}
	sum, n := 0.0, 0
	for _, t := range tokens {
		if t.Type != "" && t.Type != "word" {
			continue
		}
		w := driver.Word{Text: strings.TrimSpace(t.Text), Start: wire.Seconds(t.Start), End: wire.Seconds(t.End)}
		w.End = max(w.Start, w.End)
		if t.LogProb != nil {
			w.Confidence = min(math.Exp(*t.LogProb), 1)
			sum += *t.LogProb
			n++
		}
		a.SpeakerID = cmp.Or(a.SpeakerID, t.Speaker)
		a.Words = append(a.Words, w)
	}
	if n > 0 {
		a.Confidence = min(math.Exp(sum/float64(n)), 1)
	}
	if len(a.Words) > 0 {
		a.Start, a.End = a.Words[0].Start, a.Words[len(a.Words)-1].End
		a.End = max(a.Start, a.End)
	}
	return a
}
