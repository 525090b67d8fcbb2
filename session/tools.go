package session

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
)

// What the model is told when a tool has no result to give. Details are for the log.
const (
	toolFailedText      = "An internal error occurred."
	handoffDroppedText  = "The handoff was not completed because the user interrupted."
	severalAgentsText   = "Only one agent can take over."
	toolsNotAllowedText = "tools may not be called in this reply"
	toolCancelledText   = "The call was cancelled."
	handoffLateText     = "The handoff was not possible: the tool was in the background by then."
)

// toolRound is what the model wants done in one step. Calls run in parallel with each other and
// with what the agent says; they begin when the step may be heard, and outlive its interruption. The
// round is over when every call has a result or has gone into the background.
type toolRound struct {
	r   *run
	sp  *speech
	st  *step
	gen *generation
	wg  sync.WaitGroup
	all chan struct{} // closed when no more calls will come

	group string // of the calls, and id of what is said beside them

	entering           bool // see scoped
	noReply, noHandoff atomic.Bool

	mu      sync.Mutex
	started []string     // ids of calls
	results []toolResult // in order of completion
	kept    int          // of results, what was acted upon
	over    bool         // nothing is acted upon any more
}

type toolResult struct {
	call   *chat.FunctionCall
	output *chat.FunctionCallOutput
	next   *agent.Agent
}

func (r *run) newToolRound(sp *speech, st *step, gen *generation, entering bool) *toolRound {
	return &toolRound{r: r, sp: sp, st: st, gen: gen, entering: entering, all: make(chan struct{}), group: metrics.NewID("item_")}
}

// run starts the calls as they are decided, until the model is done or the speech is interrupted.
func (t *toolRound) run(calls *pipe[llm.ToolCall]) {
	defer close(t.all)
	for c := range calls.all(t.sp.ctx) {
		if t.sp.Interrupted() {
			return // decided, but not begun: it is not executed
		}
		t.mu.Lock()
		t.started = append(t.started, c.CallID)
		t.mu.Unlock()
		k := t.newCall(c)
		t.r.goDo("tool "+c.Name, k.run)
	}
}

// refuse drops the calls of a model that was told not to call.
func (t *toolRound) refuse(calls *pipe[llm.ToolCall]) {
	t.r.goDo("refusing tools", func() {
		defer close(t.all)
		for c := range calls.all(t.sp.ctx) {
			t.r.log.Error(toolsNotAllowedText, "tool", c.Name)
		}
	})
}

// wait waits for all calls. Those of an interrupted speech get a moment; the results of the ones that
// take longer are kept when they come.
func (t *toolRound) wait() {
	<-t.all
	done := make(chan struct{})
	t.r.goDo("waiting for tools", func() {
		t.wg.Wait()
		close(done)
		t.r.ask(t.keepLate)
	})
	select {
	case <-done:
	case <-t.sp.stopped:
		await(done, toolGrace, func() { t.r.log.Info("a tool outlives the speech that called it", "speech", t.sp.ID()) })
	}
}

// keepLate remembers the results that came after the round was over. On the loop.
func (t *toolRound) keepLate() {
	t.mu.Lock()
	late := t.results[min(t.kept, len(t.results)):]
	over := t.over
	t.mu.Unlock()
	if !over {
		return // afterTools keeps them
	}
	for _, res := range late {
		res.output.NoReply = true
		if res.next != nil {
			res.output.Output, res.output.IsError = handoffDroppedText, true
		}
		t.r.commit(t.sp.act, res.call, res.output)
	}
	if len(late) > 0 {
		t.r.tellModel(t.sp.act) // a realtime model may wait for them
	}
}

func (t *toolRound) empty() bool {
	<-t.all
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.started) == 0
}

