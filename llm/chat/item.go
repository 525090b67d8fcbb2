package chat

import (
	"time"

	"github.com/parley-go/parley/metrics"
)

// Item is one entry of a conversation: *Message, *FunctionCall, *FunctionCallOutput, *Handoff or
// *ConfigUpdate. Items are shared between copies of a Context: treat an item that is in a Context
// as read-only.
type Item interface {
	// Type is the constant name of the item type, e.g. "message".
	Type() string
	// Head is the part that all items share.
	Head() *Header
}

// Header is what all items share.
type Header struct {
	ID        string    // "item_…"; filled by Context.Add when empty
	CreatedAt time.Time // filled by Context.Add when zero; items are ordered by it
}

// Head returns h.
func (h *Header) Head() *Header { return h }

// Role says who wrote a message.
type Role string

// The roles.
const (
	System    Role = "system"
	Developer Role = "developer"
	User      Role = "user"
	Assistant Role = "assistant"
)

// Message is something that was said or written.
type Message struct {
	Header
	Role        Role
	Content     []Part
	Interrupted bool    // the assistant was cut short; Content is what was heard
	Confidence  float64 // mean confidence of the transcript, 0..1; 0 when unknown
	Extra       map[string]any
	Metrics     TurnMetrics
}

// Part is a piece of a message: Text, *Image or *Audio.
type Part interface{ isPart() }

// Text is a piece of text.
type Text string

// Image is a picture by URL (https or data URL).
type Image struct {
	URL      string
	MIMEType string
	Detail   string // "auto" (default), "high", "low"
}

// Audio is a recording with its transcript.
type Audio struct {
	Data       []int16
	Rate       int
	Transcript string
}

func (Text) isPart()   {}
func (*Image) isPart() {}
func (*Audio) isPart() {}

// FunctionCall is the model's decision to call a tool.
type FunctionCall struct {
	Header
	CallID    string
	Name      string
	Arguments string // JSON text
	GroupID   string // calls of one answer share it
	Extra     map[string]any
}

// FunctionCallOutput is what a tool answered.
type FunctionCallOutput struct {
	Header
	CallID  string
	Name    string
	Output  string
	IsError bool
	NoReply bool // the model is not asked to react to it
}

// Handoff marks that another agent took over.
type Handoff struct {
	Header
	OldAgentID string // "" for the first agent
	NewAgentID string
}

// ConfigUpdate marks that an agent's instructions or tools changed.
type ConfigUpdate struct {
	Header
	Instructions string
	ToolsAdded   []string
	ToolsRemoved []string
}

// Type implements Item.
func (*Message) Type() string            { return "message" }
func (*FunctionCall) Type() string       { return "function_call" }
func (*FunctionCallOutput) Type() string { return "function_call_output" }
func (*Handoff) Type() string            { return "agent_handoff" }
func (*ConfigUpdate) Type() string       { return "agent_config_update" }

// TurnMetrics is the account of one turn on its message. Zero times, nil durations and empty
// metadata are unknown.
type TurnMetrics struct {
	StartedSpeakingAt time.Time
	StoppedSpeakingAt time.Time

	// Of user messages.
	TranscriptionDelay       *time.Duration // end of speech to final transcript
	EndOfTurnDelay           *time.Duration // end of speech to the decision that the turn is over
	OnUserTurnCompletedDelay *time.Duration // time in the user's hook

	// Of assistant messages.
	LLMNodeTTFT     *time.Duration // reply started to first text or tool call
	LLMNodeTPS      float64        // completion tokens per second, first to last text; 0 unknown
	LLMNodeTTFS     *time.Duration // reply started to first sentence handed to the TTS
	TTSNodeTTFB     *time.Duration // first text to the TTS to first audio
	PlaybackLatency *time.Duration // first audio handed to the output to playback started
	E2ELatency      *time.Duration // user stopped speaking to agent started speaking

	AudioPlayed *time.Duration // how much of the audio was heard, pauses not counted

	ProviderRequestIDs []string
	LLM, STT, TTS      metrics.Metadata
}
