package google

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/wire"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

const (
	defaultLive       = "gemini-2.5-flash-native-audio-preview-12-2025"
	defaultLiveVertex = "gemini-live-2.5-flash-native-audio"
	defaultVoice      = "Puck"
)

// RealtimeOptions are the options of NewRealtime. The zero value, or nil, is Gemini Live with the key of AI
// Studio in GOOGLE_API_KEY, or on Vertex AI if GOOGLE_GENAI_USE_VERTEXAI is true, which finds the user's turns
// itself.
type RealtimeOptions struct {
	APIKey string // of AI Studio: default GOOGLE_API_KEY, else GEMINI_API_KEY
	// BaseURL: default GOOGLE_GEMINI_BASE_URL, or GOOGLE_VERTEX_BASE_URL on Vertex AI, else Google's.
	BaseURL string
	// Model: default gemini-2.5-flash-native-audio-preview-12-2025; on Vertex AI
	// gemini-live-2.5-flash-native-audio. Those of Gemini 3 take changes of instructions and context over a new
	// connection only, which is made when it is quiet.
	Model string

	VertexAI    opt.Value[bool] // default GOOGLE_GENAI_USE_VERTEXAI
	Project     string          // on Vertex AI: default GOOGLE_CLOUD_PROJECT, else that of the credentials
	Location    string          // on Vertex AI: default GOOGLE_CLOUD_LOCATION, else us-central1
	Credentials Credentials     // on Vertex AI

	Voice    string // default Puck
	Language string // of the speech, e.g. "de-DE"; "" leaves it to the model
	// Turns is how Google finds the user's turns; off: the session does, or the application. Once it is set, a
	// session does not turn it off for the sake of its own turn detection.
	Turns opt.Value[RealtimeTurns]
	// Transcription writes down what the user says; off: nobody does. Google does not bill it.
	Transcription opt.Value[RealtimeTranscription]

	Temperature      opt.Value[float64] // 0 to 2; unset: the provider's
	TopP             opt.Value[float64] // 0 to 1; unset: the provider's
	TopK             opt.Value[int]     // unset: the provider's
	PresencePenalty  opt.Value[float64] // -2 to 2
	FrequencyPenalty opt.Value[float64] // -2 to 2
	MaxTokens        int                // of an answer; 0: the provider's

	// ThinkingBudget is how many tokens the model may think, for Gemini 2.5: 0 for not at all, -1 for as
	// many as it wants. Unset: the provider's. Off is 0.
	ThinkingBudget opt.Value[int]
	// ThinkingLevel is "minimal", "low", "medium" or "high", for Gemini 3; "": the provider's.
	ThinkingLevel string

	MediaResolution string // of pictures, e.g. "MEDIA_RESOLUTION_LOW"; "": the provider's
	// AffectiveDialog has the voice suit the user's mood, ProactiveAudio leaves it to the model whether it
	// answers at all. Both are for native audio models of Gemini 2.5.
	AffectiveDialog, ProactiveAudio bool
	// Compression drops the beginning of long conversations, which otherwise end after 15 min. Its zero value is
	// Google's default; off: they end.
	Compression opt.Value[RealtimeCompression]
	// ToolBehavior is "NON_BLOCKING" for models that are to go on while tools run, "BLOCKING" for others; "":
	// the model's. ToolScheduling says what becomes of the output of a tool that did not block: "WHEN_IDLE",
	// "INTERRUPT" or "SILENT"; "": Google's, WHEN_IDLE. Vertex AI has neither.
	ToolBehavior, ToolScheduling string
	SafetySettings               []SafetySetting

	// Extra are further fields of the setup message, merged as LLMOptions.Extra is.
	Extra map[string]any
	// Header is added to the request of every connection.
	Header http.Header
	// Front are retries and timeouts; nil for the defaults.
	Front *realtime.ModelOptions
}

// RealtimeTurns is how Google finds the user's turns. Zero values are Google's defaults.
type RealtimeTurns struct {
	// Start and End are "high" or "low": how readily speech is taken to begin, and to be over.
	Start, End string
	Prefix     time.Duration // of speech before it counts
	Silence    time.Duration // that ends a turn
	// NoInterruption lets the model finish what it says while the user speaks.
	NoInterruption bool
	AllInput       bool // silence between the user's turns is part of them
}

// RealtimeTranscription is how the user's words are written down.
type RealtimeTranscription struct {
	Languages []string // that are spoken, e.g. "de-DE"; empty: any
}

// RealtimeCompression is how a conversation is shortened. Zero values are Google's defaults.
type RealtimeCompression struct {
	Trigger int // tokens from which on it is done
	Target  int // tokens that are kept; default half of Trigger
}

