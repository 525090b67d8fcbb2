package deepgram

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/deepgrambox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt/driver"
)

// session opens a stream of d, sends what send does, and returns all events until the end.
func session(t *testing.T, d driver.Streamer, o driver.Options, send func(ctx context.Context, s driver.Stream)) ([]*driver.Event, error) {
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
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
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

func push(t *testing.T, ctx context.Context, s driver.Stream, f audio.Frame) {
	t.Helper()
	if err := s.Push(ctx, f); err != nil {
		t.Fatal(err)
	}
}

// said is the sound of EarSpeech without the silence.
func said() audio.Frame {
	f := sandbox.EarSpeech(sttRate)
	f.Data = f.Data[:len(f.Data)/2]
	return f
}

func startListen(t *testing.T, o STTOptions) *recognizer {
	t.Helper()
	box := sandbox.Start(t, fault.Plan{})
	deepgrambox.Listen(box)
	o.APIKey, o.BaseURL = box.Key, box.URL()
	r, err := newSTT(&o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEventsOfAnUtterance(t *testing.T) {
	r := startListen(t, STTOptions{Diarize: true})
	events, err := session(t, r, driver.Options{Language: "en-GB"}, func(ctx context.Context, s driver.Stream) {
		push(t, ctx, s, audio.Silence(time.Second, sttRate, 1))
		push(t, ctx, s, sandbox.EarSpeech(sttRate))
		_ = s.CloseSend(ctx)
	})
	want := []driver.EventKind{driver.StartOfSpeech, driver.Interim, driver.Final, driver.EndOfSpeech, driver.Usage}
	if got := kinds(events); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("events %v, error %v; want %v", got, err, want)
	}
	if events[0].SpeechStart != time.Second {
		t.Errorf("speech starts at %v, want 1s", events[0].SpeechStart)
	}
	final := events[len(events)-3]
	a := final.Alternatives[0]
	if a.Text != sandbox.EarText || a.Language != "en-GB" || a.SpeakerID != "S1" || a.Start != time.Second || a.End != 1800*time.Millisecond {
		t.Errorf("final is %+v", a)
	}
	if len(a.Words) != 4 || a.Words[3].Text != "lights" || a.Words[3].End != a.End || a.Confidence == 0 || final.RequestID == "" {
		t.Errorf("final has the words %+v, request %q", a.Words, final.RequestID)
	}
	if u := events[len(events)-1].Usage.AudioDuration; u != 2600*time.Millisecond {
		t.Errorf("usage is %v, want 2.6s", u)
	}
}

func TestFlushGivesTheFinalAndEndsTheUtterance(t *testing.T) {
	r := startListen(t, STTOptions{NoInterim: true})
	events, err := session(t, r, driver.Options{}, func(ctx context.Context, s driver.Stream) {
		push(t, ctx, s, said())
		_ = s.Flush(ctx)
		_ = s.Flush(ctx) // there is nothing more to finalise
		push(t, ctx, s, said())
		_ = s.CloseSend(ctx)
	})
	one := []driver.EventKind{driver.StartOfSpeech, driver.Final, driver.EndOfSpeech}
	want := append(append([]driver.EventKind{}, one...), append(one, driver.Usage)...)
	if got := kinds(events); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("events %v, error %v; want %v", got, err, want)
	}
}

func TestCloseWithoutTheLastWordIsAFailure(t *testing.T) {
	box := sandbox.Start(t, fault.Plan{})
	box.HandleSocket("/v1/listen", func(_ *sandbox.Call, ws *sandbox.Socket) {
		_, _, _ = ws.Read()
		_, _, _ = ws.Read()
		ws.Close(1000, "")
	}, func(*sandbox.Call) bool { return true })
	r, err := newSTT(&STTOptions{APIKey: box.Key, BaseURL: box.URL()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = session(t, r, driver.Options{}, func(ctx context.Context, s driver.Stream) {
		push(t, ctx, s, said())
		_ = s.CloseSend(ctx)
	})
	if !model.Retryable(err) {
		t.Errorf("error is %v, want one that is tried again", err)
	}
}

func TestErrorMessagesFailTheAttempt(t *testing.T) {
	for path, message := range map[string]map[string]any{
		"/v1/listen": {"type": "Error", "description": "bad audio", "message": "DATA-0000", "variant": "x"},
		"/v2/listen": {"type": "Error", "sequence_id": 1, "code": "INTERNAL_SERVER_ERROR", "description": "bad audio"},
	} {
		box := sandbox.Start(t, fault.Plan{})
		box.HandleSocket(path, func(_ *sandbox.Call, ws *sandbox.Socket) {
			_ = ws.Send(map[string]any{"type": "Surprise", "n": 1}, false)
			_ = ws.Send(message, false)
			ws.Wait()
		}, func(*sandbox.Call) bool { return true })
		var d driver.Streamer
		var err error
		if path == "/v1/listen" {
			d, err = newSTT(&STTOptions{APIKey: box.Key, BaseURL: box.URL()})
		} else {
			d, err = newFlux(&FluxOptions{APIKey: box.Key, BaseURL: box.URL()})
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = session(t, d, driver.Options{}, func(context.Context, driver.Stream) {})
		if !model.Retryable(err) || !strings.Contains(err.Error(), "bad audio") {
			t.Errorf("%s: error is %v", path, err)
		}
	}
}

func TestKeepAliveKeepsASilentStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, dial := sandbox.InMemory(t)
		defer box.Close()
		deepgrambox.Listen(box) // hangs up after 10 s of nothing
		r, err := newSTT(&STTOptions{APIKey: box.Key, BaseURL: box.URL()})
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.Open(wire.WithDial(t.Context(), dial), driver.Options{})
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

func TestQueryOfOptions(t *testing.T) {
	query := func(o STTOptions, d driver.Options) url.Values {
		box := sandbox.Start(t, fault.Plan{})
		var q url.Values
		box.HandleSocket("/v1/listen", func(*sandbox.Call, *sandbox.Socket) {}, func(c *sandbox.Call) bool {
			q = c.R.URL.Query()
			c.Refuse(400, "seen")
			return false
		})
		o.APIKey, o.BaseURL = box.Key, box.URL()
		r, err := newSTT(&o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Open(t.Context(), d); err == nil {
			t.Fatal("opened")
		}
		return q
	}
	got := query(STTOptions{}, driver.Options{}).Encode()
	want := "channels=1&encoding=linear16&endpointing=25&filler_words=true&interim_results=true&language=en-US&mip_opt_out=false&" +
		"model=nova-3&no_delay=true&numerals=false&profanity_filter=false&punctuate=true&sample_rate=16000&smart_format=false&vad_events=true"
	if got != want {
		t.Errorf("defaults are\n%s, want\n%s", got, want)
	}
	q := query(STTOptions{
		Model: "nova-2", Keyterms: []string{"Parley"}, Keywords: []string{"Kelly:2"}, Endpointing: opt.Off[time.Duration](), UtteranceEnd: time.Second,
	}, driver.Options{Language: "es", Keyterms: []string{"Hafen"}})
	for name, want := range map[string][]string{
		"keywords": {"Kelly:2", "Parley", "Hafen"}, "keyterm": nil, "language": {"es"}, "endpointing": {"false"}, "utterance_end_ms": {"1000"},
	} {
		if got := q[name]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestRefusedOptions(t *testing.T) {
	t.Setenv("DEEPGRAM_API_KEY", "")
	_, missing := NewSTT(nil)
	_, tag := NewSTT(&STTOptions{APIKey: "k", Tags: []string{strings.Repeat("x", 129)}})
	_, eager := NewFlux(&FluxOptions{APIKey: "k", EagerEndOfTurn: opt.Some(0.8)})
	for want, err := range map[string]error{"DEEPGRAM_API_KEY": missing, "129 bytes": tag, "EagerEndOfTurn": eager} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want it to name %q", err, want)
		}
	}
}

func startFlux(t *testing.T, o FluxOptions) *flux {
	t.Helper()
	box := sandbox.Start(t, fault.Plan{})
	deepgrambox.Flux(box)
	o.APIKey, o.BaseURL = box.Key, box.URL()
	f, err := newFlux(&o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestEventsOfATurn(t *testing.T) {
	f := startFlux(t, FluxOptions{Model: "flux-general-multi", EagerEndOfTurn: opt.Some(0.5), Keyterms: []string{"Parley"}})
	events, err := session(t, f, driver.Options{Language: "es"}, func(ctx context.Context, s driver.Stream) {
		push(t, ctx, s, sandbox.EarSpeech(sttRate))
		_ = s.CloseSend(ctx)
	})
	want := []driver.EventKind{driver.StartOfSpeech, driver.Interim, driver.Preflight, driver.Interim, driver.Preflight, driver.Final, driver.EndOfSpeech}
	if got := kinds(events); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("events %v, error %v; want %v", got, err, want)
	}
	a := events[len(events)-2].Alternatives[0]
	if a.Text != sandbox.EarText || a.Language != "es" || len(a.Words) != 4 || a.End != 800*time.Millisecond || a.Confidence < 0.8 {
		t.Errorf("final is %+v", a)
	}
}

func TestTurnsEndByFlushAndWithTheStream(t *testing.T) {
	for name, send := range map[string]func(ctx context.Context, s driver.Stream){
		"flush": func(ctx context.Context, s driver.Stream) { _ = s.Flush(ctx) },
		"close": func(context.Context, driver.Stream) {},
	} {
		events, err := session(t, startFlux(t, FluxOptions{}), driver.Options{}, func(ctx context.Context, s driver.Stream) {
			push(t, ctx, s, said())
			send(ctx, s)
			_ = s.CloseSend(ctx)
		})
		want := []driver.EventKind{driver.StartOfSpeech, driver.Interim, driver.Final, driver.EndOfSpeech}
		if got := kinds(events); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: events %v, error %v; want %v", name, got, err, want)
		}
		if a := events[len(events)-2].Alternatives[0]; a.Text != sandbox.EarText || a.Language != "en" {
			t.Errorf("%s: final is %+v", name, a)
		}
	}
}

func FuzzResults(f *testing.F) {
	f.Add([]byte(`{"type":"Results","start":1,"duration":2,"is_final":true,"channel":{"alternatives":[{"transcript":"a","words":[{"word":"a","start":1,"speaker":0}]}]}}`))
	f.Add([]byte(`{"type":"SpeechStarted","channel":[0],"timestamp":-1e300}`))
	f.Add([]byte(`{"type":"TurnInfo","event":"EndOfTurn","turn_index":3,"transcript":"a","words":[{"end":1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		peer := &wire.Peer{}
		s := &stream{peer: peer}
		var m message
		if json.Unmarshal(b, &m) == nil {
			_ = s.take(&m)
		}
		u := &turns{peer: peer, turn: -1}
		var i turnInfo
		if json.Unmarshal(b, &i) == nil {
			u.take(&i)
		}
		r := &recognizer{}
		_, _ = r.result(b, "en", time.Second)
		for _, e := range append(s.events, u.events...) {
			if (e.Kind == driver.Final || e.Kind == driver.Interim) && e.Text() == "" {
				t.Errorf("%v without a text", e.Kind)
			}
		}
	})
}
