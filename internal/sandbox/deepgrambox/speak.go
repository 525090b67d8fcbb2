package deepgrambox

import (
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

const (
	maxText    = 2000 // characters of a message
	maxFlushes = 20   // a minute
)

// Speak serves the websocket /v1/speak.
func Speak(s *sandbox.Server) {
	s.Errors(refusal)
	s.HandleSocket("/v1/speak", func(c *sandbox.Call, ws *sandbox.Socket) {
		q := c.R.URL.Query()
		r, _ := rate(q)
		(&speaker{c: c, ws: ws, rate: r, model: q.Get("model"), orders: make(chan order, 1024)}).serve()
	}, func(c *sandbox.Call) bool {
		if !c.Authorized("Authorization", "Token ") || !known(c, "encoding", "model", "sample_rate", "mip_opt_out") || !booleans(c, "mip_opt_out") {
			return false
		}
		q := c.R.URL.Query()
		if _, err := rate(q); err != nil || !strings.HasPrefix(q.Get("model"), "aura-") {
			c.Refuse(400, "bad model or format")
			return false
		}
		return true
	})
}

// order is something to do for the voice, in its turn.
type order struct {
	text  string
	flush bool
}

// speaker is one connection. Its voice has a goroutine of its own.
type speaker struct {
	c       *sandbox.Call
	ws      *sandbox.Socket
	rate    int
	model   string
	orders  chan order // size 1024: no test has more messages
	flushes []time.Time

	// What follows belongs to the voice.
	fault    fault.Kind
	end      func() // of the speech, nil between them
	rest     string
	sequence int
}

func (s *speaker) serve() {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(s.orders)
	_ = s.ws.Send(map[string]any{"type": "Metadata", "request_id": requestID, "model_name": s.model}, false)
	wg.Go(s.speak)
	for {
		binary, data, err := s.ws.Read()
		if err != nil {
			return
		}
		var m struct {
			Type string  `json:"type"`
			Text *string `json:"text"`
		}
		switch bad := binary || sandbox.Strict(data, &m) != nil; {
		case bad:
			s.refuse("DATA-0000", "message cannot be read")
		case m.Type == "Speak" && m.Text != nil && utf8.RuneCountInString(*m.Text) <= maxText:
			e := &metrics.TTS{CharactersCount: int64(utf8.RuneCountInString(*m.Text))}
			e.Metadata = metrics.Metadata{ModelName: s.model, ModelProvider: "deepgram"}
			s.c.Ledger.Bill(e)
			s.orders <- order{text: *m.Text}
		case m.Type == "Flush" && s.mayFlush():
			s.orders <- order{flush: true}
		case m.Type == "Flush":
			_ = s.ws.Send(map[string]any{"type": "Warning", "warn_code": "EXCESSIVE_FLUSH", "warn_msg": "too many flushes"}, false)
		case m.Type == "Close":
			s.ws.Close(1000, "")
			return
		default:
			s.refuse("DATA-0001", "no such message")
		}
	}
}

func (s *speaker) refuse(code, message string) {
	_ = s.ws.Send(map[string]any{"type": "Error", "err_code": code, "err_msg": message}, false)
}

// mayFlush counts a flush unless there were too many.
func (s *speaker) mayFlush() bool {
	for len(s.flushes) > 0 && time.Since(s.flushes[0]) > time.Minute {
		s.flushes = s.flushes[1:]
	}
	if len(s.flushes) >= maxFlushes {
		return false
	}
	s.flushes = append(s.flushes, time.Now())
	return true
}

// speak is the goroutine of the voice; it ends with the orders.
func (s *speaker) speak() {
	defer func() {
		if s.end != nil {
			s.end()
		}
	}()
	for o := range s.orders {
		if s.end == nil {
			s.fault, s.end = s.ws.Stream()
		}
		words, tail := sandbox.Words(s.rest + o.text)
		if o.flush {
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
		if o.flush {
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
		if s.ws.SendBinary(pcm[:len(pcm)/2+1]) != nil || s.ws.SendBinary(pcm[len(pcm)/2+1:]) != nil {
			return false
		}
	}
	return true
}

func (s *speaker) finish() {
	if s.fault == fault.Silence {
		s.ws.Hang()
		return
	}
	m := map[string]any{"type": "Flushed", "sequence_id": s.sequence}
	s.sequence++
	s.end()
	s.end = nil
	_ = s.ws.Send(m, false)
	if s.fault == fault.DoubleFinal {
		_ = s.ws.Send(m, false)
	}
}
