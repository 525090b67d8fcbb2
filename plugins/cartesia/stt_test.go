package cartesia

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/cartesiabox"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/stt/stttest"
)

func listener(t testing.TB, p fault.Plan, o STTOptions) (*sandbox.Server, *recognizer) {
	t.Helper()
	box := sandbox.Start(t, p)
	cartesiabox.STT(box)
	o.APIKey, o.BaseURL = box.Key, box.URL()
	r, err := newSTT(&o)
	if err != nil {
		t.Fatal(err)
	}
	return box, r
}

func TestSTTConformance(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]STTOptions{
		"ink-2":       {TurnStart: opt.Some(0.7), TurnTimeout: time.Second, Keyterms: []string{"Parley"}},
		"ink-whisper": {Language: "de-AT"},
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
func hear(t *testing.T, d driver.Streamer, o driver.Options, send func(ctx context.Context, s driver.Stream)) ([]*driver.Event, error) {
	t.Helper()
	s, err := d.Open(t.Context(), o)
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

func TestEventsOfTurns(t *testing.T) {
	_, r := listener(t, fault.Plan{}, STTOptions{})
	events, err := hear(t, r, driver.Options{Keyterms: []string{"Kelly"}}, func(ctx context.Context, s driver.Stream) {
		_ = s.Push(ctx, sandbox.EarSpeech(sttRate))
		_ = s.Push(ctx, said())
		_ = s.Flush(ctx) // does nothing: the model decides
		_ = s.CloseSend(ctx)
	})
	turn := []driver.EventKind{
		driver.StartOfSpeech, driver.Interim, driver.Preflight, driver.Interim, driver.Preflight, driver.Final, driver.EndOfSpeech,
	}
	if got := kinds(events); err != nil || !reflect.DeepEqual(got, append(append([]driver.EventKind{}, turn...), turn...)) {
		t.Fatalf("events %v, error %v", got, err)
	}
	final := events[len(events)-2]
	if a := final.Alternatives[0]; a.Text != sandbox.EarText || a.Language != "en" || a.End != 0 || final.RequestID == "" {
		t.Errorf("final is %+v", final)
	}
}

func TestEventsOfWhisper(t *testing.T) {
	_, r := listener(t, fault.Plan{}, STTOptions{Model: "ink-whisper"})
	events, err := hear(t, r, driver.Options{Language: "pt-BR"}, func(ctx context.Context, s driver.Stream) {
		_ = s.Push(ctx, said())
		_ = s.Flush(ctx)
		_ = s.Push(ctx, said())
		_ = s.CloseSend(ctx)
	})
	one := []driver.EventKind{driver.StartOfSpeech, driver.Interim, driver.Final, driver.EndOfSpeech}
	if got := kinds(events); err != nil || !reflect.DeepEqual(got, append(append([]driver.EventKind{}, one...), one...)) {
		t.Fatalf("events %v, error %v", got, err)
	}
	a := events[len(events)-2].Alternatives[0]
	if a.Text != sandbox.EarText || a.Language != "pt" || a.Start != 800*time.Millisecond || a.End != 1600*time.Millisecond || len(a.Words) != 4 {
		t.Errorf("final is %+v", a)
	}
}

// messages feeds a stream that is on no connection.
func messages(take func(*heard), in *input, list ...string) string {
	for _, x := range list {
		var m heard
		if err := json.Unmarshal([]byte(x), &m); err != nil {
			return err.Error()
		}
		take(&m)
	}
	var s []string
	for _, e := range in.events {
		x := e.Kind.String()
		if len(e.Alternatives) > 0 {
			x += " " + e.Text()
			if a := e.Alternatives[0]; a.End > 0 {
				x += " " + a.Start.String() + "-" + a.End.String()
			}
		}
		s = append(s, x)
	}
	return strings.Join(s, "|")
}

func TestOddMessages(t *testing.T) {
	turn := func(list ...string) string {
		x := &turns{input: &input{}}
		return messages(x.take, x.input, list...)
	}
	whispers := func(list ...string) string {
		x := &whisper{input: &input{}}
		return messages(x.take, x.input, list...)
	}
	for _, c := range []struct{ name, got, want string }{
		{"a turn without words", turn(`{"type":"turn.start"}`, `{"type":"turn.end","transcript":""}`), "start_of_speech|end_of_speech"},
		{"an end without a text", turn(`{"type":"turn.start"}`, `{"type":"turn.update","transcript":"hi"}`, `{"type":"turn.end"}`),
			"start_of_speech|interim_transcript hi|final_transcript hi|end_of_speech"},
		{"words after the end", turn(`{"type":"turn.update","transcript":"hi"}`, `{"type":"turn.resume"}`, `{"type":"config"}`), ""},
		{"an update without news", turn(`{"type":"turn.start"}`, `{"type":"turn.eager_end","transcript":"hi"}`, `{"type":"turn.update","transcript":"hi"}`),
			"start_of_speech|preflight_transcript hi"},
		{"times that count from the last final", whispers(
			`{"type":"transcript","is_final":true,"text":"one","duration":2,"words":[{"word":"one","start":0.5,"end":1}]}`,
			`{"type":"transcript","is_final":true,"text":"one","duration":1,"words":[{"word":"one","start":0.25,"end":0.5}]}`),
			"start_of_speech|final_transcript one 500ms-1s|end_of_speech|start_of_speech|final_transcript one 2.25s-2.5s|end_of_speech"},
		{"a final without words", whispers(`{"type":"transcript","is_final":true,"text":" ","duration":2}`, `{"type":"flush_done"}`), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: got  %s\nwant %s", c.name, c.got, c.want)
		}
	}
}

func TestErrorsThatTheRecogniserStates(t *testing.T) {
	for message, want := range map[string]model.Error{
		`{"type":"error","status_code":400,"title":"Invalid","message":"no such model"}`: {Kind: model.KindStatus, Status: 400},
		`{"type":"error","code":503,"message":"no such model"}`:                          {Kind: model.KindStatus, Status: 503},
		`{"type":"error","error":"no such model"}`:                                       {Kind: model.KindProtocol},
	} {
		for path, name := range map[string]string{"/stt/turns/websocket": "ink-2", "/stt/websocket": "ink-whisper"} {
			box := sandbox.Start(t, fault.Plan{})
			box.HandleSocket(path, func(_ *sandbox.Call, ws *sandbox.Socket) {
				_ = ws.Send(json.RawMessage(message), false)
				ws.Wait()
			}, func(*sandbox.Call) bool { return true })
			r, err := newSTT(&STTOptions{APIKey: box.Key, BaseURL: box.URL(), Model: name})
			if err != nil {
				t.Fatal(err)
			}
			_, err = hear(t, r, driver.Options{}, func(context.Context, driver.Stream) {})
			var e *model.Error
			if !errors.As(err, &e) || e.Kind != want.Kind || e.Status != want.Status || !strings.Contains(err.Error(), "no such model") {
				t.Errorf("%s: error is %v", message, err)
			}
		}
	}
}

func TestOptionsOfSTT(t *testing.T) {
	t.Setenv("CARTESIA_API_KEY", "")
	if _, err := NewSTT(nil); err == nil || !strings.Contains(err.Error(), "CARTESIA_API_KEY") {
		t.Errorf("without a key: %v", err)
	}
	if _, err := NewSTT(&STTOptions{APIKey: "k", Language: "fr", TurnEnd: opt.Some(0.1)}); err == nil || !strings.Contains(err.Error(), "ink-whisper") {
		t.Errorf("turns of a model that has none: %v", err)
	}
	for language, want := range map[string]string{"": "ink-2", "en-GB": "ink-2", "fr": "ink-whisper"} {
		r, err := newSTT(&STTOptions{APIKey: "k", Language: language})
		if err != nil || r.Info() != (model.Info{Label: "cartesia.STT", Provider: "cartesia", Model: want}) {
			t.Errorf("language %q: %+v, %v", language, r.Info(), err)
		}
	}
}

func FuzzHeard(f *testing.F) {
	f.Add(`{"type":"turn.start"}`, `{"type":"turn.end","transcript":"a"}`)
	f.Add(`{"type":"transcript","is_final":true,"text":"a","duration":1e300,"words":[{"word":"a","start":-1,"end":2}]}`, `{"type":"done"}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := &turns{input: &input{}}, &whisper{input: &input{}}
		_ = messages(x.take, x.input, a, b)
		_ = messages(y.take, y.input, a, b)
		for _, e := range append(x.events, y.events...) {
			if e.Kind != driver.StartOfSpeech && e.Kind != driver.EndOfSpeech && e.Text() == "" {
				t.Errorf("%v without a text", e.Kind)
			}
			for _, alt := range e.Alternatives {
				if alt.Start < 0 || alt.End < 0 {
					t.Errorf("spans %v to %v", alt.Start, alt.End)
				}
			}
		}
		if (&recognizer{}).refused(&heard{Type: "error"}) == nil {
			t.Error("no error")
		}
	})
}
