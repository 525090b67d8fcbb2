package elevenlabs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/elevenlabsbox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/stt/stttest"
)

func listener(t testing.TB, p fault.Plan, o STTOptions) (*sandbox.Server, driver.STT) {
	t.Helper()
	box := sandbox.Start(t, p)
	elevenlabsbox.STT(box)
	o.APIKey, o.BaseURL = box.Key, box.URL()+"/v1"
	s, err := newScribe(&o)
	if err != nil {
		t.Fatal(err)
	}
	return box, s.driver()
}

func TestSTTConformance(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]STTOptions{
		"live":      {Silence: 500 * time.Millisecond, PreviousText: "Good morning."},
		"recording": {Model: "scribe_v2", Diarize: true},
	} {
		h := stttest.Harness{
			Speech: sandbox.EarSpeech(sttRate), Text: sandbox.EarText, Secret: sandbox.DefaultKey,
			Start: func(t testing.TB, p fault.Plan) stttest.Provider {
				box, d := listener(t, p, o)
				return stttest.Provider{Driver: d, Served: func() stttest.Served {
					return stttest.Served{Audio: box.Audio(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
				}}
			},
		}
		for _, c := range stttest.Cases() {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				c.Run(t, h)
			})
		}
	}
}

// hear opens a stream, sends what send does, and returns all events until the end.
func hear(t *testing.T, d driver.STT, o driver.Options, send func(ctx context.Context, s driver.Stream)) ([]*driver.Event, error) {
	t.Helper()
	s, err := d.(driver.Streamer).Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	send(t.Context(), s)
	var events []*driver.Event
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

// kinds are the events; interims in a row count as one.
func kinds(events []*driver.Event) (k []driver.EventKind) {
	for _, e := range events {
		if e.Kind != driver.Interim || len(k) == 0 || k[len(k)-1] != driver.Interim {
			k = append(k, e.Kind)
		}
	}
	return k
}

// said is the sound of EarSpeech without the silence.
func said() audio.Frame {
	f := sandbox.EarSpeech(sttRate)
	f.Data = f.Data[:len(f.Data)/2]
	return f
}

func TestEventsOfUtterances(t *testing.T) {
	utterance := []driver.EventKind{driver.StartOfSpeech, driver.Interim, driver.Final, driver.EndOfSpeech}
	for name, o := range map[string]STTOptions{"words": {}, "no words": {NoWords: true, Language: "en-US"}} {
		_, d := listener(t, fault.Plan{}, o)
		events, err := hear(t, d, driver.Options{Keyterms: []string{"Parley"}}, func(ctx context.Context, s driver.Stream) {
			_ = s.Push(ctx, sandbox.EarSpeech(sttRate))
			_ = s.Push(ctx, said()) // is cut off by the end
			_ = s.CloseSend(ctx)
		})
		if got := kinds(events); err != nil || !reflect.DeepEqual(got, append(append([]driver.EventKind{}, utterance...), utterance...)) {
			t.Fatalf("%s: events %v, error %v", name, got, err)
		}
		e := events[len(events)-2]
		a := e.Alternatives[0]
		if a.Text != sandbox.EarText || !strings.HasPrefix(a.Language, "en") || e.RequestID != "session-1" {
			t.Errorf("%s: final is %+v", name, e)
		}
		if !o.NoWords && (a.Start != 1600*time.Millisecond || a.End != 2400*time.Millisecond || len(a.Words) != 4 || a.Confidence < 0.9) {
			t.Errorf("%s: final is %+v", name, a)
		}
	}
}

func TestUtterancesThatEndByFlush(t *testing.T) {
	_, d := listener(t, fault.Plan{}, STTOptions{ManualCommit: true})
	events, err := hear(t, d, driver.Options{Language: "de-DE"}, func(ctx context.Context, s driver.Stream) {
		_ = s.Push(ctx, sandbox.EarSpeech(sttRate))
		_ = s.Flush(ctx)
		_ = s.Push(ctx, sandbox.EarSpeech(sttRate))
		_ = s.Flush(ctx)
		_ = s.CloseSend(ctx)
	})
	want := []driver.EventKind{driver.StartOfSpeech, driver.Interim, driver.Final, driver.Interim, driver.Final, driver.EndOfSpeech}
	if got := kinds(events); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("events %v, error %v", got, err)
	}
	if a := events[len(events)-2].Alternatives[0]; a.Language != "de" || a.End != 2400*time.Millisecond {
		t.Errorf("final is %+v", a)
	}
}

func TestKeepAliveKeepsASilentStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, dial := sandbox.InMemory(t)
		defer box.Close()
		elevenlabsbox.STT(box) // hangs up after 15 s of nothing
		r, err := newScribe(&STTOptions{APIKey: box.Key, BaseURL: box.URL() + "/v1"})
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.driver().(driver.Streamer).Open(wire.WithDial(t.Context(), dial), driver.Options{})
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

// play lets a stream understand messages, without a connection.
func play(o STTOptions, ended bool, list ...string) (string, error) {
	l := &live{r: &recognizer{&scribe{o: o}}}
	l.ended.Store(ended)
	for _, x := range list {
		var m scribed
		if err := json.Unmarshal([]byte(x), &m); err != nil {
			return "", err
		}
		if err := l.take(&m); err != nil {
			return "", err
		}
	}
	var s []string
	for _, e := range l.events {
		s = append(s, strings.TrimSpace(e.Kind.String()+" "+e.Text()))
	}
	if l.over {
		s = append(s, "over")
	}
	return strings.Join(s, "|"), nil
}

