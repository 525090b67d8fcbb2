package livekit

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
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/livekitbox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/stt/driver"
)

func TestEventsOfSpeech(t *testing.T) {
	t.Parallel()
	_, _, r := listen(t, fault.Plan{}, livekitbox.STTOptions{}, STTOptions{})
	said := sandbox.EarSpeech(sttRate)
	said.Data = said.Data[:len(said.Data)/2]
	events, err := modeltest.Transcribe(t, r, driver.Options{}, func(ctx context.Context, s driver.Stream) {
		_ = s.Push(ctx, said)
		_ = s.Flush(ctx)
		_ = s.Push(ctx, said)
		_ = s.CloseSend(ctx)
	})
	one := []driver.EventKind{driver.StartOfSpeech, driver.Interim, driver.Preflight, driver.Final, driver.EndOfSpeech}
	if got := modeltest.Kinds(events); err != nil || !reflect.DeepEqual(got, append(append([]driver.EventKind{}, one...), one...)) {
		t.Fatalf("events %v, error %v", got, err)
	}
	e := events[len(events)-2]
	a := e.Alternatives[0]
	if a.Text != sandbox.EarText || a.Language != "en" || a.SpeakerID != "S1" || a.Start != 800*time.Millisecond || a.End != 1600*time.Millisecond ||
		len(a.Words) != 4 || !strings.HasPrefix(e.RequestID, "req_inference_") {
		t.Errorf("final is %+v of %q", a, e.RequestID)
	}
}

// hear transcribes speech in a bubble, and returns its text and how long the end took.
func hear(t *testing.T, bo livekitbox.STTOptions, speech time.Duration) (text string, took time.Duration, err error) {
	box, dial := sandbox.InMemory(t)
	defer box.Close()
	livekitbox.New(box).STT(bo)
	r, err := newSTT(&STTOptions{Model: "deepgram/nova-3", APIKey: livekitbox.APIKey, APISecret: box.Key, BaseURL: box.URL() + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := wire.WithDial(t.Context(), dial)
	s, err := r.Open(ctx, driver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := sandbox.EarSpeech(sttRate)
	f.Data = f.Data[:audio.SamplesIn(speech, sttRate)]
	_ = s.Push(ctx, f)
	synctest.Wait()
	go func() {
		time.Sleep(5 * time.Second)
		_ = s.CloseSend(ctx)
	}()
	began := time.Now().Add(5 * time.Second)
	for {
		e, err := s.Next(ctx)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return text, time.Since(began), err
		}
		if e.Kind == driver.Final {
			text += e.Text()
		}
	}
}

// The gateway says that all is final, and then sends the last finals; or says nothing at all.
func TestFinalsAfterTheLastWord(t *testing.T) {
	const long, short = 800 * time.Millisecond, 100 * time.Millisecond // short is too short for an interim
	for _, c := range []struct {
		name   string
		o      livekitbox.STTOptions
		speech time.Duration
		text   string
		took   time.Duration
	}{
		{"at once", livekitbox.STTOptions{}, long, sandbox.EarText, time.Second},
		{"nothing was said", livekitbox.STTOptions{}, 0, "", time.Second},
		{"late", livekitbox.STTOptions{Trailing: 900 * time.Millisecond}, short, sandbox.EarText, 1900 * time.Millisecond},
		{"late, and words are open", livekitbox.STTOptions{Trailing: 4 * time.Second}, long, sandbox.EarText, 5 * time.Second},
		{"the gateway says nothing", livekitbox.STTOptions{Silent: true, Trailing: 2 * time.Second}, long, sandbox.EarText, 6 * time.Second},
		{"empty interims for ever", livekitbox.STTOptions{Idle: true}, long, sandbox.EarText, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				text, took, err := hear(t, c.o, c.speech)
				if err != nil || text != c.text {
					t.Errorf("heard %q, %v; want %q", text, err, c.text)
				}
				if took < c.took || took > c.took+2*time.Second {
					t.Errorf("the end took %v, want about %v", took, c.took)
				}
			})
		})
	}
}

