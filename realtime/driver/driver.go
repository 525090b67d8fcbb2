// Package driver is the contract between package realtime and realtime models, which hear and speak
// themselves.
//
// A driver only speaks its provider's protocol, over one connection at a time. Package realtime does the rest:
// the life of a session over many connections, the mirror of the conversation, replay of audio, waiting for
// acknowledgements, metrics, usage, errors as events. A driver never connects again by itself, never retries
// and never counts.
package driver

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// Realtime is a realtime model. It is safe for concurrent use.
type Realtime interface {
	Info() model.Info
	Capabilities() Capabilities
	// Connect opens one connection and returns when the provider takes input. ctx bounds the opening only;
	// its recorder gets the connection event. Setup is borrowed.
	Connect(ctx context.Context, s *Setup) (Conn, error)
}

// Capabilities say what a model can do. What a connection can do beyond Conn is said by the interfaces that it
// implements: Updater, Deleter, Truncater, Turner, Canceller, Withdrawer, Sayer, Watcher, Resumer. A method that returns
// ErrUnsupported counts as one that is missing.
type Capabilities struct {
	InputRate  int           // of the audio that it hears, in Hz; always mono
	InputChunk time.Duration // how much audio a Push has, less at the end of a turn; 0 takes any
	OutputRate int           // of the audio that it speaks, in Hz; always mono

	AudioOutput       bool // it speaks; false: it only writes
	ServerTurns       bool // it finds the user's turns itself, unless Setup.ClientTurns
	ClientTurns       bool // that can be turned off; then its connections implement Turner
	UserTranscription bool // it tells what it heard the user say
	AutoToolReply     bool // it answers the outputs of tools by itself
	MutableContext    bool // Add takes messages at any time; false: only outputs of tools, and what a new connection begins with
	ToolsPerResponse  bool // Request.Tools, Request.ToolChoice are heeded

	// What is decided before there is a connection to ask.
	MutableInstructions bool // its connections are Updaters that take instructions; false: a new connection does
	MutableTools        bool // likewise for tools and the tool choice
	Truncation          bool // its connections are Truncaters
	Say                 bool // its connections are Sayers

	// MaxAge is how old the provider lets a connection become; 0 has no limit. The session connects again before.
	MaxAge time.Duration
	// BilledByTime says that the provider bills the time of connections, BilledByTokens that it bills tokens: those
	// that it does not state, since a connection breaks before, are estimated.
	BilledByTime, BilledByTokens bool
}

// Setup is what a connection begins with.
type Setup struct {
	Instructions string
	Tools        []llm.ToolSpec
	ToolChoice   llm.ToolChoice
	History      *chat.Context // the conversation so far, without instructions; may be empty, never nil
	ClientTurns  bool          // the caller says when a turn ends; only for models that can
	TextOnly     bool          // answer in text although the model could speak
	// Resume is what the last connection to the same model gave with Resumption; nil for none. A provider that
	// resumes knows the History already.
	Resume any
}

// Conn is one connection. Next is called by one goroutine, Close by any, the rest by one at a time. Sending
// returns when the provider's transport took it; what the provider makes of it is told by events.
type Conn interface {
	// Push sends audio (borrowed) of the user.
	Push(ctx context.Context, f audio.Frame) error
	// Add adds items to the conversation; every one is acknowledged by an ItemAdded with its ID, which the
	// driver makes up itself where the provider has no such event. Items that the provider has no form for,
	// or cannot take now, are left out: the error is Unsupported with their IDs, and the others are added. See
	// Supported.
	Add(ctx context.Context, items []Item) error
	// Generate asks for an answer. It is told by ResponseCreated with the ID of the request. It is not called
	// while an answer goes on, unless that was cancelled or the connection is no Canceller: then the new one
	// takes its place, which may have to wait for its end.
	Generate(ctx context.Context, r *Request) error
	// Next waits for the next event; it is the caller's until the next call, audio in it included. io.EOF is a
	// connection that the provider ended in order, any other error one that broke, a *model.Error if possible.
	Next(ctx context.Context) (Event, error)
	// Close ends the connection at once; Next then fails. It may be called more than once.
	Close() error
}

// Item is an item to add.
type Item struct {
	// After is the ID of the item that it follows; "" puts it first, when First is set, else last.
	After string
	First bool
	Item  chat.Item // *chat.Message, *chat.FunctionCall or *chat.FunctionCallOutput
	// Silent says of an output that it asks for no answer, where a provider can be told.
	Silent bool
}