// NewRealtime returns a Gemini model that hears and speaks. A missing key, or missing credentials, are an error
// that names the environment variable.
//
// The model has no way to stop an answer but the user's voice: what is interrupted otherwise goes on, unheard,
// until the next request. It remembers all that it said, heard or not, and what is added comes last. Tools,
// whether they may be called, and on Vertex AI instructions, are changed by a new connection, which resumes the
// conversation. A text that is asked for instead of speech is the transcript of speech, and costs as much.
//
// Usage is stated for turns of Google's, mostly at their end. At AI Studio a turn goes on behind the outputs of
// tools: what an answer with calls costs is part of what the next one does.
//
// Protocol: https://ai.google.dev/api/live
func NewRealtime(o *RealtimeOptions) (*realtime.Model, error) {
	d, err := newLive(o)
	if err != nil {
		return nil, err
	}
	return realtime.New(d, d.o.Front), nil
}

// liveModel implements driver.Realtime.
type liveModel struct {
	*place
	o     RealtimeOptions
	fixed bool // instructions and context cannot be changed on a connection
	path  string
}

func newLive(o *RealtimeOptions) (*liveModel, error) {
	d := &liveModel{}
	if o != nil {
		d.o = *o
	}
	if d.o.ThinkingLevel != "" && !d.o.ThinkingBudget.IsUnset() {
		return nil, errThinking
	}
	vertex, std := onVertex(d.o.VertexAI), defaultLive
	if vertex {
		std = defaultLiveVertex
	}
	var err error
	d.place, err = access{
		options: "RealtimeOptions", kind: "realtime", label: "google.Realtime", key: d.o.APIKey, base: d.o.BaseURL,
		model: cmp.Or(d.o.Model, std), vertex: vertex, project: d.o.Project, location: d.o.Location,
		credentials: d.o.Credentials, header: d.o.Header,
	}.place()
	if err != nil {
		return nil, err
	}
	d.header.Del("Content-Type")
	d.fixed = generation(d.name) >= 3
	switch {
	case vertex:
		d.path = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
	case d.o.AffectiveDialog || d.o.ProactiveAudio:
		d.path = "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContent"
	default:
		d.path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
	}
	return d, nil
}

// Info implements driver.Realtime.
func (d *liveModel) Info() model.Info { return d.client.Info }

// Capabilities implements driver.Realtime.
func (d *liveModel) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		InputRate: liveInputRate, InputChunk: 50 * time.Millisecond, OutputRate: liveOutputRate,
		AudioOutput: true, ServerTurns: !d.o.Turns.IsOff(), ClientTurns: d.o.Turns.IsOff() || d.o.Turns.IsUnset(),
		UserTranscription: !d.o.Transcription.IsOff(), AutoToolReply: true, BilledByTokens: true, MutableContext: !d.fixed,
		MutableInstructions: !d.fixed && d.tokens == nil, // Vertex AI takes them for something that the model said
	}
}

// Connect implements driver.Realtime.
func (d *liveModel) Connect(ctx context.Context, s *driver.Setup) (driver.Conn, error) {
	client, h, err := d.authorized(ctx)
	if err != nil {
		return nil, err
	}
	ws, err := wire.Single(ctx, &client.Peer, wire.SocketOptions{URL: wire.JoinSocket(d.base, d.path, nil), Header: h})
	if err != nil {
		return nil, err
	}
	c := newLiveConn(d, &client.Peer, ws, s)
	if err := c.connect(ctx, s); err != nil {
		_ = ws.Close()
		return nil, err
	}
	return c, nil
}

// setup is the first message of a connection. later says that turns of the past will follow.
func (d *liveModel) setup(s *driver.Setup, handle string, later bool) map[string]any {
	m := map[string]any{
		"model": d.name, "generationConfig": d.config(), "realtimeInputConfig": d.finder(s.ClientTurns),
		"outputAudioTranscription": map[string]any{}, "sessionResumption": map[string]any{},
	}
	if handle != "" {
		m["sessionResumption"] = map[string]any{"handle": handle}
	}
	if strings.TrimSpace(s.Instructions) != "" {
		m["systemInstruction"] = map[string]any{"parts": []*part{{Text: s.Instructions}}}
	}
	if list := d.declarations(s.Tools, s.ToolChoice); len(list) > 0 {
		m["tools"] = []any{map[string]any{"functionDeclarations": list}}
	}
	if !d.o.Transcription.IsOff() {
		t := map[string]any{}
		if l := d.o.Transcription.Default(RealtimeTranscription{}).Languages; len(l) > 0 {
			t["languageCodes"] = l
		}
		m["inputAudioTranscription"] = t
	}
	if !d.o.Compression.IsOff() {
		m["contextWindowCompression"] = d.compression()
	}
	if d.o.ProactiveAudio {
		m["proactivity"] = map[string]any{"proactiveAudio": true}
	}
	if later && d.fixed {
		m["historyConfig"] = map[string]any{"initialHistoryInClientContent": true}
	}
	if len(d.o.SafetySettings) > 0 {
		m["safetySettings"] = d.o.SafetySettings
	}
	merge(m, d.o.Extra)
	return map[string]any{"setup": m}
}

