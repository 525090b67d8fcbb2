// Package realtime holds a conversation with models that hear and speak themselves: the front that users
// hold, over a driver that speaks the protocol of one provider.
//
// A Session outlives its connections. It keeps its present state (instructions, tools, the conversation) and
// connects again with it when a connection breaks, grows too old or cannot take a change, and when another
// model takes over; what the user said and the model may not have heard is sent again. It waits for
// acknowledgements, drops what comes late, and reports usage and errors through its context. What a provider that bills
// tokens does not state of an answer is estimated by what it stated for others (metrics.Estimated).
package realtime

import (
	"errors"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

// Names of the driver contract that users meet.
type (
	Capabilities = driver.Capabilities
	Status       = driver.Status
)

// The ends of generations.
const (
	Completed  = driver.Completed
	Cancelled  = driver.Cancelled
	Incomplete = driver.Incomplete // cut by a limit of the provider
	Failed     = driver.Failed
)

var (
	// ErrClosed is returned by a session that was closed.
	ErrClosed = errors.New("realtime: session is closed")
	// ErrInterrupted is returned by Generate and Say when Interrupt was faster.
	ErrInterrupted = errors.New("realtime: interrupted")
	// ErrUnsupported is returned for what the model cannot do.
	ErrUnsupported = driver.ErrUnsupported
)

// ModelOptions tune a model; nil means the defaults.
type ModelOptions struct {
	// Conn says how often a connection is tried, and a generation that failed before anything of it came.
	// Timeout bounds the wait for a connection, for the beginning of a generation that was asked for, and
	// for the next thing that one tells which has begun.
	Conn model.ConnOptions
	// TextOnly makes it a model that only writes, although it could speak: somebody else is its voice.
	TextOnly bool
}

// Model is a realtime model. It may be shared by all sessions of a process and is safe for concurrent use.
type Model struct {
	d     driver.Realtime
	info  model.Info
	caps  Capabilities
	conn  model.ConnOptions
	group *group // of a Fallback, which has no driver, else nil
	err   error  // why a Fallback cannot be
	again bool   // a Fallback has what was cut off said again
	gauge gauge  // for what the provider does not state
}

// New returns the model over a driver; o may be nil.
func New(d driver.Realtime, o *ModelOptions) *Model {
	m := &Model{d: d, info: d.Info(), caps: d.Capabilities()}
	if o != nil {
		m.conn = o.Conn
		if o.TextOnly {
			m.caps.AudioOutput, m.caps.Say = false, false
		}
	}
	m.conn = m.conn.Defaults()
	return m
}

// Info says who does the work.
func (m *Model) Info() model.Info {
	if m.group != nil {
		return m.group.First().Info()
	}
	return m.info
}

// Capabilities say what the model can do.
func (m *Model) Capabilities() Capabilities { return m.caps }

func (m *Model) metadata() metrics.Metadata {
	return metrics.Metadata{ModelName: m.info.Model, ModelProvider: m.info.Provider}
}

func (m *Model) error(kind model.ErrorKind, op string, err error) error {
	return &model.Error{Kind: kind, Provider: m.info.Provider, Op: op, Err: err}
}

// SessionOptions are what a session begins with. All of it can be changed later, but for ClientTurns, TextOnly
// and Tags.
type SessionOptions struct {
	Instructions string
	Tools        []llm.ToolSpec
	ToolChoice   llm.ToolChoice
	// Context is the conversation so far, without the instructions; nil is an empty one. Handoffs and
	// changes of configuration in it are left out.
	Context *chat.Context
	// ClientTurns has the caller say when the user's turns begin and end, by StartTurn, Commit and Clear. It
	// is for models whose ClientTurns is true; those without ServerTurns need it.
	ClientTurns bool
	// TextOnly has the model answer in text although it could speak.
	TextOnly bool
	// Tags, if set, is asked once for the tags of the metrics of each generation that nobody asked for,
	// before any event or metrics of it. It is called without a lock from a goroutine of the session, and
	// must return quickly.
	Tags func(*Generation) metrics.Tags
}

// Request asks for a generation; its zero value asks for an answer to the conversation as it is.
type Request struct {
	Instructions string // for this generation, besides those of the session
	// Tools and ToolChoice are for this generation, instead of those of the session; nil leaves those. For
	// models without ToolsPerResponse the session's are changed until the generation is over, if they can
	// be; else these have no effect.
	Tools      *[]llm.ToolSpec
	ToolChoice *llm.ToolChoice
}

// Event is something that a session tells: one of the types below, as pointers.
type Event interface{ event() }

// SpeechStarted tells that the user began to speak. Only of models that find turns.
type SpeechStarted struct{}

// SpeechStopped tells that the user stopped to speak, or that the connection broke while he did: then it
// starts again when the model hears him on the next one.
type SpeechStopped struct{ ItemID string }

// Transcript tells what the user said. A later one for the same item replaces it.
type Transcript struct {
	ItemID     string
	Text       string // of the item so far
	Language   string // BCP-47; "" if the provider does not tell
	Final      bool
	Failed     bool      // there will be no text
	Confidence float64   // 0 to 1; 0 if the provider does not tell
	StartedAt  time.Time // of the user's turn; zero if the provider does not tell
}

// GenerationCreated tells of a generation that nobody asked for: the model answers the user, or outputs of
// tools. Those that were asked for are told by Generate and Say alone.
type GenerationCreated struct{ Generation *Generation }

// Interrupted tells that the model stopped its generation since the user speaks. What came of it before is
// still to be had, but no longer to be said.
type Interrupted struct{ Generation *Generation }

// ItemAdded tells of an item that the model put into the conversation: what the user said, mostly before its
// text is known. Messages and calls of a Generation are told there only.
type ItemAdded struct {
	After string // the item before it; "" for none
	Item  chat.Item
}

// ToolCallsCancelled tells that the model no longer wants the outputs of calls.
type ToolCallsCancelled struct{ CallIDs []string }

// Reconnected tells that the session goes on over another connection.
type Reconnected struct {
	Info    model.Info // of the model
	Swapped bool       // it is another one than before
	// Cut tells that a generation was cut off of which something had come. Nothing more will come of it; who
	// wants the rest asks for a new one. Of a Fallback it is false unless that is to be done.
	Cut bool
}

// Swapping tells that the model failed and that another one takes over. Whatever of a generation is still
// being said that was cut off is to be stopped. The session waits for Continue, at most 2 s.
type Swapping struct {
	From, To  model.Info
	Cut       bool // as in Reconnected
	continues chan *chat.Context
}

// Continue has the session go on. heard is the conversation as the user heard it; nil leaves it as the
// session knows it.
func (e *Swapping) Continue(heard *chat.Context) {
	select {
	case e.continues <- heard:
	default: // was called before
	}
}

func (*SpeechStarted) event()      {}
func (*SpeechStopped) event()      {}
func (*Transcript) event()         {}
func (*GenerationCreated) event()  {}
func (*Interrupted) event()        {}
func (*ItemAdded) event()          {}
func (*ToolCallsCancelled) event() {}
func (*Reconnected) event()        {}
func (*Swapping) event()           {}
