package sarvam

import (
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/sarvambox"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/stt/stttest"
)

func startTranscribe(t testing.TB, p fault.Plan, o STTOptions) (*sandbox.Server, *recognizer) {
	t.Helper()
	box := sandbox.Start(t, p)
	sarvambox.Transcribe(box)
	o.APIKey, o.BaseURL = box.Key, box.URL()
	r, err := newSTT(&o)
	if err != nil {
		t.Fatal(err)
	}
	return box, r
}

func TestSTTConformance(t *testing.T) {
	t.Parallel()
	stttest.Run(t, stttest.Harness{
		Speech: sandbox.EarSpeech(sttRate), Text: sandbox.EarText, Secret: sandbox.DefaultKey,
		Start: func(t testing.TB, p fault.Plan) stttest.Provider {
			box, r := startTranscribe(t, p, STTOptions{})
			return stttest.Provider{Driver: r, Served: func() stttest.Served {
				return stttest.Served{Audio: box.Audio(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
			}}
		},
	})
}

func TestLanguagesAndModes(t *testing.T) {
	_, r := startTranscribe(t, fault.Plan{}, STTOptions{Language: "ta", Mode: "verbatim"})
	for said, want := range map[string]string{"": "ta-IN", "en-US": "en-IN", "or": "od-IN"} {
		res, err := r.Recognize(t.Context(), sandbox.EarSpeech(sttRate), driver.Options{Language: said})
		if err != nil || res.Language != want || res.Text != sandbox.EarText || res.RequestID == "" || res.End != sandbox.EarSpeech(sttRate).Duration() {
			t.Errorf("%q: result %+v, error %v", said, res, err)
		}
	}
	_, r = startTranscribe(t, fault.Plan{}, STTOptions{Model: "saarika:v2.5", Mode: "verbatim"})
	_, err := r.Recognize(t.Context(), sandbox.EarSpeech(sttRate), driver.Options{})
	if model.Retryable(err) || err == nil || !strings.Contains(err.Error(), "no such mode") {
		t.Errorf("error is %v", err)
	}
}

func FuzzResult(f *testing.F) {
	f.Add([]byte(`{"request_id":"r","transcript":"a","language_code":null}`))
	f.Add([]byte(`{"transcript":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if res, err := new(recognizer).result(b); (res == nil) != (err != nil) {
			t.Errorf("result %v, error %v", res, err)
		}
	})
}
