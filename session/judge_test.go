package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/turn"
	turnscripted "github.com/parley-go/parley/turn/scripted"
	"github.com/parley-go/parley/vad"
)

// byAudio is a call with a turn detector by audio that answers steps.
func byAudio(t *testing.T, steps ...turnscripted.Step) (*call, *turnscripted.AudioDetector) {
	c := newCall(t, scripted.Answer{Text: "Hi there"}, scripted.Answer{Text: "Hi there"})
	d := turnscripted.NewAudio(&turnscripted.Options{Steps: steps})
	c.opt.TurnHandling.Detector = opt.Some(turn.New(d, nil))
	return c, d
}

// logs keeps what is logged, as "LEVEL message".
type logs struct {
	slog.Handler
	mu    sync.Mutex
	lines []string
}

func keepLogs(c *call) *logs {
	l := &logs{Handler: c.opt.Logger.Handler()}
	c.opt.Logger = slog.New(l)
	return l
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, r.Level.String()+" "+r.Message)
	return nil
}

func (l *logs) count(prefix string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

// eots is how many predictions were booked.
func (c *call) eots() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.spent {
		if _, ok := e.(*metrics.EOT); ok {
			n++
		}
	}
	return n
}

func TestC022OnePredictionPerPause(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  turnscripted.Step
		decided float64
	}{
		{"finished", turnscripted.Step{Probability: 0.9}, 3}, // 0.3 s have passed when the VAD finds the end
		{"unfinished", turnscripted.Step{Probability: 0.1}, 5},
		{"answered after the end of speech", turnscripted.Step{Probability: 0.9, Delay: 700 * time.Millisecond}, 3.42},
		{"failed", turnscripted.Step{Err: errors.New("no answer")}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, d := byAudio(t, tt.answer)
				c.start(nil)
				c.says(0.5, 2.5, "Hello")
				c.until(2.6)
				if n := d.Ledger().Predictions; n != 0 {
					t.Errorf("%d predictions 0.1 s after the speech", n)
				}
				c.until(2.75)
				if n := d.Ledger().Predictions; n != 1 {
					t.Errorf("%d predictions 0.25 s after the speech, want 1", n)
				}
				c.until(12)
				if at, want := c.committedAt(), time.Duration(tt.decided*float64(time.Second)); at != want {
					t.Errorf("turn ended at %v, want %v", at, want)
				}
				if l := d.Ledger(); l.Predictions != 1 || l.Streams != 1 || l.Audio < 11*time.Second {
					t.Errorf("the detector served %+v", l)
				}
				c.close()
				if l := d.Ledger(); l.Open != 0 {
					t.Errorf("%d streams are open after the close", l.Open)
				}
			})
		})
	}
}

func TestC022EndOfSpeechAsksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := byAudio(t, turnscripted.Step{Probability: 0.1})
		c.opt.VAD = vad.New(vadScript{ends: 180 * time.Millisecond})
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.until(6)
		if n := d.Ledger().Predictions; n != 0 {
			t.Errorf("%d predictions though speech ended before the window", n)
		}
		if at := c.committedAt(); at != 2800*time.Millisecond {
			t.Errorf("turn ended at %v, want 0.3 s after the speech", at)
		}
		c.close()
	})
}

func TestC023ResumedSpeechCancelsThePrediction(t *testing.T) {
	for _, tt := range []struct {
		name    string
		delay   time.Duration
		dropped int
	}{
		{"while it runs", 500 * time.Millisecond, 1},
		{"after its answer", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, d := byAudio(t, turnscripted.Step{Probability: 0.1, Delay: tt.delay}, turnscripted.Step{Probability: 0.9})
				c.start(nil)
				c.room.In.Speak(c.at(0.5), c.at(1.5))
				c.says(1.8, 2.5, "Hello")
				c.until(12)
				if l := d.Ledger(); l.Predictions != 2 || l.Dropped != tt.dropped || l.MaxRunning != 1 {
					t.Errorf("the detector served %+v", l)
				}
				if at := c.committedAt(); at != 3*time.Second {
					t.Errorf("turn ended at %v, the second answer does not count", at)
				}
				c.close()
			})
		})
	}
}

