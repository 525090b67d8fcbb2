package cartesia

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

const (
	sttRate  = 16000
	sttChunk = 160 * time.Millisecond // of one message
)

// STTOptions are the options of NewSTT. The zero value, or nil, takes the key from CARTESIA_API_KEY.
type STTOptions struct {
	APIKey  string // default CARTESIA_API_KEY
	BaseURL string // default CARTESIA_BASE_URL, else https://api.cartesia.ai
	// Model is "ink-2", which says when turns begin and end, and knows English only, or "ink-whisper",
	// which knows many languages and gives the times of words. Default: ink-2 for English.
	Model string
	// Language is a BCP-47 tag: default "en". With ink-whisper, the language of a single call (stt.Options)
	// goes before it.
	Language string

	// What follows is for ink-2. The likelihood that the user has a turn is between 0 and 1; the values
	// must be in the order TurnStart > TurnEagerEnd > TurnEnd. Unset: Cartesia's.
	TurnStart    opt.Value[float64] // a turn begins above: 0.5 to 0.9, Cartesia's is 0.8
	TurnEagerEnd opt.Value[float64] // it is probably over below, a Preflight event tells: 0.3 to 0.6, Cartesia's is 0.4
	TurnEnd      opt.Value[float64] // it is over below: 0.05 to 0.5, Cartesia's is 0.2
	// TurnTimeout is the silence that ends a turn whatever the likelihood: 640 ms to 11.2 s; 0: Cartesia's,
	// 5.6 s.
	TurnTimeout time.Duration
	Keyterms    []string // words to expect; those of a single call (stt.Options) are added

	// Front are retries and timeouts; nil for the defaults.
	Front *stt.ModelOptions
}

// NewSTT returns a model that transcribes live audio over a websocket. With ink-2, Flush does nothing,
// since the model decides when a turn is over (turn detection "stt"); ink-whisper transcribes when it is
// flushed, and after silences. A missing key is an error that names the environment variable.
func NewSTT(o *STTOptions) (*stt.Model, error) {
	r, err := newSTT(o)
	if err != nil {
		return nil, err
	}
	return stt.New(r, r.o.Front), nil
}

// recognizer implements driver.STT.
type recognizer struct {
	service
	o     STTOptions
	turns bool // the model tells of turns
}

func newSTT(o *STTOptions) (*recognizer, error) {
	r := &recognizer{}
	if o != nil {
		r.o = *o
	}
	english := r.o.Language == "" || short(r.o.Language) == "en"
	if r.o.Model == "" {
		r.o.Model = "ink-whisper"
		if english {
			r.o.Model = "ink-2"
		}
	}
	r.o.Language = cmp.Or(r.o.Language, "en")
	r.turns = !strings.HasPrefix(r.o.Model, "ink-whisper")
	tuned := !r.o.TurnStart.IsUnset() || !r.o.TurnEagerEnd.IsUnset() || !r.o.TurnEnd.IsUnset() || r.o.TurnTimeout != 0 || len(r.o.Keyterms) > 0
	if tuned && !r.turns {
		return nil, fmt.Errorf("cartesia: %s knows neither turns nor keyterms: STTOptions.Turn... and Keyterms are for ink-2", r.o.Model)
	}
	s, err := newService("STTOptions", "cartesia.STT", "stt", r.o.Model, r.o.APIKey, r.o.BaseURL)
	r.service = s
	return r, err
}

// Capabilities implements driver.STT.
func (r *recognizer) Capabilities() driver.Capabilities {
	c := driver.Capabilities{InterimResults: true, SampleRate: sttRate, Keyterms: r.turns}
	if !r.turns {
		c.AlignedTranscript = "word"
	}
	return c
}

// Open implements driver.Streamer.
func (r *recognizer) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	q := url.Values{"model": {r.o.Model}, "sample_rate": {strconv.Itoa(sttRate)}, "encoding": {"pcm_s16le"}}
	path, language := "/stt/turns/websocket", r.o.Language
	if r.turns {
		r.tune(q, o)
	} else {
		path, language = "/stt/websocket", cmp.Or(o.Language, language)
		q.Set("language", short(language))
	}
	s, err := wire.Single(ctx, &r.Peer, wire.SocketOptions{
		URL: wire.JoinSocket(r.base, path, q), Header: r.head, Reason: wire.Reason(r.refused),
	})
	if err != nil {
		return nil, err
	}
	in := &input{Socket: s, r: r, language: language}
	in.chunks.Size, in.chunks.Rate = 2*audio.SamplesIn(sttChunk, sttRate), sttRate
	if r.turns {
		return &turns{input: in}, nil
	}
	return &whisper{input: in}, nil
}

// tune sets what ink-2 may be told.
func (r *recognizer) tune(q url.Values, o driver.Options) {
	for name, v := range map[string]opt.Value[float64]{
		"turn_start_threshold": r.o.TurnStart, "turn_eager_end_threshold": r.o.TurnEagerEnd, "turn_end_threshold": r.o.TurnEnd,
	} {
		if x, ok := v.Get(); ok {
			q.Set(name, strconv.FormatFloat(x, 'g', -1, 64))
		}
	}
	if r.o.TurnTimeout > 0 {
		q.Set("turn_end_timeout_ms", strconv.FormatInt(r.o.TurnTimeout.Milliseconds(), 10))
	}
	if keyterms := append(append([]string{}, r.o.Keyterms...), o.Keyterms...); len(keyterms) > 0 {
		q["keyterm"] = keyterms
	}
}
