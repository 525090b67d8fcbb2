package livekit

import (
	"cmp"
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

const (
	keepSocket  = 300 * time.Second // since its last speech
	defaultRate = 24000
)

// TTSOptions are the options of NewTTS. Model must be set.
type TTSOptions struct {
	// Model is its name at the gateway, and a voice if wanted, e.g. "cartesia/sonic-3" or
	// "cartesia/sonic-3:9626c31c-bec5-4cca-baa8-f8ba9e84c8bc".
	Model     string
	APIKey    string // default LIVEKIT_INFERENCE_API_KEY, else LIVEKIT_API_KEY
	APISecret string // default LIVEKIT_INFERENCE_API_SECRET, else LIVEKIT_API_SECRET
	BaseURL   string // default LIVEKIT_INFERENCE_URL, else LiveKit's

	Voice    string // id of a voice: default that of Model, else the provider's
	Language string // BCP-47; unset: the provider's
	Rate     int    // of the audio, Hz; default 24000
	// Extra are options of the provider in its own words, such as "speed" of Cartesia. The times of words
	// come with "add_timestamps" of Cartesia, "sync_alignment" of ElevenLabs and "timestamp_type" of Inworld.
	Extra map[string]any
	// Fallback are models that the gateway asks when Model fails, in this order.
	Fallback []Fallback
	// Upstream is how the gateway tries a provider: Timeout and MaxRetry, whose defaults count.
	Upstream model.ConnOptions
	// Front are retries and timeouts between us and the gateway; nil for the defaults.
	Front *tts.ModelOptions
}

// NewTTS returns a model that speaks through the gateway, over websockets which it keeps: Close closes
// them. Missing credentials are an error that names the environment variables.
//
// Each job of a worker has websockets of its own, since they say which job they are for.
func NewTTS(o *TTSOptions) (*tts.Model, error) {
	d, err := newTTS(o)
	if err != nil {
		return nil, err
	}
	return tts.New(d, d.o.Front), nil
}

// synthesizer implements driver.TTS.
type synthesizer struct {
	access
	o    TTSOptions
	dial wire.DialFunc // nil but in tests

	mu    sync.Mutex
	pools map[string]*jobPool // by the ids of jobs
}

// jobPool is the websockets of a job.
type jobPool struct {
	*wire.Pool
	used time.Time
}

func newTTS(o *TTSOptions) (*synthesizer, error) {
	d := &synthesizer{pools: map[string]*jobPool{}}
	if o != nil {
		d.o = *o
	}
	name, voice := split(d.o.Model)
	var err error
	if d.access, err = newAccess("TTSOptions", "tts", name, d.o.APIKey, d.o.APISecret, d.o.BaseURL); err != nil {
		return nil, err
	}
	d.o.Model, d.o.Voice, d.o.Rate = name, cmp.Or(d.o.Voice, voice), cmp.Or(d.o.Rate, defaultRate)
	return d, nil
}

// Info implements driver.TTS.
func (d *synthesizer) Info() model.Info { return d.Peer.Info }

// Capabilities implements driver.TTS.
func (d *synthesizer) Capabilities() driver.Capabilities {
	provider, _, _ := strings.Cut(d.o.Model, "/")
	words := false
	switch provider {
	case "cartesia":
		words, _ = d.o.Extra["add_timestamps"].(bool)
	case "elevenlabs":
		words, _ = d.o.Extra["sync_alignment"].(bool)
	case "inworld":
		kind, _ := d.o.Extra["timestamp_type"].(string)
		words = kind == "WORD" || kind == "CHARACTER"
	}
	return driver.Capabilities{SampleRate: d.o.Rate, Channels: 1, Sentences: true, AlignedTranscript: words}
}

// Prewarm opens a connection ahead of the first speech.
func (d *synthesizer) Prewarm(ctx context.Context) { d.pool(ctx).Prewarm() }

// Close ends the connections.
func (d *synthesizer) Close(ctx context.Context) error {
	d.mu.Lock()
	pools := slices.Collect(maps.Values(d.pools))
	d.mu.Unlock()
	var first error
	for _, p := range pools {
		first = cmp.Or(first, p.Close(ctx))
	}
	return first
}

// pool is the pool of the job of ctx. Those of jobs that have long been silent are given up.
func (d *synthesizer) pool(ctx context.Context) *wire.Pool {
	job, id := model.JobOf(ctx), ""
	if job != nil {
		id = job().ID
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.pools[id]
	if p == nil {
		for other, q := range d.pools {
			if time.Since(q.used) > keepSocket {
				q.Invalidate()
				delete(d.pools, other)
			}
		}
		p = &jobPool{Pool: wire.NewPool(&d.Peer, d.poolOptions(job))}
		d.pools[id] = p
	}
	p.used = time.Now()
	return p.Pool
}

func (d *synthesizer) poolOptions(job func() model.Job) wire.PoolOptions {
	at := wire.JoinSocket(d.base, "/tts", url.Values{"model": {d.o.Model}})
	return wire.PoolOptions{
		MaxIdle: keepSocket,
		Open: func(context.Context) (wire.SocketOptions, error) {
			h, err := d.header(job)
			return wire.SocketOptions{URL: at, Header: h, Goodbye: goodbye, Reason: d.reason("speak"), Dial: d.dial}, err
		},
		Setup: func(ctx context.Context, s *wire.Socket) error {
			return s.WriteJSON(ctx, createTTS{
				Type: "session.create", Model: d.o.Model, Voice: d.o.Voice, Language: d.o.Language,
				Rate: strconv.Itoa(d.o.Rate), Encoding: "pcm_s16le", Extra: orEmpty(d.o.Extra),
				Fallback: standby(d.o.Fallback, true), Connection: upstream(d.o.Upstream),
			})
		},
	}
}

// createTTS is the first message of a connection.
type createTTS struct {
	Type       string         `json:"type"`
	Model      string         `json:"model"`
	Voice      string         `json:"voice,omitempty"`
	Language   string         `json:"language,omitempty"`
	Rate       string         `json:"sample_rate"`
	Encoding   string         `json:"encoding"`
	Extra      map[string]any `json:"extra"`
	Fallback   *fallbacks     `json:"fallback,omitempty"`
	Connection connection     `json:"connection"`
}
