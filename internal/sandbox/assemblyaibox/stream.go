// Package assemblyaibox is the sandbox of AssemblyAI's protocol.
package assemblyaibox

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

const rate = 16000

// What all models know, and what only those of the Universal-3 Pro family do.
var (
	common = []string{
		"sample_rate", "encoding", "speech_model", "language_detection", "format_turns", "end_of_turn_confidence_threshold",
		"min_turn_silence", "max_turn_silence", "keyterms_prompt", "vad_threshold", "speaker_labels", "max_speakers", "domain",
	}
	pro = []string{
		"continuous_partials", "interruption_delay", "prompt", "agent_context", "previous_context_n_turns", "voice_focus",
		"voice_focus_threshold", "mode", "language_codes",
	}
	models = []string{"universal-streaming-english", "universal-streaming-multilingual", "universal-3-5-pro"}
)

// Stream serves the websocket /v3/ws.
func Stream(s *sandbox.Server) {
	s.Errors(func(_ int, message string) any { return map[string]any{"error": message} })
	s.HandleSocket("/v3/ws", func(c *sandbox.Call, ws *sandbox.Socket) {
		q := c.R.URL.Query()
		(&session{
			c: c, ws: ws, ear: sandbox.Ear{Rate: rate}, model: q.Get("speech_model"), pro: isPro(q.Get("speech_model")),
			format: q.Get("format_turns") == "true", labels: q.Get("speaker_labels") == "true",
		}).serve()
	}, accept)
}

func isPro(model string) bool { return strings.HasPrefix(model, "universal-3") }

func accept(c *sandbox.Call) bool {
	if !c.Authorized("Authorization", "") {
		return false
	}
	q := c.R.URL.Query()
	m := q.Get("speech_model")
	for name, v := range q {
		var l []string
		switch {
		case !slices.Contains(common, name) && !(isPro(m) && slices.Contains(pro, name)):
			c.Refuse(400, "parameter "+name+" is not for this model")
			return false
		case (name == "keyterms_prompt" || name == "language_codes") && (json.Unmarshal([]byte(v[0]), &l) != nil || len(l) == 0):
			c.Refuse(400, name+" is no list")
			return false
		case name == "agent_context" && len([]rune(v[0])) > 1750:
			c.Refuse(400, "agent_context is too long")
			return false
		}
	}
	if !slices.Contains(models, m) || q.Get("sample_rate") != "16000" || q.Get("encoding") != "pcm_s16le" {
		c.Refuse(400, "bad model or format")
		return false
	}
	return true
}

// session is one connection.
type session struct {
	c                   *sandbox.Call
	ws                  *sandbox.Socket
	ear                 sandbox.Ear
	model               string
	pro, format, labels bool
	fault               fault.Kind
	turn                int
}

func (s *session) serve() {
	f, end := s.ws.Stream()
	defer end()
	s.fault = f
	in := s.ws.Inbox(func(binary bool, data []byte) {
		if binary {
			e := &metrics.STT{AudioDuration: audio.Samples(len(data) / 2).At(rate)}
			e.Metadata = metrics.Metadata{ModelName: s.model, ModelProvider: "assemblyai"}
			s.c.Ledger.Bill(e)
		}
	})
	_ = s.ws.Send(map[string]any{"type": "Begin", "id": "de5d9927-0000-4000-8000-00000000a5a1", "expires_at": 1900000000}, false)
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		if binary {
			err = s.hear(data)
		} else {
			err = s.obey(data)
		}
		if err != nil {
			s.ws.Hang()
			return
		}
	}
}

func (s *session) hear(data []byte) error {
	if d := audio.Samples(len(data) / 2).At(rate); d < 50*time.Millisecond || d > time.Second {
		return s.refuse(3007, "Input Duration Violation: audio must be between 50 and 1000 ms")
	}
	return s.tell(s.ear.Hear(data))
}

func (s *session) refuse(code int, message string) error {
	_ = s.ws.Send(map[string]any{"type": "Error", "error_code": code, "error": message}, false)
	s.ws.Close(code, message)
	return sandbox.ErrOver
}

// obey does what a text message says.
func (s *session) obey(data []byte) error {
	var m struct {
		Type string `json:"type"`
	}
	if sandbox.Strict(data, &m) != nil {
		return s.refuse(3006, "Invalid Message")
	}
	switch m.Type {
	case "ForceEndpoint":
		return s.tell(s.ear.Finish())
	case "Terminate": // what is said in a turn that is not over comes, and the turn does not end
		for _, h := range s.ear.Finish() {
			if err := s.ws.Send(s.message(h, false, false), true); err != nil {
				return err
			}
		}
		m := map[string]any{"type": "Termination", "audio_duration_seconds": s.ear.Taken().Seconds(), "session_duration_seconds": 3}
		if s.fault == fault.UsageMissing {
			delete(m, "audio_duration_seconds")
		}
		_ = s.ws.Send(m, false)
		if s.fault == fault.UsageRepeated {
			_ = s.ws.Send(m, false)
		}
		s.ws.Close(1000, "")
		return sandbox.ErrOver
	}
	return s.refuse(3006, "Invalid Message: unknown type")
}

// tell sends what the ear noticed.
func (s *session) tell(heard []sandbox.Heard) error {
	for _, h := range heard {
		var err error
		switch h.Kind {
		case sandbox.Began:
			if s.pro { // the others do not say so
				err = s.ws.Send(map[string]any{"type": "SpeechStarted", "timestamp": h.Start.Milliseconds()}, false)
			}
		case sandbox.More:
			err = s.ws.Send(s.message(h, false, false), true)
		case sandbox.Ended:
			err = s.endTurn(h)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) endTurn(h sandbox.Heard) error {
	pause := s.message(h, false, false)
	pause["utterance"], pause["transcript"] = h.Transcript(), h.Transcript()
	if err := s.ws.Send(pause, true); err != nil {
		return err
	}
	last := s.message(h, true, s.pro)
	err := s.ws.Send(last, true)
	if s.format && !s.pro && err == nil {
		last = s.message(h, true, true)
		err = s.ws.Send(last, true)
	}
	if s.fault == fault.DoubleFinal && err == nil {
		err = s.ws.Send(last, false)
	}
	s.turn++
	return err
}

// message is what is known of a turn; in one that is not over, the last word may still change.
func (s *session) message(h sandbox.Heard, end, formatted bool) map[string]any {
	words := []map[string]any{}
	var sure []string
	for i, w := range h.Words {
		final := end || i < len(h.Words)-1
		if final {
			sure = append(sure, w.Text)
		}
		words = append(words, map[string]any{
			"text": w.Text, "start": w.Start.Milliseconds(), "end": w.End.Milliseconds(), "confidence": 0.9, "word_is_final": final,
		})
	}
	m := map[string]any{
		"type": "Turn", "turn_order": s.turn, "transcript": strings.Join(sure, " "), "utterance": "", "words": words,
		"end_of_turn": end, "turn_is_formatted": formatted, "end_of_turn_confidence": 0.5,
	}
	if end {
		m["utterance"] = h.Transcript()
	}
	if s.pro {
		m["language_code"] = "en"
	}
	if s.labels {
		m["speaker_label"] = "A"
	}
	return m
}
