package session_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
)

// lobby is a transport that takes half a second to open and to close, and whose caller comes and goes
// when the test says so.
type lobby struct {
	*sessiontest.Transport
	host session.Host
}

// unannounced keeps the news from the session that somebody is there.
type unannounced struct{ session.Host }

func (unannounced) ParticipantLinked(session.Participant) {}
func (unannounced) OutputReady()                          {}

func (l *lobby) Open(ctx context.Context, h session.Host) (session.IO, error) {
	time.Sleep(500 * time.Millisecond)
	l.host = h
	return l.Transport.Open(ctx, unannounced{h})
}

func (l *lobby) Close(ctx context.Context) error {
	time.Sleep(500 * time.Millisecond)
	return l.Transport.Close(ctx)
}

func newLobby(c *call) *lobby {
	l := &lobby{Transport: c.room}
	c.transport = l
	return l
}

func wantTime(t *testing.T, c *call, what string, got time.Time, sec float64) {
	t.Helper()
	if !got.Equal(c.at(sec)) {
		t.Errorf("%s at %.3f s, want %.3f", what, got.Sub(c.t0).Seconds(), sec)
	}
}

func wantSpan(t *testing.T, what string, got time.Duration, sec float64) {
	t.Helper()
	if got != seconds(sec) {
		t.Errorf("%s for %v, want %v", what, got, seconds(sec))
	}
}

func TestStandingOfACallerWhoComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		l := newLobby(c)
		c.start(nil)
		caller := session.Participant{Identity: "ann", Kind: "sip"}
		c.until(1)
		l.host.ParticipantLinked(caller)
		c.until(1.5)
		l.host.OutputReady()
		l.host.OutputReady() // the first counts
		c.says(2, 3.5, "Hello")
		c.until(10)
		l.host.ParticipantLeft(caller, "CONNECTION_LOST", false)
		c.until(11)
		if rep, err := c.s.Report(); err != nil {
			t.Fatal(err)
		} else {
			wantTime(t, c, "the caller left", rep.Standing.CallerLeftAt, 10)
			wantSpan(t, "the caller was there", rep.Standing.CallerPresent, 9)
			if !rep.Standing.AgentLeftAt.IsZero() {
				t.Error("the agent left while it is there")
			}
			wantSpan(t, "the agent was there", rep.Standing.AgentPresent(rep.Timestamp), 10.5)
		}
		c.until(12)
		l.host.ParticipantLinked(caller)
		c.until(15)
		rep := c.close()
		st := rep.Standing

		wantTime(t, c, "the agent joined", st.AgentJoinedAt, 0.5)
		wantTime(t, c, "somebody could hear the agent", st.AudibleAt, 1.5)
		wantTime(t, c, "the caller joined", st.CallerJoinedAt, 1)
		if !st.CallerLeftAt.IsZero() {
			t.Error("the caller left, but is there")
		}
		wantSpan(t, "the caller was there", st.CallerPresent, 9+rep.EndedAt.Sub(c.at(12)).Seconds())
		wantTime(t, c, "the agent left", st.AgentLeftAt, rep.EndedAt.Sub(c.t0).Seconds()+0.5)
		wantSpan(t, "the caller spoke", st.CallerSpoke, 1.5)
		wantSpan(t, "the agent spoke", st.AgentSpoke, 2)

		data, err := json.Marshal(rep)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Standing map[string]any `json:"standing"`
		}
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]any{
			"agent_joined_at": float64(st.AgentJoinedAt.UnixMicro()) / 1e6, "agent_left_at": float64(st.AgentLeftAt.UnixMicro()) / 1e6,
			"agent_present": st.AgentLeftAt.Sub(st.AgentJoinedAt).Seconds(), "audible_at": float64(st.AudibleAt.UnixMicro()) / 1e6,
			"caller_joined_at": float64(st.CallerJoinedAt.UnixMicro()) / 1e6, "caller_left_at": nil,
			"caller_present": st.CallerPresent.Seconds(), "agent_spoke": 2.0, "caller_spoke": 1.5,
		} {
			if got, ok := doc.Standing[name]; !ok || got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if len(doc.Standing) != 9 {
			t.Errorf("standing has %d fields: %v", len(doc.Standing), doc.Standing)
		}
	})
}

// TestStandingOfACallWithInterruptions has the caller cut the agent short, who speaks as long as the
// output says, and hang up in mid-word.
func TestStandingOfACallWithInterruptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "A long story"}, scripted.Answer{Text: "Another one"})
		c.tts.lasts(5 * time.Second)
		c.start(nil)
		c.says(0.5, 2.5, "Tell me")
		c.says(5, 6, "Stop")
		c.until(6.5)
		c.room.In.Speak(c.at(8), c.at(20))
		c.until(9)
		c.room.Host().ParticipantLeft(session.Participant{Identity: "user"}, "CLIENT_INITIATED", true)
		_ = c.s.Wait(t.Context())
		rep := c.close()
		st := rep.Standing

		var played time.Duration
		for _, seg := range c.room.Out.Segments() {
			played += seg.Played
		}
		if st.AgentSpoke != played || played == 0 || played >= 10*time.Second {
			t.Errorf("the agent spoke for %v, the output played %v", st.AgentSpoke, played)
		}
		wantTime(t, c, "the caller left", st.CallerLeftAt, 9)
		wantSpan(t, "the caller was there", st.CallerPresent, 9)
		if got, most := st.CallerSpoke, 4*time.Second+rep.EndedAt.Sub(c.at(9)); got < 4*time.Second || got > most {
			t.Errorf("the caller spoke for %v, want 4 s and what was heard while closing, up to %v", got, most)
		}
	})
}

func TestStandingWithoutACaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		newLobby(c)
		c.start(nil)
		c.until(3)
		rep := c.close()
		st := rep.Standing
		if !st.CallerJoinedAt.IsZero() || !st.AudibleAt.IsZero() || st.CallerPresent != 0 || st.AgentSpoke != 0 || st.CallerSpoke != 0 {
			t.Errorf("nobody came, the report says %+v", st)
		}
		if st.AgentPresent(rep.Timestamp) < 2500*time.Millisecond {
			t.Errorf("the agent was there for %v", st.AgentPresent(rep.Timestamp))
		}
	})
}
