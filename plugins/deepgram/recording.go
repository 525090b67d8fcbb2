package deepgram

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt/driver"
)

// recording is the answer about a recording.
type recording struct {
	Metadata struct {
		RequestID string  `json:"request_id"`
		Duration  float64 `json:"duration"`
	} `json:"metadata"`
	Results struct {
		Channels []channel `json:"channels"`
	} `json:"results"`
}

// Recognize implements driver.Recognizer.
func (r *recognizer) Recognize(ctx context.Context, f audio.Frame, o driver.Options) (*driver.Result, error) {
	q := r.query(o)
	language := cmp.Or(o.Language, r.o.Language)
	if r.o.DetectLanguage && o.Language == "" {
		language = ""
		q.Set("detect_language", "true")
	} else {
		q.Set("language", language)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.Join(r.base, "/v1/listen", q), bytes.NewReader(wire.WAV(f)))
	if err != nil {
		return nil, r.Error(model.KindRequest, "transcribe", err)
	}
	req.Header = r.head.Clone()
	req.Header.Set("Content-Type", "audio/wav")
	body, _, err := r.DoAll(ctx, "transcribe", req)
	if err != nil {
		return nil, err
	}
	return r.result(body, language, f.Duration())
}

// result understands an answer about a recording of length d.
func (r *recognizer) result(body []byte, language string, d time.Duration) (*driver.Result, error) {
	var a recording
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, r.Protocol("transcribe", "answer cannot be read: %v", err)
	}
	res := &driver.Result{RequestID: a.Metadata.RequestID}
	if a.Metadata.Duration > 0 {
		res.Usage = &driver.UsageReport{AudioDuration: wire.Seconds(a.Metadata.Duration), Raw: wire.Stated("duration", a.Metadata.Duration)}
	}
	if len(a.Results.Channels) == 0 {
		return nil, r.Protocol("transcribe", "answer has no channel")
	}
	c := a.Results.Channels[0]
	if alts := alternatives(c.Alternatives, cmp.Or(language, c.DetectedLanguage), 0, d); len(alts) > 0 {
		res.Alternative = alts[0]
	}
	return res, nil
}
