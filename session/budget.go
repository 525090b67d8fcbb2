package session

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/metrics"
)

// Budget limits what a session may use. A field that is zero is no limit; one is exceeded by more than
// it says.
type Budget struct {
	// Money is what the lines of usage may cost that have a price in its currency. It needs a price
	// book in that currency. What has no price is not counted, as nobody knows what it costs: the
	// session logs that it was used.
	Money metrics.Money
	// Tokens is the input and output of all models, cached input included.
	Tokens int64
	// Duration is how long the session may run: it is exceeded when that time is over.
	Duration time.Duration
}

// BudgetLimit names a limit of a Budget.
type BudgetLimit string

// The limits.
const (
	LimitMoney    BudgetLimit = "money"
	LimitTokens   BudgetLimit = "tokens"
	LimitDuration BudgetLimit = "duration"
)

// BudgetExceeded tells that the session has used more than Options.SoftBudget or HardBudget allow. It
// comes at most once for each, with the first limit that was exceeded. The session goes on after the
// soft one, so that the agent may say goodbye:
//
//	session.On(s, func(session.BudgetExceeded) {
//		s.Say("Our time is up. Goodbye!", nil)
//		s.Shutdown(agent.ShutdownOptions{})
//	})
//
// The hard one closes it, for ReasonBudgetExceeded, without waiting for what is being said.
type BudgetExceeded struct {
	At
	Hard     bool
	Limit    BudgetLimit
	Budget   Budget        // that was exceeded
	Money    metrics.Money // spent so far, in the currency of the budget
	Tokens   int64         // used so far
	Duration time.Duration // since the start
}

// EventType implements Event.
func (BudgetExceeded) EventType() string { return "budget_exceeded" }

// usage reports whether b limits what is told by usage.
func (b *Budget) usage() bool { return b.Money.Amount > 0 || b.Tokens > 0 }

// exceeded returns the first limit that e passes; empty for none.
func (b *Budget) exceeded(e *BudgetExceeded) BudgetLimit {
	switch {
	case b.Money.Amount > 0 && e.Money.Amount > b.Money.Amount:
		return LimitMoney
	case b.Tokens > 0 && e.Tokens > b.Tokens:
		return LimitTokens
	case b.Duration > 0 && e.Duration >= b.Duration:
		return LimitDuration
	}
	return ""
}

// check reports a budget that cannot be kept.
func (b *Budget) check(books []*metrics.PriceBook) error {
	if b.Money.Amount < 0 || b.Tokens < 0 || b.Duration < 0 {
		return fmt.Errorf("a budget is below zero: %+v", *b)
	}
	if b.Money.Amount == 0 {
		return nil
	}
	for _, book := range books {
		if book != nil && book.Currency() == b.Money.Currency {
			return nil
		}
	}
	return fmt.Errorf("a budget of %s needs a price book in %q", b.Money, b.Money.Currency)
}

// watch is how a run keeps to its budgets. It is used on the loop, but for pending.
type watch struct {
	soft, hard     Budget
	onUsage        bool        // one of them limits what usage tells; set before the run begins
	pending        atomic.Bool // the loop is asked to look at the usage
	toldSoft       bool
	toldHard       bool
	warned         bool // of usage without a price
	softEnd, limit timer
	look           func() // r.checkUsage, made once
}

func (w *watch) init(r *run) {
	w.soft, w.hard = r.opt.SoftBudget, r.opt.HardBudget
	w.onUsage = w.soft.usage() || w.hard.usage()
	w.softEnd.s, w.limit.s = r, r
	w.look = r.checkUsage
}

func (w *watch) check(books []*metrics.PriceBook) error {
	if err := w.soft.check(books); err != nil {
		return err
	}
	return w.hard.check(books)
}

// used is called on any goroutine when the usage has grown. It asks the loop to look once for any number of
// events: computing money takes longer than recording may.
func (w *watch) used(r *run) {
	if w.onUsage && !w.pending.Swap(true) {
		r.post(w.look)
	}
}

// begin starts the clock.
func (w *watch) begin(r *run) {
	if d := w.soft.Duration; d > 0 {
		w.softEnd.start(d, r.checkBudgets)
	}
	if d := w.hard.Duration; d > 0 {
		w.limit.start(d, r.checkBudgets)
	}
}

func (w *watch) stop() {
	w.softEnd.stop()
	w.limit.stop()
}

func (r *run) checkUsage() {
	r.watch.pending.Store(false) // before the usage is read, so that what comes later is looked at again
	r.checkBudgets()
}

// checkBudgets tells what was exceeded, and closes the session. A session that closes has nothing left
// to be told but that it must not drain any longer.
func (r *run) checkBudgets() {
	w := &r.watch
	open, draining := r.closing == nil, r.closing != nil && r.closing.drain
	if r.startedAt.IsZero() || !r.endedAt.IsZero() || !open && !draining {
		return
	}
	if !w.toldSoft && open {
		if e, over := r.spend(&w.soft); over {
			w.toldSoft = true
			r.emit(e)
		}
	}
	if w.toldHard {
		return
	}
	if e, over := r.spend(&w.hard); over {
		w.toldHard, e.Hard = true, true
		r.emit(e)
		r.beginClose(closeRequest{reason: ReasonBudgetExceeded})
	}
}

// spend is what was spent so far, as far as b limits it, and whether that is too much.
func (r *run) spend(b *Budget) (e BudgetExceeded, over bool) {
	if *b == (Budget{}) {
		return e, false
	}
	t := now()
	u := r.spent.Usage()
	e = BudgetExceeded{At: at(t), Budget: *b, Tokens: u.Tokens(), Duration: t.Sub(r.startedAt)}
	if b.Money.Amount > 0 {
		c := r.cost(u)
		e.Money = metrics.Money{Amount: c.Total(b.Money.Currency), Currency: b.Money.Currency}
		r.warnUnpriced(c)
	}
	e.Limit = b.exceeded(&e)
	return e, e.Limit != ""
}

// warnUnpriced logs once that a budget on money does not see everything.
func (r *run) warnUnpriced(c metrics.Cost) {
	if c.Unpriced == 0 || r.watch.warned {
		return
	}
	r.watch.warned = true
	for _, l := range c.Lines {
		if l.Unpriced != "" {
			r.log.Warn("usage without a price does not count for the budget", "type", l.Type, "provider", l.Provider, "model", l.Model, "reason", l.Unpriced)
		}
	}
}

// cost is what u costs at the prices that were valid when the session started.
func (r *run) cost(u metrics.Usage) metrics.Cost { return u.Cost(r.pricedAt, r.opt.PriceBooks...) }

// Cost is what the session's usage costs so far, by Options.PriceBooks at the prices that were valid when
// it started. Without books, or a start, it has no price for anything.
func (s *Session) Cost() metrics.Cost {
	if r := s.current(); r != nil {
		return r.cost(r.spent.Usage())
	}
	return metrics.Cost{}
}

// report is the budget as a report has it; nil for none.
func (b *Budget) report() any {
	if *b == (Budget{}) {
		return nil
	}
	m := map[string]any{}
	if b.Money.Amount > 0 {
		m["money"] = b.Money
	}
	if b.Tokens > 0 {
		m["tokens"] = b.Tokens
	}
	if b.Duration > 0 {
		m["duration"] = b.Duration.Seconds()
	}
	return m
}
