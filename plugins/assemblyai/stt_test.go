package assemblyai

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/assemblyaibox"
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

func conform(t *testing.T, o STTOptions) {
	t.Parallel()
	stttest.Run(t, stttest.Harness{
		Speech: sandbox.EarSpeech(rate), Text: sandbox.EarText, Secret: sandbox.DefaultKey,
		Start: func(t testing.TB, p fault.Plan) stttest.Provider {
			box := sandbox.Start(t, p)
			assemblyaibox.Stream(box)
			o := o
			o.APIKey, o.BaseURL = box.Key, box.URL()
			d, err := newSTT(&o)
			if err != nil {
				t.Fatal(err)
			}
			return stttest.Provider{Driver: d, Served: func() stttest.Served {
				return stttest.Served{Audio: box.Audio(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
			}}
		},
	})
}

func TestSTTConformance(t *testing.T) { conform(t, STTOptions{}) }

func TestEnglishConformance(t *testing.T) {
	conform(t, STTOptions{Model: "universal-streaming-english", FormatTurns: true})
}

// session opens a stream, sends what send does, and returns all events until the end.
func session(t *testing.T, o STTOptions, d driver.Options, send func(ctx context.Context, s driver.Stream)) ([]*driver.Event, error) {
	t.Helper()
	box := sandbox.Start(t, fault.Plan{})
	assemblyaibox.Stream(box)
	o.APIKey, o.BaseURL = box.Key, box.URL()
	return listen(t, o, d, send)
}

func listen(t *testing.T, o STTOptions, d driver.Options, send func(ctx context.Context, s driver.Stream)) (events []*driver.Event, err error) {
	t.Helper()
	r, err := newSTT(&o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	send(t.Context(), s)
	for {
		e, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
}

func kinds(events []*driver.Event) (k []driver.EventKind) {
	for _, e := range events {
		if e.Kind != driver.Interim || len(k) == 0 || k[len(k)-1] != driver.Interim { // a row of interims counts as one
			k = append(k, e.Kind)
		}
	}
	return k
}

// speak says the utterance in small frames, as sessions do.
func speak(t *testing.T, ctx context.Context, s driver.Stream, f audio.Frame) {
	t.Helper()
	for step := audio.SamplesIn(20*time.Millisecond, rate); len(f.Data) > 0; f.Data = f.Data[min(step, len(f.Data)):] {
		if err := s.Push(ctx, audio.Frame{Data: f.Data[:min(step, len(f.Data))], Rate: rate, Channels: 1}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEventsOfATurn(t *testing.T) {
	for name, o := range map[string]STTOptions{
		"pro":     {Diarize: true, Languages: []string{"es"}},
		"english": {Model: "universal-streaming-english", FormatTurns: true, Diarize: true},
	} {
		events, err := session(t, o, driver.Options{Language: "en-GB"}, func(ctx context.Context, s driver.Stream) {
			speak(t, ctx, s, sandbox.EarSpeech(rate))
			_ = s.CloseSend(ctx)
		})
		want := []driver.EventKind{driver.StartOfSpeech, driver.Interim, driver.Preflight, driver.Final, driver.EndOfSpeech, driver.Usage}
		if o.FormatTurns { // the end that is not formatted is a guess
			want = append(want[:3:3], append([]driver.EventKind{driver.Preflight}, want[3:]...)...)
		}
		if got := kinds(events); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: events %v, error %v; want %v", name, got, err, want)
		}
		final := events[len(events)-3]
		if a := final.Alternatives[0]; a.Text != sandbox.EarText || a.Language != "en" || a.SpeakerID != "A" || a.End != 800*time.Millisecond ||
			len(a.Words) != 4 || a.Words[3].Text != "lights" || a.Confidence < 0.8 || final.RequestID == "" {
			t.Errorf("%s: final is %+v of %q", name, a, final.RequestID)
		}
		if u := events[len(events)-1].Usage.AudioDuration; u != 1600*time.Millisecond {
			t.Errorf("%s: usage is %v", name, u)
		}
	}
}

func TestTurnsEndByFlushAndWithTheStream(t *testing.T) {
	said := sandbox.EarSpeech(rate)
	said.Data = said.Data[:audio.SamplesIn(620*time.Millisecond, rate)] // no whole number of messages
	for name, flush := range map[string]bool{"flush": true, "close": false} {
		events, err := session(t, STTOptions{}, driver.Options{}, func(ctx context.Context, s driver.Stream) {
			speak(t, ctx, s, said)
			if flush {
				_ = s.Flush(ctx)
			}
			_ = s.CloseSend(ctx)
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		k := kinds(events)
		if n := len(k); n < 4 || !reflect.DeepEqual(k[n-3:], []driver.EventKind{driver.Final, driver.EndOfSpeech, driver.Usage}) {
			t.Errorf("%s: events %v", name, k)
		}
		if got := events[len(events)-3].Text(); got != sandbox.EarText {
			t.Errorf("%s: final is %q", name, got)
		}
	}
}

func TestErrorsSayWhetherTryingAgainHelps(t *testing.T) {
	for code, again := range map[int]bool{1008: false, 3005: true, 3007: false, 3008: true} {
		box := sandbox.Start(t, fault.Plan{})
		box.HandleSocket("/v3/ws", func(_ *sandbox.Call, ws *sandbox.Socket) {
			_ = ws.Send(map[string]any{"type": "Surprise"}, false)
			_ = ws.Send(map[string]any{"type": "Error", "error_code": code, "error": "no: " + box.Key}, false)
			ws.Close(code, "no")
		}, func(*sandbox.Call) bool { return true })
		_, err := listen(t, STTOptions{APIKey: box.Key, BaseURL: box.URL()}, driver.Options{}, func(context.Context, driver.Stream) {})
		var e *model.Error
		if !errors.As(err, &e) || e.Status != code || e.Retryable() != again || strings.Contains(err.Error(), box.Key) {
			t.Errorf("%d: error is %v", code, err)
		}
	}
}

func TestQueryOfOptions(t *testing.T) {
	query := func(o STTOptions, d driver.Options) url.Values {
		o.APIKey = "k"
		r, err := newSTT(&o)
		if err != nil {
			t.Fatal(err)
		}
		return r.query(d)
	}
	for _, c := range []struct {
		o    STTOptions
		d    driver.Options
		want string
	}{
		{STTOptions{}, driver.Options{}, "encoding=pcm_s16le&language_detection=true&max_turn_silence=100&min_turn_silence=100&sample_rate=16000&speech_model=universal-3-5-pro"},
		{STTOptions{Mode: "balanced", ContinuousPartials: opt.Off[bool](), PreviousTurns: opt.Some(0)}, driver.Options{},
			"continuous_partials=false&encoding=pcm_s16le&language_detection=true&mode=balanced&previous_context_n_turns=0&sample_rate=16000&speech_model=universal-3-5-pro"},
		{STTOptions{Model: "universal-streaming-english", EndOfTurnConfidence: opt.Some(0.4), MinTurnSilence: time.Second}, driver.Options{Language: "en"},
			"encoding=pcm_s16le&end_of_turn_confidence_threshold=0.4&language_detection=false&min_turn_silence=1000&sample_rate=16000&speech_model=universal-streaming-english"},
	} {
		if got := query(c.o, c.d).Encode(); got != c.want {
			t.Errorf("query is\n%s, want\n%s", got, c.want)
		}
	}
	q := query(STTOptions{Keyterms: []string{"Parley"}, Languages: []string{"en-US", "en-GB", "es"}, AgentContext: "é" + strings.Repeat("x", 1750)},
		driver.Options{Keyterms: []string{"Hafen"}})
	for name, want := range map[string]string{
		"keyterms_prompt": `["Parley","Hafen"]`, "language_codes": `["en","es"]`, "agent_context": strings.Repeat("x", 1750),
	} {
		if got := q.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestRefusedOptions(t *testing.T) {
	t.Setenv("ASSEMBLYAI_API_KEY", "")
	_, missing := NewSTT(nil)
	_, pro := NewSTT(&STTOptions{APIKey: "k", Model: "universal-streaming-english", Prompt: "p"})
	_, multi := NewSTT(&STTOptions{APIKey: "k", Languages: []string{"multi", "en"}})
	for want, err := range map[string]error{"ASSEMBLYAI_API_KEY": missing, "STTOptions.Prompt": pro, `"multi"`: multi} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want it to name %q", err, want)
		}
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	err := modeltest.Refused(t, `{"type":"Error","error_code":3006,"error":"no such voice"}`, func(key, url string) (any, error) {
		return newSTT(&STTOptions{APIKey: key, BaseURL: url})
	})
	if err == nil || !strings.Contains(err.Error(), "status 3006): no such voice") {
		t.Errorf("error is %v", err)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte(`{"type":"Turn","turn_order":0,"transcript":"a","utterance":"a","words":[{"text":"a","start":1,"end":2}],"end_of_turn":true}`))
	f.Add([]byte(`{"type":"Termination","audio_duration_seconds":1e300}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &stream{r: &recognizer{}, turn: -1}
		var m message
		if json.Unmarshal(b, &m) != nil {
			return
		}
		_ = s.take(&m)
		_ = s.take(&m)
		for _, e := range s.events {
			if (e.Kind == driver.Final || e.Kind == driver.Interim || e.Kind == driver.Preflight) && e.Text() == "" {
				t.Errorf("%v without a text", e.Kind)
			}
			if e.Usage.AudioDuration < 0 || e.SpeechStart < 0 {
				t.Errorf("negative times: %+v", e)
			}
		}
	})
}
