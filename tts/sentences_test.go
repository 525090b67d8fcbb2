package tts_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
	"github.com/parley-go/parley/tts/scripted"
)

// bySentence wants sentences, and keeps what it was given.
type bySentence struct {
	*scripted.TTS
	mu     sync.Mutex
	pushes []string
}

func (b *bySentence) Capabilities() driver.Capabilities {
	c := b.TTS.Capabilities()
	c.Sentences = true
	return c
}

func (b *bySentence) Open(ctx context.Context) (driver.Stream, error) {
	s, err := b.TTS.Open(ctx)
	if err != nil {
		return nil, err
	}
	return kept{s, b}, nil
}

func (b *bySentence) got() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string{}, b.pushes...)
}

type kept struct {
	driver.Stream
	b *bySentence
}

func (k kept) Push(ctx context.Context, text string) error {
	k.b.mu.Lock()
	k.b.pushes = append(k.b.pushes, text)
	k.b.mu.Unlock()
	return k.Stream.Push(ctx, text)
}

// A driver that wants sentences gets them whole, early, and with all their characters; one that was
// not complete when the speech was interrupted is nobody's usage.
func TestDriverThatWantsSentencesGetsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := &bySentence{TTS: scripted.New(&scripted.Options{Faults: []scripted.Fault{{Call: 0, When: scripted.AfterText}}})}
		s := tts.New(d, nil).Stream(l.Context(t.Context()))
		defer s.Close()
		text := "I can help you with that, of course.  The ship leaves at 9.30 today. See"
		for _, w := range strings.SplitAfter(text, " ") {
			if err := s.Push(w); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
			if w == "I " && !s.Ready().IsZero() {
				t.Error("ready to speak half a clause")
			}
		}
		if s.Ready().IsZero() {
			t.Error("not ready to speak a sentence")
		}
		time.Sleep(10 * time.Second) // the first attempt fails, and the second one says it again
		first, rest := "I can help you with that,", " of course.  The ship leaves at 9.30 today."
		// What there is when an attempt begins is pushed at once; when the second begins is up to chance.
		got := strings.Join(d.got(), "|")
		if !slices.Contains([]string{first + "|" + rest + "|" + first + rest, first + "|" + first + "|" + rest, first + "|" + first + rest}, got) {
			t.Errorf("pushed %q", got)
		}
		_ = s.Close()
		if e := one(t, &l); e.CharactersCount != int64(utf8.RuneCountInString(first+rest)) {
			t.Errorf("counted %d characters", e.CharactersCount)
		}
	})
}

func TestTheLastSentenceNeedsNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := &bySentence{TTS: scripted.New(nil)}
		s := tts.New(d, nil).Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, "Yes", ", sir")
		if h, err := drain(t, s); err != nil || h.audio == 0 {
			t.Fatalf("audio %v, error %v", h.audio, err)
		}
		if got := d.got(); !reflect.DeepEqual(got, []string{"Yes, sir"}) {
			t.Errorf("pushed %q", got)
		}
	})
}
