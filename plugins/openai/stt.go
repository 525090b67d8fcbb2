package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

// STTOptions are the options of NewSTT. The zero value, or nil, transcribes utterances as a whole with
// OpenAI and the key in OPENAI_API_KEY.
type STTOptions struct {
	// Service is who is asked: default OpenAI. Groq and Azure have defaults too; others, such as a server
	// of your own, need a Model.
	Service Service
	// APIKey: default the service's environment variable, e.g. OPENAI_API_KEY or GROQ_API_KEY.
	APIKey string
	// ADToken is for Azure: a token of Entra ID instead of a key; default AZURE_OPENAI_AD_TOKEN.
	ADToken string
	// BaseURL: default the service's environment variable, e.g. OPENAI_BASE_URL, else its address. For
	// Azure the resource's endpoint, e.g. "https://name.openai.azure.com" (AZURE_OPENAI_ENDPOINT).
	BaseURL string
	// Model: default gpt-4o-mini-transcribe, or Groq's whisper-large-v3-turbo.
	Model string
	// Deployment and APIVersion are for Azure: default Model, and OPENAI_API_VERSION or 2024-10-21.
	Deployment, APIVersion string

	// Realtime transcribes while audio comes in, over a websocket for each stream. By default each
	// utterance is one request, when a VAD has found its end. Not all services have it.
	Realtime bool
	// Language of the speech, e.g. "de": default "en". DetectLanguage leaves it to the model.
	Language       string
	DetectLanguage bool
	// Prompt is text like that which is said, for names and spelling. Keyterms of a recognition are added.
	Prompt string
	// Words asks for the times of words, which takes a little longer (models of the Whisper family, not
	// Realtime).
	Words       bool
	Temperature opt.Value[float64] // 0 to 1; unset: the provider's (not Realtime)
	// VAD is how the service finds utterances in Realtime; off: it does not, and each Flush of the stream
	// ends one.
	VAD opt.Value[ServerVAD]
	// NoiseReduction is "near_field" for headsets, or "far_field" (Realtime).
	NoiseReduction string
	// Header is added to every request.
	Header http.Header
	// HTTPClient does the requests, but not the websockets; nil for one that all plugins share.
	HTTPClient *http.Client
	// Front are retries and timeouts; nil for the defaults.
	Front *stt.ModelOptions
}

// ServerVAD is how a service tells speech from silence. Zero values are the defaults.
type ServerVAD struct {
	Threshold float64       // 0 to 1, more in noise: default 0.5
	Prefix    time.Duration // audio before the speech that belongs to it: default 600 ms
	Silence   time.Duration // that ends an utterance: default 350 ms
}

// NewSTT returns a model that transcribes. Without Realtime it takes whole utterances; sessions find
// these with their VAD. A missing key is an error that names the environment variable.
func NewSTT(o *STTOptions) (*stt.Model, error) {
	d, err := newSTT(o)
	if err != nil {
		return nil, err
	}
	if d.o.Realtime {
		return stt.New(&listener{d}, d.o.Front), nil
	}
	return stt.New(d, d.o.Front), nil
}

// recognizer implements driver.Recognizer.
type recognizer struct {
	*endpoint
	o STTOptions
}

func newSTT(o *STTOptions) (*recognizer, error) {
	d := &recognizer{}
	if o != nil {
		d.o = *o
	}
	if d.o.Language == "" {
		d.o.Language = "en"
	}
	if d.o.DetectLanguage {
		d.o.Language = ""
	}
	var err error
	d.endpoint, err = account{
		kind: "stt", label: "openai.STT", options: "STTOptions", service: d.o.Service,
		key: d.o.APIKey, token: d.o.ADToken, base: d.o.BaseURL, model: d.o.Model, std: func(p preset) string { return p.stt },
		deployment: d.o.Deployment, azureVersion: d.o.APIVersion, azureV1: d.o.Realtime, header: d.o.Header, http: d.o.HTTPClient,
	}.endpoint()
	return d, err
}

// Info implements driver.STT.
func (d *recognizer) Info() model.Info { return d.Client.Info }

// batchRate is the rate of recordings: more is nothing but more to send.
const batchRate = 16000

// Capabilities implements driver.STT.
func (d *recognizer) Capabilities() driver.Capabilities {
	c := driver.Capabilities{SampleRate: batchRate, Keyterms: true, Tokens: strings.HasPrefix(d.model, "gpt-")}
	switch {
	case d.whisper() && d.o.Words:
		c.AlignedTranscript = "word"
	case d.whisper():
		c.AlignedTranscript = "chunk"
	}
	return c
}

// whisper reports whether the model tells times and languages.
func (d *recognizer) whisper() bool { return strings.Contains(d.model, "whisper") }

// Prewarm opens a connection ahead of the first request.
func (d *recognizer) Prewarm(ctx context.Context) {
	d.Client.Prewarm(ctx, wire.Join(d.base, "/models", nil), d.header)
}

// prompt is what the speech is probably like.
func (d *recognizer) prompt(o driver.Options) string {
	return strings.TrimSpace(d.o.Prompt + " " + strings.Join(o.Keyterms, ", "))
}

