package stt_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"sync"
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
)

const rate = 16000

// sound is audio of one level: 0 is silence.
func sound(d time.Duration, level int16) audio.Frame {
	f := audio.Silence(d, rate, 1)
	for i := range f.Data {
		f.Data[i] = level
	}
	return f
}

// speak pushes audio in real time, frame by frame of 20 ms.
func speak(t *testing.T, s *stt.Stream, d time.Duration, level int16) {
	t.Helper()
	f := sound(20*time.Millisecond, level)
	for ; d > 0; d -= 20 * time.Millisecond {
		if err := s.Push(f); err != nil {
			t.Fatalf("push: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// collect takes the events of s until its end, on a goroutine.
func collect(s *stt.Stream) *collected {
	c := &collected{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for {
			e, err := s.Next()
			if err != nil {
				c.err = err
				return
			}
			c.mu.Lock()
			c.events = append(c.events, e)
			c.at = append(c.at, time.Now())
			c.mu.Unlock()
		}
	}()
	return c
}

type collected struct {
	done   chan struct{}
	mu     sync.Mutex
	events []*stt.Event
	at     []time.Time
	err    error
}

// end ends the input, waits for the end of s and closes it.
func (c *collected) end(t *testing.T, s *stt.Stream) {
	t.Helper()
	if err := s.EndInput(); err != nil {
		t.Fatalf("end input: %v", err)
	}
	<-c.done
	if !errors.Is(c.err, io.EOF) {
		t.Fatalf("stream ended with %v", c.err)
	}
	_ = s.Close()
}

func (c *collected) texts(k stt.EventKind) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, e := range c.events {
		if e.Kind == k {
			out = append(out, e.Text())
		}
	}
	return out
}

func (c *collected) first(t *testing.T, k stt.EventKind) (*stt.Event, time.Time) {
	t.Helper()
	for i, e := range c.events {
		if e.Kind == k {
			return e, c.at[i]
		}
	}
	t.Fatalf("no %v event", k)
	return nil, time.Time{}
}

func open(t *testing.T, ctx context.Context, m *stt.Model) *stt.Stream {
	t.Helper()
	s, err := m.Stream(ctx, nil)
	if err != nil {
		t.Fatalf("stream: %v", err)
	}
	return s
}

func TestEventsComeInOrderAndPushedAudioIsBooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(&scripted.Options{Texts: []string{"hello there my friend", "good bye"}})
		s := open(t, l.Context(t.Context()), stt.New(d, nil))
		c := collect(s)
		speak(t, s, time.Second, 1000)
		speak(t, s, time.Second, 0)
		speak(t, s, time.Second, 1000)
		speak(t, s, 9*time.Second, 0)
		var before []time.Duration
		for _, e := range modeltest.Events[*metrics.STT](&l) {
			before = append(before, e.AudioDuration)
		}
		if want := []time.Duration{5 * time.Second, 5 * time.Second}; !reflect.DeepEqual(before, want) {
			t.Errorf("booked %v on the way, want %v", before, want)
		}
		c.end(t, s)
		if got := c.texts(stt.Final); !reflect.DeepEqual(got, []string{"hello there my friend", "good bye"}) {
			t.Errorf("finals %q", got)
		}
		if got := c.texts(stt.Interim); !reflect.DeepEqual(got, []string{"hello there", "good"}) {
			t.Errorf("interims %q", got)
		}
		if got := booked(&l); got != 12*time.Second {
			t.Errorf("booked %v, want 12s", got)
		}
		for _, e := range modeltest.Events[*metrics.STT](&l) {
			if !e.Streamed || e.Source != metrics.Measured || e.Duration != 0 || e.RequestID == "" || e.Metadata.ModelName != "script" {
				t.Errorf("event is %+v", e)
			}
		}
	})
}

