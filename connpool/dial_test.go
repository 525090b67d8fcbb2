package connpool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPrewarmIsJoined(t *testing.T) {
	bubble(t, func(w *world, _ *Options[*fake]) { w.next.delay = 3 * s }, func(t *testing.T, w *world, p *Pool[*fake]) {
		p.Prewarm()
		p.Prewarm() // one at a time
		time.Sleep(1 * s)
		l := acquire(t, p)
		wantFacts(t, l, Facts{AcquireTime: 2 * s, WaitTime: 2 * s})
		if w.dials.Load() != 1 {
			t.Errorf("%d dials", w.dials.Load())
		}
		l.Release()
		p.Prewarm() // there is an idle one
		synctest.Wait()
		if w.dials.Load() != 1 {
			t.Errorf("%d dials", w.dials.Load())
		}
	})
}

func TestPrewarmedConnectionIsReused(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *world, p *Pool[*fake]) {
		p.Prewarm()
		time.Sleep(5 * s)
		l := acquire(t, p)
		wantFacts(t, l, Facts{Reused: true, Age: 5 * s})
		l.Release()
	})
}

func TestPrewarmMayFailAndBeTriedAgain(t *testing.T) {
	bubble(t, func(w *world, _ *Options[*fake]) {
		w.script = []behaviour{{err: errRefused}, {err: errRefused}}
	}, func(t *testing.T, w *world, p *Pool[*fake]) {
		p.Prewarm()
		synctest.Wait()
		p.Prewarm()
		synctest.Wait()
		p.Prewarm()
		synctest.Wait()
		if st := p.Stats(); st.Idle != 1 || st.Dials != 3 || st.DialFailures != 2 {
			t.Errorf("%+v", st)
		}
	})
}

func TestWhoJoinsAFailingPrewarmGetsADialOfItsOwn(t *testing.T) {
	bubble(t, func(w *world, _ *Options[*fake]) {
		w.script = []behaviour{{delay: 2 * s, err: errRefused}, {delay: 3 * s}}
	}, func(t *testing.T, _ *world, p *Pool[*fake]) {
		p.Prewarm()
		synctest.Wait()
		l := acquire(t, p)
		wantFacts(t, l, Facts{AcquireTime: 5 * s, WaitTime: 2 * s, DialTime: 3 * s})
		l.Release()
	})
}

func TestPrewarmKeepsToMaxOpenAndClose(t *testing.T) {
	bubble(t, func(_ *world, o *Options[*fake]) { o.MaxOpen = 1 }, func(t *testing.T, w *world, p *Pool[*fake]) {
		l := acquire(t, p)
		p.Prewarm()
		synctest.Wait()
		l.Discard()
		p.shut()
		p.Prewarm()
		synctest.Wait()
		if w.dials.Load() != 1 {
			t.Errorf("%d dials", w.dials.Load())
		}
	})
}

func TestDialErrorsGoToWhoWaitedForThem(t *testing.T) {
	bubble(t, func(w *world, _ *Options[*fake]) {
		w.script = []behaviour{{delay: 1 * s, err: errRefused}, {delay: 3 * s}}
	}, func(t *testing.T, _ *world, p *Pool[*fake]) {
		a := start(t.Context(), p)
		b := start(t.Context(), p)
		ra := <-a
		var de *DialError
		if !errors.As(ra.err, &de) || !errors.Is(ra.err, errRefused) || ra.after != s {
			t.Errorf("%v after %v", ra.err, ra.after)
		}
		l := (<-b).must(t)
		wantFacts(t, l, Facts{AcquireTime: 3 * s, DialTime: 3 * s})
		l.Release()
	})
}

func TestDialTimeout(t *testing.T) {
	bubble(t, func(w *world, o *Options[*fake]) { w.next.delay = time.Minute }, func(t *testing.T, _ *world, p *Pool[*fake]) {
		r := <-start(t.Context(), p)
		var de *DialError
		if !errors.As(r.err, &de) || !de.Timeout() || r.after != DefaultDialTimeout {
			t.Errorf("%v after %v", r.err, r.after)
		}
	})
}

