package speechmatics

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/speechmaticsbox"
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
	speechmaticsbox.Realtime(box)
	return box, at(t, box, o)
}

func at(t testing.TB, box *sandbox.Server, o STTOptions) *recognizer {
	t.Helper()
	o.APIKey, o.BaseURL = box.Key, box.URL()+"/v2"
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
		Language: "fr", Diarize: true, MaxSpeakers: 2, SpeakerSensitivity: opt.Some(0.4), PreferCurrentSpeaker: true, NoFillerWords: true,
		Domain: "medical", OutputLocale: "cmn-Hans", Keyterms: []string{"Parley"}, Endpointing: opt.Some(time.Second), MaxDelay: 4 * time.Second,
	})
	events, err := modeltest.Transcribe(t, r, driver.Options{Language: "zh-TW", Keyterms: []string{"Hafen"}}, func(ctx context.Context, s driver.Stream) {
		_ = s.Push(ctx, audio.Silence(time.Second, sttRate, 1))
		_ = s.Push(ctx, sandbox.EarSpeech(sttRate))
		_ = s.CloseSend(ctx)
	})
	want := []driver.EventKind{driver.StartOfSpeech, driver.Interim, driver.Final, driver.EndOfSpeech}
	if got := modeltest.Kinds(events); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("events %v, error %v; want %v", got, err, want)
	}
	if events[0].SpeechStart != time.Second {
		t.Errorf("speech starts at %v, want 1s", events[0].SpeechStart)
	}
	final := events[len(events)-2]
	a := final.Alternatives[0]
	if a.Text != sandbox.EarText || a.Language != "cmn" || a.SpeakerID != "S1" || a.Start != time.Second || a.End != 1800*time.Millisecond || a.Confidence < 0.89 {
		t.Errorf("final is %+v", a)
	}
	if len(a.Words) != 4 || a.Words[3].Text != "lights" || a.Words[3].End != a.End || final.RequestID == "" {
		t.Errorf("final has the words %+v, request %q", a.Words, final.RequestID)
	}
}

func TestWithoutEndpointingWordsAreFinalAsTheySettle(t *testing.T) {
	_, r := start(t, fault.Plan{}, STTOptions{NoInterim: true, Endpointing: opt.Off[time.Duration]()})
	events, err := modeltest.Transcribe(t, r, driver.Options{}, func(ctx context.Context, s driver.Stream) {
		_ = s.Push(ctx, sandbox.EarSpeech(sttRate))
		_ = s.Flush(ctx)
		_ = s.Flush(ctx) // there is nothing more to end
		_ = s.CloseSend(ctx)
	})
	var got []string
	for _, e := range events {
		got = append(got, strings.TrimSpace(e.Kind.String()+" "+e.Text()))
	}
	want := []string{"start_of_speech", "final_transcript turn", "final_transcript on", "final_transcript the lights", "end_of_speech"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("events %q, error %v; want %q", got, err, want)
	}
}

func TestFlushEndsTheUtterance(t *testing.T) {
	_, r := start(t, fault.Plan{}, STTOptions{})
	events, err := modeltest.Transcribe(t, r, driver.Options{}, func(ctx context.Context, s driver.Stream) {
		_ = s.Push(ctx, audio.Frame{Data: sandbox.EarSpeech(sttRate).Data[:sttRate/2], Rate: sttRate, Channels: 1})
		_ = s.Flush(ctx)
		_ = s.Push(ctx, sandbox.EarSpeech(sttRate))
		_ = s.CloseSend(ctx)
	})
	one := []driver.EventKind{driver.StartOfSpeech, driver.Interim, driver.Final, driver.EndOfSpeech}
	if got := modeltest.Kinds(events); err != nil || !reflect.DeepEqual(got, append(one[:4:4], one...)) {
		t.Errorf("events %v, error %v", got, err)
	}
}

func TestPunctuationBelongsToItsWord(t *testing.T) {
	s := &stream{r: &recognizer{}, space: " "}
	for _, m := range []string{
		`{"message":"AddTranscript","metadata":{"start_time":0,"end_time":1,"transcript":"Hello"},"results":[{"type":"word","start_time":0.5,"end_time":1,"alternatives":[{"content":"Hello","confidence":0.8,"speaker":"S2"}]}]}`,
		`{"message":"AddPartialTranscript","metadata":{},"results":[{"type":"entity","start_time":1,"end_time":2,"alternatives":[{"content":"42","confidence":1}]}]}`,
		`{"message":"AddTranscript","metadata":{"start_time":1,"end_time":1,"transcript":", ¿"},"results":[
			{"type":"punctuation","start_time":1,"end_time":1,"attaches_to":"previous","alternatives":[{"content":",","confidence":1}]},
			{"type":"punctuation","start_time":1,"end_time":1,"attaches_to":"next","alternatives":[{"content":"¿","confidence":1}]},
			{"type":"word","start_time":1,"end_time":1.5,"alternatives":[{"content":"qué","confidence":0.6,"speaker":"S2"}]}]}`,
		`{"message":"Surprise","results":[{"type":"word"}]}`,
		`{"message":"AddTranscript","metadata":{"start_time":1.5,"end_time":1.5,"transcript":"?"},"results":[{"type":"punctuation","start_time":1.5,"end_time":1.5,"alternatives":[{"content":"?","confidence":1}]}]}`,
		`{"message":"EndOfUtterance","metadata":{"start_time":2,"end_time":2}}`,
	} {
		var v message
		if err := json.Unmarshal([]byte(m), &v); err != nil {
			t.Fatal(err)
		}
		s.take(&v)
	}
	var got []string
	for _, e := range s.events {
		got = append(got, strings.TrimSpace(e.Kind.String()+" "+e.Text()))
	}
	want := []string{
		"start_of_speech", "interim_transcript Hello", "interim_transcript Hello 42", "interim_transcript Hello, ¿qué",
		"interim_transcript Hello, ¿qué?", "final_transcript Hello, ¿qué?", "end_of_speech",
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("events\n%q, want\n%q", got, want)
	}
	a := s.events[5].Alternatives[0]
	if a.SpeakerID != "S2" || len(a.Words) != 2 || a.Words[0].Text != "Hello," || a.Words[1].Text != "qué?" || a.Start != 500*time.Millisecond || a.End != 1500*time.Millisecond {
		t.Errorf("final is %+v", a)
	}
}

