package resemble

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/resemblebox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/ttstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, p fault.Plan, bo resemblebox.Options, o TTSOptions) (*sandbox.Server, *synthesizer) {
	box := sandbox.Start(t, p)
	resemblebox.TTS(box, bo)
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
			box, d := start(t, p, resemblebox.Options{}, TTSOptions{})
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

func TestTTSLeavesOutTheHeaderOfAFile(t *testing.T) {
	want := 5 * 40 * time.Millisecond
	for name, head := range map[string][]byte{"raw": nil, "file": wire.WAV(audio.Frame{Rate: 8000, Channels: 1})} {
		_, d := start(t, fault.Plan{}, resemblebox.Options{Header: head}, TTSOptions{Rate: 8000, Model: "chatterbox-turbo"})
		if got, err := say(t, d, "Hello"); err != nil || got != want {
			t.Errorf("%s: heard %v, %v; want %v", name, got, err, want)
		}
	}
}

func TestTTSIsToldOfAWrongKeyOnTheSocket(t *testing.T) {
	_, d := start(t, fault.Plan{}, resemblebox.Options{}, TTSOptions{APIKey: "another"})
	_, err := say(t, d, "Hello.")
	var e *model.Error
	if !errors.As(err, &e) || e.Status != 401 || e.Retryable() {
		t.Errorf("error is %v", err)
	}
}

func TestTTSTellsWhyATextIsRefusedAndGoesOn(t *testing.T) {
	_, d := start(t, fault.Plan{}, resemblebox.Options{}, TTSOptions{})
	_, err := say(t, d, strings.Repeat("far too long ", resemblebox.MaxText/10))
	if err == nil || !strings.Contains(err.Error(), "too long") || model.Retryable(err) {
		t.Errorf("error is %v", err)
	}
	if _, err := say(t, d, "Short."); err != nil {
		t.Error(err)
	}
}

func TestTTSNeedsAKey(t *testing.T) {
	t.Setenv("RESEMBLE_API_KEY", "")
	if _, err := NewTTS(nil); err == nil || !strings.Contains(err.Error(), "RESEMBLE_API_KEY") {
		t.Errorf("without a key: %v", err)
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	box := sandbox.Start(t, fault.Plan{})
	box.HandleSocket("/stream", func(_ *sandbox.Call, ws *sandbox.Socket) {
		_ = ws.Send(map[string]any{"type": "error", "error_name": "Bad", "message": "no such voice", "status_code": 400}, false)
		ws.Close(1000, "")
	}, func(*sandbox.Call) bool { return true })
	d, err := newTTS(&TTSOptions{APIKey: box.Key, BaseURL: box.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(t.Context())
	e, err := d.pool.Exchange(t.Context())
	if err == nil {
		<-e.Dead()
		err = e.WriteJSON(t.Context(), &request{})
		_ = e.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "status 400): Bad: no such voice") {
		t.Errorf("error is %v", err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"type":"audio","audio_content":"AAECAw==","request_id":1}`))
	f.Add([]byte(`{"type":"error","error_name":"BadJSON","message":"no","status_code":400}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reply
		if json.Unmarshal(b, &r) != nil || r.Type == "audio_end" {
			return
		}
		s := &speech{d: new(synthesizer), id: 1}
		if more, err := s.take(&r); more && err != nil {
			t.Errorf("a chunk and %v", err)
		}
	})
}
