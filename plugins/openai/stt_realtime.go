package openai

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt/driver"
)

const (
	realtimeRate = 24000
	// interimEvery bounds how often a growing text is told.
	interimEvery = 500 * time.Millisecond
	// leastCommit is the audio without which a service refuses to end an utterance.
	leastCommit = 100 * time.Millisecond
	// quiet is how long a service that owes nothing is waited for at the end of a stream.
	quiet = time.Second
)

// listener implements driver.Streamer.
type listener struct{ r *recognizer }

// Info implements driver.STT.
func (l *listener) Info() model.Info { return l.r.Client.Info }

// Capabilities implements driver.STT.
func (l *listener) Capabilities() driver.Capabilities {
	return driver.Capabilities{InterimResults: true, Keyterms: true, SampleRate: realtimeRate}
}

// address is that of the websocket. OpenAI takes a model in it for a conversation, which is none; other
// services choose a machine by it.
func (l *listener) address() string {
	q := url.Values{"intent": {"transcription"}}
	if l.r.Client.Info.Provider != string(OpenAI) {
		q.Set("model", l.r.model)
	}
	return wire.JoinSocket(l.r.base, "/realtime", q)
}

// Open implements driver.Streamer.
func (l *listener) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	ws, err := wire.Single(ctx, &l.r.Peer, wire.SocketOptions{
		URL: l.address(), Header: l.r.header, Reason: wire.Reason(l.reason),
	})
	if err != nil {
		return nil, err
	}
	if err := ws.WriteJSON(ctx, l.config(o)); err != nil {
		_ = ws.Close()
		return nil, err
	}
	return &listening{l: l, Socket: ws, language: l.r.language(o), items: map[string]*utterance{}}, nil
}

// config says what is to be done with the audio.
func (l *listener) config(o driver.Options) any {
	script := map[string]any{"model": l.r.model}
	for k, v := range map[string]string{"language": l.r.language(o), "prompt": l.r.prompt(o)} {
		if v != "" {
			script[k] = v
		}
	}
	input := map[string]any{
		"format": map[string]any{"type": "audio/pcm", "rate": realtimeRate}, "transcription": script, "turn_detection": nil,
	}
	if !l.r.o.VAD.IsOff() {
		v := l.r.o.VAD.Default(ServerVAD{})
		if v.Threshold == 0 {
			v.Threshold = 0.5
		}
		if v.Prefix == 0 {
			v.Prefix = 600 * time.Millisecond
		}
		if v.Silence == 0 {
			v.Silence = 350 * time.Millisecond
		}
		input["turn_detection"] = map[string]any{"type": "server_vad", "threshold": v.Threshold,
			"prefix_padding_ms": v.Prefix.Milliseconds(), "silence_duration_ms": v.Silence.Milliseconds()}
	}
	if n := l.r.o.NoiseReduction; n != "" {
		input["noise_reduction"] = map[string]any{"type": n}
	}
	return map[string]any{"type": "session.update", "session": map[string]any{"type": "transcription", "audio": map[string]any{"input": input}}}
}

// listening implements driver.Stream.
type listening struct {
	l *listener
	*wire.Socket
	language string

	// Of the goroutine that reads.
	items map[string]*utterance // that are not transcribed yet
	last  string                // the item that was transcribed last
	ready []*driver.Event

	mu    sync.Mutex
	loose time.Duration // audio since the last commit of ours

	commits int // of ours that were not answered
	closing bool
}

// utterance is an item of the service's conversation.
type utterance struct {
	start, end time.Duration
	speech     bool // the service told its start
	stopped    bool // and its end
	text       string
	told       time.Time // the last interim
}

// Push implements driver.Stream.
func (s *listening) Push(ctx context.Context, f audio.Frame) error {
	pcm := wire.AppendPCM(make([]byte, 0, 2*len(f.Data)), f.Data)
	s.mu.Lock()
	s.loose += f.Duration()

	s.mu.Unlock()
	return s.WriteJSON(ctx, map[string]any{"type": "input_audio_buffer.append", "audio": base64.StdEncoding.EncodeToString(pcm)})
}

// Flush implements driver.Stream.
func (s *listening) Flush(ctx context.Context) error {
	s.mu.Lock()
	if s.loose < leastCommit {
		s.mu.Unlock()
		return nil
	}
	s.loose = 0
	s.commits++
	s.mu.Unlock()
	return s.WriteJSON(ctx, map[string]any{"type": "input_audio_buffer.commit"})
}

