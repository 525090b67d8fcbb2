package speechmatics

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

const (
	defaultBase = "wss://eu.rt.speechmatics.com/v2"
	sttRate     = 16000
	endpointing = 500 * time.Millisecond
	// The bounds that Speechmatics sets.
	maxEndpointing     = 2 * time.Second
	minDelay, maxDelay = 700 * time.Millisecond, 4 * time.Second
)

// STTOptions are the options of NewSTT. The zero value, or nil, takes the key from SPEECHMATICS_API_KEY.
type STTOptions struct {
	APIKey string // default SPEECHMATICS_API_KEY
	// BaseURL is where a region's service is, with the version: default SPEECHMATICS_RT_URL, else
	// wss://eu.rt.speechmatics.com/v2.
	BaseURL string
	Model   string // "standard", "enhanced" (the default) or "melia-1"

	// Language is Speechmatics' code of a language, or a BCP-47 tag whose region does not count: default
	// "en". That of a single call (stt.Options) goes before it.
	Language     string
	OutputLocale string // how words are spelt, e.g. "en-GB"
	Domain       string // e.g. "finance" or "medical", for some languages

	NoInterim     bool // no transcripts of what may still change
	NoFillerWords bool // leave out "uh" and "um"

	// Endpointing is the silence after which an utterance is over, at most 2 s: default 0.5 s. Off: an
	// utterance ends with Flush only, and its words become final as Speechmatics settles them.
	Endpointing opt.Value[time.Duration]
	// MaxDelay is how long a word may stay unsettled, 0.7 to 4 s: default 2 s. It should be above
	// Endpointing.
	MaxDelay time.Duration

	Diarize              bool               // tell speakers apart: alternatives have a SpeakerID, "S1" and so on
	MaxSpeakers          int                // at least 2; 0: no limit
	SpeakerSensitivity   opt.Value[float64] // 0 to 1, higher for more speakers; unset: Speechmatics'
	PreferCurrentSpeaker bool               // change less between speakers who sound alike

	// Keyterms are words to expect; those of a single call (stt.Options) are added. Long lists make the
	// opening of a stream slow, up to 15 s.
	Keyterms []string

	// Front are retries and timeouts; nil for the defaults.
	Front *stt.ModelOptions
}

// NewSTT returns a model that transcribes live audio over a websocket, and says when an utterance has
// begun and ended. It streams only. Speechmatics states no usage: the audio that was sent is booked. A
// missing key is an error that names the environment variable.
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
	key, err := wire.Key("speechmatics", "STTOptions.APIKey", r.o.APIKey, "SPEECHMATICS_API_KEY")
	if err != nil {
		return nil, err
	}
	if r.base, err = wire.Base("speechmatics", r.o.BaseURL, defaultBase, "SPEECHMATICS_RT_URL"); err != nil {
		return nil, err
	}
	r.o.Model = cmp.Or(r.o.Model, "enhanced")
	r.o.Language = cmp.Or(r.o.Language, "en")
	r.o.MaxDelay = cmp.Or(r.o.MaxDelay, 2*time.Second)
	silence := r.o.Endpointing.Default(endpointing)
	sensitivity, _ := r.o.SpeakerSensitivity.Get()
	switch {
	case r.o.MaxDelay < minDelay || r.o.MaxDelay > maxDelay:
		return nil, fmt.Errorf("speechmatics: STTOptions.MaxDelay is %v: want %v to %v", r.o.MaxDelay, minDelay, maxDelay)
	case !r.o.Endpointing.IsOff() && (silence <= 0 || silence > maxEndpointing):
		return nil, fmt.Errorf("speechmatics: STTOptions.Endpointing is %v: want more than 0 and at most %v", silence, maxEndpointing)
	case r.o.MaxSpeakers == 1 || r.o.MaxSpeakers < 0:
		return nil, fmt.Errorf("speechmatics: STTOptions.MaxSpeakers is %d: want at least 2", r.o.MaxSpeakers)
	case !(sensitivity >= 0 && sensitivity <= 1):
		return nil, fmt.Errorf("speechmatics: STTOptions.SpeakerSensitivity is %v: want 0 to 1", sensitivity)
	}
	r.head = http.Header{"Authorization": {"Bearer " + key}}
	r.Peer = wire.Peer{
		Info: model.Info{Label: "speechmatics.STT", Provider: "speechmatics", Model: r.o.Model}, Kind: "stt", Secrets: []string{key},
	}
	return r, nil
}

