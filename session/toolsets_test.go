package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/scripted"
)

// server is a toolset that knows its tools only when it is connected.
type server struct {
	name  string
	wait  time.Duration
	err   error
	tools []llm.Tool

	mu  sync.Mutex
	on  bool
	log []string
}

func (s *server) ID() string { return s.name }

func (s *server) Tools() []llm.Tool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on {
		return nil
	}
	return s.tools
}

func (s *server) note(on bool, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = on
	s.log = append(s.log, what)
}

func (s *server) Setup(ctx context.Context) error {
	select {
	case <-time.After(s.wait):
	case <-ctx.Done():
		s.note(false, "gave up")
		return ctx.Err()
	}
	s.note(s.err == nil, "setup")
	return s.err
}

func (s *server) Close() error {
	s.note(false, "close")
	return nil
}

func (s *server) want(t *testing.T, when string, log ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.log, log) {
		t.Errorf("%s: %s has done %v, want %v", when, s.name, s.log, log)
	}
}

func TestToolsetsAreSetUpAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &server{name: "session", wait: time.Second, tools: []llm.Tool{silent("s")}}
		both := &server{name: "both", wait: time.Second, tools: []llm.Tool{silent("b")}}
		first := &server{name: "first", wait: time.Second, tools: []llm.Tool{silent("f")}}
		broken := &server{name: "broken", err: errors.New("no server")}
		old := &chat.Context{}
		old.Add(&chat.FunctionCall{CallID: "1", Name: "f", Arguments: "{}"}, &chat.FunctionCallOutput{CallID: "1", Name: "f"},
			&chat.FunctionCall{Header: chat.Header{ID: "gone"}, CallID: "2", Name: "gone", Arguments: "{}"}, &chat.FunctionCallOutput{CallID: "2", Name: "gone"})
		c := newCall(t, scripted.Answer{Text: "One"}, scripted.Answer{Text: "Two"})
		c.opt.Tools = []llm.Tool{own}
		c.start(&agent.Agent{ID: "one", ChatContext: old, Tools: []llm.Tool{llm.NewToolset("group", both, first), broken}})
		sp := c.s.GenerateReply(agent.Reply{UserInput: "Hello"})
		c.until(0.9)
		if n := len(c.llm.Requests()); n != 0 {
			t.Fatalf("%d requests before the tools are there", n)
		}
		c.until(1.1)
		if n := len(c.llm.Requests()); n != 1 {
			t.Fatalf("%d requests after the first second, in which the toolsets are set up in parallel", n)
		}
		_ = sp.Wait(t.Context())
		tools, messages := c.asked(0)
		if strings.Join(tools, " ") != "s b f" || !strings.Contains(messages, "call f(") {
			t.Errorf("the model was offered %v, and asked\n%s", tools, messages)
		}
		if _, gone := c.s.ChatContext().ByID("gone"); gone {
			t.Error("a call of a tool that no toolset has is remembered")
		}
		if err := c.s.UpdateAgent(&agent.Agent{ID: "two", Tools: []llm.Tool{both}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		own.want(t, "after the handoff", "setup")
		both.want(t, "after the handoff", "setup")
		first.want(t, "after the handoff", "setup", "close")
		broken.want(t, "after the handoff", "setup", "close")
		c.close()
		own.want(t, "at the end", "setup", "close")
		both.want(t, "at the end", "setup", "close")
	})
}

func TestUpdateToolsSetsUpAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := &server{name: "old", tools: []llm.Tool{silent("o")}}
		next := &server{name: "next", wait: 2 * time.Second, tools: []llm.Tool{silent("n")}}
		clash := &server{name: "clash", tools: []llm.Tool{silent("s")}}
		hung := &server{name: "hung", wait: time.Hour}
		c := newCall(t, scripted.Answer{Text: "One"})
		c.opt.Tools = []llm.Tool{silent("s")}
		c.start(&agent.Agent{Tools: []llm.Tool{old}})
		time.Sleep(time.Second)
		if err := c.s.UpdateTools(t.Context(), []llm.Tool{clash}); err == nil || !strings.Contains(err.Error(), `"s"`) {
			t.Errorf("a tool of the name of another one, known after the setup: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.s.UpdateTools(ctx, []llm.Tool{hung}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a setup that hangs: %v", err)
		}
		old.want(t, "after updates that failed", "setup")
		if err := c.s.UpdateTools(t.Context(), []llm.Tool{next}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		old.want(t, "after the update", "setup", "close")
		clash.want(t, "after the update", "setup", "close")
		if u := c.updates(); len(u) != 1 || fmt.Sprint(u[0].ToolsAdded, u[0].ToolsRemoved) != "[n] [o]" {
			t.Errorf("config updates %+v, want one: n came, o went", u[0])
		}
		if err := c.s.UpdateTools(t.Context(), []llm.Tool{old, next}); err != nil { // again
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		c.close()
		old.want(t, "at the end", "setup", "close", "setup", "close")
		next.want(t, "at the end", "setup", "close")
		hung.want(t, "at the end", "gave up", "close")
	})
}

func TestToolsetThatHangsDoesNotHoldUpAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Here I am"})
		c.start(&agent.Agent{Tools: []llm.Tool{&server{name: "hung", wait: time.Hour}, silent("other")}})
		_ = c.s.GenerateReply(agent.Reply{UserInput: "Hello"}).Wait(t.Context())
		if now := time.Since(c.t0); now < 10*time.Second || now > 15*time.Second {
			t.Errorf("answered after %v, want little more than 10 s", now)
		}
		if tools, _ := c.asked(0); !slices.Equal(tools, []string{"other"}) {
			t.Errorf("tools %v", tools)
		}
		c.close()
	})
}

type uncomparable struct{ bundle }

func (uncomparable) Setup(context.Context) error { return nil }
func (uncomparable) Close() error                { return nil }

func TestToolsetsMustBeComparable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		if err := c.s.UpdateAgent(&agent.Agent{Tools: []llm.Tool{uncomparable{}}}); err == nil || !strings.Contains(err.Error(), "pointer") {
			t.Errorf("got %v", err)
		}
		if err := c.s.UpdateTools(t.Context(), []llm.Tool{uncomparable{}}); err == nil || !strings.Contains(err.Error(), "pointer") {
			t.Errorf("got %v", err)
		}
		c.close()
	})
}
