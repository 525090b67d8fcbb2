package scripted

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

// chunk is how much audio an event has.
const chunk = 100 * time.Millisecond

// response is one that is under way.
type response struct {
	c     *conn
	id    string
	req   string
	reply Reply
	item  string
	index int // in the ledger
	in    int64
	heard int64 // tokens
	text  string
	audio time.Duration
	ended bool
}

// respond begins a response; say is what Say asked for, nil if the script is to be followed.
func (c *conn) respond(q *driver.Request, say *Reply) {
	n := c.count
	c.count++
	if c.struck(AtResponse, n) {
		return
	}
	f := c.r.fault(c.n, AtResponse, n)
	if f != nil && f.Kind == Reject {
		c.give(0, &driver.Error{RequestID: q.ID, Err: f.error(c.r.o.Info)})
		return
	}
	if c.resp != nil && c.r.o.NoCancel {
		c.resp.cancel()
	}
	if c.resp != nil {
		c.give(0, &driver.Error{RequestID: q.ID, Err: &model.Error{Kind: model.KindRequest, Provider: c.r.o.Info.Provider, Op: "response", Err: errBusy}})
		return
	}
	r := &response{c: c, id: c.id("resp"), req: q.ID, item: c.id("item")}
	if say != nil {
		r.reply = *say
	} else {
		r.reply = c.r.reply(c, q)
	}
	if r.reply.Silent {
		return
	}
	r.price()
	r.index = len(c.r.ledger.Responses)
	c.r.ledger.Responses = append(c.r.ledger.Responses, Served{ID: r.id})
	c.resp = r
	r.at(0, &driver.ResponseCreated{ResponseID: r.id, RequestID: q.ID}, nil)
	if u := r.reply.Early; u != nil {
		r.at(0, &driver.ResponseUsage{ResponseID: r.id, Usage: *u}, func() { c.r.ledger.Responses[r.index].Stated = *u })
	}
	if f != nil && f.Kind == Broken {
		r.done(0, driver.Failed, f.error(c.r.o.Info))
		return
	}
	r.perform(n)
}

// reply is the next of the script.
func (r *Realtime) reply(c *conn, q *driver.Request) Reply {
	n := r.replies
	r.replies++
	if n < len(r.o.Replies) {
		return r.o.Replies[n]
	}
	if r.o.Respond == nil {
		return Reply{Text: "Yes."}
	}
	a := Asked{Conn: c.n, Request: q, Setup: &c.setup, Items: slices.Clone(c.items),
		Truncated: maps.Clone(r.ledger.Truncated), Images: r.ledger.Images}
	for _, it := range c.items {
		if m, ok := it.(*chat.Message); ok && m.Role == chat.User {
			a.Text = m.Text()
		}
	}
	return r.o.Respond(n, a)
}

// price settles what the input costs: a token for each word of the conversation, of which half was cached, and
// ten for each second of audio that no response was billed for before.
func (r *response) price() {
	words := len(strings.Fields(r.c.setup.Instructions))
	for _, it := range r.c.items {
		if m, ok := it.(*chat.Message); ok {
			words += len(strings.Fields(m.Text()))
		}
	}
	r.in = int64(words)
	r.heard = int64((r.c.pos - r.c.billed) / chunk)
	r.c.billed = r.c.pos
}

func (r *response) usage() driver.Usage {
	if u := r.reply.Usage; u != nil {
		return *u
	}
	spoken, written := int64(r.audio/(50*time.Millisecond)), int64(len(strings.Fields(r.text)))
	u := driver.Usage{
		InputTokens: r.in + r.heard, OutputTokens: spoken + written,
		Input:  metrics.InputTokenDetails{AudioTokens: r.heard, TextTokens: r.in, CachedTokens: r.in / 2, CachedTokensDetails: &metrics.CachedTokenDetails{TextTokens: r.in / 2}},
		Output: metrics.OutputTokenDetails{AudioTokens: spoken, TextTokens: written},
	}
	u.TotalTokens = u.InputTokens + u.OutputTokens
	return u
}

