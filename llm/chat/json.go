package chat

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/parley-go/parley/metrics"
)

// EncodeOptions say what Encode leaves out. The zero value leaves out nothing and can be read
// back without loss.
type EncodeOptions struct {
	ExcludeImages        bool
	ExcludeAudio         bool
	ExcludeTimestamps    bool
	ExcludeFunctionCalls bool // calls and their outputs
	ExcludeMetrics       bool
	ExcludeConfigUpdates bool
}

// Encode writes the conversation as JSON: {"items": [...]}, each item with its "type", times in
// Unix seconds, durations in seconds, unknown values left out. nil options leave out nothing.
func (c *Context) Encode(o *EncodeOptions) ([]byte, error) {
	if o == nil {
		o = &EncodeOptions{}
	}
	out := struct {
		Items []any `json:"items"`
	}{Items: make([]any, 0, c.Len())}
	for _, it := range c.list() {
		if w := o.wire(it); w != nil {
			out.Items = append(out.Items, w)
		}
	}
	return json.Marshal(out)
}

// MarshalJSON is Encode with nothing left out.
func (c *Context) MarshalJSON() ([]byte, error) { return c.Encode(nil) }

// UnmarshalJSON replaces the conversation by the one Encode wrote. Items without id or time get
// them as with Add.
func (c *Context) UnmarshalJSON(data []byte) error {
	var in struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("decode chat context: %w", err)
	}
	var fresh Context
	for i, raw := range in.Items {
		it, err := DecodeItem(raw)
		if err != nil {
			return fmt.Errorf("decode chat context: item %d: %w", i, err)
		}
		fresh.Add(it)
	}
	*c = fresh
	return nil
}

// DecodeItem reads one item of any type, as Encode writes it.
func DecodeItem(data []byte) (Item, error) {
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, err
	}
	var it Item
	switch head.Type {
	case "message":
		it = new(Message)
	case "function_call":
		it = new(FunctionCall)
	case "function_call_output":
		it = new(FunctionCallOutput)
	case "agent_handoff":
		it = new(Handoff)
	case "agent_config_update":
		it = new(ConfigUpdate)
	default:
		return nil, fmt.Errorf("unknown item type %q", head.Type)
	}
	return it, json.Unmarshal(data, it)
}

// The wire forms. Fields are in the order in which they are written.

type wireHead struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	CreatedAt *unixTime `json:"created_at,omitempty"`
}

type wireMessage struct {
	wireHead
	Role        Role              `json:"role"`
	Content     []json.RawMessage `json:"content"`
	Interrupted bool              `json:"interrupted"`
	Confidence  float64           `json:"transcript_confidence,omitempty"`
	Extra       map[string]any    `json:"extra"`
	Metrics     *wireMetrics      `json:"metrics,omitempty"`
}

type wireCall struct {
	wireHead
	CallID    string         `json:"call_id"`
	Name      string         `json:"name"`
	Arguments string         `json:"arguments"`
	GroupID   string         `json:"group_id,omitempty"`
	Extra     map[string]any `json:"extra"`
}

type wireOutput struct {
	wireHead
	CallID        string `json:"call_id"`
	Name          string `json:"name"`
	Output        string `json:"output"`
	IsError       bool   `json:"is_error"`
	ReplyRequired *bool  `json:"reply_required"`
}

type wireHandoff struct {
	wireHead
	OldAgentID string `json:"old_agent_id,omitempty"`
	NewAgentID string `json:"new_agent_id"`
}

type wireConfig struct {
	wireHead
	Instructions string   `json:"instructions,omitempty"`
	ToolsAdded   []string `json:"tools_added"`
	ToolsRemoved []string `json:"tools_removed"`
}

type wirePart struct {
	Type       string `json:"type"`
	Image      string `json:"image,omitempty"`
	MIMEType   string `json:"mime_type,omitempty"`
	Detail     string `json:"inference_detail,omitempty"`
	Audio      string `json:"audio,omitempty"` // base64 of 16 bit little-endian samples
	Rate       int    `json:"sample_rate,omitempty"`
	Transcript string `json:"transcript,omitempty"`
}

