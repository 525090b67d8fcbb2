package elevenlabs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt/driver"
)

// transcriber implements driver.STT for recordings.
type transcriber struct{ *scribe }

// Capabilities implements driver.STT.
func (t *transcriber) Capabilities() driver.Capabilities {
	return driver.Capabilities{Diarization: t.o.Diarize, AlignedTranscript: "word", Keyterms: true, SampleRate: sttRate}
}

// Recognize implements driver.Recognizer.
func (t *transcriber) Recognize(ctx context.Context, f audio.Frame, o driver.Options) (*driver.Result, error) {
	body, kind, err := t.form(f, o)
	if err != nil {
		return nil, t.Error(model.KindRequest, "transcribe", err)
	}
	q := url.Values{"enable_logging": {strconv.FormatBool(!t.o.NoLogging)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.Join(t.base, "/speech-to-text", q), bytes.NewReader(body))
	if err != nil {
		return nil, t.Error(model.KindRequest, "transcribe", err)
	}
	req.Header = t.head.Clone()
	req.Header.Set("Content-Type", kind)
	answer, head, err := t.DoAll(ctx, "transcribe", req)
	if err != nil {
		return nil, err
	}
	res, err := t.result(answer, t.language(o))
	if err == nil {
		res.RequestID = cmp.Or(res.RequestID, head.Get("Request-Id"))
	}
	return res, err
}

// form is the request.
func (t *transcriber) form(f audio.Frame, o driver.Options) (body []byte, contentType string, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	fields := [][2]string{{"model_id", t.o.Model}, {"tag_audio_events", strconv.FormatBool(!t.o.NoAudioEvents)}}
	if l := t.language(o); l != "" {
		fields = append(fields, [2]string{"language_code", short(l)})
	}
	for _, k := range t.keyterms(o) {
		fields = append(fields, [2]string{"keyterms", k})
	}
	if t.o.NoVerbatim {
		fields = append(fields, [2]string{"no_verbatim", "true"})
	}
	if t.o.Diarize {
		fields = append(fields, [2]string{"diarize", "true"})
	}
	for _, x := range fields {
		if err := w.WriteField(x[0], x[1]); err != nil {
			return nil, "", err
		}
	}
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="file"; filename="audio.wav"`}, "Content-Type": {"audio/wav"},
	})
	if err == nil {
		_, err = part.Write(wire.WAV(f))
	}
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), w.FormDataContentType(), err
}

// result understands an answer.
func (t *transcriber) result(body []byte, language string) (*driver.Result, error) {
	var a struct {
		Text     *string `json:"text"`
		Language string  `json:"language_code"`
		Words    []token `json:"words"`
		ID       string  `json:"transcription_id"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, t.Protocol("transcribe", "answer cannot be read: %v", err)
	}
	if a.Text == nil {
		return nil, t.Protocol("transcribe", "answer has no text")
	}
	return &driver.Result{RequestID: a.ID, Alternative: alternative(*a.Text, cmp.Or(a.Language, language), a.Words)}, nil
}
