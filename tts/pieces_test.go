package tts_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/scripted"
)

const story = "Once upon a time, there was a parrot. It could talk to anybody who came by! Nobody ever listened to it."

func TestBatchDriverSpeaksPieceByPiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.NewBatch(&scripted.Options{Words: true})
		s := tts.New(d, nil).Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, strings.SplitAfter(story, " ")...)
		h, err := drain(t, s)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(h.texts, ""); got != story {
			t.Errorf("texts joined are %q", got)
		}
		if len(h.texts) < 3 || h.ends != len(h.texts) || d.Ledger().Calls != len(h.texts) {
			t.Errorf("%d texts, %d ends, %d requests", len(h.texts), h.ends, d.Ledger().Calls)
		}
		if got := strings.Join(h.words, " "); got != story {
			t.Errorf("words joined are %q", got)
		}
		for i := 1; i < len(h.starts); i++ {
			if h.starts[i] <= h.starts[i-1] {
				t.Errorf("word %d starts at %v, after one at %v", i, h.starts[i], h.starts[i-1])
			}
		}
		var chars int64
		events := modeltest.Events[*metrics.TTS](&l)
		for _, e := range events {
			chars += e.CharactersCount
			if e.Streamed || e.SegmentID != "" {
				t.Errorf("event of a request is %+v", e)
			}
		}
		if len(events) != d.Ledger().Calls || chars != d.Ledger().Characters {
			t.Errorf("%d events with %d characters, ledger %+v", len(events), chars, d.Ledger())
		}
	})
}

func TestFirstPieceIsAskedForBeforeTheSentenceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted.NewBatch(nil)
		s := tts.New(d, nil).Stream(t.Context())
		defer s.Close()
		if err := s.Push("Once upon a time, there was"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := d.Ledger().Texts; !reflect.DeepEqual(got, []string{"Once upon a time,"}) {
			t.Errorf("asked for %q", got)
		}
	})
}

func TestOnePieceIsMadeAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted.NewBatch(nil)
		s := tts.New(d, nil).Stream(t.Context())
		defer s.Close()
		say(t, s, story)
		synctest.Wait()
		if n := d.Ledger().Calls; n != 1 {
			t.Errorf("%d requests before anybody listened, want 1", n)
		}
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := d.Ledger().Calls; n != 2 {
			t.Errorf("%d requests while the first piece plays, want 2", n)
		}
	})
}

func TestPieceIsRetriedAloneWhileNothingOfItWasHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.NewBatch(&scripted.Options{Faults: []scripted.Fault{{Call: 1}, {Call: 2, When: scripted.AfterText}}})
		s := tts.New(d, nil).Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, story)
		h, err := drain(t, s)
		if err != nil || strings.Join(h.texts, "") != story {
			t.Fatalf("texts %q, error %v", h.texts, err)
		}
		if got := l.Recoverable(); !reflect.DeepEqual(got, []bool{true, true}) {
			t.Errorf("error events %v", got)
		}
		if n := len(modeltest.Events[*metrics.TTS](&l)); n != len(h.texts) {
			t.Errorf("%d events for %d requests that were answered", n, len(h.texts))
		}
	})
}

func TestInterruptedRequestCountsItsWholeText(t *testing.T) {
	for name, o := range map[string]*scripted.Options{
		"while it speaks":    {Pace: time.Second},
		"before it answered": {Faults: []scripted.Fault{{Kind: scripted.Stall}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l modeltest.Log
				s := tts.New(scripted.NewBatch(o), nil).Synthesize(l.Context(t.Context()), story)
				time.Sleep(time.Second)
				_ = s.Close()
				if e := one(t, &l); e.CharactersCount != int64(len(story)) || e.Outcome != metrics.Interrupted {
					t.Errorf("event is %+v", e)
				}
			})
		})
	}
}

func TestSynthesizeIsOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted.NewBatch(nil)
		s := tts.New(d, nil).Synthesize(t.Context(), story)
		defer s.Close()
		h, err := drain(t, s)
		if err != nil || d.Ledger().Calls != 1 || h.audio != time.Duration(len(story))*60*time.Millisecond {
			t.Errorf("%v of audio in %d requests, error %v", h.audio, d.Ledger().Calls, err)
		}
	})
}

func TestSynthesizeWithAStreamingDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tts.New(scripted.New(nil), nil).Synthesize(t.Context(), story)
		defer s.Close()
		h, err := drain(t, s)
		if err != nil || h.audio != time.Duration(len(story))*60*time.Millisecond {
			t.Errorf("%v of audio, error %v", h.audio, err)
		}
	})
}

func TestSynthesizeOfTooMuchTextFails(t *testing.T) {
	s := tts.New(scripted.NewBatch(nil), nil).Synthesize(t.Context(), strings.Repeat("x", 2<<20))
	defer s.Close()
	if _, err := drain(t, s); !errors.Is(err, tts.ErrTooLong) {
		t.Errorf("got %v", err)
	}
}

func TestPunctuationBetweenPiecesIsTextOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted.NewBatch(nil)
		s := tts.New(d, nil).Stream(t.Context())
		defer s.Close()
		say(t, s, "...")
		h, err := drain(t, s)
		if err != nil || d.Ledger().Calls != 0 || !reflect.DeepEqual(h.texts, []string{"..."}) {
			t.Errorf("texts %q, %d requests, error %v", h.texts, d.Ledger().Calls, err)
		}
	})
}
