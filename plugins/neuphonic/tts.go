package neuphonic

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

const (
	defaultBase  = "https://api.neuphonic.com"
	defaultVoice = "8e9c4bc8-3979-48ab-8626-df53befc2090"
	defaultRate  = 22050
	keepSocket   = 300 * time.Second // idle connections are given up after that
	aliveEvery   = 20 * time.Second  // Neuphonic closes a connection on which nothing is sent for a minute
	modelName    = "Octave"
)

var rates = []int{8000, 16000, 22050, 24000}

// TTSOptions are the options of NewTTS. The zero value, or nil, takes the key from NEUPHONIC_API_KEY.
type TTSOptions struct {
	APIKey   string             // default NEUPHONIC_API_KEY
	BaseURL  string             // default NEUPHONIC_BASE_URL, else https://api.neuphonic.com
	Voice    string             // id of a voice of the language; default an English one
	Language string             // a BCP-47 tag whose region does not count: default "en"
	Rate     int                // of the audio, Hz: 8000, 16000, 22050 (the default) or 24000
	Speed    opt.Value[float64] // 0.7 to 2; unset: 1
	// Temperature is how much speeches differ, 0 to 1; unset: Neuphonic's.
	Temperature opt.Value[float64]
	// Front are retries and timeouts; nil for the defaults.
	Front *tts.ModelOptions
}

// NewTTS returns a model that speaks over a websocket, which it keeps for all its sessions. Close the
// model to close it. Neuphonic states no usage: the characters that were sent are booked. A missing key
// is an error that names the environment variable.
func NewTTS(o *TTSOptions) (*tts.Model, error) {
	d, err := newTTS(o)
	if err != nil {
		return nil, err
	}
	return tts.New(d, d.o.Front), nil
}

// synthesizer implements driver.TTS.
type synthesizer struct {
	wire.Peer
	o      TTSOptions
	socket wire.SocketOptions
	pool   *wire.Pool
}

func newTTS(o *TTSOptions) (*synthesizer, error) {
	d := &synthesizer{}
	if o != nil {
		d.o = *o
	}
	key, err := wire.Key("neuphonic", "TTSOptions.APIKey", d.o.APIKey, "NEUPHONIC_API_KEY")
	if err != nil {
		return nil, err
	}
	base, err := wire.Base("neuphonic", d.o.BaseURL, defaultBase, "NEUPHONIC_BASE_URL")
	if err != nil {
		return nil, err
	}
	d.o.Voice = cmp.Or(d.o.Voice, defaultVoice)
	d.o.Rate = cmp.Or(d.o.Rate, defaultRate)
	speed := d.o.Speed.Default(1)
	temperature, set := d.o.Temperature.Get()
	switch {
	case !slices.Contains(rates, d.o.Rate):
		return nil, fmt.Errorf("neuphonic: TTSOptions.Rate is %d: want one of %v", d.o.Rate, rates)
	case !(speed >= 0.7 && speed <= 2):
		return nil, fmt.Errorf("neuphonic: TTSOptions.Speed is %v: want 0.7 to 2", speed)
	case !(temperature >= 0 && temperature <= 1):
		return nil, fmt.Errorf("neuphonic: TTSOptions.Temperature is %v: want 0 to 1", temperature)
	}
	language, _, _ := strings.Cut(strings.ToLower(cmp.Or(d.o.Language, "en")), "-")
	q := url.Values{
		"lang_code": {language}, "voice_id": {d.o.Voice}, "sampling_rate": {strconv.Itoa(d.o.Rate)},
		"encoding": {"pcm_linear"}, "speed": {number(speed)},
	}
	if set {
		q.Set("temperature", number(temperature))
	}
	d.Peer = wire.Peer{
		Info: model.Info{Label: "neuphonic.TTS", Provider: "neuphonic", Model: modelName}, Kind: "tts", Secrets: []string{key},
	}
	d.socket = wire.SocketOptions{
		URL: wire.JoinSocket(base, "/speak/"+language, q), Header: http.Header{"X-Api-Key": {key}},
		Alive: `{"text":""}`, AliveEvery: aliveEvery, Reason: d.reason,
	}
	d.pool = wire.NewPool(&d.Peer, wire.PoolOptions{
		Open:    func(context.Context) (wire.SocketOptions, error) { return d.socket, nil },
		MaxIdle: keepSocket,
	})
	return d, nil
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// Info implements driver.TTS.
func (d *synthesizer) Info() model.Info { return d.Peer.Info }

// Capabilities implements driver.TTS.
func (d *synthesizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{Sentences: true, SampleRate: d.o.Rate, Channels: 1}
}

// Prewarm opens a connection ahead of the first speech.
func (d *synthesizer) Prewarm(context.Context) { d.pool.Prewarm() }

// Close ends the connections.
func (d *synthesizer) Close(ctx context.Context) error { return d.pool.Close(ctx) }
