package openaibox

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// ConverseOptions are the options of Converse.
type ConverseOptions struct {
	sandbox.Talk
	Provider string // in the ledger; default "openai"
	// Flat is xAI's form of a session, which is billed by time and says what it is told.
	Flat bool
	// Header and Prefix are where the key is; default "Authorization" and "Bearer ".
	Header, Prefix string
	// Pace makes audio come no faster than so many times real time; 0 at once.
	Pace float64
	// Seen, if set, gets every message of the client.
	Seen func(fields map[string]any)
}

const converseRate = 24000

// Converse serves the websocket {prefix}/realtime for conversations.
func Converse(s *sandbox.Server, prefix string, o ConverseOptions) {
	o.Talk = o.Talk.Defaults()
	if o.Provider == "" {
		o.Provider = "openai"
	}
	if o.Header == "" {
		o.Header, o.Prefix = "Authorization", "Bearer "
	}
	s.HandleSocket(prefix+"/realtime", func(c *sandbox.Call, ws *sandbox.Socket) {
		(&converser{o: o, c: c, ws: ws, model: c.R.URL.Query().Get("model"), calls: map[string]bool{}}).serve()
	}, func(c *sandbox.Call) bool {
		if c.R.URL.Query().Get("model") == "" {
			c.Refuse(400, "you must provide a model parameter")
			return false
		}
		return c.Authorized(o.Header, o.Prefix)
	})
}

// converser is one session.
type converser struct {
	o     ConverseOptions
	c     *sandbox.Call
	ws    *sandbox.Socket
	model string
	wg    sync.WaitGroup // of answers

	mu      sync.Mutex
	session session
	ready   bool // session.update came
	ear     sandbox.Ear
	loose   sandbox.Heard // without turn detection: what is not committed
	item    string        // of the user's turn that is on
	since   time.Duration // audio that is in no item yet begins here
	at      time.Duration // audio that was taken
	items   []*item
	calls   map[string]bool // ids that may be answered
	active  *answer
	cached  int64 // text tokens that the last answer read
}

// session is the object of session.update.
type session struct {
	Type         string          `json:"type"`
	Model        string          `json:"model"`
	Modalities   []string        `json:"output_modalities"`
	Instructions *string         `json:"instructions"`
	Tools        *[]converseTool `json:"tools"`
	ToolChoice   json.RawMessage `json:"tool_choice"`
	MaxTokens    json.RawMessage `json:"max_output_tokens"`
	Truncation   json.RawMessage `json:"truncation"`
	Reasoning    json.RawMessage `json:"reasoning"`
	Tracing      json.RawMessage `json:"tracing"`
	Voice        string          `json:"voice"`          // flat
	Turns        *turnDetection  `json:"turn_detection"` // flat
	Audio        *struct {
		Input struct {
			Format struct {
				Type string `json:"type"`
				Rate int    `json:"rate"`
			} `json:"format"`
			Transcription *struct {
				Model    string `json:"model"`
				Language string `json:"language"`
				Prompt   string `json:"prompt"`
			} `json:"transcription"`
			Turns *turnDetection  `json:"turn_detection"`
			Noise json.RawMessage `json:"noise_reduction"`
		} `json:"input"`
		Output struct {
			Format struct {
				Type string `json:"type"`
				Rate int    `json:"rate"`
			} `json:"format"`
			Voice string  `json:"voice"`
			Speed float64 `json:"speed"`
		} `json:"output"`
	} `json:"audio"`
}

type turnDetection struct {
	Type      string  `json:"type"`
	Eagerness string  `json:"eagerness"`
	Threshold float64 `json:"threshold"`
	Prefix    int     `json:"prefix_padding_ms"`
	Silence   int     `json:"silence_duration_ms"`
	Create    bool    `json:"create_response"`
	Interrupt bool    `json:"interrupt_response"`
}

type converseTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
}

// item is an item of the conversation.
type item struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Role      string `json:"role,omitempty"`
	Content   []part `json:"content,omitempty"`
	CallID    string `json:"call_id,omitempty"`
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments,omitempty"`
	Output    string `json:"output,omitempty"`

	heard  time.Duration // audio of the user
	spoken time.Duration // of the answer
}

type part struct {
	Type       string `json:"type"`
	Text       string `json:"text,omitempty"`
	Transcript string `json:"transcript,omitempty"`
	Image      string `json:"image_url,omitempty"`
}

func (it *item) text() string {
	var texts []string
	for _, p := range it.Content {
		if t := p.Text + p.Transcript; t != "" {
			texts = append(texts, t)
		}
	}
	return strings.Join(texts, " ") + it.Output + it.Arguments
}

// refusal is an error that the client is told.
type refusal struct{ code, message string }

func (r *refusal) Error() string { return r.message }

