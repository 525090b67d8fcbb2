package agent

import (
	"context"
	"iter"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/vad"
)

// Agent says who talks and what it may do. It is plain data: fill it in, hand it to a session, and
// leave it alone while it runs. What it learns in a conversation (its chat context) belongs to
// the session and is kept per agent value, so handing over to the same *Agent again continues its
// conversation.
//
// Hooks are called on goroutines of their own and may call everything of RunContext.Session. A
// panic in a hook ends the session with close reason "error".
type Agent struct {
	// ID names the agent in events, metrics and history; default "default_agent".
	ID string
	// Instructions is the system prompt.
	Instructions string
	// AudioInstructions and TextInstructions come behind Instructions, after an empty line: the ones
	// when the user has spoken, the others when the user has typed or the session hears nothing.
	AudioInstructions, TextInstructions string
	// Tools the model may call, besides those of the session.
	Tools []llm.Tool
	// ChatContext is what the agent knows of the conversation when it first enters; copied.
	ChatContext *chat.Context

	// Models of this agent: unset inherits the session's, off goes without.
	STT opt.Value[*stt.Model]
	VAD opt.Value[*vad.Model]
	LLM opt.Value[*llm.Model]
	TTS opt.Value[*tts.Model]
	// Realtime hears and speaks instead of the LLM. Whichever of the two is set on the agent counts, not
	// what the session has of the other.
	Realtime opt.Value[*realtime.Model]

	// ToolTexts overrides what is set of the session's.
	ToolTexts ToolTexts
	// TurnHandling overrides the fields that are set of the session's.
	TurnHandling turn.Handling
	// MinConsecutiveSpeechDelay is the least pause between two speeches; unset inherits.
	MinConsecutiveSpeechDelay opt.Value[time.Duration]

	// OnEnter runs when the agent takes over. It may speak.
	OnEnter func(ctx context.Context, rc *RunContext) error
	// OnExit runs before the agent is replaced or the session ends. It may speak.
	OnExit func(ctx context.Context, rc *RunContext) error
	// OnUserTurnCompleted runs when the user has finished a turn, before the reply. turn is a
	// private copy of the context: changes to it affect this reply only; changes to msg are kept.
	// llm.ErrStopResponse, like any other error, drops the turn; others are logged.
	OnUserTurnCompleted func(ctx context.Context, rc *RunContext, turn *chat.Context, msg *chat.Message) error

	// OnUserTurnExceeded runs when the user has said more than TurnHandling.Limit allows without the
	// agent having spoken, as soon as no speech of the agent is under way; not if it speaks before. It
	// may run again with further words, but not while it runs. The user's turn goes on: the words are
	// answered when it ends. Without this hook the agent cuts in: what was said so far is a turn of its
	// own, answered at once, without tools, by a protected speech.
	OnUserTurnExceeded func(ctx context.Context, rc *RunContext, ev UserTurnExceeded) error

	// Nodes wrap the steps of the pipeline: each gets the default step as next and may change what
	// goes in and what comes out. They compose like http.Handlers.
	LLMNode        func(ctx context.Context, req *llm.Request, next LLMNode) iter.Seq2[*llm.Chunk, error]
	TTSNode        func(ctx context.Context, text iter.Seq[string], next TTSNode) iter.Seq2[*tts.Audio, error]
	TranscriptNode func(ctx context.Context, text iter.Seq[string]) iter.Seq[string]

	task *TaskOwner // nil for an agent that is not a task
}

// UserTurnExceeded says how much the user has said since the agent spoke last.
type UserTurnExceeded struct {
	Transcript  string        // of the present turn, so far
	Accumulated string        // of all turns since, this one included
	Words       int           // of Accumulated
	Duration    time.Duration // since the user began with it
}

// LLMNode is the step that asks the language model.
type LLMNode func(ctx context.Context, req *llm.Request) iter.Seq2[*llm.Chunk, error]

// TTSNode is the step that turns text into speech.
type TTSNode func(ctx context.Context, text iter.Seq[string]) iter.Seq2[*tts.Audio, error]

// Name is the ID of the agent, or the default.
func (a *Agent) Name() string {
	if a.ID == "" {
		return "default_agent"
	}
	return a.ID
}

// Handoff is returned by a tool that hands the conversation to another agent and has something
// to tell the model as well. A tool may also return the *Agent alone.
type Handoff struct {
	Agent  *Agent
	Output any // what the model is told; nil for nothing
}

// Options are what can change of an agent while its session runs. What is unset stays as it was.
type Options struct {
	// Models of the agent; off goes without. A text that is being spoken keeps its voice.
	STT opt.Value[*stt.Model]
	VAD opt.Value[*vad.Model]
	LLM opt.Value[*llm.Model]
	TTS opt.Value[*tts.Model]
	// Realtime takes the place of the agent's realtime model. One cannot become an LLM, nor an LLM one.
	Realtime opt.Value[*realtime.Model]
	// TurnHandling is laid over the agent's, field by field; the turn detector is in there.
	TurnHandling turn.Handling
}

// Over returns o, with what o leaves unset taken from base.
func (o Options) Over(base Options) Options {
	return Options{
		STT: o.STT.Or(base.STT), VAD: o.VAD.Or(base.VAD), LLM: o.LLM.Or(base.LLM), TTS: o.TTS.Or(base.TTS),
		Realtime: o.Realtime.Or(base.Realtime), TurnHandling: o.TurnHandling.Over(base.TurnHandling),
	}
}
