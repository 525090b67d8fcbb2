package session

import (
	"reflect"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// Event is something that happened in a session: one of the event types of this package.
type Event interface {
	// EventType is the constant name of the event, e.g. "user_state_changed".
	EventType() string
	// When is when it happened.
	When() time.Time
}

// At is the time of an event.
type At struct{ CreatedAt time.Time }

// When returns the time of the event.
func (a At) When() time.Time { return a.CreatedAt }

// UserStateChanged tells what the user does now. Its time is the acoustic moment, which is earlier
// than the moment it was noticed.
type UserStateChanged struct {
	At
	Old, New agent.UserState
}

// AgentStateChanged tells what the agent does now.
type AgentStateChanged struct {
	At
	Old, New agent.State
}

// UserInputTranscribed tells what the user said so far in an utterance.
type UserInputTranscribed struct {
	At
	Transcript string
	Final      bool
	Language   string
	SpeakerID  string
	ItemID     string // of the message in the history, if a realtime model wrote it down; else empty
}

// UserTranscriptionTimeout tells that the VAD has heard the user speak and the STT has found no words
// for Options.TranscriptionTimeout. It may come again when the user tries again in the same turn.
type UserTranscriptionTimeout struct {
	At
	SpeechDuration  time.Duration // of all attempts in this turn
	SpeechStartedAt time.Time     // of the first one
}

// ConversationItemAdded tells that a message or a handoff was added to the history. What the agent
// says is added after it was heard, with what was heard.
type ConversationItemAdded struct {
	At
	Item chat.Item
}

// SpeechCreated tells that the agent is going to say something.
type SpeechCreated struct {
	At
	Speech        *agent.Speech
	UserInitiated bool   // asked for through the API, not in answer to a user turn
	Source        string // "say" or "generate_reply"
}

// OverlappingSpeech tells what became of it that the user talked over the agent. It comes once for each
// time, as soon as that is known. Words are an interruption, and so is a sound that stops the agent at
// once; a sound that no words follow is none.
type OverlappingSpeech struct {
	At
	Interruption bool
	AgentEnded   bool          // the agent's speech was over before anything else was known
	StartedAt    time.Time     // both were heard from then on
	Duration     time.Duration // of both being heard, as far as the VAD knew by then
}

// AgentFalseInterruption tells that the agent was paused because the user made a sound, and went on.
type AgentFalseInterruption struct {
	At
	Resumed bool
}

// FunctionToolsExecuted tells that the tools of one round have ended. Listeners run before the
// results are acted upon, so they may still cancel what follows.
type FunctionToolsExecuted struct {
	At
	Calls   []*chat.FunctionCall
	Outputs []*chat.FunctionCallOutput // Outputs[i] answers Calls[i]
	round   *toolRound
}

// HasReply reports whether the model will be asked to react to the outputs.
func (e FunctionToolsExecuted) HasReply() bool { return e.round != nil && e.round.wantsReply() }

// HasHandoff reports whether another agent will take over.
func (e FunctionToolsExecuted) HasHandoff() bool { return e.round != nil && e.round.handoff() != nil }

// CancelReply keeps the model from reacting to the outputs.
func (e FunctionToolsExecuted) CancelReply() {
	if e.round != nil {
		e.round.noReply.Store(true)
	}
}

// CancelHandoff keeps the agent that is in charge.
func (e FunctionToolsExecuted) CancelHandoff() {
	if e.round != nil {
		e.round.noHandoff.Store(true)
	}
}

// ToolCallStatus is how far a tool call is.
type ToolCallStatus string

// The states of a tool call.
const (
	ToolStarted   ToolCallStatus = "started"
	ToolUpdated   ToolCallStatus = "updated" // by RunContext.Update
	ToolDone      ToolCallStatus = "done"
	ToolFailed    ToolCallStatus = "error"
	ToolCancelled ToolCallStatus = "cancelled" // by the model, by a call that replaces it, or by the end of its agent
)

// ToolExecutionUpdated tells about one tool call: once that it started, exactly once how it ended, and
// what it told meanwhile.
type ToolExecutionUpdated struct {
	At
	Call *chat.FunctionCall
	// ID is the call id under which the model is told: that of Call, or, once that has its output, one
	// derived from it.
	ID      string
	Status  ToolCallStatus
	Message string // the update, or the output once the call ended
}

// ToolReplyStatus is what has become of a reply to what tools in the background have told.
type ToolReplyStatus string

// The states of such a reply.
const (
	ReplyScheduled   ToolReplyStatus = "scheduled"
	ReplyCompleted   ToolReplyStatus = "completed"
	ReplyInterrupted ToolReplyStatus = "interrupted"
	ReplySkipped     ToolReplyStatus = "skipped" // the agent had nothing to say
)

// ToolReplyUpdated tells about a reply to what tools in the background have told.
type ToolReplyUpdated struct {
	At
	UpdateIDs []string // as in ToolExecutionUpdated.ID
	SpeechID  string
	Status    ToolReplyStatus
}

// MetricsCollected hands over a metrics event of the session.
type MetricsCollected struct {
	At
	Metrics metrics.Event
}

// UsageUpdated tells what the session has spent so far, whenever that grew.
type UsageUpdated struct {
	At
	Usage metrics.Usage
}

// TurnCompleted tells where the time of an answered user turn went.
type TurnCompleted struct {
	At
	TurnLatency
}

// ErrorOccurred tells that a model call failed. Recoverable errors are being retried.
type ErrorOccurred struct {
	At
	model.ErrorEvent
}

// ModelAvailabilityChanged tells that a model behind a fallback is from now on passed over, because it
// failed, or asked again. The session that finds out is told.
type ModelAvailabilityChanged struct {
	At
	model.AvailabilityEvent
}

// Closed is the last event of a session.
type Closed struct {
	At
	Reason CloseReason
	Err    error // for ReasonError
}

// CloseReason says why a session closed.
type CloseReason string

// The close reasons.
const (
	ReasonError                   CloseReason = "error"
	ReasonJobShutdown             CloseReason = "job_shutdown"
	ReasonParticipantDisconnected CloseReason = "participant_disconnected"
	ReasonUserInitiated           CloseReason = "user_initiated"
	// ReasonProcessDied is in reports that were made from a ledger; see Recovered.
	ReasonProcessDied    CloseReason = "process_died"
	ReasonBudgetExceeded CloseReason = "budget_exceeded"
)

// EventType implements Event.
func (UserStateChanged) EventType() string         { return "user_state_changed" }
func (AgentStateChanged) EventType() string        { return "agent_state_changed" }
func (UserInputTranscribed) EventType() string     { return "user_input_transcribed" }
func (UserTranscriptionTimeout) EventType() string { return "user_transcription_timeout" }
func (ConversationItemAdded) EventType() string    { return "conversation_item_added" }
func (SpeechCreated) EventType() string            { return "speech_created" }
func (OverlappingSpeech) EventType() string        { return "overlapping_speech" }
func (AgentFalseInterruption) EventType() string   { return "agent_false_interruption" }
func (FunctionToolsExecuted) EventType() string    { return "function_tools_executed" }
func (ToolExecutionUpdated) EventType() string     { return "tool_execution_updated" }
func (ToolReplyUpdated) EventType() string         { return "tool_reply_updated" }
func (MetricsCollected) EventType() string         { return "metrics_collected" }
func (UsageUpdated) EventType() string             { return "session_usage_updated" }
func (TurnCompleted) EventType() string            { return "turn_completed" }
func (ErrorOccurred) EventType() string            { return "error" }
func (Closed) EventType() string                   { return "close" }

// EventType implements Event: "llm_availability_changed", or that of another kind of model.
func (e ModelAvailabilityChanged) EventType() string { return e.Kind + "_availability_changed" }

// On calls f for every event of type E, e.g.
//
//	session.On(s, func(e session.Closed) { ... })
//
// and returns a function that stops it. Listeners run one after another, in order of registration,
// on a goroutine of the session that is not its loop: they may call every method of the session,
// but a listener that blocks holds up the ones after it. A panic in a listener is logged. Use
// On[session.Event] for all events.
func On[E Event](s *Session, f func(E)) (cancel func()) {
	return s.events.add(reflect.TypeFor[E](), func(e Event) {
		if v, ok := e.(E); ok {
			f(v)
		}
	})
}
