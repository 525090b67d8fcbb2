package sarvam

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/sarvambox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts/ttstest"
)

func startSpeak(t testing.TB, p fault.Plan, o TTSOptions) (*sandbox.Server, *synthesizer) {
	t.Helper()
	box := sandbox.Start(t, p)
	sarvambox.Speak(box)
	o.APIKey, o.BaseURL = box.Key, box.URL()
	d, err := newTTS(&o)
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
			box, d := startSpeak(t, p, TTSOptions{})
			return ttstest.Provider{Driver: d, Served: func() ttstest.Served {
				return ttstest.Served{Characters: box.Characters(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
			}}
		},
	})
}

func TestOptionsReachTheProvider(t *testing.T) {
	for name, c := range map[string]struct {
		o    TTSOptions
		want string
	}{
		"v2": {
			TTSOptions{
				Model: "bulbul:v2", Language: "hi", Rate: 8000, Pace: opt.Some(3.0), Pitch: opt.Some(-0.5), Loudness: opt.Some(2.0), Preprocess: true,
				Temperature: opt.Some(1.0), Dictionary: "d", MinBuffer: 30, MaxChunk: 500,
			},
			`{"model":"bulbul:v2","target_language_code":"hi-IN","speaker":"anushka","speech_sample_rate":8000,"output_audio_codec":"linear16",` +
				`"min_buffer_size":30,"max_chunk_length":500,"pace":3,"pitch":-0.5,"loudness":2,"enable_preprocessing":true}`,
		},
		"v3": {
			TTSOptions{Voice: "ritu", Language: "or", Pace: opt.Some(0.5), Pitch: opt.Some(0.1), Temperature: opt.Some(0.9), Dictionary: "d"},
			`{"model":"bulbul:v3","target_language_code":"od-IN","speaker":"ritu","speech_sample_rate":24000,"output_audio_codec":"linear16",` +
				`"min_buffer_size":50,"max_chunk_length":150,"pace":0.5,"temperature":0.9,"dict_id":"d"}`,
		},
	} {
		_, d := startSpeak(t, fault.Plan{}, c.o)
		if b, _ := json.Marshal(d.config()); string(b) != c.want {
			t.Errorf("%s: config is\n%s, want\n%s", name, b, c.want)
		}
		if got, err := modeltest.Say(t, d, "Guten ", " ", "Tag."); err != nil || got != 9*40*time.Millisecond { // 40 ms for each letter
			t.Errorf("%s: %v of audio, error %v", name, got, err)
		}
	}
}

func TestRefusalsAreErrorsForGood(t *testing.T) {
	_, d := startSpeak(t, fault.Plan{}, TTSOptions{Voice: "anushka"})
	_, err := modeltest.Say(t, d, "Hello.")
	var e *model.Error
	if !errors.As(err, &e) || e.Status != 422 || model.Retryable(err) || !strings.Contains(err.Error(), "not compatible") {
		t.Errorf("error is %v", err)
	}
}

func TestErrorsWithoutAStatusAreTriedAgain(t *testing.T) {
	for _, body := range []string{
		`{"type":"error","data":{"message":"temporary_unavailable","code":"overloaded"}}`,
		`{"type":"error","data":{"message":"temporary_unavailable","code":1003}}`,
		`{"type":"error","data":{"message":"temporary_unavailable"}}`,
	} {
		var r reply
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			t.Fatal(err)
		}
		_, err := (&speech{d: &synthesizer{}}).take(&r)
		if !model.Retryable(err) || !strings.Contains(err.Error(), "temporary_unavailable") {
			t.Errorf("%s: error is %v", body, err)
		}
	}
}

func TestInterruptedSpeechesCostTheirConnection(t *testing.T) {
	box, d := startSpeak(t, fault.Once(fault.Slow), TTSOptions{})
	s, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Push(t.Context(), "Once upon a time there was a king.")
	if _, err := s.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if got, err := modeltest.Say(t, d, "Yes."); err != nil || got != 4*40*time.Millisecond {
		t.Errorf("%v of audio, error %v", got, err)
	}
	if got, err := modeltest.Say(t, d, "No."); err != nil || got != 3*40*time.Millisecond || box.Dials() != 2 {
		t.Errorf("%v of audio, error %v, %d dials", got, err, box.Dials())
	}
}

func TestKeepAliveKeepsAnIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, dial := sandbox.InMemory(t)
		defer box.Close()
		sarvambox.Speak(box) // hangs up after a minute of nothing
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
	t.Setenv("SARVAM_API_KEY", "")
	for want, o := range map[string]*TTSOptions{
		"SARVAM_API_KEY": nil,
		"Rate":           {APIKey: "k", Rate: 11025},
		"MinBuffer":      {APIKey: "k", MinBuffer: 10},
		"MaxChunk":       {APIKey: "k", MaxChunk: 1000},
	} {
		if _, err := NewTTS(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want it to name %q", err, want)
		}
	}
	if _, err := NewSTT(nil); err == nil || !strings.Contains(err.Error(), "SARVAM_API_KEY") {
		t.Errorf("error is %v", err)
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	err := modeltest.Refused(t, `{"type":"error","data":{"message":"no such voice","code":422}}`, func(key, url string) (any, error) {
		return newTTS(&TTSOptions{APIKey: key, BaseURL: url})
	})
	if err == nil || !strings.Contains(err.Error(), "status 422): no such voice") {
		t.Errorf("error is %v", err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"type":"audio","data":{"audio":"AAECAw==","request_id":"r"}}`))
	f.Add([]byte(`{"type":"event","data":{"event_type":"final"}}`))
	f.Add([]byte(`{"type":"error","data":{"code":"429","message":"x"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reply
		if json.Unmarshal(b, &r) != nil {
			return
		}
		s := &speech{d: new(synthesizer)}
		if more, err := s.take(&r); more && err != nil || errors.Is(err, io.EOF) {
			t.Errorf("chunk %v, error %v before the flush", more, err)
		}
	})
}
