// Package teller is what plugins of realtime providers share that give answers, messages and turns no names: it
// makes names up, and tells of one answer after the other in the words of the driver contract.
package teller

import (
	"context"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime/driver"
)

// Teller keeps what is to be told of one connection. Next and Audio belong to the goroutine that reads; the
// other methods may be called from any.
type Teller struct {
	rate int
	text bool // answers have no audio
	pcm  []int16

	mu     sync.Mutex
	ready  []driver.Event
	wake   context.CancelFunc // wakes who waits for the provider; nil while nobody does
	asked  []string           // requests whose answers did not begin
	answer *answer            // that goes on
	user   turn
}

// answer is one that goes on.
type answer struct {
	id, item string
	request  string
	message  bool   // was begun
	text     string // told so far
	cut      bool   // nothing of it is wanted any more
}

// turn is what the user says until the provider writes it down.
type turn struct {
	item     string
	since    time.Time
	speaking bool
}

// New returns a Teller for answers with audio of a rate, in Hz, or for those that are only written.
func New(rate int, textOnly bool) *Teller { return &Teller{rate: rate, text: textOnly} }

// Next returns the next event. While there is none it has read wait for a message of the provider, and take tell what
// it says. The context of read ends when somebody else has something to tell.
func (t *Teller) Next(ctx context.Context, read func(context.Context) (wire.Message, error), take func(context.Context, wire.Message) error) (driver.Event, error) {
	for {
		e, wait, wake := t.next(ctx)
		if e != nil {
			return e, nil
		}
		m, err := read(wait)
		woken := wait.Err() != nil && ctx.Err() == nil
		wake()
		switch {
		case err == nil:
			err = take(ctx, m)
		case woken:
			continue
		}
		if err != nil {
			return nil, err
		}
	}
}

func (t *Teller) next(ctx context.Context) (driver.Event, context.Context, context.CancelFunc) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ready) > 0 {
		e := t.ready[0]
		t.ready = t.ready[1:]
		return e, nil, nil
	}
	wait, wake := context.WithCancel(ctx)
	t.wake = wake
	return nil, wait, wake
}

// Tell tells an event.
func (t *Teller) Tell(e driver.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(e)
}

func (t *Teller) put(e driver.Event) {
	t.ready = append(t.ready, e)
	if t.wake != nil {
		t.wake()
	}
}

// Added acknowledges items.
func (t *Teller) Added(items ...driver.Item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, it := range items {
		t.put(&driver.ItemAdded{After: it.After, Item: it.Item})
	}
}

// Ask notes a request: the next answer that begins is for it.
func (t *Teller) Ask(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = append(t.asked, id)
}

// Refused tells why the request that was asked first will have no answer; without one it tells of the error.
func (t *Teller) Refused(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := &driver.Error{Err: err}
	if t.answer == nil && len(t.asked) > 0 {
		e.RequestID = t.asked[0]
		t.asked = t.asked[1:]
	}
	t.put(e)
}

// Going reports whether an answer goes on of which something was told.
func (t *Teller) Going() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.answer != nil && t.answer.message
}

// Awaited reports whether an answer was asked for that did not begin.
func (t *Teller) Awaited() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.asked) > 0
}

// Idle reports whether nobody speaks, and no answer was asked for.
func (t *Teller) Idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.answer == nil && len(t.asked) == 0 && !t.user.speaking
}

// Begin tells that an answer begins, unless one goes on of which nothing was told yet.
func (t *Teller) Begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.answer; a != nil && (a.message || a.cut) {
		t.end("")
	}
	t.begin()
}

func (t *Teller) begin() *answer {
	if t.answer != nil {
		return t.answer
	}
	a := &answer{id: metrics.NewID("resp_"), item: metrics.NewID("item_")}
	if len(t.asked) > 0 {
		a.request = t.asked[0]
		t.asked = t.asked[1:]
	}
	t.answer = a
	t.put(&driver.ResponseCreated{ResponseID: a.id, RequestID: a.request})
	return a
}

func (t *Teller) message() *answer {
	a := t.begin()
	if !a.message {
		a.message = true
		t.put(&driver.MessageStarted{ResponseID: a.id, ItemID: a.item, TextOnly: t.text})
	}
	return a
}

