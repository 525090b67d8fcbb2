package session_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	sttdriver "github.com/parley-go/parley/stt/driver"
)

func TestC001UserTurnIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.until(7)
		c.wantTimeline(
			"0.00 handoff  -> default_agent",
			"0.00 agent listening",
			"0.50 user speaking",
			"2.70 final Hello",
			"2.50 user listening",
			"3.00 user: Hello",
			"3.00 agent thinking",
			"3.50 agent speaking",
			"5.50 assistant: Hi there",
			"5.50 agent listening",
		)
		c.close()
	})
}

func TestC002TurnMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.until(7)
		var eou, model, voice int
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, e := range c.spent {
			switch e := e.(type) {
			case *metrics.EOU:
				eou++
				if e.EndOfUtteranceDelay != 500*time.Millisecond || e.TranscriptionDelay != 200*time.Millisecond || e.Tags.SpeechID == "" {
					t.Errorf("eou: %+v", e)
				}
			case *metrics.LLM:
				model++
				if e.TTFT != 100*time.Millisecond || e.Duration != 300*time.Millisecond || e.Tags.SpeechID == "" || e.Tags.TurnID == "" {
					t.Errorf("llm: %+v", e)
				}
			case *metrics.TTS:
				voice++
				if e.AudioDuration != 2*time.Second || e.CharactersCount != 8 || e.Tags.AgentID != "default_agent" {
					t.Errorf("tts: %+v", e)
				}
			}
		}
		if eou != 1 || model != 1 || voice != 1 {
			t.Errorf("%d EOU, %d LLM, %d TTS events, want one each", eou, model, voice)
		}
	})
}

func TestTurnLatencyAddsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.until(7)
		rep := c.close()
		if len(rep.Turns) != 1 {
			t.Fatalf("%d turns in the report, want 1", len(rep.Turns))
		}
		want := []session.Stage{
			{Name: session.StageTranscript, Duration: 200 * time.Millisecond},
			{Name: session.StageDecision, Duration: 300 * time.Millisecond},
			{Name: session.StageFirstToken, Duration: 100 * time.Millisecond},
			{Name: session.StageFirstSentence, Duration: 0},
			{Name: session.StageFirstAudio, Duration: 400 * time.Millisecond},
			{Name: session.StagePlayback, Duration: 0},
		}
		got := rep.Turns[0]
		if !slices.Equal(got.Stages, want) || got.Total != time.Second || got.Slowest().Name != session.StageFirstAudio {
			t.Errorf("latency %+v, want stages %+v of one second", got, want)
		}
	})
}

func TestC010LastWordsAreKeptAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "never"})
		c.start(nil)
		c.says(0.5, 2.5, "Goodbye")
		c.until(2.4)
		rep := c.close()
		c.wantHistory("handoff  -> default_agent", "user: Goodbye")
		if rep.CloseReason != session.ReasonUserInitiated || len(c.llm.Ledger()) != 0 {
			t.Errorf("close reason %q, %d requests to the model", rep.CloseReason, len(c.llm.Ledger()))
		}
	})
}

func TestC020ResumedSpeechIsOneTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.TurnHandling.Endpointing.MinDelay = opt.Some(time.Second)
		c.start(nil)
		c.says(0.5, 1.5, "I would like")
		c.says(2.3, 3.0, "a table") // 0.8 s later: the VAD had ended, the turn had not
		c.until(8)
		c.wantHistory("handoff  -> default_agent", "user: I would like a table", "assistant: Hi there")
		c.close()
	})
}

func TestC039SlowHookKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Second answer"}, scripted.Answer{Text: "never"})
		c.start(&agent.Agent{OnUserTurnCompleted: func(_ context.Context, _ *agent.RunContext, _ *chat.Context, m *chat.Message) error {
			if m.Text() == "First" {
				time.Sleep(2 * time.Second)
			}
			return nil
		}})
		c.says(0.5, 1.0, "First")
		c.says(1.7, 2.2, "Second")
		c.until(9)
		c.wantHistory("handoff  -> default_agent", "user: First", "user: Second", "assistant: Second answer")
		c.close()
	})
}

func TestTurnHookMayDropTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "never"})
		c.start(&agent.Agent{OnUserTurnCompleted: func(context.Context, *agent.RunContext, *chat.Context, *chat.Message) error {
			return llm.ErrStopResponse
		}})
		c.says(0.5, 1.0, "Nobody asked")
		c.until(5)
		c.wantHistory("handoff  -> default_agent")
		c.close()
	})
}

func TestTextTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.start(nil)
		c.until(1)
		c.room.Host().ReceiveText(session.TextInput{Text: "Hello"})
		c.until(5)
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there")
		if got := c.room.AgentText(); len(got) != 1 || got[0] != "Hi there" {
			t.Errorf("shown text %q", got)
		}
		c.close()
	})
}

func TestAwayAfterSilenceOfBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.UserAwayTimeout = opt.Some(3 * time.Second)
		c.start(nil)
		c.until(3.5)
		if got := c.s.UserState(); got != agent.UserAway {
			t.Errorf("user is %q after 3.5 s of silence, want away", got)
		}
		c.says(4, 5, "Hello")
		c.until(9)
		if got := c.s.UserState(); got != agent.UserListening {
			t.Errorf("user is %q after speaking, want listening", got)
		}
		c.close()
	})
}

// shut is a transport that cannot be opened.
type shut struct{ session.Transport }

func (shut) Open(context.Context, session.Host) (session.IO, error) {
	return session.IO{}, errors.New("the room is closed")
}

func TestSessionStartsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"}, scripted.Answer{Text: "Me again"})
		c.start(nil)
		c.says(0.5, 1.5, "Hello")
		c.until(6)
		first := c.close()
		time.Sleep(time.Second)
		if err := c.s.Start(t.Context(), &agent.Agent{}, shut{}); err == nil {
			t.Fatal("started without a transport")
		}
		if rep, err := c.s.Report(); err != nil || rep.SessionID != first.SessionID || !reflect.DeepEqual(rep.Usage, first.Usage) || c.s.ID() != first.SessionID {
			t.Errorf("after a start that failed the report is %+v, %v; want that of the first run", rep, err)
		}
		c.room = sessiontest.New()
		if err := c.s.Start(t.Context(), &agent.Agent{}, c.room); err != nil {
			t.Fatalf("second start: %v", err)
		}
		if n := len(c.s.Usage().Models); n != 0 {
			t.Errorf("usage has %d lines after the second start, want none", n)
		}
		c.s.GenerateReply(agent.Reply{UserInput: "More"})
		time.Sleep(5 * time.Second)
		second := c.close()
		if first.SessionID == second.SessionID || second.SessionID != c.s.ID() || first.SessionID == "" {
			t.Errorf("the runs are %q and %q, the session %q", first.SessionID, second.SessionID, c.s.ID())
		}
		for _, e := range c.spent {
			if h := e.Head(); h.Timestamp.Before(second.StartedAt) != (h.Tags.SessionID == first.SessionID) {
				t.Errorf("an event at %v is of %q", h.Timestamp, h.Tags.SessionID)
			}
		}
		a, _ := first.Usage.LLM("scripted", "scripted")
		b, _ := second.Usage.LLM("scripted", "scripted")
		if a.OutputTokens == 0 || b.OutputTokens == 0 {
			t.Errorf("usage of the runs: %+v and %+v", first.Usage, second.Usage)
		}
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there",
			"handoff  -> default_agent", "user: More", "assistant: Me again")
	})
}

func TestMessageOfAUserHasTheRequestsOfItsWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi"}, scripted.Answer{Text: "Hi"})
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(2.5))
		for i, id := range []string{"r1", "r1", "r2", ""} {
			e := words(sttdriver.Final, sttdriver.Alternative{Text: "Hello"})
			e.RequestID = id
			c.stt.tells(2+float64(i)/10, e)
		}
		c.says(8, 9, "Bye")
		c.until(14)
		var ids []string
		for m := range c.close().History.Messages() {
			if m.Role == chat.User {
				ids = append(ids, strings.Join(m.Metrics.ProviderRequestIDs, " "))
			}
		}
		if want := []string{"r1 r2", ""}; !slices.Equal(ids, want) {
			t.Errorf("requests %q, want %q", ids, want)
		}
	})
}

// The latency of an answer is on its first words, whichever step they are of.
func TestLatencyOfAnAnswerIsMeasuredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := []driver.ToolCall{{Name: "look", Arguments: "{}"}}
		c := newCall(t, scripted.Answer{Text: "Let me look.", Calls: tool}, scripted.Answer{Text: "There."},
			scripted.Answer{Calls: tool}, scripted.Answer{Text: "Here."})
		c.start(&agent.Agent{Tools: []llm.Tool{toolOf("look", func(context.Context, *agent.RunContext) (any, error) { return "ok", nil })}})
		c.says(0.5, 2.5, "Hello")
		c.says(10, 11, "Again")
		c.until(20)
		var got []string
		for m := range c.close().History.Messages() {
			if d := m.Metrics.E2ELatency; d != nil {
				got = append(got, m.Text()+" "+d.String())
			}
		}
		if want := []string{"Let me look. 1.2s", "Here. 1.1s"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
