package session

import "time"

// Standing tells who was in the call when, and how long each of them spoke. Times are those of this
// machine; a zero time means that it did not happen, or not yet.
type Standing struct {
	// AgentJoinedAt is when the transport was open: in a worker's report, when the agent joined the room.
	AgentJoinedAt time.Time
	// AgentLeftAt is when the transport was released: in a worker's report, when the agent left the room.
	AgentLeftAt time.Time
	// AudibleAt is when somebody could hear the agent for the first time.
	AudibleAt time.Time
	// CallerJoinedAt is when the agent first had somebody to talk to. A caller who was in the room
	// before the agent joined when the agent did.
	CallerJoinedAt time.Time
	// CallerLeftAt is when the last caller left. It is zero when he stayed longer than the session.
	CallerLeftAt time.Time
	// CallerPresent is how long callers were there while the session ran, all stays together.
	CallerPresent time.Duration
	// AgentSpoke is how much of the agent's speech was played, to the sample, without what is being said.
	AgentSpoke time.Duration
	// CallerSpoke is how long the caller was heard to speak, by the VAD or, without one, the STT.
	CallerSpoke time.Duration
}

// AgentPresent is how long the agent was there, until now if it still is; now is the report's Timestamp.
func (s Standing) AgentPresent(now time.Time) time.Duration {
	switch {
	case s.AgentJoinedAt.IsZero():
		return 0
	case s.AgentLeftAt.IsZero():
		return now.Sub(s.AgentJoinedAt)
	}
	return s.AgentLeftAt.Sub(s.AgentJoinedAt)
}

// standing keeps what Standing tells. It is used on the loop only.
type standing struct {
	Standing
	since    time.Time // the caller is there; zero when he is not
	speaking time.Time // the caller speaks since then; zero when he does not
	silent   time.Time // the caller is silent since then
}

func (s *standing) audible(t time.Time) {
	if s.AudibleAt.IsZero() {
		s.AudibleAt = t
	}
}

func (s *standing) callerJoined(t time.Time) {
	if s.CallerJoinedAt.IsZero() {
		s.CallerJoinedAt = t
	}
	if s.since.IsZero() {
		s.since = t
	}
	s.CallerLeftAt = time.Time{}
}

func (s *standing) callerLeft(t time.Time) {
	if s.since.IsZero() {
		return
	}
	s.CallerLeftAt = t
	s.CallerPresent += t.Sub(s.since)
	s.since = time.Time{}
}

// callerSpeaks notes that the caller speaks since t, which is often seen by two who look at different
// things: the first counts.
func (s *standing) callerSpeaks(t time.Time) {
	if !s.speaking.IsZero() {
		return
	}
	if t.Before(s.silent) {
		t = s.silent // what was counted is not counted again
	}
	s.speaking = t
}

func (s *standing) callerSilent(t time.Time) {
	if s.speaking.IsZero() || t.Before(s.speaking) {
		s.speaking = time.Time{}
		return
	}
	s.CallerSpoke += t.Sub(s.speaking)
	s.speaking, s.silent = time.Time{}, t
}

// until is what there is to tell at t, when the session ended or is asked.
func (s standing) until(t time.Time) Standing {
	s.callerSilent(t)
	if !s.since.IsZero() && t.After(s.since) {
		s.CallerPresent += t.Sub(s.since)
	}
	return s.Standing
}

// stands is the session's account at t, or at its end if that was before. It is called on the loop, or after it.
func (r *run) stands(t time.Time) Standing {
	if !r.endedAt.IsZero() {
		t = r.endedAt
	}
	st := r.standing.until(t)
	if !r.startedAt.IsZero() { // before there is no mouth
		r.mouth.mu.Lock()
		st.AgentSpoke = r.mouth.said
		r.mouth.mu.Unlock()
	}
	return st
}

type standingJSON struct {
	AgentJoinedAt  *float64 `json:"agent_joined_at"`
	AgentLeftAt    *float64 `json:"agent_left_at"`
	AgentPresent   float64  `json:"agent_present"`
	AudibleAt      *float64 `json:"audible_at"`
	CallerJoinedAt *float64 `json:"caller_joined_at"`
	CallerLeftAt   *float64 `json:"caller_left_at"`
	CallerPresent  float64  `json:"caller_present"`
	AgentSpoke     float64  `json:"agent_spoke"`
	CallerSpoke    float64  `json:"caller_spoke"`
}

func (s Standing) json(now time.Time) standingJSON {
	return standingJSON{
		AgentJoinedAt: unix(s.AgentJoinedAt), AgentLeftAt: unix(s.AgentLeftAt), AgentPresent: s.AgentPresent(now).Seconds(),
		AudibleAt:      unix(s.AudibleAt),
		CallerJoinedAt: unix(s.CallerJoinedAt), CallerLeftAt: unix(s.CallerLeftAt), CallerPresent: s.CallerPresent.Seconds(),
		AgentSpoke: s.AgentSpoke.Seconds(), CallerSpoke: s.CallerSpoke.Seconds(),
	}
}
