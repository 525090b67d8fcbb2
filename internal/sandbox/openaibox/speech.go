package openaibox

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// SpeechOptions are the options of Speech.
type SpeechOptions struct {
	Provider string // in the ledger; default "openai"
	Rate     int    // Hz; default 24000
	// Plain knows no stream_format and no instructions, as other services than OpenAI.
	Plain bool
}

type speechRequest struct {
	Model        string   `json:"model"`
	Voice        string   `json:"voice"`
	Input        string   `json:"input"`
	Format       string   `json:"response_format"`
	StreamFormat string   `json:"stream_format"`
	Instructions string   `json:"instructions"`
	Speed        *float64 `json:"speed"`
}

// Speech serves POST {prefix}/audio/speech. It speaks pcm and wav.
func Speech(s *sandbox.Server, prefix string, o SpeechOptions) {
	if o.Provider == "" {
		o.Provider = "openai"
	}
	if o.Rate == 0 {
		o.Rate = 24000
	}
	s.HandlePlain("GET "+prefix+"/models", models)
	s.Handle("POST "+prefix+"/audio/speech", func(c *sandbox.Call) {
		var r speechRequest
		if !c.Authorized("Authorization", "Bearer ") || !c.Read(&r) {
			return
		}
		old := strings.HasPrefix(r.Model, "tts-1")
		switch {
		case r.Model == "" || r.Voice == "" || r.Input == "":
			c.Refuse(400, "missing required parameter")
		case utf8.RuneCountInString(r.Input) > 4096:
			c.Refuse(400, "input is too long")
		case r.Format != "pcm" && r.Format != "wav":
			c.Refuse(400, "the sandbox speaks pcm and wav only")
		case o.Plain && (r.StreamFormat != "" || r.Instructions != ""), old && (r.StreamFormat == "sse" || r.Instructions != ""):
			c.Refuse(400, "unknown parameter for this model")
		case r.Speed != nil && (*r.Speed < 0.25 || *r.Speed > 4):
			c.Refuse(400, "speed is out of range")
		default:
			r.speak(c, o)
		}
	})
}

// audioTokens is what the speech of a text costs, of a voice that takes its time for each word.
func audioTokens(text string) (n int64) {
	for _, w := range strings.Fields(text) {
		n += 5 + int64(utf8.RuneCountInString(w))*3/5
	}
	return n
}

// speak sends the audio of each word in turn, and what it cost.
func (r *speechRequest) speak(c *sandbox.Call, o SpeechOptions) {
	characters := int64(utf8.RuneCountInString(r.Input))
	cost := func(tokens bool) *metrics.TTS {
		e := &metrics.TTS{CharactersCount: characters}
		if tokens {
			e.InputTokens, e.OutputTokens = count(r.Input), audioTokens(r.Input)
		}
		e.Metadata = metrics.Metadata{ModelName: r.Model, ModelProvider: o.Provider}
		return e
	}
	c.Ledger.Bill(cost(r.StreamFormat == "sse"))
	kind := "audio/" + r.Format
	if r.StreamFormat == "sse" {
		kind = "text/event-stream"
	}
	c.W.Header().Set("X-Request-Id", metrics.NewID("req_"))
	out := c.Stream(kind)
	pieces := [][]byte{}
	for _, w := range strings.Fields(r.Input) {
		pieces = append(pieces, sandbox.Voice(w, o.Rate))
	}
	if c.Fault == fault.Empty {
		pieces = nil
	}
	if r.Format == "wav" && len(pieces) > 0 {
		pieces[0] = append(wavHead(o.Rate), pieces[0]...)
	}
	for _, p := range pieces {
		if c.Fault == fault.Slow && !c.Pace(audio.Samples(len(p)/2).At(o.Rate)) {
			return
		}
		ok := false
		if kind == "text/event-stream" {
			ok = out.Event("", map[string]any{"type": "speech.audio.delta", "audio": base64.StdEncoding.EncodeToString(p)})
		} else {
			ok = out.Piece(p)
		}
		if !ok {
			return
		}
	}
	if kind != "text/event-stream" {
		return
	}
	done := map[string]any{"type": "speech.audio.done"}
	if c.Fault != fault.UsageMissing {
		e := cost(true)
		done["usage"] = map[string]any{"input_tokens": e.InputTokens, "output_tokens": e.OutputTokens, "total_tokens": e.InputTokens + e.OutputTokens}
		c.Ledger.State(e)
	}
	out.Event("", done)
	if c.Fault == fault.DoubleFinal || c.Fault == fault.UsageRepeated {
		out.Event("", done)
	}
}

// wavHead is the head of a file whose length is not known yet.
func wavHead(rate int) []byte {
	b := append([]byte("RIFF"), 0xff, 0xff, 0xff, 0xff)
	b = append(b, "WAVEfmt "...)
	le := binary.LittleEndian
	b = le.AppendUint32(b, 16)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint32(b, uint32(rate))
	b = le.AppendUint32(b, uint32(2*rate))
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 16)
	b = append(b, "LIST"...)
	b = le.AppendUint32(b, 4)
	b = append(b, "INFO"...)
	b = append(b, "data"...)
	return le.AppendUint32(b, math.MaxUint32)
}
