package murf

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

const (
	defaultBase   = "https://global.api.murf.ai" // routes to the nearest region
	keepSocket    = 300 * time.Second            // idle connections are given up after that
	defaultModel  = "FALCON"
	defaultVoice  = "en-US-matthew"
	defaultStyle  = "Conversation"
	defaultRate   = 24000
	defaultBuffer = 3
)

// TTSOptions are the options of NewTTS. The zero value, or nil, takes the key from MURF_API_KEY.
type TTSOptions struct {
	APIKey  string // default MURF_API_KEY
	BaseURL string // default MURF_BASE_URL, else the nearest region; a region is e.g. https://in.api.murf.ai
	Model   string // "FALCON" (the default) or "GEN2"
	Voice   string // default "en-US-matthew"
	Style   string // of the voice; default "Conversation"
	Locale  string // e.g. "en-US": the language, for voices that speak several; unset: the voice's
	Rate    int    // of the audio, Hz: 8000, 24000 (the default), 44100 or 48000

	Speed opt.Value[int] // -50 to 50, 0 is normal; unset: the voice's
	Pitch opt.Value[int] // -50 to 50, 0 is normal; unset: the voice's

	// MinBuffer is how many characters the provider gathers before it speaks text that does not end a
	// sentence: more sound better and come later. Default 3, as whole sentences and clauses are sent.
	MinBuffer int
	// MaxDelay is how long it waits for them; default 0.
	MaxDelay time.Duration

	// Front are retries and timeouts; nil for the defaults.
	Front *tts.ModelOptions
}

// NewTTS returns a model that speaks over a websocket, which it keeps for all its sessions. Close the
// model to close it. A missing key is an error that names the environment variable.
func NewTTS(o *TTSOptions) (*tts.Model, error) {
	d, err := newTTS(o)
	if err != nil {
		return nil, err
	}
	return tts.New(d, d.o.Front), nil
}

// synthesizer implements driver.TTS.
type synthesizer struct {
	o     TTSOptions
	voice voice
	peer  wire.Peer
	pool  *wire.Pool
}

func newTTS(o *TTSOptions) (*synthesizer, error) {
	d := &synthesizer{}
	if o != nil {
		d.o = *o
	}
	key, err := wire.Key("murf", "TTSOptions.APIKey", d.o.APIKey, "MURF_API_KEY")
	if err != nil {
		return nil, err
	}
	base, err := wire.Base("murf", d.o.BaseURL, defaultBase, "MURF_BASE_URL")
	if err != nil {
		return nil, err
	}
	for p, v := range map[*string]string{&d.o.Model: defaultModel, &d.o.Voice: defaultVoice, &d.o.Style: defaultStyle} {
		if *p == "" {
			*p = v
		}
	}
	for p, v := range map[*int]int{&d.o.Rate: defaultRate, &d.o.MinBuffer: defaultBuffer} {
		if *p == 0 {
			*p = v
		}
	}
	d.voice = newVoice(&d.o)
	d.peer = wire.Peer{
		Info: model.Info{Label: "murf.TTS", Provider: "murf", Model: d.o.Model}, Kind: "tts", Secrets: []string{key},
	}
	so := wire.SocketOptions{
		URL: wire.JoinSocket(base, "/v1/speech/stream-input", url.Values{
			"model": {d.o.Model}, "sample_rate": {strconv.Itoa(d.o.Rate)}, "format": {"PCM"}, "channel_type": {"MONO"},
		}),
		Header: http.Header{"Api-Key": {key}}, Reason: wire.Reason(d.reason),
	}
	d.pool = wire.NewPool(&d.peer, wire.PoolOptions{
		Open:    func(context.Context) (wire.SocketOptions, error) { return so, nil },
		MaxIdle: keepSocket,
	})
	return d, nil
}

// Info implements driver.TTS.
func (d *synthesizer) Info() model.Info { return d.peer.Info }

// Capabilities implements driver.TTS.
func (d *synthesizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{Sentences: true, SampleRate: d.o.Rate, Channels: 1}
}

// Prewarm opens a connection ahead of the first speech.
func (d *synthesizer) Prewarm(context.Context) { d.pool.Prewarm() }

// Close ends the connections.
func (d *synthesizer) Close(ctx context.Context) error { return d.pool.Close(ctx) }