func TestOddMessages(t *testing.T) {
	const (
		plain = `{"message_type":"committed_transcript","text":"hi"}`
		timed = `{"message_type":"committed_transcript_with_timestamps","text":"hi","words":[{"text":"hi","type":"word","start":1,"end":2}]}`
		empty = `{"message_type":"committed_transcript","text":""}`
		part  = `{"message_type":"partial_transcript","text":"hi"}`
		hi    = "start_of_speech|final_transcript hi|end_of_speech"
	)
	for _, c := range []struct {
		name  string
		o     STTOptions
		ended bool
		list  []string
		want  string
	}{
		{"each commit comes twice", STTOptions{}, false, []string{plain, timed}, hi},
		{"each commit comes twice, without words", STTOptions{NoWords: true}, false, []string{plain, timed}, hi},
		{"a commit is repeated", STTOptions{}, false, []string{plain, timed, plain, timed}, hi},
		{"the same is said again", STTOptions{NoWords: true}, false, []string{plain, part, plain}, hi + "|start_of_speech|interim_transcript hi|final_transcript hi|end_of_speech"},
		{"speech without words", STTOptions{}, false, []string{part, empty}, "start_of_speech|interim_transcript hi|end_of_speech"},
		{"by hand, an empty commit ends speech", STTOptions{ManualCommit: true}, false, []string{plain, timed, empty}, hi},
		{"an empty answer to the last commit", STTOptions{}, true, []string{plain, timed, empty}, hi + "|over"},
		{"a throttled commit", STTOptions{}, false, []string{`{"message_type":"commit_throttled","error":"too fast"}`}, ""},
		{"the last one throttled", STTOptions{}, true, []string{`{"message_type":"commit_throttled","error":"too fast"}`}, "over"},
		{"unknown messages", STTOptions{}, false, []string{`{"message_type":"weather","text":"sun"}`}, ""},
	} {
		if got, err := play(c.o, c.ended, c.list...); got != c.want || err != nil {
			t.Errorf("%s: got  %s, %v\nwant %s", c.name, got, err, c.want)
		}
	}
}

func TestErrorsOfScribe(t *testing.T) {
	for message, retry := range map[string]bool{
		`{"message_type":"auth_error","error":"bad key"}`:                             false,
		`{"message_type":"quota_exceeded","error":"bad key"}`:                         false,
		`{"message_type":"input_error","message":"bad key","details":"of audio"}`:     false,
		`{"message_type":"transcriber_error","error":"bad key"}`:                      true,
		`{"message_type":"rate_limited","error":"bad key"}`:                           true,
		`{"message_type":"session_time_limit_exceeded","error":"not really bad key"}`: true,
	} {
		_, err := play(STTOptions{}, false, message)
		var e *model.Error
		if !errors.As(err, &e) || e.Retryable() != retry || !strings.Contains(err.Error(), "bad key") {
			t.Errorf("%s: error is %v", message, err)
		}
	}
}

func TestRecordings(t *testing.T) {
	_, d := listener(t, fault.Plan{}, STTOptions{Model: "scribe_v1", NoVerbatim: true, NoAudioEvents: true, Diarize: true, Keyterms: []string{"a"}})
	r, err := d.(driver.Recognizer).Recognize(t.Context(), sandbox.EarSpeech(sttRate), driver.Options{Language: "fr-CA", Keyterms: []string{"b"}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Text != sandbox.EarText || r.Language != "fr" || r.SpeakerID != "speaker_0" || r.RequestID != "t-1" || r.Usage != nil ||
		len(r.Words) != 4 || r.End != 800*time.Millisecond || r.Confidence < 0.9 {
		t.Errorf("result is %+v", r)
	}
}

func TestOptionsOfSTT(t *testing.T) {
	t.Setenv("ELEVEN_API_KEY", "")
	t.Setenv("ELEVENLABS_API_KEY", "")
	for want, o := range map[string]*STTOptions{
		"ELEVEN_API_KEY": nil,
		"for recordings": {APIKey: "k", Diarize: true},
		"live audio":     {APIKey: "k", Model: "scribe_v1", ManualCommit: true},
		"ManualCommit":   {APIKey: "k", ManualCommit: true, Threshold: opt.Some(0.5)},
	} {
		if _, err := NewSTT(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error is %v", o, err)
		}
	}
	s, err := newScribe(&STTOptions{
		APIKey: "k", Silence: 700 * time.Millisecond, Threshold: opt.Some(0.5), MinSpeech: 60 * time.Millisecond, NoVerbatim: true, NoLogging: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "audio_format=pcm_16000&commit_strategy=vad&enable_logging=false&include_language_detection=true&include_timestamps=true&" +
		"min_speech_duration_ms=60&model_id=scribe_v2_realtime&no_verbatim=true&vad_silence_threshold_secs=0.7&vad_threshold=0.5"
	if got := (&recognizer{s}).query(driver.Options{}).Encode(); got != want {
		t.Errorf("query is %s", got)
	}
}

func FuzzScribe(f *testing.F) {
	f.Add(`{"message_type":"committed_transcript_with_timestamps","text":"a","words":[{"text":"a","type":"word","start":-1,"end":1e300,"logprob":1e300}]}`)
	f.Add(`{"message_type":"partial_transcript","text":" "}`)
	f.Add(`{"text":"a","language_code":"en","words":[{"text":"(noise)","type":"audio_event"}]}`)
	f.Fuzz(func(t *testing.T, data string) {
		_, _ = play(STTOptions{}, true, data)
		_, _ = play(STTOptions{NoWords: true}, false, data, data)
		r, err := (&transcriber{&scribe{}}).result([]byte(data), "")
		if err == nil && (r.Start < 0 || r.End < r.Start || r.Confidence < 0 || r.Confidence > 1) {
			t.Errorf("result is %+v", r)
		}
	})
}
