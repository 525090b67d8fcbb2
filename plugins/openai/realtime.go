package openai

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

// RealtimeOptions are the options of NewRealtime. The zero value, or nil, is OpenAI's model with the key in
// OPENAI_API_KEY, which finds the user's turns itself and answers in speech.
type RealtimeOptions struct {
	// Service is who is asked: default OpenAI; Azure and XAI speak the same protocol. Others that do are asked by
	// BaseURL, and are named by its host.
	Service Service
	// APIKey: default the service's environment variable, e.g. OPENAI_API_KEY or XAI_API_KEY.
	APIKey string
	// ADToken is for Azure: a token of Entra ID instead of a key; default AZURE_OPENAI_AD_TOKEN.
	ADToken string
	// BaseURL: default the service's environment variable, e.g. OPENAI_BASE_URL, else its address.
	BaseURL string
	// Model: default gpt-realtime; of xAI grok-voice-latest. Azure has the deployment here.
	Model string
	// APIVersion is for Azure: the version of its older form of the protocol, e.g. 2025-04-01-preview; "" is the
	// present form. Only the older one has Deployment, default Model.
	APIVersion, Deployment string
	// Voice: default marin; of xAI Ara.
	Voice string
	// Turns is how the service finds the user's turns; off: the session does, or the application, which xAI has no
	// way for. Once it is set, a session does not turn it off for the sake of its own turn detection.
	Turns opt.Value[RealtimeTurns]
	// Transcription is how the user's words are written down, a model of its own; off: they are not.
	Transcription opt.Value[RealtimeTranscription]
	// NoiseReduction is "near_field" for headsets, or "far_field"; "" for none.
	NoiseReduction string
	// MaxTokens limits an answer, which then ends incomplete: 1 to 4096; 0 does not.
	MaxTokens int
	// Speed of the speech, 0.25 to 1.5; unset: the service's.
	Speed opt.Value[float64]
	// Reasoning is how much a model that can think does so: "minimal" to "high"; "" leaves it to the service.
	Reasoning string
	// Truncation is what the service does when the conversation grows too long: "auto" or "disabled"; "" leaves
	// it to the service.
	Truncation string
	// MaxAge is how old a connection becomes before a quiet moment is used for a new one: default 20 min; off
	// never (the service ends them after 60 min). xAI has no limit.
	MaxAge opt.Value[time.Duration]
	// ProviderTools are tools that the service runs by itself, as it wants them described, e.g. of xAI
	// {"type": "web_search"}.
	ProviderTools []map[string]any
	// Extra are more fields of the service's session object, e.g. "tracing": "auto", or "include":
	// ["item.input_audio_transcription.logprobs"] to know how sure the transcripts are.
	Extra map[string]any
	// Header is added to the request of every connection.
	Header http.Header
	// Front are retries and timeouts; nil for the defaults.
	Front *realtime.ModelOptions
}

// RealtimeTurns is how the service finds the user's turns. Zero values are the service's defaults.
type RealtimeTurns struct {
	// Type is "semantic_vad" (default of OpenAI) by what is said, or "server_vad" (default of the others) by silence.
	Type      string
	Eagerness string        // of semantic_vad: "low", "medium" (default), "high"
	Threshold float64       // of server_vad: 0 to 1, default 0.5
	Prefix    time.Duration // of server_vad: audio before the speech that belongs to it, default 300 ms
	Silence   time.Duration // of server_vad: that ends a turn, default 200 ms
}

// RealtimeTranscription is how the user's words are written down.
type RealtimeTranscription struct {
	Model    string // default gpt-4o-mini-transcribe; Azure's whisper-1; xAI's grok-transcribe
	Language string // e.g. "de"; "" leaves it to the model
	Prompt   string // text like that which is said, for names and spelling
}

// NewRealtime returns a model that hears and speaks. A missing key is an error that names the environment
// variable.
//
// Protocol: https://platform.openai.com/docs/guides/realtime
func NewRealtime(o *RealtimeOptions) (*realtime.Model, error) {
	d, err := newRealtime(o)
	if err != nil {
		return nil, err
	}
	return realtime.New(d, d.o.Front), nil
}

// converser implements driver.Realtime.
type converser struct {
	*endpoint
	o      RealtimeOptions
	url    string
	flat   bool           // the older form of the protocol
	turns  map[string]any // what finds the turns; nil: the caller does
	script map[string]any // what transcribes; nil for nobody
}

