package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt"
	sttscripted "github.com/parley-go/parley/stt/scripted"
)

// Each recogniser of a call is paid for what it was sent, however it came to its end.
func TestHandedOverRecognisersAreBookedOnce(t *testing.T) {
	for when, every := range map[string]time.Duration{"often": 300 * time.Millisecond, "at the end": time.Hour, "never": 0} {
		for name, change := range map[string]func(c *call, next *stt.Model){
			"handoff": func(c *call, next *stt.Model) { _ = c.s.UpdateAgent(&agent.Agent{ID: "b", STT: opt.Some(next)}) },
			"update": func(c *call, next *stt.Model) {
				_ = c.s.UpdateAgentOptions(agent.Options{STT: opt.Some(next)})
			},
			"switched off": func(c *call, _ *stt.Model) { _ = c.s.UpdateAgent(&agent.Agent{ID: "b", STT: optOffSTT()}) },
			"cleared":      func(c *call, _ *stt.Model) { c.s.ClearUserTurn() },
			"closed at once": func(c *call, next *stt.Model) {
				_ = c.s.UpdateAgent(&agent.Agent{ID: "b", STT: opt.Some(next)})
				_ = c.s.Close(context.Background())
			},
		} {
			t.Run(name+", stated "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ear := func(name string) (*sttscripted.STT, *stt.Model) {
						d := sttscripted.New(&sttscripted.Options{UsageEvery: every, Info: model.Info{Label: name + ".STT", Provider: name, Model: name}})
						return d, stt.New(d, nil)
					}
					a, first := ear("a")
					b, second := ear("b")
					c := newCall(t)
					c.opt.STT = first
					c.start(nil)
					c.says(0.5, 2.5, "")
					c.until(1.23)
					change(c, second)
					c.until(4.56)
					rep := c.close()
					for _, d := range []*sttscripted.STT{a, b} {
						p := d.Info().Provider
						u, _ := rep.Usage.STT(p, p)
						if want := d.Ledger().Audio; u.AudioDuration != want || p == "a" && want == 0 {
							t.Errorf("%s was sent %v, and the report has %v", p, want, u.AudioDuration)
						}
					}
					if n := len(c.spent); n > 0 {
						time.Sleep(time.Minute)
						if len(c.spent) != n {
							t.Errorf("booked after the end: %v", c.spent[n:])
						}
					}
				})
			})
		}
	}
}
