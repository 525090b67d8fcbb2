package session

import (
	"time"
)

// TurnLatency says where the time went between the end of the user's speech and the first sound of
// the answer.
type TurnLatency struct {
	TurnID string
	Stages []Stage // in order; together they are Total
	Total  time.Duration
}

// Stage is a part of the critical path of a turn.
type Stage struct {
	Name     string
	Duration time.Duration
}

// Slowest is the longest stage.
func (l TurnLatency) Slowest() (s Stage) {
	for _, x := range l.Stages {
		if x.Duration > s.Duration {
			s = x
		}
	}
	return s
}

// The stages of a turn.
const (
	StageTranscript    = "transcript"     // end of speech to final transcript
	StageDecision      = "decision"       // to the decision that the turn is over
	StageFirstToken    = "first_token"    // to the first text of the model
	StageFirstSentence = "first_sentence" // to text enough for the synthesiser to begin
	StageFirstAudio    = "first_audio"    // to the first audio of the synthesiser
	StagePlayback      = "playback"       // to the first sound
)

// marks are the moments between the stages that the answer knows of.
type marks struct{ token, sentence, audio time.Time }

// latency computes the account of t, answered at played. A moment that is unknown, or earlier than
// the one before it, makes an empty stage, so the stages always add up.
func (t *userTurn) latency(answer marks, played time.Time) TurnLatency {
	l := TurnLatency{TurnID: t.id}
	last := t.stopped
	for _, m := range []struct {
		name string
		at   time.Time
	}{
		{StageTranscript, t.final}, {StageDecision, t.decided}, {StageFirstToken, answer.token},
		{StageFirstSentence, answer.sentence}, {StageFirstAudio, answer.audio}, {StagePlayback, played},
	} {
		d := max(m.at.Sub(last), 0)
		if m.at.IsZero() {
			d = 0
		}
		l.Stages = append(l.Stages, Stage{m.name, d})
		last = last.Add(d)
	}
	l.Total = last.Sub(t.stopped)
	return l
}

// finishLatency accounts for t when its answer is first heard. On the loop.
func (r *run) finishLatency(t *userTurn, m marks, played time.Time) {
	if t.heard || !t.delays {
		return
	}
	t.heard = true
	l := t.latency(m, played)
	r.latencies = append(r.latencies, l)
	r.emit(TurnCompleted{at(now()), l})
}
