package session_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	llmdriver "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
	"github.com/parley-go/parley/realtime/scripted"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/turn"
	turnscripted "github.com/parley-go/parley/turn/scripted"
	"github.com/parley-go/parley/vad"
)

// newRealtimeCall makes a call with a realtime model that finds the user's turns itself, after 0.3 s.
func newRealtimeCall(t *testing.T, o scripted.Options) (*call, *scripted.Realtime) {
	c := newCall(t)
	m := scripted.New(&o)
	c.opt = session.Options{Realtime: realtime.New(m, nil), AECWarmup: c.opt.AECWarmup, Logger: c.opt.Logger}
	return c, m
}

// wantSpent checks that the session's usage is what the model served.
func (c *call) wantSpent(m *scripted.Realtime) {
	c.t.Helper()
	ledger := m.Ledger()
	served := ledger.Usage()
	var got metrics.LLMUsage
	for _, u := range c.s.Usage().Models {
		if l, ok := u.(metrics.LLMUsage); ok {
			got = l
		}
	}
	if got.InputTokens != served.InputTokens || got.OutputTokens != served.OutputTokens || got.InputAudioTokens != served.Input.AudioTokens ||
		got.OutputAudioTokens != served.Output.AudioTokens || got.InputCachedTokens != served.Input.CachedTokens {
		c.t.Errorf("session has used %+v, the model served %+v", got, served)
	}
	if ledger.Open != 0 {
		c.t.Errorf("%d connections are still open", ledger.Open)
	}
}

func TestRealtimeConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{
			Texts:   []string{"Hello", "How are you"},
			Replies: []scripted.Reply{{Text: "Hi there, friend."}, {Text: "Fine."}},
		})
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.room.In.Speak(c.at(4), c.at(5))
		c.until(8)
		c.wantTimeline(
			"0.00 handoff  -> default_agent", "0.00 agent listening",
			"0.52 user speaking", "1.82 user listening", "1.82 final Hello", "1.82 user: Hello",
			"1.82 agent thinking", "1.82 agent speaking", "2.68 assistant: Hi there, friend.", "2.68 agent listening",
			"4.02 user speaking", "5.32 user listening", "5.32 final How are you", "5.32 user: How are you",
			"5.32 agent thinking", "5.32 agent speaking", "5.58 assistant: Fine.", "5.58 agent listening",
		)
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there, friend.", "user: How are you", "assistant: Fine.")
		rep := c.close()
		c.wantSpent(m)
		if len(rep.Turns) != 2 {
			t.Errorf("%d turns are accounted for, want 2", len(rep.Turns))
		}
	})
}

func TestRealtimeInterruption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{
			Texts:   []string{"Count", "Stop"},
			Replies: []scripted.Reply{{Text: tenWords}, {Text: "Ok."}},
		})
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.room.In.Speak(c.at(3), c.at(4))
		c.until(8)
		c.wantTimeline(
			"0.00 handoff  -> default_agent", "0.00 agent listening",
			"0.52 user speaking", "1.82 user listening", "1.82 final Count", "1.82 user: Count",
			"1.82 agent thinking", "1.82 agent speaking",
			"3.02 user speaking", "3.02 agent listening", "3.02 assistant: one two three four [interrupted]",
			"4.32 user listening", "4.32 final Stop", "4.32 user: Stop",
			"4.32 agent thinking", "4.32 agent speaking", "4.48 assistant: Ok.", "4.48 agent listening",
		)
		c.close()
		c.wantSpent(m)
		segs := c.room.Out.Segments()
		l := m.Ledger()
		for id, d := range l.Truncated {
			it, _ := c.s.History().ByID(id)
			if it == nil || d != segs[0].Played {
				t.Errorf("item %s was cut at %s, %s of it were heard", id, d, segs[0].Played)
				continue
			}
			if heard := it.(*chat.Message).Metrics.AudioPlayed; heard == nil || *heard != d {
				t.Errorf("item %s was cut at %s, the history says %v", id, d, heard)
			}
		}
		if len(l.Truncated) != 1 {
			t.Errorf("%d items were cut, want 1", len(l.Truncated))
		}
	})
}