// CloseSend implements driver.Stream.
func (s *listening) CloseSend(ctx context.Context) error {
	if err := s.Flush(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	// What Next waits for comes from the service; when it owes nothing, a word of ours makes it speak.
	if s.commits > 0 {
		return nil
	}
	s.commits++
	return s.WriteJSON(ctx, map[string]any{"type": "input_audio_buffer.commit"})
}

// realtimeEvent is a message of the service.
type realtimeEvent struct {
	Type       string              `json:"type"`
	ItemID     string              `json:"item_id"`
	StartMS    float64             `json:"audio_start_ms"`
	EndMS      float64             `json:"audio_end_ms"`
	Delta      string              `json:"delta"`
	Transcript string              `json:"transcript"`
	Language   string              `json:"language"`
	Languages  []languageCode      `json:"languages"`
	Usage      *transcriptionUsage `json:"usage"`
	Error      json.RawMessage     `json:"error"`
}

// Next implements driver.Stream.
func (s *listening) Next(ctx context.Context) (*driver.Event, error) {
	for {
		if len(s.ready) > 0 {
			e := s.ready[0]
			s.ready = s.ready[1:]
			return e, nil
		}
		m, over, err := s.receive(ctx)
		if over {
			return nil, io.EOF
		}
		if err != nil {
			return nil, err
		}
		if m.Binary {
			return nil, s.l.r.Protocol("receive", "binary message where text was expected")
		}
		var head struct {
			Type string `json:"type"`
		}
		if err := s.Decode(m, &head); err != nil {
			return nil, err
		}
		if !understood[head.Type] {
			continue
		}
		var e realtimeEvent
		if err := s.Decode(m, &e); err != nil {
			return nil, err
		}
		if err := s.take(&e); err != nil {
			return nil, err
		}
	}
}

var understood = map[string]bool{
	"input_audio_buffer.speech_started": true, "input_audio_buffer.speech_stopped": true, "input_audio_buffer.committed": true,
	"conversation.item.input_audio_transcription.delta": true, "conversation.item.input_audio_transcription.completed": true,
	"conversation.item.input_audio_transcription.failed": true, "error": true,
}

// receive waits for a message. The stream is over when no more audio comes, our commits were answered
// and all utterances are transcribed; a service that answers a commit with nothing has a second for it.
func (s *listening) receive(ctx context.Context) (m wire.Message, over bool, err error) {
	s.mu.Lock()
	closing, commits := s.closing, s.commits
	s.mu.Unlock()
	if !closing || len(s.items) > 0 {
		m, err = s.Read(ctx)
		return m, false, err
	}
	if commits == 0 {
		return m, true, nil
	}
	limited, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	m, err = s.Read(limited)
	return m, err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded), err
}

func (s *listening) item(id string) *utterance {
	u := s.items[id]
	if u == nil {
		u = &utterance{}
		s.items[id] = u
	}
	return u
}

// take understands a message.
func (s *listening) take(e *realtimeEvent) error {
	if e.ItemID != "" && e.ItemID == s.last {
		return nil // told before
	}
	switch e.Type {
	case "input_audio_buffer.speech_started":
		u := s.item(e.ItemID)
		u.speech, u.start = true, milliseconds(e.StartMS)
		s.put(&driver.Event{Kind: driver.StartOfSpeech, RequestID: e.ItemID, SpeechStart: u.start})
	case "input_audio_buffer.speech_stopped":
		u := s.item(e.ItemID)
		u.stopped, u.end = true, milliseconds(e.EndMS)
		s.put(&driver.Event{Kind: driver.EndOfSpeech, RequestID: e.ItemID})
	case "input_audio_buffer.committed":
		if u := s.item(e.ItemID); !u.stopped { // the service did not find its end: we made it
			s.answered()
			if u.speech {
				s.put(&driver.Event{Kind: driver.EndOfSpeech, RequestID: e.ItemID})
			}
		}
	case "conversation.item.input_audio_transcription.delta":
		s.interim(e)
	case "conversation.item.input_audio_transcription.completed":
		s.completed(e)
	case "conversation.item.input_audio_transcription.failed":
		return s.l.r.refused("transcribe", e.Error, 0) // tried again, with the audio
	case "error":
		return s.failed(e.Error)
	}
	return nil
}

// failed is an error of the service. That there was nothing to commit is none.
func (s *listening) failed(raw json.RawMessage) error {
	err := s.l.refused(raw)
	if err == nil {
		s.answered()
	}
	return err
}

// reason is the error that a message states of the session, if any.
func (l *listener) reason(e *realtimeEvent) error {
	if e.Type != "error" {
		return nil
	}
	return l.refused(e.Error)
}

// refused is the error that the service states.
func (l *listener) refused(raw json.RawMessage) error {
	status, code := stated(raw)
	if code == "input_audio_buffer_commit_empty" {
		return nil
	}
	err := l.r.refused("transcribe", raw, status)
	if e := (*model.Error)(nil); errors.As(err, &e) && status == 0 {
		e.Permanent = true
	}
	return err
}

func (s *listening) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits = max(s.commits-1, 0)
}

// interim tells the text so far, now and then.
func (s *listening) interim(e *realtimeEvent) {
	u := s.item(e.ItemID)
	u.text += e.Delta
	if e.Delta == "" || !s.wanted(u) || !u.told.IsZero() && time.Since(u.told) < interimEvery {
		return
	}
	u.told = time.Now()
	s.put(&driver.Event{Kind: driver.Interim, RequestID: e.ItemID, Alternatives: []driver.Alternative{{Text: u.text, Language: s.language}}})
}

// wanted reports whether an item is speech. What we end ourselves, and the service heard no speech in,
// is silence, which models make up words for.
func (s *listening) wanted(u *utterance) bool { return u.speech || s.l.r.o.VAD.IsOff() }

func (s *listening) completed(e *realtimeEvent) {
	u := s.item(e.ItemID)
	s.last = e.ItemID
	delete(s.items, e.ItemID)
	if e.Usage != nil {
		s.put(&driver.Event{Kind: driver.Usage, RequestID: e.ItemID, Usage: e.Usage.driver()})
	}
	if e.Transcript == "" || !s.wanted(u) {
		return
	}
	a := driver.Alternative{Text: e.Transcript, Language: spoken(s.language, e.Language, e.Languages)}
	if u.stopped && u.end >= u.start {
		a.Start, a.End = u.start, u.end
	}
	s.put(&driver.Event{Kind: driver.Final, RequestID: e.ItemID, Alternatives: []driver.Alternative{a}})
}

func (s *listening) put(e *driver.Event) { s.ready = append(s.ready, e) }

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
