package elevenlabsbox

import (
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// maxContexts is how many contexts a connection may have.
const maxContexts = 5

// TTSOptions are what a test may choose.
type TTSOptions struct {
	// FromStart makes the times of letters count from the beginning of the context. By default they
	// count from the beginning of their piece of audio.
	FromStart bool
}

// message is what clients send.
type message struct {
	Text         *string        `json:"text"`
	ContextID    string         `json:"context_id"`
	Flush        bool           `json:"flush"`
	Close        bool           `json:"close_context"`
	Settings     map[string]any `json:"voice_settings"`
	Generation   map[string]any `json:"generation_config"`
	Dictionaries []any          `json:"pronunciation_dictionary_locators"`
}

// TTS serves the websocket /v1/text-to-speech/{voice}/multi-stream-input.
func TTS(s *sandbox.Server, o TTSOptions) {
	s.Errors(refusal)
	s.HandleSocket("/v1/text-to-speech/{voice}/multi-stream-input", func(c *sandbox.Call, ws *sandbox.Socket) {
		q := c.R.URL.Query()
		n := &connection{
			c: c, ws: ws, o: o, contexts: map[string]*speech{}, gone: map[string]bool{},
			model: q.Get("model_id"), auto: q.Get("auto_mode") == "true", words: q.Get("sync_alignment") == "true",
			rate: pcmRate(q.Get("output_format"), 8000, 16000, 22050, 24000, 32000, 44100, 48000),
		}
		n.serve()
	}, acceptable)
}

func acceptable(c *sandbox.Call) bool {
	q := c.R.URL.Query()
	if !authorized(c) || !known(c, q,
		[]string{"enable_ssml_parsing", "enable_logging", "sync_alignment", "auto_mode", "apply_language_text_normalization"},
		[]string{"model_id", "language_code", "output_format", "inactivity_timeout", "apply_text_normalization", "seed"}) {
		return false
	}
	idle, err := strconv.Atoi(q.Get("inactivity_timeout"))
	switch {
	case q.Get("model_id") == "":
		c.Refuse(422, "no model_id")
	case pcmRate(q.Get("output_format"), 8000, 16000, 22050, 24000, 32000, 44100, 48000) == 0:
		c.Refuse(422, "output_format "+q.Get("output_format"))
	case err != nil || idle < 1 || idle > 180:
		c.Refuse(422, "inactivity_timeout is more than 180 seconds")
	case !strings.Contains("auto on off", q.Get("apply_text_normalization")):
		c.Refuse(422, "apply_text_normalization")
	case strings.Contains(q.Get("language_code"), "-"):
		c.Refuse(422, "language_code has a region")
	default:
		return true
	}
	return false
}

type connection struct {
	c           *sandbox.Call
	ws          *sandbox.Socket
	o           TTSOptions
	model       string
	rate        int
	auto, words bool

	mu       sync.Mutex
	contexts map[string]*speech
	gone     map[string]bool // contexts that ended
	wg       sync.WaitGroup
}

// speech is one context.
type speech struct {
	id      string
	waiting string        // text that is not flushed
	texted  bool          // text was billed
	texts   chan string   // size 1024: no test has more pieces
	closed  bool          // by the client
	bye     chan struct{} // closed then
	fault   fault.Kind
	end     func()
}

func (n *connection) serve() {
	defer n.wg.Wait()
	for {
		binary, data, err := n.ws.Read()
		if err != nil {
			return
		}
		var m message
		if binary || sandbox.Strict(data, &m) != nil {
			n.policy("invalid_message", "message cannot be read")
			return
		}
		if !n.take(&m) {
			return
		}
	}
}

// policy tells what a client did wrong and ends the connection.
func (n *connection) policy(name, text string) {
	_ = n.ws.Send(map[string]any{"error": name, "message": text, "code": 1008}, false)
	n.ws.Close(1008, text)
}

func (n *connection) take(m *message) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	sp := n.contexts[m.ContextID]
	switch {
	case m.ContextID == "":
		n.policy("invalid_message", "no context_id")
		return false
	case n.gone[m.ContextID] || sp != nil && sp.closed:
		n.policy("context_closed", "message for a context that was closed")
		return false
	case sp == nil && (m.Close || m.Text == nil || *m.Text != " "):
		n.policy("invalid_message", "a context begins with a text of one space")
		return false
	case sp != nil && (m.Settings != nil || m.Generation != nil || m.Dictionaries != nil):
		n.policy("invalid_message", "settings are for the first message")
		return false
	case sp == nil && len(n.contexts) == maxContexts:
		n.policy("max_active_conversations", "Maximum simultaneous contexts per WebSocket connection exceeded (5).")
		return false
	}
	if sp == nil {
		n.begin(m.ContextID)
		return true
	}
	if m.Text != nil && *m.Text != "" {
		if !strings.HasSuffix(*m.Text, " ") {
			n.policy("invalid_message", "text does not end with a space")
			return false
		}
		n.bill(sp, *m.Text)
		sp.waiting += *m.Text
	}
	if m.Flush || m.Close {
		sp.texts <- sp.waiting
		sp.waiting = ""
	}
	if m.Close {
		sp.closed = true
		close(sp.texts)
		close(sp.bye)
	}
	return true
}

