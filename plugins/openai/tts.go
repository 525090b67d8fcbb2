package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

// TTSOptions are the options of NewTTS. The zero value, or nil, is OpenAI with the key in OPENAI_API_KEY.
type TTSOptions struct {
	// Service is who is asked: default OpenAI. Groq and Azure have defaults too; others, such as a server
	// of your own, need a Model and a Voice.
	Service Service
	// APIKey: default the service's environment variable, e.g. OPENAI_API_KEY or GROQ_API_KEY.
	APIKey string
	// ADToken is for Azure: a token of Entra ID instead of a key; default AZURE_OPENAI_AD_TOKEN.
	ADToken string
	// BaseURL: default the service's environment variable, e.g. OPENAI_BASE_URL, else its address. For
	// Azure the resource's endpoint, e.g. "https://name.openai.azure.com" (AZURE_OPENAI_ENDPOINT).
	BaseURL string
	// Model: default gpt-4o-mini-tts, or Groq's canopylabs/orpheus-v1-english.
	Model string
	// Deployment and APIVersion are for Azure: default Model, and OPENAI_API_VERSION or 2024-10-21.
	Deployment, APIVersion string

	Voice        string             // default ash, or Groq's autumn
	Instructions string             // how to speak, e.g. "in a cheerful tone" (gpt-4o-mini-tts)
	Speed        opt.Value[float64] // 0.25 to 4; unset: the provider's
	// Format is what is asked for: "pcm" or "wav", which need no decoder. Default pcm; wav for Groq.
	Format string
	// Rate of the audio, Hz: default 24000, 48000 for Groq. That of a wav file is taken from its head.
	Rate int
	// Extra are further fields of the request. They replace ours of the same name.
	Extra map[string]any
	// Header is added to every request.
	Header http.Header
	// HTTPClient does the requests; nil for one that all plugins share. Its timeout would end speeches.
	HTTPClient *http.Client
	// Front are retries and timeouts; nil for the defaults.
	Front *tts.ModelOptions
}

// NewTTS returns a model that speaks a sentence per request. A missing key is an error that names the
// environment variable.
func NewTTS(o *TTSOptions) (*tts.Model, error) {
	d, err := newTTS(o)
	if err != nil {
		return nil, err
	}
	return tts.New(d, d.o.Front), nil
}

const (
	speechRate     = 24000
	groqSpeechRate = 48000
	formatPCM      = "pcm"
	formatWAV      = "wav"
)

// synthesizer implements driver.Synthesizer.
type synthesizer struct {
	*endpoint
	o TTSOptions
}

func newTTS(o *TTSOptions) (*synthesizer, error) {
	d := &synthesizer{}
	if o != nil {
		d.o = *o
	}
	var err error
	d.endpoint, err = account{
		kind: "tts", label: "openai.TTS", options: "TTSOptions", service: d.o.Service,
		key: d.o.APIKey, token: d.o.ADToken, base: d.o.BaseURL, model: d.o.Model, std: func(p preset) string { return p.tts },
		deployment: d.o.Deployment, azureVersion: d.o.APIVersion, header: d.o.Header, http: d.o.HTTPClient,
	}.endpoint()
	if err != nil {
		return nil, err
	}
	if d.o.Voice == "" {
		if d.o.Voice = d.voice; d.o.Voice == "" {
			return nil, fmt.Errorf("openai: %s needs TTSOptions.Voice", d.service)
		}
	}
	format, rate := formatPCM, speechRate
	if d.service == Groq {
		format, rate = formatWAV, groqSpeechRate
	}
	if d.o.Rate == 0 {
		d.o.Rate = rate
	}
	switch d.o.Format {
	case "":
		d.o.Format = format
	case formatPCM, formatWAV:
	default:
		return nil, fmt.Errorf("openai: TTSOptions.Format %q cannot be decoded: want pcm or wav", d.o.Format)
	}
	return d, nil
}

// Info implements driver.TTS.
func (d *synthesizer) Info() model.Info { return d.Client.Info }

// Capabilities implements driver.TTS.
func (d *synthesizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{SampleRate: d.o.Rate, Channels: 1, Tokens: strings.HasPrefix(d.model, "gpt-")}
}

// Prewarm opens a connection ahead of the first speech.
func (d *synthesizer) Prewarm(ctx context.Context) {
	d.Client.Prewarm(ctx, wire.Join(d.base, "/models", nil), d.header)
}

// Synthesize implements driver.Synthesizer.
func (d *synthesizer) Synthesize(ctx context.Context, text string) (driver.AudioStream, error) {
	b := map[string]any{"model": d.model, "voice": d.o.Voice, "input": text, "response_format": d.o.Format}
	if d.service == OpenAI || d.service == Azure {
		// Events say what a speech cost; the older models have none.
		b["stream_format"] = "sse"
		if strings.HasPrefix(d.model, "tts-1") {
			b["stream_format"] = "audio"
		}
	}
	if d.o.Instructions != "" {
		b["instructions"] = d.o.Instructions
	}
	put(b, "speed", d.o.Speed)
	for k, v := range d.o.Extra {
		b[k] = v
	}
	body, err := json.Marshal(b)
	if err != nil {
		return nil, d.Error(model.KindRequest, "speak", fmt.Errorf("encoding request: %w", err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.Join(d.base, "/audio/speech", nil), bytes.NewReader(body))
	if err != nil {
		return nil, d.Error(model.KindRequest, "speak", err)
	}
	req.Header = d.jsonHeader()
	resp, err := d.Do(ctx, "speak", req)
	if err != nil {
		return nil, err
	}
	return d.speech(ctx, resp)
}
