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
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
)

type toolFunc func(ctx context.Context, rc *agent.RunContext) (any, error)

// tool takes no arguments.
func tool(name string, f toolFunc) *llm.FunctionTool {
	return llm.NewTool(name, "", func(ctx context.Context, rc *agent.RunContext, _ struct{}) (any, error) { return f(ctx, rc) })
}

// sleeps waits for d or the end of ctx.
func sleeps(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// books is a tool that says at once that it is at work, and is done after d.
func books(name string, d time.Duration) *llm.FunctionTool {
	return tool(name, func(ctx context.Context, rc *agent.RunContext) (any, error) {
		if err := rc.Update(ctx, "working"); err != nil {
			return nil, err
		}
		return name + " booked", sleeps(ctx, d)
	})
}

func calls(ids ...string) (all []driver.ToolCall) {
	for _, id := range ids {
		name, _, _ := strings.Cut(id, "#")
		all = append(all, driver.ToolCall{CallID: id, Name: name, Arguments: "{}"})
	}
	return all
}

// toolEvents are what became of tool calls, one a line: "3.40 a#1 started".
func (c *call) toolEvents() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, e := range c.events {
		switch e := e.(type) {
		case session.ToolExecutionUpdated:
			fmt.Fprintf(&b, "%.2f %s %s\n", e.When().Sub(c.t0).Seconds(), e.ID, e.Status)
		case session.ToolReplyUpdated:
			fmt.Fprintf(&b, "%.2f reply to %s %s\n", e.When().Sub(c.t0).Seconds(), strings.Join(e.UpdateIDs, ", "), e.Status)
		}
	}
	return b.String()
}

func (c *call) wantToolEvents(want ...string) {
	c.t.Helper()
	diff(c.t, "tool events", c.toolEvents(), strings.Join(want, "\n")+"\n")
}

// lastMessage is the last item of the i-th request.
func (c *call) lastMessage(i int) string {
	last := ""
	for it := range c.llm.Requests()[i].Messages.All() {
		last = describe(it)
	}
	return last
}

func TestC092BackgroundTool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: calls("book#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")}, scripted.Answer{Chunks: oneChunk("It is booked.")})
		c.start(&agent.Agent{Tools: []llm.Tool{books("book", 10*time.Second)}})
		c.says(0.5, 2.5, "Book it")
		c.until(8)
		if c.s.AgentState() != agent.Listening {
			t.Errorf("agent is %s while a tool runs in the background", c.s.AgentState())
		}
		c.until(20)
		c.wantToolEvents("3.10 book#1 started", "3.10 book#1 updated", "13.10 book#1_final done",
			"13.10 reply to book#1_final scheduled", "15.50 reply to book#1_final completed")
		c.wantHistory("handoff  -> default_agent", "user: Book it", "call book({})",
			"output book is still running, and tells so far: working\nDo not call it again for the same; its result will come by itself.",
			"assistant: I am at it.", "call book({})", "output book booked", "assistant: It is booked.")
		reqs := c.llm.Requests()
		if len(reqs) != 3 || len(reqs[2].Tools) != 0 || !strings.Contains(c.lastMessage(2), "something new (call ids: book#1_final)") {
			t.Errorf("%d requests, the last with %d tools: %s", len(reqs), len(reqs[2].Tools), c.lastMessage(2))
		}
		c.close()
	})
}

func TestC092ToolWithoutUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: calls("plain#1")}, scripted.Answer{Text: "Done"})
		c.start(&agent.Agent{Tools: []llm.Tool{tool("plain", func(context.Context, *agent.RunContext) (any, error) { return "ok", nil })}})
		c.says(0.5, 2.5, "Do it")
		c.until(10)
		c.wantToolEvents("3.10 plain#1 started", "3.10 plain#1 done")
		c.close()
	})
}

