// Package sonioxbox is the sandbox of Soniox's protocol.
package sonioxbox

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// idle is how long a client may send nothing.
const idle = 20 * time.Second

// config is the first message of a client.
type config struct {
	Model          string          `json:"model"`
	Format         string          `json:"audio_format"`
	Channels       int             `json:"num_channels"`
	Rate           int             `json:"sample_rate"`
	Hints          []string        `json:"language_hints"`
	Strict         bool            `json:"language_hints_strict"`
	Context        json.RawMessage `json:"context"`
	Diarize        bool            `json:"enable_speaker_diarization"`
	Identify       bool            `json:"enable_language_identification"`
	Endpointing    bool            `json:"enable_endpoint_detection"`
	MaxEndDelay    *int            `json:"max_endpoint_delay_ms"`
	EndSensitivity *float64        `json:"endpoint_sensitivity"`
	FasterEnd      *int            `json:"endpoint_latency_adjustment_level"`
	Reference      string          `json:"client_reference_id"`
}

// context is what the audio is about.
type context struct {
	General []struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	} `json:"general"`
	Text  string   `json:"text"`
	Terms []string `json:"terms"`
}

// wrong says what is wrong with the config; "" for nothing.
func (c *config) wrong() string {
	switch {
	case c.Model == "":
		return "Missing model."
	case c.Format != "pcm_s16le" || c.Channels != 1 || c.Rate < 8000:
		return "Invalid audio format."
	case c.MaxEndDelay != nil && (*c.MaxEndDelay < 500 || *c.MaxEndDelay > 3000):
		return "Invalid max_endpoint_delay_ms."
	case c.EndSensitivity != nil && (*c.EndSensitivity < -1 || *c.EndSensitivity > 1),
		c.FasterEnd != nil && (*c.FasterEnd < 0 || *c.FasterEnd > 3):
		return "Invalid endpoint detection."
	case c.Strict && len(c.Hints) == 0:
		return "No language hints."
	}
	for _, h := range c.Hints {
		if len(h) != 2 {
			return "Invalid language hint."
		}
	}
	if len(c.Context) > 0 && sandbox.Strict(c.Context, &context{}) != nil {
		return "Invalid context."
	}
	return ""
}

// Transcribe serves the websocket /transcribe-websocket.
func Transcribe(s *sandbox.Server) {
	s.Errors(func(status int, message string) any {
		return map[string]any{"error_code": status, "error_type": "error", "error_message": message, "request_id": requestID}
	})
	s.HandleSocket("/transcribe-websocket", func(c *sandbox.Call, ws *sandbox.Socket) {
		(&listener{c: c, ws: ws}).serve()
	}, func(c *sandbox.Call) bool {
		if c.R.URL.RawQuery != "" {
			c.Refuse(400, "unknown query")
			return false
		}
		return c.Authorized("Authorization", "Bearer ")
	})
}

const requestID = "3d37a3bd-5078-47ee-a369-b204e3bbedda"

// listener is one stream.
type listener struct {
	c      *sandbox.Call
	ws     *sandbox.Socket
	ear    sandbox.Ear
	config config
	fault  fault.Kind
}

func (l *listener) serve() {
	f, end := l.ws.Stream()
	defer end()
	l.fault = f
	in := l.ws.Inbox(func(binary bool, data []byte) {
		if binary {
			e := &metrics.STT{AudioDuration: audio.Samples(len(data) / 2).At(16000)}
			e.Metadata = metrics.Metadata{ModelName: "stt-rt-v5", ModelProvider: "soniox"}
			l.c.Ledger.Bill(e)
		}
	})
	for {
		binary, data, err := in.Next(idle)
		if errors.Is(err, sandbox.ErrIdle) {
			err = l.refuse(408, "Request timeout.")
		}
		if err != nil {
			return
		}
		switch {
		case l.config.Model == "":
			err = l.start(binary, data)
		case len(data) == 0:
			err = l.finish()
		case binary:
			err = l.tell(l.ear.Hear(data), "<end>")
		default:
			err = l.obey(data)
		}
		if err != nil {
			l.ws.Hang()
			return
		}
	}
}

