package google

import (
	"encoding/json"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime/driver"
)

// liveUsage is what a turn of the provider's costs, from its beginning on. Vertex AI has other names for some.
type liveUsage struct {
	Prompt     int64 `json:"promptTokenCount"` // with what came from the cache
	Cached     int64 `json:"cachedContentTokenCount"`
	ToolUse    int64 `json:"toolUsePromptTokenCount"` // outputs of tools
	Response   int64 `json:"responseTokenCount"`
	Candidates int64 `json:"candidatesTokenCount"`
	Thoughts   int64 `json:"thoughtsTokenCount"`
	Total      int64 `json:"totalTokenCount"`

	PromptDetails    modalities `json:"promptTokensDetails"`
	CacheDetails     modalities `json:"cacheTokensDetails"`
	ToolUseDetails   modalities `json:"toolUsePromptTokensDetails"`
	ResponseDetails  modalities `json:"responseTokensDetails"`
	CandidateDetails modalities `json:"candidatesTokensDetails"`

	raw json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler.
func (u *liveUsage) UnmarshalJSON(b []byte) error {
	type plain liveUsage
	u.raw = append(json.RawMessage(nil), b...)
	return json.Unmarshal(b, (*plain)(u))
}

type modalities []struct {
	Modality string `json:"modality"`
	Tokens   int64  `json:"tokenCount"`
}

// split parts tokens; documents and what is not known are in no part.
func (m modalities) split() (text, audio, image int64) {
	for _, x := range m {
		switch x.Modality {
		case "TEXT":
			text += x.Tokens
		case "AUDIO":
			audio += x.Tokens
		case "IMAGE", "VIDEO":
			image += x.Tokens
		}
	}
	return text, audio, image
}

// driver is the normal form: thoughts are output and text, and outputs of tools are input.
func (u *liveUsage) driver() driver.Usage {
	d := driver.Usage{InputTokens: u.Prompt + u.ToolUse, OutputTokens: u.Response + u.Candidates + u.Thoughts, Raw: u.raw}
	d.TotalTokens = max(u.Total, d.InputTokens+d.OutputTokens) // the provider's leaves thoughts out, sometimes
	in, out := &d.Input, &d.Output
	in.TextTokens, in.AudioTokens, in.ImageTokens = append(u.PromptDetails[:len(u.PromptDetails):len(u.PromptDetails)], u.ToolUseDetails...).split()
	out.TextTokens, out.AudioTokens, out.ImageTokens = append(u.ResponseDetails[:len(u.ResponseDetails):len(u.ResponseDetails)], u.CandidateDetails...).split()
	out.TextTokens += u.Thoughts
	text, audio, image := u.CacheDetails.split()
	if in.CachedTokens = u.Cached; in.CachedTokens == 0 {
		in.CachedTokens = text + audio + image
	}
	if text+audio+image > 0 {
		in.CachedTokensDetails = &metrics.CachedTokenDetails{TextTokens: text, AudioTokens: audio, ImageTokens: image}
	}
	return d
}

// turnCost knows what was told of the cost of the provider's turn, which states it from the turn's beginning on,
// mostly with its end: the last statement counts.
type turnCost struct {
	told *driver.Usage // of this turn, or of the last one while there is none
}

// turn begins a turn.
func (t *turnCost) turn() { t.told = nil }

// state is what u adds to what was told; nil for nothing.
func (t *turnCost) state(u driver.Usage) *driver.Usage {
	was := t.told
	t.told = &u
	if was == nil {
		return &u
	}
	more := minus(u, *was)
	if same(more, driver.Usage{}) {
		return nil
	}
	return &more
}

func same(a, b driver.Usage) bool {
	return a.InputTokens == b.InputTokens && a.OutputTokens == b.OutputTokens && a.TotalTokens == b.TotalTokens &&
		a.Input.CachedTokens == b.Input.CachedTokens
}

func plus(a, b driver.Usage) driver.Usage { return each(a, b, func(x, y int64) int64 { return x + y }) }

// minus is what a has more than b.
func minus(a, b driver.Usage) driver.Usage {
	return each(a, b, func(x, y int64) int64 { return max(x-y, 0) })
}

// each joins all figures of a and b.
func each(a, b driver.Usage, f func(x, y int64) int64) driver.Usage {
	join := func(x *int64, y int64) { *x = f(*x, y) }
	join(&a.InputTokens, b.InputTokens)
	join(&a.OutputTokens, b.OutputTokens)
	join(&a.TotalTokens, b.TotalTokens)
	join(&a.Input.TextTokens, b.Input.TextTokens)
	join(&a.Input.AudioTokens, b.Input.AudioTokens)
	join(&a.Input.ImageTokens, b.Input.ImageTokens)
	join(&a.Input.CachedTokens, b.Input.CachedTokens)
	join(&a.Output.TextTokens, b.Output.TextTokens)
	join(&a.Output.AudioTokens, b.Output.AudioTokens)
	join(&a.Output.ImageTokens, b.Output.ImageTokens)
	if a.Input.CachedTokensDetails != nil || b.Input.CachedTokensDetails != nil {
		var x, y metrics.CachedTokenDetails
		if a.Input.CachedTokensDetails != nil {
			x = *a.Input.CachedTokensDetails
		}
		if b.Input.CachedTokensDetails != nil {
			y = *b.Input.CachedTokensDetails
		}
		join(&x.TextTokens, y.TextTokens)
		join(&x.AudioTokens, y.AudioTokens)
		join(&x.ImageTokens, y.ImageTokens)
		a.Input.CachedTokensDetails = &x
	}
	return a
}
