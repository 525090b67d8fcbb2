package phonic

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/teller"
	"github.com/parley-go/parley/internal/wire"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

const (
	defaultBase  = "https://api.phonic.ai/v1"
	defaultModel = "merritt"
	rate         = 24000
	format       = "pcm_24000"
	chunk        = 20 * time.Millisecond // Phonic refuses more than 40 ms at once
)

// RealtimeOptions are the options of NewRealtime. The zero value, or nil, takes the key from PHONIC_API_KEY.
type RealtimeOptions struct {
	APIKey  string // default PHONIC_API_KEY
	BaseURL string // default PHONIC_BASE_URL, else https://api.phonic.ai/v1
	Model   string // "" leaves it to Phonic, whose model is merritt
	Voice   string // id; "" leaves it to Phonic, or the Agent
	// Agent is the name of an agent that is set up at Phonic, in Project. What is said here goes before its
	// settings, and so do instructions and tools, if there are any. It does not greet the user.
	Agent, Project string
	// Language is what is spoken, ISO 639-1: "" leaves it to Phonic. Languages are more of them, and Multilingual
	// says how the language is chosen: "auto" by what the user speaks, "initial" by what he speaks first, "request"
	// when he asks for it; "" leaves it to Phonic.
	Language     string
	Languages    []string
	Multilingual string
	Speed        opt.Value[float64] // of the speech, 1 is normal; unset: Phonic's
	Intelligence string             // "standard" is faster, "high" thinks more; "" leaves it to Phonic
	Keywords     []string           // words to expect
	Turns        RealtimeTurns
	// BuiltIn are names of tools that Phonic carries out itself, e.g. "keypad_input".
	BuiltIn []string
	// ToolTimeout is how long Phonic waits for the output of a tool: default 60 s.
	ToolTimeout time.Duration
	// IdleTimeout is after how long without any message Phonic ends the connection: default 5 min, in whole
	// seconds. A connection on which nobody speaks is kept.
	IdleTimeout time.Duration
	// Extra are more fields of the configuration, in Phonic's words, e.g. "pronunciation_dictionary".
	Extra map[string]any
	// Header is added to the request of every connection.
	Header http.Header
	// Front are retries and timeouts; nil for the defaults.
	Front *realtime.ModelOptions
}

// RealtimeTurns is how Phonic finds the user's turns. Zero values are Phonic's.
type RealtimeTurns struct {
	Prebuffer  time.Duration // audio before the speech that belongs to it
	MinSpeech  time.Duration // that counts as speech
	MinSilence time.Duration // that ends it
	Threshold  float64       // from which sound is speech, 0 to 1
	MinWords   int           // that interrupt an answer
}

// NewRealtime returns a model that hears and speaks. A missing key is an error that names the environment
// variable.
//
// Phonic finds the user's turns itself. An answer cannot be stopped but by the user's voice, or by another one: what
// is interrupted otherwise goes on, unheard. What was said before a connection is part of its instructions. Other
// tools need a new connection, which is made when it is quiet; which one is called cannot be forced, and every
// output is answered. A text that is asked for instead of speech is the transcript of speech.
func NewRealtime(o *RealtimeOptions) (*realtime.Model, error) {
	d, err := newRealtime(o)
	if err != nil {
		return nil, err
	}
	return realtime.New(d, d.o.Front), nil
}

// converser implements driver.Realtime.
type converser struct {
	wire.Peer
	o    RealtimeOptions
	url  string
	head http.Header
}

func newRealtime(o *RealtimeOptions) (*converser, error) {
	d := &converser{}
	if o != nil {
		d.o = *o
	}
	key, err := wire.Key("phonic", "RealtimeOptions.APIKey", d.o.APIKey, "PHONIC_API_KEY")
	if err != nil {
		return nil, err
	}
	var base *url.URL
	if base, err = wire.Base("phonic", d.o.BaseURL, defaultBase, "PHONIC_BASE_URL"); err != nil {
		return nil, err
	}
	d.url = wire.JoinSocket(base, "/sts/ws", nil)
	d.o.ToolTimeout = cmp.Or(d.o.ToolTimeout, time.Minute)
	d.o.IdleTimeout = max(cmp.Or(d.o.IdleTimeout, 5*time.Minute), time.Second)
	d.head = http.Header{"Authorization": {"Bearer " + key}}
	for name, v := range d.o.Header {
		d.head[name] = v
	}
	d.Peer = wire.Peer{
		Info: model.Info{Label: "phonic.Realtime", Provider: "phonic", Model: cmp.Or(d.o.Model, defaultModel)},
		Kind: "realtime", Secrets: []string{key},
	}
	return d, nil
}