func (d *recognizer) language(o driver.Options) string {
	if o.Language != "" {
		return o.Language
	}
	return d.o.Language
}

// Recognize implements driver.Recognizer.
func (d *recognizer) Recognize(ctx context.Context, f audio.Frame, o driver.Options) (*driver.Result, error) {
	body, kind, err := d.form(f, o)
	if err != nil {
		return nil, d.Error(model.KindRequest, "recognize", fmt.Errorf("encoding request: %w", err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.Join(d.base, "/audio/transcriptions", nil), bytes.NewReader(body))
	if err != nil {
		return nil, d.Error(model.KindRequest, "recognize", err)
	}
	req.Header = d.header.Clone()
	req.Header.Set("Content-Type", kind)
	answer, head, err := d.DoAll(ctx, "recognize", req)
	if err != nil {
		return nil, err
	}
	r, err := d.result(answer, d.language(o))
	if err == nil && r.RequestID == "" {
		r.RequestID = head.Get("X-Request-Id")
	}
	return r, err
}

// form is the request as it is sent.
func (d *recognizer) form(f audio.Frame, o driver.Options) (body []byte, contentType string, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	fields := [][2]string{{"model", d.model}, {"language", d.language(o)}, {"prompt", d.prompt(o)}, {"response_format", "json"}}
	if d.whisper() {
		fields[3][1] = "verbose_json"
		if d.o.Words {
			fields = append(fields, [2]string{"timestamp_granularities[]", "word"})
		}
	}
	if t, ok := d.o.Temperature.Get(); ok {
		fields = append(fields, [2]string{"temperature", strconv.FormatFloat(t, 'g', -1, 64)})
	}
	for _, kv := range fields {
		if kv[1] != "" {
			if err := w.WriteField(kv[0], kv[1]); err != nil {
				return nil, "", err
			}
		}
	}
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="file"; filename="file.wav"`}, "Content-Type": {"audio/wav"},
	})
	if err != nil {
		return nil, "", err
	}
	if _, err := part.Write(wire.WAV(f)); err != nil {
		return nil, "", err
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return b.Bytes(), w.FormDataContentType(), nil
}

// transcription is the answer about a recording.
type transcription struct {
	Text      *string        `json:"text"`
	Language  string         `json:"language"`
	Languages []languageCode `json:"languages"`
	Words     []struct {
		Word  string  `json:"word"`
		Start float64 `json:"start"`
		End   float64 `json:"end"`
	} `json:"words"`
	Segments []struct {
		Start float64 `json:"start"`
		End   float64 `json:"end"`
	} `json:"segments"`
	Usage *transcriptionUsage `json:"usage"`
	XGroq *struct {
		ID string `json:"id"`
	} `json:"x_groq"`
	Error json.RawMessage `json:"error"`
}

type languageCode struct {
	Code string `json:"code"`
}

// transcriptionUsage is in tokens or in seconds, by Type.
type transcriptionUsage struct {
	InputTokens  int64   `json:"input_tokens"`
	OutputTokens int64   `json:"output_tokens"`
	Seconds      float64 `json:"seconds"`

	raw metrics.Raw
}

// UnmarshalJSON implements json.Unmarshaler.
func (u *transcriptionUsage) UnmarshalJSON(b []byte) error {
	type plain transcriptionUsage
	u.raw = metrics.RawOf(b)
	return json.Unmarshal(b, (*plain)(u))
}

func (u *transcriptionUsage) driver() driver.UsageReport {
	return driver.UsageReport{AudioDuration: seconds(u.Seconds), InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, Raw: u.raw}
}

// result understands the answer to a request in a language.
func (d *recognizer) result(answer []byte, language string) (*driver.Result, error) {
	var t transcription
	if err := json.Unmarshal(answer, &t); err != nil {
		return nil, d.Protocol("recognize", "answer cannot be read: %v", err)
	}
	if !isNull(t.Error) {
		return nil, d.refused("recognize", t.Error, 0)
	}
	if t.Text == nil {
		return nil, d.Protocol("recognize", "the answer has no text")
	}
	r := &driver.Result{Alternative: driver.Alternative{Text: strings.TrimSpace(*t.Text), Language: spoken(language, t.Language, t.Languages)}}
	for _, w := range t.Words {
		r.Words = append(r.Words, driver.Word{Text: strings.TrimSpace(w.Word), Start: seconds(w.Start), End: seconds(w.End)})
	}
	if n := len(t.Segments); n > 0 {
		r.Start, r.End = seconds(t.Segments[0].Start), seconds(t.Segments[n-1].End)
	} else if n := len(r.Words); n > 0 {
		r.Start, r.End = r.Words[0].Start, r.Words[n-1].End
	}
	if t.XGroq != nil {
		r.RequestID = t.XGroq.ID
	}
	if t.Usage != nil {
		u := t.Usage.driver()
		r.Usage = &u
	}
	return r, nil
}

// spoken is the language of a transcript: the one that was asked for, or that the model detected.
func spoken(asked, name string, codes []languageCode) string {
	switch {
	case asked != "":
		return asked
	case len(codes) > 0:
		return codes[0].Code
	}
	return languageCodeOf(name)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
