// Package murfbox is the sandbox of Murf's protocol.
package murfbox

import (
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
)

// packet is what clients send.
type packet struct {
	ContextID string `json:"context_id"`
	Text      string `json:"text"`
	End       bool   `json:"end"`
	Clear     bool   `json:"clear"`
	Voice     *voice `json:"voice_config"`
	MinBuffer *int   `json:"min_buffer_size"`
	MaxDelay  *int   `json:"max_buffer_delay_in_ms"`
}

type voice struct {
	ID     string `json:"voice_id"`
	Style  string `json:"style"`
	Rate   int    `json:"rate"`
	Pitch  int    `json:"pitch"`
	Locale string `json:"locale"`
}

// TTS serves the websocket /v1/speech/stream-input.
func TTS(s *sandbox.Server) {
	s.HandleSocket("/v1/speech/stream-input", func(c *sandbox.Call, ws *sandbox.Socket) {
		n := &connection{c: c, ws: ws, model: c.R.URL.Query().Get("model"), contexts: map[string]*sandbox.Speech{}}
		n.rate, _ = strconv.Atoi(c.R.URL.Query().Get("sample_rate"))
		n.serve()
	}, func(c *sandbox.Call) bool {
		q := c.R.URL.Query()
		switch {
		case !c.Authorized("Api-Key", ""):
		case !slices.Contains([]string{"FALCON", "GEN2"}, q.Get("model")):
			c.Refuse(400, "unknown model")
		case !slices.Contains([]string{"8000", "24000", "44100", "48000"}, q.Get("sample_rate")):
			c.Refuse(400, "invalid sample_rate")
		case q.Get("format") != "PCM" || q.Get("channel_type") != "MONO" || len(q) != 4:
			c.Refuse(400, "a format that this sandbox does not make")
		default:
			return true
		}
		return false
	})
}

type connection struct {
	c     *sandbox.Call
	ws    *sandbox.Socket
	rate  int
	model string

	mu       sync.Mutex
	contexts map[string]*sandbox.Speech
}

func (n *connection) serve() {
	in := n.ws.Inbox(func(binary bool, data []byte) {
		var p packet
		if binary || sandbox.Strict(data, &p) != nil || p.Text == "" {
			return
		}
		e := &metrics.TTS{CharactersCount: int64(utf8.RuneCountInString(p.Text))}
		e.Metadata = metrics.Metadata{ModelName: n.model, ModelProvider: "murf"}
		n.c.Ledger.Bill(e)
	})
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		var p packet
		if binary || sandbox.Strict(data, &p) != nil {
			n.refuse("", "invalid message")
			continue
		}
		n.take(&p)
	}
}

func (n *connection) refuse(id, message string) {
	_ = n.ws.Send(map[string]any{"context_id": id, "error": map[string]any{"message": message}, "status_code": 400}, false)
}

// wrong says what the provider does not take.
func (p *packet) wrong() string {
	v := p.Voice
	switch {
	case p.ContextID == "":
		return "no context_id"
	case p.Clear:
		return ""
	case p.Text == "" && !p.End:
		return "no text"
	case v == nil || v.ID == "":
		return "no voice"
	case v.Rate < -50 || v.Rate > 50 || v.Pitch < -50 || v.Pitch > 50:
		return "rate and pitch are -50 to 50"
	}
	return ""
}

func (n *connection) take(p *packet) {
	if why := p.wrong(); why != "" {
		n.refuse(p.ContextID, why)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	sp := n.contexts[p.ContextID]
	if p.Clear {
		if sp != nil {
			delete(n.contexts, p.ContextID)
			sp.Cancel()
		}
		return
	}
	if sp == nil {
		sp = n.speak(p.ContextID)
		n.contexts[p.ContextID] = sp
	}
	if p.Text != "" {
		sp.Say(p.Text)
	}
	if p.End {
		sp.End()
	}
}

func (n *connection) speak(id string) *sandbox.Speech {
	return n.ws.Speak(sandbox.SpeechOptions{
		Rate: n.rate,
		Word: func(_ string, pcm []byte, _, _ time.Duration) error {
			return n.ws.Send(map[string]any{"context_id": id, "audio": pcm}, true)
		},
		Done: func() { _ = n.ws.Send(map[string]any{"context_id": id, "final": true}, false) },
		Over: func() {
			n.mu.Lock()
			delete(n.contexts, id)
			n.mu.Unlock()
		},
	})
}
