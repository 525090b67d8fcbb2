package sarvam

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

const (
	ttsRate = 24000
	// aliveEvery is how often a connection tells that it lives: Sarvam closes one that sends nothing for
	// a minute.
	aliveEvery = 20 * time.Second
	keepSocket = time.Hour
)

var ttsRates = []int{8000, 16000, 22050, 24000, 32000, 44100, 48000}

// TTSOptions are the options of NewTTS. The zero value, or nil, takes the key from SARVAM_API_KEY.
type TTSOptions struct {
	APIKey  string // default SARVAM_API_KEY
	BaseURL string // default SARVAM_BASE_URL, else https://api.sarvam.ai
	Model   string // default "bulbul:v3"
	Voice   string // default "shubh", or "anushka" for bulbul:v2; models share no voices
	// Language is a BCP-47 tag whose region does not count: default "en-IN".
	Language string
	Rate     int // of the audio, Hz: 8000, 16000, 22050, 24000 (the default), 32000, 44100 or 48000

	Pace        opt.Value[float64] // 0.5 to 2, of bulbul:v2 0.3 to 3; unset: 1
	Temperature opt.Value[float64] // how much speeches differ, 0.01 to 2 (bulbul:v3); unset: 0.6
	Dictionary  string             // id of a dictionary of pronunciations (bulbul:v3)
	Pitch       opt.Value[float64] // -0.75 to 0.75 (bulbul:v2); unset: 0
	Loudness    opt.Value[float64] // 0.3 to 3 (bulbul:v2); unset: 1
	Preprocess  bool               // spell out numbers and the like (bulbul:v2; later models always do)

	// MinBuffer is how many characters Sarvam waits for before it speaks, 30 to 200: default 50.
	MinBuffer int
	// MaxChunk is how many characters are spoken at once, 50 to 500: default 150.
	MaxChunk int

	// Front are retries and timeouts; nil for the defaults.
	Front *tts.ModelOptions
}

// NewTTS returns a model that speaks over a websocket, which it keeps for all its sessions. Close the
// model to close it. Sarvam states no usage: the characters that were sent are booked. A missing key is
// an error that names the environment variable.
func NewTTS(o *TTSOptions) (*tts.Model, error) {
	d, err := newTTS(o)
	if err != nil {
		return nil, err
	}
	return tts.New(d, d.o.Front), nil
}

// synthesizer implements driver.TTS.
type synthesizer struct {
	service
	o      TTSOptions
	socket wire.SocketOptions
	pool   *wire.Pool
}

func newTTS(o *TTSOptions) (*synthesizer, error) {
	d := &synthesizer{}
	if o != nil {
		d.o = *o
	}
	d.o.Model = cmp.Or(d.o.Model, "bulbul:v3")
	if d.o.Voice == "" {
		d.o.Voice = "shubh"
		if d.v2() {
			d.o.Voice = "anushka"
		}
	}
	d.o.Language = language(cmp.Or(d.o.Language, "en"))
	d.o.Rate = cmp.Or(d.o.Rate, ttsRate)
	d.o.MinBuffer = cmp.Or(d.o.MinBuffer, 50)
	d.o.MaxChunk = cmp.Or(d.o.MaxChunk, 150)
	switch {
	case !slices.Contains(ttsRates, d.o.Rate):
		return nil, fmt.Errorf("sarvam: TTSOptions.Rate is %d: want one of %v", d.o.Rate, ttsRates)
	case d.o.MinBuffer < 30 || d.o.MinBuffer > 200:
		return nil, fmt.Errorf("sarvam: TTSOptions.MinBuffer is %d: want 30 to 200", d.o.MinBuffer)
	case d.o.MaxChunk < 50 || d.o.MaxChunk > 500:
		return nil, fmt.Errorf("sarvam: TTSOptions.MaxChunk is %d: want 50 to 500", d.o.MaxChunk)
	}
	s, err := newService("TTSOptions", "sarvam.TTS", "tts", d.o.Model, d.o.APIKey, d.o.BaseURL)
	if err != nil {
		return nil, err
	}
	d.service = s
	d.socket = wire.SocketOptions{
		URL:    wire.JoinSocket(d.base, "/text-to-speech/ws", url.Values{"model": {d.o.Model}, "send_completion_event": {"true"}}),
		Header: d.head, Alive: `{"type":"ping"}`, AliveEvery: aliveEvery, Reason: wire.Reason(d.refused),
	}
	d.pool = wire.NewPool(&d.Peer, wire.PoolOptions{
		Open: func(context.Context) (wire.SocketOptions, error) { return d.socket, nil },
		Setup: func(ctx context.Context, s *wire.Socket) error {
			return s.WriteJSON(ctx, packet{Type: "config", Data: d.config()})
		},
		MaxAge: keepSocket,
	})
	return d, nil
}

func (d *synthesizer) v2() bool { return strings.HasSuffix(d.o.Model, ":v2") }

// Capabilities implements driver.TTS.
func (d *synthesizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{Sentences: true, SampleRate: d.o.Rate, Channels: 1}
}

// Prewarm opens a connection ahead of the first speech.
func (d *synthesizer) Prewarm(context.Context) { d.pool.Prewarm() }

// Close ends the connections.
func (d *synthesizer) Close(ctx context.Context) error { return d.pool.Close(ctx) }

// packet is what is sent.
type packet struct {
	Type string `json:"type"`
	Data any    `json:"data,omitempty"`
}

// config is the first message on a connection.
type config struct {
	Model       string   `json:"model"`
	Language    string   `json:"target_language_code"`
	Speaker     string   `json:"speaker"`
	Rate        int      `json:"speech_sample_rate"`
	Codec       string   `json:"output_audio_codec"`
	MinBuffer   int      `json:"min_buffer_size"`
	MaxChunk    int      `json:"max_chunk_length"`
	Pace        *float64 `json:"pace,omitempty"`
	Temperature *float64 `json:"temperature,omitempty"`
	Dictionary  string   `json:"dict_id,omitempty"`
	Pitch       *float64 `json:"pitch,omitempty"`
	Loudness    *float64 `json:"loudness,omitempty"`
	Preprocess  bool     `json:"enable_preprocessing,omitempty"`
}

func (d *synthesizer) config() config {
	o := &d.o
	c := config{
		Model: o.Model, Language: o.Language, Speaker: o.Voice, Rate: o.Rate, Codec: "linear16",
		MinBuffer: o.MinBuffer, MaxChunk: o.MaxChunk, Pace: number(o.Pace),
	}
	if d.v2() { // models refuse what they do not know
		c.Pitch, c.Loudness, c.Preprocess = number(o.Pitch), number(o.Loudness), o.Preprocess
	} else {
		c.Temperature, c.Dictionary = number(o.Temperature), o.Dictionary
	}
	return c
}

func number(v opt.Value[float64]) *float64 {
	if x, ok := v.Get(); ok {
		return &x
	}
	return nil
}
