package report

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/session"
)

func courier(t testing.TB, sinks ...Sink) *Courier {
	t.Helper()
	c, err := Open(slog.New(slog.DiscardHandler), sinks...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// inbox is a sink that keeps what it gets.
type inbox struct {
	mu  sync.Mutex
	ids []string
}

func (in *inbox) take(_ context.Context, r *session.Report) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ids = append(in.ids, ID(r))
	return nil
}

func TestOneSinkHarmsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var in inbox
		stuck := make(chan struct{})
		c := courier(t,
			Func("fails", func(context.Context, *session.Report) error { return errors.New("no route") }),
			Func("panics", func(context.Context, *session.Report) error { panic("oops") }),
			Func("leaves", func(context.Context, *session.Report) error { runtime.Goexit(); return nil }),
			Func("hangs", func(context.Context, *session.Report) error { <-stuck; return nil }),
			Func("heeds", func(ctx context.Context, _ *session.Report) error { <-ctx.Done(); return ctx.Err() }),
			Func("works", in.take))
		var took []string
		began := time.Now()
		err := c.Deliver(t.Context(), &session.Report{SessionID: "s"}, nil, func(s string) {
			took = append(took, s)
			if d := time.Since(began); d != 0 {
				t.Errorf("the sink that works was %v late", d)
			}
		})
		if !slices.Equal(took, []string{"works"}) || !slices.Equal(in.ids, []string{"s"}) {
			t.Errorf("taken by %v, the inbox has %v", took, in.ids)
		}
		if d := time.Since(began); d != deliveryTime+goodbye {
			t.Errorf("the delivery took %v", d)
		}
		var got []string
		var errs Errors
		if !errors.As(err, &errs) {
			t.Fatalf("error %v", err)
		}
		for _, e := range errs {
			got = append(got, e.Sink+": "+e.Err.Error())
		}
		slices.Sort(got)
		want := []string{"fails: no route", "hangs: it takes too long and is left behind", "heeds: context deadline exceeded",
			"leaves: it ended its goroutine", "panics: panic: oops"}
		if !slices.Equal(got, want) {
			t.Errorf("errors %q, want %q", got, want)
		}
		for _, s := range c.Stats() {
			if works := s.Sink == "works"; (s.Delivered == 1) != works || (s.Failed == 1) == works {
				t.Errorf("stats %+v", s)
			}
		}
		close(stuck)
	})
}

func TestSinksThatHaveItAreLeftOut(t *testing.T) {
	var a, b inbox
	c := courier(t, Func("a", a.take), Func("b", b.take))
	if err := c.Deliver(t.Context(), &session.Report{JobID: "J"}, []string{"a"}, nil); err != nil {
		t.Fatal(err)
	}
	if len(a.ids) != 0 || !slices.Equal(b.ids, []string{"J"}) {
		t.Errorf("a got %v, b got %v", a.ids, b.ids)
	}
}

// A sink that is slow, or stuck for good, runs a bounded number of times at once, and the others do not
// wait for it.
func TestDeliveriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var in inbox
		var running, most atomic.Int32
		stuck := make(chan struct{})
		c := courier(t, Func("works", in.take), Func("hangs", func(context.Context, *session.Report) error {
			most.Store(max(most.Load(), running.Add(1)))
			<-stuck
			running.Add(-1)
			return nil
		}))
		var wg sync.WaitGroup
		for i := range 3 * atOnce {
			wg.Go(func() {
				err := c.Deliver(t.Context(), &session.Report{SessionID: fmt.Sprint(i)}, nil, nil)
				if err == nil || !strings.Contains(err.Error(), `"hangs"`) || strings.Contains(err.Error(), "works") {
					t.Error(err)
				}
			})
		}
		began := time.Now()
		wg.Wait()
		if d := time.Since(began); d > 2*deliveryTime {
			t.Errorf("the deliveries took %v", d)
		}
		if most.Load() != atOnce || len(in.ids) != 3*atOnce {
			t.Errorf("%d at once, %d delivered by the one that works", most.Load(), len(in.ids))
		}
		close(stuck)
	})
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	f := func(context.Context, *session.Report) error { return nil }
	for want, sinks := range map[string][]Sink{
		"without a destination":     {{}},
		"without a name":            {Func("", f)},
		`two report sinks`:          {Func("a", f), Func("b", f), Func("a", f)},
		`"a": no function`:          {Func("a", nil)},
		`"file ": no path`:          {File("")},
		"it is a folder":            {File(t.TempDir())},
		"no such file or directory": {File(t.TempDir() + "/none/report.json")},
	} {
		err := Check(sinks...)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want one line with %q", err, want)
		}
		if _, oerr := Open(nil, sinks...); oerr == nil || oerr.Error() != err.Error() {
			t.Errorf("Open: %v, want %v", oerr, err)
		}
	}
	if err := Check(Func("a", f), Func("a", f).Named("b")); err != nil {
		t.Error(err)
	}
}
