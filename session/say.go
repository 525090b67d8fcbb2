package session

import (
	"iter"
	"slices"

	"github.com/parley-go/parley/agent"
)

const sourceSay = "say"

// say is Session.Say, on the loop.
func (r *run) say(text iter.Seq[string], o *agent.SayOptions) (*speech, error) {
	act := r.speaker()
	switch {
	case act == nil:
		return nil, agent.ErrNotRunning
	case act.tts == nil && r.io.AudioOut != nil && o.Audio == nil:
		if act.rt == nil || !act.rt.Capabilities().Say {
			return nil, agent.ErrNoVoice
		}
		return r.sayItself(act, text, o), nil
	}
	sp := r.newSpeech(act.ctx, act, sourceSay, o.Protected || act.protectedByDefault(), "")
	sp.priority = o.Priority
	r.startSpeech(sp, func(sp *speech) error { return r.runSay(sp, text, o) })
	r.enqueue(sp, true)
	return sp, nil
}

// runSay says text when it is its turn.
func (r *run) runSay(sp *speech, text iter.Seq[string], o *agent.SayOptions) error {
	st := sp.step
	if !sp.await(st.scheduled) {
		return nil
	}
	v := r.newVoice(sp, st, newLines(), nil)
	defer v.stop()
	r.goDo("text to say", func() {
		defer v.text.close()
		if o.Audio != nil {
			v.text.begin(&line{audio: o.Audio}) // it is heard even if it has no text
		}
		for t := range text {
			if v.ctx.Err() != nil {
				return
			}
			v.text.write(t)
		}
	})
	if !sp.await(st.go_) {
		return nil
	}
	began := r.stamp()
	said := v.speak(nil)
	r.ask(func() {
		if !o.NoHistory {
			r.keepSaid(sp, st, said, "", began, nil)
			r.tellModel(sp.act)
		}
		r.endStep(sp, st)
	})
	return said.err
}

// one yields a text that is there as a whole.
func one(text string) iter.Seq[string] { return slices.Values([]string{text}) }
