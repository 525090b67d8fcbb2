package openaibox

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

type appendAudio struct {
	Type  string `json:"type"`
	Audio string `json:"audio"`
}

type sessionUpdate struct {
	Type    string `json:"type"`
	Session struct {
		Type  string `json:"type"`
		Audio struct {
			Input struct {
				Format struct {
					Type string `json:"type"`
					Rate int    `json:"rate"`
				} `json:"format"`
				Transcription struct {
					Model    string `json:"model"`
					Language string `json:"language"`
					Prompt   string `json:"prompt"`
				} `json:"transcription"`
				TurnDetection *struct {
					Type      string  `json:"type"`
					Threshold float64 `json:"threshold"`
					Prefix    int     `json:"prefix_padding_ms"`
					Silence   int     `json:"silence_duration_ms"`
				} `json:"turn_detection"`
				NoiseReduction *struct {
					Type string `json:"type"`
				} `json:"noise_reduction"`
			} `json:"input"`
		} `json:"audio"`
	} `json:"session"`
}

// Realtime serves the websocket {prefix}/realtime for transcription.
func Realtime(s *sandbox.Server, prefix string, o TranscribeOptions) {
	if o.Provider == "" {
		o.Provider = "openai"
	}
	s.HandleSocket(prefix+"/realtime", func(c *sandbox.Call, ws *sandbox.Socket) {
		(&transcriber{o: o, c: c, ws: ws}).serve()
	}, func(c *sandbox.Call) bool {
		q := c.R.URL.Query()
		if q.Get("intent") != "transcription" || q.Has("api-version") {
			c.Refuse(400, "invalid query")
			return false
		}
		return c.Authorized("Authorization", "Bearer ")
	})
}

// transcriber is one session.
type transcriber struct {
	o     TranscribeOptions
	c     *sandbox.Call
	ws    *sandbox.Socket
	ear   sandbox.Ear
	model string
	vad   bool
	fault fault.Kind
	item  string        // of the utterance that is on
	loose sandbox.Heard // without server VAD: what is not committed
	since time.Duration // audio that is in no item yet begins here
	at    time.Duration // audio that was taken

	billed string // the model that audio is for; of the inbox
}

func (t *transcriber) serve() {
	f, end := t.ws.Stream()
	defer end()
	t.fault = f
	t.ear.Rate = 24000
	in := t.ws.Inbox(func(_ bool, data []byte) {
		var m sessionUpdate
		if pcm, ok := t.pcm(data); ok {
			t.o.bill(t.c, t.billed, audio.Samples(len(pcm)/2).At(t.ear.Rate), 0, 0)
		} else if sandbox.Strict(data, &m) == nil && m.Type == "session.update" {
			t.billed = m.Session.Audio.Input.Transcription.Model
		}
	})
	_ = t.ws.Send(map[string]any{"type": "session.created", "event_id": "event_1", "session": map[string]any{"type": "transcription"}}, false)
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		if binary {
			err = errors.New("binary message")
		} else {
			err = t.take(data)
		}
		if errors.Is(err, sandbox.ErrOver) {
			t.ws.Hang()
			return
		}
		if err != nil {
			t.refuse("invalid_request_error", err.Error())
		}
	}
}

func (t *transcriber) refuse(code, message string) {
	_ = t.ws.Send(map[string]any{"type": "error", "error": map[string]any{"type": "invalid_request_error", "code": code, "message": message, "event_id": nil}}, false)
}

func (t *transcriber) pcm(data []byte) ([]byte, bool) {
	var m appendAudio
	if sandbox.Strict(data, &m) != nil || m.Type != "input_audio_buffer.append" {
		return nil, false
	}
	pcm, err := base64.StdEncoding.DecodeString(m.Audio)
	return pcm, err == nil && len(pcm)%2 == 0
}

func (t *transcriber) take(data []byte) error {
	var m struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	switch m.Type {
	case "session.update":
		return t.update(data)
	case "input_audio_buffer.append":
		pcm, ok := t.pcm(data)
		if !ok || t.model == "" {
			return errors.New("invalid audio, or no session")
		}
		t.at += audio.Samples(len(pcm) / 2).At(t.ear.Rate)
		return t.tell(t.ear.Hear(pcm))
	case "input_audio_buffer.commit":
		return t.commit()
	}
	return errors.New("unknown message " + m.Type)
}

