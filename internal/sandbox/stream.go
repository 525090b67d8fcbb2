package sandbox

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/parley-go/parley/model/fault"
)

// Stream is an answer that is sent piece by piece over HTTP: server-sent events, lines, or audio. Its
// faults strike at the second piece of content. A Stream is used by one goroutine.
type Stream struct {
	c    *Call
	sent int
	over bool
}

// Stream begins an answer of the content type.
func (c *Call) Stream(contentType string) *Stream {
	c.W.Header().Set("Content-Type", contentType)
	return &Stream{c: c}
}

// Event sends v, which is JSON or a string, as a server-sent event; name may be "". False means that
// the stream is over: a fault struck, or the client is gone.
func (s *Stream) Event(name string, v any) bool {
	switch {
	case s.over:
		return false
	case s.sent == 0 && s.c.Fault == fault.Malformed:
		return s.end(s.raw(event(name, `{"broken": `)) && false)
	case s.sent == 0 && s.c.Fault == fault.Oversized:
		return s.end(s.raw(event(name, `"`+big+`"`)) && false)
	}
	return s.Piece(event(name, v))
}

// Note sends v as Event does, but it is no content: the faults of streams do not strike at it.
func (s *Stream) Note(name string, v any) bool {
	if s.over {
		return false
	}
	return s.end(s.raw(event(name, v)))
}

// event is v as a server-sent event.
func event(name string, v any) []byte {
	data, ok := v.(string)
	if !ok {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // of our own types
		}
		data = string(b)
	}
	if name != "" {
		name = "event: " + name + "\n"
	}
	return []byte(name + "data: " + data + "\n\n")
}

// Piece sends b as it is.
func (s *Stream) Piece(b []byte) bool {
	if s.over || s.strike() {
		return s.end(false)
	}
	s.sent++
	return s.end(s.raw(b))
}

// strike does the faults of streams that break; true when that was all.
func (s *Stream) strike() bool {
	if s.sent < 2 {
		return false
	}
	switch s.c.Fault {
	case fault.Reset:
		s.c.hijack(true)
	case fault.HangUp:
	case fault.HalfOpen, fault.Stall:
		s.c.wait()
	default:
		return false
	}
	return true
}

func (s *Stream) raw(b []byte) bool {
	if s.c.ctx.Err() != nil || s.c.R.Context().Err() != nil {
		return false
	}
	if _, err := s.c.W.Write(b); err != nil {
		return false
	}
	return http.NewResponseController(s.c.W).Flush() == nil
}

func (s *Stream) end(ok bool) bool {
	s.over = s.over || !ok
	return ok
}

// Over reports whether nothing more will be sent.
func (s *Stream) Over() bool { return s.over }

// Think waits as long as a slow language model takes for a word; false when the client is gone.
func (c *Call) Think(f fault.Kind) bool { return f != fault.Slow || c.Pace(50*time.Millisecond) }

// Pace waits d, for answers that come no faster than real time; false when the client is gone.
func (c *Call) Pace(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.R.Context().Done():
	case <-c.ctx.Done():
	}
	return false
}
