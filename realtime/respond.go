package realtime

import (
	"errors"
	"slices"
	"time"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

var (
	errNoReason = errors.New("the provider gave no reason")
	errUnwished = errors.New("the provider cancelled the answer before it began")
)

// response is what a provider makes of one request, or by itself, until it is done.
type response struct {
	id      string
	g       *Generation // nil: nobody wants it
	info    model.Info
	created time.Time
	ttft    time.Duration
	emitted bool          // something of it was handed on
	usage   *driver.Usage // as stated so far
	status  Status        // how it ended, of one whose usage comes later
	broke   bool          // the connection, before it was done
	stopped bool          // by us, or as the provider told: nothing of it is wanted any more
	size    size          // of what it was made of, and what came of it
}

// busy reports whether a response goes on that somebody wants.
func (c *connection) busy() bool {
	for _, r := range c.responses {
		if !r.stopped {
			return true
		}
	}
	return false
}

// owed reports whether the provider owes us something.
func (c *connection) owed() bool {
	c.s.mu.Lock()
	defer c.s.unlock()
	return c.busy()
}

// created begins a response. It returns the generation that is to be told of, nil for none.
func (c *connection) created(e *driver.ResponseCreated) *Generation {
	s := c.s
	if c.responses[e.ResponseID] != nil || c.seen.has(e.ResponseID) {
		return nil // said twice
	}
	c.heardOf(e.RequestID)
	r := &response{id: e.ResponseID, info: c.m.info, created: time.Now(), ttft: metrics.NoOutput, size: c.input()}
	c.responses[r.id] = r
	var told *Generation
	switch {
	case e.RequestID != "":
		if o := s.find(e.RequestID); o != nil && o.g != nil {
			r.g = o.g
			s.drop(func(x *op) bool { return x == o })
		}
	case len(s.orphans) > 0:
		r.g = s.orphans[0].g
		s.orphans = s.orphans[1:]
	default:
		r.g = s.newGeneration()
		told = r.g
	}
	if r.g == nil || r.g.over { // withdrawn meanwhile
		r.g, r.stopped = nil, true
		if !s.asking() { // else it would stop what was asked for since, which follows the news of the withdrawal
			c.stop()
		}
		return nil
	}
	r.g.open = nil
	r.g.begin(r)
	return told
}

// stop asks the provider to stop what it generates, before anything else is asked for.
func (c *connection) stop() {
	if d, ok := c.d.(driver.Canceller); ok {
		c.s.ops = slices.Insert(c.s.ops, 0, &op{key: "cancel", send: onCanceller(d)})
		c.s.signal()
	}
}

// wanted is the response with the id if anybody wants what comes of it.
func (c *connection) wanted(id string) *response {
	if r := c.responses[id]; r != nil && !r.stopped {
		return r
	}
	return nil
}

// emit says that something of a response is handed on.
func (c *connection) emit(r *response) {
	r.emitted, r.g.emitted = true, true
	c.s.answered()
}

func (c *connection) first(r *response) {
	if r.ttft == metrics.NoOutput {
		r.ttft = time.Since(r.created)
		r.g.ttft = r.ttft
	}
}

func (c *connection) text(e *driver.Text) {
	r := c.wanted(e.ResponseID)
	if r == nil || e.Delta == "" {
		return
	}
	m := c.message(r, e.ItemID, false)
	if m.textOnly {
		c.first(r)
	}
	m.sofar = append(m.sofar, e.Delta...)
	r.g.text += len(e.Delta)
	m.text.put(e.Delta)
	c.emit(r)
	c.bound(r)
}

func (c *connection) audio(e *driver.Audio) {
	r := c.wanted(e.ResponseID)
	if r == nil || len(e.Frame.Data) == 0 {
		return
	}
	m := c.message(r, e.ItemID, false)
	c.first(r)
	if !c.sound.silent[m.id] {
		c.sound.of[m.id] += e.Frame.Duration().Seconds() * perSecondSpoken
	}
	r.g.audio += e.Frame.Duration()
	m.audio.put(e.Frame.Clone())
	c.emit(r)
	c.bound(r)
}

// message is the one of r with the id; it is in the conversation.
func (c *connection) message(r *response, id string, textOnly bool) *Message {
	if id == "" {
		id = r.id
	}
	m := r.g.message(id, textOnly)
	if !slices.Contains(r.g.items, id) {
		r.g.items = append(r.g.items, id)
		c.learn(newAssistant(id, time.Now()))
	}
	return m
}

// bound ends a generation that is longer than anybody keeps.
func (c *connection) bound(r *response) {
	if !r.g.tooLong() {
		return
	}
	g := r.g
	err := c.m.error(model.KindProtocol, "generate", errTooLong)
	c.s.report(err, true, g.attempts)
	r.stopped = true
	c.stop()
	g.end(Failed, err, true)
	c.s.over(g)
}

func (c *connection) call(e *driver.ToolCall) {
	id := e.ItemID
	if id == "" {
		id = e.Call.CallID
	}
	r := c.wanted(e.ResponseID)
	if r == nil {
		c.leftover(newCall(id, e))
		return
	}
	r.g.items = append(r.g.items, id)
	r.g.parts++
	c.learn(newCall(id, e))
	r.g.calls.put(&Call{ItemID: id, ToolCall: e.Call})
	c.emit(r)
	c.bound(r)
}

func (c *connection) messageDone(e *driver.MessageDone) {
	if r := c.wanted(e.ResponseID); r != nil {
		for _, m := range r.g.open {
			if m.id == e.ItemID {
				c.write(m)
				m.end(nil)
			}
		}
	}
}

// write puts what a message says into the conversation.
func (c *connection) write(m *Message) {
	if len(m.sofar) > 0 {
		c.s.setText(m.id, string(m.sofar), false)
	}
}

// done ends a response, also one that was never created.
func (c *connection) done(e *driver.ResponseDone) {
	s := c.s
	if c.seen.add(e.ResponseID) {
		return // said twice
	}
	r := c.responses[e.ResponseID]
	if r == nil {
		c.heardOf(e.RequestID)
		r = &response{id: e.ResponseID, info: c.m.info, created: time.Now(), ttft: metrics.NoOutput, stopped: true}
		if o := s.find(e.RequestID); o != nil && o.g != nil { // it failed before it was created
			r.g, r.stopped = o.g, false
			s.drop(func(x *op) bool { return x == o })
			r.g.info = r.info
		}
	}
	delete(c.responses, e.ResponseID)
	if e.Usage != nil {
		r.usage = e.Usage
	}
	if r.status = e.Status; e.UsageLater && r.usage == nil {
		c.unpaid[r.id] = r
	} else {
		c.bookResponse(r, e.Status)
	}
	c.settled()
	c.s.signal() // what waits for its end may go on
	if r.stopped || r.g == nil {
		return
	}
	g := r.g
	for _, m := range g.open {
		c.write(m)
	}
	switch e.Status {
	case Failed:
		err := e.Err
		if err == nil {
			err = c.m.error(model.KindProtocol, "generate", errNoReason)
		}
		c.failed(g, err)
		return
	case Completed, "":
		c.well()
		g.end(Completed, nil, true)
	case Incomplete:
		if e.Err != nil {
			s.report(e.Err, true, g.attempts)
		}
		g.end(Incomplete, e.Err, true)
	default:
		if g.requested && !g.emitted && !s.turns.speaking { // nobody wished it
			c.failed(g, c.m.error(model.KindConnection, "generate", errUnwished))
			return
		}
		g.end(e.Status, nil, true)
	}
	s.over(g)
}

// failed has a generation asked for again, if nothing of it came and it may help; else it ends.
func (c *connection) failed(g *Generation, err error) {
	s := c.s
	s.report(err, true, g.attempts)
	if g.over {
		return
	}
	again := model.Retryable(err) || c.busy() // with an answer to the user, which the provider began when it was asked
	if g.emitted || g.attempts >= s.conn.MaxRetry || !again {
		g.end(Failed, err, true)
		s.over(g)
		return
	}
	s.askAgain(g, time.Now().Add(s.conn.Delay(g.attempts, err)))
	g.attempts++
}

// over takes leave of a generation.
func (s *Session) over(g *Generation) {
	if s.override == g {
		s.override = nil
		s.reconcile()
	}
}

// interrupt ends g, or all generations if it is nil.
func (s *Session) interrupt(g *Generation) {
	stop := false
	if s.c != nil {
		for _, r := range s.c.responses {
			if r.stopped || (g != nil && r.g != g) {
				continue
			}
			r.stopped, stop = true, true
			for _, m := range r.g.open {
				s.c.write(m)
			}
			unread := r.g.unread()
			r.g.end(Cancelled, nil, false)
			s.over(r.g)
			s.dropCalls(unread)
		}
	}
	s.drop(func(o *op) bool {
		if o.g == nil || (g != nil && o.g != g) {
			return false
		}
		if o.sent && s.c.withdraw(o.key) {
			stop = true
		}
		o.g.end(Cancelled, nil, false)
		s.over(o.g)
		return true
	})
	s.orphans = slices.DeleteFunc(s.orphans, func(o orphan) bool {
		if g != nil && o.g != g {
			return false
		}
		o.g.end(Cancelled, nil, false)
		return true
	})
	if stop && s.c != nil {
		s.c.stop()
		s.signal()
	}
}

// interrupted takes the provider's word that it stopped.
func (c *connection) interrupted(e *driver.Interrupted) {
	for _, r := range c.responses {
		if r.stopped || (e.ResponseID != "" && r.id != e.ResponseID) {
			continue
		}
		r.stopped = true
		for _, m := range r.g.open {
			c.write(m)
		}
		r.g.end(Cancelled, nil, true)
		c.s.over(r.g)
		c.s.tell(&Interrupted{Generation: r.g})
	}
}

// leaveResponses ends what a connection leaves undone.
func (c *connection) leaveResponses(err error) {
	s := c.s
	var planned *renewal
	if errors.As(err, &planned) {
		err = c.m.error(model.KindConnection, "generate", planned)
	}
	c.withdrawn = nil
	for _, r := range ordered(c.unpaid) {
		delete(c.unpaid, r.id)
		if len(c.unpaid)+len(c.responses) > 0 { // what the next one reads is all that counts
			r.size.read, r.size.heard = 0, 0
		}
		c.bookResponse(r, r.status)
	}
	for _, r := range ordered(c.responses) {
		r.broke = true
		delete(c.responses, r.id)
		c.seen.add(r.id)
		outcome := Failed
		if s.ctx.Err() != nil {
			outcome = Cancelled
		}
		c.bookResponse(r, outcome)
		g := r.g
		if r.stopped || g.over {
			continue
		}
		if !g.emitted && s.ctx.Err() == nil {
			s.orphan(g)
			continue
		}
		for _, m := range g.open {
			c.write(m)
			s.setText(m.id, string(m.sofar), true)
		}
		s.cut = true
		g.end(Failed, err, true)
		s.over(g)
	}
	c.settled()
}

// ordered are responses in the order in which they were created.
func ordered(some map[string]*response) (all []*response) {
	for _, r := range some {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *response) int { return a.created.Compare(b.created) })
	return all
}