func forecast(calls *int) llm.Tool {
	return llm.NewTool("weather", "Tells the weather.", func(_ context.Context, _ *agent.RunContext, in struct {
		Place string `json:"place"`
	}) (string, error) {
		*calls++
		return "sunny in " + in.Place, nil
	})
}

func TestRealtimeTool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{
			Texts: []string{"Weather"},
			Replies: []scripted.Reply{
				{Text: "One moment.", Calls: []llmdriver.ToolCall{{Name: "weather", Arguments: `{"place":"Paris"}`}}},
				{Text: "It is sunny."},
			},
		})
		n := 0
		c.start(&agent.Agent{Instructions: "Be brief.", Tools: []llm.Tool{forecast(&n)}})
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.until(8)
		c.wantHistory("handoff  -> default_agent", "user: Weather", "assistant: One moment.",
			`call weather({"place":"Paris"})`, "output sunny in Paris", "assistant: It is sunny.")
		c.close()
		c.wantSpent(m)
		if n != 1 {
			t.Errorf("the tool was called %d times", n)
		}
		var kinds []string
		for _, it := range m.Ledger().Items {
			kinds = append(kinds, it.Type())
		}
		if got := strings.Join(kinds, " "); !strings.Contains(got, "function_call function_call_output message") {
			t.Errorf("the model knows %s", got)
		}
	})
}

func TestRealtimeReplyAndText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Replies: []scripted.Reply{{Text: "Welcome."}, {Text: "It is four."}}})
		c.start(&agent.Agent{Instructions: "Be brief.", OnEnter: func(_ context.Context, rc *agent.RunContext) error {
			rc.Session().GenerateReply(agent.Reply{Instructions: "Greet."})
			return nil
		}})
		c.until(3)
		sp := c.s.GenerateReply(agent.Reply{UserInput: "What is two and two?"})
		if err := sp.Wait(t.Context()); err != nil {
			t.Errorf("reply: %v", err)
		}
		c.wantHistory("handoff  -> default_agent", "assistant: Welcome.", "user: What is two and two?", "assistant: It is four.")
		c.close()
		c.wantSpent(m)
		l := m.Ledger()
		if len(l.Requests) != 2 || l.Requests[0].Instructions != "Greet." {
			t.Errorf("the model was asked %+v", l.Requests)
		}
		for _, e := range c.spent {
			if r, ok := e.(*metrics.Realtime); ok && r.InputTokens > 0 && r.Tags.SpeechID == "" {
				t.Errorf("usage %v belongs to no speech", r)
			}
		}
	})
}

func TestRealtimeWithAVoiceOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		m := scripted.New(&scripted.Options{Texts: []string{"Hello"}, Replies: []scripted.Reply{{Text: "Good day."}}})
		c.opt.Realtime, c.opt.LLM, c.opt.STT, c.opt.VAD = realtime.New(m, &realtime.ModelOptions{TextOnly: true}), nil, nil, nil
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.until(6)
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Good day.")
		if n := len(c.room.Out.Segments()); n != 1 {
			t.Errorf("%d speeches were heard, want 1", n)
		}
		last := c.s.History().Items()[2].(*chat.Message)
		if last.Metrics.TTS.ModelName == "" || last.Metrics.LLM != (metrics.Metadata{ModelName: "script", ModelProvider: "scripted"}) {
			t.Errorf("it was thought and said by %+v", last.Metrics)
		}
		c.close()
		c.wantSpent(m)
		var characters int64
		for _, u := range c.s.Usage().Models {
			if u, ok := u.(metrics.TTSUsage); ok {
				characters = u.CharactersCount
			}
		}
		if characters != int64(len("Good day.")) {
			t.Errorf("%d characters are booked for the voice", characters)
		}
	})
}

