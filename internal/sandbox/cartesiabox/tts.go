// Package cartesiabox is the sandbox of Cartesia's protocol.
package cartesiabox

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// packet is what clients send.
type packet struct {
	Model      string          `json:"model_id"`
	Voice      json.RawMessage `json:"voice"`
	Format     *format         `json:"output_format"`
	Language   string          `json:"language"`
	Dict       string          `json:"pronunciation_dict_id"`
	Generation json.RawMessage `json:"generation_config"`
	Transcript *string         `json:"transcript"`
	ContextID  string          `json:"context_id"`
	Continue   bool            `json:"continue"`
	Timestamps bool            `json:"add_timestamps"`
	Delay      *int            `json:"max_buffer_delay_ms"`
	Cancel     bool            `json:"cancel"`
}

type format struct {
	Container string `json:"container"`
	Encoding  string `json:"encoding"`
	Rate      int    `json:"sample_rate"`
}

// TTSOptions are what a test may choose.
type TTSOptions struct {
	// Expire is how long a context that is not complete lives after its last audio: default 1 s.
	Expire time.Duration
}

// TTS serves the websocket /tts/websocket.
func TTS(s *sandbox.Server, o TTSOptions) {
	if o.Expire == 0 {
		o.Expire = time.Second
	}
	s.HandleSocket("/tts/websocket", func(c *sandbox.Call, ws *sandbox.Socket) {
		(&connection{c: c, ws: ws, o: o, contexts: map[string]*speech{}, gone: map[string]bool{}}).serve()
	}, func(c *sandbox.Call) bool {
		if c.R.URL.Query().Get("cartesia_version") == "" && c.R.Header.Get("Cartesia-Version") == "" {
			c.Refuse(400, "missing Cartesia-Version")
			return false
		}
		return c.Authorized("X-Api-Key", "")
	})
}

type connection struct {
	c  *sandbox.Call
	ws *sandbox.Socket
	o  TTSOptions

	mu       sync.Mutex
	contexts map[string]*speech
	gone     map[string]bool // contexts that ended
	wg       sync.WaitGroup
}

// speech is one context.
type speech struct {
	id        string
	first     packet // all packets are like it
	rate      int
	words     bool
	text      chan string // size 1024: no test has more pieces
	cancelled chan struct{}
	complete  bool // its text
	fault     fault.Kind
	end       func()
}

func (n *connection) serve() {
	defer n.wg.Wait()
	for {
		binary, data, err := n.ws.Read()
		if err != nil {
			return
		}
		var p packet
		if binary || sandbox.Strict(data, &p) != nil {
			n.refuse("", 400, "invalid message")
			continue
		}
		n.take(&p)
	}
}

func (n *connection) refuse(id string, status int, message string) {
	_ = n.ws.Send(map[string]any{"type": "error", "context_id": id, "status_code": status, "error": message, "done": true}, false)
}

func (n *connection) take(p *packet) {
	n.mu.Lock()
	defer n.mu.Unlock()
	sp := n.contexts[p.ContextID]
	if p.Cancel {
		if sp != nil {
			close(sp.cancelled)
			delete(n.contexts, p.ContextID)
		}
		return
	}
	switch {
	case p.ContextID == "" || p.Model == "" || p.Transcript == nil || len(p.Voice) == 0:
		n.refuse(p.ContextID, 400, "missing field")
		return
	case p.Format == nil || p.Format.Container != "raw" || p.Format.Encoding != "pcm_s16le" || p.Format.Rate < 8000:
		n.refuse(p.ContextID, 400, "invalid output_format")
		return
	}
	if n.gone[p.ContextID] || sp != nil && sp.complete {
		n.refuse(p.ContextID, 400, "context has ended")
		return
	}
	if strings.Contains(p.Language, "-") || p.Delay != nil && (*p.Delay < 0 || *p.Delay > 5000) {
		n.refuse(p.ContextID, 400, "invalid language or max_buffer_delay_ms")
		return
	}
	same := *p
	same.Transcript, same.Continue = nil, false
	if sp != nil && !reflect.DeepEqual(sp.first, same) {
		n.refuse(p.ContextID, 400, "packets of a context differ")
		return
	}
	if sp == nil {
		if *p.Transcript == "" {
			n.refuse(p.ContextID, 400, "a context begins with text")
			return
		}
		sp = &speech{id: p.ContextID, first: same, rate: p.Format.Rate, words: p.Timestamps,
			text: make(chan string, 1024), cancelled: make(chan struct{})}
		sp.fault, sp.end = n.ws.Stream()
		n.contexts[p.ContextID] = sp
		n.wg.Go(func() { n.speak(sp) })
	}
	if t := *p.Transcript; t != "" {
		e := &metrics.TTS{CharactersCount: int64(utf8.RuneCountInString(t))}
		e.Metadata = metrics.Metadata{ModelName: p.Model, ModelProvider: "cartesia"}
		n.c.Ledger.Bill(e)
		sp.text <- t
	}
	if !p.Continue {
		sp.complete = true
		close(sp.text)
	}
}

