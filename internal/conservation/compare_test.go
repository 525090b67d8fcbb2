package conservation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/metrics"
)

// rounding is how far durations may differ: providers state them in milliseconds, or in decimals of a second.
const rounding = time.Millisecond

// Estimates may be a quarter off what is billed, and ten tokens a request, since these may be about a word; see
// docs/usage.md.
const (
	bound = 0.25
	slack = 10
)

// line is the usage of a model.
type line struct {
	in, cached, created, out, characters int64
	audio                                time.Duration
	spoken                               spoken
}

// keyOf names a line. A service of OpenAI's protocol at an address of its own has that for a name.
func keyOf(m metrics.ModelUsage) metrics.Key {
	k := m.Key()
	if strings.HasPrefix(k.Provider, "127.") {
		k.Provider = "openai"
	}
	return k
}

func (l line) tokens() int64 { return l.in + l.out }

// within reports whether l is from one line to another.
func (l line) within(from, to line) bool {
	return l.measured(from, to) && in(l.in, from.in, to.in) && in(l.cached, from.cached, to.cached) &&
		in(l.created, from.created, to.created) && in(l.out, from.out, to.out) && l.spoken.within(from.spoken, to.spoken)
}

// measured is within for what can be counted here.
func (l line) measured(from, to line) bool {
	return in(l.characters, from.characters, to.characters) && in(int64(l.audio), int64(from.audio-rounding), int64(to.audio+rounding)) &&
		l.spoken.measured(from.spoken, to.spoken)
}

func in(n, from, to int64) bool { return from <= n && n <= to }

func (l line) String() string {
	var parts []string
	for _, p := range []struct {
		name string
		n    int64
	}{{"in", l.in}, {"cached", l.cached}, {"written to cache", l.created}, {"out", l.out}, {"characters", l.characters}} {
		if p.n != 0 {
			parts = append(parts, fmt.Sprintf("%s %d", p.name, p.n))
		}
	}
	if l.audio != 0 {
		parts = append(parts, "audio "+l.audio.String())
	}
	if l.spoken != (spoken{}) {
		parts = append(parts, fmt.Sprintf("%+v", l.spoken))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

type account map[metrics.Key]line

func (a account) add(u metrics.Usage) {
	for _, m := range u.Models {
		k := keyOf(m)
		l := a[k]
		switch m := m.(type) {
		case metrics.LLMUsage:
			l.in, l.cached, l.created, l.out = l.in+m.InputTokens, l.cached+m.InputCachedTokens, l.created+m.InputCacheCreationTokens, l.out+m.OutputTokens
			l.spoken.add(m)
		case metrics.STTUsage:
			l.in, l.out, l.audio = l.in+m.InputTokens, l.out+m.OutputTokens, l.audio+m.AudioDuration
		case metrics.TTSUsage:
			l.in, l.out, l.characters = l.in+m.InputTokens, l.out+m.OutputTokens, l.characters+m.CharactersCount
		}
		a[k] = l
	}
}

// compare checks that the sessions have booked what the providers bill.
func (w *world) compare(all []*talk) {
	booked, sure, billed, most := account{}, account{}, account{}, account{}
	guessed := map[metrics.Key]float64{} // how far estimates may be off besides
	for _, b := range w.boxes {
		billed.add(b.sure())
		most.add(b.Ledger.Billed())
		most.add(b.Unanswered.Billed())
	}
	booked.add(w.spent.Usage())
	sure.add(w.spent.Usage())
	for _, x := range all {
		booked.add(x.s.Usage())
		for _, g := range x.s.UsageBy(metrics.BySource) {
			if g.Key != string(metrics.Estimated) {
				sure.add(g.Usage)
				continue
			}
			for _, m := range g.Usage.Models {
				guessed[keyOf(m)] += 0
			}
		}
		for _, k := range x.guesses() {
			guessed[k] += slackOf(k, billed)
		}
	}
	keys := maps.Clone(booked)
	maps.Copy(keys, most)
	for k := range keys {
		got, s, from, to := booked[k], sure[k], billed[k], most[k]
		same := got.within(from, to)
		if more, ok := guessed[k]; ok {
			low, high := boundsOf(k, billed)
			e := float64(got.tokens() - s.tokens())
			same = got.measured(from, to) && s.within(line{audio: s.audio}, to) &&
				e >= low*float64(from.tokens()-s.tokens())-more && e <= high*float64(to.tokens()-s.tokens())+more
		}
		if !same {
			w.t.Errorf("%v: booked %v, the provider bills %v and up to %v; sure of %v", k, got, from, to, s)
		}
	}
	for _, x := range all {
		x.replays()
	}
}

// guesses are the requests that were estimated.
func (x *talk) guesses() (list []metrics.Key) {
	for r, err := range x.ledger.Read() {
		if err != nil || r.Event == nil || r.Event.Head().Source != metrics.Estimated {
			continue
		}
		if u, ok := metrics.UsageOf(r.Event); ok {
			list = append(list, keyOf(u))
		}
	}
	return list
}

// replays checks that the report, the parts and the ledger say what the session says.
func (x *talk) replays() {
	t, want := x.w.t, x.s.Usage()
	rep, err := x.s.Report()
	if err != nil {
		t.Errorf("%s: report: %v", x.name, err)
		return
	}
	if !slices.Equal(rep.Usage.Models, want.Models) {
		t.Errorf("%s: the report says %v, the session %v", x.name, rep.Usage, want)
	}
	var c metrics.Collector
	for r, err := range x.ledger.Read() {
		if err != nil {
			t.Errorf("%s: ledger: %v", x.name, err)
		} else if r.Event != nil {
			c.Add(r.Event)
		}
	}
	if got := c.Usage(); !slices.Equal(got.Models, want.Models) {
		t.Errorf("%s: the ledger says %v, the session %v", x.name, got, want)
	}
}