func TestRealtimeTurnsBySession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{
			Texts:           []string{"Hello", "Stop"},
			Replies:         []scripted.Reply{{Text: tenWords}, {Text: "Ok."}},
			TranscriptDelay: 100 * time.Millisecond,
		})
		c.opt.VAD = vad.New(vadScript{})
		c.opt.TurnHandling = turn.Handling{Detection: turn.DetectVAD, Interruption: turn.Interruption{ResumeFalse: opt.Off[bool]()}}
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.room.In.Speak(c.at(3), c.at(4))
		c.until(9)
		c.wantTimeline(
			"0.00 handoff  -> default_agent", "0.00 agent listening",
			"0.50 user speaking", "1.50 user listening", "2.00 agent thinking", "2.00 agent speaking", "2.10 final Hello", "2.10 user: Hello",
			"3.00 user speaking", "3.50 agent listening", "3.50 assistant: one two three four five [interrupted]",
			"4.00 user listening", "4.50 agent thinking", "4.50 agent speaking",
			"4.60 final Stop", "4.60 user: Stop", "4.66 assistant: Ok.", "4.66 agent listening",
		)
		c.close()
		c.wantSpent(m)
		if l := m.Ledger(); !l.Setups[0].ClientTurns || l.Commits != 2 {
			t.Errorf("%d turns were committed, by the client: %v", l.Commits, l.Setups[0].ClientTurns)
		}
	})
}

func TestC036WhoFindsTheTurns(t *testing.T) {
	audio := func() *turn.Model { return turn.New(turnscripted.NewAudio(nil), nil) }
	for name, x := range map[string]struct {
		how    turn.Handling
		noVAD  bool
		itself bool
	}{
		"default":        {itself: true},
		"no VAD":         {noVAD: true, itself: true},
		"stt":            {how: turn.Handling{Detection: turn.DetectSTT}, itself: true},
		"vad":            {how: turn.Handling{Detection: turn.DetectVAD}},
		"vad without":    {how: turn.Handling{Detection: turn.DetectVAD}, noVAD: true, itself: true},
		"detector":       {how: turn.Handling{Detector: opt.Some(audio())}},
		"manual":         {how: turn.Handling{Detection: turn.DetectManual}},
		"manual no VAD":  {how: turn.Handling{Detection: turn.DetectManual}, noVAD: true},
		"realtime":       {how: turn.Handling{Detection: turn.DetectRealtime}, itself: true},
		"realtime + det": {how: turn.Handling{Detection: turn.DetectRealtime, Detector: opt.Some(audio())}, itself: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := newRealtimeCall(t, scripted.Options{})
				if !x.noVAD {
					c.opt.VAD = vad.New(vadScript{})
				}
				c.opt.TurnHandling = x.how
				c.start(nil)
				c.until(1)
				c.close()
				if l := m.Ledger(); l.Setups[0].ClientTurns == x.itself {
					t.Errorf("the model finds the turns: %v, want %v", !l.Setups[0].ClientTurns, x.itself)
				}
			})
		})
	}
}

func TestC037OneWarningForADetectorThatIsNotAsked(t *testing.T) {
	for name, want := range map[string]int{"asked for": 1, "default": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				c, _ := newRealtimeCall(t, scripted.Options{})
				c.opt.Logger = slog.New(slog.NewTextHandler(&log, nil))
				if want > 0 {
					c.opt.TurnHandling.Detection = turn.DetectVAD // there is no VAD
				}
				c.start(nil)
				c.until(1)
				c.close()
				if n := strings.Count(log.String(), "turn detection is not as it was asked for"); n != want {
					t.Errorf("%d warnings, want %d:\n%s", n, want, log.String())
				}
			})
		})
	}
}

func TestC038ProtectedSpeechesNeedTurnsBySession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newRealtimeCall(t, scripted.Options{})
		c.opt.TurnHandling.Interruption.Enabled = opt.Off[bool]()
		s := session.New(c.opt)
		if err := s.Start(t.Context(), &agent.Agent{}, sessiontest.New()); err == nil {
			t.Error("a model that finds turns itself was taken although its speeches are protected")
		}
		c.opt.TurnHandling.Detection = turn.DetectManual
		c.start(nil)
		c.close()
	})
}

