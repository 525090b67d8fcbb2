package session

import (
	"slices"
	"strings"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
)

// lateResult is something that a tool in the background has told. The agent knows it, the user does not.
type lateResult struct {
	call  *toolCall
	id    string // under which the agent knows it
	tried bool   // a reply about it was interrupted
}

// report adds what a tool in the background tells to what the agent knows, as a call and output of its
// own, and has the user told. On the loop.
func (k *toolCall) report(id string, out *chat.FunctionCallOutput) {
	r, act := k.r, k.act
	if k.shared {
		act = r.act
	}
	call := &chat.FunctionCall{CallID: id, Name: k.item.Name, Arguments: k.item.Arguments, GroupID: metrics.NewID("item_"), Extra: k.item.Extra}
	out.CallID = id
	call.CreatedAt, out.CreatedAt = r.stamp(), r.stamp()
	r.commit(act, call, out)
	if act != k.act && k.act.suspended() {
		k.act.mind.Add(call, out) // a task tells the user, and its caller is to know it too
	}
	if !out.NoReply && r.closing == nil {
		r.late = append(r.late, lateResult{call: k, id: id})
		r.replySoon()
	}
	r.tellModel(act) // a realtime model may be asked by the user before
}

// replySoon has the agent tell the user about late results in the next quiet moment. There is one such
// reply at a time.
func (r *run) replySoon() {
	if r.lateWaits || r.lateReply != nil || len(r.late) == 0 {
		return
	}
	r.lateWaits = true
	r.whenIdle(&idleWaiter{f: func(err error) {
		r.lateWaits = false
		if err == nil {
			r.replyLate()
		}
	}})
}

// lateReply is a reply about late results.
type lateReply struct {
	sp      *speech
	results []lateResult
}

// replyLate begins the reply. What tools of an earlier agent have told is not for the present one; that of
// an agent who waits for a task is told when he is back.
func (r *run) replyLate() {
	var results, later []lateResult
	for _, l := range r.late {
		switch {
		case l.call.shared || l.call.act == r.act:
			results = append(results, l)
		case l.call.act.heir != nil:
			later = append(later, l)
		}
	}
	r.late = later
	if len(results) == 0 || r.act.mute() {
		return
	}
	q := replyRequest{instructions: lateInstructions(r.act, results), choice: llm.ToolChoice{Mode: llm.ToolNone}, typed: r.ears == nil}
	sp := r.newReply(r.act, q, r.act.protectedByDefault(), false)
	r.lateReply = &lateReply{sp, results}
	r.lateReply.tell(ReplyScheduled)
}

// repliedLate is called when sp is over.
func (r *run) repliedLate(sp *speech) {
	l := r.lateReply
	if l == nil || l.sp != sp {
		return
	}
	r.lateReply = nil
	said := slices.ContainsFunc(sp.Items(), func(it chat.Item) bool { return it.Type() == (*chat.Message)(nil).Type() })
	switch {
	case sp.Interrupted():
		l.tell(ReplyInterrupted)
		for _, res := range l.results { // once more, and then it is enough
			if !res.tried && r.closing == nil {
				res.tried = true
				r.late = append(r.late, res)
			}
		}
	case said:
		l.tell(ReplyCompleted)
	default:
		l.tell(ReplySkipped)
	}
	r.replySoon()
}

func (l *lateReply) tell(status ToolReplyStatus) {
	l.sp.act.r.emit(ToolReplyUpdated{At: at(now()), UpdateIDs: ids(l.results), SpeechID: l.sp.ID(), Status: status})
}

func ids(results []lateResult) []string {
	out := make([]string, len(results))
	for i, res := range results {
		out[i] = res.id
	}
	return out
}

// owesReply reports whether the user is still to be told what k has told.
func (r *run) owesReply(k *toolCall) bool {
	of := func(l lateResult) bool { return l.call == k }
	return slices.ContainsFunc(r.late, of) || r.lateReply != nil && slices.ContainsFunc(r.lateReply.results, of)
}

// lateInstructions is what the model of act is asked to do about results.
func lateInstructions(act *activity, results []lateResult) string {
	texts, names := act.toolTexts(), ids(results)
	text := texts.OldNews
	if items := act.mind.Items(); len(items) > 0 {
		if out, ok := items[len(items)-1].(*chat.FunctionCallOutput); ok && slices.Contains(names, out.CallID) {
			text = texts.News
		}
	}
	return strings.ReplaceAll(text, "{call_ids}", strings.Join(names, ", "))
}

// underWay puts the calls that still run, and that c does not know, into c: so the model does not make
// them again. c is for one request; the history gets the real calls when they have a result.
func (r *run) underWay(act *activity, c *chat.Context) {
	known := map[string]bool{}
	for it := range c.All() {
		if call, ok := it.(*chat.FunctionCall); ok {
			known[call.CallID] = true
		}
	}
	for _, k := range r.calls {
		if known[k.item.CallID] || k.act != act && !k.shared {
			continue
		}
		call := *k.item
		call.ID = underWayID + k.item.CallID
		out := &chat.FunctionCallOutput{CallID: call.CallID, Name: call.Name, Output: "The call is still in progress; its result will come by itself."}
		out.ID, out.CreatedAt = call.ID+".output", call.CreatedAt
		c.Add(&call, out)
	}
}

// underWayID begins the ids of items that stand for calls that still run.
const underWayID = "lk.in_progress."