func TestC115DroppedConnectionIsReplayedWithGrowingTimes(t *testing.T) {
	for name, kind := range map[string]scripted.FaultKind{"error": scripted.Fail, "hang up": scripted.Hangup} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l modeltest.Log
				d := scripted.New(&scripted.Options{
					Texts:  []string{"first words", "second words"},
					Faults: []scripted.Fault{{Call: 0, After: 3500 * time.Millisecond, Kind: kind}},
				})
				s := open(t, l.Context(t.Context()), stt.New(d, nil))
				c := collect(s)
				speak(t, s, time.Second, 1000)
				speak(t, s, 2*time.Second, 0)
				speak(t, s, time.Second, 1000) // dropped in the middle of this
				speak(t, s, time.Second, 0)
				c.end(t, s)
				if got := c.texts(stt.Final); !reflect.DeepEqual(got, []string{"first words", "second words"}) {
					t.Fatalf("finals %q", got)
				}
				var second *stt.Event
				for _, e := range c.events {
					if e.Kind == stt.Final {
						second = e
					}
				}
				if a := second.Alternatives[0]; a.Start != 3*time.Second || a.End != 4*time.Second {
					t.Errorf("second final spans %v to %v, want 3s to 4s", a.Start, a.End)
				}
				led := d.Ledger()
				// the first final ends at 1s: what came after it is sent again
				if want := []time.Duration{3500 * time.Millisecond, 4 * time.Second}; !near(led.PerStream, want) {
					t.Errorf("streams got %v, want about %v", led.PerStream, want)
				}
				if got := booked(&l); got != led.Audio {
					t.Errorf("booked %v, provider got %v", got, led.Audio)
				}
				if got := l.Recoverable(); !reflect.DeepEqual(got, []bool{true}) {
					t.Errorf("error events %v, want one that is recoverable", got)
				}
				if led.Open != 0 {
					t.Errorf("%d streams left open", led.Open)
				}
			})
		})
	}
}

// near allows for the audio that was on its way when the connection dropped.
func near(got, want []time.Duration) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if (got[i] - want[i]).Abs() > 300*time.Millisecond {
			return false
		}
	}
	return true
}

func TestReplayIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted.New(&scripted.Options{Faults: []scripted.Fault{{Call: 0, After: 50 * time.Second}}})
		s := open(t, t.Context(), stt.New(d, nil))
		c := collect(s)
		speak(t, s, 51*time.Second, 0)
		c.end(t, s)
		if got := d.Ledger().PerStream[1]; got > 32*time.Second || got < 29*time.Second {
			t.Errorf("sent %v again", got)
		}
	})
}

func TestFinalResetsTheRetries(t *testing.T) {
	drops := func(n int) (f []scripted.Fault) {
		for i := range n {
			f = append(f, scripted.Fault{Call: i, After: 3500 * time.Millisecond})
		}
		return f
	}
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		m := stt.New(scripted.New(&scripted.Options{Texts: []string{"a", "b", "c", "d"}, Faults: drops(3)}),
			&stt.ModelOptions{Conn: model.ConnOptions{MaxRetry: 1}})
		s := open(t, l.Context(t.Context()), m)
		c := collect(s)
		for range 4 {
			speak(t, s, time.Second, 1000)
			speak(t, s, 2*time.Second, 0)
		}
		c.end(t, s)
		if got := c.texts(stt.Final); len(got) != 4 {
			t.Errorf("finals %q", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(&scripted.Options{Faults: drops(9)})
		s := open(t, l.Context(t.Context()), stt.New(d, &stt.ModelOptions{Conn: model.ConnOptions{MaxRetry: 1}}))
		c := collect(s)
		for range 500 {
			if s.Push(sound(20*time.Millisecond, 0)) != nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		<-c.done
		if c.err == nil || errors.Is(c.err, io.EOF) || d.Ledger().Calls != 2 {
			t.Errorf("error %v after %d connections, want one after 2", c.err, d.Ledger().Calls)
		}
		if got := l.Recoverable(); !reflect.DeepEqual(got, []bool{true, false}) {
			t.Errorf("error events %v", got)
		}
		if err := s.Push(sound(20*time.Millisecond, 0)); err == nil {
			t.Error("push into a failed stream succeeded")
		}
		if got := booked(&l); got != d.Ledger().Audio {
			t.Errorf("booked %v, provider got %v", got, d.Ledger().Audio)
		}
		_ = s.Close()
	})
}

func TestC115ErrorsThatRetryingCannotHelpAreFinal(t *testing.T) {
	for name, f := range map[string]scripted.Fault{
		"status 401": {Err: &model.Error{Kind: model.KindStatus, Status: 401}},
		"panic":      {Kind: scripted.Panic},
		"plain":      {Err: errors.New("something odd")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l modeltest.Log
				d := scripted.New(&scripted.Options{Faults: []scripted.Fault{f}})
				s := open(t, l.Context(t.Context()), stt.New(d, nil))
				defer s.Close()
				if _, err := s.Next(); err == nil || d.Ledger().Calls != 1 {
					t.Errorf("error %v after %d calls", err, d.Ledger().Calls)
				}
				if got := l.Recoverable(); !reflect.DeepEqual(got, []bool{false}) {
					t.Errorf("error events %v", got)
				}
			})
		})
	}
}

