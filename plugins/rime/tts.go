package rime

import (
	"context"
	"errors"
	"net/http"
	"net/url"
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
	defaultBase  = "wss://users-ws.rime.ai"
	keepSocket   = 300 * time.Second // idle connections are given up after that
	defaultModel = "coda"
	defaultRate  = 24000
)

// TTSOptions are the options of NewTTS. The zero value, or nil, takes the key from RIME_API_KEY. What is
// unset is the provider's.
type TTSOptions struct {
	APIKey  string // default RIME_API_KEY
	BaseURL string // default RIME_BASE_URL, else Rime's in the west of the USA
	Model   string // "coda" (the default), "mistv3" or "mistv2"
	Speaker string // a voice of the model; default "astra", for Mist "cove"
	Lang    string // e.g. "eng", "spa", "fra", "ger", "hin"; it must be the speaker's; default "eng"
	Rate    int    // of the audio, Hz; default 24000

	// SpeedAlpha is the speed: above 1 is faster, but with mistv2 slower.
	SpeedAlpha opt.Value[float64]
	// TimeScaleFactor stretches the speech, 0.4 to 2.5: above 1 is slower. Not for mistv2.
	TimeScaleFactor opt.Value[float64]

	Temperature       opt.Value[float64] // 0 to 1; coda
	TopP              opt.Value[float64] // 0 to 1; coda
	RepetitionPenalty opt.Value[float64] // 1 to 2; coda
	MaxTokens         int                // coda

	// PauseBetweenBrackets makes <200> in the text a pause of 200 ms (Mist).
	PauseBetweenBrackets opt.Value[bool]
	// PhonemizeBetweenBrackets says what is in braces as Rime's phonemes (Mist).
	PhonemizeBetweenBrackets opt.Value[bool]

	// Front are retries and timeouts; nil for the defaults. Rime bills what was said again.
	Front *tts.ModelOptions
}

// NewTTS returns a model that speaks sentence by sentence over a websocket, which it keeps for all its
// sessions. Close the model to close it. A missing key is an error that names the environment variable.
//
// A sentence, and a whole text for Model.Synthesize, may have at most 1000 characters: the provider
// refuses longer ones. Words have times when the language is English or Spanish.
func NewTTS(o *TTSOptions) (*tts.Model, error) {
	d, err := newTTS(o)
	if err != nil {
		return nil, err
	}
	return tts.New(d, d.o.Front), nil
}

// synthesizer implements driver.TTS. Rime keeps no contexts apart and cannot cancel, and a flush while
// it speaks is held back: so each sentence is one flush, and the next one follows its end.
type synthesizer struct {
	o    TTSOptions
	peer wire.Peer
	pool *wire.Pool
}

func newTTS(o *TTSOptions) (*synthesizer, error) {
	d := &synthesizer{}
	if o != nil {
		d.o = *o
	}
	key, err := wire.Key("rime", "TTSOptions.APIKey", d.o.APIKey, "RIME_API_KEY")
	if err != nil {
		return nil, err
	}
	base, err := wire.Base("rime", d.o.BaseURL, defaultBase, "RIME_BASE_URL")
	if err != nil {
		return nil, err
	}
	d.o.defaults()
	if _, set := d.o.TimeScaleFactor.Get(); set && d.o.Model == "mistv2" {
		return nil, errors.New("rime: TTSOptions.TimeScaleFactor is not for mistv2: use SpeedAlpha")
	}
	d.peer = wire.Peer{
		Info: model.Info{Label: "rime.TTS", Provider: "rime", Model: d.o.Model}, Kind: "tts", Secrets: []string{key},
	}
	so := wire.SocketOptions{
		URL: wire.JoinSocket(base, "/ws3", d.o.query()), Header: http.Header{"Authorization": {"Bearer " + key}},
		Reason: wire.Reason(d.reason),
	}
	d.pool = wire.NewPool(&d.peer, wire.PoolOptions{
		Open:    func(context.Context) (wire.SocketOptions, error) { return so, nil },
		MaxIdle: keepSocket,
	})
	return d, nil
}

func (o *TTSOptions) mist() bool { return strings.Contains(o.Model, "mist") }

func (o *TTSOptions) defaults() {
	if o.Model == "" {
		o.Model = defaultModel
	}
	if o.Lang == "" {
		o.Lang = "eng"
	}
	if o.Rate == 0 {
		o.Rate = defaultRate
	}
	if o.Speaker == "" {
		o.Speaker = "astra"
		if o.mist() {
			o.Speaker = "cove"
		}
	}
}

// query is how a connection is told what to do: everything but the text.
func (o *TTSOptions) query() url.Values {
	q := url.Values{
		"speaker": {o.Speaker}, "modelId": {o.Model}, "lang": {o.Lang},
		"audioFormat": {"pcm"}, "samplingRate": {strconv.Itoa(o.Rate)}, "segment": {"never"},
	}
	number := func(name string, v opt.Value[float64], fits bool) {
		if f, ok := v.Get(); ok && fits {
			q.Set(name, strconv.FormatFloat(f, 'g', -1, 64))
		}
	}
	number("speedAlpha", o.SpeedAlpha, true)
	number("timeScaleFactor", o.TimeScaleFactor, true)
	number("temperature", o.Temperature, !o.mist())
	number("top_p", o.TopP, !o.mist())
	number("repetition_penalty", o.RepetitionPenalty, !o.mist())
	if o.MaxTokens > 0 && !o.mist() {
		q.Set("max_tokens", strconv.Itoa(o.MaxTokens))
	}
	for name, v := range map[string]opt.Value[bool]{
		"pauseBetweenBrackets": o.PauseBetweenBrackets, "phonemizeBetweenBrackets": o.PhonemizeBetweenBrackets,
	} {
		if on, ok := v.Get(); ok && o.mist() {
			q.Set(name, strconv.FormatBool(on))
		}
	}
	return q
}

// Info implements driver.TTS.
func (d *synthesizer) Info() model.Info { return d.peer.Info }

// Capabilities implements driver.TTS.
func (d *synthesizer) Capabilities() driver.Capabilities {
	words := false
	switch lang, _, _ := strings.Cut(d.o.Lang, "-"); lang {
	case "en", "eng", "es", "spa":
		words = true
	}
	return driver.Capabilities{AlignedTranscript: words, SampleRate: d.o.Rate, Channels: 1}
}

// Prewarm opens a connection ahead of the first speech.
func (d *synthesizer) Prewarm(context.Context) { d.pool.Prewarm() }

// Close ends the connections.
func (d *synthesizer) Close(ctx context.Context) error { return d.pool.Close(ctx) }
