package background

import (
	"context"
	"errors"
	"iter"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
)

func TestPick(t *testing.T) {
	list := func(ps ...float64) (out []Sound) {
		for i, p := range ps {
			out = append(out, Sound{Gain: float64(i + 1), Probability: p})
		}
		return out
	}
	tests := map[string]struct {
		sounds []Sound
		x      float64
		want   float64 // gain; 0 is silence
	}{
		"nothing":          {nil, 0, 0},
		"one":              {list(0), 0.999, 1},
		"two, first":       {list(0, 0), 0.499, 1},
		"two, second":      {list(0, 0), 0.5, 2},
		"weights, first":   {list(3, 1), 0.749, 1},
		"weights, second":  {list(3, 1), 0.751, 2},
		"rest, first":      {list(0.2, 0.3), 0.199, 1},
		"rest, second":     {list(0.2, 0.3), 0.499, 2},
		"rest, silence":    {list(0.2, 0.3), 0.501, 0},
		"never":            {list(-1, 0.5), 0, 2},
		"never, else rest": {list(-1, 0.5), 0.6, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := pick(tt.sounds, tt.x)
			if got.Gain != tt.want || ok != (tt.want > 0) {
				t.Errorf("chose %v, %v; want %v", got.Gain, ok, tt.want)
			}
		})
	}
}

func TestSilenceIsChosen(t *testing.T) {
	inScene(t, Options{Ambient: []Sound{{Source: level(t, 100, 50*ms), Probability: 0.4}}}, func(t *testing.T, sc *scene) {
		h := sc.p.Play(Sound{Source: level(t, 100, 50*ms), Probability: 0.4})
		if !isDone(h) {
			t.Error("silence takes time")
		}
		h.Stop()
		sc.until(500 * ms)
		if n := sc.track.sent(); n != 0 {
			t.Errorf("%d frames were sent", n)
		}
	})
}

// tell makes frames and counts how often it was asked.
type tell struct {
	asked int
	live  int
	play  func(ctx context.Context, yield func(audio.Frame, error) bool)
}

func (s *tell) source() Source {
	return Frames(func(ctx context.Context) iter.Seq2[audio.Frame, error] {
		return func(yield func(audio.Frame, error) bool) {
			s.asked++
			s.live++
			defer func() { s.live-- }()
			s.play(ctx, yield)
		}
	})
}

func TestFramesOfAnyFormat(t *testing.T) {
	inScene(t, Options{}, func(t *testing.T, sc *scene) {
		src := &tell{play: func(_ context.Context, yield func(audio.Frame, error) bool) {
			_ = yield(steady(1000, 300*ms, rate, 1), nil) && yield(steady(2000, 300*ms, 24_000, 2), nil)
		}}
		h := sc.p.Play(Sound{Source: src.source()})
		if err := h.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		sc.until(900 * ms)
		sc.wantAt(map[time.Duration]int{200 * ms: 1000, 450 * ms: 2000, 720 * ms: 0})
		if src.asked != 1 || src.live != 0 {
			t.Errorf("asked %d times, %d not ended", src.asked, src.live)
		}
	})
}

func TestLateFramesAreWaitedForInSilence(t *testing.T) {
	inScene(t, Options{}, func(t *testing.T, sc *scene) {
		src := &tell{play: func(ctx context.Context, yield func(audio.Frame, error) bool) {
			if yield(steady(1000, 300*ms, rate, 1), nil) {
				time.Sleep(500 * ms)
				yield(steady(2000, 300*ms, rate, 1), nil)
			}
		}}
		other := sc.p.Play(Sound{Source: level(t, 100, time.Second)})
		h := sc.p.Play(Sound{Source: src.source()})
		if err := h.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if isDone(other) {
			t.Error("a late sound made the other one wait")
		}
		sc.until(1100 * ms)
		sc.wantAt(map[time.Duration]int{200 * ms: 1100, 450 * ms: 100, 700 * ms: 2100, 920 * ms: 100})
	})
}

func TestSoundThatIsLateCanBeStopped(t *testing.T) {
	inScene(t, Options{}, func(t *testing.T, sc *scene) {
		src := &tell{play: func(ctx context.Context, _ func(audio.Frame, error) bool) { <-ctx.Done() }}
		h := sc.p.Play(Sound{Source: src.source(), FadeOut: 100 * ms})
		sc.until(200 * ms)
		h.Stop()
		sc.until(400 * ms)
		if !isDone(h) || src.live != 0 {
			t.Errorf("over: %v, %d sources go on", isDone(h), src.live)
		}
	})
}

func TestFramesLoopAndStop(t *testing.T) {
	inScene(t, Options{}, func(t *testing.T, sc *scene) {
		src := &tell{play: func(_ context.Context, yield func(audio.Frame, error) bool) {
			yield(steady(1000, 100*ms, rate, 1), nil)
		}}
		h := sc.p.Play(Sound{Source: src.source(), Loop: true})
		sc.until(5 * time.Second)
		h.Stop()
		sc.until(6 * time.Second)
		if !isDone(h) || src.live != 0 {
			t.Errorf("over: %v, %d not ended", isDone(h), src.live)
		}
		if src.asked < 50 || src.asked > 65 {
			t.Errorf("asked %d times for 100 ms in 5 s", src.asked)
		}
		sc.wantAt(map[time.Duration]int{2 * time.Second: 1000, 4990 * ms: 1000, 5900 * ms: 0})
	})
}