// speak makes the audio of a context as its text comes.
func (n *connection) speak(sp *speech) {
	defer sp.end()
	defer func() {
		n.mu.Lock()
		delete(n.contexts, sp.id)
		n.gone[sp.id] = true
		n.mu.Unlock()
	}()
	var at time.Duration
	rest := ""
	var expire <-chan time.Time
	for {
		if rest == "" && at > 0 {
			expire = time.After(n.o.Expire)
		}
		select {
		case <-expire:
			if n.expires(sp) {
				n.finish(sp)
				return
			}
		case t, more := <-sp.text:
			words, tail := sandbox.Words(rest + t)
			if !more || sp.first.Delay != nil && *sp.first.Delay == 0 {
				words, tail = append(words, strings.Fields(tail)...), ""
			}
			rest = tail
			if sp.fault == fault.Empty {
				words = nil
			}
			for _, w := range words {
				if !n.say(sp, w, &at) {
					n.hang(sp) // text is still taken, and billed, by whom nobody hears any more
					return
				}
			}
			if !more {
				n.finish(sp)
				return
			}
		case <-sp.cancelled:
			return
		case <-n.ws.Context().Done():
			return
		}
	}
}

// expires takes no more text for a context, unless there is some that came in time.
func (n *connection) expires(sp *speech) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(sp.text) > 0 {
		return false
	}
	delete(n.contexts, sp.id)
	n.gone[sp.id] = true
	return true
}

// say sends the audio of a word, and its times.
func (n *connection) say(sp *speech, w string, at *time.Duration) bool {
	pcm := sandbox.Voice(w, sp.rate)
	d := time.Duration(len(pcm)/2) * time.Second / time.Duration(sp.rate)
	select {
	case <-sp.cancelled:
		return false
	default:
	}
	if sp.fault == fault.Slow && !n.c.Pace(d) {
		return false
	}
	chunk := map[string]any{"type": "chunk", "context_id": sp.id, "data": base64.StdEncoding.EncodeToString(pcm), "done": false, "status_code": 206, "step_time": 1.5}
	if n.ws.Send(chunk, true) != nil {
		return false
	}
	if sp.words {
		times := map[string]any{"words": []string{w}, "start": []float64{at.Seconds()}, "end": []float64{(*at + d).Seconds()}}
		_ = n.ws.Send(map[string]any{"type": "timestamps", "context_id": sp.id, "word_timestamps": times, "done": false, "status_code": 206}, false)
	}
	*at += d
	return true
}

// hang waits until the client has given up a context, or the connection.
func (n *connection) hang(sp *speech) {
	text := sp.text
	for {
		select {
		case _, more := <-text:
			if !more {
				text = nil
			}
		case <-sp.cancelled:
			return
		case <-n.ws.Context().Done():
			return
		}
	}
}

func (n *connection) finish(sp *speech) {
	if sp.fault == fault.Silence {
		return
	}
	done := map[string]any{"type": "done", "context_id": sp.id, "done": true, "status_code": 200}
	_ = n.ws.Send(done, false)
	if sp.fault == fault.DoubleFinal {
		_ = n.ws.Send(done, false)
	}
}
