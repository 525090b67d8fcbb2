package realtime

import (
	"context"
	"errors"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

// How much of a generation is kept for its reader. One with more is cancelled and ends with an error.
const (
	maxAudio = 10 * time.Minute
	maxText  = 1 << 20 // bytes
	maxParts = 256     // messages and calls
)

var errTooLong = errors.New("generation is too long: more than 10 minutes of audio, 1 MiB of text or 256 parts")

// Generation is one answer of the model: messages one after another, and calls of tools. NextMessage and
// NextCall may be used by one goroutine each, the rest by any. It is kept for its reader as fast as the model
// is, up to 10 minutes of audio and 1 MiB of text. A generation that nobody reads costs memory only.
//
// It may be made by more than one response of the provider: when one fails before anything of it came, it
// is asked for again.
type Generation struct {
	s         *Session
	requested bool
	send      func(ctx context.Context, c driver.Conn, id string) error // asks for it
	tools     *[]llm.ToolSpec                                           // of the request
	choice    *llm.ToolChoice
	messages  *queue[*Message]
	calls     *queue[*Call]
	ready     chan struct{} // it was created, or never will be
	done      chan struct{}

	// Of the session's lock.
	begun    bool // ready is closed
	over     bool // done is closed
	emitted  bool // something of it came
	info     model.Info
	response string // id
	created  time.Time
	ttft     time.Duration
	status   Status
	err      error
	attempts int // that failed
	tags     metrics.Tags
	inside   context.Context // whose span tells what it costs; never ends
	open     []*Message      // in order, all of this response
	items    []string        // ids of all that it put into the conversation
	audio    time.Duration
	text     int
	parts    int
}

func (s *Session) newGeneration() *Generation {
	return &Generation{
		s: s, info: s.who.info, ttft: metrics.NoOutput, inside: s.ctx,
		messages: newQueue[*Message](), calls: newQueue[*Call](),
		ready: make(chan struct{}), done: make(chan struct{}),
		send: func(ctx context.Context, c driver.Conn, id string) error {
			return c.Generate(ctx, &driver.Request{ID: id})
		},
	}
}

// Requested reports whether Generate or Say asked for it.
func (g *Generation) Requested() bool { return g.requested }

// ResponseID is the provider's id of the response, of the last one if there was more than one.
func (g *Generation) ResponseID() string {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	return g.response
}

// Info says who generates.
func (g *Generation) Info() model.Info {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	return g.info
}

// CreatedAt is when the provider began with the response.
func (g *Generation) CreatedAt() time.Time {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	return g.created
}

// TTFT is the time from CreatedAt to the first audio, or the first text of a message without audio;
// metrics.NoOutput if there was none yet.
func (g *Generation) TTFT() time.Duration {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	return g.ttft
}

// Done is closed when nothing more will come.
func (g *Generation) Done() <-chan struct{} { return g.done }

// Result is how the generation ended, with the error of one that is Failed or Incomplete; it is "" before Done
// is closed.
func (g *Generation) Result() (Status, error) {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	return g.status, g.err
}

// Inside says that g is part of what ctx is of: the span "realtime_metrics", which tells what g has cost when that is
// known, is opened with ctx. It is for generations that the model began by itself; those that were asked for are
// inside of who asked. ctx may end.
func (g *Generation) Inside(ctx context.Context) {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	g.inside = context.WithoutCancel(ctx)
}

// NextMessage waits for the next message. After the last one it returns io.EOF, the error of a generation that
// failed, or ErrInterrupted.
func (g *Generation) NextMessage(ctx context.Context) (*Message, error) { return g.messages.next(ctx) }

// NextCall waits for the next call of a tool. It ends as NextMessage does.
func (g *Generation) NextCall(ctx context.Context) (*Call, error) { return g.calls.next(ctx) }

// Interrupt ends the generation if it is not over: the model is told, and what was not read yet is dropped.
func (g *Generation) Interrupt() {
	g.s.mu.Lock()
	defer g.s.unlock()
	g.s.interrupt(g)
}

// Call is a call of a tool that the model decided on, complete.
type Call struct {
	ItemID string // of the call in the conversation
	llm.ToolCall
}

// Message is one message of a Generation: its text, which for a spoken one is the transcript of its audio, and
// its audio. NextText and NextAudio may be used by one goroutine each.
type Message struct {
	id       string
	textOnly bool
	text     *queue[string]
	audio    *queue[audio.Frame]
	sofar    []byte // of the session's lock
}

// ID is that of the item in the conversation.
func (m *Message) ID() string { return m.id }

// TextOnly reports whether there will be no audio.
func (m *Message) TextOnly() bool { return m.textOnly }

// NextText waits for the next piece of text. It ends as NextMessage does.
func (m *Message) NextText(ctx context.Context) (string, error) { return m.text.next(ctx) }

// NextAudio waits for the next piece of audio, which then belongs to the caller. It ends as NextMessage does.
func (m *Message) NextAudio(ctx context.Context) (audio.Frame, error) { return m.audio.next(ctx) }

func newMessage(id string, textOnly bool) *Message {
	m := &Message{id: id, textOnly: textOnly, text: newQueue[string](), audio: newQueue[audio.Frame]()}
	if textOnly {
		m.audio.end(nil)
	}
	return m
}

func (m *Message) end(err error) {
	m.text.end(err)
	m.audio.end(err)
}

// message is the one with the id, which begins if it was not told.
func (g *Generation) message(id string, textOnly bool) *Message {
	for _, m := range g.open {
		if m.id == id {
			return m
		}
	}
	m := newMessage(id, textOnly)
	g.open = append(g.open, m)
	g.parts++
	g.messages.put(m)
	return m
}

// tooLong reports whether there is more of it than anybody keeps.
func (g *Generation) tooLong() bool {
	return g.audio > maxAudio || g.text > maxText || g.parts > maxParts
}

// unread are the ids of the calls that its reader has not taken.
func (g *Generation) unread() (ids []string) {
	g.calls.mu.Lock()
	defer g.calls.mu.Unlock()
	for _, c := range g.calls.items {
		ids = append(ids, c.CallID)
	}
	return ids
}

// begin says that the provider made a response for it.
func (g *Generation) begin(r *response) {
	g.response, g.created, g.ttft, g.info = r.id, r.created, metrics.NoOutput, r.info
	if !g.begun {
		g.begun = true
		close(g.ready)
	}
}

// end says that nothing more will come. keep leaves what was not read to the reader.
func (g *Generation) end(status Status, err error, keep bool) {
	if g.over {
		return
	}
	g.over, g.status, g.err = true, status, err
	why := err
	switch {
	case !keep:
		why = ErrInterrupted
	case status == Incomplete:
		why = nil // told by Result
	}
	for _, m := range g.open {
		if keep {
			m.end(why)
		} else {
			m.text.drop(why)
			m.audio.drop(why)
		}
	}
	if keep {
		g.messages.end(why)
		g.calls.end(why)
	} else {
		g.messages.drop(why)
		g.calls.drop(why)
	}
	if !g.begun {
		g.begun = true
		close(g.ready)
	}
	close(g.done)
}