func (n *connection) begin(id string) {
	sp := &speech{id: id, texts: make(chan string, 1024), bye: make(chan struct{})}
	sp.fault, sp.end = n.ws.Stream()
	n.contexts[id] = sp
	n.wg.Go(func() { n.speak(sp) })
}

// bill books text, and the white space between it and the text before.
func (n *connection) bill(sp *speech, text string) {
	count := utf8.RuneCountInString(strings.TrimSpace(text))
	if sp.texted {
		count++
	}
	sp.texted = true
	e := &metrics.TTS{CharactersCount: int64(count)}
	e.Metadata = metrics.Metadata{ModelName: n.model, ModelProvider: "elevenlabs"}
	n.c.Ledger.Bill(e)
}

// speak makes the audio of a context as its text is flushed, and ends it once the client has.
func (n *connection) speak(sp *speech) {
	defer func() {
		n.mu.Lock()
		delete(n.contexts, sp.id)
		n.gone[sp.id] = true
		n.mu.Unlock()
		sp.end()
	}()
	var at time.Duration
	for {
		select {
		case t, more := <-sp.texts:
			if !more {
				n.finish(sp)
				return
			}
			if sp.fault == fault.Empty {
				continue
			}
			for _, w := range strings.Fields(t) {
				if !n.say(sp, w, &at) {
					return
				}
			}
		case <-n.ws.Context().Done():
			return
		}
	}
}

// say sends the audio of a word, and the times of its letters.
func (n *connection) say(sp *speech, w string, at *time.Duration) bool {
	pcm := sandbox.Voice(w, n.rate)
	d := time.Duration(len(pcm)/2) * time.Second / time.Duration(n.rate)
	if sp.fault == fault.Slow && !n.c.Pace(d) {
		return false
	}
	m := map[string]any{"audio": pcm, "contextId": sp.id, "isFinal": nil, "normalizedAlignment": nil, "alignment": nil}
	if n.words {
		var from time.Duration
		if n.o.FromStart {
			from = *at
		}
		a := letters(w+" ", from, d)
		m["alignment"], m["normalizedAlignment"] = a, a
	}
	if n.ws.Send(m, true) != nil {
		select {
		case <-sp.bye:
		case <-n.ws.Context().Done():
		}
		return false
	}
	*at += d
	return true
}

// letters are the times of the letters of text, spoken in d.
func letters(text string, from, d time.Duration) map[string]any {
	var chars []string
	var starts, durations []int
	each := d / time.Duration(utf8.RuneCountInString(text))
	for _, r := range text {
		chars = append(chars, string(r))
		starts, durations = append(starts, int(from.Milliseconds())), append(durations, int(each.Milliseconds()))
		from += each
	}
	return map[string]any{"chars": chars, "charStartTimesMs": starts, "charDurationsMs": durations}
}

func (n *connection) finish(sp *speech) {
	if sp.fault == fault.Silence {
		return
	}
	final := map[string]any{"audio": nil, "contextId": sp.id, "isFinal": true}
	_ = n.ws.Send(final, false)
	if sp.fault == fault.DoubleFinal {
		_ = n.ws.Send(final, false)
	}
}
