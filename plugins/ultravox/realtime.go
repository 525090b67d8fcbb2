package ultravox

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/parley-go/parley/internal/teller"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

const (
	defaultBase   = "https://api.ultravox.ai/api"
	defaultModel  = "ultravox-v0.7"
	defaultVoice  = "Mark"
	defaultInput  = 16000
	defaultOutput = 24000
	// ahead is how much audio the provider may send ahead of what is heard. It takes back the rest when the user
	// speaks.
	ahead = 30 * time.Second
)

// RealtimeOptions are the options of NewRealtime. The zero value, or nil, takes the key from ULTRAVOX_API_KEY.
type RealtimeOptions struct {
	APIKey  string // default ULTRAVOX_API_KEY
	BaseURL string // default ULTRAVOX_BASE_URL, else https://api.ultravox.ai/api
	Model   string // default "ultravox-v0.7"
	Voice   string // name or id: default "Mark"
	// ExternalVoice is a voice of another provider instead, in Ultravox's words, e.g.
	// {"elevenLabs": {"voiceId": "..."}}. The account needs a key of that provider.
	ExternalVoice map[string]any
	Language      string             // BCP-47, a hint for hearing and speaking; "" gives none
	Temperature   opt.Value[float64] // 0 to 1; unset: the provider's, 0
	InputRate     int                // of the audio that it hears, Hz; default 16000
	OutputRate    int                // of the audio that it speaks, Hz; default 24000
	Turns         RealtimeTurns
	// MaxDuration is how long a call may last, at least 10 s: default 1 h. Before its end a quiet moment is used
	// for a new call, which begins with the conversation so far.
	MaxDuration time.Duration
	// ToolTimeout is how long the provider waits for the output of a tool: default 20 s. The conversation stands
	// still meanwhile.
	ToolTimeout time.Duration
	// Extra are more fields of the request that creates a call.
	Extra map[string]any
	// Header is added to that request.
	Header http.Header
	// HTTP sends that request; nil means a client that all plugins share.
	HTTP *http.Client
	// Front are retries and timeouts; nil for the defaults.
	Front *realtime.ModelOptions
}

// RealtimeTurns is how the provider finds the user's turns. Zero values are the provider's defaults.
type RealtimeTurns struct {
	EndpointDelay   time.Duration // silence before an answer: the provider's is 384 ms; it hears in steps of 32 ms
	MinTurn         time.Duration // speech that makes a turn: the provider's is any
	MinInterruption time.Duration // speech that interrupts an answer: the provider's is 90 ms
	Threshold       float64       // from which sound is speech: 0.1, the provider's, to 1
}

// NewRealtime returns a model that hears and speaks. A missing key is an error that names the environment
// variable.
//
// The provider finds the user's turns itself. What is written to the user's model (text, instructions) is put
// behind what was said; what the assistant is to have said goes into a new call only, as do other
// instructions and tools, which are made when it is quiet. Which tool is called cannot be forced.
func NewRealtime(o *RealtimeOptions) (*realtime.Model, error) {
	d, err := newRealtime(o)
	if err != nil {
		return nil, err
	}
	return realtime.New(d, d.o.Front), nil
}

// converser implements driver.Realtime.
type converser struct {
	wire.Client
	o    RealtimeOptions
	base *url.URL
	head http.Header
}

func newRealtime(o *RealtimeOptions) (*converser, error) {
	d := &converser{}
	if o != nil {
		d.o = *o
	}
	if d.o.Voice != "" && d.o.ExternalVoice != nil {
		return nil, errors.New("ultravox: RealtimeOptions.Voice and ExternalVoice exclude each other")
	}
	key, err := wire.Key("ultravox", "RealtimeOptions.APIKey", d.o.APIKey, "ULTRAVOX_API_KEY")
	if err != nil {
		return nil, err
	}
	if d.base, err = wire.Base("ultravox", d.o.BaseURL, defaultBase, "ULTRAVOX_BASE_URL"); err != nil {
		return nil, err
	}
	d.o.Model = cmp.Or(d.o.Model, defaultModel)
	d.o.InputRate = cmp.Or(d.o.InputRate, defaultInput)
	d.o.OutputRate = cmp.Or(d.o.OutputRate, defaultOutput)
	d.o.MaxDuration = cmp.Or(d.o.MaxDuration, time.Hour)
	d.o.ToolTimeout = cmp.Or(d.o.ToolTimeout, 20*time.Second)
	d.head = http.Header{"Content-Type": {"application/json"}, "X-Api-Key": {key}}
	for name, v := range d.o.Header {
		d.head[name] = v
	}
	d.HTTP = d.o.HTTP
	d.Peer = wire.Peer{
		Info: model.Info{Label: "ultravox.Realtime", Provider: "ultravox", Model: d.o.Model}, Kind: "realtime",
		Secrets: []string{key}, Refusal: refusal,
	}
	return d, nil
}