// ErrUnsupported is the error for what a provider cannot do.
var ErrUnsupported = errors.New("not supported by the provider")

// Unsupported is the error for items that a provider has no form for; it is ErrUnsupported.
func Unsupported(ids ...string) error { return &UnsupportedItems{ids} }

// UnsupportedItems is the error of Unsupported.
type UnsupportedItems struct{ IDs []string }

func (e *UnsupportedItems) Error() string {
	return strings.Join(e.IDs, ", ") + ": " + ErrUnsupported.Error()
}

// Unwrap is ErrUnsupported.
func (e *UnsupportedItems) Unwrap() error { return ErrUnsupported }

// Supported is for Conn.Add: it returns those items that can be added, each behind one that is there, and the
// error for the others, nil for none.
func Supported(items []Item, can func(chat.Item) bool) ([]Item, error) {
	var out []Item
	var left []string
	instead := map[string]Item{} // what stands for one that was left out
	for _, it := range items {
		if before, ok := instead[it.After]; ok && it.After != "" {
			it.After, it.First = before.After, before.First
		}
		if can(it.Item) {
			out = append(out, it)
			continue
		}
		id := it.Item.Head().ID
		left = append(left, id)
		instead[id] = it
	}
	if len(left) > 0 {
		return out, Unsupported(left...)
	}
	return out, nil
}

// Request asks for an answer. Its ID is the caller's.
type Request struct {
	ID           string
	Instructions string          // for this answer, besides those of the session
	Tools        *[]llm.ToolSpec // instead of those of the session; nil leaves those
	ToolChoice   *llm.ToolChoice // likewise
}

// Updater is implemented by connections whose instructions and tools can change. The nil fields of u stay
// as they are. ErrUnsupported asks for a new connection.
type Updater interface {
	Update(ctx context.Context, u *Update) error // acknowledged by Updated
}

// Update is a change of a connection.
type Update struct {
	ID           string // of the change, for its Updated
	Instructions *string
	Tools        *[]llm.ToolSpec
	ToolChoice   *llm.ToolChoice
}

// Deleter is implemented by connections that can forget items.
type Deleter interface {
	// Delete is acknowledged by ItemDeleted, also when the provider has no such item.
	Delete(ctx context.Context, id string) error
}

// Truncater is implemented by connections whose answers can be cut to what was heard of them.
type Truncater interface {
	// Truncate cuts the item to the first d of its audio. text is what was heard of it.
	Truncate(ctx context.Context, id string, d time.Duration, text string) error
}

// Turner is implemented by connections that can leave the user's turns to the caller.
type Turner interface {
	StartTurn(ctx context.Context) error // the user began to speak
	Commit(ctx context.Context) error    // his turn is over; no answer is asked for
	// Clear forgets what was pushed since the last turn. ErrUnsupported asks for a new connection.
	Clear(ctx context.Context) error
}

// Canceller is implemented by connections whose answers can be stopped.
type Canceller interface {
	Cancel(ctx context.Context) error // the answer under way, if any
}

// Withdrawer is implemented by connections that keep requests until the answer that goes on is over.
type Withdrawer interface {
	// Withdraw says that nobody wants the answer to a request any more, which did not begin. kept reports that the provider
	// does not have the request, and will not get it; else the request is told of by ResponseCreated, ResponseDone or Error
	// with its ID, if the provider does anything about it. It is called under a lock, returns at once and tells nothing.
	Withdraw(id string) (kept bool)
}

// Sayer is implemented by connections that can say a given text.
type Sayer interface {
	Say(ctx context.Context, r *Request, text string) error // told by ResponseCreated, as Generate
}

// Watcher is implemented by connections that can see.
type Watcher interface {
	PushImage(ctx context.Context, img *chat.Image) error
}

// Resumer is implemented by connections that a later one can take the place of.
type Resumer interface {
	// Resumption is for Setup.Resume; nil while there is none. It may be called after the connection ended.
	Resumption() any
}

// Connected is implemented by connections that know how they came about. Package realtime asks once, after
// Connect, and reports the acquisition.
type Connected interface {
	Acquired() (took time.Duration, reused bool)
}

// Event is something a connection tells: one of the types below.
type Event interface{ event() }

// SpeechStarted tells that the user began to speak. Only of providers that find turns.
type SpeechStarted struct{}

// SpeechStopped tells that the user stopped to speak.
type SpeechStopped struct{ ItemID string }