func (r *response) at(d time.Duration, e driver.Event, then func()) {
	r.c.put(due{at: r.c.after(d), e: e, resp: r, then: then})
}

// perform plans the events of the response.
func (r *response) perform(n int) {
	d := r.reply.TTFT
	output := func() { r.c.struck(AtOutput, n) }
	if r.reply.Text != "" {
		textOnly := r.reply.TextOnly || r.c.given.TextOnly || !r.c.caps().AudioOutput
		r.at(d, &driver.MessageStarted{ResponseID: r.id, ItemID: r.item, TextOnly: textOnly}, func() {
			r.c.tellItem(&chat.Message{Header: chat.Header{ID: r.item}, Role: chat.Assistant})
		})
		for _, w := range strings.SplitAfter(r.reply.Text, " ") {
			took := time.Duration(len(w)) * r.c.r.o.PerChar
			if !textOnly {
				d = r.speak(d, took, output)
			}
			r.at(d, &driver.Text{ResponseID: r.id, ItemID: r.item, Delta: w}, func() {
				r.text += w
				r.c.replace(&chat.Message{Header: chat.Header{ID: r.item}, Role: chat.Assistant, Content: []chat.Part{chat.Text(r.text)}})
				output()
			})
		}
		r.at(d, &driver.MessageDone{ResponseID: r.id, ItemID: r.item}, nil)
	}
	for _, call := range r.reply.Calls {
		if call.CallID == "" {
			call.CallID = r.c.id("call")
		}
		item := r.c.id("item")
		r.at(d, &driver.ToolCall{ResponseID: r.id, ItemID: item, Call: call}, func() {
			r.c.tellItem(&chat.FunctionCall{Header: chat.Header{ID: item}, CallID: call.CallID, Name: call.Name, Arguments: call.Arguments})
			output()
		})
	}
	if r.reply.Open {
		return
	}
	status := r.reply.Status
	if status == "" {
		status = driver.Completed
	}
	r.done(d, status, r.reply.Err)
}

// speak plans audio from d on and returns when it was told. The sound is the same in every test.
func (r *response) speak(d, length time.Duration, output func()) time.Duration {
	rate := r.c.caps().OutputRate
	for length > 0 {
		part := min(length, chunk)
		length -= part
		f := audio.Silence(part, rate, 1)
		for i := range f.Data {
			f.Data[i] = int16(3000 * math.Sin(float64(i)/8))
		}
		r.at(d, &driver.Audio{ResponseID: r.id, ItemID: r.item, Frame: f}, func() {
			r.audio += part
			output()
		})
		d += time.Duration(float64(part) / r.c.r.o.Speed)
	}
	return d
}

// bill settles what the response costs.
func (r *response) bill(status driver.Status) driver.Usage {
	u := r.usage()
	s := &r.c.r.ledger.Responses[r.index]
	s.Usage, s.Status = u, status
	return u
}

// done ends the response after d.
func (r *response) done(d time.Duration, status driver.Status, err error) {
	e := &driver.ResponseDone{ResponseID: r.id, RequestID: r.req, Status: status, Err: err}
	end := func() {
		u := r.bill(status)
		s := &r.c.r.ledger.Responses[r.index]
		s.Told = true
		if !r.c.r.o.NoUsage {
			s.Stated = u
			u.Raw = fmt.Appendf(nil, `{"input_tokens":%d,"output_tokens":%d}`, u.InputTokens, u.OutputTokens)
			e.Usage = &u
		}
		if r.c.resp == r {
			r.c.resp = nil
		}
		if r.c.repeats() && !r.ended {
			r.ended = true
			r.c.give(0, e)
		}
	}
	r.at(d, e, end)
}

// cancel ends the response now.
func (r *response) cancel() {
	r.c.out = slices.DeleteFunc(r.c.out, func(d due) bool { return d.resp == r && !isCreated(d.e) })
	if r.c.resp == r {
		r.c.resp = nil
	}
	r.done(0, driver.Cancelled, nil)
}

func isCreated(e driver.Event) bool {
	_, ok := e.(*driver.ResponseCreated)
	return ok
}
