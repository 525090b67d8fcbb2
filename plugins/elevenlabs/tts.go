package elevenlabs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

const (
	defaultVoice = "hpp4J3VqNfWAUOO0d1Us"
	defaultRate  = 24000
	// maxContexts is how many speeches ElevenLabs takes on one connection; one more and it closes it.
	maxContexts = 5
	// inactivity is after how much silence ElevenLabs gives up: the most that may be asked for.
	inactivity = 180 * time.Second
	// keepSocket is how long an idle connection is kept, a little less than that.
	keepSocket = inactivity - 10*time.Second
)

// rates are those of the PCM formats, in Hz.
var rates = []int{8000, 16000, 22050, 24000, 32000, 44100, 48000}

// Dictionary names a pronunciation dictionary.
type Dictionary struct {
	ID      string
	Version string
}

// TTSOptions are the options of NewTTS. The zero value, or nil, takes the key from ELEVEN_API_KEY.
type TTSOptions struct {
	APIKey   string // default ELEVEN_API_KEY, else ELEVENLABS_API_KEY
	BaseURL  string // default ELEVEN_BASE_URL, else https://api.elevenlabs.io/v1
	Model    string // default "eleven_turbo_v2_5"
	Voice    string // id of a voice; default an English one
	Language string // BCP-47; default "": the model finds out. Some models refuse one
	Rate     int    // of the audio, Hz: 8000, 16000, 22050, 24000, 32000, 44100 or 48000; default 24000

	// Settings of the voice; unset: those that are stored with it.
	Stability    opt.Value[float64] // 0 to 1
	Similarity   opt.Value[float64] // to the original voice, 0 to 1
	Style        opt.Value[float64] // exaggeration, 0 to 1
	Speed        opt.Value[float64] // 0.7 to 1.2
	SpeakerBoost opt.Value[bool]

	// ChunkSchedule makes ElevenLabs wait for so many characters (50 to 500) before it makes the first,
	// second, ... piece of audio: a steadier voice, and later. By default each sentence is spoken at once.
	ChunkSchedule []int
	// TextNormalization says whether numbers and the like are written out before they are spoken: "auto",
	// which is the default, "on" or "off".
	TextNormalization string
	// LanguageNormalization does more of that, for languages that need it; it is slow.
	LanguageNormalization bool
	Dictionaries          []Dictionary // at most 3
	// OriginalWords takes the times of words from the text as it was given instead of the text as it is
	// spoken ("9" or "nine"). Unset: so for Japanese, Korean and Chinese.
	OriginalWords opt.Value[bool]
	// NoWords leaves out the times of words, by which transcripts follow the voice.
	NoWords bool
	// NoLogging keeps ElevenLabs from keeping texts and audio; for enterprises.
	NoLogging bool

	// Front are retries and timeouts; nil for the defaults.
	Front *tts.ModelOptions
}

// NewTTS returns a model that speaks over websockets, each of which carries up to five speeches at a
// time and is kept for all sessions of the model. Close the model to close them. A missing key is an
// error that names the environment variable.
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
	mux  *wire.Mux[*reply]
	init initial
}

func newTTS(o *TTSOptions) (*synthesizer, error) {
	d := &synthesizer{}
	if o != nil {
		d.o = *o
	}
	d.o.Model = cmp.Or(d.o.Model, "eleven_turbo_v2_5")
	d.o.Voice = cmp.Or(d.o.Voice, defaultVoice)
	d.o.Rate = cmp.Or(d.o.Rate, defaultRate)
	d.o.TextNormalization = cmp.Or(d.o.TextNormalization, "auto")
	if !slices.Contains(rates, d.o.Rate) {
		return nil, fmt.Errorf("elevenlabs: TTSOptions.Rate is %d: want one of %v", d.o.Rate, rates)
	}
	if d.o.OriginalWords.IsUnset() {
		d.o.OriginalWords = opt.Some(slices.Contains([]string{"ja", "ko", "zh"}, short(d.o.Language)))
	}
	var err error
	if d.service, err = newService("TTSOptions", "elevenlabs.TTS", "tts", d.o.Model, d.o.APIKey, d.o.BaseURL); err != nil {
		return nil, err
	}
	d.init = d.initial()
	address := wire.JoinSocket(d.base, "/text-to-speech/"+d.o.Voice+"/multi-stream-input", d.query())
	d.mux = wire.NewMux(&d.Peer, wire.MuxOptions[*reply]{
		Open: func(context.Context) (wire.SocketOptions, error) {
			return wire.SocketOptions{URL: address, Header: d.head, Reason: wire.Reason(d.reason)}, nil
		},
		Route: d.route, Streams: maxContexts, MaxIdle: keepSocket,
	})
	return d, nil
}

