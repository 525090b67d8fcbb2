package session_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/turn"
	turnscripted "github.com/parley-go/parley/turn/scripted"
	"github.com/parley-go/parley/vad"
)

// checkAttribution checks that each dimension adds up to the usage.
func checkAttribution(t *testing.T, s *session.Session) {
	t.Helper()
	rep, err := s.Report()
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(s.Usage())
	for _, d := range metrics.Dimensions {
		var all, of []metrics.Usage
		for _, g := range rep.UsageBy[d] {
			all = append(all, g.Usage)
		}
		for _, g := range s.UsageBy(d) {
			of = append(of, g.Usage)
		}
		for _, usages := range [][]metrics.Usage{all, of} {
			if got, _ := json.Marshal(metrics.Sum(usages...)); string(got) != string(want) {
				t.Errorf("%s add up to %s, the usage is %s", d, got, want)
			}
		}
	}
}

// shares is what the groups have of each kind of model: "kelly: llm 3 tts 12 stt 1.5s", in tokens said,
// characters and half seconds.
func shares(groups []metrics.Group) string {
	var b strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&b, "%s:", g.Key)
		for _, m := range g.Usage.Models {
			switch m := m.(type) {
			case metrics.LLMUsage:
				fmt.Fprintf(&b, " llm %d", m.OutputTokens)
			case metrics.TTSUsage:
				fmt.Fprintf(&b, " tts %d", m.CharactersCount)
			case metrics.STTUsage:
				fmt.Fprintf(&b, " stt %v", m.AudioDuration.Round(500*time.Millisecond))
			case metrics.EOTUsage:
				fmt.Fprintf(&b, " eot %d", m.TotalRequests)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestReportHasTheUsageApartByOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"}, scripted.Answer{Text: "One two three four five six", TTFT: 300 * time.Millisecond, Delay: 600 * time.Millisecond})
		c.opt.PriceBooks = priced(t)
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.until(6)
		c.says(6, 7, "Go on")
		c.says(8.6, 9.5, "Stop")
		c.until(14)
		rep := c.close()
		checkAttribution(t, c.s)
		got := regexp.MustCompile(` (llm|stt) \S+`).ReplaceAllString(shares(rep.UsageBy[metrics.ByOutcome]), "")
		diff(t, "outcomes", got, "delivered: tts 8\ninterrupted: tts 19\n")
		for _, groups := range rep.UsageBy {
			var sum metrics.Amount
			for _, g := range groups {
				sum += g.Cost.Total("EUR")
			}
			if want := rep.Cost.Total("EUR"); sum != want {
				t.Errorf("the groups cost %s, the session %s", sum, want)
			}
		}
	})
}

// by is what the session has spent, apart by a dimension.
func (c *call) by(d metrics.Dimension) string { return shares(c.s.UsageBy(d)) }

// anonymous is s without the ids of turns.
func anonymous(s string) string { return regexp.MustCompile(`turn_\w+`).ReplaceAllString(s, "turn") }

// usageEvents are the events that carry usage.
func (c *call) usageEvents() (all []metrics.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.spent {
		if _, ok := metrics.UsageOf(e); ok {
			all = append(all, e)
		}
	}
	return all
}

func TestUsageIsOfTheAgentInCharge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"}, scripted.Answer{Text: "I am new"})
		c.start(&agent.Agent{ID: "kelly"})
		c.says(0.5, 2.5, "Hello")
		c.until(8)
		if err := c.s.UpdateAgent(&agent.Agent{ID: "bob"}); err != nil { // the ears stay
			t.Fatal(err)
		}
		c.says(9, 10, "Who are you?")
		c.until(18)
		c.close()
		checkAttribution(t, c.s)
		diff(t, "agents", c.by(metrics.ByAgent), "bob: llm 3 tts 8 stt 10s\nkelly: llm 2 tts 8 stt 8s\n")
	})
}