type wireMetrics struct {
	StartedSpeakingAt        *unixTime         `json:"started_speaking_at,omitempty"`
	StoppedSpeakingAt        *unixTime         `json:"stopped_speaking_at,omitempty"`
	TranscriptionDelay       *seconds          `json:"transcription_delay,omitempty"`
	EndOfTurnDelay           *seconds          `json:"end_of_turn_delay,omitempty"`
	OnUserTurnCompletedDelay *seconds          `json:"on_user_turn_completed_delay,omitempty"`
	LLMNodeTTFT              *seconds          `json:"llm_node_ttft,omitempty"`
	LLMNodeTPS               float64           `json:"llm_node_tps,omitempty"`
	LLMNodeTTFS              *seconds          `json:"llm_node_ttfs,omitempty"`
	TTSNodeTTFB              *seconds          `json:"tts_node_ttfb,omitempty"`
	PlaybackLatency          *seconds          `json:"playback_latency,omitempty"`
	E2ELatency               *seconds          `json:"e2e_latency,omitempty"`
	AudioPlayed              *seconds          `json:"audio_played,omitempty"`
	ProviderRequestIDs       []string          `json:"provider_request_ids,omitempty"`
	LLM                      *metrics.Metadata `json:"llm_metadata,omitempty"`
	STT                      *metrics.Metadata `json:"stt_metadata,omitempty"`
	TTS                      *metrics.Metadata `json:"tts_metadata,omitempty"`
}

// wire is the form in which an item is written, or nil if it is left out.
func (o *EncodeOptions) wire(it Item) any {
	h := it.Head()
	head := wireHead{ID: h.ID, Type: it.Type()}
	if !o.ExcludeTimestamps {
		head.CreatedAt = toUnix(h.CreatedAt)
	}
	switch it := it.(type) {
	case *Message:
		w := wireMessage{
			wireHead: head, Role: it.Role, Content: o.content(it.Content),
			Interrupted: it.Interrupted, Confidence: it.Confidence, Extra: orEmpty(it.Extra),
		}
		if !o.ExcludeMetrics {
			w.Metrics = it.Metrics.wire()
		}
		return w
	case *FunctionCall:
		if o.ExcludeFunctionCalls {
			return nil
		}
		return wireCall{head, it.CallID, it.Name, it.Arguments, it.GroupID, orEmpty(it.Extra)}
	case *FunctionCallOutput:
		if o.ExcludeFunctionCalls {
			return nil
		}
		reply := !it.NoReply
		return wireOutput{head, it.CallID, it.Name, it.Output, it.IsError, &reply}
	case *Handoff:
		return wireHandoff{head, it.OldAgentID, it.NewAgentID}
	case *ConfigUpdate:
		if o.ExcludeConfigUpdates {
			return nil
		}
		return wireConfig{head, it.Instructions, orNone(it.ToolsAdded), orNone(it.ToolsRemoved)}
	}
	return nil
}

func (o *EncodeOptions) content(parts []Part) []json.RawMessage {
	out := make([]json.RawMessage, 0, len(parts))
	for _, p := range parts {
		var v any
		switch p := p.(type) {
		case Text:
			v = string(p)
		case *Image:
			if o.ExcludeImages {
				continue
			}
			v = wirePart{Type: "image_content", Image: p.URL, MIMEType: p.MIMEType, Detail: p.Detail}
		case *Audio:
			if o.ExcludeAudio {
				continue
			}
			v = wirePart{Type: "audio_content", Audio: encodePCM(p.Data), Rate: p.Rate, Transcript: p.Transcript}
		default:
			continue
		}
		raw, err := json.Marshal(v)
		if err == nil { // strings and numbers always work
			out = append(out, raw)
		}
	}
	return out
}