func TestC024OnePauseOnePrediction(t *testing.T) {
	for _, tt := range []struct {
		name   string
		audio  bool
		events int
	}{{"by audio", true, 1}, {"by text", false, 2}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := byAudio(t, turnscripted.Step{Probability: 0.1})
				if !tt.audio {
					d := turnscripted.NewText(&turnscripted.Options{Steps: []turnscripted.Step{{Probability: 0.1}}})
					c.opt.TurnHandling.Detector = opt.Some(turn.New(d, nil))
					c.opt.TurnHandling.Endpointing.MaxDelay = opt.Some(2500 * time.Millisecond)
				}
				c.start(nil)
				c.says(0.5, 2.5, "I would")
				c.stt.expect(3400*time.Millisecond, "like to") // after the end of speech, which is at 3
				c.until(12)
				c.wantHistory("handoff  -> default_agent", "user: I would like to", "assistant: Hi there")
				if at := c.committedAt(); at != 5*time.Second {
					t.Errorf("turn ended at %v, want 5s", at)
				}
				if n := c.eots(); n != tt.events {
					t.Errorf("%d predictions were booked, want %d", n, tt.events)
				}
				c.close()
			})
		})
	}
}

func TestC025TimeoutCommitsAndFallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"}, scripted.Answer{Text: "Hi there"})
		cloud := turnscripted.NewAudio(&turnscripted.Options{Steps: []turnscripted.Step{{Delay: time.Hour}}})
		local := turnscripted.NewAudio(&turnscripted.Options{Steps: []turnscripted.Step{{Probability: 0.1}}})
		c.opt.TurnHandling.Detector = opt.Some(turn.Fallback(turn.New(cloud, nil), turn.New(local, nil)))
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.says(10, 11, "Bye")
		c.until(9)
		// Asked 0.22 s after the last sound, and given up 1 s later.
		if at := c.committedAt(); at != 3720*time.Millisecond {
			t.Errorf("turn ended at %v", at)
		}
		c.until(13)
		if got := strings.Count(c.history(), "user:"); got != 1 {
			t.Errorf("the stand-in is not asked: %d turns", got)
		}
		c.until(20)
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there", "user: Bye", "assistant: Hi there")
		if a, b := cloud.Ledger(), local.Ledger(); a.Predictions != 1 || a.Open != 0 || b.Predictions != 1 {
			t.Errorf("asked: %+v, then %+v", a, b)
		}
		c.close()
	})
}

func TestC026LateWordsSkipThePrediction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := byAudio(t, turnscripted.Step{Probability: 0.9}, turnscripted.Step{Probability: 0.1})
		l := keepLogs(c)
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.stt.expect(3600*time.Millisecond, "there")
		c.stt.expect(6*time.Second, "you")
		c.until(12)
		if !strings.Contains(c.history(), "user: there") || !strings.Contains(c.history(), "user: you") {
			t.Errorf("late words are lost:\n%s", c.history())
		}
		// Two turns were committed before, and one is flushed by each of the late ones.
		if l := d.Ledger(); l.Predictions != 1 || l.Flushes != 3 {
			t.Errorf("the detector served %+v", l)
		}
		const late = "words came when their turn was over"
		if w, d := l.count("WARN "+late), l.count("DEBUG "+late); w != 1 || d != 1 {
			t.Errorf("told %d times as a warning and %d times as a detail, want once each", w, d)
		}
		c.close()
	})
}

func TestC013DetectorErrorsDoNotEndTheSession(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    turnscripted.Options
	}{
		{"prediction", turnscripted.Options{Steps: []turnscripted.Step{{Err: errors.New("broken")}}}},
		{"panic", turnscripted.Options{Steps: []turnscripted.Step{{Panic: true}}}},
		{"opening", turnscripted.Options{OpenErr: errors.New("no line")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Hi there"}, scripted.Answer{Text: "Hi there"})
				c.opt.TurnHandling.Detector = opt.Some(turn.New(turnscripted.NewAudio(&tt.o), nil))
				c.opt.MaxUnrecoverableErrors = opt.Some(0)
				c.start(nil)
				c.says(0.5, 2.5, "Hello")
				c.says(10, 11, "Bye")
				c.until(20)
				c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there", "user: Bye", "assistant: Hi there")
				told := 0
				c.mu.Lock()
				for _, e := range c.events {
					if x, ok := e.(session.ErrorOccurred); ok && x.Kind == "turn" && x.Recoverable {
						told++
					}
				}
				c.mu.Unlock()
				if told == 0 {
					t.Error("nobody was told of the errors")
				}
				c.close()
			})
		})
	}
}

