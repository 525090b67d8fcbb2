package deepgram

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
	fluxChunk      = 80 * time.Millisecond // what Deepgram asks for
	fluxConfidence = 0.7
)

// FluxOptions are the options of NewFlux. The zero value, or nil, takes the key from DEEPGRAM_API_KEY.
type FluxOptions struct {
	APIKey  string // default DEEPGRAM_API_KEY
	BaseURL string // default DEEPGRAM_BASE_URL, else https://api.deepgram.com
	Model   string // default "flux-general-en"; "flux-general-multi" for other languages

	// EndOfTurn is the confidence at which a turn is over, 0.5 to 1: default 0.7. Lower is faster, and
	// cuts in more often; at 1 turns end by Flush and by Timeout only.
	EndOfTurn opt.Value[float64]
	// EagerEndOfTurn is the confidence at which a turn is probably over, 0.3 to 0.9 and at most EndOfTurn:
	// a Preflight event lets the agent prepare its answer. Unset: no such events.
	EagerEndOfTurn opt.Value[float64]
	// Timeout is the silence that ends a turn whatever the confidence: default 5 s (Deepgram's).
	Timeout time.Duration

	Keyterms []string // words to expect; those of a single call (stt.Options) are added
	// Languages are those to expect, as BCP-47 tags (flux-general-multi); that of a single call
	// (stt.Options) goes before them.
	Languages []string
	Tags      []string // for Deepgram's usage reports, at most 128 bytes each
	// NoTraining keeps the audio out of Deepgram's model improvement program (mip_opt_out), which may
	// change the price.
	NoTraining bool

	// Front are retries and timeouts; nil for the defaults.
	Front *stt.ModelOptions
}

// NewFlux returns Deepgram's model for conversations, which says when the user begins to speak and when
// a turn is over (turn detection "stt"). It streams only. A missing key is an error that names the
// environment variable.
func NewFlux(o *FluxOptions) (*stt.Model, error) {
	f, err := newFlux(o)
	if err != nil {
		return nil, err
	}
	return stt.New(f, f.o.Front), nil
}

// flux implements driver.STT.
type flux struct {
	service
	o FluxOptions
}

func newFlux(o *FluxOptions) (*flux, error) {
	f := &flux{}
	if o != nil {
		f.o = *o
	}
	f.o.Model = cmp.Or(f.o.Model, "flux-general-en")
	if err := checkTags(f.o.Tags); err != nil {
		return nil, err
	}
	if eager, ok := f.o.EagerEndOfTurn.Get(); ok && eager > f.o.EndOfTurn.Default(fluxConfidence) {
		return nil, fmt.Errorf("deepgram: FluxOptions.EagerEndOfTurn is %v: it must not be above EndOfTurn, %v",
			eager, f.o.EndOfTurn.Default(fluxConfidence))
	}
	s, err := newService("FluxOptions", "deepgram.Flux", "stt", f.o.Model, f.o.APIKey, f.o.BaseURL)
	f.service = s
	return f, err
}

// Capabilities implements driver.STT.
func (f *flux) Capabilities() driver.Capabilities {
	return driver.Capabilities{InterimResults: true, AlignedTranscript: "word", Keyterms: true, SampleRate: sttRate}
}

// Open implements driver.Streamer.
func (f *flux) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	q := url.Values{
		"model": {f.o.Model}, "sample_rate": {strconv.Itoa(sttRate)}, "encoding": {"linear16"},
		"mip_opt_out": {strconv.FormatBool(f.o.NoTraining)},
	}
	for name, v := range map[string]opt.Value[float64]{"eot_threshold": f.o.EndOfTurn, "eager_eot_threshold": f.o.EagerEndOfTurn} {
		if x, ok := v.Get(); ok {
			q.Set(name, strconv.FormatFloat(x, 'g', -1, 64))
		}
	}
	if f.o.Timeout > 0 {
		q.Set("eot_timeout_ms", milliseconds(f.o.Timeout))
	}
	hints := f.o.Languages
	if o.Language != "" {
		hints = []string{o.Language}
	}
	language := "en"
	if multi := strings.HasSuffix(f.o.Model, "-multi"); multi {
		language = ""
		if len(hints) == 1 {
			language = hints[0]
		}
	} else {
		hints = nil // the model knows one language
	}
	keyterms := append(append([]string{}, f.o.Keyterms...), o.Keyterms...)
	for name, list := range map[string][]string{"keyterm": keyterms, "language_hint": hints, "tag": f.o.Tags} {
		if len(list) > 0 {
			q[name] = list
		}
	}
	s, err := f.open(ctx, wire.SocketOptions{URL: wire.JoinSocket(f.base, "/v2/listen", q)})
	if err != nil {
		return nil, err
	}
	t := &turns{Socket: s, peer: &f.Peer, language: language, turn: -1}
	t.chunks.Size, t.chunks.Rate = 2*audio.SamplesIn(fluxChunk, sttRate), sttRate
	return t, nil
}