// A provider that takes no more audio and ends the stream has not transcribed all of it, also when nothing
// would have come after that. Why it took no more is the error, as soon as it says that itself.
func TestAudioThatIsNotTakenIsAnError(t *testing.T) {
	refused := &model.Error{Kind: model.KindRequest, Err: errors.New("too much of it")}
	for name, c := range map[string]struct {
		held  time.Duration // how long a push takes, unless the stream is closed before
		calls int
	}{"refused, then ended": {0, 1}, "ended while it was pushed": {time.Minute, 3}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &refusing{STT: scripted.New(nil), held: c.held, err: refused}
				s := open(t, t.Context(), stt.New(d, &stt.ModelOptions{Conn: model.ConnOptions{MaxRetry: 2}}))
				defer s.Close()
				if err := s.Push(sound(50*time.Millisecond, 0)); err != nil {
					t.Fatal(err)
				}
				if err := s.EndInput(); err != nil {
					t.Fatal(err)
				}
				_, err := s.Next()
				var e *model.Error
				if !errors.As(err, &e) || errors.Is(err, refused) != (c.calls == 1) || d.Ledger().Calls != c.calls {
					t.Errorf("error %v after %d calls", err, d.Ledger().Calls)
				}
			})
		})
	}
}

// refusing takes no audio, and ends 100 ms after it was opened.
type refusing struct {
	*scripted.STT
	held time.Duration
	err  error
}

func (r *refusing) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	s, err := r.STT.Open(ctx, o)
	return &refusal{Stream: s, r: r, closed: make(chan struct{})}, err
}

type refusal struct {
	driver.Stream
	r      *refusing
	closed chan struct{}
}

func (r *refusal) Push(context.Context, audio.Frame) error {
	select {
	case <-time.After(r.r.held):
		return r.r.err
	case <-r.closed:
		return r.r.err // for whatever reason
	}
}

func (r *refusal) Next(context.Context) (*stt.Event, error) {
	time.Sleep(100 * time.Millisecond)
	return nil, io.EOF
}

func (r *refusal) Close() error {
	close(r.closed)
	return r.Stream.Close()
}

func TestSilentProviderTimesOut(t *testing.T) {
	for name, f := range map[string]scripted.Fault{
		"at the opening": {Call: -1, Kind: scripted.Stall},
		"at the end":     {Call: -1, After: 100 * time.Millisecond, Kind: scripted.Stall},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := scripted.New(&scripted.Options{Faults: []scripted.Fault{f}})
				s := open(t, t.Context(), stt.New(d, &stt.ModelOptions{Conn: model.ConnOptions{MaxRetry: -1}}))
				defer s.Close()
				if err := s.Push(sound(200*time.Millisecond, 0)); err != nil {
					t.Fatal(err)
				}
				if err := s.EndInput(); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				_, err := s.Next()
				var e *model.Error
				if !errors.As(err, &e) || e.Kind != model.KindTimeout || time.Since(began) != 10*time.Second {
					t.Errorf("error %v after %v", err, time.Since(began))
				}
			})
		})
	}
}

func TestLongSilenceIsNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted.New(nil)
		s := open(t, t.Context(), stt.New(d, nil))
		c := collect(s)
		speak(t, s, time.Second, 0)
		time.Sleep(time.Hour)
		speak(t, s, time.Second, 0)
		c.end(t, s)
		if d.Ledger().Calls != 1 {
			t.Errorf("%d connections", d.Ledger().Calls)
		}
	})
}

func TestFlushIsSentInItsPlaceAndAgainAfterADrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted.New(&scripted.Options{
			Texts:  []string{"one"},
			Faults: []scripted.Fault{{Call: 0, After: 900 * time.Millisecond, Kind: scripted.Hangup}},
		})
		s := open(t, t.Context(), stt.New(d, nil))
		c := collect(s)
		speak(t, s, time.Second, 1000)
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := c.texts(stt.Final); !reflect.DeepEqual(got, []string{"one"}) {
			t.Errorf("finals after the flush: %q", got)
		}
		c.end(t, s)
	})
}

func TestOverflowIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(&scripted.Options{Faults: []scripted.Fault{{Call: -1, Kind: scripted.Stall}}})
		m := stt.New(d, &stt.ModelOptions{Conn: model.ConnOptions{Timeout: time.Hour}})
		s := open(t, l.Context(t.Context()), m)
		defer s.Close()
		speak(t, s, 40*time.Second, 0)
		if got := l.Recoverable(); !reflect.DeepEqual(got, []bool{true}) {
			t.Errorf("error events %v, want one", got)
		}
	})
}

func TestStreamRefusesWhatItCannotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.Context(), stt.New(scripted.New(nil), nil))
		if err := s.Push(sound(20*time.Millisecond, 0)); err != nil {
			t.Fatal(err)
		}
		if err := s.Push(audio.Silence(20*time.Millisecond, 48000, 1)); !errors.Is(err, stt.ErrFormat) {
			t.Errorf("other rate: %v", err)
		}
		if err := s.Push(audio.Frame{Data: make([]int16, 3), Rate: rate, Channels: 2}); err == nil {
			t.Error("a frame that is not whole was taken")
		}
		if err := s.EndInput(); err != nil {
			t.Fatal(err)
		}
		if err := s.Push(sound(20*time.Millisecond, 0)); !errors.Is(err, stt.ErrInputEnded) {
			t.Errorf("push after the end: %v", err)
		}
		if err := s.Flush(); !errors.Is(err, stt.ErrInputEnded) {
			t.Errorf("flush after the end: %v", err)
		}
		if err := s.EndInput(); err != nil {
			t.Errorf("second end: %v", err)
		}
		_ = s.Close()
		if err := s.Push(sound(20*time.Millisecond, 0)); !errors.Is(err, stt.ErrClosed) {
			t.Errorf("push after close: %v", err)
		}
		if _, err := s.Next(); !errors.Is(err, stt.ErrClosed) {
			t.Errorf("next after close: %v", err)
		}
	})
}

func TestEndOfContextEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		ctx, cancel := context.WithCancel(l.Context(t.Context()))
		d := scripted.New(nil)
		s := open(t, ctx, stt.New(d, nil))
		c := collect(s)
		speak(t, s, time.Second, 0)
		cancel()
		<-c.done
		if !errors.Is(c.err, context.Canceled) || len(l.Errors()) != 0 {
			t.Errorf("error %v, error events %v", c.err, l.Errors())
		}
		synctest.Wait()
		if d.Ledger().Open != 0 || booked(&l) != time.Second {
			t.Errorf("ledger %+v, booked %v", d.Ledger(), booked(&l))
		}
		_ = s.Close()
	})
}

func TestAudioIsResampledAndMixedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted.New(&scripted.Options{Texts: []string{"hi"}, Capabilities: &stt.Capabilities{SampleRate: 16000}})
		p := &probe{STT: d}
		s := open(t, t.Context(), stt.New(p, nil))
		c := collect(s)
		f := audio.Silence(20*time.Millisecond, 48000, 2)
		for i := range f.Data {
			f.Data[i] = 1000
		}
		for range 50 {
			if err := s.Push(f); err != nil {
				t.Fatal(err)
			}
		}
		c.end(t, s)
		if p.rate != 16000 || p.channels != 1 {
			t.Errorf("driver got %d Hz with %d channels", p.rate, p.channels)
		}
		if got := d.Ledger().Audio; (got - time.Second).Abs() > 20*time.Millisecond {
			t.Errorf("driver got %v of audio, want 1s", got)
		}
		if got := c.texts(stt.Final); !reflect.DeepEqual(got, []string{"hi"}) {
			t.Errorf("finals %q", got)
		}
	})
}

// probe notes the format of what a driver gets.
type probe struct {
	*scripted.STT
	rate, channels int
}

func (p *probe) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	s, err := p.STT.Open(ctx, o)
	return &probed{Stream: s, p: p}, err
}

type probed struct {
	driver.Stream
	p *probe
}

func (p *probed) Push(ctx context.Context, f audio.Frame) error {
	p.p.rate, p.p.channels = f.Rate, f.Channels
	return p.Stream.Push(ctx, f)
}