func TestC093OneReplyForAllThatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: calls("a#1", "b#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")}, scripted.Answer{Chunks: oneChunk("Both done.")})
		c.start(&agent.Agent{Tools: []llm.Tool{books("a", 4*time.Second), books("b", 4*time.Second)}})
		c.says(0.5, 2.5, "Book both")
		c.until(3.5)
		c.s.Say("It takes a while", nil) // and is still being said when they are done
		c.until(20)
		if got := c.toolEvents(); !strings.Contains(got, "reply to a#1_final, b#1_final scheduled") &&
			!strings.Contains(got, "reply to b#1_final, a#1_final scheduled") || strings.Count(got, "scheduled") != 1 || strings.Count(got, "completed") != 1 {
			t.Errorf("want one reply for both:\n%s", got)
		}
		c.close()
	})
}

func TestC093InterruptedReplyIsOfferedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: calls("book#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")},
			scripted.Answer{Chunks: oneChunk(tenWords)}, scripted.Answer{Chunks: oneChunk("Yes?")}, scripted.Answer{NoUsage: true})
		c.start(&agent.Agent{Tools: []llm.Tool{books("book", 4*time.Second)}})
		c.says(0.5, 2.5, "Book it")
		c.says(8, 9, "Hello")
		c.until(20)
		c.wantToolEvents("3.10 book#1 started", "3.10 book#1 updated", "7.10 book#1_final done",
			"7.10 reply to book#1_final scheduled", "9.20 reply to book#1_final interrupted",
			"11.90 reply to book#1_final scheduled", "11.90 reply to book#1_final skipped")
		if got := c.lastMessage(4); !strings.Contains(got, "the conversation went on since") {
			t.Errorf("asked again with %s", got)
		}
		c.close()
	})
}

func TestC094ErrorInTheBackground(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  toolFunc
		want string
	}{
		{"error", func(context.Context, *agent.RunContext) (any, error) { return nil, errors.New("hunter2") }, "output An internal error occurred. [error]"},
		{"tool error", func(context.Context, *agent.RunContext) (any, error) { return nil, llm.ToolErrorf("sold out") }, "output sold out [error]"},
		{"handoff", func(context.Context, *agent.RunContext) (any, error) { return &agent.Agent{ID: "other"}, nil },
			"output The handoff was not possible: the tool was in the background by then. [error]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Calls: calls("book#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")}, scripted.Answer{Chunks: oneChunk("Sorry.")})
				c.start(&agent.Agent{Tools: []llm.Tool{tool("book", func(ctx context.Context, rc *agent.RunContext) (any, error) {
					if err := rc.Update(ctx, map[string]int{"percent": 10}); err != nil {
						return nil, err
					}
					time.Sleep(5 * time.Second)
					return tt.end(ctx, rc)
				})}})
				c.says(0.5, 2.5, "Book it")
				c.until(20)
				c.wantToolEvents("3.10 book#1 started", "3.10 book#1 updated", "8.10 book#1_final error",
					"8.10 reply to book#1_final scheduled", "10.50 reply to book#1_final completed")
				c.wantHistory("handoff  -> default_agent", "user: Book it", "call book({})", `output {"percent":10}`,
					"assistant: I am at it.", "call book({})", tt.want, "assistant: Sorry.")
				c.close()
			})
		})
	}
}

func TestUpdatesOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var over, wait error
		c := newCall(t, scripted.Answer{Calls: calls("book#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")}, scripted.Answer{Chunks: oneChunk("Half.")})
		c.start(&agent.Agent{Tools: []llm.Tool{tool("book", func(ctx context.Context, rc *agent.RunContext) (any, error) {
			if err := rc.Speech().Wait(ctx); !errors.Is(err, agent.ErrSelfWait) {
				t.Errorf("Wait before the first update: %v", err)
			}
			_ = rc.Update(ctx, "started")
			wait = rc.Speech().Wait(ctx)
			_ = rc.Update(ctx, 50)
			time.Sleep(5 * time.Second)
			time.AfterFunc(time.Second, func() { over = rc.Update(context.Background(), "too late") })
			return nil, nil
		})}})
		c.says(0.5, 2.5, "Book it")
		c.until(20)
		c.wantToolEvents("3.10 book#1 started", "3.10 book#1 updated",
			"5.60 book#1_update_1 updated", "5.60 reply to book#1_update_1 scheduled", "8.00 reply to book#1_update_1 completed", "10.60 book#1_final done")
		if wait != nil || over == nil {
			t.Errorf("Wait for the speech after the first update: %v; update after the end: %v", wait, over)
		}
		if got := c.history(); !strings.HasSuffix(got, "call book({})\noutput 50\nassistant: Half.\ncall book({})\noutput \n") {
			t.Errorf("history\n%s", got)
		}
		c.close()
	})
}

func TestC015AwayCountsFromTheEndOfTheTool(t *testing.T) {
	for _, tt := range []struct {
		name   string
		silent bool
		away   string
	}{{"with a reply", false, "28.50 user away"}, {"without", true, "26.10 user away"}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Calls: calls("book#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")}, scripted.Answer{Chunks: oneChunk("It is booked.")})
				c.opt.UserAwayTimeout = opt.Some(3 * time.Second)
				c.start(&agent.Agent{Tools: []llm.Tool{tool("book", func(ctx context.Context, rc *agent.RunContext) (any, error) {
					_ = rc.Update(ctx, "working")
					time.Sleep(20 * time.Second)
					if tt.silent {
						return nil, llm.ErrStopResponse
					}
					return "booked", nil
				})}})
				c.says(0.5, 2.5, "Book it")
				c.until(40)
				if got := c.timeline(); strings.Count(got, "away") != 1 || !strings.Contains(got, tt.away) {
					t.Errorf("want once %s:\n%s", tt.away, got)
				}
				c.close()
			})
		})
	}
}

func TestC095Duplicates(t *testing.T) {
	two := func(args1, args2 string) scripted.Answer {
		return scripted.Answer{Calls: []driver.ToolCall{{CallID: "1", Name: "book", Arguments: args1}, {CallID: "2", Name: "book", Arguments: args2}}}
	}
	type in struct {
		City string `json:"city"`
		Days int    `json:"days,omitempty" default:"1"`
	}
	const rome, again, milan = `{"city":"Rome"}`, `{"days":1,"city":"Rome"}`, `{"city":"Milan"}`
	for _, tt := range []struct {
		name           string
		how            llm.Duplicates
		same, cancel   bool
		second         string
		made           int64
		first, another string // outputs
	}{
		{"allow", llm.AllowDuplicates, false, false, rome, 2, "in Rome", "in Rome"},
		{"reject", llm.RejectDuplicates, false, false, milan, 1, "in Rome", "not done"},
		{"reject the same", llm.RejectDuplicates, true, false, again, 1, "in Rome", "not done"},
		{"reject not another", llm.RejectDuplicates, true, false, milan, 2, "in Rome", "in Milan"},
		{"confirm", llm.ConfirmDuplicates, false, false, rome, 1, "in Rome", llm.ConfirmDuplicate},
		{"confirm false", llm.ConfirmDuplicates, true, false, `{"city":"Rome","lk_agents_confirm_duplicate":false}`, 1, "in Rome", llm.ConfirmDuplicate},
		{"confirmed", llm.ConfirmDuplicates, true, false, `{"city":"Rome","lk_agents_confirm_duplicate":true}`, 2, "in Rome", "in Rome"},
		{"replace", llm.ReplaceDuplicates, false, true, milan, 2, "cancelled", "in Milan"},
		{"replace what cannot be cancelled", llm.ReplaceDuplicates, false, false, milan, 1, "in Rome", "cannot be cancelled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var made atomic.Int64
				book := llm.NewTool("book", "", func(ctx context.Context, _ *agent.RunContext, i in) (string, error) {
					made.Add(1)
					return "in " + i.City, sleeps(ctx, time.Second)
				})
				book.Duplicates, book.SameArguments, book.Cancellable = tt.how, tt.same, tt.cancel
				c := newCall(t, two(rome, tt.second), scripted.Answer{Text: "Done"})
				c.start(&agent.Agent{Tools: []llm.Tool{book}})
				c.says(0.5, 2.5, "Book it")
				c.until(20)
				outputs := map[string]string{}
				for it := range c.s.History().All() {
					if out, ok := it.(*chat.FunctionCallOutput); ok {
						outputs[out.CallID] = out.Output
					}
				}
				if made.Load() != tt.made || !strings.Contains(outputs["1"], tt.first) || !strings.Contains(outputs["2"], tt.another) {
					t.Errorf("made %d times, outputs %v", made.Load(), outputs)
				}
				c.close()
			})
		})
	}
}