func newRealtime(o *RealtimeOptions) (*converser, error) {
	d := &converser{}
	if o != nil {
		d.o = *o
	}
	d.flat = d.o.Service == Azure && d.o.APIVersion != ""
	if d.o.Service == XAI && d.o.Turns.IsOff() {
		return nil, errors.New("openai: xAI finds the turns itself: RealtimeOptions.Turns cannot be off")
	}
	var err error
	d.endpoint, err = account{
		kind: "realtime", label: "openai.Realtime", options: "RealtimeOptions", service: d.o.Service,
		key: d.o.APIKey, token: d.o.ADToken, base: d.o.BaseURL, model: d.o.Model, std: func(p preset) string { return p.realtime },
		deployment: d.o.Deployment, azureVersion: d.o.APIVersion, azureV1: !d.flat, header: d.o.Header,
	}.endpoint()
	if err != nil {
		return nil, err
	}
	d.url = d.address()
	if d.o.Voice == "" {
		d.o.Voice = d.speaker
	}
	if !d.o.Turns.IsOff() {
		d.turns = d.finder(d.o.Turns.Default(RealtimeTurns{}))
	}
	if _, wanted := d.o.Transcription.Get(); wanted || d.transcriber != "" && !d.o.Transcription.IsOff() {
		d.script = d.scribe(d.o.Transcription.Default(RealtimeTranscription{}))
	}
	return d, nil
}

// address is the URL of connections.
func (d *converser) address() string {
	if !d.flat {
		return wire.JoinSocket(d.base, "/realtime", url.Values{"model": {d.model}})
	}
	base := *d.base // that of the deployment, which is part of the query here
	base.Path = strings.TrimSuffix(path.Dir(base.Path), "/deployments")
	return wire.JoinSocket(&base, "/realtime", url.Values{"deployment": {or(d.o.Deployment, d.model)}})
}

// finder is the service's form of what finds turns.
func (d *converser) finder(t RealtimeTurns) map[string]any {
	if t.Type == "" {
		t.Type = "server_vad"
		if d.service == OpenAI {
			t.Type = "semantic_vad"
		}
	}
	m := map[string]any{"type": t.Type, "create_response": true, "interrupt_response": true}
	if t.Type == "semantic_vad" {
		m["eagerness"] = or(t.Eagerness, "medium")
		return m
	}
	m["threshold"] = or(t.Threshold, 0.5)
	m["prefix_padding_ms"] = or(t.Prefix, 300*time.Millisecond).Milliseconds()
	m["silence_duration_ms"] = or(t.Silence, 200*time.Millisecond).Milliseconds()
	return m
}

func (d *converser) scribe(t RealtimeTranscription) map[string]any {
	m := map[string]any{"model": or(t.Model, d.transcriber)}
	if t.Language != "" {
		m["language"] = t.Language
	}
	if t.Prompt != "" {
		m["prompt"] = t.Prompt
	}
	return m
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Info implements driver.Realtime.
func (d *converser) Info() model.Info { return d.Client.Info }

// Capabilities implements driver.Realtime.
func (d *converser) Capabilities() driver.Capabilities {
	c := driver.Capabilities{
		InputRate: realtimeRate, InputChunk: 100 * time.Millisecond, OutputRate: realtimeRate,
		AudioOutput: true, ServerTurns: d.turns != nil, ClientTurns: d.service != XAI && (d.turns == nil || d.o.Turns.IsUnset()),
		UserTranscription: d.script != nil, MutableContext: true, ToolsPerResponse: d.service != XAI,
		MutableInstructions: true, MutableTools: true, Truncation: true, Say: d.service == XAI, BilledByTime: d.service == XAI, BilledByTokens: d.service != XAI,
	}
	if !d.o.MaxAge.IsOff() && (d.service != XAI || !d.o.MaxAge.IsUnset()) {
		c.MaxAge = d.o.MaxAge.Default(20 * time.Minute)
	}
	return c
}

// sees reports whether the service takes images.
func (d *converser) sees() bool { return !d.flat && d.service != XAI }

// Connect implements driver.Realtime.
func (d *converser) Connect(ctx context.Context, s *driver.Setup) (driver.Conn, error) {
	ws, err := wire.Single(ctx, &d.Peer, wire.SocketOptions{URL: d.url, Header: d.header, Reason: wire.Reason(d.ends)})
	if err != nil {
		return nil, err
	}
	c := &conversation{
		d: d, Socket: ws, instructions: s.Instructions, long: map[string]string{}, calls: map[string]bool{},
		said: map[string]*userItem{}, begun: map[string]bool{}, going: map[string]bool{},
	}
	if err := c.open(ctx, s); err != nil {
		_ = ws.Close()
		return nil, err
	}
	if d.sees() {
		return seeing{c}, nil
	}
	return c, nil
}
