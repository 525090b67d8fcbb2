package stt_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/stt/scripted"
	"github.com/parley-go/parley/vad"
	vadscript "github.com/parley-go/parley/vad/scripted"
)

var diarizes = &stt.Capabilities{InterimResults: true, Diarization: true, SampleRate: rate}

// turnOf is an utterance: who spoke, how loud and for how long, after a pause.
type turnOf struct {
	who   string
	level int16
	pause time.Duration
	long  time.Duration
	role  stt.Role
}

func TestPrimarySpeakerIsTheLouderOne(t *testing.T) {
	const s = time.Second
	for name, turns := range map[string][]turnOf{
		"the first": {{"A", 1000, s, s, stt.Primary}, {"B", 1200, s, s, stt.Background}, {"A", 900, s, s, stt.Primary}},
		"a louder one takes over": {
			{"A", 1000, s, s, stt.Primary}, {"B", 1500, s, s, stt.Primary}, {"A", 1000, s, s, stt.Background}, {"B", 1500, s, s, stt.Primary}},
		"loudness is smoothed": { // the second utterance counts half: 1250 is not a third more
			{"A", 1000, s, s, stt.Primary}, {"B", 1000, s, s, stt.Background}, {"B", 1500, s, s, stt.Background}, {"B", 1500, s, s, stt.Primary}},
		"as loud after a minute": {
			{"A", 1000, s, s, stt.Primary}, {"B", 1100, 30 * s, s, stt.Background}, {"B", 1100, 28 * s, s, stt.Primary}},
		"half as loud after three": {
			{"A", 1000, s, s, stt.Primary}, {"B", 550, 100 * s, s, stt.Background}, {"B", 550, 60 * s, s, stt.Primary}},
		"not much softer, however late": {
			{"A", 1000, s, s, stt.Primary}, {"B", 450, 600 * s, s, stt.Background}},
		"too short to tell": {
			{"A", 1000, s, s, stt.Primary}, {"B", 3000, s, s / 5, stt.Background}, {"B", 3000, s, s, stt.Primary}},
		"a short first word": {
			{"A", 1000, s, s / 5, stt.Primary}, {"B", 3000, s, s, stt.Background}, {"A", 1000, s, s, stt.Primary}, {"B", 3000, s, s, stt.Primary}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var lines []scripted.Line
				at := time.Duration(0)
				for _, x := range turns {
					at += x.pause
					a := stt.Alternative{Text: "words", SpeakerID: x.who, Start: at, End: at + x.long}
					at += x.long
					lines = append(lines, scripted.Line{At: at, Event: driver.Event{Kind: stt.Final, Alternatives: []stt.Alternative{a}}})
				}
				m := stt.MultiSpeaker(stt.New(scripted.New(&scripted.Options{Capabilities: diarizes, Streams: [][]scripted.Line{lines}}), nil), nil)
				st := open(t, t.Context(), m)
				c := collect(st)
				for _, x := range turns {
					speak(t, st, x.pause, 0)
					speak(t, st, x.long, x.level)
				}
				c.end(t, st)
				if len(c.events) != len(turns) {
					t.Fatalf("%d events", len(c.events))
				}
				for i, e := range c.events {
					if a := e.Alternatives[0]; a.Role != turns[i].role || a.Text != "words" || a.SpeakerID != turns[i].who {
						t.Errorf("utterance %d is %+v, want %s", i, a, turns[i].role)
					}
				}
			})
		})
	}
}