func refuse(code, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

func (t *converser) serve() {
	defer t.wg.Wait()
	end := t.c.Begin()
	defer end()
	began := time.Now()
	if t.o.Flat {
		defer func() {
			e := &metrics.Realtime{SessionDuration: time.Since(began)}
			e.Metadata = t.metadata(t.model)
			t.c.Ledger.Bill(e)
		}()
	}
	t.listenAnew()
	in := t.ws.Inbox(func(bool, []byte) {})
	_ = t.send(map[string]any{"type": "session.created", "session": map[string]any{"type": "realtime", "model": t.model}}, false)
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			t.mu.Lock()
			t.stop()
			t.mu.Unlock()
			return
		}
		var head struct {
			Type    string `json:"type"`
			EventID string `json:"event_id"`
		}
		if binary || json.Unmarshal(data, &head) != nil {
			err = refuse("invalid_json", "message cannot be read")
		} else {
			if t.o.Seen != nil {
				var fields map[string]any
				_ = json.Unmarshal(data, &fields)
				t.o.Seen(fields)
			}
			t.mu.Lock()
			err = t.take(head.Type, data)
			t.mu.Unlock()
		}
		var r *refusal
		switch {
		case errors.As(err, &r):
			_ = t.send(map[string]any{"type": "error", "error": map[string]any{"type": "invalid_request_error", "code": r.code,
				"message": r.message, "event_id": head.EventID}}, false)
		case err != nil:
			t.ws.Hang()
			return
		}
	}
}

func (t *converser) send(m map[string]any, content bool) error {
	m["event_id"] = metrics.NewID("event_")
	return t.ws.Send(m, content)
}

func (t *converser) metadata(model string) metrics.Metadata {
	return metrics.Metadata{ModelName: model, ModelProvider: t.o.Provider}
}

// take does what a message asks for.
func (t *converser) take(kind string, data []byte) error {
	if !t.ready && kind != "session.update" {
		return refuse("no_session", "the session is not configured")
	}
	switch kind {
	case "session.update":
		return t.update(data)
	case "input_audio_buffer.append":
		return t.hear(data)
	case "input_audio_buffer.commit":
		return t.commit()
	case "input_audio_buffer.clear":
		t.listenAnew()
		t.loose, t.since = sandbox.Heard{}, t.at
		return t.send(map[string]any{"type": "input_audio_buffer.cleared"}, false)
	case "conversation.item.create":
		return t.create(data)
	case "conversation.item.delete":
		return t.delete(data)
	case "conversation.item.truncate":
		return t.truncate(data)
	case "response.create":
		return t.asked(data)
	case "response.cancel":
		if t.active == nil {
			return refuse("response_cancel_not_active", "Cancellation failed: no active response found")
		}
		t.stop()
		return nil
	}
	return refuse("unknown_event", "unknown message %q", kind)
}

func (t *converser) update(data []byte) error {
	var m struct {
		Type    string  `json:"type"`
		EventID string  `json:"event_id"`
		Session session `json:"session"`
	}
	m.Session = t.session // fields that are not there stay
	if err := sandbox.Strict(data, &m); err != nil {
		return refuse("invalid_session", "%s", err.Error())
	}
	s := m.Session
	if s.Type != "realtime" || s.Audio == nil || s.Audio.Input.Format.Type != "audio/pcm" || s.Audio.Input.Format.Rate != converseRate ||
		s.Audio.Output.Format.Rate != converseRate {
		return refuse("invalid_session", "invalid session")
	}
	if len(s.Modalities) != 1 || s.Modalities[0] != "audio" && s.Modalities[0] != "text" {
		return refuse("invalid_session", "invalid output_modalities")
	}
	if turns := s.turns(t.o.Flat); turns != nil && turns.Type != "semantic_vad" && (turns.Type != "server_vad" || turns.Threshold <= 0 || turns.Silence <= 0) {
		return refuse("invalid_session", "invalid turn_detection")
	}
	if (s.Voice != "") != t.o.Flat || (s.Audio.Output.Voice != "") == t.o.Flat {
		return refuse("invalid_session", "unknown parameter: voice")
	}
	if s.Tools != nil {
		for i, tool := range *s.Tools {
			if tool.Type != "function" || tool.Name == "" || !json.Valid(tool.Parameters) {
				return refuse("invalid_session", "tools[%d]: invalid", i)
			}
		}
	}
	t.session, t.ready = s, true
	t.ear.Silence = s.silence(t.o.Flat)
	return t.send(map[string]any{"type": "session.updated"}, false)
}

// listenAnew forgets what is being said.
func (t *converser) listenAnew() {
	t.ear = sandbox.Ear{Rate: converseRate, Text: t.o.Ear, Understand: t.c.Understand, Silence: t.ear.Silence}
}

// silence is what ends a turn; 0 for the default. By meaning it takes longer than by silence.
func (s *session) silence(flat bool) time.Duration {
	switch t := s.turns(flat); {
	case t == nil:
		return 0
	case t.Type == "semantic_vad":
		return 600 * time.Millisecond
	default:
		return time.Duration(t.Silence) * time.Millisecond
	}
}

func (s *session) turns(flat bool) *turnDetection {
	if flat {
		return s.Turns
	}
	return s.Audio.Input.Turns
}

