package metrics

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
)

// ModelUsage is what was used of one model: an LLMUsage, TTSUsage, STTUsage, InterruptionUsage or
// EOTUsage. Its JSON form always has "type", "provider" and "model"; numbers that are zero are left
// out and durations are seconds.
type ModelUsage interface {
	// Key says which model the line is about.
	Key() Key
	fielder
}

// Key names a line of usage: lines are distinct in it and sorted by it.
type Key struct {
	Type     string // "llm_usage", "tts_usage", "stt_usage", "interruption_usage" or "eot_usage"
	Provider string // empty if unknown
	Model    string // empty if unknown
}

// Usage is what was used, one line per kind, provider and model. It is a copy: nothing changes it
// later and changing it changes nothing else. The order is that of the kinds llm, tts, stt,
// interruption, eot, and in each by provider, then model. A line that would be all zero is absent.
type Usage struct {
	Models []ModelUsage
}

// LLMUsage is the usage of a language model or of a realtime model. Input includes cached input,
// and the modalities are parts of the whole, known only for realtime models.
type LLMUsage struct {
	Provider, Model          string
	InputTokens              int64
	InputCachedTokens        int64 // read from a cache
	InputCacheCreationTokens int64 // written to a cache
	InputAudioTokens         int64
	InputCachedAudioTokens   int64
	InputTextTokens          int64
	InputCachedTextTokens    int64
	InputImageTokens         int64
	InputCachedImageTokens   int64
	OutputTokens             int64
	OutputAudioTokens        int64
	OutputTextTokens         int64
	SessionDuration          time.Duration // connection time, of providers that bill it
}

// TTSUsage is the usage of a speech synthesis model.
type TTSUsage struct {
	Provider, Model string
	InputTokens     int64
	OutputTokens    int64
	CharactersCount int64 // code points of the text that was sent
	AudioDuration   time.Duration
}

// STTUsage is the usage of a speech recognition model.
type STTUsage struct {
	Provider, Model string
	InputTokens     int64
	OutputTokens    int64
	AudioDuration   time.Duration // audio that was sent
}

// InterruptionUsage is the usage of an interruption detector.
type InterruptionUsage struct {
	Provider, Model string
	TotalRequests   int64
}

// EOTUsage is the usage of an end of turn detector.
type EOTUsage struct {
	Provider, Model string
	TotalRequests   int64
}

// The types of usage lines.
const (
	typeLLMUsage          = "llm_usage"
	typeTTSUsage          = "tts_usage"
	typeSTTUsage          = "stt_usage"
	typeInterruptionUsage = "interruption_usage"
	typeEOTUsage          = "eot_usage"
)

// LLM returns the line of a language or realtime model, and whether there is one.
func (u Usage) LLM(provider, model string) (LLMUsage, bool) {
	return find[LLMUsage](u, provider, model)
}

// TTS returns the line of a speech synthesis model, and whether there is one.
func (u Usage) TTS(provider, model string) (TTSUsage, bool) {
	return find[TTSUsage](u, provider, model)
}

// STT returns the line of a speech recognition model, and whether there is one.
func (u Usage) STT(provider, model string) (STTUsage, bool) {
	return find[STTUsage](u, provider, model)
}

// Interruption returns the line of an interruption detector, and whether there is one.
func (u Usage) Interruption(provider, model string) (InterruptionUsage, bool) {
	return find[InterruptionUsage](u, provider, model)
}

// EOT returns the line of an end of turn detector, and whether there is one.
func (u Usage) EOT(provider, model string) (EOTUsage, bool) {
	return find[EOTUsage](u, provider, model)
}

func find[T ModelUsage](u Usage, provider, model string) (T, bool) {
	for _, m := range u.Models {
		if t, ok := m.(T); ok {
			if k := t.Key(); k.Provider == provider && k.Model == model {
				return t, true
			}
		}
	}
	var none T
	return none, false
}

// MarshalJSON writes {"model_usage": [...]}.
func (u Usage) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, 64+192*len(u.Models)), `{"model_usage":[`...)
	for i, m := range u.Models {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendUsage(b, m)
	}
	return append(b, "]}"...), nil
}

func appendUsage(b []byte, m ModelUsage) []byte {
	return appendObject(b, m.Key().Type, true, m.fields)
}

// UnmarshalJSON reads what MarshalJSON writes. A line of unknown type is ErrUnknownType.
func (u *Usage) UnmarshalJSON(data []byte) error {
	var doc struct {
		Lines []json.RawMessage `json:"model_usage"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("metrics: decode usage: %w", err)
	}
	models, err := decodeLines(doc.Lines)
	if err != nil {
		return fmt.Errorf("metrics: decode usage: %w", err)
	}
	u.Models = models
	return nil
}

func decodeLines(lines []json.RawMessage) ([]ModelUsage, error) {
	models := make([]ModelUsage, 0, len(lines))
	for i, line := range lines {
		m, err := decodeUsage(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i, err)
		}
		models = append(models, m)
	}
	return models, nil
}

func decodeUsage(data []byte) (ModelUsage, error) {
	obj, typ, err := decodeObject(data)
	if err != nil {
		return nil, err
	}
	switch typ {
	case typeLLMUsage:
		return decodeLine[LLMUsage](obj)
	case typeTTSUsage:
		return decodeLine[TTSUsage](obj)
	case typeSTTUsage:
		return decodeLine[STTUsage](obj)
	case typeInterruptionUsage:
		return decodeLine[InterruptionUsage](obj)
	case typeEOTUsage:
		return decodeLine[EOTUsage](obj)
	}
	return nil, fmt.Errorf("%w %q", ErrUnknownType, typ)
}

// visitable is a usage line that can be filled.
type visitable[T any] interface {
	*T
	visit(visitor)
}

func decodeLine[T ModelUsage, P visitable[T]](obj map[string]json.RawMessage) (ModelUsage, error) {
	var line T
	d := decoder{obj: obj}
	P(&line).visit(&d)
	return line, d.err
}

// logValue is the group of the fields that are not zero.
func logValue(m ModelUsage) slog.Value {
	a := attrs{list: []slog.Attr{slog.String("type", m.Key().Type)}}
	m.fields(&a)
	return slog.GroupValue(a.list...)
}
