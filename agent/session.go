package agent

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/turn"
)

// Session is the running conversation as tools and hooks see it; *session.Session implements it.
// All methods may be called from any goroutine.
type Session interface {
	// Say speaks a text. The speech is queued; a session that is not running returns a speech that
	// is done and has an error.
	Say(text string, o *SayOptions) *Speech
	// SayStream is Say for a text that is still being written: it is spoken as it comes, once the
	// speech has its turn. A speech that is interrupted stops reading.
	SayStream(text iter.Seq[string], o *SayOptions) *Speech
	// GenerateReply lets the model answer. It is queued like Say.
	GenerateReply(r Reply) *Speech
	// Interrupt stops the current speech and the queued ones up to the first protected one, and waits
	// until they are over and the history holds what was heard of them. force stops protected ones
	// too; without it a protected current speech is ErrProtected and nothing happens. ctx bounds the
	// waiting alone. A tool does not wait for the speech that called it.
	Interrupt(ctx context.Context, force bool) error
	// UpdateAgent hands the conversation to another agent. It returns at once.
	UpdateAgent(a *Agent) error
	// ChatContext is a copy of what the agent knows, without its instructions; nil before the start.
	// In tools and hooks this and the updates below are about the agent they belong to, elsewhere
	// about the one in charge. The updates count from the agent's next request on, and are kept when
	// it hands over and comes back; the Agent value stays as it is.
	ChatContext() *chat.Context
	// UpdateInstructions replaces Agent.Instructions.
	UpdateInstructions(text string) error
	// UpdateTools replaces Agent.Tools. The agent forgets the calls of tools that are gone.
	UpdateTools(ctx context.Context, tools []llm.Tool) error
	// UpdateChatContext replaces what the agent knows by a copy of c, without the calls of tools that
	// it does not have.
	UpdateChatContext(c *chat.Context) error
	// UpdateAgentOptions gives the agent other models and turn handling, at once.
	UpdateAgentOptions(o Options) error
	// UpdateOptions lays h over the turn handling of the session, at once and for all agents; what an
	// agent itself has set still wins.
	UpdateOptions(h turn.Handling) error
	// Shutdown closes the session after what is queued was said. It returns at once.
	Shutdown(o ShutdownOptions)
	// WaitForIdle waits until nobody speaks or is about to, and nobody else has the floor.
	WaitForIdle(ctx context.Context) error
	// Foreground waits like WaitForIdle and runs f; until f returns, nobody else finds the session idle.
	Foreground(ctx context.Context, f func(ctx context.Context) error) error
	// ClaimUserTurn has the user count as speaking until release is called.
	ClaimUserTurn() (release func())
	// Agent is the agent that is in charge, nil before the start.
	Agent() *Agent
	AgentState() State
	UserState() UserState
	// History is a copy of what was said so far, by all agents.
	History() *chat.Context
	// Usage is what the session has spent so far.
	Usage() metrics.Usage
	// SetTag gives the session a tag, or the tag another value: tags are in the report and the ledger.
	SetTag(key, value string) error
	// Userdata is what the application attached to the session.
	Userdata() any
}

// SayOptions are the options of Session.Say.
type SayOptions struct {
	// NoHistory keeps the text out of the chat context.
	NoHistory bool
	// Protected speech is not interrupted by the user. Where interruptions are disabled all speeches
	// are protected; Speech.SetProtected makes one that is not.
	Protected bool
	// Priority decides what is said first of what waits.
	Priority Priority
	// Audio is played instead of what the TTS would make of the text, which is shown and remembered
	// all the same. It is read once, when the speech has its turn; frames are borrowed until the
	// next. An error ends the speech.
	Audio iter.Seq2[audio.Frame, error]
}

// Priority decides which of the speeches that wait is said first. Equal ones are said in the order in
// which they were asked for. What is being said is not cut short by a higher one.
type Priority int

// The priorities. Everything that the session says by itself is normal.
const (
	LowPriority    Priority = -5
	NormalPriority Priority = 0
	HighPriority   Priority = 5
)

