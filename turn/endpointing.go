package turn

import (
	"time"

	"github.com/parley-go/parley/opt"
)

// Mode says whether the delays of endpointing adapt to the user.
type Mode string

// The modes.
const (
	Fixed   Mode = "fixed"   // the delays stay as configured
	Dynamic Mode = "dynamic" // the shorter delay follows the pauses that the user makes
)

// EndpointingOptions are the delays between the end of speech and the end of the turn. The zero
// value sets nothing, so that options can be laid over each other with Over.
type EndpointingOptions struct {
	// Mode defaults to Fixed.
	Mode Mode
	// MinDelay is waited when the turn looks finished: default 0.5 s, 0.3 s with an audio
	// detector. Off means no wait.
	MinDelay opt.Value[time.Duration]
	// MaxDelay is waited when the user seems to go on: default 3 s, 2.5 s with an audio detector.
	// Off, or less than MinDelay, means as long as MinDelay.
	MaxDelay opt.Value[time.Duration]
	// Alpha is the weight of the past in the average of Dynamic, 0 to 1: default 0.9. Other values
	// are ignored.
	Alpha opt.Value[float64]
}

// EndpointingDefaults are the defaults for a kind of detector; "" is none.
func EndpointingDefaults(k Kind) EndpointingOptions {
	o := EndpointingOptions{
		Mode:     Fixed,
		MinDelay: opt.Some(500 * time.Millisecond),
		MaxDelay: opt.Some(3 * time.Second),
		Alpha:    opt.Some(0.9),
	}
	if k == Audio {
		o.MinDelay, o.MaxDelay = opt.Some(300*time.Millisecond), opt.Some(2500*time.Millisecond)
	}
	return o
}

// Over returns o, with what o leaves unset taken from base. A session resolves its delays with
// agent.Over(session).Over(EndpointingDefaults(kind)).
func (o EndpointingOptions) Over(base EndpointingOptions) EndpointingOptions {
	if o.Mode == "" {
		o.Mode = base.Mode
	}
	o.MinDelay = o.MinDelay.Or(base.MinDelay)
	o.MaxDelay = o.MaxDelay.Or(base.MaxDelay)
	o.Alpha = o.Alpha.Or(base.Alpha)
	return o
}

// leadingSilence is what a voice may be silent before it is heard: a user who begins within it of
// the agent's start did not answer the agent.
const leadingSilence = 250 * time.Millisecond

// Endpointing keeps the delays of one conversation and, when dynamic, learns the shorter one from
// the user's pauses: a moving average of the pauses between utterances of one turn, never below
// the configured MinDelay and never above MaxDelay. It has no clock: all times are told. It is
// not safe for concurrent use.
type Endpointing struct {
	mode     Mode
	min, max time.Duration // as configured
	alpha    float64
	average  time.Duration

	lastEnd    time.Time // end of the utterance before the current one
	start      time.Time // of the current utterance, or of the last one
	speaking   bool      // the user is
	overlap    bool      // the current utterance began over the agent
	agentFirst time.Time // first start of the agent since the last end of an utterance
	agentStart time.Time // latest start of the agent
	agentEnd   time.Time // latest end; zero while the agent speaks
}

// NewEndpointing returns the delays of a new conversation. What o leaves unset has the defaults
// for no detector.
func NewEndpointing(o EndpointingOptions) *Endpointing {
	e := &Endpointing{}
	e.Update(EndpointingDefaults(""))
	e.Update(o)
	return e
}

// Update changes what o sets. A new MinDelay is also where learning starts again; a new MaxDelay
// only bounds what was learned.
func (e *Endpointing) Update(o EndpointingOptions) {
	if o.Mode != "" && o.Mode != e.mode {
		e.mode = o.Mode
		e.average = e.min
	}
	if !o.MinDelay.IsUnset() {
		e.min = max(o.MinDelay.Default(0), 0)
		e.average = e.min
	}
	if !o.MaxDelay.IsUnset() {
		e.max = max(o.MaxDelay.Default(0), 0)
	}
	if a := o.Alpha.Default(0); !o.Alpha.IsUnset() && a >= 0 && a <= 1 {
		e.alpha = a
	}
}