func TestC066ProtectedSpeechGoesOnWhenTheModelHearsTheUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Replies: []scripted.Reply{{Text: tenWords}}, NoInterrupt: true})
		c.start(nil)
		sp := c.s.GenerateReply(agent.Reply{Protected: true})
		c.until(1)
		m.Emit(&driver.SpeechStarted{})
		c.until(1.2)
		if c.s.AgentState() != agent.Speaking || sp.Interrupted() {
			t.Errorf("agent is %s, interrupted %v", c.s.AgentState(), sp.Interrupted())
		}
		m.Emit(&driver.SpeechStopped{})
		c.until(6)
		c.wantHistory("handoff  -> default_agent", "assistant: "+tenWords)
		c.close()
	})
}

func TestC099SayDuringATool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Replies: []scripted.Reply{
			{Calls: []llmdriver.ToolCall{{Name: "wait", Arguments: `{}`}}}, {Text: "Done."},
		}})
		c.start(&agent.Agent{Tools: []llm.Tool{llm.NewTool("wait", "", func(context.Context, *agent.RunContext, struct{}) (string, error) {
			time.Sleep(5 * time.Second)
			return "waited", nil
		})}})
		c.s.GenerateReply(agent.Reply{})
		c.until(1)
		if err := c.s.Say("One moment.", nil).Wait(t.Context()); err != nil {
			t.Errorf("say: %v", err)
		}
		c.until(4)
		if st := c.s.AgentState(); st != agent.Thinking {
			t.Errorf("agent is %s while its tool runs, want thinking", st)
		}
		c.until(8)
		c.wantHistory("handoff  -> default_agent", "call wait({})", "assistant: One moment.", "output waited", "assistant: Done.")
		c.close()
		c.wantSpent(m)
	})
}

func TestC106ConversationIsKeptWhereTheModelAllowsIt(t *testing.T) {
	fixed := scripted.All
	fixed.MutableTools = false
	for name, x := range map[string]struct {
		caps  driver.Capabilities
		other turn.Handling // of the second agent
		dials int
	}{
		"kept":             {caps: scripted.All, dials: 1},
		"tools are fixed":  {caps: fixed, dials: 2},
		"turns by another": {caps: scripted.All, other: turn.Handling{Detection: turn.DetectManual}, dials: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := newRealtimeCall(t, scripted.Options{Capabilities: &x.caps, Replies: []scripted.Reply{{Text: "I am one."}, {Text: "I am two."}}})
				c.start(&agent.Agent{ID: "one", Instructions: "You are one."})
				c.s.GenerateReply(agent.Reply{})
				c.until(2)
				n := 0
				if err := c.s.UpdateAgent(&agent.Agent{ID: "two", Instructions: "You are two.", Tools: []llm.Tool{forecast(&n)}, TurnHandling: x.other}); err != nil {
					t.Fatal(err)
				}
				c.until(3)
				if err := c.s.GenerateReply(agent.Reply{}).Wait(t.Context()); err != nil {
					t.Errorf("second agent: %v", err)
				}
				c.close()
				c.wantSpent(m)
				l := m.Ledger()
				if l.Dials != x.dials {
					t.Errorf("%d connections, want %d", l.Dials, x.dials)
				}
				for _, e := range c.spent {
					if r, ok := e.(*metrics.Realtime); ok && r.OutputTokens > 0 && r.Tags.AgentID == "" {
						t.Errorf("usage %v belongs to no agent", r)
					}
				}
			})
		})
	}
}

func TestC114AnotherModelTakesOver(t *testing.T) {
	for name, x := range map[string]struct {
		speaking bool
		o        realtime.FallbackOptions
		want     []string
	}{
		"while it speaks": {true, realtime.FallbackOptions{}, []string{"assistant: one two [interrupted]", "assistant: I am the other."}},
		"not again":       {true, realtime.FallbackOptions{NoRegenerate: true}, []string{"assistant: one two [interrupted]"}},
		"idle":            {false, realtime.FallbackOptions{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, first := newRealtimeCall(t, scripted.Options{Replies: []scripted.Reply{{Text: tenWords}}, Speed: 1,
					Faults: []scripted.Fault{{Conn: 1, When: scripted.AtConnect}, {Conn: 2, When: scripted.AtConnect}}})
				second := scripted.New(&scripted.Options{Replies: []scripted.Reply{{Text: "I am the other."}}})
				c.opt.Realtime = realtime.Fallback(&x.o, realtime.New(first, nil), realtime.New(second, nil))
				c.start(nil)
				if x.speaking {
					c.s.GenerateReply(agent.Reply{})
				}
				c.until(0.5)
				first.Break(&model.Error{Kind: model.KindConnection, Provider: "scripted", Op: "receive"})
				c.until(8)
				c.wantHistory(append([]string{"handoff  -> default_agent"}, x.want...)...)
				c.close()
				if l := second.Ledger(); l.Dials != 1 || len(l.Responses) != max(len(x.want)-1, 0) {
					t.Errorf("the other model was dialled %d times and answered %d times", l.Dials, len(l.Responses))
				}
			})
		})
	}
}