func decodePart(raw json.RawMessage) (Part, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return Text(text), nil
	}
	var w wirePart
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, err
	}
	switch w.Type {
	case "image_content":
		return &Image{URL: w.Image, MIMEType: w.MIMEType, Detail: w.Detail}, nil
	case "audio_content":
		data, err := decodePCM(w.Audio)
		return &Audio{Data: data, Rate: w.Rate, Transcript: w.Transcript}, err
	}
	return nil, fmt.Errorf("unknown content type %q", w.Type)
}

func encodePCM(data []int16) string {
	b := make([]byte, 0, 2*len(data))
	for _, s := range data {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	return base64.StdEncoding.EncodeToString(b)
}

func decodePCM(text string) ([]int16, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	if len(b)%2 != 0 {
		return nil, errors.New("half an audio sample")
	}
	if len(b) == 0 {
		return nil, nil
	}
	data := make([]int16, len(b)/2)
	for i := range data {
		data[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return data, nil
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

func orNone(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func (m *TurnMetrics) wire() *wireMetrics {
	return &wireMetrics{
		StartedSpeakingAt:        toUnix(m.StartedSpeakingAt),
		StoppedSpeakingAt:        toUnix(m.StoppedSpeakingAt),
		TranscriptionDelay:       (*seconds)(m.TranscriptionDelay),
		EndOfTurnDelay:           (*seconds)(m.EndOfTurnDelay),
		OnUserTurnCompletedDelay: (*seconds)(m.OnUserTurnCompletedDelay),
		LLMNodeTTFT:              (*seconds)(m.LLMNodeTTFT),
		LLMNodeTPS:               m.LLMNodeTPS,
		LLMNodeTTFS:              (*seconds)(m.LLMNodeTTFS),
		TTSNodeTTFB:              (*seconds)(m.TTSNodeTTFB),
		PlaybackLatency:          (*seconds)(m.PlaybackLatency),
		E2ELatency:               (*seconds)(m.E2ELatency),
		AudioPlayed:              (*seconds)(m.AudioPlayed),
		ProviderRequestIDs:       m.ProviderRequestIDs,
		LLM:                      known(m.LLM),
		STT:                      known(m.STT),
		TTS:                      known(m.TTS),
	}
}

func known(m metrics.Metadata) *metrics.Metadata {
	if m == (metrics.Metadata{}) {
		return nil
	}
	return &m
}

func (w *wireMetrics) metrics() TurnMetrics {
	if w == nil {
		return TurnMetrics{}
	}
	m := TurnMetrics{
		StartedSpeakingAt:        w.StartedSpeakingAt.time(),
		StoppedSpeakingAt:        w.StoppedSpeakingAt.time(),
		TranscriptionDelay:       (*time.Duration)(w.TranscriptionDelay),
		EndOfTurnDelay:           (*time.Duration)(w.EndOfTurnDelay),
		OnUserTurnCompletedDelay: (*time.Duration)(w.OnUserTurnCompletedDelay),
		LLMNodeTTFT:              (*time.Duration)(w.LLMNodeTTFT),
		LLMNodeTPS:               w.LLMNodeTPS,
		LLMNodeTTFS:              (*time.Duration)(w.LLMNodeTTFS),
		TTSNodeTTFB:              (*time.Duration)(w.TTSNodeTTFB),
		PlaybackLatency:          (*time.Duration)(w.PlaybackLatency),
		E2ELatency:               (*time.Duration)(w.E2ELatency),
		AudioPlayed:              (*time.Duration)(w.AudioPlayed),
		ProviderRequestIDs:       w.ProviderRequestIDs,
	}
	for _, p := range []struct {
		from *metrics.Metadata
		to   *metrics.Metadata
	}{{w.LLM, &m.LLM}, {w.STT, &m.STT}, {w.TTS, &m.TTS}} {
		if p.from != nil {
			*p.to = *p.from
		}
	}
	return m
}