// Reply says how the model is asked by Session.GenerateReply.
type Reply struct {
	// UserInput is what the user is taken to have said; "" for nothing.
	UserInput string
	// Instructions are for this reply only and never stored.
	Instructions string
	// ToolChoice of this reply. Inside a tool the default is none, else auto.
	ToolChoice llm.ToolChoice
	// Tools are the names of the functions and toolsets that this reply may use; nil: all that the
	// agent has. A name that there is not fails the speech.
	Tools []string
	// ChatContext is used instead of the agent's own.
	ChatContext *chat.Context
	// Protected is as in SayOptions.
	Protected bool
	// Priority decides what is said first of what waits.
	Priority Priority
}

// ShutdownOptions are the options of Session.Shutdown.
type ShutdownOptions struct {
	// Now closes without waiting for queued speech.
	Now bool
	// HangUp also ends the call for everybody: in a LiveKit room, the room is deleted.
	HangUp bool
}

// Errors of sessions and speeches.
var (
	ErrNotRunning  = errors.New("session is not running")
	ErrProtected   = errors.New("speech is protected from interruption")
	ErrInterrupted = errors.New("speech was interrupted")
	ErrSelfWait    = errors.New("a tool or hook cannot wait for what waits for it; for the end of what was said there is RunContext.WaitForPlayout")
	ErrNoLanguage  = errors.New("session has no language model")
	ErrNoVoice     = errors.New("session has no speech synthesiser")
)

// RunContext is what a tool or a hook knows of where it runs. It may be used from any goroutine and
// stays valid after the tool returned.
type RunContext struct {
	session Session
	speech  *Speech
	call    *chat.FunctionCall
	runtime ToolRuntime
	tasks   func(context.Context, *TaskOwner) // nil where no tasks may be run
}

// NewRunContext is for sessions, and for tests of tools. speech, call and runtime may be nil.
func NewRunContext(s Session, speech *Speech, call *chat.FunctionCall, runtime ToolRuntime) *RunContext {
	return &RunContext{session: s, speech: speech, call: call, runtime: runtime}
}

// AllowTasks lets tasks be run with rc: run puts one in charge and returns when it is done. It is for
// sessions, and for tests of tools, before rc is used.
func (rc *RunContext) AllowTasks(run func(ctx context.Context, t *TaskOwner)) { rc.tasks = run }

// Session is the conversation.
func (rc *RunContext) Session() Session { return rc.session }

// Speech is the speech that called the tool; nil in OnEnter and OnExit.
func (rc *RunContext) Speech() *Speech { return rc.speech }

// Call is the tool call; nil outside of tools.
func (rc *RunContext) Call() *chat.FunctionCall { return rc.call }

// DisallowInterruptions protects the speech from here on; ErrInterrupted if it is too late.
func (rc *RunContext) DisallowInterruptions() error {
	if rc.speech == nil {
		return nil
	}
	return rc.speech.SetProtected(true)
}

// WaitForPlayout waits until what the agent said before this tool call has been heard.
func (rc *RunContext) WaitForPlayout(ctx context.Context) error {
	if rc.runtime == nil {
		return nil
	}
	return rc.runtime.WaitForPlayout(ctx)
}

// Userdata is what the application attached to the session, as a T.
func Userdata[T any](rc *RunContext) (T, error) {
	v, ok := rc.session.Userdata().(T)
	if !ok {
		return v, fmt.Errorf("userdata is a %T, not a %T", rc.session.Userdata(), v)
	}
	return v, nil
}

type runKey struct{}

// ContextWithRun returns a context that carries rc; tools and hooks are called with such a one.
func ContextWithRun(ctx context.Context, rc *RunContext) context.Context {
	return context.WithValue(ctx, runKey{}, rc)
}

// RunContextFrom returns the RunContext that ctx carries, nil if none.
func RunContextFrom(ctx context.Context) *RunContext {
	rc, _ := ctx.Value(runKey{}).(*RunContext)
	return rc
}