// config is the generationConfig.
func (d *liveModel) config() map[string]any {
	speech := map[string]any{"voiceConfig": map[string]any{
		"prebuiltVoiceConfig": map[string]any{"voiceName": cmp.Or(d.o.Voice, defaultVoice)}}}
	if d.o.Language != "" {
		speech["languageCode"] = d.o.Language
	}
	c := map[string]any{"responseModalities": []string{"AUDIO"}, "speechConfig": speech}
	put(c, "temperature", d.o.Temperature)
	put(c, "topP", d.o.TopP)
	put(c, "topK", d.o.TopK)
	put(c, "presencePenalty", d.o.PresencePenalty)
	put(c, "frequencyPenalty", d.o.FrequencyPenalty)
	if d.o.MaxTokens > 0 {
		c["maxOutputTokens"] = d.o.MaxTokens
	}
	if d.o.MediaResolution != "" {
		c["mediaResolution"] = d.o.MediaResolution
	}
	if d.o.AffectiveDialog {
		c["enableAffectiveDialog"] = true
	}
	switch {
	case d.o.ThinkingLevel != "":
		c["thinkingConfig"] = map[string]any{"thinkingLevel": strings.ToUpper(d.o.ThinkingLevel)}
	case !d.o.ThinkingBudget.IsUnset():
		c["thinkingConfig"] = map[string]any{"thinkingBudget": d.o.ThinkingBudget.Default(0)}
	}
	return c
}

// finder is what finds the user's turns, and what they do.
func (d *liveModel) finder(manual bool) map[string]any {
	t := d.o.Turns.Default(RealtimeTurns{})
	detection := map[string]any{}
	if manual {
		detection["disabled"] = true
	} else {
		if t.Start != "" {
			detection["startOfSpeechSensitivity"] = "START_SENSITIVITY_" + strings.ToUpper(t.Start)
		}
		if t.End != "" {
			detection["endOfSpeechSensitivity"] = "END_SENSITIVITY_" + strings.ToUpper(t.End)
		}
		if t.Prefix > 0 {
			detection["prefixPaddingMs"] = t.Prefix.Milliseconds()
		}
		if t.Silence > 0 {
			detection["silenceDurationMs"] = t.Silence.Milliseconds()
		}
	}
	m := map[string]any{"automaticActivityDetection": detection}
	if t.NoInterruption {
		m["activityHandling"] = "NO_INTERRUPTION"
	}
	if t.AllInput {
		m["turnCoverage"] = "TURN_INCLUDES_ALL_INPUT"
	}
	return m
}

func (d *liveModel) compression() map[string]any {
	c := d.o.Compression.Default(RealtimeCompression{})
	window := map[string]any{}
	if c.Target > 0 {
		window["targetTokens"] = c.Target
	}
	m := map[string]any{"slidingWindow": window}
	if c.Trigger > 0 {
		m["triggerTokens"] = c.Trigger
	}
	return m
}

// liveDeclaration is a function as it is declared to a live model.
type liveDeclaration struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  map[string]any  `json:"parameters,omitempty"`
	Schema      json.RawMessage `json:"parametersJsonSchema,omitempty"`
	Behavior    string          `json:"behavior,omitempty"`
}

// declarations are the functions that may be called. The protocol has no tool choice, so those that may not be
// are not declared; that one must be called cannot be said.
func (d *liveModel) declarations(specs []llm.ToolSpec, choice llm.ToolChoice) (list []liveDeclaration) {
	for i, t := range declarations(specs) {
		if choice.Mode == llm.ToolNone || choice.Mode == llm.ToolFunction && choice.Function != t.Name {
			continue
		}
		x := liveDeclaration{Name: t.Name, Description: t.Description, Behavior: d.o.ToolBehavior}
		if d.fixed {
			x.Schema = t.Parameters
		} else {
			x.Parameters = openAPI(specs[i].Parameters) // models before Gemini 3 call with nothing otherwise
		}
		list = append(list, x)
	}
	return list
}