// MinDelay is the wait after the last speech when the turn looks finished.
func (e *Endpointing) MinDelay() time.Duration {
	if e.mode != Dynamic {
		return e.min
	}
	return max(min(e.average, e.max), e.min)
}

// MaxDelay is the wait after the last speech when the user seems to go on; never below MinDelay.
func (e *Endpointing) MaxDelay() time.Duration { return max(e.max, e.min) }

// UserStarted says that the user began to speak at t. Overlapping is whether that interrupts, or
// may interrupt, the agent. The same utterance may be told twice: when it turns out later that it
// overlaps. While it does, further starts are ignored.
func (e *Endpointing) UserStarted(t time.Time, overlapping bool) {
	if e.speaking && (e.overlap || !overlapping) {
		return
	}
	if e.speaking && !e.agentStart.After(e.start) {
		e.overlap = true // as it did from its beginning
		return
	}
	if e.speaking && e.lastEnd.Before(e.start) && !e.lastEnd.IsZero() {
		// The agent cut in before the end of the user's speech was noticed: that end was, at the
		// latest, just before the agent began.
		e.lastEnd = e.agentStart.Add(-time.Millisecond)
		e.agentFirst = e.agentStart
	}
	e.start, e.speaking, e.overlap = t, true, overlapping
}

// UserEnded says that the user stopped speaking at t. Backchannel is whether an overlapping
// utterance was judged to be a mere sign of listening, from which nothing is learned.
func (e *Endpointing) UserEnded(t time.Time, backchannel bool) {
	if backchannel && e.overlap && e.start.Sub(e.agentStart).Abs() >= leadingSilence {
		e.lastEnd, e.start = time.Time{}, time.Time{}
		e.speaking, e.overlap = false, false
		return
	}
	e.learn()
	e.lastEnd = t
	e.speaking, e.overlap = false, false
	e.agentFirst, e.agentStart, e.agentEnd = time.Time{}, time.Time{}, time.Time{}
}

// AgentStarted says that the agent began to speak at t, or went on after a pause.
func (e *Endpointing) AgentStarted(t time.Time) {
	if e.agentFirst.IsZero() {
		e.agentFirst = t
	}
	e.agentStart, e.agentEnd = t, time.Time{}
}

// AgentEnded says that the agent stopped speaking at t, or was paused or interrupted. When the
// agent spoke is remembered until the next utterance of the user ends.
func (e *Endpointing) AgentEnded(t time.Time) {
	if !e.agentStart.IsZero() && e.agentEnd.IsZero() {
		e.agentEnd = t
	}
}

// learn takes the pause before the current utterance into the average, if it was one inside of
// the user's turn.
func (e *Endpointing) learn() {
	if e.mode != Dynamic || !e.speaking || e.lastEnd.IsZero() {
		return
	}
	pause := e.start.Sub(e.lastEnd)
	if pause <= 0 {
		return
	}
	if !e.agentFirst.IsZero() {
		// Only if the agent had taken the turn by mistake: not late, and just when the user went
		// on. A longer pause was an answer that the user listened to.
		gap := e.agentFirst.Sub(e.lastEnd)
		off := (pause - gap).Abs()
		if !e.interrupted() || gap <= 0 || gap > e.max || off == 0 || off > e.MinDelay() {
			return
		}
	}
	average := e.alpha*float64(e.MinDelay()) + (1-e.alpha)*float64(pause)
	e.average = max(min(time.Duration(average), e.max), e.min)
}

// interrupted reports whether the current utterance met the agent's speech.
func (e *Endpointing) interrupted() bool {
	return e.overlap || e.agentEnd.IsZero() || e.agentEnd.After(e.start)
}
