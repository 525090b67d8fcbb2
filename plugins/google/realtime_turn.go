package google

import (
	"errors"
	"strings"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

// conversing is where a conversation stands. The provider has no ids, and says where something ends but not
// where it begins. A turn of the provider's is one answer, or several with calls of tools between them.
type conversing struct {
	answer  *answerGoingOn // nil for none
	unpaid  []string       // answers that are over, whose cost is stated with that of what follows
	kept    *answerGoingOn // that nobody asked for yet, going on or not; nil for none
	turn    bool           // the provider's turn goes on
	void    bool           // it was interrupted before there was an answer
	own     bool           // it will answer something that we told it, not the user
	awaited bool           // the caller ended a turn; the provider answers by itself, and Generate takes that
	asked   []string       // requests that no answer began for
	user    spoken
	calls   map[string]bool // by id: whether it waits for its output; false if that was cancelled
	cost    turnCost

	later         []*content // to be said when it disturbs nobody
	laterAnswered bool       // and answered

	handle  string          // to resume with; "" for none
	stale   bool            // something was said since
	known   map[string]bool // items that the provider has
	leaving bool            // it will end the connection
}

// answerGoingOn is an answer.
type answerGoingOn struct {
	id, item  string
	kept      bool           // until it is asked for
	events    []driver.Event // of one that is kept
	dropped   bool           // nobody wants it
	begun     bool           // its message was told
	whole     bool           // all of its message was
	cut       bool           // it was interrupted
	any       bool           // something of it came
	usage     *driver.Usage  // as told for it
	paid      bool           // what it costs is told elsewhere
	later     bool           // it is stated with that of what follows
	requested string
}

func newConversing() conversing {
	return conversing{calls: map[string]bool{}, known: map[string]bool{}}
}

// take understands a message. With the lock.
func (c *liveConn) take(m *liveMessage) error {
	if g := m.GoAway; g != nil {
		c.leaving = true
		c.put(&driver.GoAway{In: liveDuration(g.TimeLeft)})
	}
	if v := m.VoiceActivity; v != nil && !c.manual {
		switch v.Type {
		case "ACTIVITY_START":
			c.userSpeaksAnew()
		case "ACTIVITY_END":
			c.userStops()
		}
	}
	s := m.Content
	if s == nil {
		s = &serverContent{}
	}
	if err := c.said(s); err != nil {
		return err
	}
	if m.ToolCall != nil {
		c.called(m.ToolCall.Calls)
	}
	over := s.TurnComplete && !c.saidTwice(m.Usage)
	if over && c.idle() {
		c.cost.turn()
		if len(c.asked) > 0 || failed(s.Reason) {
			c.begun() // an answer without anything
		}
	}
	if m.Usage != nil {
		c.spent(m.Usage, over)
	}
	switch {
	case m.ToolCall != nil && len(m.ToolCall.Calls) > 0:
		if c.answer != nil {
			c.answer.later = true // with what follows
		}
		c.finish(driver.Completed, nil)
	case over:
		c.turnOver(s.Reason)
	}
	if x := m.Cancellation; x != nil && len(x.IDs) > 0 {
		for _, id := range x.IDs {
			c.calls[id] = false
		}
		c.put(&driver.ToolCallsCancelled{CallIDs: x.IDs})
	}
	if r := m.Resumption; r != nil {
		c.handle, c.stale = "", false
		if r.Resumable {
			c.handle = r.Handle
		}
	}
	return nil
}

// idle reports whether nothing goes on.
func (c *liveConn) idle() bool { return c.answer == nil && !c.turn && !c.void }

// saidTwice reports whether the end of a turn with such a cost was told before.
func (c *liveConn) saidTwice(u *liveUsage) bool {
	return u != nil && c.idle() && c.cost.told != nil && same(*c.cost.told, u.driver())
}

// said understands what was said.
func (c *liveConn) said(s *serverContent) error {
	if t := s.Heard; t != nil && t.Text != "" {
		c.heard(t.Text, t.Language)
	}
	if s.Turn != nil {
		for _, p := range s.Turn.Parts {
			if err := c.part(p); err != nil {
				return err
			}
		}
	}
	if t := s.Spoken; t != nil && t.Text != "" {
		c.text(t.Text)
	}
	if s.Interrupted {
		c.interrupted()
	}
	if a := c.answer; a != nil && s.GenerationComplete {
		c.messageOver(a)
	}
	return nil
}

// part is a piece of an answer. Thoughts are not told, but the answer begins with them.
func (c *liveConn) part(p *part) error {
	switch {
	case p == nil:
	case p.Thought:
		c.begun()
	case p.InlineData != nil && strings.HasPrefix(p.InlineData.MimeType, "audio/"):
		pcm, err := samples(p.InlineData)
		if err != nil {
			return c.peer.Protocol("receive", "audio cannot be read: %v", err)
		}
		if a := c.message(); a != nil && !c.textOnly {
			c.of(a, &driver.Audio{ResponseID: a.id, ItemID: a.item, Frame: audio.Frame{Data: pcm, Rate: liveOutputRate, Channels: 1}})
		}
	case p.Text != "":
		c.text(p.Text)
	}
	return nil
}

func (c *liveConn) text(s string) {
	if a := c.message(); a != nil {
		c.of(a, &driver.Text{ResponseID: a.id, ItemID: a.item, Delta: s})
	}
}

// put tells an event.
func (c *liveConn) put(e driver.Event) { c.ready = append(c.ready, e) }

// of tells an event of an answer, if anybody wants it.
func (c *liveConn) of(a *answerGoingOn, e driver.Event) {
	switch {
	case a.kept:
		a.events = append(a.events, e)
	case !a.dropped:
		c.put(e)
	}
}

// begun is the answer that goes on; it begins if there is none. Of one that was interrupted more may come until
// its end.
func (c *liveConn) begun() *answerGoingOn {
	c.stale = true
	if c.answer != nil {
		return c.answer
	}
	a := &answerGoingOn{id: metrics.NewID("live_"), item: metrics.NewID("item_")}
	if len(c.asked) > 0 {
		a.requested = c.asked[0]
		c.asked = c.asked[1:]
	}
	if c.manual {
		c.userTold()
	} else if a.requested == "" && !c.turn { // it is for the user, if not for what we told
		if !c.own {
			c.userSpeaks()
		}
		c.userStops()
		c.userTold()
	}
	if !c.turn {
		c.cost.turn()
	}
	c.answer, c.turn, c.void, c.own = a, true, false, false
	if c.awaited && a.requested == "" {
		c.kept, a.kept = a, true
	}
	c.awaited = false
	c.known[a.item] = true
	c.of(a, &driver.ResponseCreated{ResponseID: a.id, RequestID: a.requested})
	return a
}

// message is the answer that goes on, whose message has begun; nil if all of that was told.
func (c *liveConn) message() *answerGoingOn {
	a := c.begun()
	if a.whole {
		return nil
	}
	if a.any = true; !a.begun {
		a.begun = true
		c.of(a, &driver.MessageStarted{ResponseID: a.id, ItemID: a.item, TextOnly: c.textOnly})
	}
	return a
}

func (c *liveConn) messageOver(a *answerGoingOn) {
	if a.begun && !a.whole {
		a.whole = true
		c.of(a, &driver.MessageDone{ResponseID: a.id, ItemID: a.item})
	}
}

// called tells of calls. The answer ends with them, for the provider waits for their outputs; what it says then
// is another one of the same turn.
func (c *liveConn) called(calls []*functionCall) {
	for _, f := range calls {
		if f == nil {
			continue
		}
		a := c.begun()
		a.any = true
		id, args := f.ID, string(f.Args)
		if id == "" {
			id = metrics.NewID("call_") // of Vertex AI
		}
		if args == "" || args == "null" {
			args = "{}"
		}
		c.calls[id] = true
		item := metrics.NewID("item_")
		c.known[item] = true
		c.of(a, &driver.ToolCall{ResponseID: a.id, ItemID: item, Call: llm.ToolCall{CallID: id, Name: f.Name, Arguments: args}})
	}
}

// interrupted ends an answer that the user, or a request, interrupted. What it costs is still to come.
func (c *liveConn) interrupted() {
	byUser := len(c.asked) == 0
	if c.answer == nil && !byUser && !c.turn { // the one that was asked for, before anything of it came
		byUser = true
		c.begun()
	}
	a := c.answer
	if byUser && !c.manual {
		c.userSpeaksAnew()
	}
	if a == nil {
		if !c.turn {
			c.cost.turn()
		}
		c.void = true
		return
	}
	if c.void = false; a.cut {
		return
	}
	a.cut = true
	if byUser {
		c.of(a, &driver.Interrupted{ResponseID: a.id})
	}
}

// finish ends the answer that goes on.
func (c *liveConn) finish(status driver.Status, err error) {
	a := c.answer
	if a == nil {
		return
	}
	c.answer = nil
	c.messageOver(a)
	if a.usage == nil && a.paid {
		a.usage = &driver.Usage{}
	}
	done := &driver.ResponseDone{ResponseID: a.id, RequestID: a.requested, Status: status, Err: err, Usage: a.usage}
	if a.usage == nil && a.later {
		done.UsageLater = true
		c.unpaid = append(c.unpaid, a.id)
	}
	if a.dropped {
		c.put(done)
		return
	}
	c.of(a, done)
}

// turnOver ends the provider's turn.
func (c *liveConn) turnOver(reason string) {
	if a := c.answer; a != nil {
		status, err := driver.Completed, error(nil)
		switch {
		case a.cut:
			status = driver.Cancelled
		case !a.any && failed(reason):
			status, err = driver.Failed, c.withheld(reason)
		}
		c.finish(status, err)
	} else if !c.void && !c.manual { // the model does not answer
		c.userStops()
	}
	c.turn, c.void = false, false
	c.userTold()
	if c.user.over && !c.manual {
		c.user = spoken{}
	}
}

// failed reports whether a turn of the provider's that ends for a reason did not come about.
func failed(reason string) bool {
	return reason != "" && reason != "TURN_COMPLETE_REASON_UNSPECIFIED" && reason != "NEED_MORE_INPUT"
}

// withheld is the error of an answer that did not come about. A call that the model got wrong may come right.
func (c *liveConn) withheld(reason string) error {
	return &model.Error{
		Kind: model.KindProtocol, Provider: c.peer.Info.Provider, Op: "generate", Permanent: reason != "MALFORMED_FUNCTION_CALL",
		Err: errors.New("the model gave no answer: " + reason),
	}
}

// spent tells what the provider's turn has cost so far.
func (c *liveConn) spent(u *liveUsage, over bool) {
	more := c.cost.state(u.driver())
	if more == nil {
		return
	}
	defer c.pay()
	a := c.answer
	switch {
	case a == nil && len(c.unpaid) > 0:
		c.put(&driver.ResponseUsage{ResponseID: c.unpaid[0], Usage: *more})
		c.unpaid = c.unpaid[1:]
	case a == nil, a.kept, a.dropped && !over:
		if a != nil {
			a.paid = true
		}
		c.put(&driver.ResponseUsage{Usage: *more})
	case a.dropped:
		a.usage = more
	default:
		sum := *more
		if a.usage != nil {
			sum = plus(*a.usage, *more)
		}
		a.usage = &sum
		if !over {
			c.put(&driver.ResponseUsage{ResponseID: a.id, Usage: sum})
		}
	}
}

// pay tells that answers have been stated with a later one.
func (c *liveConn) pay() {
	for _, id := range c.unpaid {
		c.put(&driver.ResponseUsage{ResponseID: id})
	}
	c.unpaid = nil
}

// adopt has the answer that the provider begins by itself, after the caller ended the user's turn, be the one
// that is asked for. It reports whether there is one.
func (c *liveConn) adopt(r *driver.Request) bool {
	if r.Instructions != "" {
		c.drop()
		return false
	}
	a := c.kept
	if a == nil {
		if c.awaited {
			c.awaited = false
			c.asked = append(c.asked, r.ID)
			return true
		}
		return false
	}
	c.kept, a.kept, a.requested = nil, false, r.ID
	for _, e := range a.events {
		switch e := e.(type) {
		case *driver.ResponseCreated:
			e.RequestID = r.ID
		case *driver.ResponseDone:
			e.RequestID = r.ID
		}
		c.put(e)
	}
	a.events = nil
	return true
}

// drop forgets an answer that nobody asked for.
func (c *liveConn) drop() {
	c.awaited = false
	a := c.kept
	if a == nil {
		return
	}
	c.kept, a.kept, a.dropped, a.events = nil, false, true, nil
}

// due is what may be said now of what was put off: the provider stops an answer for it. With the lock.
func (c *liveConn) due() any {
	if len(c.later) == 0 || c.turn || c.awaited || len(c.asked) > 0 || c.user.item != "" && !c.user.told {
		return nil
	}
	for _, waits := range c.calls {
		if waits {
			return nil
		}
	}
	turns, answer := c.later, c.laterAnswered
	c.later, c.laterAnswered, c.own = nil, false, answer
	if !c.d.fixed {
		return clientContent(turns, answer)
	}
	return textInput(turns)
}

// samples is the audio of a part.
func samples(b *blob) ([]int16, error) {
	pcm, err := decoded(b)
	if err != nil {
		return nil, err
	}
	return wire.Samples(make([]int16, 0, len(pcm)/2), pcm), nil
}
