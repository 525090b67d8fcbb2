package failover

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/model"
)

type named string

func (n named) Info() model.Info { return model.Info{Provider: string(n)} }

func names(of []*Member[named]) string {
	var s []string
	for _, m := range of {
		s = append(s, string(m.Model))
	}
	return strings.Join(s, " ")
}

func TestWhoFailedIsAskedLast(t *testing.T) {
	log := &modeltest.Log{}
	ctx := log.Context(t.Context())
	g := New("llm", 0, nil, []named{"a", "b", "c"})
	a, b, c := g.members[0], g.members[1], g.members[2]
	for _, step := range []struct {
		do            func()
		order, passed string
	}{
		{func() {}, "a b c", ""},
		{func() { a.Failed(ctx); a.Failed(ctx) }, "b c a", "a"},
		{func() { c.Failed(ctx) }, "b a c", "a"},
		{func() { b.Failed(ctx) }, "a b c", ""},
		{func() { c.Works(ctx); c.Works(ctx) }, "c a b", "a b"},
		{func() { a.Works(ctx) }, "a c b", ""},
	} {
		step.do()
		if got := names(g.Order()); got != step.order {
			t.Errorf("order %q, want %q", got, step.order)
		}
		if got := names(g.Passed()); got != step.passed {
			t.Errorf("passed %q, want %q", got, step.passed)
		}
	}
	want := []string{"llm a fails", "llm c fails", "llm b fails", "llm c works", "llm a works"}
	if got := log.Availability(); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestProbesComeOneAtATimeAndSeldomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		var told []bool
		g := New("tts", 0, func(e model.AvailabilityEvent) { told = append(told, e.Available) }, []named{"a"})
		a := g.members[0]
		if _, ok := a.Probe(); ok {
			t.Error("a model that works is probed")
		}
		a.Failed(ctx)
		began, last := time.Now(), time.Duration(0)
		var gaps []time.Duration
		for len(gaps) < 8 {
			wait, down := a.Pause()
			if !down {
				t.Fatal("it works although no probe did")
			}
			if wait > 0 {
				time.Sleep(wait - time.Nanosecond)
				if _, ok := a.Probe(); ok {
					t.Fatal("probed before its time")
				}
				time.Sleep(time.Nanosecond)
			}
			end, ok := a.Probe()
			if !ok {
				t.Fatal("not probed in time")
			}
			if _, ok := a.Probe(); ok {
				t.Error("two probes at a time")
			}
			at := time.Since(began)
			gaps, last = append(gaps, at-last), at
			end(ctx, false)
		}
		const s = time.Second
		if want := []time.Duration{10 * s, 20 * s, 40 * s, 80 * s, 160 * s, 300 * s, 300 * s, 300 * s}; !slices.Equal(gaps, want) {
			t.Errorf("probes after %v, want %v", gaps, want)
		}
		time.Sleep(300 * s)
		end, _ := a.Probe()
		end(ctx, true)
		if _, down := a.Pause(); down {
			t.Error("a probe that worked did not help")
		}
		a.Failed(ctx)
		if wait, _ := a.Pause(); wait != 10*s {
			t.Errorf("the pause after another failure is %v, want 10 s", wait)
		}
		if want := []bool{false, true, false}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

func TestFailureNamesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the time that has passed is in the error
		one := &model.Error{Kind: model.KindStatus, Provider: "a", Status: 503}
		two := &model.Error{Kind: model.KindTimeout, Provider: "b"}
		if err := Failure(model.Info{Provider: "a"}, "chat", time.Now(), []error{one}); err != one {
			t.Errorf("the only error became %v", err)
		}
		err := Failure(model.Info{Provider: "b"}, "chat", time.Now(), []error{one, two})
		if want := "b chat: connection error: all 2 models failed within 0s: a: status error (status 503); b: timeout error"; err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
		if !errors.Is(err, one) || !errors.Is(err, two) || !model.Retryable(err) {
			t.Errorf("%v does not lead to its causes", err)
		}
	})
}
