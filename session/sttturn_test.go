package session_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/stt"
	sttdriver "github.com/parley-go/parley/stt/driver"
	sttscripted "github.com/parley-go/parley/stt/scripted"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/vad"
	vaddriver "github.com/parley-go/parley/vad/driver"
)

func TestSTTEndsTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.VAD = nil
		c.opt.TurnHandling.Detection = turn.DetectSTT
		c.start(nil)
		c.stt.listens(0.5, 2.5)
		c.stt.tells(1.5, words(sttdriver.Final, sttdriver.Alternative{Text: "Hello", Start: seconds(0.6), End: seconds(1.0)})) // a pause of 1.5 s
		c.stt.tells(2.6, words(sttdriver.Final, sttdriver.Alternative{Text: "there", Start: seconds(2.1), End: seconds(2.5)}))
		c.until(7)
		c.wantTimeline(
			"0.00 handoff  -> default_agent", "0.00 agent listening",
			"0.50 user speaking", "1.50 final Hello", "2.60 final there", "2.70 user listening",
			"3.00 user: Hello there", "3.00 agent thinking", // 0.5 s after the last word
			"3.50 agent speaking", "5.50 assistant: Hi there", "5.50 agent listening",
		)
		c.close()
	})
}

// An STT that tells of no starts is not waited for.
func TestSTTWithoutStartsEndsTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.VAD = nil
		c.opt.TurnHandling.Detection = turn.DetectSTT
		c.start(nil)
		c.stt.expect(time.Second, "Hello")
		c.until(7)
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there")
		c.close()
	})
}

// countingVAD counts its streams and their flushes.
type countingVAD struct {
	vadScript
	streams, flushes *atomic.Int32
}

func (v countingVAD) NewStream() (vaddriver.Stream, error) {
	v.streams.Add(1)
	return &countingVADStream{flushes: v.flushes}, nil
}

type countingVADStream struct {
	vadStream
	flushes *atomic.Int32
}

func (v *countingVADStream) Flush() { v.flushes.Add(1); v.vadStream.Flush() }

func TestC032EndOfSpeechBySTTFlushesTheVAD(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		v := countingVAD{streams: &atomic.Int32{}, flushes: &atomic.Int32{}}
		c.opt.VAD = vad.New(v)
		c.opt.TurnHandling.Detection = turn.DetectSTT
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(2.5)) // to the VAD until 3.0
		c.stt.listens(0.5, 2.4)               // to the STT until 2.6
		c.stt.expect(2500*time.Millisecond, "I would like")
		c.room.In.Speak(c.at(2.8), c.at(4))
		c.stt.listens(2.8, 4)
		c.stt.expect(4100*time.Millisecond, "a table")
		c.until(8)
		c.wantTimeline(
			"0.00 handoff  -> default_agent", "0.00 agent listening",
			"0.50 user speaking", "2.50 final I would like", "2.60 user listening",
			"2.80 user speaking", // keeps the turn open, which would end at 3.0
			"4.10 final a table", "4.20 user listening",
			"4.52 user: I would like a table", "4.52 agent thinking", // the VAD's last sound was one frame later
			"5.02 agent speaking", "7.02 assistant: Hi there", "7.02 agent listening",
		)
		if v.streams.Load() != 1 || v.flushes.Load() != 2 {
			t.Errorf("%d VAD streams, %d flushes, want one stream, flushed for each end by the STT", v.streams.Load(), v.flushes.Load())
		}
		c.close()
	})
}

func TestC021SpikeDoesNotBlockTheTurn(t *testing.T) {
	for _, d := range []turn.Detection{turn.DetectVAD, turn.DetectSTT} {
		t.Run(string(d), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Hi there"})
				c.opt.TurnHandling.Detection = d
				c.start(nil)
				c.says(0.5, 2.5, "Hello") // would be a turn at 3.0
				c.stt.listens(0.5, 2.4)
				c.room.In.Speak(c.at(2.8), c.at(2.9)) // a click, to the VAD until 3.4
				c.until(7)
				c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there")
				if at := c.committedAt(); at != 3400*time.Millisecond {
					t.Errorf("turn ended at %v, want 0.5 s after the click", at)
				}
				c.close()
			})
		})
	}
}

