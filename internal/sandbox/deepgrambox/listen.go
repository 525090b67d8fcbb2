package deepgrambox

import (
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

var listenQuery = []string{
	"model", "language", "detect_language", "interim_results", "punctuate", "smart_format", "encoding", "sample_rate", "channels",
	"no_delay", "endpointing", "filler_words", "vad_events", "profanity_filter", "numerals", "mip_opt_out", "diarize",
	"keywords", "keyterm", "utterance_end_ms", "dictation", "replace", "search", "redact", "tag",
}

// idle is how long a client may send nothing.
const idle = 10 * time.Second

// Listen serves /v1/listen: the websocket for live audio, and POST for recordings.
func Listen(s *sandbox.Server) {
	s.Errors(refusal)
	s.HandleSocket("/v1/listen", func(c *sandbox.Call, ws *sandbox.Socket) {
		r, _ := rate(c.R.URL.Query())
		l := &listener{c: c, ws: ws, ear: sandbox.Ear{Rate: r, Understand: s.Understand}, model: c.R.URL.Query().Get("model")}
		l.diarize = c.R.URL.Query().Get("diarize") == "true"
		l.interim = c.R.URL.Query().Get("interim_results") == "true"
		l.serve()
	}, func(c *sandbox.Call) bool {
		q := c.R.URL.Query()
		if !acceptable(c) {
			return false
		}
		if _, err := rate(q); err != nil || q.Get("channels") != "1" || q.Has("detect_language") {
			c.Refuse(400, "bad format of live audio")
			return false
		}
		return true
	})
	s.Handle("POST /v1/listen", record)
}

// acceptable checks what live audio and recordings have in common.
func acceptable(c *sandbox.Call) bool {
	if !c.Authorized("Authorization", "Token ") || !known(c, listenQuery...) ||
		!booleans(c, "interim_results", "punctuate", "smart_format", "no_delay", "filler_words", "vad_events", "profanity_filter",
			"numerals", "mip_opt_out", "diarize", "dictation", "detect_language") {
		return false
	}
	q := c.R.URL.Query()
	nova3 := strings.HasPrefix(q.Get("model"), "nova-3")
	switch {
	case q.Get("model") == "":
		c.Refuse(400, "no model")
	case q.Has("keyterm") && !nova3:
		c.Refuse(400, "keyterm is for nova-3")
	case q.Has("keywords") && nova3:
		c.Refuse(400, "keywords are not for nova-3")
	case q.Has("utterance_end_ms") && q.Get("interim_results") != "true":
		c.Refuse(400, "utterance_end_ms needs interim_results")
	default:
		return true
	}
	return false
}

// listener is one stream of live audio.
type listener struct {
	c                *sandbox.Call
	ws               *sandbox.Socket
	ear              sandbox.Ear
	model            string
	diarize, interim bool
	fault            fault.Kind
	from             time.Duration // of the next results
}

func (l *listener) serve() {
	f, end := l.ws.Stream()
	defer end()
	l.fault = f
	in := l.ws.Inbox(func(binary bool, data []byte) {
		if binary {
			bill(l.c, l.model, audio.Samples(len(data)/2).At(l.ear.Rate))
		}
	})
	for {
		binary, data, err := in.Next(idle)
		if errors.Is(err, sandbox.ErrIdle) {
			l.ws.Close(1011, "NET-0001: no audio and no KeepAlive within 10 seconds")
		}
		if err != nil {
			return
		}
		if binary {
			err = l.tell(l.ear.Hear(data), false)
		} else {
			err = l.obey(data)
		}
		if err != nil {
			l.ws.Hang()
			return
		}
	}
}

func bill(c *sandbox.Call, name string, d time.Duration) {
	e := &metrics.STT{AudioDuration: d}
	e.Metadata = metrics.Metadata{ModelName: name, ModelProvider: "deepgram"}
	c.Ledger.Bill(e)
}

// obey does what a text message says.
func (l *listener) obey(data []byte) error {
	var m struct {
		Type string `json:"type"`
	}
	if sandbox.Strict(data, &m) != nil {
		l.ws.Close(1008, "DATA-0000: message cannot be read")
		return sandbox.ErrOver
	}
	switch m.Type {
	case "KeepAlive":
		return nil
	case "Finalize":
		h := l.ear.Finish()
		if len(h) == 0 {
			return l.results(sandbox.Heard{}, true, true)
		}
		return l.tell(h, true)
	case "CloseStream":
		if err := l.tell(l.ear.Finish(), false); err != nil {
			return err
		}
		_ = l.results(sandbox.Heard{}, true, false)
		l.bye()
	default:
		l.ws.Close(1008, "DATA-0000: unknown message")
	}
	return sandbox.ErrOver
}

func (l *listener) bye() {
	m := map[string]any{
		"type": "Metadata", "transaction_key": "deprecated", "request_id": requestID, "channels": 1,
		"duration": l.ear.Taken().Seconds(), "created": "2026-01-01T00:00:00Z",
	}
	if l.fault == fault.UsageMissing {
		delete(m, "duration")
	}
	_ = l.ws.Send(m, false)
	if l.fault == fault.UsageRepeated {
		_ = l.ws.Send(m, false)
	}
	l.ws.Close(1000, "")
}

// tell sends what the ear noticed.
func (l *listener) tell(heard []sandbox.Heard, finalized bool) error {
	for _, h := range heard {
		var err error
		switch h.Kind {
		case sandbox.Began:
			err = l.ws.Send(map[string]any{"type": "SpeechStarted", "channel": []int{0}, "timestamp": h.Start.Seconds()}, false)
		case sandbox.More:
			if l.interim {
				err = l.results(h, false, false)
			}
		case sandbox.Ended:
			err = l.results(h, true, finalized)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// results sends a message of results. Without words they are about silence.
func (l *listener) results(h sandbox.Heard, final, finalized bool) error {
	to := max(l.ear.At(), h.End)
	words := []map[string]any{}
	for _, w := range h.Words {
		m := map[string]any{"word": w.Text, "punctuated_word": w.Text, "start": round(w.Start), "end": round(w.End), "confidence": 0.98}
		if l.diarize {
			m["speaker"] = 1
		}
		words = append(words, m)
	}
	m := map[string]any{
		"type": "Results", "channel_index": []int{0, 1}, "start": l.from.Seconds(), "duration": (to - l.from).Seconds(),
		"is_final": final, "speech_final": final && len(words) > 0, "from_finalize": finalized,
		"channel": map[string]any{"alternatives": []any{map[string]any{
			"transcript": h.Transcript(), "confidence": 0.98, "words": words,
		}}},
		"metadata": map[string]any{"request_id": requestID, "model_info": map[string]any{"name": l.model}, "unknown": true},
	}
	if final {
		l.from = to
	}
	err := l.ws.Send(m, len(words) > 0)
	if final && l.fault == fault.DoubleFinal && err == nil {
		err = l.ws.Send(m, false)
	}
	return err
}

// round is d in seconds, with the places that Deepgram gives.
func round(d time.Duration) float64 { return math.Round(d.Seconds()*1e4) / 1e4 }

// record transcribes a recording.
func record(c *sandbox.Call) {
	q := c.R.URL.Query()
	switch {
	case !acceptable(c):
		return
	case q.Has("interim_results") || q.Has("vad_events") || q.Has("endpointing") || q.Has("no_delay"):
		c.Refuse(400, "parameter is for live audio")
		return
	case q.Has("detect_language") && q.Has("language"):
		c.Refuse(400, "language and detect_language")
		return
	case c.R.Header.Get("Content-Type") != "audio/wav":
		c.Refuse(http.StatusUnsupportedMediaType, "content type is "+c.R.Header.Get("Content-Type"))
		return
	}
	f, err := audio.ReadWAV(io.LimitReader(c.R.Body, 32<<20))
	if err != nil {
		c.Refuse(400, "corrupt or unsupported data")
		return
	}
	ear := sandbox.Ear{Rate: f.Rate}
	var said sandbox.Heard
	for _, h := range append(ear.Hear(pcm(f)), ear.Finish()...) {
		if h.Kind == sandbox.Ended {
			said = h
		}
	}
	answer(c, f, said)
}