// query is what holds for a whole connection.
func (d *synthesizer) query() url.Values {
	q := url.Values{
		"model_id":                 {d.o.Model},
		"output_format":            {"pcm_" + strconv.Itoa(d.o.Rate)},
		"enable_ssml_parsing":      {"false"},
		"enable_logging":           {strconv.FormatBool(!d.o.NoLogging)},
		"inactivity_timeout":       {strconv.Itoa(int(inactivity.Seconds()))},
		"apply_text_normalization": {d.o.TextNormalization},
		"auto_mode":                {strconv.FormatBool(d.auto())},
	}
	if !d.o.NoWords {
		q.Set("sync_alignment", "true")
	}
	if d.o.Language != "" {
		q.Set("language_code", short(d.o.Language))
	}
	if d.o.LanguageNormalization {
		q.Set("apply_language_text_normalization", "true")
	}
	return q
}

// auto reports whether each sentence is spoken at once.
func (d *synthesizer) auto() bool { return len(d.o.ChunkSchedule) == 0 }

// initial is the first message of a speech.
type initial struct {
	Text         string         `json:"text"`
	ContextID    string         `json:"context_id"`
	Settings     map[string]any `json:"voice_settings"`
	Generation   map[string]any `json:"generation_config,omitempty"`
	Dictionaries []locator      `json:"pronunciation_dictionary_locators,omitempty"`
}

type locator struct {
	ID      string `json:"pronunciation_dictionary_id"`
	Version string `json:"version_id,omitempty"`
}

func (d *synthesizer) initial() initial {
	i := initial{Text: " ", Settings: map[string]any{}}
	for name, v := range map[string]opt.Value[float64]{
		"stability": d.o.Stability, "similarity_boost": d.o.Similarity, "style": d.o.Style, "speed": d.o.Speed,
	} {
		if f, ok := v.Get(); ok {
			i.Settings[name] = f
		}
	}
	if b, ok := d.o.SpeakerBoost.Get(); ok {
		i.Settings["use_speaker_boost"] = b
	}
	if !d.auto() {
		i.Generation = map[string]any{"chunk_length_schedule": d.o.ChunkSchedule}
	}
	for _, x := range d.o.Dictionaries {
		i.Dictionaries = append(i.Dictionaries, locator(x))
	}
	return i
}

// Capabilities implements driver.TTS.
func (d *synthesizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{AlignedTranscript: !d.o.NoWords, Sentences: true, SampleRate: d.o.Rate, Channels: 1}
}

// Prewarm opens a connection ahead of the first speech.
func (d *synthesizer) Prewarm(context.Context) { d.mux.Prewarm() }

// Close ends the connections.
func (d *synthesizer) Close(ctx context.Context) error { return d.mux.Close(ctx) }

// reply is a message of the provider, which has two spellings of some names.
type reply struct {
	ContextID  string     `json:"contextId"`
	ContextID2 string     `json:"context_id"`
	Audio      []byte     `json:"audio"`
	Alignment  *alignment `json:"alignment"`
	Normalized *alignment `json:"normalizedAlignment"`
	Final      bool       `json:"isFinal"`
	Final2     bool       `json:"is_final"`

	Error   json.RawMessage `json:"error"`
	Message string          `json:"message"`
	Code    int             `json:"code"`
}

// route implements wire.MuxOptions.
func (d *synthesizer) route(m wire.Message) (*reply, string, bool, error) {
	if m.Binary {
		return nil, "", false, d.Protocol("receive", "binary message where text was expected")
	}
	r := &reply{}
	if err := json.Unmarshal(m.Data, r); err != nil {
		return nil, "", false, d.Protocol("receive", "message cannot be read: %v", err)
	}
	r.Final = r.Final || r.Final2
	if err := d.reason(r); err != nil {
		return nil, "", false, err
	}
	return r, r.context(), r.Final || d.refused(r) != nil, nil
}

func (r *reply) context() string { return cmp.Or(r.ContextID, r.ContextID2) }

// reason is the error that a message states of the connection, if any.
func (d *synthesizer) reason(r *reply) error {
	if r.context() != "" {
		return nil
	}
	return d.refused(r)
}

// refused is the error that a message states, if any.
func (d *synthesizer) refused(r *reply) error {
	if len(r.Error) == 0 || string(r.Error) == "null" {
		return nil
	}
	return d.stated("speak", wire.Explain(r.Error), r.Message, r.Code)
}

// Open implements driver.Streamer.
func (d *synthesizer) Open(ctx context.Context) (driver.Stream, error) {
	c, err := d.mux.Open(ctx, metrics.NewID("ctx_"))
	if err != nil {
		return nil, err
	}
	return &speech{d: d, Channel: c, letters: letters{given: d.o.OriginalWords.Default(false)}}, nil
}
