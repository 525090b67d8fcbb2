package session

import (
	"context"

	"github.com/parley-go/parley/tts"
)

// voice speaks the lines of one step. It works ahead of what is heard: the synthesis of a segment
// begins when that of the one before is complete, played or not. A voice that never gets to speak is
// not heard, shown or remembered, and what it has cost is booked as discarded.
type voice struct {
	r     *run
	sp    *speech
	ctx   context.Context // ends with the speech, or with stop
	stop  context.CancelFunc
	tts   *tts.Model // nil for none
	text  *lines
	gen   *generation       // who writes the text; nil for a text that was given
	ahead *pipe[*utterance] // in order
}

// newVoice makes the voice of text for st and begins to synthesise it. The caller stops it.
func (r *run) newVoice(sp *speech, st *step, text *lines, gen *generation) *voice {
	v := &voice{r: r, sp: sp, tts: st.tts, text: text, gen: gen, ahead: newPipe[*utterance]()}
	v.ctx, v.stop = context.WithCancel(st.ctx)
	r.goDo("voice", v.work)
	return v
}

func (v *voice) work() {
	defer v.ahead.close()
	for text := range v.text.segments.all(v.ctx) {
		u := newUtterance(v, text)
		if u.silent {
			v.ahead.put(u)
			continue
		}
		ready := make(chan struct{})
		u.start(text.all(v.ctx), func() { close(ready) })
		v.ahead.put(u)
		select {
		case <-ready:
		case <-v.ctx.Done():
			return
		}
	}
}

// speak lets the voice be heard, segment after segment, and returns when all was heard, or when it was
// stopped: then later segments are not heard at all. each, if not nil, is told about every segment.
func (v *voice) speak(each func(*line, spoken)) (all spoken) {
	defer v.stop()
	for {
		u, ok := v.ahead.next(v.ctx)
		if !ok {
			break
		}
		var said spoken
		if u.silent {
			said = v.write(u)
		} else {
			said = u.play()
		}
		if each != nil {
			each(u.line, said)
		}
		all.join(said)
		if said.interrupted || said.err != nil {
			return all
		}
	}
	// Stopped between two segments: there was more to say.
	all.interrupted = all.text != "" && v.ctx.Err() != nil
	return all
}

// write shows a segment to a user who reads.
func (v *voice) write(u *utterance) (s spoken) {
	for t := range v.sp.shown(u.line.all(v.ctx)) {
		if s.started.IsZero() {
			s.started = now()
			v.r.ask(func() { v.r.onStarted(v.sp, s.started, v.marks()) })
		}
		s.text += t
		v.r.show(u.id, t, false)
	}
	s.stopped = now()
	s.interrupted = v.sp.Interrupted()
	v.r.show(u.id, "", true)
	return s
}

// marks are what the voice knows of the moments before it was heard.
func (v *voice) marks() (m marks) {
	if v.gen != nil {
		m.token = v.gen.first // was set before its text came
	}
	return m
}
