package murf

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/murfbox"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/ttstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, p fault.Plan, o TTSOptions) (*sandbox.Server, *synthesizer) {
	box := sandbox.Start(t, p)
	murfbox.TTS(box)
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

// say speaks text.
func say(t *testing.T, d *synthesizer, text string) (heard time.Duration, err error) {
	s := tts.New(d, &tts.ModelOptions{Conn: model.ConnOptions{MaxRetry: -1}}).Synthesize(t.Context(), text)
	defer s.Close()
	for {
		a, err := s.Next()
		if errors.Is(err, io.EOF) {
			return heard, nil
		} else if err != nil {
			return heard, err
		}
		heard += a.Frame.Duration()
	}
}

func TestTTSSpeaksOnTheSameConnectionAfterAnInterruption(t *testing.T) {
	box, d := start(t, fault.Once(fault.Slow), TTSOptions{})
	s, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Push(t.Context(), "Once upon a time there was a king.")
	if _, err := s.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if got, err := say(t, d, "Yes."); err != nil || got != 4*40*time.Millisecond {
		t.Errorf("heard %v, %v", got, err)
	}
	if box.Dials() != 1 {
		t.Errorf("%d dials", box.Dials())
	}
}

func TestTTSOptionsReachTheProvider(t *testing.T) {
	_, d := start(t, fault.Plan{}, TTSOptions{
		Model: "GEN2", Rate: 8000, Locale: "en-UK", Speed: opt.Some(10), Pitch: opt.Some(-50), MinBuffer: 40, MaxDelay: time.Second,
	})
	if _, err := say(t, d, "Hello."); err != nil {
		t.Error(err)
	}
	b, _ := json.Marshal(d.voice)
	want := `{"voice_id":"en-US-matthew","style":"Conversation","rate":10,"pitch":-50,"locale":"en-UK"}`
	if string(b) != want {
		t.Errorf("voice is %s, want %s", b, want)
	}
}

func TestTTSTellsWhyItIsRefused(t *testing.T) {
	_, d := start(t, fault.Plan{}, TTSOptions{Speed: opt.Some(51)})
	_, err := say(t, d, "Hello.")
	if err == nil || !strings.Contains(err.Error(), "-50 to 50") || model.Retryable(err) {
		t.Errorf("error is %v", err)
	}
}

func TestTTSNeedsAKey(t *testing.T) {
	t.Setenv("MURF_API_KEY", "")
	if _, err := NewTTS(nil); err == nil || !strings.Contains(err.Error(), "MURF_API_KEY") {
		t.Errorf("without a key: %v", err)
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	err := modeltest.Refused(t, `{"error":{"message":"no such voice"},"status_code":400}`, func(key, url string) (any, error) {
		return newTTS(&TTSOptions{APIKey: key, BaseURL: url})
	})
	if err == nil || !strings.Contains(err.Error(), "no such voice") {
		t.Errorf("error is %v", err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"context_id":"c","audio":"AAECAw=="}`))
	f.Add([]byte(`{"context_id":"c","final":true}`))
	f.Add([]byte(`{"error":{"message":"no"},"status_code":400}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reply
		if json.Unmarshal(b, &r) != nil {
			return
		}
		s := &speech{d: new(synthesizer), id: "c"}
		if more, err := s.take(&r); more && err != nil {
			t.Errorf("a chunk and %v", err)
		}
	})
}
