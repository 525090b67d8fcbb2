package deepgram

import (
	"cmp"
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

const (
	sttRate     = 16000
	endpointing = 25 * time.Millisecond
	// aliveEvery is how often a stream tells that it lives: Deepgram closes one that sends nothing for 10 s.
	aliveEvery = 5 * time.Second
)

// STTOptions are the options of NewSTT. The zero value, or nil, takes the key from DEEPGRAM_API_KEY.
type STTOptions struct {
	APIKey  string // default DEEPGRAM_API_KEY
	BaseURL string // default DEEPGRAM_BASE_URL, else https://api.deepgram.com
	Model   string // default "nova-3"
	// Language is a BCP-47 tag, or "multi" for speech that changes between languages: default "en-US".
	// The language of a single call (stt.Options) goes before it.
	Language string
	// DetectLanguage makes Recognize find out the language. Streams do not.
	DetectLanguage bool

	NoInterim       bool // no transcripts of what may still change
	NoPunctuation   bool
	NoFillerWords   bool // leave out "uh" and "um"
	SmartFormat     bool // write dates, amounts and the like as people do
	Numerals        bool // write numbers as digits
	Dictation       bool // spoken punctuation becomes punctuation
	ProfanityFilter bool
	Diarize         bool // tell speakers apart: alternatives have a SpeakerID

	// Endpointing is the silence after which an utterance is over: default 25 ms. Off: never.
	Endpointing opt.Value[time.Duration]
	// UtteranceEnd also ends an utterance after such a gap between words, at least 1 s; 0: does not.
	UtteranceEnd time.Duration

	Keyterms []string // words to expect (nova-3); those of a single call (stt.Options) are added
	Keywords []string // the same for older models, as "word" or "word:boost"
	Redact   []string // e.g. "pci", "numbers"
	Replace  []string // as "heard:written"
	Search   []string
	Tags     []string // for Deepgram's usage reports, at most 128 bytes each
	// NoTraining keeps the audio out of Deepgram's model improvement program (mip_opt_out), which may
	// change the price.
	NoTraining bool

	// Front are retries and timeouts; nil for the defaults.
	Front *stt.ModelOptions
}

// NewSTT returns a model that transcribes live audio over a websocket, and whole utterances by HTTP. A
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
	service
	o STTOptions
}

func newSTT(o *STTOptions) (*recognizer, error) {
	r := &recognizer{}
	if o != nil {
		r.o = *o
	}
	r.o.Model = cmp.Or(r.o.Model, "nova-3")
	r.o.Language = cmp.Or(r.o.Language, "en-US")
	if err := checkTags(r.o.Tags); err != nil {
		return nil, err
	}
	s, err := newService("STTOptions", "deepgram.STT", "stt", r.o.Model, r.o.APIKey, r.o.BaseURL)
	r.service = s
	return r, err
}

// Capabilities implements driver.STT.
func (r *recognizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		InterimResults: !r.o.NoInterim, Diarization: r.o.Diarize, AlignedTranscript: "word", Keyterms: true, SampleRate: sttRate,
	}
}

// query is what live audio and recordings have in common.
func (r *recognizer) query(o driver.Options) url.Values {
	q := url.Values{
		"model":            {r.o.Model},
		"punctuate":        {strconv.FormatBool(!r.o.NoPunctuation)},
		"smart_format":     {strconv.FormatBool(r.o.SmartFormat)},
		"filler_words":     {strconv.FormatBool(!r.o.NoFillerWords)},
		"profanity_filter": {strconv.FormatBool(r.o.ProfanityFilter)},
		"numerals":         {strconv.FormatBool(r.o.Numerals)},
		"mip_opt_out":      {strconv.FormatBool(r.o.NoTraining)},
	}
	set := func(name string, on bool) {
		if on {
			q.Set(name, "true")
		}
	}
	set("diarize", r.o.Diarize)
	set("dictation", r.o.Dictation)
	keyterms := append(append([]string{}, r.o.Keyterms...), o.Keyterms...)
	keywords := r.o.Keywords
	if !strings.HasPrefix(r.o.Model, "nova-3") { // older models know words of another name
		keyterms, keywords = nil, append(append([]string{}, keywords...), keyterms...)
	}
	for name, list := range map[string][]string{
		"keyterm": keyterms, "keywords": keywords, "redact": r.o.Redact, "replace": r.o.Replace, "search": r.o.Search, "tag": r.o.Tags,
	} {
		if len(list) > 0 {
			q[name] = list
		}
	}
	return q
}

// Open implements driver.Streamer.
func (r *recognizer) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	q := r.query(o)
	language := cmp.Or(o.Language, r.o.Language)
	q.Set("language", language)
	q.Set("interim_results", strconv.FormatBool(!r.o.NoInterim))
	q.Set("encoding", "linear16")
	q.Set("sample_rate", strconv.Itoa(sttRate))
	q.Set("channels", "1")
	q.Set("no_delay", "true")
	q.Set("vad_events", "true")
	q.Set("endpointing", "false")
	if !r.o.Endpointing.IsOff() {
		q.Set("endpointing", milliseconds(r.o.Endpointing.Default(endpointing)))
	}
	if r.o.UtteranceEnd > 0 {
		q.Set("utterance_end_ms", milliseconds(r.o.UtteranceEnd))
	}
	s, err := r.open(ctx, wire.SocketOptions{
		URL: wire.JoinSocket(r.base, "/v1/listen", q), Alive: `{"type":"KeepAlive"}`, AliveEvery: aliveEvery,
	})
	if err != nil {
		return nil, err
	}
	return &stream{Socket: s, peer: &r.Peer, language: language}, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
