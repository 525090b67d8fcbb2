package session_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/vad"
)

// transport that reports a disconnect in Open and then fails / or succeeds late.
type badTransport struct {
	err   error
	order []string
}

func (b *badTransport) Open(ctx context.Context, h session.Host) (session.IO, error) {
	h.Disconnected("gone")
	time.Sleep(10 * time.Second)
	b.order = append(b.order, "opened")
	return session.IO{}, b.err
}
func (b *badTransport) Close(context.Context) error { b.order = append(b.order, "closed"); return nil }

func TestDisconnectWhileOpeningThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := session.New(session.Options{})
		err := s.Start(t.Context(), &agent.Agent{}, &badTransport{err: errors.New("boom")})
		if err == nil || !strings.Contains(err.Error(), "boom") && !strings.Contains(err.Error(), "closed") {
			t.Errorf("start: %v, want a failure", err)
		}
		time.Sleep(time.Minute)
	})
}

func TestCloseWhileOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := session.New(session.Options{})
		b := &badTransport{}
		err := s.Start(t.Context(), &agent.Agent{}, b)
		if err == nil {
			select {
			case <-s.Done():
				t.Error("Start succeeded on a closed session")
			default:
			}
		}
		if strings.Join(b.order, " ") != "opened closed" {
			t.Errorf("order: %v", b.order)
		}
		s.Close(context.Background())
	})
}

// AudioOut that fails on Write.
type deadOut struct{ f func(session.PlaybackEvent) }

func (d *deadOut) SampleRate() int                          { return 16000 }
func (d *deadOut) Notify(f func(session.PlaybackEvent))     { d.f = f }
func (d *deadOut) Write(context.Context, audio.Frame) error { return errors.New("track is gone") }
func (d *deadOut) Flush()                                   {}
func (d *deadOut) Clear()                                   {}
func (d *deadOut) Pause()                                   {}
func (d *deadOut) Resume()                                  {}
func (d *deadOut) Played() time.Duration                    { return 0 }

type ioTransport struct {
	io session.IO
	h  session.Host
}

func (x *ioTransport) Open(_ context.Context, h session.Host) (session.IO, error) {
	x.h = h
	h.OutputReady()
	return x.io, nil
}
func (x *ioTransport) Close(context.Context) error { return nil }

func TestBrokenOutputFailsTheSpeech(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.opt.VAD, c.opt.STT = nil, nil
		s := session.New(c.opt)
		if err := s.Start(t.Context(), &agent.Agent{}, &ioTransport{io: session.IO{AudioOut: &deadOut{}}}); err != nil {
			t.Fatal(err)
		}
		sp := s.Say("hello there", nil)
		select {
		case <-sp.Done():
			if sp.Err() == nil {
				t.Error("speech went well on a broken output")
			}
		case <-time.After(10 * time.Minute):
			t.Errorf("speech hangs after Write error; state %s", s.AgentState())
		}
		s.Close(context.Background())
		c.room.Out.Close()
	})
}

// TTSNode panics after first audio.
func TestPanicInTTSNodeEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{TTSNode: func(ctx context.Context, text iter.Seq[string], next agent.TTSNode) iter.Seq2[*tts.Audio, error] {
			return func(yield func(*tts.Audio, error) bool) {
				for a, err := range next(ctx, text) {
					yield(a, err)
					panic("oops")
				}
			}
		}})
		c.s.Say("hello there", nil)
		if c.s.Wait(t.Context()) != nil || time.Since(c.t0) > 2*time.Second {
			t.Errorf("closed after %v, want soon", time.Since(c.t0))
		}
	})
}

func TestTypedTextIsNeverLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "a"}, scripted.Answer{Text: "b"}, scripted.Answer{Text: "c"})
		c.tts.lasts(10 * time.Second)
		c.start(nil)
		c.s.Say("long text", nil)
		c.until(2)
		c.room.Host().ReceiveText(session.TextInput{Text: "My number is 42"})
		c.room.Host().ReceiveText(session.TextInput{Text: "Thanks"})
		c.until(30)
		if !strings.Contains(c.history(), "42") {
			t.Errorf("typed text lost:\n%s", c.history())
		}
		c.close()
	})
}

func TestOnExitRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.tts.lasts(10 * time.Second)
		n := 0
		c.start(&agent.Agent{OnExit: func(context.Context, *agent.RunContext) error { n++; return nil }})
		c.s.Say("long", nil)
		c.until(1)
		c.s.UpdateAgent(&agent.Agent{ID: "b"})
		c.until(2)
		c.close()
		if n != 1 {
			t.Errorf("OnExit ran %d times", n)
		}
	})
}

func TestTurnDuringHandoffReachesTheNextAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Answer"}, scripted.Answer{Text: "Answer2"})
		c.tts.lasts(6 * time.Second)
		c.start(nil)
		c.s.Say("long goodbye", &agent.SayOptions{Protected: true})
		c.until(1)
		c.s.UpdateAgent(&agent.Agent{ID: "b"})
		c.says(2, 3, "My number is 42")
		c.until(10)
		c.says(10.5, 11.5, "What is my number?")
		c.until(25)
		reqs := c.llm.Requests()
		found := false
		for _, r := range reqs {
			for it := range r.Messages.All() {
				if strings.Contains(describe(it), "42") {
					found = true
				}
			}
		}
		if !found {
			t.Errorf("%d requests, none knows the words said during the handoff", len(reqs))
		}
		c.close()
	})
}

func TestSayDuringHandoffIsOfTheNextAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.tts.lasts(3 * time.Second)
		c.start(nil)
		c.s.Say("long", nil)
		c.until(1)
		c.s.UpdateAgent(&agent.Agent{ID: "b"})
		synctest.Wait()
		sp := c.s.Say("welcome", nil)
		c.until(10)
		if sp.Err() != nil {
			t.Errorf("say during handoff: %v", sp.Err())
		}
		c.close()
	})
}

func TestUserIsSilentWhenTheEarsAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		c.says(0.5, 1.5, "")
		c.until(1)
		spoken := make(chan *agent.Speech, 1)
		c.s.UpdateAgent(&agent.Agent{ID: "b", VAD: opt.Off[*vad.Model](), OnEnter: func(_ context.Context, rc *agent.RunContext) error {
			spoken <- rc.Session().Say("welcome", nil)
			return nil
		}})
		c.until(60)
		sp := <-spoken
		if !isDone(sp) || c.s.UserState() == agent.UserSpeaking {
			t.Errorf("user is %s, speech done %v", c.s.UserState(), isDone(sp))
		}
		c.close()
	})
}

func isDone(sp *agent.Speech) bool {
	select {
	case <-sp.Done():
		return true
	default:
		return false
	}
}

// input that ends with EOF.
type eofIn struct {
	session.AudioInput
	end time.Time
}

func (e *eofIn) ReadFrame(ctx context.Context) (audio.Frame, error) {
	if time.Now().After(e.end) {
		return audio.Frame{}, io.EOF
	}
	return e.AudioInput.ReadFrame(ctx)
}

func TestUserIsSilentWhenTheInputEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		s := session.New(c.opt)
		now := time.Now()
		c.room.In.Speak(now.Add(500*time.Millisecond), now.Add(3*time.Second))
		tr := &ioTransport{io: session.IO{AudioIn: &eofIn{c.room.In, now.Add(2 * time.Second)}, AudioOut: c.room.Out}}
		if err := s.Start(t.Context(), &agent.Agent{}, tr); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		sp := s.Say("are you there", nil)
		time.Sleep(time.Minute)
		if !isDone(sp) || s.UserState() == agent.UserSpeaking {
			t.Errorf("user is %s, speech done %v", s.UserState(), isDone(sp))
		}
		s.Close(context.Background())
		c.room.Out.Close()
	})
}

func TestToolResultsAreKeptWhenTheVoiceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		tool := llm.NewTool("book", "", func(context.Context, *agent.RunContext, struct{}) (string, error) { ran++; return "booked", nil })
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{Text: "Let me see.", ToolCalls: callsTool("book", "{}")}}}, scripted.Answer{Text: "Done"})
		c.start(&agent.Agent{Tools: []llm.Tool{tool}, TTSNode: func(ctx context.Context, text iter.Seq[string], next agent.TTSNode) iter.Seq2[*tts.Audio, error] {
			return func(yield func(*tts.Audio, error) bool) { yield(nil, errors.New("tts down")) }
		}})
		sp := c.s.GenerateReply(agent.Reply{UserInput: "book it"})
		c.until(10)
		if ran != 1 || !strings.Contains(c.history(), "booked") {
			t.Errorf("tool ran %d times, err %v, history:\n%s", ran, sp.Err(), c.history())
		}
		c.close()
	})
}

func TestLateToolResultIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{Text: tenWords, ToolCalls: callsTool("weather", `{"location":"Paris"}`)}}},
			scripted.Answer{Chunks: oneChunk("Fine.")})
		c.tts.lasts(10 * time.Second)
		c.start(&agent.Agent{Tools: []llm.Tool{weather(9 * time.Second)}})
		c.says(0.5, 2.5, "Weather?")
		c.says(5, 6, "Never mind")
		c.until(40)
		c.close()
		if !strings.Contains(c.history(), "weather(") {
			t.Errorf("history:\n%s", c.history())
		}
	})
}

func TestReplyAskedForByAToolCallsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tool := llm.NewTool("x", "", func(_ context.Context, rc *agent.RunContext, _ struct{}) (any, error) {
			_ = rc.Session().GenerateReply(agent.Reply{})
			return nil, nil
		})
		c := newCall(t, scripted.Answer{Calls: callsTool("x", "{}")}, scripted.Answer{Text: "Done"})
		c.start(&agent.Agent{Tools: []llm.Tool{tool}})
		c.s.GenerateReply(agent.Reply{UserInput: "go"})
		c.until(10)
		if r := c.llm.Requests(); len(r) != 2 || len(r[1].Tools) != 0 {
			t.Errorf("%d requests; tools offered in the reply made in a tool: %d", len(r), len(r[1].Tools))
		}
		c.close()
	})
}

func TestTranscriptNodeLeavesTheSpeechAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		var mu sync.Mutex
		spoken := ""
		c.start(&agent.Agent{
			TranscriptNode: func(_ context.Context, text iter.Seq[string]) iter.Seq[string] {
				return func(yield func(string) bool) {
					for x := range text {
						if !yield(strings.ReplaceAll(x, "1234", "****")) {
							return
						}
					}
				}
			},
			TTSNode: func(ctx context.Context, text iter.Seq[string], next agent.TTSNode) iter.Seq2[*tts.Audio, error] {
				return next(ctx, func(yield func(string) bool) {
					for x := range text {
						mu.Lock()
						spoken += x
						mu.Unlock()
						if !yield(x) {
							return
						}
					}
				})
			},
		})
		c.s.Say("Your PIN is 1234", nil)
		c.until(5)
		mu.Lock()
		defer mu.Unlock()
		if spoken != "Your PIN is 1234" {
			t.Errorf("spoken %q", spoken)
		}
		c.close()
	})
}

func TestLastWordsComeAfterEarlierTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{OnUserTurnCompleted: func(_ context.Context, _ *agent.RunContext, _ *chat.Context, m *chat.Message) error {
			time.Sleep(2 * time.Second)
			return nil
		}})
		c.says(0.5, 1.0, "First")
		c.says(1.7, 2.2, "Second")
		c.until(2.3)
		c.close()
		c.wantHistory("handoff  -> default_agent", "user: First", "user: Second")
	})
}

func TestTurnInAHookIsKeptAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{OnUserTurnCompleted: func(ctx context.Context, _ *agent.RunContext, _ *chat.Context, m *chat.Message) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(2 * time.Second):
				return nil
			}
		}})
		c.says(0.5, 1.0, "First")
		c.until(2.3)
		c.close()
		c.wantHistory("handoff  -> default_agent", "user: First")
	})
}

func TestReportWaitsForTheUsageOfCutStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "one two three four five six seven eight"})
		c.opt.LLM = llm.New(c.llm, &llm.Options{DrainUsage: opt.Some(2 * time.Second)})
		c.start(nil)
		c.s.GenerateReply(agent.Reply{UserInput: "go"})
		c.until(0.35)
		rep := c.close()
		at := rep.Usage
		time.Sleep(10 * time.Second)
		later := c.s.Usage()
		a, _ := at.LLM("scripted", "scripted")
		b, _ := later.LLM("scripted", "scripted")
		if a.OutputTokens != b.OutputTokens || a.InputTokens != b.InputTokens {
			t.Errorf("report %+v, later %+v", a, b)
		}
	})
}

func TestCloseFromOnExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{OnExit: func(ctx context.Context, rc *agent.RunContext) error {
			return c.s.Close(ctx)
		}})
		b := time.Now()
		_ = c.s.Close(context.Background())
		if d := time.Since(b); d > time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func TestCloseFromATool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("x", "{}")})
		tool := llm.NewTool("x", "", func(ctx context.Context, rc *agent.RunContext, _ struct{}) (any, error) {
			return nil, c.s.Close(ctx)
		})
		c.start(&agent.Agent{Tools: []llm.Tool{tool}})
		c.s.GenerateReply(agent.Reply{UserInput: "go"})
		b := time.Now()
		_ = c.s.Wait(context.Background())
		if d := time.Since(b); d > time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// TTSNode that ignores ctx: after the watchdog it must not disturb the next speech.
