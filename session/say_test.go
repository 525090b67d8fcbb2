package session_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/session"
)

// recording is audio of d, in frames of 100 ms, that ends with err if that is not nil.
func recording(d time.Duration, err error) iter.Seq2[audio.Frame, error] {
	return func(yield func(audio.Frame, error) bool) {
		for range d / (100 * time.Millisecond) {
			if !yield(audio.Silence(100*time.Millisecond, 16000, 1), nil) {
				return
			}
		}
		if err != nil {
			yield(audio.Frame{}, err)
		}
	}
}

func TestSayWithAudio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.opt.TTS = nil // none is needed
		c.start(nil)
		c.until(1)
		sp := c.s.Say("Welcome to the show", &agent.SayOptions{Audio: recording(3*time.Second, nil)})
		c.until(5)
		c.wantTimeline("0.00 handoff  -> default_agent", "0.00 agent listening",
			"1.00 agent speaking", "4.00 assistant: Welcome to the show", "4.00 agent listening")
		if got := c.room.AgentText(); !slices.Equal(got, []string{"Welcome to the show"}) || sp.Err() != nil {
			t.Errorf("shown %q, error %v", got, sp.Err())
		}
		if sp := c.s.Say("aloud", nil); !errors.Is(sp.Err(), agent.ErrNoVoice) {
			t.Errorf("without audio: %v, want ErrNoVoice", sp.Err())
		}
		c.close()
	})
}

func TestSayWithAudioInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		sp := c.s.Say("aaaa bbbb cccc dddd", &agent.SayOptions{Audio: recording(4*time.Second, nil)})
		// The user hears half of it, spoken at an even rate.
		c.until(3.9)
		_ = sp.Interrupt(false)
		c.until(5)
		c.wantHistory("handoff  -> default_agent", "assistant: aaaa bbbb cccc dddd [interrupted]")
		c.s.Say("", &agent.SayOptions{Audio: recording(time.Second, nil)})
		c.until(7)
		if segs := c.room.Out.Segments(); len(segs) != 2 || segs[1].Played != time.Second {
			t.Errorf("played %+v: audio without a text is heard all the same", segs)
		}
		c.close()
		c.wantHistory("handoff  -> default_agent", "assistant: aaaa bbbb cccc dddd [interrupted]")
		if n := len(c.voices()); n != 0 {
			t.Errorf("the synthesiser was asked %d times", n)
		}
	})
}

func TestSayWithBrokenAudio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		broken := errors.New("no such file")
		sp := c.s.Say("never heard", &agent.SayOptions{Audio: recording(0, broken)})
		<-sp.Done()
		if !errors.Is(sp.Err(), broken) {
			t.Errorf("speech ended with %v", sp.Err())
		}
		c.wantHistory("handoff  -> default_agent")
		c.close()
	})
}

func TestSayStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.oneShot()
		c.start(nil)
		began := time.Now()
		sp := c.s.SayStream(func(yield func(string) bool) {
			for _, s := range []string{"The first sentence is here. ", "The second ", "comes later."} {
				if !yield(s) {
					return
				}
				time.Sleep(time.Second)
			}
		}, nil)
		if time.Since(began) != 0 {
			t.Error("SayStream waits for its text")
		}
		<-sp.Done()
		c.wantHistory("handoff  -> default_agent", "assistant: The first sentence is here. The second comes later.")
		// The first sentence is complete when the second begins.
		if segs := c.room.Out.Segments(); len(segs) != 1 || segs[0].Started.Sub(began) != 1200*time.Millisecond {
			t.Errorf("played %+v", segs)
		}
		c.close()
	})
}

func TestSayStreamStopsReadingWhenInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.oneShot()
		c.start(nil)
		var read atomic.Int32
		sp := c.s.SayStream(func(yield func(string) bool) {
			for yield("This is a whole sentence. ") {
				read.Add(1)
				time.Sleep(time.Second)
			}
		}, nil)
		c.until(3.5)
		if err := c.s.Interrupt(t.Context(), false); err != nil || !sp.Interrupted() {
			t.Fatal(err)
		}
		was := read.Load()
		c.until(10)
		if n := read.Load() - was; n > 1 {
			t.Errorf("%d texts were read after the interruption", n)
		}
		c.close()
	})
}

func TestSayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		for _, sp := range []*agent.Speech{c.s.Say("", nil), c.s.SayStream(nil, nil)} {
			<-sp.Done()
			if sp.Err() != nil {
				t.Error(sp.Err())
			}
		}
		if segs := c.room.Out.Segments(); len(segs) != 0 {
			t.Errorf("played %+v", segs)
		}
		c.close()
	})
}

func TestPanicInATextToSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		c.s.SayStream(func(func(string) bool) { panic("oh") }, nil)
		_ = c.s.Wait(context.Background())
		if rep, _ := c.s.Report(); rep.CloseReason != session.ReasonError {
			t.Errorf("closed because of %s", rep.CloseReason)
		}
	})
}
