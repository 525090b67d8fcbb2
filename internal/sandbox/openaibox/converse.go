package openaibox

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
)

// ConverseOptions are the options of Converse.
type ConverseOptions struct {
	sandbox.Talk
	Provider string // in the ledger; default "openai"
	Form     Form
	// Header and Prefix are where the key is; default "Authorization" and "Bearer ".
	Header, Prefix string
	// MaxAge is when a session expires; 0 never.
	MaxAge time.Duration
	// Pace makes audio come no faster than so many times real time; 0 at once.
	Pace float64
	// Seen, if set, gets every message of the client.
	Seen func(fields map[string]any)
	// Cut, if set, is told of each answer that was cut to what was heard.
	Cut func(item string, heard time.Duration)
}

// Form is a form of the protocol.
type Form int

// The forms.
const (
	Present Form = iota
	Older        // of Azure
	XAI          // is billed by time, and says what it is told
)

const converseRate = 24000

// Converse serves the websocket {prefix}/realtime for conversations. Provider, Header and Prefix must say
// what they are of other services.
func Converse(s *sandbox.Server, prefix string, o ConverseOptions) {
	o.Talk = o.Talk.Defaults()
	if o.Provider == "" {
		o.Provider = "openai"
	}
	if o.Header == "" {
		o.Header, o.Prefix = "Authorization", "Bearer "
	}
	key := "model"
	if o.Form == Older {
		key = "deployment"
	}
	s.HandleSocket(prefix+"/realtime", func(c *sandbox.Call, ws *sandbox.Socket) {
		(&converser{o: o, c: c, ws: ws, model: c.R.URL.Query().Get(key), calls: map[string]bool{}}).serve()
	}, func(c *sandbox.Call) bool {
		if q := c.R.URL.Query(); q.Get(key) == "" || q.Has("api-version") != (o.Form == Older) {
			c.Refuse(400, "invalid query")
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

	mu      sandbox.Mutex
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
	again   bool                      // an answer begins when the active one, which is cancelled, is over
	cached  metrics.InputTokenDetails // what the last answer read
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
	if t.o.Form == XAI {
		defer func() {
			e := &metrics.Realtime{SessionDuration: time.Since(began)}
			e.Metadata = t.metadata(t.model)
			t.c.Ledger.Bill(e)
		}()
	}
	t.listenAnew()
	in := t.ws.Inbox(func(bool, []byte) {})
	_ = t.send(map[string]any{"type": "session.created", "session": map[string]any{"type": "realtime", "model": t.model}}, false)
	if t.o.MaxAge > 0 {
		defer time.AfterFunc(t.o.MaxAge, t.expire).Stop()
	}
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

// expire ends a session that is too old.
func (t *converser) expire() {
	_ = t.send(map[string]any{"type": "error", "error": map[string]any{"type": "invalid_request_error", "code": "session_expired",
		"message": "Your session hit the maximum duration."}}, false)
	t.ws.Close(websocket.CloseGoingAway, "")
}

func (t *converser) send(m map[string]any, content bool) error {
	m["event_id"] = metrics.NewID("event_")
	if t.o.Form == Older {
		kind, _ := m["type"].(string)
		m["type"] = olderNames.Replace(kind)
	}
	return t.ws.Send(m, content)
}

var olderNames = strings.NewReplacer("item.added", "item.created", "response.output_audio", "response.audio", "response.output_text", "response.text")

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
		if t.active == nil || t.active.over {
			return refuse("response_cancel_not_active", "Cancellation failed: no active response found")
		}
		t.stop()
		return nil
	}
	return refuse("unknown_event", "unknown message %q", kind)
}
