package sarvam

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/textproto"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

const sttRate = 16000

// STTOptions are the options of NewSTT. The zero value, or nil, takes the key from SARVAM_API_KEY.
type STTOptions struct {
	APIKey  string // default SARVAM_API_KEY
	BaseURL string // default SARVAM_BASE_URL, else https://api.sarvam.ai
	Model   string // default "saaras:v3"
	// Language is a BCP-47 tag whose region does not count: unset to find it out. That of a single call
	// (stt.Options) goes before it.
	Language string
	// Mode is what becomes of the words (saaras:v3 and later): "transcribe" (the default), "translate" to
	// English, "verbatim", "translit" to Latin letters, or "codemix".
	Mode string
	// Front are retries and timeouts; nil for the defaults.
	Front *stt.ModelOptions
}

// NewSTT returns a model that transcribes whole utterances, of at most 30 s: stt.Adapt makes it
// streaming, with an AdaptOptions.MaxSegment of 20 s. Sarvam states no usage: the length of the audio is
// booked. A missing key is an error that names the environment variable.
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
	r.o.Model = cmp.Or(r.o.Model, "saaras:v3")
	s, err := newService("STTOptions", "sarvam.STT", "stt", r.o.Model, r.o.APIKey, r.o.BaseURL)
	r.service = s
	return r, err
}

// Capabilities implements driver.STT.
func (r *recognizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{SampleRate: sttRate}
}

// Recognize implements driver.Recognizer.
func (r *recognizer) Recognize(ctx context.Context, f audio.Frame, o driver.Options) (*driver.Result, error) {
	said := language(cmp.Or(o.Language, r.o.Language, "unknown"))
	body, kind, err := form(wire.WAV(f), [][2]string{{"model", r.o.Model}, {"language_code", said}, {"mode", r.o.Mode}})
	if err != nil {
		return nil, r.Error(model.KindRequest, "transcribe", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.Join(r.base, "/speech-to-text", nil), body)
	if err != nil {
		return nil, r.Error(model.KindRequest, "transcribe", err)
	}
	req.Header = r.head.Clone()
	req.Header.Set("Content-Type", kind)
	answer, _, err := r.DoAll(ctx, "transcribe", req)
	if err != nil {
		return nil, err
	}
	res, err := r.result(answer)
	if err != nil {
		return nil, err
	}
	if res.Language == "" && said != "unknown" {
		res.Language = said
	}
	if res.Text != "" {
		res.End = f.Duration()
	}
	return res, nil
}

// result understands an answer.
func (r *recognizer) result(answer []byte) (*driver.Result, error) {
	var a struct {
		RequestID  string  `json:"request_id"`
		Transcript *string `json:"transcript"`
		Language   string  `json:"language_code"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, r.Protocol("transcribe", "answer cannot be read: %v", err)
	}
	if a.Transcript == nil {
		return nil, r.Protocol("transcribe", "answer has no transcript")
	}
	return &driver.Result{RequestID: a.RequestID, Alternative: driver.Alternative{Text: *a.Transcript, Language: a.Language}}, nil
}

// form is a form with a recording and fields, of which empty ones are left out.
func form(wav []byte, fields [][2]string) (body *bytes.Buffer, kind string, err error) {
	body = &bytes.Buffer{}
	w := multipart.NewWriter(body)
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="file"; filename="audio.wav"`}, "Content-Type": {"audio/wav"},
	})
	if err != nil {
		return nil, "", err
	}
	if _, err := part.Write(wav); err != nil {
		return nil, "", err
	}
	for _, f := range fields {
		if f[1] == "" {
			continue
		}
		if err := w.WriteField(f[0], f[1]); err != nil {
			return nil, "", err
		}
	}
	return body, w.FormDataContentType(), w.Close()
}
