package session

import (
	"context"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/realtime"
)

// said is a turn of the user that the session has ended.
type said struct {
	msg   *chat.Message
	times chat.TurnMetrics // of msg, before hooks had it
	at    time.Time
}

// nameWait is how long a model may take to tell the item of a turn that the session has ended.
const nameWait = 2 * time.Second

// lastWords waits until the model has written down what the user has said. It is not called on the loop.
func (c *converser) lastWords() {
	r := c.r
	limit := r.opt.CloseTranscriptTimeout
	if limit <= 0 {
		limit = defaultCloseWait
	}
	var until time.Time
	r.ask(func() { until = c.turnOver.Add(limit) }) // what takes longer does not come, as a rule
	ctx, cancel := context.WithDeadline(r.ctx, until)
	defer cancel()
	_ = r.waitUntil(ctx, func() bool { return !c.owesWords() })
}

// owesWords reports whether the model has yet to write down what the user has said. On the loop.
func (c *converser) owesWords() bool {
	return c.s.Capabilities().UserTranscription && len(c.times)+len(c.unnamed) > 0
}

// transcribed tells what the user said, and remembers it where he said it.
func (c *converser) transcribed(e *realtime.Transcript) {
	r := c.r
	times := c.times[e.ItemID]
	if e.Failed || e.Final {
		delete(c.times, e.ItemID)
	}
	if e.Failed || e.Text == "" && e.Final {
		return
	}
	r.emit(UserInputTranscribed{At: at(now()), Transcript: e.Text, Final: e.Final, Language: e.Language, ItemID: e.ItemID})
	if r.io.Transcripts != nil {
		if c.segments[e.ItemID] == "" {
			c.segments[e.ItemID] = newSegmentID()
		}
		r.io.Transcripts.WriteTranscript(Transcript{SegmentID: c.segments[e.ItemID], User: true, Text: e.Text, Final: e.Final})
	}
	if !e.Final {
		return
	}
	delete(c.segments, e.ItemID)
	if r.userState == agent.UserAway {
		r.setUserState(agent.UserListening, now())
	} else {
		r.watchAway()
	}
	m := chat.NewMessage(chat.User, e.Text)
	m.ID, m.CreatedAt, m.Confidence = e.ItemID, e.StartedAt, e.Confidence
	if m.Metrics = times; !e.StartedAt.IsZero() {
		m.Metrics.StartedSpeakingAt = e.StartedAt
	}
	if !times.StoppedSpeakingAt.IsZero() {
		delay := max(now().Sub(times.StoppedSpeakingAt), 0)
		m.Metrics.TranscriptionDelay = &delay
	}
	m.Metrics.STT = metadata(c.model, c.s.Info())
	c.remember(m)
}

// remember puts what the user said into the history. It replaces what was known of the same item.
func (c *converser) remember(m *chat.Message) {
	r := c.r
	if m.CreatedAt.IsZero() {
		m.CreatedAt = r.stamp()
	}
	if _, known := r.act.mind.ByID(m.ID); known {
		r.act.mind.Upsert(m)
		r.s.mu.Lock()
		r.s.history.Upsert(m)
		r.s.mu.Unlock()
		return
	}
	r.commit(r.act, m)
}

// added names what the user said, if the session knows the words and the model does not, and notes when it was said.
func (c *converser) added(e *realtime.ItemAdded) {
	r := c.r
	m, ok := e.Item.(*chat.Message)
	if !ok || m.Role != chat.User || m.Text() != "" {
		return
	}
	writes := c.s.Capabilities().UserTranscription
	if c.itself { // which says by this that the turn is over
		if writes {
			return
		}
		if text := r.heard.takeAll(); text != "" {
			msg := chat.NewMessage(chat.User, text)
			msg.ID = m.ID
			c.remember(msg)
		}
		return
	}
	c.forgo()
	if len(c.unnamed) == 0 {
		return
	}
	x := c.unnamed[0]
	c.unnamed = c.unnamed[1:]
	switch {
	case writes:
		c.times[m.ID] = x.times
	case x.msg.Text() != "":
		x.msg.ID = m.ID
		c.rememberAt(x.msg, x.at)
	}
}

// forgo gives up the turns that the model has not told in time, since it heard nothing in them: the words of later ones
// are not to take their place. On the loop.
func (c *converser) forgo() {
	for len(c.unnamed) > 0 && now().Sub(c.unnamed[0].at) >= nameWait {
		x := c.unnamed[0]
		c.unnamed = c.unnamed[1:]
		if !c.s.Capabilities().UserTranscription && x.msg.Text() != "" {
			c.rememberAt(x.msg, x.at)
		}
	}
}

// rememberAt is remember for what the user had said by then.
func (c *converser) rememberAt(m *chat.Message, t time.Time) {
	m.CreatedAt = t
	c.remember(m)
}