// Info implements driver.Realtime.
func (d *converser) Info() model.Info { return d.Peer.Info }

// Capabilities implements driver.Realtime.
func (d *converser) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		InputRate: rate, InputChunk: chunk, OutputRate: rate, AudioOutput: true, ServerTurns: true, UserTranscription: true,
		AutoToolReply: true, MutableContext: true, MutableInstructions: true, Say: true, BilledByTime: true,
	}
}

// Connect implements driver.Realtime.
func (d *converser) Connect(ctx context.Context, s *driver.Setup) (driver.Conn, error) {
	silence, err := json.Marshal(heard(audio.Silence(chunk, rate, 1)))
	if err != nil {
		return nil, d.Error(model.KindRequest, "connect", err)
	}
	ws, err := wire.Single(ctx, &d.Peer, wire.SocketOptions{
		URL: d.url, Header: d.head, Alive: string(silence), AliveEvery: d.o.IdleTimeout / 3, Reason: wire.Reason(d.reason),
	})
	if err != nil {
		return nil, err
	}
	c := &conversation{d: d, Socket: ws, t: teller.New(rate, s.TextOnly), past: past(s.History), calls: map[string]bool{}}
	if err := c.open(ctx, s); err != nil {
		_ = ws.Close()
		return nil, err
	}
	return c, nil
}

// heard is the message for audio of the user.
func heard(f audio.Frame) map[string]any {
	pcm := wire.AppendPCM(make([]byte, 0, 2*len(f.Data)), f.Data)
	return map[string]any{"type": "audio_chunk", "audio": base64.StdEncoding.EncodeToString(pcm)}
}

// config is the first message. The agent does not greet by itself, and least of all on every connection.
func (d *converser) config(s *driver.Setup, prompt string) map[string]any {
	m := map[string]any{
		"type": "config", "input_format": format, "output_format": format,
		"stream_ahead_of_real_time": true, "welcome_message": nil, "generate_welcome_message": false,
		"websocket_timeout_sec": int(d.o.IdleTimeout.Seconds()),
	}
	if list := d.tools(s.Tools, s.ToolChoice); len(list) > 0 {
		m["tools"] = list
	}
	for name, v := range map[string]string{
		"system_prompt": prompt, "agent": d.o.Agent, "project": d.o.Project, "model": d.o.Model, "voice_id": d.o.Voice,
		"default_language": d.o.Language, "multilingual_mode": d.o.Multilingual, "intelligence_level": d.o.Intelligence,
	} {
		if v != "" {
			m[name] = v
		}
	}
	for name, v := range map[string][]string{"additional_languages": d.o.Languages, "boosted_keywords": d.o.Keywords} {
		if len(v) > 0 {
			m[name] = v
		}
	}
	if v, ok := d.o.Speed.Get(); ok {
		m["audio_speed"] = v
	}
	d.o.Turns.settings(m)
	for k, v := range d.o.Extra {
		m[k] = v
	}
	return m
}

func (t RealtimeTurns) settings(m map[string]any) {
	for name, v := range map[string]time.Duration{
		"vad_prebuffer_duration_ms": t.Prebuffer, "vad_min_speech_duration_ms": t.MinSpeech, "vad_min_silence_duration_ms": t.MinSilence,
	} {
		if v > 0 {
			m[name] = v.Milliseconds()
		}
	}
	if t.Threshold > 0 {
		m["vad_threshold"] = t.Threshold
	}
	if t.MinWords > 0 {
		m["min_words_to_interrupt"] = t.MinWords
	}
}

// tools are the tools that may be called. A call comes after what is said before it, and may follow another one.
func (d *converser) tools(specs []llm.ToolSpec, choice llm.ToolChoice) []any {
	list := []any{}
	for _, name := range d.o.BuiltIn {
		list = append(list, name)
	}
	for _, t := range specs {
		if choice.Mode == llm.ToolNone || choice.Mode == llm.ToolFunction && choice.Function != t.Name {
			continue
		}
		f := map[string]any{"name": t.Name, "description": t.Description, "parameters": t.Parameters}
		if len(t.Parameters) == 0 {
			f["parameters"] = map[string]any{"type": "object", "properties": map[string]any{}}
		}
		list = append(list, map[string]any{
			"type": "custom_websocket", "tool_schema": map[string]any{"type": "function", "function": f},
			"tool_call_output_timeout_ms": d.o.ToolTimeout.Milliseconds(), "wait_for_speech_before_tool_call": true, "allow_tool_chaining": true,
		})
	}
	return list
}
