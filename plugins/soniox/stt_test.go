package soniox

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/sonioxbox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/stt/stttest"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // the kits wait more than they work
	goleak.VerifyTestMain(m)
}

func start(t testing.TB, p fault.Plan, o STTOptions) (*sandbox.Server, *recognizer) {
	t.Helper()
	box := sandbox.Start(t, p)
	sonioxbox.Transcribe(box)
	return box, at(t, box, o)
}

func at(t testing.TB, box *sandbox.Server, o STTOptions) *recognizer {
	t.Helper()
	o.APIKey, o.BaseURL = box.Key, box.URL()
	r, err := newSTT(&o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSTTConformance(t *testing.T) {
	t.Parallel()
	stttest.Run(t, stttest.Harness{
		Speech: sandbox.EarSpeech(sttRate), Text: sandbox.EarText, Secret: sandbox.DefaultKey,
		Start: func(t testing.TB, p fault.Plan) stttest.Provider {
			box, r := start(t, p, STTOptions{Diarize: true})
			return stttest.Provider{Driver: r, Served: func() stttest.Served {
				return stttest.Served{Audio: box.Audio(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
			}}
		},
	})
}

func TestEventsOfAnUtterance(t *testing.T) {
	_, r := start(t, fault.Plan{}, STTOptions{
		Diarize: true, OnlyLanguages: true, Languages: []string{"de-AT", "de-DE", "fr"}, EndSensitivity: opt.Some(-0.5), FasterEnd: opt.Some(1),
		Keyterms: []string{"Parley"}, Topic: map[string]string{"domain": "Ships", "a": "b"}, Context: "A harbour.", Reference: "r1",
	})
	events, err := modeltest.Transcribe(t, r, driver.Options{Keyterms: []string{"Hafen"}}, func(ctx context.Context, s driver.Stream) {
		_ = s.Push(ctx, audio.Silence(time.Second, sttRate, 1))
		_ = s.Push(ctx, sandbox.EarSpeech(sttRate))
		_ = s.CloseSend(ctx)
	})
	want := []driver.EventKind{driver.StartOfSpeech, driver.Interim, driver.Final, driver.EndOfSpeech, driver.Usage}
	if got := modeltest.Kinds(events); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("events %v, error %v; want %v", got, err, want)
	}
	if events[0].SpeechStart != time.Second {
		t.Errorf("speech starts at %v, want 1s", events[0].SpeechStart)
	}
	a := events[len(events)-3].Alternatives[0]
	if a.Text != sandbox.EarText || a.Language != "en" || a.SpeakerID != "1" || a.Start != time.Second || a.End != 1800*time.Millisecond || a.Confidence < 0.89 {
		t.Errorf("final is %+v", a)
	}
	if len(a.Words) != 4 || a.Words[3].Text != "lights" || a.Words[3].Start != 1600*time.Millisecond || a.Words[3].End != a.End {
		t.Errorf("final has the words %+v", a.Words)
	}
	if u := events[len(events)-1].Usage.AudioDuration; u != 2600*time.Millisecond {
		t.Errorf("usage is %v, want 2.6s", u)
	}
}

func TestFlushEndsTheUtterance(t *testing.T) {
	_, r := start(t, fault.Plan{}, STTOptions{NoEndpointing: true, NoLanguage: true, Languages: []string{"en-GB"}})
	events, err := modeltest.Transcribe(t, r, driver.Options{}, func(ctx context.Context, s driver.Stream) {
		_ = s.Push(ctx, sandbox.EarSpeech(sttRate)) // its silence ends nothing
		_ = s.Flush(ctx)
		_ = s.Flush(ctx) // there is nothing more to finalise
		_ = s.Push(ctx, audio.Frame{Data: sandbox.EarSpeech(sttRate).Data[:sttRate/2], Rate: sttRate, Channels: 1})
		_ = s.CloseSend(ctx)
	})
	want := []driver.EventKind{
		driver.StartOfSpeech, driver.Interim, driver.Preflight, driver.Final, driver.EndOfSpeech,
		driver.StartOfSpeech, driver.Interim, driver.Preflight, driver.Final, driver.EndOfSpeech, driver.Usage,
	}
	if got := modeltest.Kinds(events); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("events %v, error %v; want %v", got, err, want)
	}
	if a := events[len(events)-3].Alternatives[0]; a.Language != "en-GB" || a.Text != sandbox.EarText {
		t.Errorf("final is %+v", a)
	}
}

func TestTokensBecomeTurns(t *testing.T) {
	s := &stream{r: &recognizer{}}
	for _, m := range []string{
		`{"tokens":[{"text":"Hel","start_ms":0,"end_ms":100,"confidence":1},{"text":"lo","start_ms":100,"end_ms":200}],"new":1}`,
		`{"tokens":[{"text":"Hello","start_ms":0,"end_ms":200,"confidence":0.8,"is_final":true,"language":"en","speaker":"2"},{"text":" the","start_ms":250,"end_ms":300}]}`,
		`{"tokens":[{"text":" there","start_ms":250,"end_ms":400,"confidence":0.6,"is_final":true,"language":"en","speaker":2},{"text":".","start_ms":400,"end_ms":400,"is_final":true}]}`,
		`{"tokens":[],"total_audio_proc_ms":1000}`,
		`{"tokens":[{"text":"<end>","is_final":true},{"text":"你好","start_ms":900,"end_ms":1000},{"text":"吗","start_ms":1000,"end_ms":1100}]}`,
		`{"tokens":[],"finished":true,"total_audio_proc_ms":1200}`,
	} {
		var v message
		if err := json.Unmarshal([]byte(m), &v); err != nil {
			t.Fatal(err)
		}
		if err := s.take(&v); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, e := range s.events {
		got = append(got, strings.TrimSpace(e.Kind.String()+" "+e.Text()))
	}
	want := []string{
		"start_of_speech", "interim_transcript Hello", "interim_transcript Hello the", "preflight_transcript Hello there.",
		"final_transcript Hello there.", "end_of_speech", "start_of_speech", "interim_transcript 你好吗", "end_of_speech", "recognition_usage",
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("events\n%q, want\n%q", got, want)
	}
	a := s.events[4].Alternatives[0]
	if a.SpeakerID != "2" || len(a.Words) != 2 || a.Words[1].Text != "there." || a.Words[1].Start != 250*time.Millisecond || a.Words[1].Confidence != 0.3 {
		t.Errorf("final is %+v", a)
	}
	if w := s.events[7].Alternatives[0].Words; len(w) != 2 || w[1].Text != "吗" {
		t.Errorf("words are %+v", w)
	}
}

func TestErrorMessagesHaveTheirStatus(t *testing.T) {
	for body, want := range map[string]int{
		`{"error_code":401,"error_type":"x","error_message":"Incorrect API key ` + sandbox.DefaultKey + `"}`: 401,
		`{"error_code":"503","error_message":"Cannot continue request (code 7)."}`:                           503,
		`{"error_message":"no number"}`: 0,
	} {
		box := sandbox.Start(t, fault.Plan{})
		box.HandleSocket("/transcribe-websocket", func(_ *sandbox.Call, ws *sandbox.Socket) {
			_ = ws.Send(map[string]any{"tokens": []any{}, "unheard": 1}, false)
			_ = ws.Send(json.RawMessage(body), false)
			ws.Close(1000, "")
		}, func(*sandbox.Call) bool { return true })
		_, err := modeltest.Transcribe(t, at(t, box, STTOptions{}), driver.Options{}, func(context.Context, driver.Stream) {})
		var e *model.Error
		if !errors.As(err, &e) || e.Status != want || model.Retryable(err) != (want != 401) || strings.Contains(err.Error(), sandbox.DefaultKey) {
			t.Errorf("%s: error is %v", body, err)
		}
	}
}

func TestRefusedConfigIsAnErrorForGood(t *testing.T) {
	_, r := start(t, fault.Plan{}, STTOptions{})
	_, err := modeltest.Transcribe(t, r, driver.Options{Language: "English"}, func(context.Context, driver.Stream) {})
	var e *model.Error
	if !errors.As(err, &e) || e.Status != 400 || model.Retryable(err) {
		t.Errorf("error is %v", err)
	}
}

func TestKeepAliveKeepsASilentStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, dial := sandbox.InMemory(t)
		defer box.Close()
		sonioxbox.Transcribe(box) // hangs up after 20 s of nothing
		s, err := at(t, box, STTOptions{}).Open(wire.WithDial(t.Context(), dial), driver.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if e, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, %v; want nothing in 10 minutes", e, err)
		}
	})
}

