package audio

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// playerOp is a step of a random story about a player.
type playerOp struct {
	kind string
	d    time.Duration
}

// Whatever order the methods are called in, every segment finishes exactly once, starts at most
// once and before that, and never plays more than was written to it.
func TestPlayerHoldsItsPromisesInAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) playerOp {
			kind := rapid.SampledFrom([]string{"write", "write", "flush", "clear", "pause", "resume", "sleep", "sleep"}).Draw(rt, "kind")
			ms := rapid.IntRange(0, 300).Draw(rt, "ms")
			return playerOp{kind, time.Duration(ms) * time.Millisecond}
		}), 1, 40).Draw(rt, "ops")
		failing := rapid.Bool().Draw(rt, "failing")
		var broken error
		synctest.Test(t, func(t *testing.T) { broken = tellPlayerStory(t, ops, failing) })
		if broken != nil {
			rt.Fatal(broken)
		}
	})
}

// playerModel knows what was asked of the player, segment by segment.
type playerModel struct {
	pushed  []time.Duration // written to each segment that opened, by what Write accepted at most
	partial []bool          // the segments of which a Write gave up
	open    bool
}

func tellPlayerStory(t *testing.T, ops []playerOp, failing bool) error {
	w := &wire{}
	if failing {
		w.fail = func(i int) error {
			if i%3 == 1 {
				return errors.New("no route")
			}
			return nil
		}
	}
	p, ev := newTestPlayer(t, w, 24000)
	defer p.Close()
	var m playerModel
	for _, op := range ops {
		switch op.kind {
		case "write":
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			err := p.Write(ctx, voice(op.d, 24000))
			cancel()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("write: %w", err)
			}
			m.wrote(p, op.d, err == nil)
		case "flush":
			p.Flush()
			m.open = false
		case "clear":
			p.Clear()
			before := w.sent()
			synctest.Wait()
			sent := w.sent()
			time.Sleep(50 * time.Millisecond)
			if sent > before+1 || w.sent() != sent {
				return fmt.Errorf("Clear after %d packets, then %d, then %d were sent", before, sent, w.sent())
			}
			m.open = false
		case "pause":
			p.Pause()
			synctest.Wait()
			sent, at := w.sent(), p.Played()
			time.Sleep(op.d)
			// Played is 0 once a segment that was sent completely has finished.
			if now := p.Played(); w.sent() != sent || now != at && now != 0 {
				return fmt.Errorf("while paused: %d packets then %d, played %v then %v", sent, w.sent(), at, now)
			}
		case "resume":
			p.Resume()
		case "sleep":
			time.Sleep(op.d)
		}
	}
	p.Resume()
	p.Flush()
	time.Sleep(5 * time.Second)
	p.Close()
	return m.check(ev.all(), failing)
}

// wrote notes a write. One that ended in time opened a segment, unless one was open and went on; one
// that did not may have waited for the segment before all the time.
func (m *playerModel) wrote(p *Player, d time.Duration, ended bool) {
	p.mu.Lock()
	opened := p.seg.state == segmentOpen && !p.seg.flushed
	p.mu.Unlock()
	if !opened && !ended {
		return
	}
	if !m.open {
		m.pushed, m.partial = append(m.pushed, 0), append(m.partial, false)
		m.open = true
	}
	if !ended {
		m.partial[len(m.partial)-1] = true
	}
	m.pushed[len(m.pushed)-1] += d
}

func (m *playerModel) check(got []PlaybackEvent, failing bool) error {
	finished, started := 0, false
	for i, e := range got {
		if !e.Finished {
			if started {
				return fmt.Errorf("event %d: started twice", i)
			}
			started = true
			continue
		}
		if finished == len(m.pushed) {
			return fmt.Errorf("event %d: more segments finished than the %d that opened", i, len(m.pushed))
		}
		if e.Played > m.pushed[finished] {
			return fmt.Errorf("segment %d: played %v of %v", finished, e.Played, m.pushed[finished])
		}
		if e.Played > 0 && !started {
			return fmt.Errorf("segment %d: played %v without a start", finished, e.Played)
		}
		if !e.Interrupted && !failing && !m.partial[finished] && e.Played != m.pushed[finished] {
			return fmt.Errorf("segment %d: ended after %v of %v", finished, e.Played, m.pushed[finished])
		}
		finished, started = finished+1, false
	}
	if finished != len(m.pushed) || started {
		return fmt.Errorf("%d segments opened, %d finished: %+v", len(m.pushed), finished, got)
	}
	return nil
}
