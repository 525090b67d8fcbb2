package turn_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/turn/driver"
	"github.com/parley-go/parley/turn/scripted"
)

// heard is a conversation that ends with what the user says.
func heard(agent, user string) *chat.Context {
	c := &chat.Context{}
	if agent != "" {
		c.Add(chat.NewMessage(chat.Assistant, agent))
	}
	c.Add(chat.NewMessage(chat.User, user))
	return c
}

func eots(l *modeltest.Log) []*metrics.EOT { return modeltest.Events[*metrics.EOT](l) }

func TestC027ProbabilityIsComparedWithTheThreshold(t *testing.T) {
	for p, over := range map[float64]bool{0: false, 0.49: false, 0.5: true, 1: true} {
		m := turn.New(scripted.NewText(&scripted.Options{Steps: []scripted.Step{{Probability: p}}}), nil)
		got, err := m.Predict(t.Context(), heard("", "hello"), "en")
		if err != nil || got.Probability != p || got.Threshold != 0.5 || got.Over() != over || got.Info != m.Info() {
			t.Errorf("probability %v: got %+v, over %v, %v", p, got, got.Over(), err)
		}
	}
}

func TestThresholds(t *testing.T) {
	m := turn.New(scripted.NewText(&scripted.Options{Threshold: 0.3}), &turn.Options{
		Thresholds: map[string]float64{"en-GB": 0.6, "DE": 0.7},
	})
	for language, want := range map[string]float64{
		"en": 0.3, "en-GB": 0.6, "en_gb": 0.6, "EN-gb ": 0.6, "en-US": 0.3, "de": 0.7, "de-AT": 0.7, "": 0.3,
	} {
		if got := m.Threshold(language); got != want {
			t.Errorf("%q: %v, want %v", language, got, want)
		}
	}
	all := turn.New(scripted.NewText(nil), &turn.Options{Threshold: 0.9, Thresholds: map[string]float64{"fr": 0.1}})
	if all.Threshold("en") != 0.9 || all.Threshold("fr-CA") != 0.1 {
		t.Errorf("thresholds are %v and %v", all.Threshold("en"), all.Threshold("fr-CA"))
	}
}

func TestEveryPredictionIsAccountedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		info := model.Info{Label: "x.Turn", Provider: "x", Model: "eot-1"}
		var log modeltest.Log
		ctx := metrics.WithTags(log.Context(t.Context()), metrics.Tags{TurnID: "turn_1"})
		m := turn.New(scripted.NewText(&scripted.Options{Info: info, Steps: []scripted.Step{
			{Probability: 0.2, Delay: 40 * time.Millisecond},
			{Probability: 0.2, Requests: 3},
		}}), nil)
		for range 2 {
			if _, err := m.Predict(ctx, heard("", "so"), "en"); err != nil {
				t.Fatal(err)
			}
		}
		got := eots(&log)
		if len(got) != 2 {
			t.Fatalf("%d events", len(got))
		}
		e := got[0]
		if e.NumRequests != 1 || e.PredictionDuration != 40*time.Millisecond || e.Outcome != metrics.Delivered ||
			e.Metadata != (metrics.Metadata{ModelName: "eot-1", ModelProvider: "x"}) || e.Label != "x.Turn" || e.Tags.TurnID != "turn_1" {
			t.Errorf("event is %+v", e)
		}
		if got[1].NumRequests != 3 {
			t.Errorf("%d requests, the driver said 3", got[1].NumRequests)
		}
	})
}