func (l *listener) refuse(code int, message string) error {
	_ = l.ws.Send(map[string]any{"error_code": code, "error_type": "error", "error_message": message, "request_id": requestID}, false)
	l.ws.Close(1000, "")
	return sandbox.ErrOver
}

func (l *listener) start(binary bool, data []byte) error {
	if binary || sandbox.Strict(data, &l.config) != nil {
		return l.refuse(400, "Start request is malformed.")
	}
	if w := l.config.wrong(); w != "" {
		return l.refuse(400, w)
	}
	l.ear.Rate = l.config.Rate
	return nil
}

// obey does what a text message says.
func (l *listener) obey(data []byte) error {
	var m struct {
		Type    string `json:"type"`
		Silence int    `json:"trailing_silence_ms"`
	}
	if sandbox.Strict(data, &m) != nil {
		return l.refuse(400, "Control request is malformed.")
	}
	switch m.Type {
	case "keepalive":
		return nil
	case "finalize":
		if h := l.ear.Finish(); len(h) > 0 {
			return l.tell(h, "<fin>")
		}
		return l.send([]map[string]any{mark("<fin>")}, false)
	}
	return l.refuse(400, "Control request invalid type.")
}

func mark(text string) map[string]any { return map[string]any{"text": text, "is_final": true} }

// tell sends what the ear noticed, whose ends are marked.
func (l *listener) tell(heard []sandbox.Heard, end string) error {
	for _, h := range heard {
		if h.Kind == sandbox.Began {
			continue
		}
		tokens := l.tokens(h)
		if h.Kind == sandbox.Ended {
			if end == "<fin>" || l.config.Endpointing {
				tokens = append(tokens, mark(end))
			}
			if l.fault == fault.DoubleFinal {
				if err := l.send(tokens, true); err != nil {
					return err
				}
			}
		}
		if err := l.send(tokens, true); err != nil {
			return err
		}
	}
	return nil
}

// tokens are halves of words.
func (l *listener) tokens(h sandbox.Heard) (all []map[string]any) {
	for i, w := range h.Words {
		text, half := w.Text, (len(w.Text)+1)/2
		if i > 0 {
			text = " " + text
		}
		mid := (w.Start + w.End) / 2
		for _, p := range []struct {
			text     string
			from, to time.Duration
		}{{text[:half], w.Start, mid}, {text[half:], mid, w.End}} {
			m := map[string]any{
				"text": p.text, "start_ms": p.from.Milliseconds(), "end_ms": p.to.Milliseconds(), "confidence": 0.9,
				"is_final": h.Kind == sandbox.Ended,
			}
			if l.config.Diarize {
				m["speaker"] = "1"
			}
			if l.config.Identify {
				m["language"] = "en"
			}
			all = append(all, m)
		}
	}
	return all
}

func (l *listener) send(tokens []map[string]any, content bool) error {
	at := l.ear.At().Milliseconds()
	return l.ws.Send(map[string]any{"tokens": tokens, "final_audio_proc_ms": at, "total_audio_proc_ms": at}, content)
}

// finish ends the stream after the client has.
func (l *listener) finish() error {
	if err := l.tell(l.ear.Finish(), "<end>"); err != nil {
		return err
	}
	m := map[string]any{"tokens": []any{}, "final_audio_proc_ms": l.ear.Taken().Milliseconds(), "total_audio_proc_ms": l.ear.Taken().Milliseconds(), "finished": true}
	if l.fault == fault.UsageMissing {
		delete(m, "total_audio_proc_ms")
	}
	_ = l.ws.Send(m, false)
	if l.fault == fault.UsageRepeated {
		_ = l.ws.Send(m, false)
	}
	l.ws.Close(1000, "")
	return sandbox.ErrOver
}
