// Package speechmaticsbox is the sandbox of Speechmatics' protocol.
package speechmaticsbox

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// control is what clients send as text.
type control struct {
	Message   string   `json:"message"`
	Format    *format  `json:"audio_format"`
	Config    *config  `json:"transcription_config"`
	LastSeqNo *int     `json:"last_seq_no"`
	Timestamp *float64 `json:"timestamp"`
}

type format struct {
	Type     string `json:"type"`
	Encoding string `json:"encoding"`
	Rate     int    `json:"sample_rate"`
}

type config struct {
	Language     string   `json:"language"`
	Model        string   `json:"model"`
	OutputLocale string   `json:"output_locale"`
	Domain       string   `json:"domain"`
	Partials     bool     `json:"enable_partials"`
	MaxDelay     *float64 `json:"max_delay"`
	Conversation struct {
		Trigger float64 `json:"end_of_utterance_silence_trigger"`
	} `json:"conversation_config"`
	Diarization string `json:"diarization"`
	Speakers    *struct {
		Max           *int     `json:"max_speakers"`
		Sensitivity   *float64 `json:"speaker_sensitivity"`
		PreferCurrent bool     `json:"prefer_current_speaker"`
	} `json:"speaker_diarization_config"`
	Filter *struct {
		NoFillers bool `json:"remove_disfluencies"`
	} `json:"transcript_filtering_config"`
	Vocabulary []json.RawMessage `json:"additional_vocab"`
}

// wrong names the error of a start, and says why.
func (c *control) wrong() (kind, reason string) {
	f, t := c.Format, c.Config
	switch {
	case f == nil || t == nil || t.Language == "":
		return "invalid_message", "fields are missing"
	case f.Type != "raw" || f.Encoding != "pcm_s16le" || f.Rate < 8000:
		return "invalid_audio_type", "bad audio format"
	case t.Language != strings.ToLower(t.Language) || strings.ContainsAny(t.Language, "- ") || t.Language == "zh":
		return "invalid_language", "no such language"
	case !slices.Contains([]string{"", "standard", "enhanced", "melia-1"}, t.Model):
		return "invalid_model", "no such model"
	case t.MaxDelay != nil && (*t.MaxDelay < 0.7 || *t.MaxDelay > 4),
		t.Conversation.Trigger < 0 || t.Conversation.Trigger > 2,
		!slices.Contains([]string{"", "none", "speaker"}, t.Diarization),
		t.Speakers != nil && (t.Diarization != "speaker" || t.Speakers.Max != nil && *t.Speakers.Max < 2):
		return "invalid_config", "value out of range"
	}
	for _, v := range t.Vocabulary {
		var w struct {
			Content    string   `json:"content"`
			SoundsLike []string `json:"sounds_like"`
		}
		if sandbox.Strict(v, &w) != nil || w.Content == "" {
			return "invalid_config", "bad vocabulary"
		}
	}
	return "", ""
}

// Realtime serves the websocket /v2.
func Realtime(s *sandbox.Server) {
	s.HandleSocket("/v2", func(c *sandbox.Call, ws *sandbox.Socket) {
		(&listener{c: c, ws: ws}).serve()
	}, func(c *sandbox.Call) bool {
		if c.R.URL.RawQuery != "" {
			c.Refuse(400, "unknown query")
			return false
		}
		return c.Authorized("Authorization", "Bearer ")
	})
}

// listener is one stream.
type listener struct {
	c       *sandbox.Call
	ws      *sandbox.Socket
	ear     sandbox.Ear
	config  *config
	fault   fault.Kind
	audio   int // messages
	settled int // words of the utterance whose final transcript was sent
}

func (l *listener) serve() {
	f, end := l.ws.Stream()
	defer end()
	l.fault = f
	in := l.ws.Inbox(func(binary bool, data []byte) {
		if binary {
			e := &metrics.STT{AudioDuration: audio.Samples(len(data) / 2).At(16000)}
			e.Metadata = metrics.Metadata{ModelName: "enhanced", ModelProvider: "speechmatics"}
			l.c.Ledger.Bill(e)
		}
	})
	_ = l.ws.Send(map[string]any{"message": "Info", "type": "concurrent_session_usage", "reason": "1 of 2", "usage": 1, "quota": 2}, false)
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		if binary {
			err = l.hear(data)
		} else {
			err = l.obey(data)
		}
		if err != nil {
			l.ws.Hang()
			return
		}
	}
}

// refuse says why the stream ends, whose close code depends on it.
func (l *listener) refuse(kind, reason string) error {
	_ = l.ws.Send(map[string]any{"message": "Error", "type": kind, "reason": reason, "code": 4000}, false)
	code := map[string]int{"protocol_error": 1003, "invalid_model": 4004}[kind]
	if code == 0 {
		code = 1008
	}
	l.ws.Close(code, kind)
	return sandbox.ErrOver
}

