package session_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
)

// slowToOpen is a transport that opens until the session gives it up.
type slowToOpen struct {
	session.Transport
	opening chan struct{}
}

func (s slowToOpen) Open(ctx context.Context, _ session.Host) (session.IO, error) {
	close(s.opening)
	<-ctx.Done()
	time.Sleep(time.Second)
	return session.IO{}, ctx.Err()
}

func TestShutdownAndCloseWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := session.New(session.Options{Logger: slog.New(slog.DiscardHandler)})
		slow := slowToOpen{opening: make(chan struct{})}
		go func() {
			<-slow.opening
			s.Shutdown(agent.ShutdownOptions{})
			_ = s.Close(context.Background())
		}()
		if err := s.Start(t.Context(), &agent.Agent{}, slow); err == nil {
			t.Error("the session has started")
		}
		if err := s.Wait(t.Context()); err != nil {
			t.Errorf("waiting for the close: %v", err)
		}
	})
}

// closingContext has the session closed as soon as the start looks at it.
type closingContext struct {
	context.Context
	s    *session.Session
	once sync.Once
}

func (c *closingContext) Done() <-chan struct{} {
	c.once.Do(func() { c.s.Shutdown(agent.ShutdownOptions{Now: true}) })
	return c.Context.Done()
}

func TestCloseInTheVeryMomentOfTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := session.New(session.Options{Logger: slog.New(slog.DiscardHandler)})
		if err := s.Start(&closingContext{Context: t.Context(), s: s}, &agent.Agent{}, nil); err == nil {
			t.Error("the session has started")
		}
		synctest.Wait()
		select {
		case <-s.Done():
		default:
			t.Error("the session is not closed")
		}
	})
}

func TestWordsToTheNextAgentComeBeforeTheLastWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{OnExit: func(ctx context.Context, _ *agent.RunContext) error { return sleeps(ctx, 10*time.Second) }})
		if err := c.s.UpdateAgent(&agent.Agent{ID: "next"}); err != nil {
			t.Fatal(err)
		}
		c.says(0.5, 1.5, "First words") // are for the next agent
		c.says(4, 5, "Last words")
		c.until(5.3)
		c.close()
		c.wantHistory("handoff  -> default_agent", "user: First words", "user: Last words")
	})
}

func TestDrainDoesNotWaitForTheUserToBeSilent(t *testing.T) {
	for name, stop := range map[string]float64{"speaks on": 30, "stops": 3} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t)
				c.start(nil)
				c.s.Say("One two", nil) // from 0.2 on
				c.s.Say("Goodbye", nil)
				c.says(0.7, stop, "") // pauses the agent at 1.2
				c.until(2)
				c.s.Shutdown(agent.ShutdownOptions{})
				if err := c.s.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				diff(t, "states", c.states(), "0.00 agent listening\n0.20 agent speaking\n1.20 agent listening\n2.00 agent speaking\n5.20 agent listening\n")
				c.wantHistory("handoff  -> default_agent", "assistant: One two", "assistant: Goodbye")
			})
		})
	}
}

// closeOrder notes what happens while a session closes.
type closeOrder struct {
	session.Transport
	mu    sync.Mutex
	steps []string
}

func (o *closeOrder) note(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.steps); n == 0 || o.steps[n-1] != what {
		o.steps = append(o.steps, what)
	}
}

func (o *closeOrder) Close(ctx context.Context) error {
	o.note("transport closes")
	return o.Transport.Close(ctx)
}

// connection is a toolset that notes when it is closed.
type connection struct {
	server
	o *closeOrder
}

func (c *connection) Close() error {
	time.Sleep(100 * time.Millisecond) // it is closed while listeners are told
	c.o.note("toolset closes")
	return c.server.Close()
}

// TestCloseInOrder closes a session while its agent speaks and its user does, too. All that costs something is
// booked before the session tells that it is closed, and what it told before is in the report.
func TestCloseInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		o := &closeOrder{Transport: c.room}
		c.transport = o
		c.opt.TurnHandling.Interruption.Enabled = opt.Off[bool]()
		a := &agent.Agent{Tools: []llm.Tool{&connection{server{name: "crm"}, o}}, OnExit: func(context.Context, *agent.RunContext) error {
			time.Sleep(100 * time.Millisecond) // the interruption is under way
			o.note("agent exits")
			return nil
		}}
		c.start(a)
		session.On(c.s, func(e session.ConversationItemAdded) { o.note("history: " + describe(e.Item)) })
		session.On(c.s, func(e session.MetricsCollected) {
			if e.Metrics.Type() != "vad_metrics" {
				o.note(e.Metrics.Type())
			}
		})
		session.On(c.s, func(e session.Closed) { o.note("closed") })
		c.until(1)
		c.s.Say("one two three four five", nil)
		c.says(1.5, 3, "Wait")
		c.until(2.2)
		o.note("close")
		rep := c.close()
		o.note("report")
		i := slices.Index(o.steps, "close")
		want := []string{"close", "history: assistant: one two three [interrupted]", "agent exits", "stt_metrics", "history: user: Wait",
			"closed", "toolset closes", "transport closes", "report"}
		if got := o.steps[max(i, 0):]; !slices.Equal(got, want) {
			t.Errorf("closing:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
		if rep.Usage.Models == nil || rep.EndedAt.IsZero() || rep.Events[len(rep.Events)-1].EventType() != "close" {
			t.Errorf("report %+v", rep)
		}
	})
}
