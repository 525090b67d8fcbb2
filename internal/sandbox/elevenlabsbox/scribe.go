package elevenlabsbox

import (
	"errors"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// idle is how long a client may send nothing.
const idle = 15 * time.Second

// STT serves the websocket /v1/speech-to-text/realtime for live audio, and POST /v1/speech-to-text for
// recordings.
func STT(s *sandbox.Server) {
	s.Errors(refusal)
	s.HandleSocket("/v1/speech-to-text/realtime", func(c *sandbox.Call, ws *sandbox.Socket) {
		q := c.R.URL.Query()
		l := &listener{
			c: c, ws: ws, model: q.Get("model_id"), vad: q.Get("commit_strategy") == "vad", language: q.Get("language_code"),
			words: q.Get("include_timestamps") == "true", detect: q.Get("include_language_detection") == "true",
		}
		l.ear.Rate = pcmRate(q.Get("audio_format"), 16000)
		l.serve()
	}, audible)
	s.Handle("POST /v1/speech-to-text", record)
}

func audible(c *sandbox.Call) bool {
	q := c.R.URL.Query()
	if !authorized(c) || !known(c, q,
		[]string{"include_timestamps", "include_language_detection", "enable_logging", "no_verbatim"},
		[]string{"model_id", "audio_format", "language_code", "commit_strategy", "keyterms", "vad_silence_threshold_secs", "vad_threshold",
			"min_speech_duration_ms", "min_silence_duration_ms"}) {
		return false
	}
	vad := q.Get("commit_strategy") == "vad"
	switch {
	case q.Get("model_id") != "scribe_v2_realtime":
		c.Refuse(422, "model_id "+q.Get("model_id"))
	case pcmRate(q.Get("audio_format"), 16000) == 0:
		c.Refuse(422, "audio_format "+q.Get("audio_format"))
	case !vad && q.Get("commit_strategy") != "manual":
		c.Refuse(422, "commit_strategy "+q.Get("commit_strategy"))
	case strings.Contains(q.Get("language_code"), "-"):
		c.Refuse(422, "language_code has a region")
	case len(q["keyterms"]) > 50:
		c.Refuse(422, "too many keyterms")
	case !within(q, "vad_silence_threshold_secs", vad, 0.3, 3) || !within(q, "vad_threshold", vad, 0.1, 0.9) ||
		!within(q, "min_speech_duration_ms", vad, 50, 2000) || !within(q, "min_silence_duration_ms", vad, 50, 2000):
		c.Refuse(422, "parameter is out of range, or not for this commit_strategy")
	default:
		return true
	}
	return false
}

func within(q url.Values, name string, allowed bool, low, high float64) bool {
	x, err := strconv.ParseFloat(q.Get(name), 64)
	return !q.Has(name) || allowed && err == nil && x >= low && x <= high
}

// listener is one stream of live audio.
type listener struct {
	c             *sandbox.Call
	ws            *sandbox.Socket
	ear           sandbox.Ear
	model         string
	language      string
	vad           bool
	words, detect bool
	fault         fault.Kind
	begun         bool                // the first message came
	pending       []sandbox.HeardWord // of utterances that wait for a commit
}

// audioChunk is what clients send.
type audioChunk struct {
	Type     string  `json:"message_type"`
	Audio    *[]byte `json:"audio_base_64"`
	Commit   *bool   `json:"commit"`
	Rate     int     `json:"sample_rate"`
	Previous string  `json:"previous_text"`
}

func (l *listener) serve() {
	f, end := l.ws.Stream()
	defer end()
	l.fault = f
	in := l.ws.Inbox(func(_ bool, data []byte) {
		var m audioChunk
		if sandbox.Strict(data, &m) == nil && m.Audio != nil {
			bill(l.c, l.model, audio.Samples(len(*m.Audio)/2).At(l.ear.Rate))
		}
	})
	_ = l.ws.Send(map[string]any{"message_type": "session_started", "session_id": "session-1", "config": map[string]any{"sample_rate": 16000}}, false)
	for {
		binary, data, err := in.Next(idle)
		if errors.Is(err, sandbox.ErrIdle) {
			l.ws.Close(1000, "")
		}
		if err != nil {
			return
		}
		if err := l.take(binary, data); err != nil {
			l.ws.Hang()
			return
		}
	}
}

func bill(c *sandbox.Call, name string, d time.Duration) {
	e := &metrics.STT{AudioDuration: d}
	e.Metadata = metrics.Metadata{ModelName: name, ModelProvider: "elevenlabs"}
	c.Ledger.Bill(e)
}

func (l *listener) take(binary bool, data []byte) error {
	var m audioChunk
	if binary || sandbox.Strict(data, &m) != nil || m.Type != "input_audio_chunk" || m.Audio == nil || m.Commit == nil ||
		m.Rate != l.ear.Rate || m.Previous != "" && l.begun {
		_ = l.ws.Send(map[string]any{"message_type": "input_error", "error": "the message is not valid"}, false)
		l.ws.Close(1008, "")
		return sandbox.ErrOver
	}
	l.begun = true
	if err := l.tell(l.ear.Hear(*m.Audio)); err != nil {
		return err
	}
	if !*m.Commit {
		return nil
	}
	for _, h := range l.ear.Finish() {
		l.pending = append(l.pending, h.Words...)
	}
	return l.commit()
}

// tell sends what the ear noticed.
func (l *listener) tell(heard []sandbox.Heard) error {
	for _, h := range heard {
		var err error
		switch h.Kind {
		case sandbox.More:
			err = l.ws.Send(map[string]any{"message_type": "partial_transcript", "text": h.Transcript()}, true)
		case sandbox.Ended:
			l.pending = append(l.pending, h.Words...)
			if l.vad {
				err = l.commit()
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// commit sends what was heard since the last one, once or twice.
func (l *listener) commit() error {
	h := sandbox.Heard{Words: l.pending}
	l.pending = nil
	plain := map[string]any{"message_type": "committed_transcript", "text": h.Transcript()}
	timed := map[string]any{"message_type": "committed_transcript_with_timestamps", "text": h.Transcript(), "language_code": nil, "words": tokens(h, "")}
	if l.language != "" || l.detect {
		timed["language_code"] = l.language
		if l.detect {
			timed["language_code"] = "en"
		}
	}
	times := 1
	if l.fault == fault.DoubleFinal {
		times = 2
	}
	for range times {
		if err := l.ws.Send(plain, h.Transcript() != ""); err != nil {
			return err
		}
		if l.words && h.Transcript() != "" {
			if err := l.ws.Send(timed, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// tokens are the words and what is between them.
func tokens(h sandbox.Heard, speaker string) []map[string]any {
	list := []map[string]any{}
	for i, w := range h.Words {
		if i > 0 {
			list = append(list, map[string]any{"text": " ", "type": "spacing", "start": round(w.Start), "end": round(w.Start), "logprob": 0})
		}
		t := map[string]any{"text": w.Text, "type": "word", "start": round(w.Start), "end": round(w.End), "logprob": -0.05}
		if speaker != "" {
			t["speaker_id"] = speaker
		}
		list = append(list, t)
	}
	return list
}

// round is d in seconds, with the places that ElevenLabs gives.
func round(d time.Duration) float64 { return math.Round(d.Seconds()*1e3) / 1e3 }