func TestC096CancelledTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ctxEnded bool
		book := tool("book", func(ctx context.Context, rc *agent.RunContext) (any, error) {
			_ = rc.Update(ctx, "working")
			err := sleeps(ctx, time.Minute)
			ctxEnded = err != nil
			return "booked", err
		})
		book.Cancellable = true
		c := newCall(t, scripted.Answer{Calls: calls("book#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")},
			scripted.Answer{Calls: []driver.ToolCall{{CallID: "list", Name: "lk_agents_get_running_tasks"}}},
			scripted.Answer{Calls: []driver.ToolCall{{CallID: "cancel", Name: "lk_agents_cancel_task", Arguments: `{"call_id":"book#1"}`}}},
			scripted.Answer{Chunks: oneChunk("Cancelled.")})
		c.start(&agent.Agent{Tools: []llm.Tool{book}})
		c.says(0.5, 2.5, "Book it")
		c.says(8, 9, "Stop that")
		c.until(20)
		c.wantToolEvents("3.10 book#1 started", "3.10 book#1 updated", "9.60 list started", "9.60 list done",
			"9.80 cancel started", "9.80 book#1_final cancelled", "9.80 cancel done")
		if !ctxEnded || !strings.Contains(c.history(), `output [{"call_id":"book#1","name":"book","arguments":"{}"}]`) {
			t.Errorf("context ended: %v, history\n%s", ctxEnded, c.history())
		}
		c.close()
	})
}

func TestC096WhatCannotBeCancelled(t *testing.T) {
	cancel := scripted.Answer{Calls: []driver.ToolCall{{CallID: "cancel", Name: "lk_agents_cancel_task", Arguments: `{"call_id":"book#1"}`}}}
	for _, tt := range []struct{ name, want string }{
		{"other", "cannot be cancelled"}, {"protected", "must not be interrupted"}, {"gone", "there is no running task"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				book := tool("book", func(ctx context.Context, rc *agent.RunContext) (any, error) {
					if tt.name == "protected" {
						if err := rc.DisallowInterruptions(); err != nil {
							return nil, err
						}
					}
					_ = rc.Update(ctx, "working")
					if tt.name == "gone" {
						return nil, nil
					}
					return "booked", sleeps(ctx, 10*time.Second)
				})
				book.Cancellable = tt.name != "other"
				another := tool("another", func(context.Context, *agent.RunContext) (any, error) { return nil, nil })
				another.Cancellable = true
				c := newCall(t, scripted.Answer{Calls: calls("book#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")}, cancel, scripted.Answer{Text: "Too late"})
				c.start(&agent.Agent{Tools: []llm.Tool{book, another}})
				c.says(0.5, 2.5, "Book it")
				c.says(8, 9, "Stop that")
				c.until(30)
				if got := c.history(); !strings.Contains(got, tt.want) || strings.Contains(c.toolEvents(), "cancelled") {
					t.Errorf("want an error with %q:\n%s%s", tt.want, got, c.toolEvents())
				}
				c.close()
			})
		})
	}
}

