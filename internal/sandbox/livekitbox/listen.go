package livekitbox

import (
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// STTOptions say how the gateway behaves.
type STTOptions struct {
	// Trailing is how long finals take after the gateway has said that all is final.
	Trailing time.Duration
	// Silent leaves out the words that all is final, and that the session is closed, as for some providers.
	Silent bool
	// Idle has empty interims sent after the end, every 100 ms, as for one provider.
	Idle bool
	// OnCreate is told what a session is made with.
	OnCreate func(CreateSTT)
}

// CreateSTT is the first message of a session.
type CreateSTT struct {
	Type     string `json:"type"`
	Model    string `json:"model"`
	Settings struct {
		Rate     string         `json:"sample_rate"`
		Encoding string         `json:"encoding"`
		Language string         `json:"language"`
		Extra    map[string]any `json:"extra"`
	} `json:"settings"`
	Fallback   *standby  `json:"fallback"`
	Connection *upstream `json:"connection"`
}

// input is any other message.
type input struct {
	Type  string `json:"type"`
	Audio []byte `json:"audio"`
}

// STT serves the websocket /v1/stt.
func (g *Gateway) STT(o STTOptions) {
	g.s.HandleSocket("/v1/stt", func(c *sandbox.Call, ws *sandbox.Socket) {
		(&listener{c: c, ws: ws, o: o, ear: sandbox.Ear{Rate: 16000}}).serve()
	}, g.dialled)
}

// listener is one session.
type listener struct {
	c       *sandbox.Call
	ws      *sandbox.Socket
	o       STTOptions
	ear     sandbox.Ear
	fault   fault.Kind
	created bool
	model   string
	id      string
}

func (l *listener) serve() {
	f, end := l.ws.Stream()
	defer end()
	l.fault, l.id = f, l.c.R.Header.Get("X-LiveKit-Session-ID")
	l.model = l.c.R.URL.Query().Get("model")
	in := l.ws.Inbox(func(_ bool, data []byte) {
		var m input
		if sandbox.Strict(data, &m) != nil || len(m.Audio) == 0 {
			return
		}
		e := &metrics.STT{AudioDuration: audio.Samples(len(m.Audio) / 2).At(16000)}
		e.Metadata = metrics.Metadata{ModelName: l.model, ModelProvider: "livekit"}
		l.c.Ledger.Bill(e)
	})
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		switch {
		case binary:
			err = l.refuse(400, "binary message")
		case !l.created:
			err = l.create(data)
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
	_ = l.ws.Send(problem(code, message), false)
	l.ws.Close(1000, "")
	return sandbox.ErrOver
}

func (l *listener) create(data []byte) error {
	var m CreateSTT
	if sandbox.Strict(data, &m) != nil || m.Type != "session.create" {
		return l.refuse(400, "want session.create")
	}
	s := m.Settings
	if s.Rate != "16000" || s.Encoding != "pcm_s16le" || s.Extra == nil {
		return l.refuse(400, "bad settings")
	}
	name := m.Model
	if name == "" && l.model == "auto" {
		name = "the gateway's/choice"
	} else if name != l.model {
		return l.refuse(400, "another model than in the query")
	}
	if why := names(name, m.Fallback, m.Connection, false); why != "" {
		return l.refuse(404, why)
	}
	if l.o.OnCreate != nil {
		l.o.OnCreate(m)
	}
	l.created = true
	return l.note("session.created")
}

// note sends a message that is no content.
func (l *listener) note(kind string) error {
	return l.ws.Send(map[string]any{"type": kind, "session_id": l.id}, false)
}

func (l *listener) obey(data []byte) error {
	var m input
	if sandbox.Strict(data, &m) != nil {
		return l.refuse(400, "message cannot be read")
	}
	switch {
	case m.Type == "input_audio" && len(m.Audio) > 0 && len(m.Audio) <= 1600:
		return l.tell(l.ear.Hear(m.Audio))
	case m.Type == "session.finalize":
		return l.finalize()
	case m.Type == "session.close":
		if !l.o.Silent {
			_ = l.note("session.closed")
			l.ws.Close(1000, "")
			return sandbox.ErrOver
		}
		return nil
	}
	return l.refuse(400, "bad "+m.Type)
}

// finalize says that all is final before the last finals are sent, as the gateway does.
func (l *listener) finalize() error {
	if !l.o.Silent {
		if err := l.note("session.finalized"); err != nil {
			return err
		}
	}
	if l.o.Trailing > 0 && !l.c.Pace(l.o.Trailing) {
		return sandbox.ErrOver
	}
	if err := l.tell(l.ear.Finish()); err != nil {
		return err
	}
	for i := 0; l.o.Idle && i < 30 && l.c.Pace(100*time.Millisecond); i++ {
		if err := l.ws.Send(map[string]any{"type": "interim_transcript", "transcript": "", "start": 1.5, "duration": 0.1}, false); err != nil {
			return err
		}
	}
	return nil
}

func (l *listener) tell(heard []sandbox.Heard) error {
	for _, h := range heard {
		switch h.Kind {
		case sandbox.Began:
			if err := l.note("start_of_speech"); err != nil {
				return err
			}
		case sandbox.More:
			if err := l.transcript("interim_transcript", h); err != nil {
				return err
			}
		case sandbox.Ended:
			if err := l.transcript("preflight_transcript", h); err != nil {
				return err
			}
			if err := l.transcript("final_transcript", h); err != nil {
				return err
			}
			if l.fault == fault.DoubleFinal {
				_ = l.transcript("final_transcript", h)
			}
		}
	}
	return nil
}

func (l *listener) transcript(kind string, h sandbox.Heard) error {
	words := []any{}
	for _, w := range h.Words {
		words = append(words, map[string]any{
			"word": w.Text, "start": w.Start.Seconds(), "end": w.End.Seconds(), "confidence": 0.9, "speaker_id": "S1",
		})
	}
	return l.ws.Send(map[string]any{
		"type": kind, "session_id": l.id, "request_id": "req_" + l.id, "transcript": h.Transcript(), "language": "en",
		"start": h.Start.Seconds(), "duration": (h.End - h.Start).Seconds(), "confidence": 0.95, "speaker_id": "S1",
		"words": words, "extra": map[string]any{"channel": 0},
	}, true)
}
