package session

import (
	"cmp"
	"iter"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model"
)

// spoken is what became of a text.
type spoken struct {
	text        string // what was heard
	interrupted bool
	played      time.Duration // of the audio
	started     time.Time     // zero when nothing was heard
	stopped     time.Time
	readyAt     time.Time // the TTS had text enough to speak
	audioAt     time.Time // first audio from the TTS
	ids         []string
	by          model.Info // who spoke; zero for nobody, or if the agent's own node did
	err         error
}

// join adds what became of the segment after s.
func (s *spoken) join(next spoken) {
	if s.stopped.IsZero() {
		*s = next
		return
	}
	s.text = join(s.text, next.text)
	s.interrupted = next.interrupted
	s.played += next.played
	if s.started.IsZero() {
		s.started, s.readyAt, s.audioAt = next.started, next.readyAt, next.audioAt
	}
	if !next.started.IsZero() {
		s.stopped = next.stopped
	}
	s.ids = append(s.ids, next.ids...)
	s.by = cmp.Or(next.by, s.by)
	s.err = next.err
}

// shown is text as the agent's TranscriptNode wants it shown and remembered.
func (sp *speech) shown(text iter.Seq[string]) iter.Seq[string] {
	if f := sp.act.agent.TranscriptNode; f != nil {
		return orNothing(f(sp.ctx, text))
	}
	return text
}

// orNothing makes a node that returns nil one that yields nothing.
func orNothing(seq iter.Seq[string]) iter.Seq[string] {
	if seq == nil {
		return func(func(string) bool) {}
	}
	return seq
}

// orNothing2 is orNothing for nodes whose results may be errors.
func orNothing2[T any](seq iter.Seq2[T, error]) iter.Seq2[T, error] {
	if seq == nil {
		return func(func(T, error) bool) {}
	}
	return seq
}

func (r *run) show(segment, text string, final bool) {
	if r.io.Transcripts != nil && (text != "" || final) {
		r.io.Transcripts.WriteTranscript(Transcript{SegmentID: segment, Text: text, Final: final})
	}
}

// onStarted notes that sp is heard from t on. On the loop.
func (r *run) onStarted(sp *speech, t time.Time, m marks) {
	if sp.Interrupted() {
		return
	}
	sp.step.heard = true
	if p := r.pause; p != nil && p.sp == sp {
		p.state = agent.Speaking // the output was paused before it could tell
	} else {
		r.setAgentState(agent.Speaking)
	}
	r.talkedInto(sp)
	if sp.turn != nil {
		r.finishLatency(sp.turn, m, t)
	}
}

// fill writes the account of the speech into m. The latency of the answer to t is that of its first words
// alone. On the loop.
func (s *spoken) fill(m *chat.TurnMetrics, t *userTurn) {
	m.StartedSpeakingAt, m.StoppedSpeakingAt = s.started, s.stopped
	if !s.started.IsZero() {
		played := s.played
		m.AudioPlayed = &played
	}
	if !s.audioAt.IsZero() && !s.readyAt.IsZero() {
		ttfb := max(s.audioAt.Sub(s.readyAt), 0)
		m.TTSNodeTTFB = &ttfb
		if !s.started.IsZero() {
			latency := max(s.started.Sub(s.audioAt), 0)
			m.PlaybackLatency = &latency
		}
	}
	if t != nil && t.delays && !t.timed && !s.started.IsZero() {
		t.timed = true
		e2e := s.started.Sub(t.stopped)
		m.E2ELatency = &e2e
	}
	m.ProviderRequestIDs = append(m.ProviderRequestIDs, s.ids...)
}
