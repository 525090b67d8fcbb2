// Package asyncaibox is the sandbox of Async's protocol.
package asyncaibox

import (
	"encoding/json"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
)

// setup is the first message of a client.
type setup struct {
	Model string `json:"model_id"`
	Voice struct {
		Mode string `json:"mode"`
		ID   string `json:"id"`
	} `json:"voice"`
	Format struct {
		Container string `json:"container"`
		Encoding  string `json:"encoding"`
		Rate      int    `json:"sample_rate"`
	} `json:"output_format"`
	Language string `json:"language"`
}

// packet is what follows.
type packet struct {
	ContextID  string  `json:"context_id"`
	Transcript *string `json:"transcript"`
	Force      bool    `json:"force"`
	Close      bool    `json:"close_context"`
}

// TTS serves the websocket /text_to_speech/websocket/ws.
func TTS(s *sandbox.Server) {
	s.HandleSocket("/text_to_speech/websocket/ws", func(c *sandbox.Call, ws *sandbox.Socket) {
		(&connection{c: c, ws: ws, contexts: map[string]*talk{}, pending: map[string]bool{}}).serve()
	}, func(c *sandbox.Call) bool {
		q := c.R.URL.Query()
		switch {
		case q.Get("api_key") != c.Key:
			c.Refuse(401, "invalid api_key "+q.Get("api_key"))
		case q.Get("version") != "v1" || len(q) != 2:
			c.Refuse(400, "invalid query")
		default:
			return true
		}
		return false
	})
}

type connection struct {
	c     *sandbox.Call
	ws    *sandbox.Socket
	setup *setup
	// pending are the contexts that text was billed for. It belongs to the reader.
	pending map[string]bool

	mu       sync.Mutex
	contexts map[string]*talk
}

// talk is one context.
type talk struct {
	*sandbox.Speech
	closed bool
}

func (n *connection) serve() {
	var model string
	in := n.ws.Inbox(func(binary bool, data []byte) {
		if model == "" {
			var s setup
			_ = json.Unmarshal(data, &s)
			model = s.Model
			return
		}
		var p packet
		if !binary && sandbox.Strict(data, &p) == nil && p.wrong() == "" && *p.Transcript != "" {
			n.bill(model, &p)
		}
	})
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		if n.setup == nil {
			s := new(setup)
			if binary || sandbox.Strict(data, s) != nil || s.wrong() != "" {
				n.refuse("INVALID_INIT", s.wrong())
				continue
			}
			n.setup = s
			continue
		}
		var p packet
		if binary || sandbox.Strict(data, &p) != nil {
			n.refuse("INVALID_MESSAGE", "cannot be read")
			continue
		}
		if why := p.wrong(); why != "" {
			n.refuse("INVALID_MESSAGE", why)
			continue
		}
		n.take(&p)
	}
}

// bill counts the text that was meant: texts are joined by one space, and the last needs none.
func (n *connection) bill(model string, p *packet) {
	count := utf8.RuneCountInString(*p.Transcript) - 1
	if n.pending[p.ContextID] {
		count++
	}
	n.pending[p.ContextID] = true
	e := &metrics.TTS{CharactersCount: int64(count)}
	e.Metadata = metrics.Metadata{ModelName: model, ModelProvider: "asyncai"}
	n.c.Ledger.Bill(e)
}

func (n *connection) refuse(code, message string) {
	_ = n.ws.Send(map[string]any{"error_code": code, "message": message, "extra": nil}, false)
}

// wrong says what is not taken, or not made here.
func (s *setup) wrong() string {
	f := s.Format
	switch {
	case !strings.HasPrefix(s.Model, "async_"):
		return "unknown model"
	case s.Voice.Mode != "id" || s.Voice.ID == "":
		return "no voice"
	case f.Container != "raw" || f.Encoding != "pcm_s16le" || f.Rate < 8000 || f.Rate > 48000:
		return "invalid output_format"
	}
	return ""
}

func (p *packet) wrong() string {
	switch {
	case p.ContextID == "" || p.Transcript == nil:
		return "missing field"
	case p.Close && *p.Transcript != "":
		return "close_context with text"
	case !p.Close && *p.Transcript != strings.TrimSpace(*p.Transcript)+" ":
		return "text ends with a single space"
	}
	return ""
}

func (n *connection) take(p *packet) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.contexts[p.ContextID]
	if t == nil {
		if p.Close {
			return
		}
		t = &talk{Speech: n.speak(p.ContextID)}
		n.contexts[p.ContextID] = t
	}
	switch {
	case t.closed:
		n.refuse("CONTEXT_CLOSED", p.ContextID)
	case p.Close:
		t.closed = true
		t.End()
	default:
		t.Say(*p.Transcript)
	}
}

func (n *connection) speak(id string) *sandbox.Speech {
	return n.ws.Speak(sandbox.SpeechOptions{
		Rate: n.setup.Format.Rate,
		Word: func(_ string, pcm []byte, _, _ time.Duration) error {
			return n.ws.Send(map[string]any{"context_id": id, "audio": pcm, "final": false}, true)
		},
		Done: func() { _ = n.ws.Send(map[string]any{"context_id": id, "audio": "", "final": true}, false) },
		Over: func() {
			n.mu.Lock()
			delete(n.contexts, id)
			n.mu.Unlock()
		},
	})
}
