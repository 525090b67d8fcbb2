package rime

import (
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/rimebox"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
	"github.com/parley-go/parley/tts/ttstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, p fault.Plan, o TTSOptions) (*sandbox.Server, *synthesizer) {
	box := sandbox.Start(t, p)
	rimebox.TTS(box)
	o.APIKey, o.BaseURL = box.Key, box.URL()
	d, err := newTTS(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(t.Context()) })
	return box, d
}

func TestTTSConformance(t *testing.T) {
	ttstest.Run(t, ttstest.Harness{
		Secret: sandbox.DefaultKey, CountReplays: true,
		Start: func(t testing.TB, p fault.Plan) ttstest.Provider {
			box, d := start(t, p, TTSOptions{})
			return ttstest.Provider{Driver: d, Served: func() ttstest.Served {
				return ttstest.Served{Characters: box.Characters(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
			}}
		},
	})
}

// say speaks text and returns its error.
func say(t *testing.T, d driver.TTS, text string) error {
	s := tts.New(d, &tts.ModelOptions{Conn: model.ConnOptions{MaxRetry: -1}}).Synthesize(t.Context(), text)
	defer s.Close()
	for {
		if _, err := s.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestTTSOptionsFitTheirModel(t *testing.T) {
	all := TTSOptions{
		SpeedAlpha: opt.Some(1.1), Temperature: opt.Some(0.5), TopP: opt.Some(0.9), RepetitionPenalty: opt.Some(1.5), MaxTokens: 900,
		PauseBetweenBrackets: opt.Some(true), PhonemizeBetweenBrackets: opt.Some(false), Rate: 16000,
	}
	for _, name := range []string{"coda", "mistv3", "mistv2"} {
		o := all
		o.Model, o.Lang = name, "fra"
		if name != "mistv2" {
			o.TimeScaleFactor = opt.Some(0.9)
		}
		_, d := start(t, fault.Plan{}, o)
		if err := say(t, d, "Bonjour."); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d.Capabilities().AlignedTranscript {
			t.Errorf("%s promises times of French words", name)
		}
	}
	o := TTSOptions{Model: "coda", Temperature: opt.Some(0.5), TimeScaleFactor: opt.Some(2.0)}
	o.defaults()
	want := url.Values{
		"speaker": {"astra"}, "modelId": {"coda"}, "lang": {"eng"}, "audioFormat": {"pcm"}, "samplingRate": {"24000"},
		"segment": {"never"}, "temperature": {"0.5"}, "timeScaleFactor": {"2"},
	}
	if got := o.query(); !reflect.DeepEqual(got, want) {
		t.Errorf("query is %v, want %v", got, want)
	}
}

func TestTTSRefusesWhatCannotWork(t *testing.T) {
	t.Setenv("RIME_API_KEY", "")
	if _, err := NewTTS(nil); err == nil || !strings.Contains(err.Error(), "RIME_API_KEY") {
		t.Errorf("without a key: %v", err)
	}
	if _, err := NewTTS(&TTSOptions{APIKey: "k", Model: "mistv2", TimeScaleFactor: opt.Some(1.2)}); err == nil {
		t.Error("mistv2 takes a TimeScaleFactor")
	}
}

func TestTTSTellsWhyATextIsRefused(t *testing.T) {
	_, d := start(t, fault.Plan{}, TTSOptions{})
	err := say(t, d, strings.Repeat("far too long ", rimebox.MaxText/10))
	if err == nil || !strings.Contains(err.Error(), "text is too long") {
		t.Errorf("error is %v", err)
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	err := modeltest.Refused(t, `{"type":"error","message":"no such voice"}`, func(key, url string) (any, error) {
		return newTTS(&TTSOptions{APIKey: key, BaseURL: url})
	})
	if err == nil || !strings.Contains(err.Error(), "no such voice") {
		t.Errorf("error is %v", err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"type":"chunk","data":"AAECAw==","contextId":"c"}`))
	f.Add([]byte(`{"type":"timestamps","word_timestamps":{"words":["a","b"],"start":[0],"end":[1e300,2]},"contextId":null}`))
	f.Add([]byte(`{"type":"error","message":"no"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reply
		if json.Unmarshal(b, &r) != nil || r.Type == "done" {
			return
		}
		s := &speech{d: new(synthesizer), id: "c"}
		if more, err := s.take(&r); more && err != nil {
			t.Errorf("a chunk and %v", err)
		}
	})
}
