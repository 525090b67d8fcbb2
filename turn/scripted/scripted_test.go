package scripted_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/turn/driver"
	"github.com/parley-go/parley/turn/scripted"
	"github.com/parley-go/parley/turn/turntest"
)

func TestConformance(t *testing.T) {
	fast := &scripted.Options{Steps: []scripted.Step{{Probability: 0.7, Delay: time.Millisecond}}, Languages: []string{"en"}}
	slow := &scripted.Options{Steps: []scripted.Step{{Probability: 0.7, Delay: time.Minute}}, Languages: []string{"en"}}
	kinds := map[string]func(o *scripted.Options) driver.Detector{
		"text":  func(o *scripted.Options) driver.Detector { return scripted.NewText(o) },
		"audio": func(o *scripted.Options) driver.Detector { return scripted.NewAudio(o) },
	}
	for kind, make := range kinds {
		h := turntest.Harness{
			New:      func(testing.TB) driver.Detector { return make(fast) },
			Slow:     func(testing.TB) driver.Detector { return make(slow) },
			Language: "en", Unsupported: "de", Local: true,
		}
		for _, c := range turntest.Cases() {
			t.Run(kind+" "+c.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { c.Run(t, h) })
			})
		}
	}
}

func TestStepsComeInOrderAndTheLastRepeats(t *testing.T) {
	boom := errors.New("boom")
	d := scripted.NewText(&scripted.Options{
		Steps: []scripted.Step{{Probability: 0.1, Requests: 2}, {Err: boom}, {Probability: 0.9}},
		Texts: map[string]float64{"known": 0.4},
	})
	say := func(text string) (float64, error) {
		c := &chat.Context{}
		c.Add(chat.NewMessage(chat.User, text))
		p, err := d.Predict(t.Context(), c, "")
		return p.Probability, err
	}
	for i, want := range []struct {
		text string
		p    float64
		err  error
	}{{"a", 0.1, nil}, {"known", 0.4, nil}, {"b", 0, boom}, {"c", 0.9, nil}, {"d", 0.9, nil}} {
		if p, err := say(want.text); p != want.p || err != want.err {
			t.Errorf("prediction %d is %v, %v, want %v, %v", i, p, err, want.p, want.err)
		}
	}
	if l := d.Ledger(); l.Predictions != 5 || len(l.Texts) != 5 || l.Texts[1] != "known" || l.MaxRunning != 1 {
		t.Errorf("ledger is %+v", l)
	}
}

func TestLedgerOfStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted.NewAudio(&scripted.Options{Steps: []scripted.Step{{Delay: time.Hour}}})
		s, err := d.NewStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Predict(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
		s.Flush()
		if l := d.Ledger(); l.Open != 1 || l.Dropped != 1 || l.Flushes != 1 || l.Running != 0 {
			t.Errorf("ledger is %+v", l)
		}
		if err := s.Close(); err != nil || d.Ledger().Open != 0 {
			t.Errorf("Close: %v, ledger %+v", err, d.Ledger())
		}
	})
}
