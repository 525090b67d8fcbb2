package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
)

// fills is a tool that takes d and fills the waiting with f.
func fills(t *testing.T, f agent.Filler, d time.Duration) *llm.FunctionTool {
	return tool("slow", func(ctx context.Context, rc *agent.RunContext) (any, error) {
		stop, err := rc.WithFiller(ctx, f)
		if err != nil {
			t.Errorf("WithFiller: %v", err)
		}
		defer stop()
		return "done", sleeps(ctx, d)
	})
}

// states is what the agent did, and when the user was away.
func (c *call) states() string {
	var b strings.Builder
	for line := range strings.SplitSeq(c.timeline(), "\n") {
		if strings.Contains(line, " agent ") || strings.Contains(line, "away") {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func TestC081FillerDuringASlowTool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{Text: "Let me see.", ToolCalls: calls("slow#1")}}}, scripted.Answer{Chunks: oneChunk("Here it is.")})
		c.opt.UserAwayTimeout = opt.Some(time.Second)
		c.start(&agent.Agent{Tools: []llm.Tool{fills(t, agent.Filler{Text: "One moment.", Delay: 500 * time.Millisecond}, 9*time.Second)}})
		c.says(0.5, 2.5, "Look it up")
		c.until(15.4)
		diff(t, "states", c.states(), "0.00 agent listening\n3.00 agent thinking\n3.40 agent speaking\n5.40 agent thinking\n"+
			"6.10 agent speaking\n8.10 agent thinking\n12.50 agent speaking\n14.50 agent listening\n")
		c.wantHistory("handoff  -> default_agent", "user: Look it up", "assistant: Let me see.", "call slow({})", "assistant: One moment.", "output done", "assistant: Here it is.")
		c.close()
	})
}

func TestC098FillersInQuietMoments(t *testing.T) {
	const half = 500 * time.Millisecond
	for _, tt := range []struct {
		name   string
		filler agent.Filler
		during func(c *call, rc *atomic.Pointer[agent.RunContext])
		want   []float64 // when they are heard
	}{
		{"once", agent.Filler{Text: "One moment", Delay: half}, nil, []float64{3.9}},
		{"at once", agent.Filler{Text: "One moment"}, nil, []float64{3.4}},
		{"the agent speaks", agent.Filler{Text: "One moment", Delay: half}, func(c *call, _ *atomic.Pointer[agent.RunContext]) {
			c.until(3.3)
			c.s.Say("By the way", nil)
		}, []float64{3.5, 6.2}},
		{"the agent speaks in the middle", agent.Filler{Text: "One moment", Delay: 3 * time.Second}, func(c *call, _ *atomic.Pointer[agent.RunContext]) {
			c.until(4)
			c.s.Say("By the way", nil)
		}, []float64{4.2, 9.4}},
		{"the user makes a sound", agent.Filler{Text: "One moment", Delay: half}, func(c *call, _ *atomic.Pointer[agent.RunContext]) {
			c.room.In.Speak(c.at(3.3), c.at(4))
		}, []float64{5.2}},
		{"an update", agent.Filler{Text: "One moment", Delay: 4 * time.Second}, func(c *call, rc *atomic.Pointer[agent.RunContext]) {
			c.until(6)
			if err := rc.Load().Update(t.Context(), "half done"); err != nil {
				t.Error(err)
			}
		}, []float64{6.4, 12.6}}, // the first is the answer to the update
		{"with an interval", agent.Filler{Text: "One moment", Delay: half, Interval: 3 * time.Second, MaxSteps: 3}, nil, []float64{3.9, 7.4, 10.9}},
		{"interrupted", agent.Filler{Text: "One moment", Delay: half, Interval: 3 * time.Second}, func(c *call, _ *atomic.Pointer[agent.RunContext]) {
			c.until(5.9)
			c.interrupt(false)
		}, []float64{3.9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Calls: calls("slow#1")}, scripted.Answer{Chunks: oneChunk("Well")})
				var running atomic.Pointer[agent.RunContext]
				slow := tool("slow", func(ctx context.Context, rc *agent.RunContext) (any, error) {
					running.Store(rc)
					stop, err := rc.WithFiller(ctx, tt.filler)
					if err != nil {
						t.Error(err)
					}
					defer stop()
					return nil, sleeps(ctx, 18*time.Second)
				})
				c.start(&agent.Agent{Tools: []llm.Tool{slow}})
				c.says(0.5, 2.5, "Look it up")
				if tt.during != nil {
					tt.during(c, &running)
				}
				c.until(30)
				var got []float64
				for _, seg := range c.room.Out.Segments() {
					got = append(got, seg.Started.Sub(c.t0).Round(10*time.Millisecond).Seconds())
				}
				if fmt.Sprint(got) != fmt.Sprint(tt.want) {
					t.Errorf("the agent spoke at %v, want %v\n%s", got, tt.want, c.timeline())
				}
				c.close()
			})
		})
	}
}

func TestFillerFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps []int
		slow := tool("slow", func(ctx context.Context, rc *agent.RunContext) (any, error) {
			asked := 0
			stop, err := rc.WithFiller(ctx, agent.Filler{Interval: 3 * time.Second, MaxSteps: 2, Func: func(_ context.Context, step int) *agent.Speech {
				steps = append(steps, step)
				if asked++; asked == 2 {
					return nil
				}
				return rc.Session().Say(fmt.Sprint("Step ", step), nil)
			}})
			if err != nil {
				t.Error(err)
			}
			defer stop()
			return nil, sleeps(ctx, 20*time.Second)
		})
		c := newCall(t, scripted.Answer{Calls: calls("slow#1")})
		c.start(&agent.Agent{Tools: []llm.Tool{slow}})
		c.says(0.5, 2.5, "Look it up")
		c.until(30)
		c.wantHistory("handoff  -> default_agent", "user: Look it up", "call slow({})", "assistant: Step 0", "assistant: Step 1", "output ")
		if fmt.Sprint(steps) != "[0 1 1]" {
			t.Errorf("asked for the steps %v", steps)
		}
		c.close()
	})
}

func TestFillerThatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late error
		slow := tool("slow", func(ctx context.Context, rc *agent.RunContext) (any, error) {
			for _, f := range []agent.Filler{{}, {Text: "x", Delay: -1}, {Text: "x", Interval: -1}, {Text: "x", MaxSteps: -1},
				{Text: "x", Func: func(context.Context, int) *agent.Speech { return nil }}} {
				if stop, err := rc.WithFiller(ctx, f); err == nil || stop == nil {
					t.Errorf("%+v is taken", f)
				}
			}
			// Ended before its moment: nothing is said.
			ended, cancel := context.WithCancel(ctx)
			if _, err := rc.WithFiller(ended, agent.Filler{Text: "never", Delay: time.Second}); err != nil {
				t.Error(err)
			}
			cancel()
			stop, err := rc.WithFiller(ctx, agent.Filler{Text: "never", Delay: time.Second})
			if err != nil {
				t.Error(err)
			}
			stop()
			stop()
			time.Sleep(5 * time.Second)
			_ = rc.Speech().Interrupt(true)
			_, late = rc.WithFiller(ctx, agent.Filler{Text: "never"})
			return "done", nil
		})
		c := newCall(t, scripted.Answer{Calls: calls("slow#1")})
		c.start(&agent.Agent{Tools: []llm.Tool{slow}})
		c.says(0.5, 2.5, "Look it up")
		c.until(20)
		if !errors.Is(late, agent.ErrInterrupted) || len(c.room.Out.Segments()) != 0 {
			t.Errorf("a filler of an interrupted speech: %v; spoken %+v", late, c.room.Out.Segments())
		}
		c.close()
	})
}

func TestFillerDelayBeginsAnewWithAnUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := tool("slow", func(ctx context.Context, rc *agent.RunContext) (any, error) {
			stop, err := rc.WithFiller(ctx, agent.Filler{Text: "One moment", Delay: 4 * time.Second})
			if err != nil {
				t.Error(err)
			}
			defer stop()
			time.Sleep(3 * time.Second)
			_ = rc.Update(ctx, "half done") // at 6.1
			return nil, sleeps(ctx, 10*time.Second)
		})
		c := newCall(t, scripted.Answer{Calls: calls("slow#1")})
		c.start(&agent.Agent{Tools: []llm.Tool{slow}})
		session.On(c.s, func(e session.FunctionToolsExecuted) { e.CancelReply() }) // the update is not spoken of
		c.says(0.5, 2.5, "Look it up")
		c.until(20)
		if segs := c.room.Out.Segments(); len(segs) != 1 || segs[0].Started.Sub(c.t0).Round(10*time.Millisecond) != 10300*time.Millisecond {
			t.Errorf("spoken: %+v", segs)
		}
		c.close()
	})
}

func TestFillerDoesNotCutIntoTheForeground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{ToolCalls: calls("slow#1")}}}, scripted.Answer{Chunks: oneChunk("Here it is.")})
		c.start(&agent.Agent{Tools: []llm.Tool{fills(t, agent.Filler{Text: "One moment.", Delay: 2 * time.Second}, 20*time.Second)}})
		c.says(0.5, 1.5, "Look it up")
		c.until(3) // the filler waits since 2.2
		if err := c.s.Foreground(t.Context(), func(context.Context) error { c.until(6); return nil }); err != nil {
			t.Fatal(err)
		}
		c.until(12)
		diff(t, "states", c.states(), "0.00 agent listening\n2.00 agent thinking\n8.20 agent speaking\n10.20 agent thinking\n")
		c.close()
	})
}

func TestFillerDoesNotCutIntoAHandoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{ToolCalls: calls("slow#1")}}}, scripted.Answer{Chunks: oneChunk("Here it is.")})
		c.start(&agent.Agent{Tools: []llm.Tool{fills(t, agent.Filler{Text: "One moment.", Delay: 2 * time.Second}, 5*time.Second)}})
		c.says(0.5, 1.5, "Look it up")
		c.until(3)
		if err := c.s.UpdateAgent(&agent.Agent{ID: "next"}); err != nil {
			t.Fatal(err)
		}
		c.until(12)
		c.wantHistory("handoff  -> default_agent", "user: Look it up", "call slow({})", "output done", "assistant: Here it is.", "handoff default_agent -> next")
		c.close()
	})
}