func TestC096CancelReleasesTheRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := tool("stuck", func(context.Context, *agent.RunContext) (any, error) {
			time.Sleep(20 * time.Second) // deaf to its context
			return "never", nil
		})
		stuck.Cancellable = true
		c := newCall(t, scripted.Answer{Calls: append(calls("stuck#1"),
			driver.ToolCall{CallID: "cancel", Name: "lk_agents_cancel_task", Arguments: `{"call_id":"stuck#1"}`})}, scripted.Answer{Chunks: oneChunk("Fine.")})
		c.start(&agent.Agent{Tools: []llm.Tool{stuck}})
		c.says(0.5, 2.5, "Do it")
		c.until(40)
		c.wantToolEvents("3.10 stuck#1 started", "3.20 cancel started", "3.20 stuck#1 cancelled", "3.20 cancel done")
		c.wantHistory("handoff  -> default_agent", "user: Do it", "call stuck({})", `call lk_agents_cancel_task({"call_id":"stuck#1"})`,
			"output The call was cancelled. [error]", "output The task was cancelled.", "assistant: Fine.")
		c.close()
	})
}

func TestC097RunningCallsAreShownToTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// slow is still in the foreground when the user speaks again, book has its output already.
		c := newCall(t, scripted.Answer{Calls: calls("book#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")},
			scripted.Answer{Calls: calls("slow#1")}, scripted.Answer{Chunks: oneChunk("One moment.")}, scripted.Answer{Chunks: oneChunk("It is booked.")})
		var live *chat.FunctionCall
		c.start(&agent.Agent{Tools: []llm.Tool{books("book", 25*time.Second), tool("slow", func(ctx context.Context, rc *agent.RunContext) (any, error) {
			live = rc.Call()
			return "slow done", sleeps(ctx, 10*time.Second)
		})}})
		c.says(0.5, 2.5, "Book it")
		c.says(7, 8, "And look it up")
		c.says(11, 12, "Are you there")
		c.until(40)
		var got strings.Builder
		for it := range c.llm.Requests()[3].Messages.All() {
			fmt.Fprintf(&got, "%s %v\n", describe(it), strings.HasPrefix(it.Head().ID, "lk.in_progress."))
		}
		diff(t, "request", got.String(), "user: Book it false\ncall book({}) false\n"+
			"output book is still running, and tells so far: working\nDo not call it again for the same; its result will come by itself. false\n"+
			"assistant: I am at it. false\nuser: And look it up false\ncall slow({}) true\n"+
			"output The call is still in progress; its result will come by itself. true\nuser: Are you there false\n")
		if h := c.history(); strings.Contains(h, "in progress") || strings.Count(h, "call slow({})") != 1 || !strings.Contains(h, "output slow done") ||
			strings.HasPrefix(live.ID, "lk.") {
			t.Errorf("the live call has id %s, the history is\n%s", live.ID, h)
		}
		c.close()
	})
}

func TestToolOfAnAgentEndsWithIt(t *testing.T) {
	for _, cancellable := range []bool{false, true} {
		t.Run(fmt.Sprint("cancellable=", cancellable), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				book := books("book", 10*time.Second)
				book.Cancellable = cancellable
				c := newCall(t, scripted.Answer{Calls: calls("book#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")})
				first, second := &agent.Agent{ID: "first", Tools: []llm.Tool{book}}, &agent.Agent{ID: "second"}
				c.start(first)
				c.says(0.5, 2.5, "Book it")
				c.until(8)
				if err := c.s.UpdateAgent(second); err != nil {
					t.Fatal(err)
				}
				want, end := 13.1, "done"
				if cancellable {
					want, end = 8, "cancelled"
				}
				c.quietAt(want)
				c.until(20)
				// Whoever comes next is not asked to speak about it.
				c.wantToolEvents("3.10 book#1 started", "3.10 book#1 updated", fmt.Sprintf("%.2f book#1_final %s", want, end))
				if n := c.s.ChatContext().Len(); n != 0 {
					t.Errorf("the second agent knows %d items", n)
				}
				if h := c.history(); strings.Count(h, "call book") != 2 {
					t.Errorf("history\n%s", h)
				}
				c.close()
			})
		})
	}
}

