package session

import (
	"context"
	"iter"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/tts"
)

// voice speaks the lines of one step. It works ahead of what is heard: the synthesis of a segment
// begins when that of the one before is complete, played or not. A voice that never gets to speak is
// not heard, shown or remembered, and what it has cost is booked as discarded.
type voice struct {
	r      *run
	sp     *speech
	ctx    context.Context // ends with the speech, or with stop
	stop   context.CancelFunc
	tts    *tts.Model // nil for none
	text   *lines
	gen    *generation                   // who writes the text; nil for a text that was given
	canned iter.Seq2[audio.Frame, error] // is played instead of what a TTS makes of the text; nil for none
	ahead  *pipe[*utterance]             // in order; nil for a voice that only writes
}

// newVoice makes the voice of text for st and begins to synthesise it. The caller stops it.
func (r *run) newVoice(sp *speech, st *step, text *lines, gen *generation, canned iter.Seq2[audio.Frame, error]) *voice {
	v := &voice{r: r, sp: sp, tts: st.tts, text: text, gen: gen, canned: canned}
	v.ctx, v.stop = context.WithCancel(st.ctx)
	if r.io.AudioOut != nil && (v.tts != nil || canned != nil) {
		v.ahead = newPipe[*utterance]()
		r.goDo("voice", v.work)
	}
	return v
}

func (v *voice) work() {
	defer v.ahead.close()
	for text := range v.text.segments.all(v.ctx) {
		u, ready := newUtterance(v), make(chan struct{})
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
// stopped: then later segments are not heard at all.
func (v *voice) speak() (all spoken) {
	defer v.stop()
	next := v.write
	if v.ahead != nil {
		next = v.play
	}
	for {
		said, ok := next()
		if !ok {
			break
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

// play is the next segment aloud; false if there is none.
func (v *voice) play() (spoken, bool) {
	u, ok := v.ahead.next(v.ctx)
	if !ok {
		return spoken{}, false
	}
	return u.play(), true
}

// write shows the next segment to a user who reads.
func (v *voice) write() (s spoken, ok bool) {
	text, ok := v.text.segments.next(v.ctx)
	if !ok {
		return s, false
	}
	id := newSegmentID()
	for t := range v.sp.shown(text.all(v.ctx)) {
		if s.started.IsZero() {
			s.started = now()
			v.r.ask(func() { v.r.onStarted(v.sp, s.started, v.marks()) })
		}
		s.text += t
		v.r.show(id, t, false)
	}
	s.stopped = now()
	s.interrupted = v.sp.Interrupted()
	v.r.show(id, "", true)
	return s, true
}

// marks are what the voice knows of the moments before it was heard.
func (v *voice) marks() (m marks) {
	if v.gen != nil {
		m.token = v.gen.first // was set before its text came
	}
	return m
}
