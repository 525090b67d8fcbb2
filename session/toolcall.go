package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// toolCall is one call of a tool while it runs: in the foreground, where its speech waits for the
// result, or after its first update in the background.
type toolCall struct {
	r      *run
	round  *toolRound
	sp     *speech
	act    *activity
	item   *chat.FunctionCall
	tool   *llm.FunctionTool // nil: there is none of that name
	args   string            // for the tool
	key    string            // of what counts as a duplicate
	sure   bool              // the model wants it although it is a duplicate
	shared bool              // of the session, so it outlives handoffs

	ctx     context.Context
	cancel  context.CancelFunc
	endSpan func(err error, attrs ...slog.Attr)
	ended   chan struct{} // closed when nothing of the call counts any more
	leave   func()        // the round waits no longer; may be called twice

	background atomic.Bool // set on the loop
	updates    int         // that came after the first; used on the loop only
	inTask     bool        // waits for an agent.Task; used on the loop only
}

// callKey is where the context of a tool carries its call.
type callKey struct{}

func callOf(ctx context.Context) *toolCall {
	k, _ := ctx.Value(callKey{}).(*toolCall)
	return k
}

func (t *toolRound) newCall(c llm.ToolCall) *toolCall {
	item := &chat.FunctionCall{CallID: c.CallID, Name: c.Name, Arguments: c.Arguments, GroupID: t.group, Extra: c.Extra}
	item.CreatedAt = t.r.stamp()
	if args, err := llm.Canonical(c.Arguments); err == nil {
		item.Arguments = args // later turns see valid JSON
	}
	k := &toolCall{r: t.r, round: t, sp: t.sp, act: t.sp.act, item: item, args: item.Arguments, key: item.Name, ended: make(chan struct{})}
	t.wg.Add(1)
	k.leave = sync.OnceFunc(t.wg.Done)
	base := k.act.ctx
	if tool, ok := t.gen.tools.Get(item.Name); ok {
		k.tool = tool
		k.args, k.sure = tool.Confirmed(item.Arguments)
		if args, err := tool.Canonical(k.args); err == nil && tool.SameArguments {
			k.key += args
		}
		ofSession, _ := llm.NewToolContext(t.r.opt.Tools...)
		if _, k.shared = ofSession.Get(item.Name); k.shared {
			base = metrics.WithTags(t.r.ctx, k.act.tags)
		}
	}
	base = metrics.WithTags(base, metrics.Tags{TurnID: t.sp.turnID, SpeechID: t.sp.ID(), Tool: item.Name})
	base, k.endSpan = model.StartSpan(base, "function_tool", slog.String("lk.function_tool.id", item.CallID),
		slog.String("lk.function_tool.name", item.Name), slog.String("lk.pii.function_tool.arguments", item.Arguments))
	k.ctx, k.cancel = context.WithCancel(context.WithValue(base, callKey{}, k))
	return k
}

// run makes the call.
func (k *toolCall) run() {
	defer k.cancel()
	defer k.leave() // in any case
	var refusal string
	var err error
	k.r.ask(func() { refusal, err = k.r.beginCall(k) })
	var v any
	switch {
	case err != nil:
	case refusal != "":
		v = refusal
	default:
		v, err = k.invoke()
	}
	res, status := k.result(v, err)
	k.endSpan(err, slog.String("lk.pii.function_tool.output", res.output.Output), slog.Bool("lk.function_tool.is_error", res.output.IsError))
	k.r.ask(func() { k.r.endCall(k, res, status) })
}

func (k *toolCall) invoke() (any, error) {
	if k.tool == nil {
		return nil, &llm.ToolError{Message: fmt.Sprintf("unknown function %q; available: %s", k.item.Name, strings.Join(k.round.gen.tools.Names(), ", "))}
	}
	rc := agent.NewRunContext(scoped{Session: k.r.s, act: k.act, entering: k.round.entering, tool: true}, k.sp.Speech, k.item, k)
	rc.AllowTasks(func(ctx context.Context, t *agent.TaskOwner) {
		k.r.runTask(ctx, taskCaller{act: k.act, call: k, w: k.sp}, t)
	})
	return k.tool.Call(agent.ContextWithRun(k.ctx, rc), rc, k.args)
}

// result is what the model is told, and how the call ended.
func (k *toolCall) result(v any, err error) (toolResult, ToolCallStatus) {
	if err != nil && k.ctx.Err() != nil {
		return k.cancelled(), ToolCancelled
	}
	res := k.round.result(k.item, v, err)
	if res.output.IsError {
		return res, ToolFailed
	}
	return res, ToolDone
}

func (k *toolCall) cancelled() toolResult {
	return toolResult{call: k.item, output: &chat.FunctionCallOutput{CallID: k.item.CallID, Name: k.item.Name,
		Output: toolCancelledText, IsError: true, NoReply: true}}
}

