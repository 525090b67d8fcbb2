package livekit

import (
	"cmp"
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

const (
	sttRate  = 16000
	sttChunk = 50 * time.Millisecond // of one message
	goodbye  = `{"type":"session.close"}`
)

// STTOptions are the options of NewSTT. Model must be set.
type STTOptions struct {
	// Model is its name at the gateway, and a language if wanted, e.g. "deepgram/nova-3" or
	// "deepgram/nova-3:en". "auto" lets the gateway choose.
	Model     string
	APIKey    string // default LIVEKIT_INFERENCE_API_KEY, else LIVEKIT_API_KEY
	APISecret string // default LIVEKIT_INFERENCE_API_SECRET, else LIVEKIT_API_SECRET
	BaseURL   string // default LIVEKIT_INFERENCE_URL, else LiveKit's

	// Language is a BCP-47 tag, or "multi": default that of Model, else the provider's. That of a single
	// call (stt.Options) goes before it.
	Language string
	// Extra are options of the provider in its own words, such as "diarize" or "keyterm" of Deepgram.
	Extra map[string]any
	// Fallback are models that the gateway asks when Model fails, in this order.
	Fallback []Fallback
	// Upstream is how the gateway tries a provider: Timeout and MaxRetry, whose defaults count.
	Upstream model.ConnOptions
	// Front are retries and timeouts between us and the gateway; nil for the defaults.
	Front *stt.ModelOptions
}

// NewSTT returns a model that transcribes live audio through the gateway. Missing credentials are an
// error that names the environment variables.
//
// The end of a stream takes a second: finals may come after the gateway has said that there are no more.
func NewSTT(o *STTOptions) (*stt.Model, error) {
	r, err := newSTT(o)
	if err != nil {
		return nil, err
	}
	return stt.New(r, r.o.Front), nil
}

// recognizer implements driver.STT.
type recognizer struct {
	access
	o STTOptions
}

func newSTT(o *STTOptions) (*recognizer, error) {
	r := &recognizer{}
	if o != nil {
		r.o = *o
	}
	name, language := split(r.o.Model)
	var err error
	if r.access, err = newAccess("STTOptions", "stt", name, r.o.APIKey, r.o.APISecret, r.o.BaseURL); err != nil {
		return nil, err
	}
	r.o.Model, r.o.Language = name, cmp.Or(r.o.Language, language)
	return r, nil
}

// Info implements driver.STT.
func (r *recognizer) Info() model.Info { return r.Peer.Info }

// aligned are the models that tell the times of words; those of LiveKit's list.
var aligned = strings.Fields("deepgram/ cartesia/ink-whisper assemblyai/ elevenlabs/scribe_v2_realtime xai/stt-1 speechmatics/")

// Capabilities implements driver.STT.
func (r *recognizer) Capabilities() driver.Capabilities {
	c := driver.Capabilities{
		InterimResults: true, SampleRate: sttRate, AlignedTranscript: "word", Keyterms: keytermsOf(r.o.Model) != "",
	}
	models := []string{r.o.Model}
	for _, f := range r.o.Fallback {
		models = append(models, f.Model)
	}
	for _, m := range models {
		if !slices.ContainsFunc(aligned, func(prefix string) bool { return strings.HasPrefix(m, prefix) }) {
			c.AlignedTranscript = ""
		}
	}
	for _, name := range []string{"diarize", "speaker_labels", "diarization"} { // of several providers
		switch v := r.o.Extra[name].(type) {
		case bool:
			c.Diarization = c.Diarization || v
		case string:
			c.Diarization = c.Diarization || v != "" && v != "none"
		}
	}
	return c
}

// keytermsOf is the option with which a model's provider is told of words to expect; "" if there is none.
func keytermsOf(name string) string {
	provider, _, _ := strings.Cut(name, "/")
	return map[string]string{"deepgram": "keyterm", "assemblyai": "keyterms_prompt", "speechmatics": "additional_vocab"}[provider]
}

// extra are the options for the provider, with further words to expect.
func (r *recognizer) extra(terms []string) map[string]any {
	e := maps.Clone(orEmpty(r.o.Extra))
	key := keytermsOf(r.o.Model)
	if key == "" || len(terms) == 0 {
		return e
	}
	var list []any
	switch own := e[key].(type) {
	case string:
		list = append(list, own)
	case []string:
		for _, t := range own {
			list = append(list, t)
		}
	case []any:
		list = append(list, own...)
	}
	for _, t := range terms {
		if key == "additional_vocab" {
			list = append(list, map[string]any{"content": t})
		} else if !slices.Contains(list, any(t)) {
			list = append(list, t)
		}
	}
	e[key] = list
	return e
}

// createSTT is the first message of a stream.
type createSTT struct {
	Type       string     `json:"type"`
	Model      string     `json:"model,omitempty"`
	Settings   settings   `json:"settings"`
	Fallback   *fallbacks `json:"fallback,omitempty"`
	Connection connection `json:"connection"`
}

type settings struct {
	Rate     string         `json:"sample_rate"`
	Encoding string         `json:"encoding"`
	Language string         `json:"language,omitempty"`
	Extra    map[string]any `json:"extra"`
}

// Open implements driver.Streamer.
func (r *recognizer) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	h, err := r.header(model.JobOf(ctx))
	if err != nil {
		return nil, err
	}
	ws, err := wire.Single(ctx, &r.Peer, wire.SocketOptions{
		URL: wire.JoinSocket(r.base, "/stt", url.Values{"model": {r.o.Model}}), Header: h,
		Goodbye: goodbye, Reason: r.reason("transcribe"),
	})
	if err != nil {
		return nil, err
	}
	create := createSTT{
		Type: "session.create", Model: r.o.Model, Fallback: standby(r.o.Fallback, false), Connection: upstream(r.o.Upstream),
		Settings: settings{strconv.Itoa(sttRate), "pcm_s16le", cmp.Or(o.Language, r.o.Language), r.extra(o.Keyterms)},
	}
	if create.Model == "auto" {
		create.Model = ""
	}
	if err := ws.WriteJSON(ctx, create); err != nil {
		ws.Close()
		return nil, err
	}
	s := &stream{
		Socket: ws, a: &r.access, language: create.Settings.Language, session: h.Get(headSession),
		chunks: wire.Chunks{Size: 2 * audio.SamplesIn(sttChunk, sttRate), Rate: sttRate},
	}
	s.ending, s.end = context.WithCancel(context.Background())
	return s, nil
}