func TestUsageOfReplacedEarsIsOfTheOldAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{ID: "kelly"})
		c.until(3)
		if err := c.s.UpdateAgent(&agent.Agent{ID: "bob", VAD: opt.Some(vad.New(vadScript{}))}); err != nil {
			t.Fatal(err)
		}
		c.until(5)
		c.close()
		checkAttribution(t, c.s)
		diff(t, "agents", c.by(metrics.ByAgent), "bob: stt 2s\nkelly: stt 3s\n")
	})
}

func TestUsageOfTasksAndTools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		helper := llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{{Text: "They said hello"}}}), nil)
		task := agent.NewTask[string](&agent.Agent{ID: "email"})
		task.OnEnter = func(_ context.Context, rc *agent.RunContext) error { rc.Session().Say("Email?", nil); return nil }
		task.Tools = []llm.Tool{toolOf("save", func(context.Context, *agent.RunContext) (any, error) { return nil, task.Complete("a@b") })}
		c := newCall(t, calling("ask"), calling("save"), scripted.Answer{Text: "Thank you"})
		c.opt.STT = nil
		c.start(&agent.Agent{ID: "kelly", Tools: []llm.Tool{toolOf("ask", func(ctx context.Context, rc *agent.RunContext) (string, error) {
			if _, err := llm.Summarize(ctx, helper, rc.Session().ChatContext(), 0); err != nil {
				return "", err
			}
			return task.Run(ctx)
		})}})
		c.room.Host().ReceiveText(session.TextInput{Text: "Hello"})
		c.until(8)
		c.room.Host().ReceiveText(session.TextInput{Text: "It is a@b"})
		c.until(20)
		c.close()
		checkAttribution(t, c.s)
		diff(t, "agents", c.by(metrics.ByAgent), "kelly: llm 9 tts 15\n")
		diff(t, "tasks", c.by(metrics.ByTask), ": llm 7 tts 9\nemail: llm 2 tts 6\n")
		diff(t, "tools", c.by(metrics.ByTool), ": llm 6 tts 15\nask: llm 3\n")
		diff(t, "turns", anonymous(c.by(metrics.ByTurn)), ": tts 6\nturn: llm 7 tts 9\nturn: llm 2\n")
	})
}

// TestUsageOfTurns: what is heard from the first sound of a turn to its end, what judges it, answers that
// were begun too early and the one that is given are of the turn.
func TestUsageOfTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Early"}, scripted.Answer{Text: "Hi there"}, scripted.Answer{Text: "Bye"})
		c.opt.TurnHandling.Preemptive.Enabled = opt.Some(true)
		c.opt.TurnHandling.Detector = opt.Some(turn.New(turnscripted.NewText(nil), nil))
		c.start(&agent.Agent{ID: "kelly"})
		c.says(0.5, 1.5, "Hello")
		c.says(1.8, 2.5, "my friend")
		c.until(8)
		c.says(9, 10, "Bye")
		c.until(16)
		c.close()
		checkAttribution(t, c.s)
		turns := c.s.UsageBy(metrics.ByTurn)
		diff(t, "turns", anonymous(shares(turns)), ": stt 12s\nturn: llm 3 tts 8 stt 2.5s eot 1\nturn: llm 1 tts 3 stt 1.5s eot 1\n")
		diff(t, "outcomes", c.by(metrics.ByOutcome), "delivered: llm 3 tts 11 stt 16s eot 2\ndiscarded: llm 1\n")
		var eou []string
		for _, e := range c.spent {
			if e, ok := e.(*metrics.EOU); ok {
				eou = append(eou, e.Tags.TurnID)
			}
		}
		if len(eou) != 2 || len(turns) != 3 || eou[0] != turns[1].Key || eou[1] != turns[2].Key {
			t.Errorf("turns %v ended, usage is of %s", eou, shares(turns))
		}
	})
}

