package metrics

import "time"

// Event is one metrics event: one of the pointer types of this package (*LLM, *STT, *TTS, *VAD,
// *EOU, *EOT, *Realtime, *Interruption, *Avatar, *Connection). An event is immutable once it has
// been recorded; copy it to change it. Its JSON form has a constant "type", snake_case names,
// seconds as floats and Unix seconds for time stamps.
type Event interface {
	// Type is the constant name of the event type, e.g. "llm_metrics".
	Type() string
	// Head is the part that all events share.
	Head() *Header
}

// Header is what all events share.
type Header struct {
	// ID is unique for the event; an event with an ID that was already applied is ignored.
	// Record fills it when it is empty.
	ID        string
	Timestamp time.Time // when the event was built; Record fills it when zero
	Label     string    // implementation, e.g. "openai.LLM"
	RequestID string    // the provider's id of the request if known, else one of ours
	Attempt   int       // which attempt of the call, 0 for the first
	Outcome   Outcome   // how the work ended; empty means delivered
	Source    Source    // where the numbers come from; empty means provider
	Raw       Raw       // the provider's own statement of the usage; empty if there is none
	Metadata  Metadata  // who did the work; zero means unknown
	Tags      Tags      // on whose behalf; Record fills it from the context
}

// Head returns h.
func (h *Header) Head() *Header { return h }

// Metadata names the model that did the work.
type Metadata struct {
	ModelName     string `json:"model_name,omitempty"`
	ModelProvider string `json:"model_provider,omitempty"`
}

// Tags say on whose behalf work was done. Empty fields are unknown, or there is no such thing.
type Tags struct {
	SessionID string `json:"session_id,omitempty"`
	AgentID   string `json:"agent_id,omitempty"`  // the agent in charge; while a task is, the agent who waits for it
	Task      string `json:"task,omitempty"`      // the agent.Task in charge, by its name
	TurnID    string `json:"turn_id,omitempty"`   // of the user
	SpeechID  string `json:"speech_id,omitempty"` // of the agent
	Tool      string `json:"tool,omitempty"`      // whose function made the call
}

// Outcome says how the work of an event ended.
type Outcome string

// The outcomes.
const (
	Delivered   Outcome = "delivered"   // the result was used
	Interrupted Outcome = "interrupted" // cut short because somebody no longer wanted the rest
	Discarded   Outcome = "discarded"   // finished or not, nothing of it was used
	Failed      Outcome = "failed"      // ended with an error
)

// Source says where the numbers of an event come from.
type Source string

// The sources.
const (
	FromProvider Source = "provider"  // the provider stated them
	Measured     Source = "measured"  // counted by us, exactly, e.g. characters sent
	Estimated    Source = "estimated" // neither; an approximation
)

// NoOutput is the value of TTFT and TTFB when no first output was ever seen. It is written as -1
// and must not be averaged.
const NoOutput time.Duration = -1

// LLM is the account of one call of a language model, retries included.
type LLM struct {
	Header
	Duration            time.Duration // call to end of stream, failed attempts and waits included
	TTFT                time.Duration // call to first content or tool call; NoOutput if none
	Cancelled           bool          // the caller stopped it before its end
	CompletionTokens    int64
	PromptTokens        int64 // includes cached and cache-creation tokens
	PromptCachedTokens  int64 // cache reads
	CacheCreationTokens int64 // cache writes
	TotalTokens         int64
	TokensPerSecond     float64 // completion tokens per second of Duration; 0 without usage
}

// STT is the account of recognised audio.
type STT struct {
	Header
	Duration         time.Duration // batch: of the successful attempt; streaming: 0
	AudioDuration    time.Duration // audio submitted since the last event
	InputTokens      int64
	OutputTokens     int64
	Streamed         bool
	AcquireTime      time.Duration // only on the event of an acquisition
	ConnectionReused bool          // likewise
	Acquired         bool          // this event reports an acquisition (AcquireTime may be 0)
}

// TTS is the account of one synthesis: a request, or one segment of a stream.
type TTS struct {
	Header
	TTFB             time.Duration // first text sent to the provider to first audio; NoOutput if none
	Duration         time.Duration // the same origin to the end
	AudioDuration    time.Duration // audio received
	Cancelled        bool
	CharactersCount  int64 // code points of the text that was sent
	InputTokens      int64
	OutputTokens     int64
	Streamed         bool
	SegmentID        string
	AcquireTime      time.Duration // once per acquisition
	ConnectionReused bool
	Acquired         bool
}

