package cartesia

import (
	"cmp"
	"context"
	"net/url"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

const (
	keepSocket   = 290 * time.Second // idle connections: Cartesia gives them up after 300 s
	defaultVoice = "f786b574-daa5-4673-aa0c-cbe3e8534c02"
	defaultRate  = 24000
)

// TTSOptions are the options of NewTTS. The zero value, or nil, takes the key from CARTESIA_API_KEY.
type TTSOptions struct {
	APIKey   string             // default CARTESIA_API_KEY
	BaseURL  string             // default CARTESIA_BASE_URL, else https://api.cartesia.ai
	Model    string             // default "sonic-3"
	Voice    string             // id of a voice; default an English one
	Language string             // BCP-47; default "en"
	Rate     int                // of the audio, Hz; default 24000
	Speed    opt.Value[float64] // 0.6 to 1.5; unset: the voice's (sonic-3)
	Volume   opt.Value[float64] // 0.5 to 2; unset: the voice's (sonic-3)
	Emotion  string             // e.g. "happy" (sonic-3)
	// PronunciationDict is the id of a dictionary.
	PronunciationDict string
	// Buffer makes Cartesia cut the text: it gets it as it is written and waits up to so long, at most 5 s,
	// for enough of it to speak. By default it gets whole sentences and speaks each at once.
	Buffer time.Duration
	// NoWords leaves out the times of words, by which transcripts follow the voice.
	NoWords bool
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
	service
	o    TTSOptions
	pool *wire.Pool
}

func newTTS(o *TTSOptions) (*synthesizer, error) {
	d := &synthesizer{}
	if o != nil {
		d.o = *o
	}
	d.o.Model = cmp.Or(d.o.Model, "sonic-3")
	d.o.Voice = cmp.Or(d.o.Voice, defaultVoice)
	d.o.Language = cmp.Or(d.o.Language, "en")
	d.o.Rate = cmp.Or(d.o.Rate, defaultRate)
	var err error
	if d.service, err = newService("TTSOptions", "cartesia.TTS", "tts", d.o.Model, d.o.APIKey, d.o.BaseURL); err != nil {
		return nil, err
	}
	address := wire.JoinSocket(d.base, "/tts/websocket", url.Values{"cartesia_version": {apiVersion}})
	d.pool = wire.NewPool(&d.Peer, wire.PoolOptions{
		Open: func(context.Context) (wire.SocketOptions, error) {
			return wire.SocketOptions{URL: address, Header: d.head, Reason: wire.Reason(d.reason)}, nil
		},
		MaxIdle: keepSocket,
	})
	return d, nil
}

// Capabilities implements driver.TTS.
func (d *synthesizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{AlignedTranscript: !d.o.NoWords, Sentences: d.o.Buffer <= 0, SampleRate: d.o.Rate, Channels: 1}
}

// Prewarm opens a connection ahead of the first speech.
func (d *synthesizer) Prewarm(context.Context) { d.pool.Prewarm() }

// Close ends the connections.
func (d *synthesizer) Close(ctx context.Context) error { return d.pool.Close(ctx) }

// packet is a request, or a piece of one.
type packet struct {
	Model      string      `json:"model_id"`
	Voice      voice       `json:"voice"`
	Format     format      `json:"output_format"`
	Language   string      `json:"language"`
	Dict       string      `json:"pronunciation_dict_id,omitempty"`
	Generation *generation `json:"generation_config,omitempty"`
	Transcript string      `json:"transcript"`
	ContextID  string      `json:"context_id"`
	Continue   bool        `json:"continue"`
	Timestamps bool        `json:"add_timestamps"`
	Delay      int64       `json:"max_buffer_delay_ms"`
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

type generation struct {
	Speed   *float64 `json:"speed,omitempty"`
	Volume  *float64 `json:"volume,omitempty"`
	Emotion string   `json:"emotion,omitempty"`
}

// packet is text for a context. Within a context all but the text and whether more comes stays the same.
func (d *synthesizer) packet(id, text string, more bool) *packet {
	p := &packet{
		Model: d.o.Model, Voice: voice{"id", d.o.Voice}, Format: format{"raw", "pcm_s16le", d.o.Rate},
		Language: short(d.o.Language), Dict: d.o.PronunciationDict, Transcript: text, ContextID: id, Continue: more,
		Timestamps: !d.o.NoWords, Delay: max(d.o.Buffer, 0).Milliseconds(),
	}
	g := generation{Emotion: d.o.Emotion}
	if v, ok := d.o.Speed.Get(); ok {
		g.Speed = &v
	}
	if v, ok := d.o.Volume.Get(); ok {
		g.Volume = &v
	}
	if g != (generation{}) {
		p.Generation = &g
	}
	return p
}