// Interrupted tells that the provider stopped its answer since the user speaks.
type Interrupted struct{ ResponseID string }

// Transcript tells what the user said. A later one for the same item replaces it.
type Transcript struct {
	ItemID     string
	Text       string // of the item so far, not a piece of it
	Language   string // BCP-47; "" if the provider does not tell
	Final      bool
	Failed     bool      // there will be no text
	Confidence float64   // 0 to 1; 0 if the provider does not tell
	StartedAt  time.Time // of the user's turn; zero if the provider does not tell
}

// TranscriptUsage tells what the provider bills for transcribing the user, as a model of its own.
type TranscriptUsage struct {
	ItemID        string
	Model         string
	AudioDuration time.Duration
	InputTokens   int64
	OutputTokens  int64
	Raw           json.RawMessage // as the provider wrote it
}

// ItemAdded tells of an item that is now part of the conversation.
type ItemAdded struct {
	After string    // the item before it; "" for none
	Item  chat.Item // as far as it is known; its ID is the provider's
}

// ItemDeleted tells that an item is no longer part of the conversation.
type ItemDeleted struct{ ItemID string }

// Updated acknowledges an Update.
type Updated struct{ ID string }

// ResponseCreated tells that an answer begins.
type ResponseCreated struct {
	ResponseID string
	RequestID  string // of the Request that asked for it; "" when the provider began by itself
}

// MessageStarted tells that a message of an answer begins.
type MessageStarted struct {
	ResponseID, ItemID string
	TextOnly           bool // there will be no audio
}

// Text is the next piece of the text of a message, or of the transcript of its audio.
type Text struct {
	ResponseID, ItemID string
	Delta              string
}

// Audio is the next piece of the audio of a message.
type Audio struct {
	ResponseID, ItemID string
	Frame              audio.Frame
}

// MessageDone tells that all of a message was told.
type MessageDone struct{ ResponseID, ItemID string }

// ToolCall tells of a complete call of a tool.
type ToolCall struct {
	ResponseID, ItemID string
	Call               llm.ToolCall
}

// ToolCallsCancelled tells that the provider no longer wants the outputs of calls.
type ToolCallsCancelled struct{ CallIDs []string }

// ResponseDone tells that an answer ended. It may come for one that was never created.
type ResponseDone struct {
	ResponseID string
	RequestID  string // as in ResponseCreated, where it is known
	Status     Status
	Err        error  // why it failed, or is incomplete
	Usage      *Usage // nil when the provider states none
	// UsageLater says that a ResponseUsage follows. Without it the usage is estimated at the end of the connection.
	UsageLater bool
}

// Status is how an answer ended.
type Status string

// The ends of answers.
const (
	Completed  Status = "completed"
	Cancelled  Status = "cancelled"
	Incomplete Status = "incomplete" // cut by a limit
	Failed     Status = "failed"
)

// ResponseUsage states usage of an answer before, or without, its ResponseDone. The last one for an answer
// counts. An empty ResponseID is usage that belongs to none.
type ResponseUsage struct {
	ResponseID string
	Usage      Usage
}

// GoAway tells that the provider is about to end the connection.
type GoAway struct{ In time.Duration }

// Error tells of something that went wrong and does not end the connection. RequestID, if it is known, is the ID of the
// Request, the Update or the Item that failed.
type Error struct {
	RequestID string
	Err       error
}

func (*SpeechStarted) event()      {}
func (*SpeechStopped) event()      {}
func (*Interrupted) event()        {}
func (*Transcript) event()         {}
func (*TranscriptUsage) event()    {}
func (*ItemAdded) event()          {}
func (*ItemDeleted) event()        {}
func (*Updated) event()            {}
func (*ResponseCreated) event()    {}
func (*MessageStarted) event()     {}
func (*Text) event()               {}
func (*Audio) event()              {}
func (*MessageDone) event()        {}
func (*ToolCall) event()           {}
func (*ToolCallsCancelled) event() {}
func (*ResponseDone) event()       {}
func (*ResponseUsage) event()      {}
func (*GoAway) event()             {}
func (*Error) event()              {}

// Usage is what the provider will bill for an answer.
type Usage struct {
	InputTokens  int64 // all of them, cached ones included
	OutputTokens int64
	TotalTokens  int64
	Input        metrics.InputTokenDetails
	Output       metrics.OutputTokenDetails
	Raw          json.RawMessage // as the provider wrote it
}
