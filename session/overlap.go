package session

import (
	"time"

	"github.com/parley-go/parley/agent"
)

// overlapWait is how long after the user has talked over the agent words of it may still arrive.
const overlapWait = 2 * time.Second

// overlap is the user talking over the agent, until it is known what became of it. It is used on the
// loop only.
type overlap struct {
	sp      *speech // what is talked over; nil when nobody talks over anything
	began   time.Time
	since   time.Time     // both speak; zero while one of them does not
	lasted  time.Duration // while both spoke before
	wait    timer         // for words
	audible *speech       // what is heard now; nil in silences, also those within a speech
	heardAt time.Time     // when it, or the last, began to be heard
	parted  time.Time     // when both spoke last
}

// apart notes that only one of both speaks since t.
func (o *overlap) apart(t time.Time) {
	if !o.since.IsZero() {
		o.lasted += max(t.Sub(o.since), 0)
		o.since, o.parted = time.Time{}, t
	}
}

// talksOver notes that the user speaks since t, if that is over the agent.
func (r *run) talksOver(t time.Time) {
	o, sp := &r.overlap, r.act.current
	if r.agentState != agent.Speaking || r.io.AudioOut == nil || sp == nil || o.audible != sp {
		return
	}
	for _, earliest := range []time.Time{o.heardAt, o.parted} { // an onset is dated back
		if t.Before(earliest) {
			t = earliest
		}
	}
	o.wait.stop()
	if o.sp == nil {
		o.sp, o.began = sp, t
	}
	if o.since.IsZero() {
		o.since = t
	}
}

// talkedInto notes that sp, or more of it, begins to be heard, perhaps over the user.
func (r *run) talkedInto(sp *speech) {
	r.overlap.audible, r.overlap.heardAt = sp, now()
	if r.heard.speaking || r.heard.sttSpeaking {
		r.talksOver(now())
	}
}

// agentFellSilent notes that sp, or what was said of it until then, is not heard any more since t.
func (r *run) agentFellSilent(sp *speech, t time.Time) {
	if o := &r.overlap; o.audible == sp {
		o.audible = nil
		o.apart(t)
	}
}

// userFellSilent notes that the user does not talk over the agent since t. What it was is known when
// words have come, or none; if the agent is paused for it, then the pause tells.
func (r *run) userFellSilent(t time.Time) {
	o := &r.overlap
	o.apart(t)
	if o.sp == nil || r.pause != nil {
		return
	}
	wait := overlapWait
	if !r.hasSTT() {
		wait = 0
	}
	o.wait.start(wait, func() { r.overlapOver(o.sp, false, false) })
}

// overlapOver tells what became of the user's talking over sp, once. It may be told of every speech.
func (r *run) overlapOver(sp *speech, interruption, agentEnded bool) {
	o := &r.overlap
	if o.sp == nil || o.sp != sp {
		return
	}
	t := now()
	o.wait.stop()
	o.apart(t)
	e := OverlappingSpeech{At: at(t), Interruption: interruption, AgentEnded: agentEnded, StartedAt: o.began, Duration: o.lasted}
	o.sp, o.began, o.lasted = nil, time.Time{}, 0
	r.emit(e)
}
