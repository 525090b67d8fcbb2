// Package sarvambox is the sandbox of Sarvam's protocols.
package sarvambox

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
)

const (
	idle    = time.Minute // how long a client may send nothing
	maxText = 2500        // characters of a message
)

const requestID = "20260101_3c1f0c4e"

// packet is what clients send.
type packet struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

type config struct {
	Model       string   `json:"model"`
	Language    string   `json:"target_language_code"`
	Speaker     string   `json:"speaker"`
	Rate        int      `json:"speech_sample_rate"`
	Codec       string   `json:"output_audio_codec"`
	MinBuffer   *int     `json:"min_buffer_size"`
	MaxChunk    *int     `json:"max_chunk_length"`
	Pace        *float64 `json:"pace"`
	Temperature *float64 `json:"temperature"`
	Dictionary  *string  `json:"dict_id"`
	Pitch       *float64 `json:"pitch"`
	Loudness    *float64 `json:"loudness"`
	Preprocess  *bool    `json:"enable_preprocessing"`
}

// wrong says what the model does not take.
func (c *config) wrong(model string) string {
	v2 := model == "bulbul:v2"
	within := func(v *float64, low, high float64) bool { return v == nil || *v >= low && *v <= high }
	low, high := 0.5, 2.0
	if v2 {
		low, high = 0.3, 3
	}
	switch {
	case c.Speaker == "" || !known(c.Language):
		return "speaker and target_language_code are needed"
	case v2 != (c.Speaker == "anushka"):
		return "Speaker '" + c.Speaker + "' is not compatible with model " + model
	case c.Model != "" && c.Model != model, c.Codec != "linear16", !slices.Contains([]int{8000, 16000, 22050, 24000, 32000, 44100, 48000}, c.Rate):
		return "bad model or format"
	case !v2 && (c.Pitch != nil || c.Loudness != nil || c.Preprocess != nil):
		return "pitch and loudness are for bulbul:v2"
	case v2 && (c.Temperature != nil || c.Dictionary != nil):
		return "temperature and dict_id are for bulbul:v3"
	case !within(c.Pace, low, high), !within(c.Temperature, 0.01, 2), !within(c.Pitch, -0.75, 0.75), !within(c.Loudness, 0.3, 3),
		c.MinBuffer != nil && (*c.MinBuffer < 30 || *c.MinBuffer > 200), c.MaxChunk != nil && (*c.MaxChunk < 50 || *c.MaxChunk > 500):
		return "value out of range"
	}
	return ""
}

func known(language string) bool {
	return slices.Contains([]string{"bn-IN", "en-IN", "gu-IN", "hi-IN", "kn-IN", "ml-IN", "mr-IN", "od-IN", "pa-IN", "ta-IN", "te-IN"}, language)
}

func refusal(_ int, message string) any {
	return map[string]any{"error": map[string]any{"message": message, "code": "invalid_request_error", "request_id": requestID}}
}

// Speak serves the websocket /text-to-speech/ws.
func Speak(s *sandbox.Server) {
	s.Errors(refusal)
	s.HandleSocket("/text-to-speech/ws", func(c *sandbox.Call, ws *sandbox.Socket) {
		(&speaker{c: c, ws: ws, model: c.R.URL.Query().Get("model")}).serve()
	}, func(c *sandbox.Call) bool {
		q := c.R.URL.Query()
		switch {
		case !c.Authorized("Api-Subscription-Key", ""):
		case !strings.HasPrefix(q.Get("model"), "bulbul:v") || q.Get("send_completion_event") != "true" || len(q) != 2:
			c.Refuse(400, "bad query")
		default:
			return true
		}
		return false
	})
}

// speaker is one connection.
type speaker struct {
	c      *sandbox.Call
	ws     *sandbox.Socket
	model  string
	config *config
	speech *sandbox.Speech // nil between them
}

func (s *speaker) serve() {
	in := s.ws.Inbox(func(_ bool, data []byte) {
		if t := text(data); t != "" {
			e := &metrics.TTS{CharactersCount: int64(utf8.RuneCountInString(t))}
			e.Metadata = metrics.Metadata{ModelName: s.model, ModelProvider: "sarvam"}
			s.c.Ledger.Bill(e)
		}
	})
	for {
		_, data, err := in.Next(idle)
		if errors.Is(err, sandbox.ErrIdle) {
			s.ws.Close(1000, "idle")
		}
		if err != nil {
			return
		}
		s.take(data)
	}
}

// text is that of a message with text.
func text(data []byte) string {
	var p packet
	var t struct {
		Text string `json:"text"`
	}
	if sandbox.Strict(data, &p) != nil || p.Type != "text" || sandbox.Strict(p.Data, &t) != nil {
		return ""
	}
	return t.Text
}

func (s *speaker) refuse(message string) {
	_ = s.ws.Send(map[string]any{"type": "error", "data": map[string]any{"message": message, "code": 422, "request_id": requestID}}, false)
	s.ws.Close(1003, "")
}

func (s *speaker) take(data []byte) {
	var p packet
	if sandbox.Strict(data, &p) != nil {
		s.refuse("message cannot be read")
		return
	}
	t := text(data)
	switch {
	case p.Type == "ping" && p.Data == nil:
	case p.Type == "config":
		s.config = &config{}
		if sandbox.Strict(p.Data, s.config) != nil {
			s.refuse("config cannot be read")
		} else if why := s.config.wrong(s.model); why != "" {
			s.refuse(why)
		}
	case s.config == nil:
		s.refuse("the first message must be a config")
	case strings.TrimSpace(t) != "" && utf8.RuneCountInString(t) <= maxText:
		if s.speech == nil {
			s.speech = s.speak()
		}
		s.speech.Say(t)
	case p.Type == "flush" && p.Data == nil && s.speech != nil:
		s.speech.End()
		s.speech = nil
	default:
		s.refuse("bad " + p.Type)
	}
}

// speak sends audio in messages that do not keep samples together.
func (s *speaker) speak() *sandbox.Speech {
	say := func(pcm []byte) error {
		return s.ws.Send(map[string]any{"type": "audio", "data": map[string]any{"audio": pcm, "content_type": "audio/pcm", "request_id": requestID}}, true)
	}
	return s.ws.Speak(sandbox.SpeechOptions{
		Rate: s.config.Rate,
		Word: func(_ string, pcm []byte, _, _ time.Duration) error {
			half := len(pcm)/2 | 1
			return errors.Join(say(pcm[:half]), say(pcm[half:]))
		},
		Done: func() {
			_ = s.ws.Send(map[string]any{"type": "event", "data": map[string]any{"event_type": "final", "message": "done", "timestamp": "2026-01-01T00:00:00Z"}}, false)
		},
	})
}