// VAD is the account of about one second of voice activity detection.
type VAD struct {
	Header
	IdleTime               time.Duration // since the last speech
	InferenceDurationTotal time.Duration
	InferenceCount         int64
}

// EOU tells how long the end of a user turn took.
type EOU struct {
	Header
	EndOfUtteranceDelay      time.Duration // end of speech to decision; 0 if the end was not seen
	TranscriptionDelay       time.Duration // end of speech to final transcript; 0 if unknown
	OnUserTurnCompletedDelay time.Duration // time in the user's hook
}

// EOT is the account of one prediction of a turn detector.
type EOT struct {
	Header
	TotalDuration      time.Duration
	DetectionDelay     time.Duration
	PredictionDuration time.Duration
	NumRequests        int64
}

// Realtime is the account of one response of a realtime model, or of a connection's life.
type Realtime struct {
	Header
	Duration           time.Duration // created to done
	SessionDuration    time.Duration // for providers that bill connection time
	TTFT               time.Duration // created to first audio (or text) token; NoOutput if none
	Cancelled          bool
	InputTokens        int64
	OutputTokens       int64
	TotalTokens        int64
	TokensPerSecond    float64
	InputTokenDetails  InputTokenDetails
	OutputTokenDetails OutputTokenDetails
	AcquireTime        time.Duration
	ConnectionReused   bool
	Acquired           bool
}

// InputTokenDetails splits input tokens by modality.
type InputTokenDetails struct {
	AudioTokens         int64               `json:"audio_tokens"`
	TextTokens          int64               `json:"text_tokens"`
	ImageTokens         int64               `json:"image_tokens"`
	CachedTokens        int64               `json:"cached_tokens"`
	CachedTokensDetails *CachedTokenDetails `json:"cached_tokens_details,omitempty"`
}

// CachedTokenDetails splits cached input tokens by modality.
type CachedTokenDetails struct {
	AudioTokens int64 `json:"audio_tokens"`
	TextTokens  int64 `json:"text_tokens"`
	ImageTokens int64 `json:"image_tokens"`
}

// OutputTokenDetails splits output tokens by modality.
type OutputTokenDetails struct {
	TextTokens  int64 `json:"text_tokens"`
	AudioTokens int64 `json:"audio_tokens"`
	ImageTokens int64 `json:"image_tokens"`
}

// Interruption is the account of one overlap verdict.
type Interruption struct {
	Header
	TotalDuration      time.Duration
	PredictionDuration time.Duration
	DetectionDelay     time.Duration
	NumInterruptions   int64
	NumBackchannels    int64
	NumRequests        int64
}

// Avatar tells about an avatar worker.
type Avatar struct {
	Header
	PlaybackLatency  time.Duration
	SessionStartedAt time.Time // zero if unknown
	AvatarJoinedAt   time.Time // zero if unknown
}

// Connection is the account of one acquisition of a connection, dialled or reused. Realtime models tell also of
// those that did not come about, with the Outcome Failed and the time that was spent.
type Connection struct {
	Header
	Kind        string // "llm", "stt", "tts", "realtime"
	AcquireTime time.Duration
	WaitTime    time.Duration // waiting for a free place or somebody else's dial
	DNS         time.Duration
	Dial        time.Duration
	TLS         time.Duration
	Upgrade     time.Duration // websocket handshake
	Reused      bool
}

// Type implements Event.
func (*LLM) Type() string          { return "llm_metrics" }
func (*STT) Type() string          { return "stt_metrics" }
func (*TTS) Type() string          { return "tts_metrics" }
func (*VAD) Type() string          { return "vad_metrics" }
func (*EOU) Type() string          { return "eou_metrics" }
func (*EOT) Type() string          { return "eot_inference_metrics" }
func (*Realtime) Type() string     { return "realtime_model_metrics" }
func (*Interruption) Type() string { return "interruption_metrics" }
func (*Avatar) Type() string       { return "avatar_metrics" }
func (*Connection) Type() string   { return "connection_metrics" }