func TestBackgroundIsMarkedOrSuppressed(t *testing.T) {
	said := func(at time.Duration, kind stt.EventKind, who, text string) scripted.Line {
		a := stt.Alternative{Text: text, SpeakerID: who, Start: at - time.Second, End: at, Words: []stt.Word{{Text: text}}}
		return scripted.Line{At: at, Event: driver.Event{Kind: kind, Alternatives: []stt.Alternative{a}}}
	}
	lines := []scripted.Line{
		said(500*time.Millisecond, stt.Interim, "A", "My"), said(time.Second, stt.Final, "A", "My name"),
		said(2*time.Second, stt.Interim, "B", "The"), said(2*time.Second, stt.Preflight, "B", "The news"), said(2*time.Second, stt.Final, "B", "The news"),
		said(3*time.Second, stt.Final, "", "is Kelly"),
	}
	for name, c := range map[string]struct {
		o    stt.MultiSpeakerOptions
		want []string
	}{
		"plain":      {stt.MultiSpeakerOptions{}, []string{"My", "My name", "The", "The news", "The news", "is Kelly"}},
		"formatted":  {stt.MultiSpeakerOptions{PrimaryFormat: "{text}!", BackgroundFormat: "[{speaker}: {text}]"}, []string{"My!", "My name!", "[B: The]", "[B: The news]", "[B: The news]", "is Kelly"}},
		"suppressed": {stt.MultiSpeakerOptions{SuppressBackground: true}, []string{"My", "My name", "", "is Kelly"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := scripted.New(&scripted.Options{Capabilities: diarizes, Streams: [][]scripted.Line{lines}})
			s := open(t, t.Context(), stt.MultiSpeaker(stt.New(d, nil), &c.o))
			x := collect(s)
			for _, level := range []int16{1000, 500, 1000} {
				speak(t, s, time.Second, level)
			}
			x.end(t, s)
			var got []string
			for _, e := range x.events {
				got = append(got, e.Text())
				if e.Text() == "" && e.Alternatives[0].Words != nil {
					t.Errorf("%s: words %v without a text", name, e.Alternatives[0].Words)
				}
			}
			same(t, name, got, c.want...)
		})
	}
}

func TestMultiSpeakerAroundFallbackAndUnderAdapt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		line := func(who string, at time.Duration) scripted.Line {
			return scripted.Line{At: at, Event: driver.Event{Kind: stt.Final, Alternatives: []stt.Alternative{{Text: who, SpeakerID: who, Start: at - time.Second, End: at}}}}
		}
		a := scripted.New(brand("a", scripted.Options{Capabilities: diarizes, Streams: [][]scripted.Line{{line("0", time.Second)}}, Faults: []scripted.Fault{{Call: 0, After: 1500 * time.Millisecond}}}))
		b := scripted.New(brand("b", scripted.Options{Capabilities: diarizes, Streams: [][]scripted.Line{{line("S1", time.Second), line("S2", 2*time.Second)}}}))
		m := stt.MultiSpeaker(stt.Fallback(&stt.FallbackOptions{Conn: model.ConnOptions{MaxRetry: -1}}, stt.New(a, nil), stt.New(b, nil)), nil)
		s := open(t, l.Context(t.Context()), m)
		c := collect(s)
		speak(t, s, time.Second, 3000)
		speak(t, s, time.Second, 1000)
		speak(t, s, time.Second, 1000)
		c.end(t, s)
		var roles []string
		for _, e := range c.events {
			roles = append(roles, e.Alternatives[0].SpeakerID+" "+string(e.Alternatives[0].Role))
		}
		same(t, "speakers", roles, "0 primary", "S1 primary", "S2 background") // the next model has names of its own
		if m.Info().Provider != "b" {
			t.Errorf("%v is next", m.Info())
		}
		if got := spent(l, "a.STT", "") + spent(l, "b.STT", ""); got != a.Ledger().Audio+b.Ledger().Audio {
			t.Errorf("booked %v of %v", got, a.Ledger().Audio+b.Ledger().Audio)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		l := &modeltest.Log{}
		d := scripted.NewBatch(&scripted.Options{Texts: []string{"hello"}, Capabilities: diarizes})
		m := stt.Adapt(stt.MultiSpeaker(stt.New(named{d}, nil), &stt.MultiSpeakerOptions{PrimaryFormat: "{speaker} {text}"}), vad.New(vadscript.New(nil)), nil)
		s := open(t, l.Context(t.Context()), m)
		c := collect(s)
		utter(t, s)
		c.end(t, s)
		same(t, "finals", c.texts(stt.Final), "A hello")
		if n := len(modeltest.Events[*metrics.STT](l)); n != 1 {
			t.Errorf("%d events", n)
		}
	})
	plain := stt.New(scripted.New(nil), nil)
	if stt.MultiSpeaker(plain, nil) != plain {
		t.Error("a model that does not tell speakers apart was changed")
	}
}

// named is a batch recogniser that knows who spoke.
type named struct{ *scripted.Batch }

func (n named) Recognize(ctx context.Context, f audio.Frame, o stt.Options) (*stt.Result, error) {
	r, err := n.Batch.Recognize(ctx, f, o)
	if err == nil {
		r.SpeakerID = "A"
	}
	return r, err
}