// Text tells the next piece of what is said.
func (t *Teller) Text(delta string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if delta == "" {
		return
	}
	a := t.message()
	a.text += delta
	t.put(&driver.Text{ResponseID: a.id, ItemID: a.item, Delta: delta})
}

// Said is Text for a provider that repeats from the beginning of the message. What contradicts the text so far
// is left out, for that was told.
func (t *Teller) Said(whole string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	told := ""
	if t.answer != nil {
		told = t.answer.text
	}
	if len(whole) <= len(told) || whole[:len(told)] != told {
		return
	}
	a := t.message()
	a.text = whole
	t.put(&driver.Text{ResponseID: a.id, ItemID: a.item, Delta: whole[len(told):]})
}

// Audio tells the next piece of what is spoken, as 16-bit little-endian samples. Where answers are only written
// it does nothing.
func (t *Teller) Audio(pcm []byte) {
	if t.text || len(pcm) < 2 {
		return
	}
	t.pcm = wire.Samples(t.pcm[:0], pcm)
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.message()
	t.put(&driver.Audio{ResponseID: a.id, ItemID: a.item, Frame: audio.Frame{Data: t.pcm, Rate: t.rate, Channels: 1}})
}

// Call tells of a call, with which an answer ends: the provider waits for the output. It is not of an answer that
// was stopped.
func (t *Teller) Call(c llm.ToolCall) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.answer != nil && t.answer.cut {
		t.end("")
	}
	a := t.begin()
	t.put(&driver.ToolCall{ResponseID: a.id, ItemID: metrics.NewID("item_"), Call: c})
	t.end(driver.Completed)
}

// Cut says that nothing more of the answer is wanted, nor of those that were asked for: the caller has stopped
// them. It reports whether one goes on.
func (t *Teller) Cut() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = nil
	if t.answer == nil {
		return false
	}
	t.answer.cut = true
	return true
}

// Interrupted tells that the provider has stopped the answer for the user.
func (t *Teller) Interrupted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.answer; a != nil && !a.cut {
		a.cut = true
		t.put(&driver.Interrupted{ResponseID: a.id})
	}
}

// End tells that the answer is over, if one goes on. One of which nothing came was cancelled.
func (t *Teller) End() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end("")
}

// Declined tells that the answer is over, or one that was asked for, and that there is nothing to be said.
func (t *Teller) Declined() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.asked) > 0 {
		t.begin()
	}
	t.end(driver.Completed)
}

// end ends the answer; the empty status is what came of it. One that was stopped was cancelled.
func (t *Teller) end(status driver.Status) {
	a := t.answer
	if a == nil {
		return
	}
	t.answer = nil
	switch {
	case a.cut:
		status = driver.Cancelled
	case status != "":
	case a.message:
		status = driver.Completed
	default:
		status = driver.Cancelled
	}
	if a.message {
		t.put(&driver.MessageDone{ResponseID: a.id, ItemID: a.item})
	}
	t.put(&driver.ResponseDone{ResponseID: a.id, RequestID: a.request, Status: status})
}

// SpeechStarted tells that the user speaks, if that is news.
func (t *Teller) SpeechStarted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.speaks()
}

func (t *Teller) speaks() {
	t.name()
	if !t.user.speaking {
		t.user.speaking = true
		t.put(&driver.SpeechStarted{})
	}
}

func (t *Teller) name() {
	if t.user.item == "" {
		t.user.item, t.user.since = metrics.NewID("item_"), time.Now()
	}
}

// SpeechStopped tells that he stopped to, if he spoke.
func (t *Teller) SpeechStopped() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.user.speaking {
		t.user.speaking = false
		t.put(&driver.SpeechStopped{ItemID: t.user.item})
	}
}

// Heard tells what the user said. What he says after a final text is another turn.
func (t *Teller) Heard(text, language string, final bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.name()
	t.put(&driver.Transcript{ItemID: t.user.item, Text: text, Language: language, Final: final, StartedAt: t.user.since})
	if final {
		t.user.item = ""
		if t.user.speaking { // he goes on
			t.name()
		}
	}
}