func TestC029Language(t *testing.T) {
	for _, tt := range []struct {
		name  string
		heard []string // language, text
		want  string
	}{
		{"unknown", []string{"multi", "Hello everybody", "auto", "Bonjour"}, ""},
		{"first", []string{"multi", "Hello", "en", "Hi"}, "en"},
		{"few letters", []string{"en", "Hello everybody", "fr", "Oui"}, "en"},
		{"more letters", []string{"en", "Hello everybody", "fr", "Bonjour"}, "fr"},
		{"kept", []string{"en", "Hello everybody", "multi", "Bonjour", "", "tout le monde"}, "en"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t)
				c.opt.TurnHandling.Detection = turn.DetectManual
				c.start(nil)
				sec := 1.0
				for ; len(tt.heard) > 0; tt.heard = tt.heard[2:] {
					c.stt.tells(sec, words(sttdriver.Final, sttdriver.Alternative{Language: tt.heard[0], Text: tt.heard[1]}))
					sec++
				}
				c.stt.expectInterim(seconds(sec), "rest")
				c.until(sec + 1)
				if _, err := c.s.CommitUserTurn(t.Context(), &session.CommitOptions{SkipReply: true}); err != nil {
					t.Fatal(err)
				}
				c.close()
				got := "never told"
				for _, e := range c.events {
					if u, ok := e.(session.UserInputTranscribed); ok && u.Final && u.Transcript == "rest" {
						got = u.Language // the words of an interim count as of the language that is known
					}
				}
				if got != tt.want {
					t.Errorf("language %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// userMessage is the first message of the user in the history.
func (c *call) userMessage() *chat.Message {
	c.t.Helper()
	for m := range c.s.History().Messages() {
		if m.Role == chat.User {
			return m
		}
	}
	c.t.Fatalf("no message of the user:\n%s", c.history())
	return nil
}

func TestC030TurnStartsWithTheFirstBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.TurnHandling.Endpointing.MinDelay = opt.Some(time.Second)
		c.start(nil)
		c.says(0.5, 1.5, "I would like")
		c.says(2.3, 3.0, "a table")
		c.until(8)
		m := c.userMessage().Metrics
		if m.StartedSpeakingAt != c.at(0.5) || m.StoppedSpeakingAt != c.at(3) {
			t.Errorf("spoken from %v to %v, want from 0.5 s to 3 s", m.StartedSpeakingAt.Sub(c.t0), m.StoppedSpeakingAt.Sub(c.t0))
		}
		c.close()
	})
}

func TestC031DelaysNeedAConsistentTurn(t *testing.T) {
	for _, tt := range []struct {
		name  string
		words sttdriver.Alternative
		known bool
	}{
		{"said after the start", sttdriver.Alternative{Text: "Hello", Start: seconds(1.1), End: seconds(1.4)}, true},
		{"said at the start", sttdriver.Alternative{Text: "Hello", End: seconds(1)}, true},
		{"said before the start", sttdriver.Alternative{Text: "Hello", Start: seconds(0.2), End: seconds(0.8)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Hi there"})
				c.opt.VAD = nil
				c.opt.TurnHandling.Detection = turn.DetectSTT
				c.start(nil)
				c.stt.listens(1, 1.4)
				c.stt.tells(1.5, words(sttdriver.Final, tt.words))
				c.until(6)
				m := c.userMessage().Metrics
				if known := m.EndOfTurnDelay != nil && m.TranscriptionDelay != nil; known != tt.known {
					t.Errorf("metrics %+v, want delays: %v", m, tt.known)
				}
				c.close()
			})
		})
	}
}

func TestC057InterimInterruptsOnlyWithoutVAD(t *testing.T) {
	for _, tt := range []struct {
		name string
		vad  bool
		want agent.State
	}{{"with VAD", true, agent.Speaking}, {"without VAD", false, agent.Listening}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t)
				if !tt.vad {
					c.opt.VAD = nil
				}
				c.tts.lasts(10 * time.Second)
				c.start(nil)
				c.s.Say(tenWords, nil)
				c.stt.expectInterim(3*time.Second, "Stop")
				c.until(4)
				if got := c.s.AgentState(); got != tt.want {
					t.Errorf("agent is %s after an interim, want %s", got, tt.want)
				}
				c.close()
			})
		})
	}
}

// Words that do not suffice to interrupt still give the user time to go on.
func TestWordsPutOffTheResuming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: oneChunk(tenWords)})
		c.opt.TurnHandling.Interruption.MinWords = opt.Some(2)
		c.tts.lasts(5 * time.Second)
		c.start(nil)
		c.says(0.5, 2.5, "Count please") // the agent speaks from 3.4 on
		c.stt.expectInterim(5300*time.Millisecond, "oh well")
		c.room.In.Speak(c.at(5), c.at(6)) // paused at 5.5, to be resumed at 8.5
		c.stt.expectInterim(7*time.Second, "oh")
		c.until(8.8)
		if c.s.AgentState() != agent.Listening {
			t.Errorf("agent is %s, want still paused", c.s.AgentState())
		}
		c.until(9.2)
		if c.s.AgentState() != agent.Speaking || c.falseInterruptions() != 1 {
			t.Errorf("agent is %s after %d false interruptions, want speaking again since 9.0", c.s.AgentState(), c.falseInterruptions())
		}
		c.close()
	})
}

