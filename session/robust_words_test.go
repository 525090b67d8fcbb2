package session_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/stt"
	sttdriver "github.com/parley-go/parley/stt/driver"
	sttscripted "github.com/parley-go/parley/stt/scripted"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/vad"
	vaddriver "github.com/parley-go/parley/vad/driver"
)

func TestHandoffKeepsTheEarsOfABatchSTT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "ok"}, scripted.Answer{Text: "ok"})
		c.opt.STT = stt.New(sttscripted.NewBatch(&sttscripted.Options{Texts: []string{"My number is 42"}}), nil)
		c.start(nil)
		c.room.In.Speak(c.at(1), c.at(3))
		c.until(3.2)
		if err := c.s.UpdateAgent(&agent.Agent{ID: "b"}); err != nil {
			t.Fatal(err)
		}
		c.until(20)
		if c.s.UserState() == agent.UserSpeaking || !strings.Contains(c.history(), "42") {
			t.Errorf("user is %s", c.s.UserState())
		}
		c.close()
	})
}

func TestTextReadButNotSpokenIsUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{TTSNode: func(_ context.Context, text iter.Seq[string], _ agent.TTSNode) iter.Seq2[*tts.Audio, error] {
			return func(func(*tts.Audio, error) bool) {
				for range text {
				}
			}
		}})
		c.s.Say("nobody hears this", nil)
		c.until(2)
		c.wantHistory("handoff  -> default_agent")
		c.close()
	})
}

func TestHookEditsLastOverToolRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("weather", `{"location":"x"}`)}, scripted.Answer{Text: "Done"})
		c.start(&agent.Agent{Tools: []llm.Tool{weather(0)}, OnUserTurnCompleted: func(_ context.Context, _ *agent.RunContext, turn *chat.Context, m *chat.Message) error {
			turn.Add(chat.NewMessage(chat.System, "RAG: the user lives in Rome"))
			return nil
		}})
		c.says(0.5, 1.5, "weather at home?")
		c.until(10)
		for i, r := range c.llm.Requests() {
			s := ""
			for it := range r.Messages.All() {
				s += describe(it) + " | "
			}
			if !strings.Contains(s, "RAG") {
				t.Errorf("request %d: %s", i, s)
			}
		}
		c.close()
	})
}

func TestCoughDoesNotSpoilTheLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "ok"})
		c.start(nil)
		c.room.In.Speak(c.at(1), c.at(1.5))
		c.stt.expect(12*time.Second, "Hello")
		c.until(18)
		rep := c.close()
		if len(rep.Turns) != 1 || rep.Turns[0].Total > 2*time.Second {
			t.Errorf("turns %+v, want one that is counted from its own words", rep.Turns)
		}
	})
}

type panicVAD struct{ vadScript }

func (panicVAD) NewStream() (vaddriver.Stream, error) { panic("no model file") }

func TestPanickingVADFailsTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.opt.VAD = vad.New(panicVAD{})
		s := session.New(c.opt)
		if err := s.Start(t.Context(), &agent.Agent{}, c.room); err == nil {
			t.Error("start went well without a VAD")
		}
	})
}

func TestInterimWithoutVADHoldsTheTurnOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "ok"}, scripted.Answer{Text: "ok"})
		c.opt.VAD = nil
		line := func(at float64, k sttdriver.EventKind, s string) sttscripted.Line {
			return sttscripted.Line{At: time.Duration(at * float64(time.Second)), Event: sttdriver.Event{Kind: k, Alternatives: []sttdriver.Alternative{{Text: s}}}}
		}
		c.opt.STT = stt.New(sttscripted.New(&sttscripted.Options{Streams: [][]sttscripted.Line{{
			line(1, sttdriver.Final, "I would like"), line(1.2, sttdriver.Interim, "a"), line(1.4, sttdriver.Interim, "a table"), line(1.6, sttdriver.Interim, "a table for"),
			line(1.8, sttdriver.Interim, "a table for two"), line(2.0, sttdriver.Final, "a table for two")}}}), nil)
		c.start(nil)
		c.until(8)
		c.wantHistory("handoff  -> default_agent", "user: I would like a table for two", "assistant: ok")
		c.close()
	})
}

func TestToolResultsAreKeptWhenTheModelFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		tool := llm.NewTool("book", "", func(context.Context, *agent.RunContext, struct{}) (string, error) { ran++; return "booked", nil })
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{ToolCalls: callsTool("book", "{}")}, {Text: "x"}}, Fault: &scripted.Fault{After: 1, Err: &model.Error{Kind: model.KindRequest, Err: errors.New("cut")}}}, scripted.Answer{Text: "Done"})
		c.start(&agent.Agent{Tools: []llm.Tool{tool}})
		c.s.GenerateReply(agent.Reply{UserInput: "book it"})
		c.until(10)
		if ran == 1 && !strings.Contains(c.history(), "booked") {
			t.Errorf("ran %d:\n%s", ran, c.history())
		}
		c.close()
	})
}

func TestCloseEndsTheDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.tts.lasts(30 * time.Second)
		c.start(nil)
		c.s.Say("x y z", nil)
		c.until(1)
		c.s.Shutdown(agent.ShutdownOptions{})
		c.until(2)
		b := time.Now()
		go c.s.Close(context.Background())
		c.close()
		if time.Since(b) > time.Second {
			t.Error(time.Since(b))
		}
	})
}

func TestPanicIsTheErrorOfTheSpeech(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{TTSNode: func(_ context.Context, text iter.Seq[string], _ agent.TTSNode) iter.Seq2[*tts.Audio, error] {
			panic("x")
		}})
		sp := c.s.Say("a", nil)
		sp.Wait(t.Context())
		if sp.Err() == nil {
			t.Errorf("err nil, interrupted %v", sp.Interrupted())
		}
	})
}

func TestVoiceThatBreaksOffIsAnInterruption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{TTSNode: func(ctx context.Context, text iter.Seq[string], next agent.TTSNode) iter.Seq2[*tts.Audio, error] {
			return func(yield func(*tts.Audio, error) bool) {
				n := 0
				for a, err := range next(ctx, text) {
					if !yield(a, err) {
						return
					}
					if n++; n == 10 {
						yield(nil, errors.New("cut"))
						return
					}
				}
			}
		}})
		c.s.Say(tenWords, nil)
		c.until(5)
		c.close()
		// What came is heard to its end: half of the audio, and of the words.
		c.wantHistory("handoff  -> default_agent", "assistant: one two three four five [interrupted]")
		if segs := c.room.Out.Segments(); len(segs) != 1 || segs[0].Played != time.Second {
			t.Errorf("heard %+v", segs)
		}
	})
}

func TestWordsAreKeptWithoutAModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.opt.LLM = nil
		c.start(nil)
		c.room.Host().ReceiveText(session.TextInput{Text: "hello"})
		c.says(1, 2, "voice")
		c.until(5)
		c.wantHistory("handoff  -> default_agent", "user: hello", "user: voice")
		if c.s.AgentState() != agent.Listening {
			t.Error(c.s.AgentState())
		}
		c.close()
	})
}

func TestUnspeakableTexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		c.s.Say("", nil)
		c.s.Say("***", nil)
		c.s.Say("👍", nil)
		c.until(5)
		if c.s.AgentState() != agent.Listening {
			t.Errorf("agent is %s after texts without words, want listening", c.s.AgentState())
		}
		c.close()
	})
}

func TestWordsOfReplacedEarsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "a"})
		c.start(nil)
		c.says(0.5, 2.5, "My number is 42")
		c.until(2.6)
		c.s.UpdateAgent(&agent.Agent{ID: "b", STT: optOffSTT()})
		c.until(10)
		c.close()
		if !strings.Contains(c.history(), "42") {
			t.Error(c.history())
		}
	})
}
func optOffSTT() opt.Value[*stt.Model] { return opt.Off[*stt.Model]() }

func TestReportWhileLateEventsArrive(t *testing.T) {
	m := llm.New(scripted.New(&scripted.Options{Respond: func(int, *driver.Request) scripted.Answer {
		return scripted.Answer{Fault: &scripted.Fault{InChat: true, Err: errors.New("x")}}
	}}), nil)
	for range 50 {
		var wg sync.WaitGroup
		stop := make(chan struct{})
		s := session.New(session.Options{Logger: slog.New(slog.DiscardHandler), MaxUnrecoverableErrors: opt.Off[int]()})
		_ = s.Start(t.Context(), &agent.Agent{OnEnter: func(ctx context.Context, _ *agent.RunContext) error {
			ctx = context.WithoutCancel(ctx)
			for range 4 {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							_, _, _ = m.Chat(ctx, &llm.Request{}).Collect()
						}
					}
				})
			}
			return nil
		}}, nil)
		go s.Close(context.Background())
		<-s.Done()
		_, _ = s.Report()
		close(stop)
		wg.Wait()
	}
}
