package sessiontest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/session"
)

// grain is how exactly an output must know what was played when it is cut short.
const grain = 60 * time.Millisecond

// CheckOutput checks that an output keeps the contract of session.AudioOutput. It takes some seconds of
// the clock, so it is best run in a testing/synctest bubble. The caller closes the output.
func CheckOutput(t *testing.T, o session.AudioOutput) {
	t.Helper()
	c := &outputCheck{t: t, o: o}
	o.Notify(c.note)
	c.whole()
	c.pausedInTheMiddle()
	c.pausedBeforeTheFirstSound()
	c.pausedAfterTheFlush()
	c.cleared()
	c.clearedWhilePaused()
	c.clearedBeforeTheFirstSound()
	c.clearedWithoutASegment()
	c.whole() // all that left nothing behind
}

type outputCheck struct {
	t *testing.T
	o session.AudioOutput

	mu     sync.Mutex
	events []session.PlaybackEvent
}

func (c *outputCheck) note(e session.PlaybackEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e)
}

// say writes audio of d, as fast as the output takes it, and tells how that ended.
func (c *outputCheck) say(d time.Duration) <-chan error {
	done := make(chan error, 1) // one result
	go func() {
		for ; d > 0; d -= 100 * time.Millisecond {
			if err := c.o.Write(c.t.Context(), audio.Silence(100*time.Millisecond, c.o.SampleRate(), 1)); err != nil {
				done <- err
				return
			}
		}
		c.o.Flush()
		done <- nil
	}()
	return done
}

// want checks what was told since the last time: whether playback started, and how it finished.
func (c *outputCheck) want(what string, started bool, played time.Duration, interrupted bool) {
	c.t.Helper()
	c.mu.Lock()
	events := c.events
	c.events = nil
	c.mu.Unlock()
	starts, finishes := 0, 0
	for i, e := range events {
		if !e.Finished {
			starts++
			continue
		}
		finishes++
		if i != len(events)-1 {
			c.t.Errorf("%s: something was told after the finish: %+v", what, events)
		}
		slack := time.Duration(0)
		if interrupted {
			slack = grain
		}
		if e.Interrupted != interrupted || (e.Played-played).Abs() > slack {
			c.t.Errorf("%s: finished %+v, want %v played, interrupted %v", what, e, played, interrupted)
		}
	}
	if want := map[bool]int{true: 1}[started]; starts != want || finishes != 1 {
		c.t.Errorf("%s: started %d times and finished %d times, want %d and once", what, starts, finishes, want)
	}
	if p := c.o.Played(); p != 0 {
		c.t.Errorf("%s: %v played without a segment", what, p)
	}
}

func (c *outputCheck) whole() {
	c.t.Helper()
	c.say(time.Second)
	time.Sleep(1500 * time.Millisecond)
	c.want("a whole segment", true, time.Second, false)
}

func (c *outputCheck) pausedInTheMiddle() {
	c.say(time.Second)
	for range 2 {
		time.Sleep(300 * time.Millisecond)
		c.o.Pause()
		time.Sleep(100 * time.Millisecond)
		was := c.o.Played()
		time.Sleep(time.Second)
		if p := c.o.Played(); p != was {
			c.t.Errorf("played %v while paused", p-was)
		}
		c.o.Resume()
	}
	time.Sleep(1500 * time.Millisecond)
	c.want("paused in the middle", true, time.Second, false)
}

func (c *outputCheck) pausedBeforeTheFirstSound() {
	c.o.Pause()
	c.say(time.Second)
	time.Sleep(time.Second)
	c.mu.Lock()
	early := len(c.events)
	c.mu.Unlock()
	if p := c.o.Played(); early > 0 || p != 0 {
		c.t.Errorf("paused before the first sound: %d events, %v played", early, p)
	}
	c.o.Resume()
	time.Sleep(1500 * time.Millisecond)
	c.want("paused before the first sound", true, time.Second, false)
}

func (c *outputCheck) pausedAfterTheFlush() {
	done := c.say(200 * time.Millisecond)
	<-done
	c.o.Pause()
	time.Sleep(time.Second)
	c.o.Resume()
	time.Sleep(500 * time.Millisecond)
	c.want("paused after the flush", true, 200*time.Millisecond, false)
}

func (c *outputCheck) cleared() {
	done := c.say(5 * time.Second)
	time.Sleep(time.Second)
	c.o.Clear()
	if err := <-done; !errors.Is(err, session.ErrCleared) {
		c.t.Errorf("writing to a segment that was cleared: %v, want ErrCleared", err)
	}
	c.o.Clear()
	time.Sleep(500 * time.Millisecond)
	c.want("cleared", true, time.Second, true)
}

func (c *outputCheck) clearedWhilePaused() {
	done := c.say(5 * time.Second)
	time.Sleep(time.Second)
	c.o.Pause()
	time.Sleep(time.Second)
	c.o.Clear()
	<-done
	c.o.Resume()
	time.Sleep(500 * time.Millisecond)
	c.want("cleared while paused", true, time.Second, true)
}

func (c *outputCheck) clearedBeforeTheFirstSound() {
	c.o.Pause()
	done := c.say(5 * time.Second)
	time.Sleep(time.Second)
	c.o.Clear()
	<-done
	c.o.Resume()
	time.Sleep(500 * time.Millisecond)
	c.want("cleared before the first sound", false, 0, true)
}

func (c *outputCheck) clearedWithoutASegment() {
	c.o.Clear()
	c.o.Flush()
	time.Sleep(100 * time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.events) != 0 {
		c.t.Errorf("cleared without a segment: %+v", c.events)
	}
}