func TestStuckNodeLeavesTheNextSpeechAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		first := true
		c.start(&agent.Agent{TTSNode: func(ctx context.Context, text iter.Seq[string], next agent.TTSNode) iter.Seq2[*tts.Audio, error] {
			stuck := first
			first = false
			return func(yield func(*tts.Audio, error) bool) {
				for a, err := range next(ctx, text) {
					if !yield(a, err) {
						return
					}
					if stuck {
						time.Sleep(9 * time.Second)
					}
				}
			}
		}})
		c.s.Say("first", nil)
		c.until(1)
		c.interrupt(true)
		c.tts.lasts(10 * time.Second)
		b := c.s.Say("second", nil)
		c.until(30)
		segs := c.room.Out.Segments()
		if !isDone(b) || len(segs) != 2 || segs[1].Played != 10*time.Second {
			t.Errorf("segments %+v", segs)
		}
		c.close()
	})
}

func TestNodeThatReturnsNil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{LLMNode: func(context.Context, *llm.Request, agent.LLMNode) iter.Seq2[*llm.Chunk, error] { return nil }})
		sp := c.s.GenerateReply(agent.Reply{UserInput: "go"})
		c.until(2)
		select {
		case <-c.s.Done():
			t.Errorf("session closed because a node gave nothing; %v", sp.Err())
		default:
		}
		c.close()
	})
}

func TestTextWithoutAudioIsUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{TTSNode: func(context.Context, iter.Seq[string], agent.TTSNode) iter.Seq2[*tts.Audio, error] {
			return func(func(*tts.Audio, error) bool) {}
		}})
		c.s.Say("nobody hears this", nil)
		c.until(2)
		c.wantHistory("handoff  -> default_agent")
		c.close()
	})
}

func TestTTFBOfACannedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{TTSNode: func(context.Context, iter.Seq[string], agent.TTSNode) iter.Seq2[*tts.Audio, error] {
			return func(yield func(*tts.Audio, error) bool) {
				yield(&tts.Audio{Frame: audio.Silence(time.Second, 16000, 1)}, nil)
			}
		}})
		c.s.Say("canned", nil)
		c.until(3)
		for it := range c.s.History().All() {
			if m, ok := it.(*chat.Message); ok {
				if m.Metrics.TTSNodeTTFB != nil && *m.Metrics.TTSNodeTTFB > time.Minute {
					t.Errorf("ttfb %v", *m.Metrics.TTSNodeTTFB)
				}
			}
		}
		c.close()
	})
}

func TestInterruptWhileAToolRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{Text: tenWords, ToolCalls: callsTool("weather", `{"location":"Paris"}`)}}})
		c.tts.lasts(10 * time.Second)
		c.start(&agent.Agent{Tools: []llm.Tool{weather(20 * time.Second)}})
		c.s.GenerateReply(agent.Reply{UserInput: "go"})
		c.until(2)
		c.interrupt(false)
		c.until(3)
		if st := c.s.AgentState(); st == agent.Speaking {
			t.Errorf("agent is %s one second after Interrupt", st)
		}
		c.until(10)
		c.close()
	})
}

func TestHandoffsTakePlaceOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		c.s.Say("long", nil)
		if err := c.s.UpdateAgent(&agent.Agent{ID: "b"}); err != nil {
			t.Error(err)
		}
		if err := c.s.UpdateAgent(&agent.Agent{ID: "c"}); err != nil {
			t.Error(err)
		}
		c.until(5)
		c.close()
	})
}

func TestPanicInTranscriptNodeEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.tts.lasts(5 * time.Second)
		c.start(&agent.Agent{TranscriptNode: func(_ context.Context, text iter.Seq[string]) iter.Seq[string] {
			return func(yield func(string) bool) { panic("x") }
		}})
		sp := c.s.Say("hello", nil)
		if c.s.Wait(t.Context()) != nil || !isDone(sp) || time.Since(c.t0) > 2*time.Second {
			t.Errorf("closed after %v, speech done: %v", time.Since(c.t0), isDone(sp))
		}
	})
}

func TestSpeechWithAStuckToolIsDoneAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("hang", "{}")})
		release := make(chan struct{})
		tool := llm.NewTool("hang", "", func(ctx context.Context, rc *agent.RunContext, _ struct{}) (any, error) { <-release; return nil, nil })
		c.start(&agent.Agent{Tools: []llm.Tool{tool}})
		sp := c.s.GenerateReply(agent.Reply{UserInput: "go"})
		c.until(1)
		c.s.Shutdown(agent.ShutdownOptions{})
		_ = c.s.Wait(context.Background())
		if !isDone(sp) {
			t.Error("speech never done after close")
		}
		close(release)
		time.Sleep(time.Second)
	})
}

func TestClosedIsTheLastEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi"})
		var last session.Event
		c.start(nil)
		session.On(c.s, func(e session.Event) { last = e })
		c.s.GenerateReply(agent.Reply{UserInput: "x"})
		c.until(0.3)
		c.close()
		time.Sleep(5 * time.Second)
		if _, ok := last.(session.Closed); !ok {
			t.Errorf("last event is %T", last)
		}
	})
}