// refusal reads what the provider says about fields that it does not take, by their names.
func refusal(_ int, _ http.Header, body []byte) (more string, permanent bool) {
	var b bytes.Buffer
	if wire.Explain(body) == "" && json.Compact(&b, body) == nil {
		more = b.String()
	}
	return more, false
}

// Info implements driver.Realtime.
func (d *converser) Info() model.Info { return d.Client.Info }

// Capabilities implements driver.Realtime.
func (d *converser) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		InputRate: d.o.InputRate, InputChunk: 40 * time.Millisecond, OutputRate: d.o.OutputRate,
		AudioOutput: true, ServerTurns: true, UserTranscription: true, AutoToolReply: true, MutableContext: true, Say: true,
		MaxAge: d.o.MaxDuration, BilledByTime: true,
	}
}

// Connect implements driver.Realtime.
func (d *converser) Connect(ctx context.Context, s *driver.Setup) (driver.Conn, error) {
	join, err := d.create(ctx, s)
	if err != nil {
		return nil, err
	}
	ws, err := wire.Single(ctx, &d.Peer, wire.SocketOptions{URL: join})
	if err != nil {
		return nil, err
	}
	return &call{d: d, Socket: ws, t: teller.New(d.o.OutputRate, s.TextOnly), tools: map[string]bool{}, past: -1}, nil
}

// create creates a call and returns where to join it.
func (d *converser) create(ctx context.Context, s *driver.Setup) (string, error) {
	body, err := json.Marshal(d.request(s))
	if err != nil {
		return "", d.Error(model.KindRequest, "create call", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.Join(d.base, "/calls", nil), bytes.NewReader(body))
	if err != nil {
		return "", d.Error(model.KindRequest, "create call", err)
	}
	r.Header = d.head.Clone()
	answer, _, err := d.DoAll(ctx, "create call", r)
	if err != nil {
		return "", err
	}
	var c struct {
		JoinURL string `json:"joinUrl"`
	}
	if err := json.Unmarshal(answer, &c); err != nil {
		return "", d.Protocol("create call", "answer cannot be read: %v", err)
	}
	u, err := url.Parse(c.JoinURL)
	if err != nil || u.Host == "" || u.Scheme != "wss" && (u.Scheme != "ws" || d.base.Scheme == "https") {
		return "", d.Protocol("create call", "the call has no secure websocket to join")
	}
	return c.JoinURL, nil
}

// seconds is a duration in the provider's form.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s" }

// request asks for a call. The agent leaves the first word to the user.
func (d *converser) request(s *driver.Setup) map[string]any {
	m := map[string]any{
		"model": d.o.Model, "systemPrompt": prompt(s.Instructions), "maxDuration": seconds(d.o.MaxDuration),
		"firstSpeakerSettings": map[string]any{"user": map[string]any{}},
		"medium": map[string]any{"serverWebSocket": map[string]any{
			"inputSampleRate": d.o.InputRate, "outputSampleRate": d.o.OutputRate, "clientBufferSizeMs": ahead.Milliseconds(),
			"dataMessages": map[string]any{"userStartedSpeaking": true, "userStoppedSpeaking": true},
		}},
	}
	if d.o.ExternalVoice != nil {
		m["externalVoice"] = d.o.ExternalVoice
	} else {
		m["voice"] = cmp.Or(d.o.Voice, defaultVoice)
	}
	if d.o.Language != "" {
		m["languageHint"] = d.o.Language
	}
	if v, ok := d.o.Temperature.Get(); ok {
		m["temperature"] = v
	}
	if s.TextOnly {
		m["initialOutputMedium"] = "MESSAGE_MEDIUM_TEXT"
	}
	if list := d.tools(s.Tools, s.ToolChoice); len(list) > 0 {
		m["selectedTools"] = list
	}
	if list := history(s.History); len(list) > 0 {
		m["initialMessages"] = list
	}
	if v := d.o.Turns.settings(); len(v) > 0 {
		m["vadSettings"] = v
	}
	for k, v := range d.o.Extra {
		m[k] = v
	}
	return m
}

func (t RealtimeTurns) settings() map[string]any {
	m := map[string]any{}
	for name, v := range map[string]time.Duration{
		"turnEndpointDelay": t.EndpointDelay, "minimumTurnDuration": t.MinTurn, "minimumInterruptionDuration": t.MinInterruption,
	} {
		if v > 0 {
			m[name] = seconds(v)
		}
	}
	if t.Threshold > 0 {
		m["frameActivationThreshold"] = t.Threshold
	}
	return m
}
