// Package rimebox is the sandbox of Rime's protocol.
package rimebox

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
)

// MaxText is how many characters a sentence may have.
const MaxText = 1000

// message is what clients send.
type message struct {
	Text      *string `json:"text"`
	Operation string  `json:"operation"`
	ContextID *string `json:"contextId"`
}

// TTS serves the websocket /ws3.
func TTS(s *sandbox.Server) {
	s.HandleSocket("/ws3", serve, func(c *sandbox.Call) bool {
		if !c.Authorized("Authorization", "Bearer ") {
			return false
		}
		if why := wrong(c.R.URL.Query()); why != "" {
			c.Refuse(400, why)
			return false
		}
		return true
	})
}

// wrong says what a model does not understand.
func wrong(q url.Values) string {
	known := []string{"speaker", "modelId", "lang", "audioFormat", "samplingRate", "segment", "speedAlpha"}
	switch q.Get("modelId") {
	case "coda":
		known = append(known, "timeScaleFactor", "temperature", "top_p", "repetition_penalty", "max_tokens")
	case "mistv3":
		known = append(known, "timeScaleFactor", "pauseBetweenBrackets", "phonemizeBetweenBrackets")
	case "mistv2":
		known = append(known, "pauseBetweenBrackets", "phonemizeBetweenBrackets")
	default:
		return "unknown model"
	}
	for k := range q {
		if !slices.Contains(known, k) {
			return "unknown parameter " + k
		}
	}
	if rate, err := strconv.Atoi(q.Get("samplingRate")); err != nil || rate < 8000 || rate > 96000 {
		return "invalid samplingRate"
	}
	if q.Get("speaker") == "" || q.Get("audioFormat") != "pcm" || q.Get("segment") != "never" {
		return "missing speaker, or a format that this sandbox does not make"
	}
	return ""
}

// connection has one buffer of text and one synthesis at a time.
type connection struct {
	ws    *sandbox.Socket
	rate  int
	words bool

	mu      sync.Mutex
	buffer  strings.Builder
	context *string // the newest
	speaks  bool
}

func serve(c *sandbox.Call, ws *sandbox.Socket) {
	q := c.R.URL.Query()
	n := &connection{ws: ws, words: slices.Contains([]string{"en", "eng", "es", "spa"}, q.Get("lang"))}
	n.rate, _ = strconv.Atoi(q.Get("samplingRate"))
	in := ws.Inbox(func(binary bool, data []byte) {
		var m message
		if binary || sandbox.Strict(data, &m) != nil || m.Text == nil {
			return
		}
		e := &metrics.TTS{CharactersCount: int64(utf8.RuneCountInString(*m.Text))}
		e.Metadata = metrics.Metadata{ModelName: q.Get("modelId"), ModelProvider: "rime"}
		c.Ledger.Bill(e)
	})
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		var m message
		if binary || sandbox.Strict(data, &m) != nil || (m.Text == nil) == (m.Operation == "") {
			n.refuse("invalid message")
			continue
		}
		if !n.take(&m) {
			return
		}
	}
}

func (n *connection) refuse(message string) {
	_ = n.ws.Send(map[string]any{"type": "error", "message": message}, false)
}

// take handles a message; false is the end of the connection.
func (n *connection) take(m *message) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.ContextID != nil {
		n.context = m.ContextID
	}
	switch {
	case m.Text != nil:
		n.buffer.WriteString(*m.Text)
	case m.Operation == "clear":
		n.buffer.Reset()
	case m.Operation == "eos":
		n.ws.Close(websocket.CloseNormalClosure, "")
		return false
	case m.Operation != "flush":
		n.refuse("unknown operation")
	case n.speaks:
		n.refuse("flushed while another synthesis runs: the real one would hold it back")
	case utf8.RuneCountInString(n.buffer.String()) > MaxText:
		n.ws.Close(websocket.CloseInternalServerErr, "400: text is too long")
		return false
	case n.buffer.Len() > 0:
		n.speak()
	}
	return true
}

// speak says what is in the buffer. Audio is cut where it happens to be, not between samples.
func (n *connection) speak() {
	n.speaks = true
	id := n.context
	sp := n.ws.Speak(sandbox.SpeechOptions{
		Rate: n.rate,
		Word: func(w string, pcm []byte, from, to time.Duration) error {
			cut := len(pcm)/2 | 1
			for _, part := range [][]byte{pcm[:cut], pcm[cut:]} {
				if err := n.ws.Send(map[string]any{"type": "chunk", "data": part, "contextId": id}, true); err != nil {
					return err
				}
			}
			if !n.words {
				return nil
			}
			times := map[string]any{"words": []string{w}, "start": []float64{from.Seconds()}, "end": []float64{to.Seconds()}}
			return n.ws.Send(map[string]any{"type": "timestamps", "word_timestamps": times, "contextId": id}, false)
		},
		Done: func() { _ = n.ws.Send(map[string]any{"type": "done", "contextId": id}, false) },
		Over: func() {
			n.mu.Lock()
			n.speaks = false
			n.mu.Unlock()
		},
	})
	sp.Say(n.buffer.String())
	sp.End()
	n.buffer.Reset()
}