func TestNamedErrorsHaveAStatus(t *testing.T) {
	for name, want := range map[string]int{"not_authorised": 401, "timelimit_exceeded": 402, "not_allowed": 403, "quota_exceeded": 429, "job_error": 500, "invalid_config": 400} {
		for _, c := range []struct{ inBand, later bool }{{true, false}, {false, false}, {true, true}, {false, true}} {
			code := map[string]int{"not_authorised": 4001, "timelimit_exceeded": 4006, "not_allowed": 4003, "quota_exceeded": 4005, "job_error": 4013}[name]
			if code == 0 && !c.inBand {
				continue
			}
			box := sandbox.Start(t, fault.Plan{})
			box.HandleSocket("/v2", func(_ *sandbox.Call, ws *sandbox.Socket) {
				if c.later {
					_ = ws.Send(map[string]any{"message": "RecognitionStarted"}, false)
				}
				if c.inBand {
					_ = ws.Send(map[string]any{"message": "Error", "type": name, "reason": "because of " + sandbox.DefaultKey}, false)
				}
				ws.Close(max(code, 1000), name)
			}, func(*sandbox.Call) bool { return true })
			s, err := at(t, box, STTOptions{}).Open(t.Context(), driver.Options{})
			if c.later && err == nil {
				<-s.(*stream).Dead()
				err = s.Push(t.Context(), sandbox.EarSpeech(sttRate))
				_ = s.Close()
			}
			var e *model.Error
			if !errors.As(err, &e) || e.Status != want || model.Retryable(err) != (want == 429 || want == 500) ||
				!strings.Contains(err.Error(), name) || strings.Contains(err.Error(), sandbox.DefaultKey) {
				t.Errorf("%s, %+v: error is %v", name, c, err)
			}
		}
	}
}

func TestRefusedConfigIsAnErrorForGood(t *testing.T) {
	for want, o := range map[string]STTOptions{"invalid_model": {Model: "huge"}, "invalid_language": {Language: "plain english"}} {
		_, r := start(t, fault.Plan{}, o)
		_, err := r.Open(t.Context(), driver.Options{})
		if err == nil || model.Retryable(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
}

func TestRefusedOptions(t *testing.T) {
	t.Setenv("SPEECHMATICS_API_KEY", "")
	for want, o := range map[string]*STTOptions{
		"SPEECHMATICS_API_KEY": nil,
		"MaxDelay":             {APIKey: "k", MaxDelay: 5 * time.Second},
		"Endpointing":          {APIKey: "k", Endpointing: opt.Some(3 * time.Second)},
		"MaxSpeakers":          {APIKey: "k", MaxSpeakers: 1},
		"SpeakerSensitivity":   {APIKey: "k", SpeakerSensitivity: opt.Some(1.5)},
	} {
		if _, err := NewSTT(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want it to name %q", err, want)
		}
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	err := modeltest.Refused(t, `{"message":"Error","type":"not_authorised","reason":"no such key"}`, func(key, url string) (any, error) {
		return newSTT(&STTOptions{APIKey: key, BaseURL: url})
	})
	if err == nil || !strings.Contains(err.Error(), "status 401): not_authorised: no such key") {
		t.Errorf("error is %v", err)
	}
}

func FuzzTranscript(f *testing.F) {
	f.Add([]byte(`{"message":"AddTranscript","metadata":{"transcript":"a"},"results":[{"type":"word","start_time":1,"end_time":0,"alternatives":[{"content":"a","speaker":"S1"}]}]}`))
	f.Add([]byte(`{"message":"AddPartialTranscript","results":[{"type":"punctuation","attaches_to":"both","alternatives":[{"content":"-"}]},{"type":"word","alternatives":[]}]}`))
	f.Add([]byte(`{"message":"EndOfTranscript"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, alone := range []bool{false, true} {
			s := &stream{r: &recognizer{}, space: " ", alone: alone}
			var m message
			for _, then := range []string{"", "EndOfUtterance"} {
				if json.Unmarshal(b, &m) == nil {
					if then != "" {
						m.Message = then
					}
					s.take(&m)
				}
			}
			for _, e := range s.events {
				if len(e.Alternatives) > 0 && (e.Text() == "" || e.Alternatives[0].Start > e.Alternatives[0].End) {
					t.Errorf("%v is %+v", e.Kind, e.Alternatives[0])
				}
			}
		}
	})
}