func (t *transcriber) update(data []byte) error {
	var m sessionUpdate
	if err := sandbox.Strict(data, &m); err != nil {
		return err
	}
	in := m.Session.Audio.Input
	if m.Session.Type != "transcription" || in.Format.Type != "audio/pcm" || in.Format.Rate != t.ear.Rate || in.Transcription.Model == "" {
		return errors.New("invalid session")
	}
	if v := in.TurnDetection; v != nil && (v.Type != "server_vad" || v.Threshold <= 0 || v.Threshold > 1 || v.Silence <= 0) {
		return errors.New("invalid turn_detection")
	}
	t.model, t.vad = in.Transcription.Model, in.TurnDetection != nil
	if t.o.Seen != nil {
		var fields map[string]any
		_ = json.Unmarshal(data, &fields)
		t.o.Seen(fields)
	}
	return t.ws.Send(map[string]any{"type": "session.updated"}, false)
}

// commit ends the utterance that is on, if there is enough audio.
func (t *transcriber) commit() error {
	if t.at-t.since < 100*time.Millisecond {
		t.refuse("input_audio_buffer_commit_empty", "Error committing input audio buffer: buffer too small.")
		return nil
	}
	id := t.item
	if id == "" {
		id = metrics.NewID("item_")
	}
	t.item = ""
	said := t.loose
	t.loose = sandbox.Heard{}
	if h := t.ear.Finish(); len(h) > 0 {
		said = h[0]
	}
	return t.transcribe(id, said)
}

// tell sends what the ear noticed.
func (t *transcriber) tell(heard []sandbox.Heard) error {
	for _, h := range heard {
		if !t.vad { // an utterance is what is committed
			if h.Kind == sandbox.Ended {
				t.loose = h
			}
			continue
		}
		switch h.Kind {
		case sandbox.Began:
			t.item = metrics.NewID("item_")
			if err := t.ws.Send(map[string]any{"type": "input_audio_buffer.speech_started", "item_id": t.item, "audio_start_ms": h.Start.Milliseconds()}, false); err != nil {
				return err
			}
		case sandbox.Ended:
			id := t.item
			t.item = ""
			if err := t.ws.Send(map[string]any{"type": "input_audio_buffer.speech_stopped", "item_id": id, "audio_end_ms": h.End.Milliseconds()}, false); err != nil {
				return err
			}
			if err := t.transcribe(id, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// transcribe sends the text of an item.
func (t *transcriber) transcribe(id string, said sandbox.Heard) error {
	in := int64((t.at - t.since) / (100 * time.Millisecond))
	t.since = t.at
	if err := t.ws.Send(map[string]any{"type": "input_audio_buffer.committed", "item_id": id, "previous_item_id": nil}, false); err != nil {
		return err
	}
	_ = t.ws.Send(map[string]any{"type": "conversation.item.added", "item": map[string]any{"id": id, "type": "message"}}, false)
	text := said.Transcript()
	if len(said.Words) == 0 && t.vad {
		text = "Thank you for watching." // what models hear in silence
	}
	for i, w := range said.Words {
		delta := w.Text
		if i > 0 {
			delta = " " + delta
		}
		if err := t.ws.Send(map[string]any{"type": "conversation.item.input_audio_transcription.delta", "item_id": id, "content_index": 0, "delta": delta}, true); err != nil {
			return err
		}
	}
	done := map[string]any{"type": "conversation.item.input_audio_transcription.completed", "item_id": id, "content_index": 0, "transcript": text}
	if t.fault != fault.UsageMissing {
		out := int64(len(said.Words))
		done["usage"] = map[string]any{"type": "tokens", "input_tokens": in, "output_tokens": out, "total_tokens": in + out,
			"input_token_details": map[string]any{"audio_tokens": in, "text_tokens": 0}}
		if err := t.ws.Send(done, true); err != nil {
			return err
		}
		t.o.bill(t.c, t.model, 0, in, out)
	} else if err := t.ws.Send(done, true); err != nil {
		return err
	}
	var err error
	if t.fault == fault.DoubleFinal || t.fault == fault.UsageRepeated {
		err = t.ws.Send(done, true)
	}
	return err
}