func TestAudioDetectorStartsAfreshWhenTheTurnIsCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := byAudio(t, turnscripted.Step{Probability: 0.1})
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.until(3.2)
		c.s.ClearUserTurn()
		c.until(8)
		c.wantHistory("handoff  -> default_agent")
		if l := d.Ledger(); l.Flushes != 1 {
			t.Errorf("flushed %d times, want once", l.Flushes)
		}
		c.close()
	})
}

func TestC028VADMustLeaveTimeForTheDetector(t *testing.T) {
	for _, tt := range []struct {
		silence time.Duration
		ok      bool
	}{{200 * time.Millisecond, false}, {250 * time.Millisecond, true}, {-1, true}} {
		t.Run(fmt.Sprint(tt.silence), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				other := vad.New(vadScript{claims: tt.silence})

				c, _ := byAudio(t, turnscripted.Step{Probability: 0.9})
				right := func(what string, err error) {
					t.Helper()
					if (err == nil) != tt.ok || err != nil && !errors.Is(err, turn.ErrVADSilence) {
						t.Errorf("%s: %v", what, err)
					}
				}
				o := c.opt
				o.VAD = other
				s := session.New(o)
				right("start", s.Start(t.Context(), &agent.Agent{}, nil))
				_ = s.Close(t.Context())

				c.start(nil)
				right("swap of the VAD", c.s.UpdateAgentOptions(agent.Options{VAD: opt.Some(other)}))
				right("handoff", c.s.UpdateAgent(&agent.Agent{ID: "next", VAD: opt.Some(other)}))
				// Whatever was refused has changed nothing.
				c.says(2, 3, "Hello")
				c.until(6)
				if h := c.history(); !strings.Contains(h, "user: Hello") || strings.Contains(h, "-> next") != tt.ok {
					t.Errorf("history:\n%s", h)
				}
				c.close()

				o = c.opt
				d := o.TurnHandling.Detector
				o.VAD, o.TurnHandling.Detector = other, opt.Off[*turn.Model]()
				s = session.New(o)
				if err := s.Start(t.Context(), &agent.Agent{}, nil); err != nil {
					t.Fatal(err)
				}
				right("swap of the detector", s.UpdateOptions(turn.Handling{Detector: d}))
				_ = s.Close(t.Context())
			})
		})
	}
}

func TestC047DetectorSurvivesAHandoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := byAudio(t, turnscripted.Step{Probability: 0.9})
		c.start(&agent.Agent{ID: "a"})
		c.until(1)
		_ = c.s.UpdateAgent(&agent.Agent{ID: "b"})
		c.until(2)
		if l := d.Ledger(); l.Streams != 1 || l.Open != 1 {
			t.Errorf("the same detector: %+v", l)
		}
		_ = c.s.UpdateAgent(&agent.Agent{ID: "c", VAD: opt.Some(vad.New(vadScript{claims: time.Second}))})
		c.until(3)
		if l := d.Ledger(); l.Streams != 1 || l.Open != 1 {
			t.Errorf("the same detector beside other ears: %+v", l)
		}
		heard := d.Ledger().Audio
		c.until(4)
		if more := d.Ledger().Audio - heard; more < 900*time.Millisecond {
			t.Errorf("it heard %v in a second", more)
		}
		other := turnscripted.NewAudio(nil)
		_ = c.s.UpdateAgent(&agent.Agent{ID: "d", TurnHandling: turn.Handling{Detector: opt.Some(turn.New(other, nil))}})
		c.says(5, 6, "Hello")
		c.until(10)
		if a, b := d.Ledger(), other.Ledger(); a.Open != 0 || b.Open != 1 || b.Predictions != 1 {
			t.Errorf("another detector: %+v, then %+v", a, b)
		}
		c.close()
	})
}
