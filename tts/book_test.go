package tts_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/scripted"
)

// models are the same voice as a streaming model and as one that takes whole texts.
func models(o scripted.Options) map[string]*tts.Model {
	return map[string]*tts.Model{
		"streaming": tts.New(scripted.New(&o), nil),
		"one-shot":  tts.New(scripted.NewBatch(&o), nil),
	}
}

func TestDiscardedSpeech(t *testing.T) {
	for _, tt := range []struct {
		name string
		when time.Duration // of the Discard; the audio comes from 0.3 s to 0.8 s
		read bool
		want metrics.Outcome
	}{
		{"before any audio", 100 * time.Millisecond, false, metrics.Discarded},
		{"while audio comes", 500 * time.Millisecond, false, metrics.Discarded},
		{"when all audio is there", 5 * time.Second, false, metrics.Discarded},
		{"when some was taken", 200 * time.Millisecond, true, metrics.Interrupted},
		{"when all is there and some was taken", 5 * time.Second, true, metrics.Delivered},
	} {
		for kind, m := range models(scripted.Options{TTFB: 300 * time.Millisecond, Pace: 300 * time.Millisecond}) {
			t.Run(tt.name+", "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var l modeltest.Log
					s := m.Stream(l.Context(t.Context()))
					say(t, s, hello)
					if tt.read {
						if _, err := s.Next(); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(tt.when)
					s.Discard()
					s.Close()
					if e := one(t, &l); e.Outcome != tt.want || e.Cancelled != (tt.want != metrics.Delivered) || e.CharactersCount != 28 {
						t.Errorf("event is %+v, want outcome %s", e, tt.want)
					}
				})
			})
		}
	}
}

// slow records late.
type slow struct{ recorded atomic.Int64 }

func (s *slow) Record(context.Context, metrics.Event) {
	time.Sleep(time.Second)
	s.recorded.Add(1)
}

// Who closes a stream that somebody else is closing waits until what it cost is recorded.
func TestCloseOfTwoWaitsForTheBooks(t *testing.T) {
	for kind, m := range models(scripted.Options{}) {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r slow
				s := m.Stream(metrics.WithRecorder(t.Context(), &r))
				say(t, s, hello)
				synctest.Wait() // all audio is there, and nobody took any
				go s.Discard()
				synctest.Wait()
				s.Close()
				if n := r.recorded.Load(); n != 1 {
					t.Errorf("%d events are recorded after Close", n)
				}
			})
		})
	}
}

func TestSpeechThatNobodyTookIsBooked(t *testing.T) {
	for kind, m := range models(scripted.Options{}) {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l modeltest.Log
				s := m.Stream(l.Context(t.Context()))
				say(t, s, hello)
				<-s.Done()
				if n := len(modeltest.Events[*metrics.TTS](&l)); n != 0 {
					t.Errorf("%d events while the speech may still be discarded", n)
				}
				s.Close()
				if e := one(t, &l); e.Outcome != metrics.Delivered {
					t.Errorf("event is %+v", e)
				}
			})
		})
	}
}

func TestWhenThereIsEnoughToSpeak(t *testing.T) {
	for kind, want := range map[string]time.Duration{"streaming": time.Second, "one-shot": 2 * time.Second} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				s := models(scripted.Options{TTFB: 300 * time.Millisecond})[kind].Stream(t.Context())
				defer s.Close()
				for _, text := range []string{"... ", "This is the first", " sentence of all. And ", "another one follows."} {
					if err := s.Push(text); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				if got := s.Ready().Sub(began); got != want {
					t.Errorf("enough to speak after %v, want %v", got, want)
				}
				if got := s.FirstAudio().Sub(s.Ready()); got != 300*time.Millisecond {
					t.Errorf("first audio %v after it", got)
				}
			})
		})
	}
}
