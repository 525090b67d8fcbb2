package google

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

const (
	sttRate       = 16000
	sttModel      = "latest_long"
	sttService    = "/google.cloud.speech.v2.Speech/"
	minConfidence = 0.65
	// acceptWait is how long a fresh stream waits to be refused before it sends audio.
	acceptWait = 250 * time.Millisecond
)

// STTOptions are the options of NewSTT. The zero value, or nil, takes the credentials from
// GOOGLE_APPLICATION_CREDENTIALS.
type STTOptions struct {
	Credentials Credentials
	Project     string // default GOOGLE_CLOUD_PROJECT, else that of the credentials
	Location    string // e.g. "us-central1" or "eu", where the model is: default "global"
	BaseURL     string // default GOOGLE_SPEECH_BASE_URL, else that of the location
	Recognizer  string // id of one in the project whose settings apply where these say nothing; default none
	Model       string // e.g. "chirp_3", "telephony": default "latest_long"
	// Languages are BCP-47 tags: default "en-US". Of several the provider finds out which is spoken. The
	// language of a single call (stt.Options) replaces them.
	Languages []string

	NoInterim         bool // no transcripts of what may still change
	NoPunctuation     bool
	SpokenPunctuation bool // "question mark" becomes one
	SpokenEmojis      bool
	ProfanityFilter   bool
	NoWordTimes       bool
	// NoActivity does without the events of speech that starts and ends, which not every model has; then
	// they follow from the transcripts.
	NoActivity bool
	Denoise    bool // remove music and noise first; chirp_3 can
	Speakers   int  // up to so many, at most 6, are told apart: alternatives have a SpeakerID; 0: they are not
	// MinConfidence is below which a final transcript is taken for noise, 0 to 1: default 0.65. Those
	// without a confidence are never.
	MinConfidence opt.Value[float64]

	Keyterms []string // words to expect; those of a single call (stt.Options) are added
	Boost    float64  // how much, above 0 to 20; 0: the provider's

	// HTTPClient does the requests, and must speak HTTP/2; nil for one that all plugins share.
	HTTPClient *http.Client
	// Front are retries and timeouts; nil for the defaults.
	Front *stt.ModelOptions
}

// NewSTT returns a model that transcribes live audio, and utterances of up to a minute as a whole.
// Missing credentials are an error that names the environment variable.
//
// A stream lasts as long as it takes: the provider's limit of five minutes for one is met by one after
// the other.
func NewSTT(o *STTOptions) (*stt.Model, error) {
	r, err := newSTT(o)
	if err != nil {
		return nil, err
	}
	return stt.New(r, r.o.Front), nil
}

// recognizer implements driver.STT.
type recognizer struct {
	o      STTOptions
	client wire.Client
	base   *url.URL
	name   string // of the provider's recognizer
	tokens *tokens
	accept time.Duration // acceptWait
}

func newSTT(o *STTOptions) (r *recognizer, err error) {
	r = &recognizer{accept: acceptWait}
	if o != nil {
		r.o = *o
	}
	r.o.Model = cmp.Or(r.o.Model, sttModel)
	r.o.Location = cmp.Or(r.o.Location, "global")
	if len(r.o.Languages) == 0 {
		r.o.Languages = []string{"en-US"}
	}
	if r.tokens, err = newTokens(r.o.Credentials); err != nil {
		return nil, err
	}
	project := cmp.Or(r.o.Project, os.Getenv("GOOGLE_CLOUD_PROJECT"), r.tokens.project)
	if project == "" {
		return nil, errors.New("google: no project: set STTOptions.Project or GOOGLE_CLOUD_PROJECT")
	}
	r.name = "projects/" + project + "/locations/" + r.o.Location + "/recognizers/" + cmp.Or(r.o.Recognizer, "_")
	host := "https://speech.googleapis.com"
	if r.o.Location != "global" {
		host = "https://" + r.o.Location + "-speech.googleapis.com"
	}
	r.base, err = wire.Base("google", r.o.BaseURL, host, "GOOGLE_SPEECH_BASE_URL")
	r.client = wire.Client{
		Peer: wire.Peer{Info: model.Info{Label: "google.STT", Provider: "google", Model: r.o.Model}, Kind: "stt"},
		HTTP: r.o.HTTPClient,
	}
	return r, err
}

// Info implements driver.STT.
func (r *recognizer) Info() model.Info { return r.client.Info }

// Capabilities implements driver.STT.
func (r *recognizer) Capabilities() driver.Capabilities {
	aligned := "word"
	if r.o.NoWordTimes {
		aligned = "chunk"
	}
	return driver.Capabilities{
		InterimResults: !r.o.NoInterim, Diarization: r.o.Speakers > 0, AlignedTranscript: aligned, Keyterms: true, SampleRate: sttRate,
	}
}

// call begins a call of a method.
func (r *recognizer) call(ctx context.Context, method string) (*wire.GRPC, error) {
	h := http.Header{
		"X-Goog-Api-Client":     {clientName},
		"X-Goog-Request-Params": {"recognizer=" + url.QueryEscape(r.name)},
	}
	client, err := r.tokens.authorize(ctx, &r.client, h)
	if err != nil {
		return nil, err
	}
	return client.Call(ctx, "transcribe", wire.Join(r.base, sttService+method, nil), h)
}

// Open implements driver.Streamer.
func (r *recognizer) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	s := &stream{r: r, config: r.streaming(o), more: make(chan struct{}, 1), closed: make(chan struct{})}
	s.idle = time.AfterFunc(idleLimit, s.rest)
	s.sending.Lock()
	c, err := s.open(ctx)
	s.sending.Unlock()
	if err == nil {
		err = c.Accepted(ctx, r.accept)
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	s.took, s.reused = c.Acquired()
	return s, nil
}

// Recognize implements driver.Recognizer.
func (r *recognizer) Recognize(ctx context.Context, f audio.Frame, o driver.Options) (*driver.Result, error) {
	c, err := r.call(ctx, "Recognize")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var m wire.Proto
	m.Message(1, r.config(o))
	m.String(3, r.name)
	m.Bytes(5, wire.AppendPCM(nil, f.Data))
	if err := c.Send(ctx, m); err != nil && ctx.Err() != nil {
		return nil, err // else the answer says why
	}
	c.CloseSend()
	b, err := c.Recv(ctx)
	if err != nil {
		return nil, r.client.Error(model.KindConnection, "transcribe", err)
	}
	a, err := readAnswer(b, false)
	if err != nil {
		return nil, r.client.Error(model.KindProtocol, "transcribe", err)
	}
	return r.result(a), nil
}

// result is the answer about an utterance, which comes in portions.
func (r *recognizer) result(a *answer) *driver.Result {
	res := &driver.Result{RequestID: a.requestID}
	if a.billed > 0 {
		res.Usage = &driver.UsageReport{AudioDuration: a.billed, Raw: wire.Stated("total_billed_duration", a.billed.Seconds())}
	}
	for i := range a.results {
		if p := a.results[i].alternative(0, 0); p.Text != "" && r.trusts(p.Confidence) {
			join(&res.Alternative, p)
		}
	}
	return res
}

// trusts reports whether a final transcript is more than noise.
func (r *recognizer) trusts(confidence float64) bool {
	return confidence <= 0 || confidence >= r.o.MinConfidence.Default(minConfidence)
}