func TestFailuresAreReportedAndCounted(t *testing.T) {
	lost := &model.Error{Kind: model.KindConnection, Provider: "scripted"}
	for name, c := range map[string]struct {
		step scripted.Step
		is   func(error) bool
	}{
		"error": {scripted.Step{Err: lost}, func(err error) bool { return errors.Is(err, lost) }},
		"panic": {scripted.Step{Panic: true}, func(err error) bool {
			var e *model.Error
			return errors.As(err, &e) && e.Permanent
		}},
		"timeout": {scripted.Step{Delay: time.Hour}, func(err error) bool {
			var e *model.Error
			return errors.Is(err, turn.ErrTimeout) && errors.As(err, &e) && e.Kind == model.KindTimeout
		}},
		"not a number": {scripted.Step{Probability: math.NaN()}, isProtocol},
		"too much":     {scripted.Step{Probability: 1.01}, isProtocol},
		"negative":     {scripted.Step{Probability: -0.01}, isProtocol},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log modeltest.Log
			m := turn.New(scripted.NewText(&scripted.Options{Steps: []scripted.Step{c.step}}), nil)
			began := time.Now()
			p, err := m.Predict(log.Context(t.Context()), heard("", "so"), "en")
			if !c.is(err) || p != (turn.Prediction{}) {
				t.Errorf("%s: got %+v, %v", name, p, err)
			}
			if name == "timeout" && time.Since(began) != time.Second {
				t.Errorf("the default timeout took %v", time.Since(began))
			}
			e := log.Errors()
			if len(e) != 1 || e[0].Kind != "turn" || !e[0].Recoverable || e[0].Err != err || e[0].Info != m.Info() {
				t.Errorf("%s: reported %+v", name, e)
			}
			got := eots(&log)
			if len(got) != 1 || got[0].Outcome != metrics.Failed || got[0].NumRequests != 0 {
				t.Errorf("%s: accounted %+v", name, got)
			}
		})
	}
}

func isProtocol(err error) bool {
	var e *model.Error
	return errors.As(err, &e) && e.Kind == model.KindProtocol
}

func TestACallerWhoGivesUpIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log modeltest.Log
		m := turn.New(scripted.NewText(&scripted.Options{Steps: []scripted.Step{{Delay: time.Hour}}}), nil)
		ctx, cancel := context.WithTimeout(log.Context(t.Context()), 300*time.Millisecond)
		defer cancel()
		_, err := m.Predict(ctx, heard("", "so"), "en")
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, turn.ErrTimeout) {
			t.Errorf("the error is %v", err)
		}
		if _, err := m.Predict(ctx, heard("", "so"), "en"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a dead context the error is %v", err)
		}
		if got := eots(&log); len(got) != 1 || got[0].Outcome != metrics.Discarded || len(log.Errors()) != 0 {
			t.Errorf("accounted %+v, reported %v", got, log.Errors())
		}
	})
}

func TestUnknownLanguagesAreRefused(t *testing.T) {
	d := scripted.NewText(&scripted.Options{Languages: []string{"en"}})
	m := turn.New(d, nil)
	_, err := m.Predict(t.Context(), heard("", "ja"), "de")
	if !errors.Is(err, turn.ErrLanguage) || d.Ledger().Predictions != 0 {
		t.Errorf("got %v after %d predictions", err, d.Ledger().Predictions)
	}
}

// kindless is a detector of no kind, and its languages panic.
type kindless struct{}

func (kindless) Info() model.Info             { return model.Info{Label: "k", Provider: "k"} }
func (kindless) SupportsLanguage(string) bool { panic("no") }
func (kindless) Threshold(string) float64     { panic("no") }

type panicking struct{ kindless }

func (panicking) Predict(context.Context, *chat.Context, string) (driver.Prediction, error) {
	return driver.Prediction{}, nil
}

func TestWrongKinds(t *testing.T) {
	text, sound := turn.New(scripted.NewText(nil), nil), turn.New(scripted.NewAudio(nil), nil)
	for name, m := range map[string]*turn.Model{
		"nil": turn.New(nil, nil), "kindless": turn.New(kindless{}, nil), "audio": sound,
		"mixed fallback": turn.Fallback(text, sound), "no fallback": turn.Fallback(text, nil),
		"fallback of nothing": turn.Fallback(turn.New(nil, nil), text),
	} {
		if _, err := m.Predict(t.Context(), heard("", "hi"), ""); !errors.Is(err, turn.ErrKind) {
			t.Errorf("%s: Predict says %v", name, err)
		}
	}
	for name, m := range map[string]*turn.Model{"nil": turn.New(nil, nil), "text": text, "mixed fallback": turn.Fallback(sound, text)} {
		if _, err := m.NewStream(t.Context()); !errors.Is(err, turn.ErrKind) {
			t.Errorf("%s: NewStream says %v", name, err)
		}
	}
	if turn.New(nil, nil).Kind() != "" || turn.New(nil, nil).SupportsLanguage("en") || text.Kind() != turn.Text || sound.Kind() != turn.Audio {
		t.Error("wrong kinds or languages")
	}
	m := turn.New(panicking{}, nil)
	if m.SupportsLanguage("en") || m.Threshold("en") != 1 {
		t.Error("a detector that panics supports a language")
	}
}