// TestSharedModelsAreCountedOnceEach: several sessions of a job use the same models (P-14), and one of them
// has a helper beside its pipeline (P-15).
func TestSharedModelsAreCountedOnceEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		model := scripted.New(&scripted.Options{Respond: func(int, *driver.Request) scripted.Answer { return scripted.Answer{Text: "Well well well"} }})
		shared := llm.New(model, nil)
		helper := func(ctx context.Context, rc *agent.RunContext) (string, error) {
			_, err := llm.Summarize(ctx, shared, rc.Session().ChatContext(), 0)
			return "done", err
		}
		start := func(id string) *session.Session {
			a := &agent.Agent{ID: id}
			a.OnExit = func(ctx context.Context, rc *agent.RunContext) error { _, err := helper(ctx, rc); return err }
			s := session.New(session.Options{LLM: shared, Logger: slog.New(slog.DiscardHandler)})
			if err := s.Start(t.Context(), a, nil); err != nil {
				t.Fatal(err)
			}
			return s
		}
		one, two := start("one"), start("two")
		for i := range 3 {
			if _, err := one.Run(t.Context(), "Hello"); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				if _, err := two.Run(t.Context(), "Hello"); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, s := range []*session.Session{one, two} {
			_ = s.Close(t.Context())
			checkAttribution(t, s)
		}
		if one, two := shares(one.UsageBy(metrics.ByAgent)), shares(two.UsageBy(metrics.ByAgent)); one != "one: llm 12\n" || two != "two: llm 6\n" {
			t.Errorf("the sessions have spent %s and %s", one, two)
		}
		// Beside the conversation, and after it.
		if _, err := llm.Summarize(one.Context(t.Context()), shared, one.History(), 0); err != nil {
			t.Error(err)
		}
		if _, err := llm.Summarize(two.Context(one.Context(t.Context())), shared, one.History(), 0); err != nil { // the inner one counts
			t.Error(err)
		}
		if one, two := shares(one.UsageBy(metrics.ByAgent)), shares(two.UsageBy(metrics.ByAgent)); one != ": llm 3\none: llm 12\n" || two != ": llm 3\ntwo: llm 6\n" {
			t.Errorf("the sessions have spent %s and %s", one, two)
		}
		sum, _ := metrics.Sum(one.Usage(), two.Usage()).LLM("scripted", "scripted")
		if stated := model.Stated(); sum.OutputTokens != stated.CompletionTokens || sum.InputTokens != stated.PromptTokens {
			t.Errorf("together %+v, the model served %+v", sum, stated)
		}
		if n := session.New(session.Options{}).Context(t.Context()); n != t.Context() {
			t.Error("a session that never started counts")
		}
	})
}

// TestSessionStartedInAToolIsApart: the usage of a session is not of the tool of another one that started it.
func TestSessionStartedInAToolIsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := func(a ...scripted.Answer) *llm.Model {
			return llm.New(scripted.New(&scripted.Options{Answers: a}), nil)
		}
		quiet := slog.New(slog.DiscardHandler)
		inner := session.New(session.Options{LLM: answers(scripted.Answer{Text: "I see"}), Logger: quiet})
		call := toolOf("call", func(ctx context.Context, _ *agent.RunContext) (string, error) {
			if err := inner.Start(ctx, &agent.Agent{ID: "inner"}, nil); err != nil {
				return "", err
			}
			_, err := inner.Run(ctx, "Hello")
			return "done", err
		})
		outer := session.New(session.Options{LLM: answers(calling("call"), scripted.Answer{Text: "Done"}), Logger: quiet})
		if err := outer.Start(t.Context(), &agent.Agent{ID: "outer", Tools: []llm.Tool{call}}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := outer.Run(t.Context(), "Go"); err != nil {
			t.Fatal(err)
		}
		for s, want := range map[*session.Session]string{inner: ": llm 2\n", outer: ": llm 3\n"} {
			_ = s.Close(t.Context())
			if got := shares(s.UsageBy(metrics.ByTool)); got != want {
				t.Errorf("tools have %s, want %s", got, want)
			}
		}
	})
}
