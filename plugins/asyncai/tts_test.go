package asyncai

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
	"github.com/parley-go/parley/internal/sandbox/asyncaibox"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/ttstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, p fault.Plan, o TTSOptions) (*sandbox.Server, *synthesizer) {
	box := sandbox.Start(t, p)
	asyncaibox.TTS(box)
	if o.BaseURL = box.URL(); o.APIKey == "" {
		o.APIKey = box.Key
	}
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

func TestTTSCutOffKeepsTheConnectionUnlessItsContextWasClosed(t *testing.T) {
	for _, closed := range []bool{false, true} {
		box, d := start(t, fault.Once(fault.Slow), TTSOptions{Language: "en", Rate: 8000})
		s, err := d.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Push(t.Context(), "Once upon a time there was a king. ")
		if closed {
			_ = s.CloseSend(t.Context())
		}
		if _, err := s.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_ = s.Close()
		}
		if got, err := say(t, d, "Yes."); err != nil || got != 4*40*time.Millisecond {
			t.Errorf("closed %v: heard %v, %v", closed, got, err)
		}
		if want := map[bool]int{false: 1, true: 2}[closed]; box.Dials() != want {
			t.Errorf("closed %v: %d dials, want %d", closed, box.Dials(), want)
		}
	}
}

func TestTTSTakesTheAudioThatComesWithTheEnd(t *testing.T) {
	_, d := start(t, fault.Plan{}, TTSOptions{})
	e, err := d.pool.Exchange(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s := &speech{Exchange: e, d: d, id: "c"}
	if more, err := s.take(&reply{ContextID: "c", Audio: []byte{1, 0}, Final: true}); !more || err != nil || len(s.chunk.Frame.Data) != 1 {
		t.Errorf("audio %v, %v", more, err)
	}
	if _, err := s.Next(t.Context()); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

func TestTTSHidesAKeyThatIsInItsAddress(t *testing.T) {
	const key = "a key/with+signs"
	_, d := start(t, fault.Plan{}, TTSOptions{APIKey: key})
	_, err := say(t, d, "Hello.")
	var e *model.Error
	if !errors.As(err, &e) || e.Status != 401 {
		t.Fatalf("error is %v", err)
	}
	for _, text := range []string{err.Error(), d.peer.Error(model.KindConnection, "dial", errors.New(d.url)).Error()} {
		if strings.Contains(text, "with") {
			t.Errorf("error tells the key: %s", text)
		}
	}
}

func TestTTSTellsWhyItIsRefused(t *testing.T) {
	_, d := start(t, fault.Plan{}, TTSOptions{Model: "sonic-3"})
	_, err := say(t, d, "Hello.")
	if err == nil || !strings.Contains(err.Error(), "INVALID_INIT: unknown model") {
		t.Errorf("error is %v", err)
	}
}

func TestTTSNeedsAKey(t *testing.T) {
	t.Setenv("ASYNCAI_API_KEY", "")
	if _, err := NewTTS(nil); err == nil || !strings.Contains(err.Error(), "ASYNCAI_API_KEY") {
		t.Errorf("without a key: %v", err)
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	err := modeltest.Refused(t, `{"error_code":"INVALID_INIT","message":"no such voice"}`, func(key, url string) (any, error) {
		return newTTS(&TTSOptions{APIKey: key, BaseURL: url})
	})
	if err == nil || !strings.Contains(err.Error(), "no such voice") {
		t.Errorf("error is %v", err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"context_id":"c","audio":"AAECAw==","final":false}`))
	f.Add([]byte(`{"error_code":"X","message":"no","extra":{}}`))
	f.Add([]byte(`{"error_code":7}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reply
		if json.Unmarshal(b, &r) != nil || r.Final {
			return
		}
		s := &speech{d: new(synthesizer), id: "c"}
		if more, err := s.take(&r); more && err != nil {
			t.Errorf("a chunk and %v", err)
		}
	})
}

func TestTTSSendsOneSpaceBehindEveryText(t *testing.T) {
	box, d := start(t, fault.Plan{}, TTSOptions{})
	s, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, text := range []string{"Well,", " yes. \n", " "} {
		if err := s.Push(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.CloseSend(t.Context())
	for err == nil {
		_, err = s.Next(t.Context())
	}
	if err != io.EOF || box.Characters() != int64(len("Well, yes.")) {
		t.Errorf("%v, %d characters", err, box.Characters())
	}
}