// hear takes audio of the user.
func (t *converser) hear(data []byte) error {
	var m struct {
		Type    string `json:"type"`
		EventID string `json:"event_id"`
		Audio   string `json:"audio"`
	}
	if err := sandbox.Strict(data, &m); err != nil {
		return refuse("invalid_value", "%s", err.Error())
	}
	pcm, err := base64.StdEncoding.DecodeString(m.Audio)
	if err != nil || len(pcm)%2 != 0 || len(pcm) == 0 {
		return refuse("invalid_value", "invalid audio")
	}
	t.at += audio.Samples(len(pcm) / 2).At(converseRate)
	turns := t.session.turns(t.o.Flat)
	for _, h := range t.ear.Hear(pcm) {
		switch {
		case turns == nil:
			if h.Kind == sandbox.Ended { // a turn is what is committed
				h.Words = append(slices.Clone(t.loose.Words), h.Words...)
				t.loose = h
			}
		case h.Kind == sandbox.Began:
			t.item = metrics.NewID("item_")
			if turns.Interrupt {
				t.stop()
			}
			if err := t.send(map[string]any{"type": "input_audio_buffer.speech_started", "item_id": t.item, "audio_start_ms": h.Start.Milliseconds()}, false); err != nil {
				return err
			}
		case h.Kind == sandbox.Ended:
			id := t.item
			t.item = ""
			if err := t.send(map[string]any{"type": "input_audio_buffer.speech_stopped", "item_id": id, "audio_end_ms": h.End.Milliseconds()}, false); err != nil {
				return err
			}
			if err := t.turn(id, h, turns.Create); err != nil {
				return err
			}
		}
	}
	return nil
}

// commit ends the user's turn.
func (t *converser) commit() error {
	if t.at-t.since < 100*time.Millisecond {
		return refuse("input_audio_buffer_commit_empty", "Error committing input audio buffer: buffer too small.")
	}
	said := t.loose
	t.loose = sandbox.Heard{}
	for _, h := range t.ear.Finish() {
		h.Words = append(said.Words, h.Words...)
		said = h
	}
	return t.turn(metrics.NewID("item_"), said, false)
}

// turn makes an item of what the user said. The words come after the answer began, as often happens.
func (t *converser) turn(id string, said sandbox.Heard, reply bool) error {
	it := &item{ID: id, Type: "message", Role: "user", heard: t.at - t.since,
		Content: []part{{Type: "input_audio", Transcript: said.Transcript()}}}
	t.since = t.at
	if err := t.send(map[string]any{"type": "input_audio_buffer.committed", "item_id": id, "previous_item_id": t.last()}, false); err != nil {
		return err
	}
	if err := t.added(it, t.last()); err != nil {
		return err
	}
	if reply && t.active == nil {
		t.begin(answer{})
	}
	return t.transcribe(it, said)
}

func (t *converser) last() any {
	if len(t.items) == 0 {
		return nil
	}
	return t.items[len(t.items)-1].ID
}

// added puts an item behind all others, or where it belongs, and says so. Audio is told without its words.
func (t *converser) added(it *item, after any) error {
	t.items = append(t.items, it)
	told := *it
	if it.heard > 0 {
		told.Content = []part{{Type: "input_audio"}}
	}
	return t.send(map[string]any{"type": "conversation.item.added", "previous_item_id": after, "item": &told}, false)
}

func (t *converser) transcribe(it *item, said sandbox.Heard) error {
	script := t.session.Audio.Input.Transcription
	if script == nil {
		return nil
	}
	for i, w := range said.Words {
		delta := w.Text
		if i > 0 {
			delta = " " + delta
		}
		if err := t.send(map[string]any{"type": "conversation.item.input_audio_transcription.delta", "item_id": it.ID, "content_index": 0, "delta": delta}, false); err != nil {
			return err
		}
	}
	done := map[string]any{"type": "conversation.item.input_audio_transcription.completed", "item_id": it.ID, "content_index": 0, "transcript": said.Transcript()}
	e := &metrics.STT{}
	e.Metadata = t.metadata(script.Model)
	if script.Model == "whisper-1" {
		e.AudioDuration = it.heard
		done["usage"] = map[string]any{"type": "duration", "seconds": it.heard.Seconds()}
	} else {
		e.InputTokens, e.OutputTokens = tenths(it.heard), sandbox.TextTokens(said.Transcript())
		done["usage"] = map[string]any{"type": "tokens", "input_tokens": e.InputTokens, "output_tokens": e.OutputTokens,
			"total_tokens": e.InputTokens + e.OutputTokens, "input_token_details": map[string]any{"audio_tokens": e.InputTokens, "text_tokens": 0}}
	}
	t.c.Ledger.Bill(e)
	if t.c.Fault == fault.UsageMissing {
		delete(done, "usage")
	} else {
		stated := *e
		stated.ID = ""
		t.c.Ledger.State(&stated)
	}
	return t.send(done, false)
}

// tenths is what the user's audio costs: a token for every begun tenth of a second.
func tenths(d time.Duration) int64 {
	return int64((d + 100*time.Millisecond - 1) / (100 * time.Millisecond))
}