func TestC028TheVADMustLeaveTimeForADetectorByAudio(t *testing.T) {
	text, sound := turn.New(scripted.NewText(nil), nil), turn.New(scripted.NewAudio(nil), nil)
	for _, c := range []struct {
		m       *turn.Model
		silence time.Duration
		ok      bool
	}{
		{sound, 200 * time.Millisecond, false}, {sound, 249 * time.Millisecond, false},
		{sound, 250 * time.Millisecond, true}, {sound, 550 * time.Millisecond, true},
		{sound, 0, true}, {text, 100 * time.Millisecond, true},
	} {
		if err := c.m.CheckVAD(c.silence); (err == nil) != c.ok || err != nil && !errors.Is(err, turn.ErrVADSilence) {
			t.Errorf("%s with %v: %v", c.m.Kind(), c.silence, err)
		}
	}
}

func TestFallbackByTextAnswersAtOnceAndRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := scripted.NewText(&scripted.Options{
			Info: model.Info{Label: "far", Provider: "far"}, Threshold: 0.4,
			Steps: []scripted.Step{{Delay: time.Hour}, {Probability: 0.9}},
		})
		near := scripted.NewText(&scripted.Options{Steps: []scripted.Step{{Probability: 0.1}}, Threshold: 0.2})
		m := turn.Fallback(turn.New(far, &turn.Options{Threshold: 0.6}), turn.New(near, nil))
		var log modeltest.Log
		ctx := log.Context(t.Context())
		for i := range 2 {
			p, err := m.Predict(ctx, heard("", "so"), "en")
			if err != nil || p.Probability != 0.1 || p.Info.Label != "scripted.Turn" {
				t.Fatalf("prediction %d: %+v, %v", i, p, err)
			}
			if math.Abs(p.Threshold-0.3) > 1e-9 {
				t.Errorf("threshold is %v, want 0.6 x 0.2 / 0.4", p.Threshold)
			}
		}
		if far.Ledger().Predictions != 1 || len(log.Errors()) != 1 {
			t.Errorf("far was asked %d times, %d errors", far.Ledger().Predictions, len(log.Errors()))
		}
		time.Sleep(time.Minute)
		p, err := m.Predict(ctx, heard("", "so"), "en")
		if err != nil || p.Probability != 0.9 || p.Threshold != 0.6 {
			t.Errorf("after a minute: %+v, %v", p, err)
		}
		if got := eots(&log); len(got) != 4 {
			t.Errorf("%d events, want one for each model that was asked", len(got))
		}
	})
}

func TestFallbackKeepsTheThresholdSetForLocal(t *testing.T) {
	failing := &scripted.Options{Steps: []scripted.Step{{Err: errors.New("boom")}}}
	m := turn.Fallback(
		turn.Fallback(turn.New(scripted.NewText(failing), &turn.Options{Threshold: 0.9}), turn.New(scripted.NewText(failing), nil)),
		turn.New(scripted.NewText(nil), &turn.Options{Threshold: 0.45}))
	p, err := m.Predict(t.Context(), heard("", "so"), "en")
	if err != nil || p.Threshold != 0.45 {
		t.Errorf("the third in line says %+v, %v", p, err)
	}
}

func TestFallbackDoesNotAnswerForACallerWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near := scripted.NewText(nil)
		m := turn.Fallback(turn.New(scripted.NewText(&scripted.Options{Steps: []scripted.Step{{Delay: time.Hour}}}), nil), turn.New(near, nil))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := m.Predict(ctx, heard("", "so"), "en"); !errors.Is(err, context.DeadlineExceeded) || near.Ledger().Predictions != 0 {
			t.Errorf("got %v, local was asked %d times", err, near.Ledger().Predictions)
		}
	})
}