func TestDialErrorsHideTheirCause(t *testing.T) {
	for want, err := range map[string]error{
		"connpool: dial: failed (*errors.errorString)": errRefused,
		"connpool: dial: timed out":                    &url.Error{Op: "Get", URL: "https://secret", Err: context.DeadlineExceeded},
		"connpool: dial: connection refused":           &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		"connpool: dial: name not resolved":            &net.DNSError{Name: "secret.example", Err: "no such host"},
		"connpool: dial: cancelled":                    fmt.Errorf("secret: %w", context.Canceled),
	} {
		if got := (&DialError{err}).Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestLogsHideSecrets(t *testing.T) {
	var log bytes.Buffer
	bubble(t, func(w *world, o *Options[*fake]) {
		w.script = []behaviour{{err: errRefused}}
		w.closeErr = errRefused
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	}, func(t *testing.T, _ *world, p *Pool[*fake]) {
		p.Prewarm()
		synctest.Wait()
		acquire(t, p).Discard()
	})
	out := log.String()
	if strings.Contains(out, "secret") || !strings.Contains(out, "close failed") || !strings.Contains(out, "dial that failed") {
		t.Errorf("log:\n%s", out)
	}
}

func TestPanicsStayInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := true
		p := New(Options[int]{Logger: quiet,
			Dial: func(context.Context) (int, error) {
				if panics {
					panic("in dial")
				}
				return 1, nil
			},
			Close: func(int) error { panic("in close") },
		})
		var de *DialError
		if _, err := p.Acquire(t.Context()); !errors.As(err, &de) {
			t.Errorf("got %v", err)
		}
		panics = false
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l.Discard()
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

type closer struct{ closes int }

func (c *closer) Close() error { c.closes++; return nil }

func TestDefaultCloseAndNoDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(closer)
		p := New(Options[*closer]{Dial: func(context.Context) (*closer, error) { return c, nil }})
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
		if err := p.Close(t.Context()); err != nil || c.closes != 1 {
			t.Errorf("%v, closed %d times", err, c.closes)
		}
		if _, err := New(Options[int]{}).Acquire(t.Context()); err == nil {
			t.Error("a pool without Dial gave a connection")
		}
	})
}

func TestDeadIdleConnectionIsClosedAtOnce(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *world, p *Pool[*fake]) {
		l := acquire(t, p)
		l.Release()
		l.Conn().kill()
		synctest.Wait()
		if st := p.Stats(); st.Open != 0 || st.Closed.Dead != 1 {
			t.Errorf("%+v", st)
		}
		again := acquire(t, p)
		wantFacts(t, again, Facts{})
		again.Release()
	})
}

// The pool's goroutine may not have run yet: the last look is in Acquire itself.
func TestDeadConnectionIsNotHandedOut(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *world, p *Pool[*fake]) {
		for range 100 {
			l := acquire(t, p)
			l.Release()
			l.Conn().kill()
			again := acquire(t, p)
			if again.Conn() == l.Conn() {
				t.Fatal("a dead connection was handed out")
			}
			again.Discard()
		}
	})
}

func TestDeathInUseIsSeenAtRelease(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *world, p *Pool[*fake]) {
		l := acquire(t, p)
		l.Conn().kill()
		synctest.Wait()
		if l.Conn().closes.Load() != 0 {
			t.Error("closed under its user")
		}
		l.Release()
		synctest.Wait()
		if st := p.Stats(); l.Conn().closes.Load() != 1 || st.Closed.Dead != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestStillbornConnectionIsAnError(t *testing.T) {
	bubble(t, func(w *world, _ *Options[*fake]) { w.next.stillborn = true }, func(t *testing.T, w *world, p *Pool[*fake]) {
		_, err := p.Acquire(t.Context())
		var de *DialError
		if !errors.As(err, &de) || !errors.Is(err, ErrDead) {
			t.Errorf("got %v", err)
		}
		if w.dials.Load() != 1 {
			t.Errorf("%d dials", w.dials.Load())
		}
	})
}

func TestStillbornConnectionTellsWhatItDiedOf(t *testing.T) {
	bubble(t, func(w *world, o *Options[*fake]) {
		w.next.stillborn = true
		o.Why = func(*fake) error { return errRefused }
	}, func(t *testing.T, w *world, p *Pool[*fake]) {
		_, err := p.Acquire(t.Context())
		if !errors.Is(err, errRefused) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if st := p.Stats(); w.dials.Load() != 1 || w.all()[0].closes.Load() != 1 || st.DialFailures != 1 || st.Open != 0 {
			t.Errorf("%d dials, %+v", w.dials.Load(), st)
		}
	})
}

func TestAFailedDialIsForgottenWhileAnotherServes(t *testing.T) {
	bubble(t, func(w *world, _ *Options[*fake]) {
		w.script = []behaviour{{delay: 5 * s}, {delay: 1 * s, err: errRefused}}
	}, func(t *testing.T, w *world, p *Pool[*fake]) {
		ctx, cancel := context.WithCancel(t.Context())
		a := start(ctx, p)
		b := start(t.Context(), p)
		cancel()
		if r := <-a; !errors.Is(r.err, context.Canceled) {
			t.Errorf("A got %v", r.err)
		}
		l := (<-b).must(t)
		wantFacts(t, l, Facts{AcquireTime: 5 * s, WaitTime: 5 * s})
		if w.dials.Load() != 2 {
			t.Errorf("%d dials", w.dials.Load())
		}
		l.Release()
	})
}

func TestInvalidateCancelsDials(t *testing.T) {
	bubble(t, func(w *world, o *Options[*fake]) {
		o.MaxOpen = 1
		w.script = []behaviour{{delay: 5 * s}, {delay: 1 * s}}
	}, func(t *testing.T, _ *world, p *Pool[*fake]) {
		a := start(t.Context(), p)
		time.Sleep(1 * s)
		p.Invalidate()
		l := (<-a).must(t)
		wantFacts(t, l, Facts{AcquireTime: 2 * s, WaitTime: 1 * s, DialTime: 1 * s})
		l.Release()
	})
}
