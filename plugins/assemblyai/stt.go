// Package assemblyai has AssemblyAI's live speech to text, which also says when a turn is over.
//
// Protocol: https://www.assemblyai.com/docs/streaming (version 3)
package assemblyai

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

const (
	defaultBase  = "https://streaming.assemblyai.com"
	rate         = 16000
	chunk        = 50 * time.Millisecond // AssemblyAI takes 50 ms to 1 s at once
	turnSilence  = 100 * time.Millisecond
	maxLanguages = 10
	maxContext   = 1750 // characters
)

// STTOptions are the options of NewSTT. The zero value, or nil, takes the key from ASSEMBLYAI_API_KEY.
// Options marked "pro" are for the models of the Universal-3 Pro family only, of which the default is one.
type STTOptions struct {
	APIKey  string // default ASSEMBLYAI_API_KEY
	BaseURL string // default ASSEMBLYAI_BASE_URL, else https://streaming.assemblyai.com; in the EU https://streaming.eu.assemblyai.com
	Model   string // default "universal-3-5-pro"; e.g. "universal-streaming-english"

	// Languages are those to expect, at most 10, or "multi" alone (pro). That of a single call
	// (stt.Options) goes before them. Unset: all that the model knows.
	Languages []string
	// DetectLanguage tells the language of each turn: default on for models that know several.
	DetectLanguage opt.Value[bool]

	// MinTurnSilence is the silence after which a turn ends when the model is confident: default 100 ms
	// for pro models without a Mode, so that a turn detector decides; else AssemblyAI's.
	MinTurnSilence time.Duration
	// MaxTurnSilence is the silence that ends a turn anyway: default MinTurnSilence for pro models,
	// else AssemblyAI's.
	MaxTurnSilence time.Duration
	// EndOfTurnConfidence is the confidence at which a turn is over, 0 to 1. Unset: AssemblyAI's.
	EndOfTurnConfidence opt.Value[float64]
	// Mode is "min_latency", "balanced" or "max_accuracy" (pro): it sets the silences unless they are set.
	Mode string
	// FormatTurns writes finals with punctuation and capitals, a little later. Pro models always do.
	FormatTurns bool
	// ContinuousPartials gives interim transcripts in long turns about every 3 s (pro).
	ContinuousPartials opt.Value[bool]
	// InterruptionDelay is when the first interim transcript comes, up to 1 s (pro). Unset: AssemblyAI's.
	InterruptionDelay opt.Value[time.Duration]
	// VADThreshold is how loud speech must be, 0 to 1. Unset: AssemblyAI's.
	VADThreshold opt.Value[float64]

	Keyterms      []string       // words to expect; those of a single call (stt.Options) are added
	Prompt        string         // what the conversation is about (pro)
	AgentContext  string         // what the agent said; the last 1750 characters count (pro)
	PreviousTurns opt.Value[int] // how many turns are remembered as context, up to 100; 0 for none (pro)
	Domain        string         // e.g. "medical-v1"

	Diarize     bool // tell speakers apart: alternatives have a SpeakerID
	MaxSpeakers int  // 0: unknown

	VoiceFocus          string             // "near-field" or "far-field": suppress what is not the voice (pro)
	VoiceFocusThreshold opt.Value[float64] // how much, 0 to 1 (pro)

	// Front are retries and timeouts; nil for the defaults.
	Front *stt.ModelOptions
}

// NewSTT returns a model that transcribes live audio over a websocket. A missing key is an error that
// names the environment variable.
func NewSTT(o *STTOptions) (*stt.Model, error) {
	r, err := newSTT(o)
	if err != nil {
		return nil, err
	}
	return stt.New(r, r.o.Front), nil
}

// recognizer implements driver.STT.
type recognizer struct {
	o    STTOptions
	peer wire.Peer
	base *url.URL
	head http.Header
	pro  bool
}

func newSTT(o *STTOptions) (*recognizer, error) {
	r := &recognizer{}
	if o != nil {
		r.o = *o
	}
	r.o.Model = cmp.Or(r.o.Model, "universal-3-5-pro")
	r.pro = strings.HasPrefix(r.o.Model, "universal-3") || strings.HasPrefix(r.o.Model, "u3-")
	key, err := wire.Key("assemblyai", "STTOptions.APIKey", r.o.APIKey, "ASSEMBLYAI_API_KEY")
	if err != nil {
		return nil, err
	}
	if r.base, err = wire.Base("assemblyai", r.o.BaseURL, defaultBase, "ASSEMBLYAI_BASE_URL"); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	r.head = http.Header{"Authorization": {key}}
	r.peer = wire.Peer{
		Info: model.Info{Label: "assemblyai.STT", Provider: "assemblyai", Model: r.o.Model}, Kind: "stt", Secrets: []string{key},
	}
	return r, nil
}