func line(sec float64, k sttdriver.EventKind, text string) sttscripted.Line {
	return sttscripted.Line{At: seconds(sec), Event: words(k, sttdriver.Alternative{Text: text})}
}

func TestC044LaterWordsOfACommittedTurnAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"}, scripted.Answer{Text: "Bye"})
		c.opt.TurnHandling.Detection = turn.DetectManual
		c.opt.STT = stt.New(sttscripted.New(&sttscripted.Options{Streams: [][]sttscripted.Line{
			{line(1.2, sttdriver.Interim, "Hello you"), line(6.5, sttdriver.Interim, "Hello you all"), line(7, sttdriver.Final, "Hello you all")},
			{line(3, sttdriver.Final, "Goodbye")}, // at 9
		}}), nil)
		c.start(nil)
		c.until(5)
		if text, err := c.s.CommitUserTurn(t.Context(), &session.CommitOptions{TranscriptTimeout: time.Second}); err != nil || text != "Hello you" {
			t.Errorf("commit: %q, %v", text, err)
		}
		c.until(10)
		if text, err := c.s.CommitUserTurn(t.Context(), nil); err != nil || text != "Goodbye" {
			t.Errorf("second commit: %q, %v", text, err)
		}
		c.until(15)
		c.wantHistory("handoff  -> default_agent", "user: Hello you", "assistant: Hi there", "user: Goodbye", "assistant: Bye")
		if n := strings.Count(c.timeline(), "final Hello you\n"); n != 1 {
			t.Errorf("the interim was told %d times as final:\n%s", n, c.timeline())
		}
		c.close()
	})
}

func TestC045ClearForgetsWhatTheSTTHasNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.STT = stt.New(sttscripted.New(&sttscripted.Options{Streams: [][]sttscripted.Line{
			{line(1.2, sttdriver.Interim, "Forget"), line(1.7, sttdriver.Final, "Forget this")},
			{line(3.6, sttdriver.Final, "Hello")}, // at 5.2
		}}), nil)
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.until(1.6)
		c.s.ClearUserTurn()
		c.room.In.Speak(c.at(4), c.at(5))
		c.until(9)
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there")
		if m := c.userMessage().Metrics; m.StartedSpeakingAt != c.at(4) {
			t.Errorf("the turn began at %v, want 4 s", m.StartedSpeakingAt.Sub(c.t0))
		}
		c.close()
	})
}

func TestCommitWhileTheVADDetectsTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.until(1)
		text, err := c.s.CommitUserTurn(t.Context(), nil)
		if err != nil || text != "Hello" || time.Since(c.t0) != 2700*time.Millisecond {
			t.Errorf("commit: %q, %v after %v, want Hello when it is final, at 2.7 s", text, err, time.Since(c.t0))
		}
		c.until(8)
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there")
		c.close()
	})
}

func TestC046FailedSTTStreamIsReplaced(t *testing.T) {
	for _, err := range []error{&model.Error{Kind: model.KindRequest, Err: errors.New("bad request")}, errors.New("anything else")} {
		synctest.Test(t, func(t *testing.T) {
			c := newCall(t, scripted.Answer{Text: "Hi there"})
			c.opt.STT = stt.New(c.stt, &stt.ModelOptions{Conn: model.ConnOptions{MaxRetry: -1}})
			c.stt.fails(1, err)
			c.start(nil)
			c.until(1.4)
			if n := c.stt.streams(); n != 1 {
				t.Errorf("%d streams 0.4 s after the error, want one", n)
			}
			c.says(2, 3, "Hello")
			c.until(8)
			if n := c.stt.streams(); n != 2 {
				t.Errorf("%d streams, want another one", n)
			}
			c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there")
			c.close()
		})
	}
}

func TestC046FailedSTTStreamIsNotReplacedWhileClosing(t *testing.T) {
	for _, closing := range []float64{0.95, 1.2} { // the error comes while closing; the close while waiting
		synctest.Test(t, func(t *testing.T) {
			c := newCall(t)
			c.opt.STT = stt.New(c.stt, &stt.ModelOptions{Conn: model.ConnOptions{MaxRetry: -1}})
			c.stt.fails(1, errors.New("broken"))
			c.start(&agent.Agent{OnExit: func(context.Context, *agent.RunContext) error {
				time.Sleep(100 * time.Millisecond)
				return nil
			}})
			c.room.In.Speak(c.at(0.5), c.at(0.8)) // there may be last words
			c.until(closing)
			c.close()
			if n := c.stt.streams(); n != 1 {
				t.Errorf("closed at %v: %d streams, want one", closing, n)
			}
			if d := time.Since(c.at(closing)); d > 200*time.Millisecond {
				t.Errorf("closing took %v, want no wait for a stream that is gone", d)
			}
		})
	}
}

