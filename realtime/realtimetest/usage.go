package realtimetest

import (
	"reflect"
	"time"

	"github.com/parley-go/parley/metrics"
)

// booked is what was booked, apart from what was estimated.
func (k *kit) booked() (known, estimated metrics.Usage) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var sure, unsure metrics.Collector
	for _, e := range k.events {
		if e.Head().Source == metrics.Estimated {
			unsure.Add(e)
		} else {
			sure.Add(e)
		}
	}
	return sure.Usage(), unsure.Usage()
}

// usage closes all sessions and compares what was booked with the ledger: what the provider stated is booked as it
// is, for every model and kind of token, and what it bills besides is booked as an estimate.
func (k *kit) usage() {
	k.Helper()
	served, guessed := k.stated()
	owed, got := total(served.Billed)-total(served.Stated), total(guessed)
	most := owed + total(served.Untold)
	k.check(owed == 0 || got > 0, "%d tokens were billed and not stated, and nothing was estimated", owed)
	k.check(most > 0 || got == 0, "%d tokens were estimated, and all were stated", got)
	k.check(got >= owed-owed/2-20 && (most == 0 || got <= most+most/2+20), "%d to %d tokens were billed and not stated, and %d were estimated", owed, most, got)
}

// stated closes all sessions and compares what was booked as known with what the provider stated.
func (k *kit) stated() (served Served, guessed metrics.Usage) {
	k.Helper()
	k.over()
	var known metrics.Usage
	for range 300 { // the provider may still be at it, and the client must not
		known, guessed = k.booked()
		served = k.p.Served()
		if served.Open == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	timeBooked, timeBilled := connected(known), connected(served.Billed)
	k.check((timeBooked-timeBilled).Abs() <= k.h.Tolerance, "booked %v of connections, the provider bills %v", timeBooked, timeBilled)
	got, want := tokens(known), tokens(served.Stated)
	k.check(reflect.DeepEqual(got, want), "booked %+v\nthe provider stated %+v\nand bills %+v", got, want, tokens(served.Billed))
	for _, e := range eventsOf[*metrics.Realtime](k) {
		i := k.m.Info()
		k.check(e.Label == i.Label && e.Metadata == (metrics.Metadata{ModelName: i.Model, ModelProvider: i.Provider}), "usage is booked on %q %+v", e.Label, e.Metadata)
		k.check(e.Source != metrics.FromProvider || e.TotalTokens == 0 || e.Raw != "", "what the provider wrote about its usage is not there: %+v", e)
		k.check(e.InputTokenDetails.CachedTokens <= e.InputTokens, "cached tokens are not part of the input: %+v", e)
	}
	return served, guessed
}

// connected is the time of connections.
func connected(u metrics.Usage) (d time.Duration) {
	for _, m := range u.Models {
		if l, ok := m.(metrics.LLMUsage); ok {
			d += l.SessionDuration
		}
	}
	return d
}

// tokens is usage without the time of connections.
func tokens(u metrics.Usage) (all []metrics.ModelUsage) {
	for _, m := range u.Models {
		if l, ok := m.(metrics.LLMUsage); ok {
			l.SessionDuration = 0
			if l == (metrics.LLMUsage{Provider: l.Provider, Model: l.Model}) {
				continue
			}
			m = l
		}
		all = append(all, m)
	}
	return all
}

// total is how many tokens realtime models cost.
func total(u metrics.Usage) (n int64) {
	for _, m := range u.Models {
		if l, ok := m.(metrics.LLMUsage); ok {
			n += l.InputTokens + l.OutputTokens
		}
	}
	return n
}