// check refuses options that the provider would refuse.
func (r *recognizer) check() error {
	switch {
	case len(r.o.Languages) > maxLanguages:
		return fmt.Errorf("assemblyai: %d languages: at most %d are allowed", len(r.o.Languages), maxLanguages)
	case len(r.o.Languages) > 1 && slices.Contains(r.o.Languages, "multi"):
		return errors.New(`assemblyai: the language "multi" stands alone`)
	case r.pro:
		return nil
	}
	for name, set := range map[string]bool{
		"Languages": len(r.o.Languages) > 0, "Mode": r.o.Mode != "", "ContinuousPartials": !r.o.ContinuousPartials.IsUnset(),
		"InterruptionDelay": !r.o.InterruptionDelay.IsUnset(), "Prompt": r.o.Prompt != "", "AgentContext": r.o.AgentContext != "",
		"PreviousTurns": !r.o.PreviousTurns.IsUnset(), "VoiceFocus": r.o.VoiceFocus != "",
		"VoiceFocusThreshold": !r.o.VoiceFocusThreshold.IsUnset(),
	} {
		if set {
			return fmt.Errorf("assemblyai: STTOptions.%s is for the models of the Universal-3 Pro family, and not for %q", name, r.o.Model)
		}
	}
	return nil
}

// Info implements driver.STT.
func (r *recognizer) Info() model.Info { return r.peer.Info }

// Capabilities implements driver.STT.
func (r *recognizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		InterimResults: true, Diarization: r.o.Diarize, AlignedTranscript: "word", Keyterms: true, SampleRate: rate,
	}
}

// Open implements driver.Streamer.
func (r *recognizer) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	s, err := wire.Single(ctx, &r.peer, wire.SocketOptions{
		URL: wire.JoinSocket(r.base, "/v3/ws", r.query(o)), Header: r.head, Reason: wire.Reason(r.refused),
	})
	if err != nil {
		return nil, err
	}
	t := &stream{Socket: s, r: r, formatted: r.o.FormatTurns, turn: -1}
	if languages := r.languages(o); len(languages) == 1 {
		t.language = languages[0]
	} else if !r.pro && !strings.Contains(r.o.Model, "multilingual") {
		t.language = "en"
	}
	t.chunks.Size, t.chunks.Rate = 2*audio.SamplesIn(chunk, rate), rate
	return t, nil
}

// languages are those to expect, without their regions.
func (r *recognizer) languages(o driver.Options) (codes []string) {
	if !r.pro {
		return nil
	}
	list := r.o.Languages
	if o.Language != "" {
		list = []string{o.Language}
	}
	for _, l := range list {
		l, _, _ = strings.Cut(l, "-")
		if !slices.Contains(codes, l) {
			codes = append(codes, l)
		}
	}
	return codes
}

func (r *recognizer) query(o driver.Options) url.Values {
	q := url.Values{"sample_rate": {strconv.Itoa(rate)}, "encoding": {"pcm_s16le"}, "speech_model": {r.o.Model}}
	several := r.pro || strings.Contains(r.o.Model, "multilingual")
	q.Set("language_detection", strconv.FormatBool(r.o.DetectLanguage.Default(several)))
	low, high := r.o.MinTurnSilence, r.o.MaxTurnSilence
	if r.pro {
		if low == 0 && r.o.Mode == "" {
			low = turnSilence
		}
		high = cmp.Or(high, low)
	}
	for name, d := range map[string]time.Duration{"min_turn_silence": low, "max_turn_silence": high} {
		if d > 0 {
			q.Set(name, strconv.FormatInt(d.Milliseconds(), 10))
		}
	}
	if d, ok := r.o.InterruptionDelay.Get(); ok {
		q.Set("interruption_delay", strconv.FormatInt(d.Milliseconds(), 10))
	}
	for name, v := range map[string]opt.Value[float64]{
		"end_of_turn_confidence_threshold": r.o.EndOfTurnConfidence, "vad_threshold": r.o.VADThreshold,
		"voice_focus_threshold": r.o.VoiceFocusThreshold,
	} {
		if x, ok := v.Get(); ok {
			q.Set(name, strconv.FormatFloat(x, 'g', -1, 64))
		}
	}
	if v := r.o.ContinuousPartials; !v.IsUnset() {
		q.Set("continuous_partials", strconv.FormatBool(v.Default(false)))
	}
	if n, ok := r.o.PreviousTurns.Get(); ok {
		q.Set("previous_context_n_turns", strconv.Itoa(n))
	}
	if r.o.FormatTurns {
		q.Set("format_turns", "true")
	}
	if r.o.Diarize {
		q.Set("speaker_labels", "true")
	}
	if r.o.MaxSpeakers > 0 {
		q.Set("max_speakers", strconv.Itoa(r.o.MaxSpeakers))
	}
	for name, v := range map[string]string{
		"mode": r.o.Mode, "prompt": r.o.Prompt, "agent_context": tail(r.o.AgentContext, maxContext), "domain": r.o.Domain,
		"voice_focus":     r.o.VoiceFocus,
		"keyterms_prompt": list(append(append([]string{}, r.o.Keyterms...), o.Keyterms...)), "language_codes": list(r.languages(o)),
	} {
		if v != "" {
			q.Set(name, v)
		}
	}
	return q
}

// list is a list as a parameter of the query; "" for an empty one.
func list(l []string) string {
	if len(l) == 0 {
		return ""
	}
	b, _ := json.Marshal(l) // strings always can be
	return string(b)
}

// tail is the last n characters of s.
func tail(s string, n int) string {
	for over := utf8.RuneCountInString(s) - n; over > 0; over-- {
		_, size := utf8.DecodeRuneInString(s)
		s = s[size:]
	}
	return s
}
