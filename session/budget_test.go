package session_test

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/session"
)

// testPrices: a token of the LLM is a cent, a character a tenth of one, a minute of listening is 6 cents.
const testPrices = `{"format":1,"version":"test-1","currency":"EUR","prices":[
	{"provider":"scripted","model":"*","rates":{"input_tokens":{"price":"0.01","per":1},"output_tokens":{"price":"0.01","per":1}}},
	{"provider":"script","model":"tts","rates":{"characters_count":{"price":"1","per":1000}}},
	{"provider":"script","model":"stt","rates":{"audio_duration":{"price":"0.06","per":"minute"}}}]}`

func priced(t testing.TB) []*metrics.PriceBook {
	t.Helper()
	b, err := metrics.ParsePriceBook([]byte(testPrices))
	if err != nil {
		t.Fatal(err)
	}
	return []*metrics.PriceBook{b}
}

// exceeded is the budgets that were exceeded, in order.
func (c *call) exceeded() (all []session.BudgetExceeded) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if b, ok := e.(session.BudgetExceeded); ok {
			all = append(all, b)
		}
	}
	return all
}

func TestReportHasTheCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.PriceBooks = priced(t)
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.until(6)
		live := c.s.Cost()
		rep := c.close()
		stated := c.llm.Stated()
		want := metrics.Amount(stated.PromptTokens+stated.CompletionTokens)*metrics.Unit/100 + // LLM
			metrics.Amount(c.tts.chars)*metrics.Unit/1000 + metrics.Amount(c.stt.heard/time.Millisecond)*metrics.Unit/1_000_000
		if got := rep.Cost.Total("EUR"); got != want || rep.Cost.Unpriced != 0 || len(rep.Cost.Lines) != 3 {
			t.Errorf("cost %+v, want %s", rep.Cost, want)
		}
		if l := live.Total("EUR"); l <= 0 || l > want || c.s.Cost().Total("EUR") != want {
			t.Errorf("cost was %s while the session ran and is %s after it, want %s", l, c.s.Cost().Total("EUR"), want)
		}
	})
}

func TestReportCostJSON(t *testing.T) {
	u := metrics.Usage{Models: []metrics.ModelUsage{
		metrics.LLMUsage{Provider: "scripted", Model: "scripted", InputTokens: 3, OutputTokens: 2},
		metrics.TTSUsage{Provider: "script", Model: "tts", CharactersCount: 8},
		metrics.STTUsage{Provider: "script", Model: "unheard-of", AudioDuration: time.Second},
	}}
	cost := u.Cost(time.Now(), priced(t)...)
	data, err := json.Marshal(&session.Report{Usage: u, Cost: &cost})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Cost json.RawMessage }
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/cost.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(doc.Cost) != strings.TrimSpace(string(want)) {
		t.Errorf("cost in the report:\n%s\nwant:\n%s", doc.Cost, want)
	}
}

func TestReportWithoutPricesHasNoCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		c.until(1)
		data, err := json.Marshal(c.close())
		if err != nil || !strings.Contains(string(data), `"cost":null`) {
			t.Errorf("%v, %s", err, data)
		}
		if cost := c.s.Cost(); cost.Unpriced != len(cost.Lines) || len(cost.Lines) == 0 {
			t.Errorf("without prices it costs %+v", cost)
		}
	})
}

func TestSoftBudgetLetsTheAgentSayGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.SoftBudget = session.Budget{Duration: 4 * time.Second, Tokens: 1_000_000}
		c.opt.HardBudget = session.Budget{Duration: 20 * time.Second}
		c.start(nil)
		session.On(c.s, func(session.BudgetExceeded) {
			c.s.Say("Goodbye", nil)
			c.s.Shutdown(agent.ShutdownOptions{})
		})
		if err := c.s.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
		rep := c.close()
		all := c.exceeded()
		if len(all) != 1 || all[0].Hard || all[0].Limit != session.LimitDuration || all[0].Duration != 4*time.Second || all[0].When() != c.at(4) {
			t.Errorf("exceeded: %+v", all)
		}
		if rep.CloseReason != session.ReasonUserInitiated || rep.Duration() >= 10*time.Second {
			t.Errorf("closed for %s after %v", rep.CloseReason, rep.Duration())
		}
		c.wantHistory("handoff  -> default_agent", "assistant: Goodbye")
	})
}

