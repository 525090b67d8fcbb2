package asyncai

import (
	"context"
	"net/url"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

const (
	defaultBase  = "https://api.async.com"
	apiVersion   = "v1"
	keepSocket   = 300 * time.Second // idle connections are given up after that
	defaultModel = "async_flash_v1.0"
	defaultVoice = "e0f39dc4-f691-4e78-bba5-5c636692cc04"
	defaultRate  = 32000
)

// TTSOptions are the options of NewTTS. The zero value, or nil, takes the key from ASYNCAI_API_KEY.
type TTSOptions struct {
	APIKey   string // default ASYNCAI_API_KEY
	BaseURL  string // default ASYNCAI_BASE_URL, else Async's
	Model    string // default "async_flash_v1.0"
	Voice    string // id of a voice; default an English one
	Language string // e.g. "en", "de", "es", "fr", "hi"; unset: the provider's choice
	Rate     int    // of the audio, Hz: 8000 to 48000; default 32000
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
	o    TTSOptions
	url  string // with the key
	peer wire.Peer
	pool *wire.Pool
}

// setup is the first message of a connection.
type setup struct {
	Model    string `json:"model_id"`
	Voice    voice  `json:"voice"`
	Format   format `json:"output_format"`
	Language string `json:"language,omitempty"`
}

type voice struct {
	Mode string `json:"mode"`
	ID   string `json:"id"`
}

type format struct {
	Container string `json:"container"`
	Encoding  string `json:"encoding"`
	Rate      int    `json:"sample_rate"`
}

func newTTS(o *TTSOptions) (*synthesizer, error) {
	d := &synthesizer{}
	if o != nil {
		d.o = *o
	}
	key, err := wire.Key("asyncai", "TTSOptions.APIKey", d.o.APIKey, "ASYNCAI_API_KEY")
	if err != nil {
		return nil, err
	}
	base, err := wire.Base("asyncai", d.o.BaseURL, defaultBase, "ASYNCAI_BASE_URL")
	if err != nil {
		return nil, err
	}
	for p, v := range map[*string]string{&d.o.Model: defaultModel, &d.o.Voice: defaultVoice} {
		if *p == "" {
			*p = v
		}
	}
	if d.o.Rate == 0 {
		d.o.Rate = defaultRate
	}
	d.peer = wire.Peer{
		Info: model.Info{Label: "asyncai.TTS", Provider: "asyncai", Model: d.o.Model}, Kind: "tts", Secrets: []string{key},
	}
	d.url = wire.JoinSocket(base, "/text_to_speech/websocket/ws", url.Values{"api_key": {key}, "version": {apiVersion}})
	first := setup{d.o.Model, voice{"id", d.o.Voice}, format{"raw", "pcm_s16le", d.o.Rate}, d.o.Language}
	d.pool = wire.NewPool(&d.peer, wire.PoolOptions{
		Open: func(context.Context) (wire.SocketOptions, error) {
			return wire.SocketOptions{URL: d.url, Reason: wire.Reason(d.reason)}, nil
		},
		Setup:   func(ctx context.Context, s *wire.Socket) error { return s.WriteJSON(ctx, &first) },
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
