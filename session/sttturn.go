package session

import (
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/turn"
)

// turnsBySTT reports whether the STT says when the user begins and ends to speak. Words that come
// between an end and the next start belong to what was ended, so they end the turn as well: an STT
// that tells of no starts is not waited for.
func (r *run) turnsBySTT() bool { return r.act != nil && r.act.detection() == turn.DetectSTT }

// sttStarted notes that the user speaks since onset, zero for now, as the STT of e says.
func (r *run) sttStarted(e *ears, onset time.Time) {
	if r.ears != e || !r.turnsBySTT() || r.closing != nil {
		return
	}
	if onset.IsZero() {
		onset = now()
	}
	r.heard.sttSpeaking = true
	r.userStarted(onset)
}

// sttEnded notes that the user has finished, as the STT of e says. It knows better than a VAD that
// still hears something: that is told to forget it, so that it reports the next start of speech.
func (r *run) sttEnded(e *ears) {
	h := &r.heard
	if r.ears != e || !r.turnsBySTT() || r.closing != nil {
		return
	}
	if h.speaking {
		r.log.Debug("the STT ends the turn while the VAD still hears the user")
		e.forget()
		h.speaking = false
		r.missWords(h.lastSpeaking)
	}
	h.sttSpeaking = false
	r.silenceBySTT()
	r.endTurnSoon()
	r.schedule()
}

// sttLost is called when the stream of e has failed: nobody will tell when the user has finished.
func (r *run) sttLost(e *ears) {
	if r.ears == e && r.closing == nil {
		r.sttSilent()
	}
}

// sttSilent takes the STT's word back that the user speaks. The VAD, if it says so too, is believed.
func (r *run) sttSilent() {
	if h := &r.heard; h.sttSpeaking {
		h.sttSpeaking = false
		if !h.speaking {
			r.silenceBySTT()
			r.endTurnSoon()
			r.schedule()
		}
	}
}

// silenceBySTT notes that the user is silent now, unless the VAD has said so before.
func (r *run) silenceBySTT() {
	if r.userState == agent.UserSpeaking {
		r.userStopped(now())
	}
}

// listenAnew has the STT forget what it has not told yet.
func (r *run) listenAnew() {
	if r.ears != nil && r.closing == nil {
		r.ears.listenAnew()
		r.sttSilent()
	}
}