// result turns what a tool returned into what the model is told.
func (t *toolRound) result(item *chat.FunctionCall, v any, err error) toolResult {
	out := &chat.FunctionCallOutput{CallID: item.CallID, Name: item.Name}
	res := toolResult{call: item, output: out}
	var te *llm.ToolError
	var ae *llm.ArgumentError
	switch {
	case err == nil:
	case errors.Is(err, llm.ErrStopResponse):
		out.NoReply = true
		return res
	case errors.As(err, &te):
		out.Output, out.IsError = te.Message, true
		return res
	case errors.As(err, &ae):
		out.Output, out.IsError = ae.Error(), true
		return res
	default:
		t.r.log.Error("tool failed", "tool", item.Name, "call", item.CallID, "err", err)
		out.Output, out.IsError = toolFailedText, true
		return res
	}
	switch h := v.(type) {
	case *agent.Agent:
		v, res.next = nil, h
	case agent.Handoff:
		v, res.next = h.Output, h.Agent
	case *agent.Handoff:
		v, res.next = h.Output, h.Agent
	}
	text, err := llm.FormatOutput(v)
	if err != nil {
		t.r.log.Error("tool returned something that cannot be told to the model", "tool", item.Name, "err", err)
		out.Output, out.IsError = toolFailedText, true
		return res
	}
	out.Output = text
	out.NoReply = isNil(v)
	return res
}

// handoff is the agent that takes over after the round, nil for none.
func (t *toolRound) handoff() *agent.Agent {
	if t.noHandoff.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var next *agent.Agent
	for _, res := range t.results {
		switch {
		case res.next == nil:
		case next != nil && next != res.next:
			return nil
		default:
			next = res.next
		}
	}
	return next
}

func (t *toolRound) wantsReply() bool {
	if t.noReply.Load() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, res := range t.results {
		if !res.output.NoReply {
			return true
		}
	}
	return false
}

// settle decides what becomes of handoffs, before anybody is told.
func (t *toolRound) settle(interrupted bool) (ev FunctionToolsExecuted) {
	next := t.handoff()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept, t.over = len(t.results), true
	for _, res := range t.results {
		switch {
		case interrupted && res.next != nil:
			res.output.Output, res.output.IsError = handoffDroppedText, true
		case res.next != nil && next == nil:
			res.output.Output, res.output.IsError, res.output.NoReply = severalAgentsText, true, false
		}
		if interrupted {
			res.output.NoReply = true
		}
		ev.Calls = append(ev.Calls, res.call)
		ev.Outputs = append(ev.Outputs, res.output)
	}
	if interrupted {
		t.noHandoff.Store(true)
	}
	ev.round = t
	return ev
}

// afterTools commits what the tools did and says whether the model is asked again, and what.
func (r *run) afterTools(sp *speech, t *toolRound, q replyRequest, failed bool) (replyRequest, bool) {
	t.wait()
	interrupted := sp.Interrupted()
	ev := t.settle(interrupted)
	ev.At = at(now())
	if len(ev.Calls) == 0 {
		return q, false
	}
	steps := sp.own.Step()
	told := make(chan struct{})
	r.ask(func() { r.emitThen(ev, func() { close(told) }) })
	await(told, closeWait, func() { r.log.Error("a listener of function_tools_executed takes too long") })
	if next := t.handoff(); next != nil {
		_ = r.s.meet(next) // handOver tells what is wrong
	}
	again := false
	r.ask(func() {
		for i, c := range ev.Calls {
			sp.own.Add(c, ev.Outputs[i])
			r.commit(sp.act, c, ev.Outputs[i])
		}
		if next := t.handoff(); next != nil && r.closing == nil {
			if err := r.handOver(next); err != nil {
				r.log.Error("handoff failed", "agent", next.Name(), "err", err)
			}
			q.choice = llm.ToolChoice{Mode: llm.ToolNone}
		}
		again = t.wantsReply() && !sp.Interrupted() && !failed
		if again {
			q = r.nextStep(sp, q, steps)
		}
	})
	return q, again
}

// nextStep is the request after a round of tools.
func (r *run) nextStep(sp *speech, q replyRequest, steps int) replyRequest {
	limit := r.opt.MaxToolSteps.Default(defaultToolSteps)
	none := q.choice.Mode == llm.ToolNone || r.closing != nil || !r.opt.MaxToolSteps.IsOff() && steps > limit+1
	// What a hook or the caller made of the context stays; what the speech did since is added.
	q.base = q.base.Copy(nil)
	for _, it := range append(sp.Items(), sp.learned...) {
		if _, known := q.base.ByID(it.Head().ID); !known {
			q.base.Add(it)
		}
	}
	q.user = nil
	q.compose(sp.act)
	q.choice = llm.ToolChoice{}
	if none {
		q.choice.Mode = llm.ToolNone
	}
	return q
}
