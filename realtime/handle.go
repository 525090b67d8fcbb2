package realtime

import (
	"errors"
	"slices"
	"time"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

func isTimeout(err error) bool {
	var e *model.Error
	return errors.As(err, &e) && e.Kind == model.KindTimeout
}

// handle takes one event of the driver.
func (c *connection) handle(e driver.Event) {
	s := c.s
	if e, ok := e.(*driver.ResponseCreated); ok {
		s.mu.Lock()
		g := c.created(e)
		s.unlock()
		if g != nil {
			c.announce(g)
		}
		return
	}
	s.mu.Lock()
	defer s.unlock()
	c.came(e)
	switch e := e.(type) {
	case *driver.SpeechStarted:
		s.speechStarted()
		s.tell(&SpeechStarted{})
	case *driver.SpeechStopped:
		s.speechStopped(e.ItemID)
		if e.ItemID != "" {
			c.places[e.ItemID] = c.has.conv.last()
		}
		s.tell(&SpeechStopped{ItemID: e.ItemID})
	case *driver.Interrupted:
		c.interrupted(e)
	case *driver.Transcript:
		c.transcript(e)
	case *driver.TranscriptUsage:
		c.transcribed(e)
	case *driver.ItemAdded:
		c.added(e)
	case *driver.ItemDeleted:
		c.deleted(e.ItemID)
	case *driver.Updated:
		s.acknowledge(updateKey(e.ID))
	case *driver.MessageStarted:
		if r := c.wanted(e.ResponseID); r != nil {
			c.message(r, e.ItemID, e.TextOnly)
		} else {
			c.leftover(newAssistant(e.ItemID, time.Now()))
		}
	case *driver.Text:
		c.text(e)
	case *driver.Audio:
		c.audio(e)
	case *driver.MessageDone:
		c.messageDone(e)
	case *driver.ToolCall:
		c.call(e)
	case *driver.ToolCallsCancelled:
		c.forgetCalls(e.CallIDs)
		s.tell(&ToolCallsCancelled{CallIDs: e.CallIDs})
	case *driver.ResponseDone:
		c.done(e)
	case *driver.ResponseUsage:
		c.stated(e)
	case *driver.GoAway:
		c.gone = true
		c.renew(renewal{why: "the provider ends it", deadline: time.Now().Add(e.In * 4 / 5)})
	case *driver.Error:
		c.wrong(e)
	}
}

// well notes that the provider does its work.
func (c *connection) well() {
	if !c.good {
		c.good = true
		c.s.then = append(c.s.then, c.s.works)
	}
}

// announce tells of a generation that nobody asked for.
func (c *connection) announce(g *Generation) {
	s := c.s
	if s.o.Tags != nil {
		tags := s.o.Tags(g)
		s.mu.Lock()
		g.tags = tags
		s.unlock()
	}
	s.tell(&GenerationCreated{Generation: g})
}

func (c *connection) transcript(e *driver.Transcript) {
	s := c.s
	if e.Final {
		c.well()
		m := &chat.Message{Header: chat.Header{ID: e.ItemID, CreatedAt: e.StartedAt}, Role: chat.User}
		c.learnUser(m)
		s.setText(e.ItemID, e.Text, false)
		if e.Text != "" {
			s.understood(e.ItemID)
		}
	}
	s.tell(&Transcript{
		ItemID: e.ItemID, Text: e.Text, Language: e.Language, Final: e.Final, Failed: e.Failed,
		Confidence: e.Confidence, StartedAt: e.StartedAt,
	})
}

// setText says what a message in the conversation says.
func (s *Session) setText(id, text string, interrupted bool) {
	f := func(m *chat.Message) {
		m.Content, m.Interrupted = nil, interrupted
		if text != "" {
			m.Content = []chat.Part{chat.Text(text)}
		}
	}
	s.want.conv.edit(id, f)
	if s.c != nil {
		s.c.has.conv.edit(id, f)
	}
}

// forgetUnknown drops what the user said and nobody knows the text of: the audio is sent again, or lost.
func (s *Session) forgetUnknown() {
	s.want.conv = slices.DeleteFunc(s.want.conv, func(it chat.Item) bool {
		m, ok := it.(*chat.Message)
		return ok && m.Role == chat.User && len(m.Content) == 0 && s.theirs[m.ID]
	})
}

// learn puts an item at the end of the conversation that the model made.
func (c *connection) learn(it chat.Item) bool {
	id := it.Head().ID
	if id == "" || c.has.conv.has(id) {
		return false
	}
	c.s.theirs[id] = true
	c.has.conv.insert("", it)
	if !c.s.want.conv.has(id) {
		c.s.want.conv.insert("", it)
	}
	return true
}

// leftover notes an item of a response that nobody wants. The next UpdateContext removes it; a call is dropped at once.
func (c *connection) leftover(it chat.Item) {
	if id := it.Head().ID; id != "" && !c.has.conv.has(id) {
		c.has.conv.insert("", it)
		if _, ok := it.(*chat.FunctionCall); ok {
			c.s.reconcile()
		}
	}
}

// place is the item that was the last one when the user had said the one with the id; false if nobody knows.
func (c *connection) place(id string) (after string, ok bool) {
	if after, ok = c.places[id]; ok {
		delete(c.places, id)
	} else if ok = len(c.commits) > 0; ok {
		after, c.commits = c.commits[0], c.commits[1:]
	}
	if !ok {
		return "", false
	}
	for key, x := range c.places { // what he said next, before anything else, follows this
		if x == after {
			c.places[key] = id
		}
	}
	for i, x := range c.commits {
		if x == after {
			c.commits[i] = id
		}
	}
	return after, true
}

// forgetCalls forgets calls that the provider does not want any more, and nobody else.
func (c *connection) forgetCalls(ids []string) {
	c.has.conv = slices.DeleteFunc(c.has.conv, func(it chat.Item) bool {
		call, ok := it.(*chat.FunctionCall)
		return ok && slices.Contains(ids, call.CallID) && !c.s.want.conv.has(call.ID)
	})
}

// learnUser puts what the user said into the conversation, where he stopped to speak, if it is not there.
func (c *connection) learnUser(m *chat.Message) {
	if m.ID == "" || c.has.conv.has(m.ID) || c.s.theirs[m.ID] { // or it was deleted
		return
	}
	if m.CreatedAt.IsZero() {
		m.CreatedAt = time.Now()
	}
	after, ok := c.place(m.ID)
	if !ok {
		after = c.has.conv.last()
		for _, r := range ordered(c.responses) { // what goes on answers it
			if r.g != nil && !r.g.requested && len(r.g.items) > 0 {
				after = c.has.conv.before(r.g.items[0])
			}
		}
	}
	c.s.theirs[m.ID] = true
	c.said(m.ID)
	c.has.conv.place(after, m)
	if !c.s.want.conv.has(m.ID) {
		c.s.want.conv.place(after, m)
	}
}

func (c *connection) added(e *driver.ItemAdded) {
	s := c.s
	if e.Item == nil {
		return
	}
	h := e.Item.Head()
	if s.acknowledge(addKey(h.ID)) || c.has.conv.has(h.ID) {
		c.has.conv.follow(e.After, h.ID) // what the model added meanwhile may have come between
		s.want.conv.follow(e.After, h.ID)
		return
	}
	if s.awaits(deleteKey(h.ID)) {
		return
	}
	if h.CreatedAt.IsZero() {
		h.CreatedAt = time.Now()
	}
	c.has.conv.insert(e.After, e.Item)
	if s.want.conv.has(h.ID) {
		return // late news of one that was added
	}
	s.theirs[h.ID] = true
	s.want.conv.insert(e.After, e.Item)
	m, ok := e.Item.(*chat.Message)
	if !ok || m.Role == chat.Assistant {
		return // the reader of the generation learns of it there
	}
	if m.Role == chat.User {
		c.said(h.ID)
		c.place(h.ID)
		s.addressed(h.ID)
	}
	s.tell(&ItemAdded{After: e.After, Item: e.Item})
}

func (c *connection) deleted(id string) {
	s := c.s
	if s.acknowledge(deleteKey(id)) {
		return
	}
	c.has.conv.remove(id)
	c.silence(id)
	s.want.conv.remove(id)
}

// wrong is an error that does not end the connection.
func (c *connection) wrong(e *driver.Error) {
	s := c.s
	err := e.Err
	if err == nil {
		err = c.m.error(model.KindProtocol, "receive", errNoReason)
	}
	if c.withdrew(e.RequestID) {
		c.heardOf(e.RequestID)
		return // nobody wants the answer, so nobody misses it
	}
	if o := s.find(e.RequestID); o != nil && o.g != nil && e.RequestID != "" {
		c.heardOf(e.RequestID)
		s.drop(func(x *op) bool { return x == o })
		c.failed(o.g, err)
		return
	}
	for _, key := range []string{updateKey(e.RequestID), addKey(e.RequestID), deleteKey(e.RequestID)} {
		if s.refuse(key, err) {
			break
		}
	}
	s.report(err, true, 0)
}

// cannot takes note of what a connection cannot do.
func (c *connection) cannot(o *op, err error) {
	s := c.s
	s.mu.Lock()
	defer s.unlock()
	switch {
	case o.g != nil:
		c.heardOf(o.key)
		s.drop(func(x *op) bool { return x == o })
		o.g.end(Failed, err, true)
		s.over(o.g)
	case o.items != nil:
		var some *driver.UnsupportedItems
		all := !errors.As(err, &some)
		for _, it := range o.items {
			id := it.Item.Head().ID
			if all || slices.Contains(some.IDs, id) {
				c.unsupported[id] = true
				s.refuse(addKey(id), nil) // there is nothing that the caller could do
			}
		}
		s.report(c.m.error(model.KindRequest, "add", err), true, 0)
	case o.key == imageKey:
		c.blind = true
	case o.key == clearKey: // a provider that was told nothing of it never heard it
		c.renew(renewal{why: "clear", fresh: true})
	case s.refuse(o.key, nil): // an update or deletion
		c.renew(renewal{why: "settings", hold: true, deadline: time.Now().Add(quietWait)})
	}
}

func newAssistant(id string, at time.Time) *chat.Message {
	return &chat.Message{Header: chat.Header{ID: id, CreatedAt: at}, Role: chat.Assistant}
}

func newCall(id string, e *driver.ToolCall) *chat.FunctionCall {
	return &chat.FunctionCall{
		Header: chat.Header{ID: id, CreatedAt: time.Now()},
		CallID: e.Call.CallID, Name: e.Call.Name, Arguments: e.Call.Arguments, Extra: e.Call.Extra,
	}
}
