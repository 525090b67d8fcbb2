package deepgram

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/deepgrambox"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/ttstest"
)

func startSpeak(t testing.TB, p fault.Plan) (*sandbox.Server, *synthesizer) {
	t.Helper()
	box := sandbox.Start(t, p)
	deepgrambox.Speak(box)
	d, err := newTTS(&TTSOptions{APIKey: box.Key, BaseURL: box.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(t.Context()) })
	return box, d
}

func TestTTSConformance(t *testing.T) {
	t.Parallel()
	ttstest.Run(t, ttstest.Harness{
		Secret: sandbox.DefaultKey, CountReplays: true,
		Start: func(t testing.TB, p fault.Plan) ttstest.Provider {
			box, d := startSpeak(t, p)
			return ttstest.Provider{Driver: d, Served: func() ttstest.Served {
				return ttstest.Served{Characters: box.Characters(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
			}}
		},
	})
}

// say speaks pieces on a segment of d and returns how much audio came.
func say(t *testing.T, d *synthesizer, pieces ...string) (got time.Duration, err error) {
	t.Helper()
	s, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, p := range pieces {
		if err := s.Push(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CloseSend(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		c, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got += c.Frame.Duration()
	}
}

func TestPiecesAreJoinedToWordsAndLongTextsAreCut(t *testing.T) {
	box, d := startSpeak(t, fault.Plan{})
	got, err := say(t, d, "hel", "lo wor", "ld")
	if want := 400 * time.Millisecond; err != nil || got != want { // 40 ms for each letter
		t.Errorf("%v of audio, error %v; want %v", got, err, want)
	}
	text := strings.Repeat("word ", 900) + strings.Repeat("x", 1600)
	if got, err = say(t, d, text); err != nil || got != 5200*40*time.Millisecond {
		t.Errorf("%v of audio, error %v", got, err)
	}
	if n := box.Characters(); n != int64(len("hello world")+len(text)) {
		t.Errorf("%d characters reached the provider", n)
	}
}

func TestTooManyFlushesOnASocketAreAnErrorThatAnotherSocketMends(t *testing.T) {
	box, d := startSpeak(t, fault.Plan{})
	var err error
	for n := 0; err == nil && n < 30; n++ {
		_, err = say(t, d, "word")
	}
	if !model.Retryable(err) || !strings.Contains(err.Error(), "EXCESSIVE_FLUSH") {
		t.Fatalf("error is %v", err)
	}
	if _, err = say(t, d, "word"); err != nil || box.Dials() != 2 {
		t.Errorf("the next speech: error %v after %d dials", err, box.Dials())
	}
}

func TestModelOpensConnectionsAheadAndClosesThem(t *testing.T) {
	box, d := startSpeak(t, fault.Plan{})
	m := tts.New(d, nil)
	m.Prewarm(t.Context())
	for range 500 {
		if box.Dials() == 1 {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	if box.Dials() != 1 || box.Calls() != 0 {
		t.Fatalf("%d dials and %d speeches", box.Dials(), box.Calls())
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Open(t.Context()); err == nil {
		t.Error("a closed model opened a connection")
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	for name, at := range map[string]func(key, url string) (any, error){
		"tts":  func(key, url string) (any, error) { return newTTS(&TTSOptions{APIKey: key, BaseURL: url}) },
		"stt":  func(key, url string) (any, error) { return newSTT(&STTOptions{APIKey: key, BaseURL: url}) },
		"flux": func(key, url string) (any, error) { return newFlux(&FluxOptions{APIKey: key, BaseURL: url}) },
	} {
		err := modeltest.Refused(t, `{"type":"Error","description":"no such voice"}`, at)
		if err == nil || !strings.Contains(err.Error(), "no such voice") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func FuzzNotice(f *testing.F) {
	f.Add([]byte(`{"type":"Flushed","sequence_id":0}`))
	f.Add([]byte(`{"type":"Error","err_code":"x","err_msg":"y"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &segment{d: &synthesizer{}}
		if over, _ := s.heed(b); over {
			t.Error("over before a flush")
		}
		s.samples(b)
		s.samples(b)
		if len(s.odd) > 0 && len(b)%2 == 0 {
			t.Error("half a sample is left of whole ones")
		}
	})
}
