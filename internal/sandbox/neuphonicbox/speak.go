// Package neuphonicbox is the sandbox of Neuphonic's protocol.
package neuphonicbox

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

const (
	idle = time.Minute // how long a client may send nothing
	stop = "<STOP>"
)

// packet is what clients send.
type packet struct {
	Text      *string `json:"text"`
	ContextID string  `json:"context_id"`
}

// Speak serves the websocket /speak/{language}.
func Speak(s *sandbox.Server) {
	s.Errors(func(status int, message string) any {
		return map[string]any{"status_code": status, "errors": []string{message}}
	})
	s.HandleSocket("/speak/{language}", func(c *sandbox.Call, ws *sandbox.Socket) {
		r, _ := strconv.Atoi(c.R.URL.Query().Get("sampling_rate"))
		(&speaker{c: c, ws: ws, rate: r, orders: make(chan packet, 1024)}).serve()
	}, func(c *sandbox.Call) bool {
		q := c.R.URL.Query()
		speed, err := strconv.ParseFloat(q.Get("speed"), 64)
		temperature, terr := strconv.ParseFloat(q.Get("temperature"), 64)
		switch {
		case !c.Authorized("X-Api-Key", ""):
		case len(c.R.PathValue("language")) != 2 || q.Get("lang_code") != c.R.PathValue("language") || q.Get("voice_id") == "":
			c.Refuse(400, "bad language or voice")
		case q.Get("encoding") != "pcm_linear" || !slices.Contains([]string{"8000", "16000", "22050", "24000"}, q.Get("sampling_rate")):
			c.Refuse(400, "bad format")
		case err != nil || speed < 0.7 || speed > 2 || q.Has("temperature") && (terr != nil || temperature < 0 || temperature > 1):
			c.Refuse(400, "value out of range")
		case len(q) != 5 && !(len(q) == 6 && q.Has("temperature")):
			c.Refuse(400, "unknown query")
		default:
			return true
		}
		return false
	})
}

// speaker is one connection. Its voice has a goroutine of its own.
type speaker struct {
	c      *sandbox.Call
	ws     *sandbox.Socket
	rate   int
	orders chan packet // size 1024: no test has more messages

	// What follows belongs to the voice.
	fault   fault.Kind
	end     func() // of the context, nil before the first
	context string
	rest    string
}

func (s *speaker) serve() {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(s.orders)
	in := s.ws.Inbox(func(_ bool, data []byte) {
		var p packet
		if sandbox.Strict(data, &p) == nil && p.Text != nil && p.ContextID != "" {
			e := &metrics.TTS{CharactersCount: int64(utf8.RuneCountInString(strings.ReplaceAll(*p.Text, stop, "")))}
			e.Metadata = metrics.Metadata{ModelName: "Octave", ModelProvider: "neuphonic"}
			s.c.Ledger.Bill(e)
		}
	})
	wg.Go(s.speak)
	for {
		binary, data, err := in.Next(idle)
		if errors.Is(err, sandbox.ErrIdle) {
			s.ws.Close(1000, "idle")
		}
		if err != nil {
			return
		}
		var p packet
		switch {
		case binary || sandbox.Strict(data, &p) != nil || p.Text == nil || *p.Text != "" && p.ContextID == "":
			_ = s.ws.Send(map[string]any{"type": "error", "status_code": 400, "errors": []string{"message cannot be read"}}, false)
			s.ws.Close(1003, "")
			return
		case *p.Text != "":
			s.orders <- p
		}
	}
}

// speak is the goroutine of the voice; it ends with the orders.
func (s *speaker) speak() {
	defer func() {
		if s.end != nil {
			s.end()
		}
	}()
	for p := range s.orders {
		if s.end == nil || s.context != p.ContextID {
			if s.end != nil {
				s.end()
			}
			s.context, s.rest = p.ContextID, ""
			s.fault, s.end = s.ws.Stream()
		}
		text, complete := strings.CutSuffix(s.rest+*p.Text, stop)
		words, tail := sandbox.Words(text)
		if complete {
			words, tail = append(words, strings.Fields(tail)...), ""
		}
		s.rest = tail
		if s.fault == fault.Empty {
			words = nil
		}
		if !s.say(words) {
			s.ws.Hang()
			continue // nothing is sent any more
		}
		if complete {
			s.finish()
		}
	}
}

// say sends the audio of words, in messages that do not keep samples together.
func (s *speaker) say(words []string) bool {
	for _, w := range words {
		pcm := sandbox.Voice(w, s.rate)
		if s.fault == fault.Slow && !s.c.Pace(time.Duration(len(pcm)/2)*time.Second/time.Duration(s.rate)) {
			return false
		}
		half := len(pcm)/2 | 1
		for _, b := range [][]byte{pcm[:half], pcm[half:]} {
			data := map[string]any{"audio": b, "text": w, "sampling_rate": s.rate, "context_id": s.context, "stop": false}
			if s.ws.Send(map[string]any{"status_code": 200, "data": data, "metadata": map[string]any{}}, true) != nil {
				return false
			}
		}
	}
	return true
}

// finish tells the end of a text. The context is over for now when no more waits.
func (s *speaker) finish() {
	if s.fault == fault.Silence {
		s.ws.Hang()
		return
	}
	last := len(s.orders) == 0
	if last {
		s.end()
	}
	m := map[string]any{"status_code": 200, "data": map[string]any{"audio": "", "context_id": s.context, "stop": true}}
	_ = s.ws.Send(m, false)
	if s.fault == fault.DoubleFinal && last {
		_ = s.ws.Send(m, false)
	}
}
