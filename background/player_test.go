package background

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/session"
)

func TestSoundsAreMixed(t *testing.T) {
	inScene(t, Options{}, func(t *testing.T, sc *scene) {
		sc.p.Play(Sound{Source: level(t, 1000, 500*ms)})
		sc.until(100 * ms)
		sc.p.Play(Sound{Source: level(t, 2000, 200*ms)})
		sc.p.Play(Sound{Source: level(t, 10_000, 200*ms), Gain: -20})
		sc.until(600 * ms)
		sc.p.Play(Sound{Source: level(t, 1000, 400*ms)})
		sc.until(610 * ms) // the player waits for the next frame, so that what follows begins at once
		sc.p.Play(Sound{Source: level(t, 30_000, 100*ms)})
		sc.p.Play(Sound{Source: level(t, 30_000, 100*ms)})
		sc.p.Play(Sound{Source: level(t, -30_000, 20*ms)})
		sc.until(time.Second)
		begin := 610 * ms
		for begin < 610*ms+behind && sc.track.at(begin) == 1000 {
			begin += ms
		}
		sc.wantAt(map[time.Duration]int{
			50 * ms: 1000, 200 * ms: 4000, 450 * ms: 1000, 550 * ms: 0,
			begin - 5*ms: 1000, begin + 10*ms: 31_000, begin + 50*ms: 32_767, // louder than there are samples for
			begin + 150*ms: 1000,
		})
	})
}

func TestSoundsFade(t *testing.T) {
	inScene(t, Options{}, func(t *testing.T, sc *scene) {
		h := sc.p.Play(Sound{Source: level(t, 10_000, 300*ms), Loop: true, FadeIn: 100 * ms, FadeOut: 200 * ms})
		sc.until(1000 * ms)
		h.Stop()
		h.Stop() // changes nothing
		sc.until(1180 * ms)
		if isDone(h) {
			t.Error("done before it has faded out")
		}
		sc.until(1300 * ms)
		if !isDone(h) || h.Wait(t.Context()) != nil {
			t.Error("not done after it has faded out")
		}
		sent := sc.track.sent()
		sc.until(2000 * ms)
		if sc.track.sent() != sent {
			t.Error("silence is sent")
		}
		sc.wantAt(map[time.Duration]int{
			0: 0, 50 * ms: 5000, 100 * ms: 10_000, 310 * ms: 10_000, 1000 * ms: 10_000,
			1280 * ms: 0,
		})
		// Between them it falls evenly, beginning a little later than it was stopped.
		var half time.Duration
		for d := 1000 * ms; d < 1300*ms; d += ms {
			if sc.track.at(d) > 5000 {
				half = d
			}
		}
		if half < 1100*ms || half > 1100*ms+behind {
			t.Errorf("half as loud at %v, want 1.1 s to 1.18 s", half)
		}
	})
}

func TestAmbientGoesOnAndThinkingFollowsTheAgent(t *testing.T) {
	o := Options{
		Ambient:  []Sound{{Source: level(t, 100, 50*ms)}},
		Thinking: []Sound{{Source: level(t, 2000, 300*ms)}},
	}
	inScene(t, o, func(t *testing.T, sc *scene) {
		sc.until(1000 * ms)
		sc.s.GenerateReply(agent.Reply{}) // thinks from 1.0 to 2.0
		sc.until(1500 * ms)
		if sc.s.AgentState() != agent.Thinking {
			t.Fatalf("the agent is %s", sc.s.AgentState())
		}
		sc.until(2300 * ms)
		if sc.s.AgentState() != agent.Speaking {
			t.Fatalf("the agent is %s", sc.s.AgentState())
		}
		sc.until(4000 * ms)
		sc.s.GenerateReply(agent.Reply{}) // and once more
		sc.until(6000 * ms)
		sc.wantAt(map[time.Duration]int{
			0: 100, 990 * ms: 100, 1000*ms + behind: 2100, 1990 * ms: 2100,
			2000*ms + behind + minFadeOut: 100, 3900 * ms: 100,
			4000*ms + behind: 2100, 4900 * ms: 2100, 5900 * ms: 100,
		})
	})
}

func TestThinkingWhenThePlayerStarts(t *testing.T) {
	inScene(t, Options{}, func(t *testing.T, sc *scene) {
		sc.s.GenerateReply(agent.Reply{})
		sc.until(500 * ms)
		p := New(Options{Thinking: []Sound{{Source: level(t, 2000, 300*ms)}}})
		defer func() { _ = p.Close(context.Background()) }()
		tr := &track{t0: sc.t0}
		if err := p.start(t.Context(), sc.s, func(context.Context) (output, error) { return tr, nil }); err != nil {
			t.Fatal(err)
		}
		sc.until(2000 * ms)
		if tr.at(600*ms) != 2000 || tr.at(1200*ms) != 0 {
			t.Errorf("heard %d while thinking and %d afterwards", tr.at(600*ms), tr.at(1200*ms))
		}
	})
}

func TestPlayerEndsWithTheSession(t *testing.T) {
	inScene(t, Options{Ambient: []Sound{{Source: level(t, 100, 50*ms)}}}, func(t *testing.T, sc *scene) {
		h := sc.p.Play(Sound{Source: level(t, 1000, time.Minute)})
		sc.until(500 * ms)
		if err := sc.s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !sc.track.isClosed() || !isDone(h) {
			t.Errorf("track closed: %v, sound over: %v", sc.track.isClosed(), isDone(h))
		}
		if err := sc.p.Play(Sound{Source: level(t, 1, ms)}).Wait(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("playing on a closed player: %v", err)
		}
	})
}

func TestPlayerEndsWithItsTrack(t *testing.T) {
	inScene(t, Options{}, func(t *testing.T, sc *scene) {
		sc.track.fails = errors.New("gone")
		h := sc.p.Play(Sound{Source: level(t, 1000, time.Minute)})
		synctest.Wait()
		if !sc.track.isClosed() || !isDone(h) {
			t.Errorf("track closed: %v, sound over: %v", sc.track.isClosed(), isDone(h))
		}
	})
}

func TestStartIsOnce(t *testing.T) {
	inScene(t, Options{}, func(t *testing.T, sc *scene) {
		again := func() error {
			return sc.p.start(t.Context(), sc.s, func(context.Context) (output, error) { return sc.track, nil })
		}
		if err := again(); !errors.Is(err, ErrStarted) {
			t.Errorf("second start: %v", err)
		}
		if err := sc.p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := again(); !errors.Is(err, ErrClosed) {
			t.Errorf("start after Close: %v", err)
		}
	})
}

func TestStartThatFailsCanBeRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s, tr := New(Options{}), session.New(session.Options{}), &track{t0: time.Now()}
		broken := errors.New("no room")
		err := p.start(t.Context(), s, func(context.Context) (output, error) { return nil, broken })
		if !errors.Is(err, broken) {
			t.Fatalf("error %v", err)
		}
		h := p.Play(Sound{Source: level(t, 1000, 100*ms)}) // waits for the start
		time.Sleep(time.Second)
		if err := p.start(t.Context(), s, func(context.Context) (output, error) { return tr, nil }); err != nil {
			t.Fatal(err)
		}
		if err := h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if tr.at(1050*ms) != 1000 {
			t.Errorf("heard %d", tr.at(1050*ms))
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseOfAPlayerThatWasNotStarted(t *testing.T) {
	p := New(Options{})
	h := p.Play(Sound{Source: RoomTone()})
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := h.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}