// A recogniser that fails in the middle of speech does not leave the user speaking for ever.
func TestUserIsSilentWhenTheSTTIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.VAD = nil
		c.opt.STT = stt.New(c.stt, &stt.ModelOptions{Conn: model.ConnOptions{MaxRetry: -1}})
		c.opt.TurnHandling.Detection = turn.DetectSTT
		c.stt.listens(0.5, 60)
		c.stt.expect(time.Second, "Hello")
		c.stt.fails(2, errors.New("broken"))
		c.start(nil)
		c.until(8)
		if c.s.UserState() != agent.UserListening {
			t.Errorf("user is %s", c.s.UserState())
		}
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there")
		c.close()
	})
}

func TestC047EarsSurviveAHandoff(t *testing.T) {
	for _, tt := range []struct {
		name    string
		tune    func(c *call, a *agent.Agent)
		streams int
	}{
		{"same STT", func(*call, *agent.Agent) {}, 1},
		{"another one", func(c *call, a *agent.Agent) { a.STT = opt.Some(stt.New(c.stt, nil)) }, 2},
		{"none", func(_ *call, a *agent.Agent) { a.STT = opt.Off[*stt.Model]() }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Hi there"})
				c.start(nil)
				b := &agent.Agent{ID: "b"}
				tt.tune(c, b)
				c.says(0.5, 2.5, "My number is 42")
				c.until(1.5)
				if err := c.s.UpdateAgent(b); err != nil {
					t.Fatal(err)
				}
				c.until(8)
				if n := c.stt.streams(); n != tt.streams {
					t.Errorf("%d streams were opened, want %d", n, tt.streams)
				}
				m := c.userMessage()
				if m.Text() != "My number is 42" {
					t.Errorf("history:\n%s", c.history())
				}
				if tt.name == "same STT" && m.Metrics.StartedSpeakingAt != c.at(0.5) {
					t.Errorf("the turn began at %v, want 0.5 s: speech that goes on over the handoff is one", m.Metrics.StartedSpeakingAt.Sub(c.t0))
				}
				c.close()
			})
		})
	}
}

func TestC048CloseWaitsForTheTurn(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCall(t)
			ended := false
			c.start(&agent.Agent{OnUserTurnCompleted: func(context.Context, *agent.RunContext, *chat.Context, *chat.Message) error {
				time.Sleep(2 * time.Second)
				ended = true
				if fails {
					return errors.New("no")
				}
				return nil
			}})
			c.says(0.5, 1.0, "First")
			c.until(2)
			rep := c.close()
			if !ended || rep.CloseReason != session.ReasonUserInitiated {
				t.Errorf("hook ended: %v, close reason %q", ended, rep.CloseReason)
			}
			if !fails {
				c.wantHistory("handoff  -> default_agent", "user: First")
			}
		})
	}
}

func TestC059SilentTurnLeavesTheResumingAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.opt.TurnHandling.Interruption.FalseTimeout = opt.Some(200 * time.Millisecond)
		c.opt.TurnHandling.Endpointing.MinDelay = opt.Some(4 * time.Second)
		c.tts.lasts(10 * time.Second)
		c.start(nil)
		c.says(0.5, 1.5, "Hello")
		c.until(1.9)
		sp := c.s.Say(tenWords, nil)
		c.says(2.6, 3.4, "") // pauses at 3.1
		c.until(3.7)
		if _, err := c.s.CommitUserTurn(t.Context(), &session.CommitOptions{SkipReply: true, TranscriptTimeout: time.Second}); err != nil {
			t.Fatal(err)
		}
		c.until(20)
		if sp.Interrupted() || c.falseInterruptions() != 1 {
			t.Errorf("speech interrupted: %v, %d false interruptions, want it to go on", sp.Interrupted(), c.falseInterruptions())
		}
		c.wantHistory("handoff  -> default_agent", "assistant: "+tenWords, "user: Hello")
		c.close()
	})
}

func TestC014LateWordsRestartTheAwayTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.opt.UserAwayTimeout = opt.Some(3 * time.Second)
		c.opt.TurnHandling.Detection = turn.DetectManual // nothing else happens
		c.start(nil)
		c.stt.expect(2*time.Second, "Hello")
		c.until(4.9)
		if got := c.s.UserState(); got != agent.UserListening {
			t.Errorf("user is %s 2.9 s after the words, want listening", got)
		}
		c.until(5.1)
		if got := c.s.UserState(); got != agent.UserAway {
			t.Errorf("user is %s 3.1 s after the words, want away", got)
		}
		c.stt.expect(6*time.Second, "I am back")
		c.until(6.1)
		if got := c.s.UserState(); got != agent.UserListening {
			t.Errorf("user is %s after words, want listening", got)
		}
		c.close()
	})
}
