package realtime_test

import (
	"testing"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime/driver"
	"github.com/parley-go/parley/realtime/scripted"
)

const tale = "Once upon a time there was a king who had three daughters and a very old horse."

// What an answer costs whose usage is not stated is estimated by what the provider stated for others.
func TestWhatIsNotStatedIsEstimated(t *testing.T) {
	for name, test := range map[string]struct {
		o    scripted.Options
		end  func(k *talk)
		want metrics.Outcome
	}{
		"the connection breaks": {scripted.Options{}, func(k *talk) { k.script.Break(down) }, metrics.Failed},
		"the provider does not end it": {
			scripted.Options{Replies: []scripted.Reply{{Text: tale}, {Text: tale}, {Text: tale, Open: true}}, NoCancel: true},
			func(k *talk) { _ = k.s.Close() }, metrics.Interrupted,
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := test.o
			o.Speed = 1
			if o.Replies == nil {
				o.Replies = []scripted.Reply{{Text: tale}, {Text: tale}, {Text: tale}}
			}
			run(t, &o, nil, func(k *talk) {
				for i := range 2 {
					k.speak()
					k.collect(k.gens[i])
				}
				k.speak()
				time.Sleep(2 * time.Second)
				test.end(k)
				time.Sleep(2 * time.Second)
				var guess []*metrics.Realtime
				for _, e := range modeltest.Events[*metrics.Realtime](&k.log) {
					if e.Source == metrics.Estimated {
						guess = append(guess, e)
					}
				}
				if len(guess) != 1 {
					t.Fatalf("%d events are estimated", len(guess))
				}
				e, bill := guess[0], k.script.Ledger().Responses[2].Usage
				if e.Outcome != test.want || !about(e.InputTokens, bill.InputTokens) || !about(e.OutputTokenDetails.AudioTokens, bill.Output.AudioTokens) ||
					!about(e.OutputTokenDetails.TextTokens, bill.Output.TextTokens) || e.TotalTokens != e.InputTokens+e.OutputTokens || bill.Output.AudioTokens < 10 {
					t.Errorf("estimated %+v\nbilled %+v", e, bill)
				}
			})
		})
	}
}

// about allows a quarter, and four.
func about(got, want int64) bool { return max(got-want, want-got) <= want/4+4 }

// Who bills no tokens, and of what nothing came, is not estimated.
func TestNothingIsEstimatedThatCostsNothing(t *testing.T) {
	byTime := scripted.All
	byTime.BilledByTime, byTime.BilledByTokens = true, false
	for name, o := range map[string]scripted.Options{
		"billed by time": {Capabilities: &byTime, NoUsage: true},
		"nothing came":   {Faults: []scripted.Fault{{When: scripted.AtResponse, Kind: scripted.Broken}}, NoUsage: true},
		"all was stated": {},
		"stated before":  {Replies: []scripted.Reply{{Text: tale, Early: &driver.Usage{InputTokens: 7, TotalTokens: 7}, Open: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			o.Speed = 1
			run(t, &o, nil, func(k *talk) {
				k.speak()
				time.Sleep(time.Second)
				_ = k.s.Close()
				for _, e := range modeltest.Events[*metrics.Realtime](&k.log) {
					if e.Source == metrics.Estimated && (name != "nothing came" || e.Outcome == metrics.Failed) {
						t.Errorf("estimated: %+v", e)
					}
				}
			})
		})
	}
}