func (l *listener) hear(data []byte) error {
	if l.config == nil {
		return l.refuse("protocol_error", "audio before StartRecognition")
	}
	l.audio++
	if err := l.ws.Send(map[string]any{"message": "AudioAdded", "seq_no": l.audio}, false); err != nil {
		return err
	}
	return l.tell(l.ear.Hear(data), false)
}

// obey does what a text message says.
func (l *listener) obey(data []byte) error {
	var m control
	if sandbox.Strict(data, &m) != nil {
		return l.refuse("invalid_message", "message cannot be read")
	}
	switch {
	case m.Message == "StartRecognition" && l.config == nil:
		return l.start(&m)
	case l.config == nil:
		return l.refuse("protocol_error", "message before StartRecognition")
	case m.Message == "ForceEndOfUtterance" && (m.Timestamp == nil || *m.Timestamp >= 0 && *m.Timestamp <= l.ear.At().Seconds()+0.02):
		h := l.ear.Finish()
		if len(h) == 0 {
			h = []sandbox.Heard{{Kind: sandbox.Ended, Start: l.ear.At(), End: l.ear.At()}}
		}
		return l.tell(h, true)
	case m.Message == "EndOfStream" && m.LastSeqNo != nil && *m.LastSeqNo == l.audio:
		if err := l.tell(l.ear.Finish(), false); err != nil {
			return err
		}
		_ = l.ws.Send(map[string]any{"message": "EndOfTranscript"}, false)
		l.ws.Close(1000, "")
		return sandbox.ErrOver
	}
	return l.refuse("invalid_message", "bad "+m.Message)
}

func (l *listener) start(m *control) error {
	if kind, reason := m.wrong(); kind != "" {
		return l.refuse(kind, reason)
	}
	l.config = m.Config
	l.ear.Rate = m.Format.Rate
	return l.ws.Send(map[string]any{
		"message": "RecognitionStarted", "orchestrator_version": "1", "id": "807670e9-14af-4fa2-9e8f-5d525c22156e",
		"language_pack_info": map[string]any{"adapted": false, "itn": true, "language_description": "English", "word_delimiter": " ", "writing_direction": "left-to-right"},
	}, false)
}

// tell sends what the ear noticed. Words are settled two before the newest, and all at the end.
func (l *listener) tell(heard []sandbox.Heard, forced bool) error {
	for _, h := range heard {
		n := len(h.Words) - 2
		if h.Kind == sandbox.Began {
			l.settled = 0
			continue
		}
		if h.Kind == sandbox.Ended {
			n = len(h.Words)
		}
		if n > l.settled || h.Kind == sandbox.Ended {
			if err := l.transcript("AddTranscript", h, l.settled, n, forced); err != nil {
				return err
			}
			if l.fault == fault.DoubleFinal {
				_ = l.transcript("AddTranscript", h, l.settled, n, forced)
			}
			l.settled = n
		}
		if h.Kind == sandbox.Ended {
			l.settled = 0
			if forced || l.config.Conversation.Trigger > 0 {
				at := l.ear.At().Seconds()
				end := map[string]any{"message": "EndOfUtterance", "metadata": map[string]any{"start_time": at, "end_time": at}}
				if forced {
					end["forced"] = true
				}
				_ = l.ws.Send(end, false)
			}
		} else if l.config.Partials {
			if err := l.transcript("AddPartialTranscript", h, l.settled, len(h.Words), false); err != nil {
				return err
			}
		}
	}
	return nil
}

// transcript sends the words from one to another.
func (l *listener) transcript(message string, h sandbox.Heard, from, to int, forced bool) error {
	results := []any{}
	var text []string
	start, end := h.Start.Seconds(), h.Start.Seconds()
	for i, w := range h.Words[from:to] {
		best := map[string]any{"content": w.Text, "confidence": 0.9, "language": l.config.Language}
		if l.config.Diarization == "speaker" {
			best["speaker"] = "S1"
		}
		results = append(results, map[string]any{
			"type": "word", "start_time": w.Start.Seconds(), "end_time": w.End.Seconds(), "is_eos": false, "alternatives": []any{best},
		})
		text = append(text, w.Text)
		if end = w.End.Seconds(); i == 0 {
			start = w.Start.Seconds()
		}
	}
	m := map[string]any{
		"message": message, "format": "2.9", "results": results,
		"metadata": map[string]any{"start_time": start, "end_time": end, "transcript": strings.Join(text, " ")},
	}
	if forced {
		m["forced"] = true
	}
	return l.ws.Send(m, len(results) > 0)
}
