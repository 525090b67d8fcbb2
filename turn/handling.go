package turn

import (
	"time"

	"github.com/parley-go/parley/opt"
)

// Handling is all that is said about taking turns. What it leaves unset is inherited: an agent's
// Handling lies over that of its session, and that over Defaults. See Over.
type Handling struct {
	// Detection is who decides that the user's turn is over: default DetectAuto.
	Detection Detection
	// Detector judges whether the user has finished, when Detection leaves it to the VAD: a turn that
	// does not look finished gets Endpointing.MaxDelay. Default none, as with Off: every silence of
	// MinDelay ends the turn. See NewText. One by audio needs a VAD.
	Detector opt.Value[*Model]
	// Endpointing is how long a silence must be to end the user's turn.
	Endpointing EndpointingOptions
	// Interruption is how the user cuts the agent short.
	Interruption Interruption
	// Preemptive is whether the answer is begun before the turn is over.
	Preemptive Preemptive
	// Limit is how long the user may talk before the agent is told.
	Limit Limit
}

// Detection says who decides that the user's turn is over.
type Detection string

// The ways to detect the end of a turn.
const (
	// DetectAuto takes the realtime model if it finds turns, else the VAD if there is one, else the STT's
	// final transcripts.
	DetectAuto Detection = "auto"
	// DetectVAD leaves it to the silence that the VAD finds.
	DetectVAD Detection = "vad"
	// DetectSTT leaves it to the STT, which must emit start and end of speech.
	DetectSTT Detection = "stt"
	// DetectManual leaves it to the application, which commits and clears turns. The voice of the user
	// does not interrupt either.
	DetectManual Detection = "manual"
	// DetectRealtime leaves it to the realtime model, which hears the user itself.
	DetectRealtime Detection = "realtime_llm"
)

// Interruption says how the user may cut the agent short.
type Interruption struct {
	// Enabled: default true. Off, or Some(false): every speech is protected unless it says otherwise.
	Enabled opt.Value[bool]
	// MinDuration is the unbroken speech needed to interrupt: default 0.5 s.
	MinDuration opt.Value[time.Duration]
	// MinWords is the number of words needed to interrupt: default 0. Needs an STT.
	MinWords opt.Value[int]
	// ResumeFalse: default true. The agent is only paused when the user makes a sound, goes on when
	// no words follow, and is interrupted when they do. Off, or Some(false), stops it at once.
	ResumeFalse opt.Value[bool]
	// FalseTimeout is the silence after which a pause without words ends: default 2 s. Off stops the
	// agent at once instead of pausing it.
	FalseTimeout opt.Value[time.Duration]
	// DiscardProtected: default true. The STT hears silence while the agent says what must not be
	// interrupted, so that no words pile up. Off, or Some(false), lets it hear the user.
	DiscardProtected opt.Value[bool]
}

// Preemptive says whether the model is asked before it is certain that the user has finished. Nothing
// of such an answer is seen, heard or remembered, and no tool runs, before the turn is over; an answer
// to other words than those of the turn is thrown away, and its usage counts as discarded.
type Preemptive struct {
	// Enabled: default true.
	Enabled opt.Value[bool]
	// TTS lets the voice begin early too: default false.
	TTS opt.Value[bool]
	// MaxSpeech: the user has not spoken for longer; default 10 s. Off: no limit.
	MaxSpeech opt.Value[time.Duration]
	// MaxTries per turn: default 3. Off: no limit.
	MaxTries opt.Value[int]
}

// Limit says how long the user may talk, over several turns, while the agent says nothing. At least
// one must be set for the agent to be told (agent.Agent.OnUserTurnExceeded).
type Limit struct {
	MaxWords    opt.Value[int]
	MaxDuration opt.Value[time.Duration]
}

// Defaults are what a session does when nobody says otherwise. kind is that of the detector in use.
func Defaults(kind Kind) Handling {
	return Handling{
		Detection:   DetectAuto,
		Endpointing: EndpointingDefaults(kind),
		Interruption: Interruption{
			Enabled:          opt.Some(true),
			MinDuration:      opt.Some(500 * time.Millisecond),
			MinWords:         opt.Some(0),
			ResumeFalse:      opt.Some(true),
			FalseTimeout:     opt.Some(2 * time.Second),
			DiscardProtected: opt.Some(true),
		},
		Preemptive: Preemptive{
			Enabled:   opt.Some(true),
			TTS:       opt.Some(false),
			MaxSpeech: opt.Some(10 * time.Second),
			MaxTries:  opt.Some(3),
		},
	}
}

// Over returns h, with what h leaves unset taken from base.
func (h Handling) Over(base Handling) Handling {
	if h.Detection == "" {
		h.Detection = base.Detection
	}
	h.Detector = h.Detector.Or(base.Detector)
	h.Endpointing = h.Endpointing.Over(base.Endpointing)

	i, b := &h.Interruption, base.Interruption
	i.Enabled = i.Enabled.Or(b.Enabled)
	i.MinDuration = i.MinDuration.Or(b.MinDuration)
	i.MinWords = i.MinWords.Or(b.MinWords)
	i.ResumeFalse = i.ResumeFalse.Or(b.ResumeFalse)
	i.FalseTimeout = i.FalseTimeout.Or(b.FalseTimeout)
	i.DiscardProtected = i.DiscardProtected.Or(b.DiscardProtected)

	p, q := &h.Preemptive, base.Preemptive
	p.Enabled = p.Enabled.Or(q.Enabled)
	p.TTS = p.TTS.Or(q.TTS)
	p.MaxSpeech = p.MaxSpeech.Or(q.MaxSpeech)
	p.MaxTries = p.MaxTries.Or(q.MaxTries)

	h.Limit.MaxWords = h.Limit.MaxWords.Or(base.Limit.MaxWords)
	h.Limit.MaxDuration = h.Limit.MaxDuration.Or(base.Limit.MaxDuration)
	return h
}
