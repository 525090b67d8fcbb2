package background

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	llmscripted "github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/tts"
	ttsscripted "github.com/parley-go/parley/tts/scripted"
)

const ms = time.Millisecond

// behind is how much later than it was asked for a sound begins and ends, at most.
const behind = queue + 20*ms

// track takes audio at the speed at which it is heard, and keeps it.
type track struct {
	mu     sync.Mutex
	t0     time.Time
	heard  []int16   // since t0; silence where nothing was sent
	next   time.Time // when the next frame is heard
	writes int
	closed bool
	fails  error // of the next Write
}

func (tr *track) Write(ctx context.Context, f audio.Frame) error {
	tr.mu.Lock()
	now := time.Now()
	if tr.next.Before(now) {
		tr.next = now
	}
	at := audio.SamplesIn(tr.next.Sub(tr.t0), rate)
	tr.heard = slices.Grow(tr.heard, at)
	for len(tr.heard) < at {
		tr.heard = append(tr.heard, 0)
	}
	tr.heard = append(tr.heard, f.Data...)
	tr.next = tr.next.Add(f.Duration())
	tr.writes++
	wait, err := tr.next.Sub(now)-queue, tr.fails
	tr.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (tr *track) Close(context.Context) error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.closed = true
	return nil
}

// at is the sample that is heard at a time since the start.
func (tr *track) at(d time.Duration) int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if i := audio.SamplesIn(d, rate); i < len(tr.heard) {
		return int(tr.heard[i])
	}
	return 0
}

func (tr *track) isClosed() bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.closed
}

func (tr *track) sent() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.writes
}

// scene is a player behind a session. Times are since its start.
type scene struct {
	t     *testing.T
	p     *Player
	s     *session.Session
	track *track
	t0    time.Time
}

// inScene runs f in a bubble with a player of o. The model thinks for a second before it says "Hello." for
// 0.6 s.
func inScene(t *testing.T, o Options, f func(t *testing.T, sc *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.Logger = slog.New(slog.DiscardHandler)
		answers := llmscripted.New(&llmscripted.Options{Respond: func(int, *driver.Request) llmscripted.Answer {
			return llmscripted.Answer{Text: "Hello.", TTFT: time.Second}
		}})
		s := session.New(session.Options{
			LLM:    llm.New(answers, nil),
			TTS:    tts.New(ttsscripted.New(&ttsscripted.Options{PerCharacter: 100 * ms}), nil),
			Logger: o.Logger,
		})
		room := sessiontest.New()
		room.In = nil
		if err := s.Start(t.Context(), &agent.Agent{}, room); err != nil {
			t.Fatal(err)
		}
		sc := &scene{t: t, p: New(o), s: s, t0: time.Now()}
		sc.track = &track{t0: sc.t0}
		sc.p.random = func() float64 { return 0.5 }
		if err := sc.p.start(t.Context(), s, func(context.Context) (output, error) { return sc.track, nil }); err != nil {
			t.Fatal(err)
		}
		f(t, sc)
		if err := sc.p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if !sc.track.isClosed() {
			t.Error("the track is still in the room after Close")
		}
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// until lets time pass.
func (sc *scene) until(d time.Duration) {
	time.Sleep(time.Until(sc.t0.Add(d)))
	synctest.Wait()
}

// wantAt checks what is heard at times, to 2 % and one.
func (sc *scene) wantAt(want map[time.Duration]int) {
	sc.t.Helper()
	for d, x := range want {
		if got := sc.track.at(d); max(got-x, x-got) > max(x, -x)/50+1 {
			sc.t.Errorf("heard %d at %v, want %d", got, d, x)
		}
	}
}

// level is a sound whose samples are all x.
func level(t *testing.T, x int16, d time.Duration) Source {
	t.Helper()
	s, err := Clip(steady(x, d, rate, 1))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func steady(x int16, d time.Duration, rate, channels int) audio.Frame {
	f := audio.Silence(d, rate, channels)
	for i := range f.Data {
		f.Data[i] = x
	}
	return f
}

func isDone(h *Handle) bool {
	select {
	case <-h.Done():
		return true
	default:
		return false
	}
}