// Info implements driver.STT.
func (r *recognizer) Info() model.Info { return r.Peer.Info }

// Capabilities implements driver.STT.
func (r *recognizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		InterimResults: !r.o.NoInterim, Diarization: r.o.Diarize, AlignedTranscript: "word", Keyterms: true, SampleRate: sttRate,
	}
}

// startRecognition is the first message of a stream.
type startRecognition struct {
	Message string `json:"message"`
	Format  format `json:"audio_format"`
	Config  config `json:"transcription_config"`
}

type format struct {
	Type     string `json:"type"`
	Encoding string `json:"encoding"`
	Rate     int    `json:"sample_rate"`
}

type config struct {
	Language     string     `json:"language"`
	Model        string     `json:"model"`
	OutputLocale string     `json:"output_locale,omitempty"`
	Domain       string     `json:"domain,omitempty"`
	Partials     bool       `json:"enable_partials"`
	MaxDelay     float64    `json:"max_delay"` // seconds
	Endpointing  *silence   `json:"conversation_config,omitempty"`
	Diarization  string     `json:"diarization,omitempty"`
	Speakers     *speakers  `json:"speaker_diarization_config,omitempty"`
	Filter       *filter    `json:"transcript_filtering_config,omitempty"`
	Vocabulary   []vocabule `json:"additional_vocab,omitempty"`
}

type silence struct {
	Trigger float64 `json:"end_of_utterance_silence_trigger"` // seconds
}

type speakers struct {
	Max           int      `json:"max_speakers,omitempty"`
	Sensitivity   *float64 `json:"speaker_sensitivity,omitempty"`
	PreferCurrent bool     `json:"prefer_current_speaker,omitempty"`
}

type filter struct {
	NoFillers bool `json:"remove_disfluencies"`
}

type vocabule struct {
	Content string `json:"content"`
}

func (r *recognizer) start(o driver.Options) startRecognition {
	c := config{
		Language: language(cmp.Or(o.Language, r.o.Language)), Model: r.o.Model, OutputLocale: r.o.OutputLocale, Domain: r.o.Domain,
		Partials: !r.o.NoInterim, MaxDelay: r.o.MaxDelay.Seconds(),
	}
	if !r.o.Endpointing.IsOff() {
		c.Endpointing = &silence{r.o.Endpointing.Default(endpointing).Seconds()}
	}
	if r.o.Diarize {
		c.Diarization = "speaker"
		s := speakers{Max: r.o.MaxSpeakers, PreferCurrent: r.o.PreferCurrentSpeaker}
		if v, ok := r.o.SpeakerSensitivity.Get(); ok {
			s.Sensitivity = &v
		}
		if s != (speakers{}) {
			c.Speakers = &s
		}
	}
	if r.o.NoFillerWords {
		c.Filter = &filter{true}
	}
	for _, k := range append(append([]string{}, r.o.Keyterms...), o.Keyterms...) {
		c.Vocabulary = append(c.Vocabulary, vocabule{k})
	}
	return startRecognition{"StartRecognition", format{"raw", "pcm_s16le", sttRate}, c}
}

// language is the code that Speechmatics has for a tag.
func language(tag string) string {
	code, _, _ := strings.Cut(strings.ToLower(tag), "-")
	if code == "zh" {
		return "cmn"
	}
	return code
}

// Open implements driver.Streamer.
func (r *recognizer) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	ws, err := wire.Single(ctx, &r.Peer, wire.SocketOptions{
		URL: wire.JoinSocket(r.base, "", nil), Header: r.head, Reason: wire.Reason(func(m *message) error { return r.refused("transcribe", m) }),
	})
	if err != nil {
		return nil, err
	}
	start := r.start(o)
	s := &stream{Socket: ws, r: r, language: start.Config.Language, alone: start.Config.Endpointing == nil}
	if err := s.begin(ctx, &start); err != nil {
		ws.Close()
		return nil, err
	}
	return s, nil
}
