package soniox

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

const (
	defaultBase = "https://stt-rt.soniox.com"
	sttRate     = 16000
	// aliveEvery is how often a stream tells that it lives: Soniox closes one that sends nothing for 20 s.
	aliveEvery = 8 * time.Second
	// The bounds that Soniox sets for the wait after the last word.
	minEndDelay, maxEndDelay = 500 * time.Millisecond, 3 * time.Second
)

// STTOptions are the options of NewSTT. The zero value, or nil, takes the key from SONIOX_API_KEY.
type STTOptions struct {
	APIKey  string // default SONIOX_API_KEY
	BaseURL string // default SONIOX_BASE_URL, else https://stt-rt.soniox.com
	Model   string // default "stt-rt-v5"

	// Languages are those to expect, as BCP-47 tags whose regions do not count: unset for any. That of a
	// single call (stt.Options) takes their place.
	Languages []string
	// OnlyLanguages transcribes no others than Languages.
	OnlyLanguages bool
	// NoLanguage does without the language of what was said.
	NoLanguage bool
	Diarize    bool // tell speakers apart: alternatives have a SpeakerID

	// NoEndpointing leaves the end of an utterance to Flush. Without it Soniox's model decides.
	NoEndpointing bool
	// MaxEndDelay is the longest silence before an utterance is over, 0.5 to 3 s: default 2 s.
	MaxEndDelay time.Duration
	// EndSensitivity is how readily an utterance is over, -1 to 1, higher for sooner (since stt-rt-v5).
	// Unset: Soniox's.
	EndSensitivity opt.Value[float64]
	// FasterEnd is how much less time is taken to be sure that an utterance is over, 0 to 3, at a price in
	// accuracy (since stt-rt-v5). Unset: Soniox's.
	FasterEnd opt.Value[int]

	Keyterms []string          // words to expect; those of a single call (stt.Options) are added
	Topic    map[string]string // what it is about, e.g. "domain": "Healthcare"
	Context  string            // text that tells more, such as notes of the meeting
	// Reference is noted with the request in Soniox's usage logs.
	Reference string

	// Front are retries and timeouts; nil for the defaults.
	Front *stt.ModelOptions
}

// NewSTT returns a model that transcribes live audio over a websocket, and says when an utterance has
// begun and ended. It streams only. A missing key is an error that names the environment variable.
//
// Soniox bills the time that a stream is open, also while no audio is sent. The usage that is booked is
// the audio alone: at the end of a stream as Soniox states it, until then as it was sent.
func NewSTT(o *STTOptions) (*stt.Model, error) {
	r, err := newSTT(o)
	if err != nil {
		return nil, err
	}
	return stt.New(r, r.o.Front), nil
}

// recognizer implements driver.STT.
type recognizer struct {
	wire.Peer
	o    STTOptions
	base *url.URL
	head http.Header
}

func newSTT(o *STTOptions) (*recognizer, error) {
	r := &recognizer{}
	if o != nil {
		r.o = *o
	}
	key, err := wire.Key("soniox", "STTOptions.APIKey", r.o.APIKey, "SONIOX_API_KEY")
	if err != nil {
		return nil, err
	}
	if r.base, err = wire.Base("soniox", r.o.BaseURL, defaultBase, "SONIOX_BASE_URL"); err != nil {
		return nil, err
	}
	r.o.Model = cmp.Or(r.o.Model, "stt-rt-v5")
	r.o.MaxEndDelay = cmp.Or(r.o.MaxEndDelay, 2*time.Second)
	sensitivity, _ := r.o.EndSensitivity.Get()
	faster, _ := r.o.FasterEnd.Get()
	switch {
	case r.o.MaxEndDelay < minEndDelay || r.o.MaxEndDelay > maxEndDelay:
		return nil, fmt.Errorf("soniox: STTOptions.MaxEndDelay is %v: want %v to %v", r.o.MaxEndDelay, minEndDelay, maxEndDelay)
	case !(sensitivity >= -1 && sensitivity <= 1):
		return nil, fmt.Errorf("soniox: STTOptions.EndSensitivity is %v: want -1 to 1", sensitivity)
	case faster < 0 || faster > 3:
		return nil, fmt.Errorf("soniox: STTOptions.FasterEnd is %d: want 0 to 3", faster)
	}
	r.head = http.Header{"Authorization": {"Bearer " + key}}
	r.Peer = wire.Peer{
		Info: model.Info{Label: "soniox.STT", Provider: "soniox", Model: r.o.Model}, Kind: "stt", Secrets: []string{key},
	}
	return r, nil
}