func TestToolOfTheSessionSurvivesHandoffs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: calls("book#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")}, scripted.Answer{Chunks: oneChunk("It is booked.")})
		c.opt.Tools = []llm.Tool{books("book", 10*time.Second)}
		c.start(&agent.Agent{ID: "first"})
		c.says(0.5, 2.5, "Book it")
		c.until(8)
		if err := c.s.UpdateAgent(&agent.Agent{ID: "second"}); err != nil {
			t.Fatal(err)
		}
		c.quietAt(8)
		c.until(20)
		c.wantToolEvents("3.10 book#1 started", "3.10 book#1 updated", "13.10 book#1_final done",
			"13.10 reply to book#1_final scheduled", "15.50 reply to book#1_final completed")
		var knows strings.Builder
		for it := range c.s.ChatContext().All() {
			knows.WriteString(describe(it) + "\n")
		}
		diff(t, "the second agent knows", knows.String(), "call book({})\noutput book booked\nassistant: It is booked.\n")
		c.close()
	})
}

func TestToolDoesNotWaitForAHandoffThatWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var idle, floor error
		c := newCall(t, scripted.Answer{Calls: calls("move#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")})
		next := &agent.Agent{ID: "next"}
		c.start(&agent.Agent{Tools: []llm.Tool{tool("move", func(ctx context.Context, rc *agent.RunContext) (any, error) {
			_ = rc.Update(ctx, "moving")
			_ = rc.Session().UpdateAgent(next)
			idle = rc.Session().WaitForIdle(ctx)
			floor = rc.Session().Foreground(ctx, func(context.Context) error { return nil })
			return nil, nil
		})}})
		c.says(0.5, 2.5, "Move")
		c.until(15)
		if !errors.Is(idle, agent.ErrSelfWait) || !errors.Is(floor, agent.ErrSelfWait) || c.s.Agent() != next {
			t.Errorf("WaitForIdle: %v, Foreground: %v, in charge: %s", idle, floor, c.s.Agent().Name())
		}
		c.close()
	})
}

func TestToolWaitsForIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Chunks: []driver.Chunk{{Text: "Let me see.", ToolCalls: calls("slow#1")}}}, scripted.Answer{Chunks: oneChunk("Half."), TTFT: 100 * time.Millisecond},
			scripted.Answer{Chunks: oneChunk("I told you.")})
		c.start(&agent.Agent{Tools: []llm.Tool{tool("slow", func(ctx context.Context, rc *agent.RunContext) (any, error) {
			if err := rc.Session().WaitForIdle(ctx); err != nil {
				t.Errorf("WaitForIdle: %v", err)
			}
			c.wantSince(5.4, "what was said before the tool was heard")
			_ = rc.Update(ctx, "first")
			_ = rc.Update(ctx, "second")
			return nil, rc.Session().Foreground(ctx, func(ctx context.Context) error {
				c.wantSince(10.1, "both updates were told, and then the floor")
				return rc.Session().Say("Mine", nil).Wait(ctx)
			})
		})}})
		c.says(0.5, 2.5, "Look it up")
		c.until(20)
		c.wantToolEvents("3.10 slow#1 started", "5.40 slow#1 updated", "5.40 slow#1_update_1 updated",
			"7.70 reply to slow#1_update_1 scheduled", "10.10 reply to slow#1_update_1 completed", "12.30 slow#1_final done")
		c.close()
	})
}