func TestFramesThatFail(t *testing.T) {
	broken := errors.New("broken")
	tests := map[string]struct {
		play func(ctx context.Context, yield func(audio.Frame, error) bool)
		want string
	}{
		"error":     {func(_ context.Context, yield func(audio.Frame, error) bool) { yield(audio.Frame{}, broken) }, "broken"},
		"panic":     {func(context.Context, func(audio.Frame, error) bool) { panic("oops") }, "oops"},
		"bad frame": {func(_ context.Context, yield func(audio.Frame, error) bool) { yield(audio.Frame{Rate: 1}, nil) }, "sample rate"},
		"surround":  {func(_ context.Context, yield func(audio.Frame, error) bool) { yield(steady(1, ms, rate, 6), nil) }, "6 channels"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inScene(t, Options{}, func(t *testing.T, sc *scene) {
				h := sc.p.Play(Sound{Source: (&tell{play: tt.play}).source(), Loop: true})
				if err := h.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want one about %s", err, tt.want)
				}
			})
		})
	}
	t.Run("nothing, again and again", func(t *testing.T) {
		inScene(t, Options{}, func(t *testing.T, sc *scene) {
			src := &tell{play: func(context.Context, func(audio.Frame, error) bool) {}}
			h := sc.p.Play(Sound{Source: src.source(), Loop: true})
			if err := h.Wait(t.Context()); err != nil || src.asked != 1 {
				t.Errorf("asked %d times, error %v", src.asked, err)
			}
		})
	})
	t.Run("no source", func(t *testing.T) {
		inScene(t, Options{}, func(t *testing.T, sc *scene) {
			if err := sc.p.Play(Sound{}).Wait(t.Context()); !errors.Is(err, errNoSource) {
				t.Errorf("error %v", err)
			}
		})
	})
}

func TestCloseEndsSources(t *testing.T) {
	inScene(t, Options{}, func(t *testing.T, sc *scene) {
		src := &tell{play: func(ctx context.Context, _ func(audio.Frame, error) bool) { <-ctx.Done() }}
		h := sc.p.Play(Sound{Source: src.source()})
		sc.until(100 * ms)
		ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
		defer cancel()
		if err := h.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the end of the context", err)
		}
		if err := sc.p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if src.live != 0 || h.Wait(t.Context()) != nil {
			t.Errorf("%d sources go on; the sound ended with %v", src.live, h.Wait(t.Context()))
		}
	})
}

func TestCloseDoesNotWaitLongerThanItsContext(t *testing.T) {
	inScene(t, Options{}, func(t *testing.T, sc *scene) {
		src := &tell{play: func(context.Context, func(audio.Frame, error) bool) { time.Sleep(time.Second) }} // stubborn
		sc.p.Play(Sound{Source: src.source()})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
		defer cancel()
		if err := sc.p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the end of the context", err)
		}
	})
}

func TestClip(t *testing.T) {
	if _, err := Clip(audio.Frame{Rate: rate, Channels: 1}); err == nil {
		t.Error("a clip without audio")
	}
	if _, err := Clip(audio.Frame{Rate: 1, Channels: 1}); err == nil {
		t.Error("a clip without a sample rate")
	}
	f := steady(1000, 100*ms, 44_100, 2)
	src, err := Clip(f)
	if err != nil {
		t.Fatal(err)
	}
	c := src.(clip)
	if d := audio.Samples(len(c)).At(rate); d < 100*ms || d > 101*ms || c[len(c)/2] < 990 || c[len(c)/2] > 1010 {
		t.Errorf("%v long, with %d in the middle", d, c[len(c)/2])
	}
}

func TestReadWAV(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hold.wav")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(audio.WriteWAV(file, steady(700, 50*ms, rate, 1)), file.Close()); err != nil {
		t.Fatal(err)
	}
	src, err := ReadWAV(path)
	if err != nil {
		t.Fatal(err)
	}
	if c := src.(clip); len(c) != rate/20 || c[100] != 700 {
		t.Errorf("%d samples of %d", len(c), c[100])
	}
	if _, err := ReadWAV(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v for no file", err)
	}
	if err := os.WriteFile(path, []byte("ID3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadWAV(path); !errors.Is(err, audio.ErrWAV) {
		t.Errorf("error %v for another file", err)
	}
}

func TestBuiltInSounds(t *testing.T) {
	decibels := func(pcm []int16) float64 { return 20 * math.Log10(audio.RMS(pcm)) }
	tone := RoomTone().(clip)
	for at := 0; at+rate <= len(tone); at += rate {
		if db := decibels(tone[at : at+rate]); db < -53 || db > -43 {
			t.Errorf("room tone has %.0f dB from second %d on", db, at/rate)
		}
	}
	jump, most := math.Abs(float64(tone[0])-float64(tone[len(tone)-1])), 0.0
	for i := range len(tone) - 1 {
		most = max(most, math.Abs(float64(tone[i+1])-float64(tone[i])))
	}
	if jump > most {
		t.Errorf("room tone jumps by %v where it begins again, and by %v at most elsewhere", jump, most)
	}
	keys := Typing().(clip)
	loud, quiet := 0, 0
	for at := 0; at+rate/50 <= len(keys); at += rate / 50 {
		switch db := decibels(keys[at : at+rate/50]); {
		case db > -20:
			t.Errorf("a key of %.0f dB", db)
		case db > -50:
			loud++
		case db < -70:
			quiet++
		}
	}
	if loud < 20 || quiet < 50 {
		t.Errorf("%d pieces of 20 ms are loud and %d are quiet", loud, quiet)
	}
	if last := keys[len(keys)-1]; last != 0 {
		t.Errorf("typing ends with %d", last)
	}
}
