package sandbox

import (
	"strings"
	"time"

	"github.com/parley-go/parley/model/fault"
)

// SpeechOptions say how a provider sends what it says.
type SpeechOptions struct {
	Rate int // of the audio, Hz
	// Word sends the audio of a word and what is told about it; from and to are its place in the speech.
	Word func(word string, pcm []byte, from, to time.Duration) error
	// Done sends the end.
	Done func()
	// Over, if set, is called when nothing more will be sent, before the end is: the stream may be begun anew.
	Over func()
}

// Speech is one stream of a socket that says a text while it comes. Say, End and Cancel belong to one
// goroutine.
type Speech struct {
	s         *Socket
	o         SpeechOptions
	fault     fault.Kind
	text      chan string // size 1024: no test has more pieces
	cancelled chan struct{}
	ended     bool
}

// Speak begins a stream, with the faults of one, on a goroutine that ends with it or the socket.
func (s *Socket) Speak(o SpeechOptions) *Speech {
	p := &Speech{s: s, o: o, text: make(chan string, 1024), cancelled: make(chan struct{})}
	f, end := s.Stream()
	p.fault = f
	s.c.wg.Go(func() {
		defer end()
		p.run()
	})
	return p
}

// Say adds text.
func (p *Speech) Say(text string) { p.text <- text }

// End says that the text is complete.
func (p *Speech) End() {
	if !p.ended {
		p.ended = true
		close(p.text)
	}
}

// Cancel ends the speech without an end.
func (p *Speech) Cancel() { close(p.cancelled) }

func (p *Speech) run() {
	var at time.Duration
	for rest := ""; ; {
		select {
		case t, more := <-p.text:
			words, tail := Words(rest + t)
			if !more {
				words, tail = append(words, strings.Fields(tail)...), ""
			}
			rest = tail
			if !p.say(words, &at) {
				p.over()
				return
			}
			if !more {
				p.finish()
				return
			}
		case <-p.cancelled:
			p.over()
			return
		case <-p.s.ctx.Done():
			return
		}
	}
}

func (p *Speech) say(words []string, at *time.Duration) bool {
	if p.fault == fault.Empty {
		return true
	}
	for _, w := range words {
		select {
		case <-p.cancelled:
			return false
		default:
		}
		pcm := Voice(w, p.o.Rate)
		d := time.Duration(len(pcm)/2) * time.Second / time.Duration(p.o.Rate)
		if p.fault == fault.Slow && !p.s.c.Pace(d) {
			return false
		}
		if p.o.Word(w, pcm, *at, *at+d) != nil {
			p.hang()
			return false
		}
		*at += d
	}
	return true
}

func (p *Speech) finish() {
	if p.fault == fault.Silence {
		p.hang()
		p.over()
		return
	}
	p.over()
	p.o.Done()
	if p.fault == fault.DoubleFinal {
		p.o.Done()
	}
}

// hang waits for the end of the socket, or for a client that wants no more, when the fault is to fall silent.
func (p *Speech) hang() {
	if p.fault == fault.Stall || p.fault == fault.HalfOpen || p.fault == fault.Silence {
		select {
		case <-p.cancelled:
		case <-p.s.ctx.Done():
		}
	}
}

func (p *Speech) over() {
	if p.o.Over != nil {
		p.o.Over()
	}
}