func TestHardBudgetClosesTheSession(t *testing.T) {
	money := metrics.Money{Amount: metrics.Unit / 100, Currency: "EUR"} // less than any answer
	for name, hard := range map[session.BudgetLimit]session.Budget{
		session.LimitTokens:   {Tokens: 1},
		session.LimitMoney:    {Money: money, Tokens: 1_000_000},
		session.LimitDuration: {Duration: 3500 * time.Millisecond},
	} {
		t.Run(string(name), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Hi there"})
				c.tts.lasts(30 * time.Second)
				c.opt.PriceBooks = priced(t)
				c.opt.SoftBudget, c.opt.HardBudget = hard, hard
				c.start(nil)
				c.says(0.5, 2.5, "Hello")
				if err := c.s.Wait(context.Background()); err != nil {
					t.Fatal(err)
				}
				rep := c.close()
				if rep.CloseReason != session.ReasonBudgetExceeded || rep.CloseError != nil || rep.Duration() > 8*time.Second {
					t.Errorf("closed for %s (%v) after %v", rep.CloseReason, rep.CloseError, rep.Duration())
				}
				all := c.exceeded()
				if len(all) != 2 || all[0].Hard || !all[1].Hard || all[1].Limit != name || all[1].Budget != hard {
					t.Fatalf("exceeded: %+v", all)
				}
				if e := all[1]; name == session.LimitMoney && (e.Money.Currency != "EUR" || e.Money.Amount <= money.Amount) || name == session.LimitTokens && e.Tokens <= 1 {
					t.Errorf("spent %+v", e)
				}
			})
		})
	}
}

// What drains because of the soft budget is stopped by the hard one; the first reason stays.
func TestHardBudgetEndsTheDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.tts.lasts(30 * time.Second)
		c.opt.SoftBudget.Duration, c.opt.HardBudget.Duration = 2*time.Second, 6*time.Second
		c.start(nil)
		session.On(c.s, func(e session.BudgetExceeded) {
			if !e.Hard {
				c.s.Say("A very long goodbye", nil)
				c.s.Shutdown(agent.ShutdownOptions{})
			}
		})
		if err := c.s.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
		rep := c.close()
		if d := rep.Duration(); d < 6*time.Second || d > 8*time.Second || rep.CloseReason != session.ReasonUserInitiated || len(c.exceeded()) != 2 {
			t.Errorf("closed for %s after %v, exceeded %+v", rep.CloseReason, d, c.exceeded())
		}
	})
}

func TestBudgetThatCannotBeKept(t *testing.T) {
	for want, o := range map[string]session.Options{
		"price book":   {HardBudget: session.Budget{Money: metrics.Money{Amount: 1, Currency: "EUR"}}},
		`book in "US"`: {SoftBudget: session.Budget{Money: metrics.Money{Amount: 1, Currency: "US"}}, PriceBooks: priced(t)},
		"below zero":   {HardBudget: session.Budget{Tokens: -1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := session.New(o)
			err := s.Start(t.Context(), &agent.Agent{}, nil)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("start: %v, want %s", err, want)
			}
			_ = s.Close(context.Background())
		})
	}
}

// limit gives some random sessions budgets.
func (x *random) limit() {
	budget := func() (b session.Budget) {
		if x.rng.IntN(3) == 0 {
			b.Money = metrics.Money{Amount: metrics.Amount(x.rng.IntN(200)) * metrics.Unit / 100, Currency: "EUR"}
		}
		if x.rng.IntN(3) == 0 {
			b.Tokens = x.rng.Int64N(400)
		}
		if x.rng.IntN(3) == 0 {
			b.Duration = time.Duration(x.rng.IntN(40)) * time.Second
		}
		return b
	}
	x.opt.PriceBooks = priced(x.t)
	if x.rng.IntN(4) == 0 {
		x.opt.SoftBudget = budget()
	}
	if x.rng.IntN(6) == 0 {
		x.opt.HardBudget = budget()
	}
}

// cutOff reports whether the hard budget closes the session.
func (x *random) cutOff() bool {
	return slices.ContainsFunc(x.exceeded(), func(e session.BudgetExceeded) bool { return e.Hard })
}

// checkBudgets: each is told once, when it was exceeded, and a session that has used more than the hard one
// allows has not closed for another reason before that.
func (x *random) checkBudgets(t *testing.T, events []session.Event) {
	told := map[bool]int{}
	for _, e := range events {
		b, ok := e.(session.BudgetExceeded)
		if !ok {
			continue
		}
		told[b.Hard]++
		want := x.opt.SoftBudget
		if b.Hard {
			want = x.opt.HardBudget
		}
		over := map[session.BudgetLimit]bool{
			session.LimitMoney: b.Money.Amount > want.Money.Amount, session.LimitTokens: b.Tokens > want.Tokens, session.LimitDuration: b.Duration >= want.Duration,
		}
		if b.Budget != want || want == (session.Budget{}) || !over[b.Limit] {
			t.Errorf("budget %+v was told to be exceeded: %+v", want, b)
		}
	}
	rep, err := x.s.Report()
	if err != nil {
		t.Fatal(err)
	}
	if told[false] > 1 || told[true] > 1 || (rep.CloseReason == session.ReasonBudgetExceeded) && told[true] != 1 {
		t.Errorf("%d soft and %d hard budgets were told, closed for %s", told[false], told[true], rep.CloseReason)
	}
	if d := x.opt.HardBudget.Duration; d > 0 && rep.Duration() > d+20*time.Second {
		t.Errorf("the session ran %v although its budget was %v", rep.Duration(), d)
	}
	if got, want := rep.Cost.Total("EUR"), rep.Usage.Cost(rep.StartedAt, x.opt.PriceBooks...).Total("EUR"); got != want {
		t.Errorf("the report's usage costs %s, it says %s", want, got)
	}
}
