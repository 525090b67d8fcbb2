package cartesiabox

import (
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

const requestID = "58dfa4d4-0000-4000-8000-0000000000ca"

// STT serves the websockets /stt/turns/websocket and /stt/websocket.
func STT(s *sandbox.Server) {
	serve := func(path string, turns bool, query ...string) {
		s.HandleSocket(path, func(c *sandbox.Call, ws *sandbox.Socket) {
			q := c.R.URL.Query()
			rate, _ := strconv.Atoi(q.Get("sample_rate"))
			l := &listener{c: c, ws: ws, turns: turns, model: q.Get("model"), language: q.Get("language"), ear: sandbox.Ear{Rate: rate}}
			l.serve()
		}, func(c *sandbox.Call) bool { return acceptable(c, turns, query) })
	}
	serve("/stt/turns/websocket", true, "turn_start_threshold", "turn_eager_end_threshold", "turn_end_threshold", "turn_end_timeout_ms", "keyterm")
	serve("/stt/websocket", false, "language")
}

func acceptable(c *sandbox.Call, turns bool, query []string) bool {
	if !c.Authorized("X-Api-Key", "") {
		return false
	}
	q := c.R.URL.Query()
	for k := range q {
		if !slices.Contains(append(query, "model", "sample_rate", "encoding", "cartesia_version"), k) {
			c.Refuse(400, "unknown parameter "+k)
			return false
		}
	}
	rate, err := strconv.Atoi(q.Get("sample_rate"))
	switch {
	case q.Get("cartesia_version") == "" && c.R.Header.Get("Cartesia-Version") == "":
		c.Refuse(400, "missing Cartesia-Version")
	case turns != (q.Get("model") == "ink-2") || !turns && q.Get("model") != "ink-whisper":
		c.Refuse(400, "the model is not valid")
	case err != nil || rate < 8000 || q.Get("encoding") != "pcm_s16le":
		c.Refuse(400, "bad encoding or sample_rate")
	case strings.Contains(q.Get("language"), "-"):
		c.Refuse(400, "language has a region")
	case !ordered(q):
		c.Refuse(400, "turn thresholds are out of range or order")
	default:
		return true
	}
	return false
}

// ordered checks the thresholds of turns against their ranges and each other.
func ordered(q url.Values) bool {
	at := func(name string, def, low, high float64) float64 {
		if !q.Has(name) {
			return def
		}
		x, err := strconv.ParseFloat(q.Get(name), 64)
		if err != nil || x < low || x > high {
			return math.NaN()
		}
		return x
	}
	start, eager, end := at("turn_start_threshold", 0.8, 0.5, 0.9), at("turn_eager_end_threshold", 0.4, 0.3, 0.6), at("turn_end_threshold", 0.2, 0.05, 0.5)
	return start > eager && eager > end && !math.IsNaN(at("turn_end_timeout_ms", 5600, 640, 11200))
}

// listener is one stream of live audio.
type listener struct {
	c               *sandbox.Call
	ws              *sandbox.Socket
	turns           bool
	model, language string
	ear             sandbox.Ear
	fault           fault.Kind
	from            time.Duration // of the next transcript
}

func (l *listener) serve() {
	f, end := l.ws.Stream()
	defer end()
	l.fault = f
	in := l.ws.Inbox(func(binary bool, data []byte) {
		if binary {
			e := &metrics.STT{AudioDuration: audio.Samples(len(data) / 2).At(l.ear.Rate)}
			e.Metadata = metrics.Metadata{ModelName: l.model, ModelProvider: "cartesia"}
			l.c.Ledger.Bill(e)
		}
	})
	if l.turns {
		_ = l.send("connected", nil, false)
	}
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		if binary {
			err = l.tell(l.ear.Hear(data))
		} else {
			err = l.obey(string(data))
		}
		if err != nil {
			l.ws.Hang()
			return
		}
	}
}

// obey does what a text message says; the services have different ones.
func (l *listener) obey(text string) error {
	switch {
	case l.turns && text == `{"type":"close"}`:
		if err := l.tell(l.ear.Finish()); err != nil {
			return err
		}
	case !l.turns && text == "finalize":
		if err := l.tell(l.ear.Finish()); err != nil {
			return err
		}
		return l.send("flush_done", nil, false)
	case !l.turns && text == "close":
		if err := l.tell(l.ear.Finish()); err != nil {
			return err
		}
		_ = l.send("done", nil, false)
	default:
		_ = l.send("error", map[string]any{"status_code": 400, "code": 400, "title": "Invalid message", "message": "the message is not valid"}, false)
	}
	l.ws.Close(1000, "")
	return sandbox.ErrOver
}

func (l *listener) send(kind string, fields map[string]any, content bool) error {
	m := map[string]any{"type": kind, "request_id": requestID, "new_field": 1}
	for k, v := range fields {
		m[k] = v
	}
	return l.ws.Send(m, content)
}

// tell sends what the ear noticed.
func (l *listener) tell(heard []sandbox.Heard) error {
	for _, h := range heard {
		err := l.transcript(h)
		if l.turns {
			err = l.turn(h)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// turn sends the events of ink-2. A turn seems to be over once before it is.
func (l *listener) turn(h sandbox.Heard) error {
	text := map[string]any{"transcript": " " + h.Transcript()}
	switch h.Kind {
	case sandbox.Began:
		return l.send("turn.start", nil, false)
	case sandbox.More:
		return l.send("turn.update", text, true)
	}
	for _, k := range []string{"turn.eager_end", "turn.resume", "turn.update", "turn.eager_end", "turn.end"} {
		fields := text
		if k == "turn.resume" {
			fields = nil
		}
		if err := l.send(k, fields, k == "turn.end"); err != nil {
			return err
		}
	}
	if l.fault == fault.DoubleFinal {
		return l.send("turn.end", text, false)
	}
	return nil
}

// transcript sends the events of ink-whisper.
func (l *listener) transcript(h sandbox.Heard) error {
	if h.Kind == sandbox.Began {
		return nil
	}
	words := []map[string]any{}
	for _, w := range h.Words {
		words = append(words, map[string]any{"word": w.Text, "start": w.Start.Seconds(), "end": w.End.Seconds()})
	}
	final := h.Kind == sandbox.Ended
	to := max(l.ear.At(), h.End)
	m := map[string]any{"is_final": final, "text": h.Transcript() + " ", "duration": (to - l.from).Seconds(), "words": words}
	if l.language != "" {
		m["language"] = l.language
	}
	if final {
		l.from = to
	}
	err := l.send("transcript", m, true)
	if final && l.fault == fault.DoubleFinal && err == nil {
		err = l.send("transcript", m, false)
	}
	return err
}