// Info implements driver.STT.
func (r *recognizer) Info() model.Info { return r.Peer.Info }

// Capabilities implements driver.STT.
func (r *recognizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		InterimResults: true, Diarization: r.o.Diarize, AlignedTranscript: "word", Keyterms: true, SampleRate: sttRate,
	}
}

// config is the first message of a stream.
type config struct {
	Model          string   `json:"model"`
	Format         string   `json:"audio_format"`
	Channels       int      `json:"num_channels"`
	Rate           int      `json:"sample_rate"`
	Hints          []string `json:"language_hints,omitempty"`
	Strict         bool     `json:"language_hints_strict,omitempty"`
	Context        *about   `json:"context,omitempty"`
	Diarize        bool     `json:"enable_speaker_diarization,omitempty"`
	Identify       bool     `json:"enable_language_identification,omitempty"`
	Endpointing    bool     `json:"enable_endpoint_detection,omitempty"`
	MaxEndDelay    int64    `json:"max_endpoint_delay_ms,omitempty"`
	EndSensitivity *float64 `json:"endpoint_sensitivity,omitempty"`
	FasterEnd      *int     `json:"endpoint_latency_adjustment_level,omitempty"`
	Reference      string   `json:"client_reference_id,omitempty"`
}

// about is what the audio is about.
type about struct {
	General []pair   `json:"general,omitempty"`
	Text    string   `json:"text,omitempty"`
	Terms   []string `json:"terms,omitempty"`
}

type pair struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func (r *recognizer) config(o driver.Options) config {
	c := config{
		Model: r.o.Model, Format: "pcm_s16le", Channels: 1, Rate: sttRate,
		Diarize: r.o.Diarize, Identify: !r.o.NoLanguage, Endpointing: !r.o.NoEndpointing, Reference: r.o.Reference,
	}
	languages := r.o.Languages
	if o.Language != "" {
		languages = []string{o.Language}
	}
	for _, l := range languages {
		l, _, _ = strings.Cut(strings.ToLower(l), "-")
		if !slices.Contains(c.Hints, l) {
			c.Hints = append(c.Hints, l)
		}
	}
	c.Strict = r.o.OnlyLanguages && len(c.Hints) > 0
	if c.Endpointing {
		c.MaxEndDelay = r.o.MaxEndDelay.Milliseconds()
		if v, ok := r.o.EndSensitivity.Get(); ok {
			c.EndSensitivity = &v
		}
		if v, ok := r.o.FasterEnd.Get(); ok {
			c.FasterEnd = &v
		}
	}
	a := about{Text: r.o.Context, Terms: append(append([]string{}, r.o.Keyterms...), o.Keyterms...)}
	for k, v := range r.o.Topic {
		a.General = append(a.General, pair{k, v})
	}
	slices.SortFunc(a.General, func(x, y pair) int { return strings.Compare(x.Key, y.Key) })
	if len(a.General) > 0 || a.Text != "" || len(a.Terms) > 0 {
		c.Context = &a
	}
	return c
}

// Open implements driver.Streamer.
func (r *recognizer) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	ws, err := wire.Single(ctx, &r.Peer, wire.SocketOptions{
		URL: wire.JoinSocket(r.base, "/transcribe-websocket", nil), Header: r.head,
		Alive: `{"type":"keepalive"}`, AliveEvery: aliveEvery, Reason: wire.Reason(r.refused),
	})
	if err != nil {
		return nil, err
	}
	s := &stream{Socket: ws, r: r}
	if len(r.o.Languages) == 1 {
		s.language = r.o.Languages[0]
	}
	s.language = cmp.Or(o.Language, s.language)
	if err := ws.WriteJSON(ctx, r.config(o)); err != nil {
		ws.Close()
		return nil, err
	}
	return s, nil
}