// beginCall registers k, unless it is a duplicate that is not wanted: then the model is told why. On
// the loop.
func (r *run) beginCall(k *toolCall) (refusal string, err error) {
	var twins []*toolCall
	for _, o := range r.calls {
		if o.key == k.key {
			twins = append(twins, o)
		}
	}
	r.calls = append(r.calls, k)
	k.sp.working++
	k.round.st.owed = true
	r.watchAway()
	k.tell(ToolStarted, k.item.CallID, "")
	if k.tool == nil || len(twins) == 0 {
		return "", nil
	}
	switch k.tool.Duplicates {
	case llm.RejectDuplicates:
		return twins[0].fill(k.act.toolTexts().Duplicate), nil
	case llm.ConfirmDuplicates:
		if !k.sure {
			return twins[0].fill(k.act.toolTexts().Confirm), nil
		}
	case llm.ReplaceDuplicates:
		for _, o := range twins {
			if err := o.mayCancel(); err != nil {
				return "", err
			}
		}
		for _, o := range twins {
			r.cancelCall(o)
		}
	}
	return "", nil
}

// endCall ends k with a result, unless it has ended before. On the loop.
func (r *run) endCall(k *toolCall, res toolResult, status ToolCallStatus) {
	i := slices.Index(r.calls, k)
	if i < 0 {
		return
	}
	r.calls = slices.Delete(r.calls, i, i+1)
	close(k.ended)
	r.dropFillers(func(f *filler) bool { return f.call == k })
	id, told := k.item.CallID, res.output.Output
	if !k.background.Load() {
		k.release(res) // which is the round's from here on
	} else {
		id += "_final"
		if res.next != nil {
			res.output.Output, res.output.IsError, res.output.NoReply = handoffLateText, true, false
			status, told = ToolFailed, handoffLateText
		}
		k.report(id, res.output)
	}
	r.watchAway()
	k.tell(status, id, told)
}

// cancelCall ends k without waiting for its function. On the loop.
func (r *run) cancelCall(k *toolCall) {
	k.cancel()
	r.endCall(k, k.cancelled(), ToolCancelled)
}

// mayCancel says why the model must not cancel k. On the loop.
func (k *toolCall) mayCancel() error {
	switch {
	case k.tool == nil || !k.tool.Cancellable:
		return llm.ToolErrorf("the call %s of %s cannot be cancelled", k.item.CallID, k.item.Name)
	case k.sp.Protected():
		return llm.ToolErrorf("the call %s of %s must not be interrupted", k.item.CallID, k.item.Name)
	}
	return nil
}

// release gives the round its result: the speech goes on. On the loop.
func (k *toolCall) release(res toolResult) {
	res.output.CreatedAt = k.r.stamp()
	k.round.mu.Lock()
	k.round.results = append(k.round.results, res)
	k.round.mu.Unlock()
	k.sp.working--
	k.leave()
}

// tell emits an event of the call.
func (k *toolCall) tell(status ToolCallStatus, id, message string) {
	k.r.emit(ToolExecutionUpdated{At: at(now()), Call: k.item, ID: id, Status: status, Message: message})
}

// WaitForPlayout implements agent.ToolRuntime.
func (k *toolCall) WaitForPlayout(ctx context.Context) error {
	select {
	case <-k.round.st.playedOut:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// InBackground implements agent.ToolRuntime.
func (k *toolCall) InBackground() bool { return k.background.Load() }

var errCallOver = errors.New("the tool call is over")

// Update implements agent.ToolRuntime.
func (k *toolCall) Update(ctx context.Context, message any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	text, err := llm.FormatOutput(message)
	if err != nil {
		return fmt.Errorf("updating a tool call: %w", err)
	}
	out := &chat.FunctionCallOutput{CallID: k.item.CallID, Name: k.item.Name, Output: text}
	if _, ok := message.(string); ok {
		out.Output = k.fill(k.act.toolTexts().Update, "{message}", text)
	}
	err = agent.ErrNotRunning
	k.r.ask(func() { err = k.update(out, text) })
	return err
}

// update is Update on the loop.
func (k *toolCall) update(out *chat.FunctionCallOutput, text string) error {
	if isClosed(k.ended) {
		return errCallOver
	}
	id := k.item.CallID
	if k.background.CompareAndSwap(false, true) {
		k.release(toolResult{call: k.item, output: out})
	} else {
		k.updates++
		id = fmt.Sprintf("%s_update_%d", id, k.updates)
		k.report(id, out)
	}
	k.r.stirFillers(func(f *filler) bool { return f.call == k })
	k.tell(ToolUpdated, id, text)
	return nil
}

// drainCalls ends the calls that belong to act, or all with nil: those that can be cancelled are, the
// others are waited for. It is not called on the loop.
func (r *run) drainCalls(ctx context.Context, act *activity) {
	ours := func(k *toolCall) bool { return act == nil || k.act == act && !k.shared }
	r.ask(func() {
		for _, k := range slices.Clone(r.calls) {
			if ours(k) && k.tool != nil && k.tool.Cancellable {
				r.cancelCall(k)
			}
		}
	})
	for {
		var k *toolCall
		r.ask(func() {
			if i := slices.IndexFunc(r.calls, ours); i >= 0 {
				k = r.calls[i]
			}
		})
		if k == nil {
			return
		}
		select {
		case <-k.ended:
		case <-ctx.Done():
			r.log.Warn("a tool does not end, and is not waited for any longer", "tool", k.item.Name, "call", k.item.CallID)
			return
		}
	}
}