func TestSessionClosesWithToolsInTheBackground(t *testing.T) {
	for _, tt := range []struct {
		drain, deaf bool
		end         string
	}{{drain: true, end: "done"}, {end: "cancelled"}, {deaf: true, end: "cancelled"}} {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Calls: calls("book#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")})
				c.start(&agent.Agent{Tools: []llm.Tool{tool("book", func(ctx context.Context, rc *agent.RunContext) (any, error) {
					_ = rc.Update(ctx, "working")
					if tt.deaf {
						time.Sleep(20 * time.Second)
						return "booked", nil
					}
					return "booked", sleeps(ctx, 20*time.Second)
				})}})
				c.says(0.5, 2.5, "Book it")
				c.until(8)
				if tt.drain {
					c.s.Shutdown(agent.ShutdownOptions{})
					_ = c.s.Wait(t.Context())
				}
				c.close()
				if got := c.toolEvents(); strings.Count(got, "book#1_final") != 1 || !strings.Contains(got, "book#1_final "+tt.end) {
					t.Errorf("want %s:\n%s", tt.end, got)
				}
				c.until(40)
			})
		})
	}
}

func TestToolTexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		again := scripted.Answer{Calls: calls("book#2")}
		c := newCall(t, scripted.Answer{Calls: calls("book#1")}, again, scripted.Answer{Chunks: oneChunk("I am at it.")}, scripted.Answer{Chunks: oneChunk("Done.")})
		c.opt.ToolTexts = agent.ToolTexts{Update: "{name} ({call_id}): {message}", Duplicate: "never", News: "speak of {call_ids}"}
		book := books("book", 6*time.Second)
		book.Duplicates = llm.RejectDuplicates
		c.start(&agent.Agent{Tools: []llm.Tool{book}, ToolTexts: agent.ToolTexts{Duplicate: "{call_id} still runs"}})
		c.says(0.5, 2.5, "Book it")
		c.until(20)
		c.wantHistory("handoff  -> default_agent", "user: Book it", "call book({})", "output book (book#1): working",
			"call book({})", "output book#1 still runs", "assistant: I am at it.", "call book({})", "output book booked", "assistant: Done.")
		if got := c.lastMessage(3); got != "system: speak of book#1_final" {
			t.Errorf("asked with %s", got)
		}
		c.close()
	})
}

func TestUpdateOutsideOfATool(t *testing.T) {
	rc := agent.NewRunContext(nil, nil, nil, nil)
	if err := rc.Update(t.Context(), "x"); err == nil {
		t.Error("a hook has updated something")
	}
	rc = agent.NewRunContext(nil, nil, &chat.FunctionCall{}, nil)
	if err := rc.Update(t.Context(), "x"); err != nil {
		t.Errorf("a tool without a session: %v", err)
	}
	if stop, err := rc.WithFiller(t.Context(), agent.Filler{Text: "x"}); err != nil || stop == nil {
		t.Errorf("a filler without a session: %v", err)
	}
}

func TestFloorComesAfterNewsThatWereInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: calls("slow#1")}, scripted.Answer{Chunks: oneChunk("I am at it.")},
			scripted.Answer{Chunks: oneChunk("Half.")}, scripted.Answer{Chunks: oneChunk("Half, I said.")})
		c.start(&agent.Agent{Tools: []llm.Tool{tool("slow", func(ctx context.Context, rc *agent.RunContext) (any, error) {
			_ = rc.Update(ctx, "first")
			time.Sleep(4 * time.Second)
			_ = rc.Update(ctx, "second")
			return nil, rc.Session().Foreground(ctx, func(ctx context.Context) error { return rc.Session().Say("Mine.", nil).Wait(ctx) })
		})}})
		c.says(0.5, 2.5, "Look it up")
		c.until(8.5)
		if err := c.s.Interrupt(t.Context(), false); err != nil {
			t.Error(err)
		}
		c.until(20)
		if got := c.history(); strings.Index(got, "Mine.") < strings.Index(got, "Half, I said.") || strings.Count(c.toolEvents(), "scheduled") != 2 {
			t.Errorf("history\n%s%s", got, c.toolEvents())
		}
		c.close()
	})
}