func TestSessionOfSTT(t *testing.T) {
	t.Parallel()
	var got livekitbox.CreateSTT
	_, _, r := listen(t, fault.Plan{}, livekitbox.STTOptions{OnCreate: func(c livekitbox.CreateSTT) { got = c }}, STTOptions{
		Model: "deepgram/nova-3:de", Extra: map[string]any{"keyterm": "Parley", "diarize": true},
		Fallback: []Fallback{{Model: "assemblyai/universal-streaming:en", Extra: map[string]any{"format_turns": true}}, {Model: "cartesia/ink-2"}},
		Upstream: model.ConnOptions{MaxRetry: -1, Timeout: 4 * time.Second},
	})
	if i := r.Info(); i != (model.Info{Label: "livekit.STT", Provider: "livekit", Model: "deepgram/nova-3"}) {
		t.Errorf("info is %+v", i)
	}
	if c := r.Capabilities(); !c.Diarization || !c.Keyterms || c.AlignedTranscript != "" {
		t.Errorf("capabilities are %+v", c)
	}
	_, err := modeltest.Transcribe(t, r, driver.Options{Keyterms: []string{"Kelly", "Parley"}}, func(ctx context.Context, s driver.Stream) {
		_ = s.CloseSend(ctx)
	})
	b, _ := json.Marshal(got)
	want := `{"type":"session.create","model":"deepgram/nova-3","settings":{"sample_rate":"16000","encoding":"pcm_s16le","language":"de",` +
		`"extra":{"diarize":true,"keyterm":["Parley","Kelly"]}},"fallback":{"models":[{"model":"assemblyai/universal-streaming","voice":null,` +
		`"extra":{"format_turns":true}},{"model":"cartesia/ink-2","voice":null,"extra":{}}]},"connection":{"timeout":4,"retries":0}}`
	if err != nil || string(b) != want {
		t.Errorf("%v\n got %s\nwant %s", err, b, want)
	}
}

func TestAutoNamesNoModel(t *testing.T) {
	t.Parallel()
	var got livekitbox.CreateSTT
	_, _, r := listen(t, fault.Plan{}, livekitbox.STTOptions{OnCreate: func(c livekitbox.CreateSTT) { got = c }}, STTOptions{Model: "auto:multi"})
	_, err := modeltest.Transcribe(t, r, driver.Options{Language: "fr"}, func(ctx context.Context, s driver.Stream) { _ = s.CloseSend(ctx) })
	if err != nil || got.Settings.Language != "fr" || got.Model != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestErrorsThatTheGatewayStates(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]model.Error{
		`{"type":"error","message":"no such model","code":404}`:  {Kind: model.KindStatus, Status: 404},
		`{"type":"error","message":"no such model","code":503}`:  {Kind: model.KindStatus, Status: 503},
		`{"type":"error","message":"no such model","code":2007}`: {Kind: model.KindStatus, Status: 2007, Permanent: true},
		`{"type":"error","message":"no such model"}`:             {Kind: model.KindProtocol},
		`{"type":"session.closed"}`:                              {Kind: model.KindConnection},
	} {
		box := sandbox.Start(t, fault.Plan{})
		for _, path := range []string{"/v1/stt", "/v1/tts"} {
			box.HandleSocket(path, func(_ *sandbox.Call, ws *sandbox.Socket) {
				_ = ws.Send(json.RawMessage(message), false)
				ws.Wait()
			}, func(*sandbox.Call) bool { return true })
		}
		r, err := newSTT(&STTOptions{Model: "a/b", APIKey: "k", APISecret: box.Key, BaseURL: box.URL() + "/v1"})
		if err != nil {
			t.Fatal(err)
		}
		d, err := newTTS(&TTSOptions{Model: "a/b", APIKey: "k", APISecret: box.Key, BaseURL: box.URL() + "/v1"})
		if err != nil {
			t.Fatal(err)
		}
		_, heard := modeltest.Transcribe(t, r, driver.Options{}, func(context.Context, driver.Stream) {})
		_, said := modeltest.Say(t, d, "Hello.")
		_ = d.Close(t.Context())
		for _, err := range []error{heard, said} {
			var e *model.Error
			if !errors.As(err, &e) || e.Kind != want.Kind || e.Status != want.Status || e.Permanent != want.Permanent ||
				strings.Contains(message, "no such") && !strings.Contains(err.Error(), "no such model") {
				t.Errorf("%s: error is %v", message, err)
			}
		}
	}
}

