package session_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
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