func TestRefusedOptions(t *testing.T) {
	t.Setenv("SONIOX_API_KEY", "")
	for want, o := range map[string]*STTOptions{
		"SONIOX_API_KEY": nil,
		"MaxEndDelay":    {APIKey: "k", MaxEndDelay: 100 * time.Millisecond},
		"EndSensitivity": {APIKey: "k", EndSensitivity: opt.Some(2.0)},
		"FasterEnd":      {APIKey: "k", FasterEnd: opt.Some(4)},
		"base URL":       {APIKey: "k", BaseURL: "nowhere"},
	} {
		if _, err := NewSTT(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want it to name %q", err, want)
		}
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	err := modeltest.Refused(t, `{"error_code":401,"error_message":"no such key"}`, func(key, url string) (any, error) {
		return newSTT(&STTOptions{APIKey: key, BaseURL: url})
	})
	if err == nil || !strings.Contains(err.Error(), "status 401): no such key") {
		t.Errorf("error is %v", err)
	}
}

func FuzzTokens(f *testing.F) {
	f.Add([]byte(`{"tokens":[{"text":" a","start_ms":1,"end_ms":2,"is_final":true,"speaker":"1"},{"text":"<end>"}],"finished":true}`))
	f.Add([]byte(`{"tokens":[{"text":"\u4f60","start_ms":-1e300,"end_ms":1e300},{"text":" ","speaker":null}]}`))
	f.Add([]byte(`{"error_code":"4e2","error_message":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &stream{r: &recognizer{}}
		var m message
		for range 2 {
			if json.Unmarshal(b, &m) == nil {
				_ = s.take(&m)
			}
		}
		for _, e := range s.events {
			if len(e.Alternatives) == 0 {
				continue
			}
			a := e.Alternatives[0]
			if a.Text == "" || a.Start > a.End {
				t.Errorf("%v is %+v", e.Kind, a)
			}
			for _, w := range a.Words {
				if w.Text == "" || w.Start > w.End {
					t.Errorf("word %+v", w)
				}
			}
		}
	})
}
