package neuphonic

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/neuphonicbox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts/ttstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, p fault.Plan, o TTSOptions) (*sandbox.Server, *synthesizer) {
	t.Helper()
	box := sandbox.Start(t, p)
	neuphonicbox.Speak(box)
	return box, at(t, box, o)
}

func at(t testing.TB, box *sandbox.Server, o TTSOptions) *synthesizer {
	t.Helper()
	o.APIKey, o.BaseURL = box.Key, box.URL()
	d, err := newTTS(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(t.Context()) })
	return d
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

func TestOptionsReachTheProvider(t *testing.T) {
	box, d := start(t, fault.Plan{}, TTSOptions{
		Voice: "v", Language: "de-AT", Rate: 8000, Speed: opt.Some(0.75), Temperature: opt.Some(0.0),
	})
	want := "/speak/de?encoding=pcm_linear&lang_code=de&sampling_rate=8000&speed=0.75&temperature=0&voice_id=v"
	if !strings.HasSuffix(d.socket.URL, want) {
		t.Errorf("dials %s, want %s", d.socket.URL, want)
	}
	got, err := modeltest.Say(t, d, "Guten Tag. ", " ", "Auf Wiedersehen.")
	if err != nil || got != 24*40*time.Millisecond { // 40 ms for each letter
		t.Errorf("%v of audio, error %v", got, err)
	}
	if n := box.Characters(); n != 27 {
		t.Errorf("%d characters reached the provider", n)
	}
}

// The last stop may come long before it is known to be the last.
func TestTheTextMayEndAfterItsLastStop(t *testing.T) {
	box, d := start(t, fault.Plan{}, TTSOptions{})
	for range 2 {
		s, err := d.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		_ = s.Push(t.Context(), "Yes.")
		go func() {
			for {
				if _, err := s.Next(t.Context()); err != nil {
					ended <- err
					return
				}
			}
		}()
		pending := func() int {
			s.(*speech).mu.Lock()
			defer s.(*speech).mu.Unlock()
			return s.(*speech).pending
		}
		for n := 0; pending() > 0 && n < 1000; n++ {
			time.Sleep(2 * time.Millisecond)
		}
		select {
		case err := <-ended:
			t.Fatalf("ended before the text: %v", err)
		default:
		}
		_ = s.CloseSend(t.Context())
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("error is %v", err)
		}
		_ = s.Close()
	}
	if box.Dials() != 1 {
		t.Errorf("%d dials", box.Dials())
	}
}

func TestInterruptedSpeechesCostTheirConnection(t *testing.T) {
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
	if _, err := s.Next(t.Context()); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after Close: error %v", err)
	}
	for _, word := range []string{"Yes.", "No, no."} {
		if got, err := modeltest.Say(t, d, word); err != nil || got == 0 {
			t.Errorf("%v of audio, error %v", got, err)
		}
	}
	if box.Dials() != 2 {
		t.Errorf("%d dials", box.Dials())
	}
}

func TestErrorMessages(t *testing.T) {
	for body, status := range map[string]int{
		`{"status_code":400,"errors":["bad voice"],"data":null}`:    400,
		`{"status_code":503,"errors":["bad voice"]}`:                503,
		`{"type":"error","message":"bad voice"}`:                    0,
		`{"type":"error","status_code":200,"errors":["bad voice"]}`: 0,
	} {
		box := sandbox.Start(t, fault.Plan{})
		box.HandleSocket("/speak/en", func(_ *sandbox.Call, ws *sandbox.Socket) {
			_, _, _ = ws.Read()
			_ = ws.Send(map[string]any{"surprise": 1}, false)
			_ = ws.Send(json.RawMessage(body), false)
			ws.Wait()
		}, func(*sandbox.Call) bool { return true })
		_, err := modeltest.Say(t, at(t, box, TTSOptions{}), "Hello.")
		var e *model.Error
		if !errors.As(err, &e) || e.Status != status || model.Retryable(err) != (status != 400) || !strings.Contains(err.Error(), "bad voice") {
			t.Errorf("%s: error is %v", body, err)
		}
	}
}

func TestKeepAliveKeepsAnIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, dial := sandbox.InMemory(t)
		defer box.Close()
		neuphonicbox.Speak(box) // hangs up after a minute of nothing
		d, err := newTTS(&TTSOptions{APIKey: box.Key, BaseURL: box.URL()})
		if err != nil {
			t.Fatal(err)
		}
		s, err := wire.Dial(wire.WithDial(t.Context(), dial), &d.Peer, d.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if _, err := s.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v; want nothing in 10 minutes", err)
		}
	})
}

func TestRefusedOptions(t *testing.T) {
	t.Setenv("NEUPHONIC_API_KEY", "")
	for want, o := range map[string]*TTSOptions{
		"NEUPHONIC_API_KEY": nil,
		"Rate":              {APIKey: "k", Rate: 44100},
		"Speed":             {APIKey: "k", Speed: opt.Some(0.1)},
		"Temperature":       {APIKey: "k", Temperature: opt.Some(2.0)},
	} {
		if _, err := NewTTS(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want it to name %q", err, want)
		}
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	err := modeltest.Refused(t, `{"status_code":400,"errors":["no such voice"]}`, func(key, url string) (any, error) {
		return newTTS(&TTSOptions{APIKey: key, BaseURL: url})
	})
	if err == nil || !strings.Contains(err.Error(), "no such voice") {
		t.Errorf("error is %v", err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"data":{"audio":"AAECAw==","context_id":"c","stop":true}}`))
	f.Add([]byte(`{"data":{"audio":"AAEC","context_id":"other","stop":true}}`))
	f.Add([]byte(`{"type":"error","status_code":429,"errors":{"a":["b"]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reply
		if json.Unmarshal(b, &r) != nil {
			return
		}
		s := &speech{d: new(synthesizer), id: "c", pending: 1, ended: true}
		over := false
		s.finish = func() { over = true }
		if more, err := s.take(&r); err != nil || more && len(s.chunk.Frame.Data) == 0 || over != (r.Data.Stop && (r.Data.ContextID == "c" || r.Data.ContextID == "")) {
			t.Errorf("chunk %v, error %v, over %v", more, err, over)
		}
		r.Type, r.Data.Audio = "error", nil
		if err := s.d.refused(&r, b); err == nil {
			t.Error("no error")
		}
	})
}