func TestC114AllModelsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := scripted.Options{Faults: []scripted.Fault{{Conn: -1, When: scripted.AtConnect}}}
		c, first := newRealtimeCall(t, broken)
		c.opt.Realtime = realtime.Fallback(nil, realtime.New(first, nil), realtime.New(scripted.New(&broken), nil))
		c.start(nil)
		c.until(30)
		if rep := c.close(); rep.CloseReason != session.ReasonError {
			t.Errorf("closed for %q: %v", rep.CloseReason, rep.CloseError)
		}
	})
}

func TestC118WordsOfTheUserStandWhereHeSaidThem(t *testing.T) {
	for name, x := range map[string]struct {
		started bool
		want    []string
	}{
		"known":   {true, []string{"user: Late words", "assistant: Sooner."}},
		"unknown": {false, []string{"assistant: Sooner.", "user: Late words"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := newRealtimeCall(t, scripted.Options{Replies: []scripted.Reply{{Text: "Sooner."}}})
				c.start(nil)
				c.until(1)
				began := time.Now()
				c.s.GenerateReply(agent.Reply{})
				c.until(4)
				tr := &driver.Transcript{ItemID: "late", Text: "Late words", Final: true}
				if x.started {
					tr.StartedAt = began.Add(-time.Second)
				}
				m.Emit(tr)
				c.until(5)
				c.wantHistory(append([]string{"handoff  -> default_agent"}, x.want...)...)
				c.close()
			})
		})
	}
}

func TestC119ContextThatTheModelDoesNotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{NoAcks: true, Replies: []scripted.Reply{{Text: "Still here."}}})
		c.start(nil)
		c.until(1)
		if err := c.s.GenerateReply(agent.Reply{UserInput: "Hello?"}).Wait(t.Context()); err != nil {
			t.Errorf("reply: %v", err)
		}
		c.wantHistory("handoff  -> default_agent", "user: Hello?", "assistant: Still here.")
		c.close()
		c.wantSpent(m)
	})
}

func TestRealtimeLostForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newRealtimeCall(t, scripted.Options{Faults: []scripted.Fault{{Conn: -1, When: scripted.AtConnect, Kind: scripted.Fail,
			Err: &model.Error{Kind: model.KindStatus, Status: 401, Provider: "scripted", Op: "dial"}}}})
		c.start(nil)
		c.until(5)
		rep := c.close()
		if rep.CloseReason != session.ReasonError || rep.CloseError == nil {
			t.Errorf("closed for %q: %v", rep.CloseReason, rep.CloseError)
		}
	})
}

func TestRealtimeModelsAndLLMsDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{})
		both := c.opt
		both.LLM = llm.New(c.llm, nil)
		if err := session.New(both).Start(t.Context(), &agent.Agent{}, sessiontest.New()); err == nil {
			t.Error("a session was started with an LLM and a realtime model")
		}
		c.start(nil)
		if err := c.s.UpdateAgentOptions(agent.Options{LLM: opt.Some(both.LLM)}); err == nil {
			t.Error("an LLM took the place of a realtime model")
		}
		if err := c.s.UpdateAgentOptions(agent.Options{Realtime: opt.Some(realtime.New(m, nil))}); err != nil {
			t.Errorf("another realtime model: %v", err)
		}
		c.close()
	})
}