// messages feeds a stream that is on no connection.
func messages(list ...string) (string, error) {
	s := &stream{a: &access{}, session: "s"}
	s.ending, s.end = context.WithCancel(context.Background())
	defer s.end()
	var said []string
	for _, x := range list {
		var m heard
		if err := json.Unmarshal([]byte(x), &m); err != nil {
			return "", err
		}
		if err := s.take(&m); err != nil {
			return "", err
		}
	}
	for _, e := range s.events {
		x := e.Kind.String()
		if e.Text() != "" {
			x += " " + e.Text()
		}
		said = append(said, x)
	}
	return strings.Join(said, "|"), nil
}

func TestOddMessages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		list []string
		want string
	}{
		"a final alone": {[]string{`{"type":"final_transcript","transcript":"hi","words":null}`},
			"start_of_speech|final_transcript hi|end_of_speech"},
		"a final without words ends the speech": {[]string{`{"type":"start_of_speech"}`, `{"type":"start_of_speech"}`, `{"type":"final_transcript","transcript":""}`},
			"start_of_speech|end_of_speech"},
		"a final twice": {[]string{`{"type":"final_transcript","transcript":"hi","duration":1}`, `{"type":"final_transcript","transcript":"hi","duration":1}`},
			"start_of_speech|final_transcript hi|end_of_speech"},
		"the same words again": {[]string{`{"type":"final_transcript","transcript":"hi","duration":1}`, `{"type":"final_transcript","transcript":"hi","start":2,"duration":1}`},
			"start_of_speech|final_transcript hi|end_of_speech|start_of_speech|final_transcript hi|end_of_speech"},
		"a preflight before the speech": {[]string{`{"type":"preflight_transcript","transcript":"hi"}`}, ""},
		"unknown":                       {[]string{`{"type":"vad","x":{}}`, `{"type":"session.created"}`}, ""},
	} {
		if got, err := messages(c.list...); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v; want %s", name, got, err, c.want)
		}
	}
}

func TestKeytermsOfProviders(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"deepgram/nova-3":       `{"keyterm":["a","b"]}`,
		"assemblyai/u3-rt-pro":  `{"keyterms_prompt":["a","b"]}`,
		"speechmatics/enhanced": `{"additional_vocab":[{"content":"a"},{"content":"b"}]}`,
		"xai/stt-1":             `{}`,
	} {
		r, err := newSTT(&STTOptions{Model: name, APIKey: "k", APISecret: "s"})
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := json.Marshal(r.extra([]string{"a", "b"})); string(b) != want || r.Capabilities().Keyterms != (want != `{}`) {
			t.Errorf("%s: %s, want %s", name, b, want)
		}
	}
}

func FuzzHeard(f *testing.F) {
	f.Add(`{"type":"interim_transcript","transcript":"a","start":1e300,"duration":-1}`, `{"type":"final_transcript","transcript":"a","words":[{"word":"a","start":2,"end":1}]}`)
	f.Add(`{"type":"error","code":-1}`, `{"type":"session.closed"}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		s := &stream{a: &access{}}
		s.ending, s.end = context.WithCancel(context.Background())
		defer s.end()
		for _, x := range []string{a, b} {
			var m heard
			if json.Unmarshal([]byte(x), &m) == nil {
				_ = s.take(&m)
			}
		}
		for _, e := range s.events {
			for _, alt := range e.Alternatives {
				if alt.Text == "" || alt.Start < 0 || alt.End < alt.Start {
					t.Errorf("%v is %+v", e.Kind, alt)
				}
				for _, w := range alt.Words {
					if w.Start < 0 || w.End < w.Start {
						t.Errorf("word %+v", w)
					}
				}
			}
		}
	})
}
