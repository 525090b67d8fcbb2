package resemble

import (
	"context"
	"net/http"
	"sync/atomic"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

const (
	defaultBase  = "wss://websocket.cluster.resemble.ai"
	defaultVoice = "55592656"
	defaultRate  = 44100
)

// TTSOptions are the options of NewTTS. The zero value, or nil, takes the key from RESEMBLE_API_KEY.
type TTSOptions struct {
	APIKey    string // default RESEMBLE_API_KEY
	BaseURL   string // default RESEMBLE_BASE_URL, else Resemble's
	VoiceUUID string // default an English voice
	Model     string // "chatterbox" or "chatterbox-turbo"; unset: the voice's
	Rate      int    // of the audio, Hz: 8000, 16000, 22050, 32000 or 44100 (the default)
	// Front are retries and timeouts; nil for the defaults.
	Front *tts.ModelOptions
}

// NewTTS returns a model that speaks sentence by sentence over a websocket, which it keeps for all its
// sessions. Close the model to close it. A missing key is an error that names the environment variable.
//
// A sentence, and a whole text for Model.Synthesize, may have at most 3000 characters: the provider
// refuses longer ones. Text may be SSML.
func NewTTS(o *TTSOptions) (*tts.Model, error) {
	d, err := newTTS(o)
	if err != nil {
		return nil, err
	}
	return tts.New(d, d.o.Front), nil
}

// synthesizer implements driver.TTS. Resemble takes whole texts, and cannot cancel.
type synthesizer struct {
	o    TTSOptions
	peer wire.Peer
	pool *wire.Pool
	last atomic.Int64 // id of a request
}

func newTTS(o *TTSOptions) (*synthesizer, error) {
	d := &synthesizer{}
	if o != nil {
		d.o = *o
	}
	key, err := wire.Key("resemble", "TTSOptions.APIKey", d.o.APIKey, "RESEMBLE_API_KEY")
	if err != nil {
		return nil, err
	}
	base, err := wire.Base("resemble", d.o.BaseURL, defaultBase, "RESEMBLE_BASE_URL")
	if err != nil {
		return nil, err
	}
	if d.o.VoiceUUID == "" {
		d.o.VoiceUUID = defaultVoice
	}
	if d.o.Rate == 0 {
		d.o.Rate = defaultRate
	}
	name := d.o.Model
	if name == "" {
		name = "unknown"
	}
	d.peer = wire.Peer{
		Info: model.Info{Label: "resemble.TTS", Provider: "resemble", Model: name}, Kind: "tts", Secrets: []string{key},
	}
	so := wire.SocketOptions{
		URL: wire.JoinSocket(base, "/stream", nil), Header: http.Header{"Authorization": {"Bearer " + key}},
		Reason: wire.Reason(d.reason),
	}
	d.pool = wire.NewPool(&d.peer, wire.PoolOptions{
		Open: func(context.Context) (wire.SocketOptions, error) { return so, nil },
	})
	return d, nil
}

// Info implements driver.TTS.
func (d *synthesizer) Info() model.Info { return d.peer.Info }

// Capabilities implements driver.TTS.
func (d *synthesizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{SampleRate: d.o.Rate, Channels: 1}
}

// Prewarm opens a connection ahead of the first speech.
func (d *synthesizer) Prewarm(context.Context) { d.pool.Prewarm() }

// Close ends the connections.
func (d *synthesizer) Close(ctx context.Context) error { return d.pool.Close(ctx) }
