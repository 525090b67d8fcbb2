package metrics

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func llm(id, provider, model string, in, cached, out int64) *LLM {
	return &LLM{Header: Header{ID: id, Metadata: Metadata{ModelName: model, ModelProvider: provider}},
		PromptTokens: in, PromptCachedTokens: cached, CompletionTokens: out}
}

func usageJSON(t interface {
	Helper()
	Fatal(...any)
}, u Usage) string {
	t.Helper()
	data, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestUsageGolden(t *testing.T) {
	var c Collector
	for _, e := range fullEvents() {
		c2 := e.Head()
		c2.ID = "" // all have the same
		c.Add(e)
	}
	c.Add(&STT{Header: Header{Metadata: Metadata{"nova-3", "deepgram"}}, AudioDuration: 1250 * time.Millisecond})
	c.Add(&LLM{PromptTokens: 1})
	got, err := json.MarshalIndent(c.Usage(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "usage.golden", append(got, '\n'))

	var back Usage
	if err := json.Unmarshal(got, &back); err != nil || !reflect.DeepEqual(back, c.Usage()) {
		t.Errorf("came back as %+v, %v", back, err)
	}
	if got := usageJSON(t, new(Collector).Usage()); got != `{"model_usage":[]}` {
		t.Errorf("empty usage is %s", got)
	}
}

func TestAddAppliesAnIDOnce(t *testing.T) {
	var c Collector
	if !c.Add(llm("a", "p", "m", 5, 0, 1)) || c.Add(llm("a", "p", "m", 5, 0, 1)) {
		t.Fatal("want the first to count and the second not to")
	}
	for range 2 {
		if !c.Add(llm("", "p", "m", 1, 0, 0)) {
			t.Fatal("events without id cannot be told apart, so both count")
		}
	}
	if u, ok := c.Usage().LLM("p", "m"); !ok || u.InputTokens != 7 || u.OutputTokens != 1 {
		t.Errorf("got %v, %v", u, ok)
	}
}

func TestEventsWithoutUsageChangeNothing(t *testing.T) {
	var c Collector
	for _, e := range []Event{
		&VAD{InferenceCount: 3}, &EOU{EndOfUtteranceDelay: 1}, &Avatar{PlaybackLatency: 1}, &Connection{AcquireTime: 1},
		&STT{Header: Header{ID: "conn"}, Acquired: true, AcquireTime: second, Duration: second},
		&LLM{TotalTokens: 0, Duration: second}, &LLM{PromptTokens: -5}, &Realtime{TTFT: NoOutput},
	} {
		if c.Add(e) {
			t.Errorf("%v changed the usage", e)
		}
	}
	if u := c.Usage(); len(u.Models) != 0 {
		t.Errorf("got lines %v", u.Models)
	}
	if len(c.seen.at) != 0 {
		t.Errorf("kept ids %v", c.seen.at)
	}
}

func TestKeysDoNotCollide(t *testing.T) {
	var c Collector
	c.Add(llm("1", "a:b", "c", 1, 0, 0))
	c.Add(llm("2", "a", "b:c", 2, 0, 0))
	c.Add(&TTS{Header: Header{Metadata: Metadata{"c", "a:b"}}, CharactersCount: 3})
	want := Usage{[]ModelUsage{
		LLMUsage{Provider: "a", Model: "b:c", InputTokens: 2},
		LLMUsage{Provider: "a:b", Model: "c", InputTokens: 1},
		TTSUsage{Provider: "a:b", Model: "c", CharactersCount: 3},
	}}
	if got := c.Usage(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestLookup(t *testing.T) {
	var c Collector
	for _, e := range fullEvents() {
		e.Head().ID = ""
		c.Add(e)
	}
	u := c.Usage()
	if l, ok := u.LLM("openai", "gpt-4.1"); !ok || l.InputTokens != 112 || l.InputAudioTokens != 60 {
		t.Error("LLM", l, ok)
	}
	if l, ok := u.TTS("openai", "gpt-4.1"); !ok || l.CharactersCount != 42 {
		t.Error("TTS", l, ok)
	}
	if l, ok := u.STT("openai", "gpt-4.1"); !ok || l.AudioDuration != 2500*time.Millisecond {
		t.Error("STT", l, ok)
	}
	if l, ok := u.Interruption("openai", "gpt-4.1"); !ok || l.TotalRequests != 3 {
		t.Error("Interruption", l, ok)
	}
	if l, ok := u.EOT("openai", "gpt-4.1"); !ok || l.TotalRequests != 1 {
		t.Error("EOT", l, ok)
	}
	if l, ok := u.LLM("openai", "other"); ok {
		t.Error("found", l)
	}
}

func TestOutcomesAndSourcesAreApart(t *testing.T) {
	var c Collector
	for i, o := range []Outcome{"", Delivered, Interrupted, Discarded, Failed} {
		e := llm(fmt.Sprint(i), "p", "m", 1<<i, 0, 0)
		e.Outcome = o
		if o == Failed {
			e.Source = Estimated
		}
		c.Add(e)
	}
	in := func(u Usage) int64 { l, _ := u.LLM("p", "m"); return l.InputTokens }
	if got := in(c.Usage()); got != 31 {
		t.Errorf("all: %d", got)
	}
	for d, want := range map[Dimension]string{
		ByOutcome: "delivered 3, discarded 8, failed 16, interrupted 4, ",
		BySource:  "estimated 16, provider 15, ",
	} {
		got := ""
		for _, g := range c.UsageBy(d) {
			got += fmt.Sprintf("%s %d, ", g.Key, in(g.Usage))
		}
		if got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
	if n := len(c.Usage().Models); n != 1 {
		t.Errorf("%d lines for one model", n)
	}
}

func TestSnapshotIsACopy(t *testing.T) {
	var c Collector
	c.Add(llm("1", "p", "m", 5, 0, 0))
	before := usageJSON(t, c.Usage())
	u := c.Usage()
	u.Models[0] = LLMUsage{InputTokens: 99}
	if got := usageJSON(t, c.Usage()); got != before {
		t.Errorf("changing a snapshot changed the collector: %s", got)
	}
	u = c.Usage()
	c.Add(llm("2", "p", "m", 5, 0, 0))
	if got := usageJSON(t, u); got != before {
		t.Errorf("the collector changed a snapshot: %s", got)
	}
}

func TestResetForgetsIDsToo(t *testing.T) {
	var c Collector
	c.Add(llm("1", "p", "m", 5, 0, 0))
	c.Reset()
	if n := len(c.Usage().Models); n != 0 {
		t.Errorf("%d lines after Reset", n)
	}
	if !c.Add(llm("1", "p", "m", 5, 0, 0)) {
		t.Error("an id of before Reset is still known")
	}
}

func TestSumsDoNotWrap(t *testing.T) {
	var c Collector
	c.Add(llm("1", "p", "m", math.MaxInt64, 0, 0))
	c.Add(llm("2", "p", "m", 1, 0, 0))
	if l, _ := c.Usage().LLM("p", "m"); l.InputTokens != math.MaxInt64 {
		t.Errorf("got %d", l.InputTokens)
	}
}

// drawEvent makes an event that may be inconsistent, as a bad provider would.
func drawEvent(t *rapid.T, id string) Event {
	n := func(name string) int64 { return rapid.Int64Range(-2, 1000).Draw(t, name) }
	d := func(name string) time.Duration { return time.Duration(n(name)) * time.Millisecond }
	h := Header{
		ID: id,
		Metadata: Metadata{ModelName: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "model"),
			ModelProvider: rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "provider")},
		Outcome: rapid.SampledFrom([]Outcome{"", Delivered, Interrupted, Discarded, Failed}).Draw(t, "outcome"),
		Source:  rapid.SampledFrom([]Source{"", FromProvider, Measured, Estimated}).Draw(t, "source"),
		Tags: Tags{
			AgentID: rapid.SampledFrom([]string{"", "kelly", "bob"}).Draw(t, "agent"),
			Task:    rapid.SampledFrom([]string{"", "email"}).Draw(t, "task"),
			Tool:    rapid.SampledFrom([]string{"", "weather", "sum"}).Draw(t, "tool"),
			TurnID:  rapid.SampledFrom([]string{"", "t1", "t2", "t3"}).Draw(t, "turn"),
		},
	}
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0:
		return &LLM{Header: h, PromptTokens: n("in"), PromptCachedTokens: n("cached"), CompletionTokens: n("out")}
	case 1:
		return &Realtime{Header: h, InputTokens: n("in"), OutputTokens: n("out"), SessionDuration: d("session"),
			InputTokenDetails: InputTokenDetails{AudioTokens: n("audio"), CachedTokens: n("cached")}}
	case 2:
		return &TTS{Header: h, CharactersCount: n("characters"), AudioDuration: d("audio")}
	case 3:
		return &STT{Header: h, InputTokens: n("in"), AudioDuration: d("audio")}
	case 4:
		return &Interruption{Header: h, NumRequests: n("requests")}
	case 5:
		return &EOT{Header: h, NumRequests: n("requests")}
	default:
		return &VAD{Header: h, InferenceCount: n("count")}
	}
}

// totals adds up a usage over all lines.
func totals(u Usage) (s sums) {
	for _, m := range u.Models {
		switch m := m.(type) {
		case LLMUsage:
			s.add(&sums{input: m.InputTokens, cached: m.InputCachedTokens, audio: m.InputAudioTokens,
				output: m.OutputTokens, connectedTime: m.SessionDuration})
		case TTSUsage:
			s.add(&sums{characters: m.CharactersCount, audioTime: m.AudioDuration})
		case STTUsage:
			s.add(&sums{input: m.InputTokens, audioTime: m.AudioDuration})
		case InterruptionUsage:
			s.add(&sums{requests: m.TotalRequests})
		case EOTUsage:
			s.add(&sums{requests: m.TotalRequests})
		}
	}
	return s
}

func TestUsageInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var events []Event
		var want sums
		pos := func(n int64) int64 { return max(n, 0) }
		for i := range rapid.IntRange(0, 30).Draw(t, "n") {
			e := drawEvent(t, fmt.Sprint("e", i))
			events = append(events, e)
			switch e := e.(type) {
			case *LLM:
				want.input += pos(max(e.PromptTokens, e.PromptCachedTokens))
				want.cached += pos(e.PromptCachedTokens)
				want.output += pos(e.CompletionTokens)
			case *Realtime:
				want.input += pos(max(e.InputTokens, e.InputTokenDetails.CachedTokens))
				want.cached += pos(e.InputTokenDetails.CachedTokens)
				want.audio += pos(e.InputTokenDetails.AudioTokens)
				want.output += pos(e.OutputTokens)
				want.connectedTime += max(e.SessionDuration, 0)
			case *TTS:
				want.characters += pos(e.CharactersCount)
				want.audioTime += max(e.AudioDuration, 0)
			case *STT:
				want.input += pos(e.InputTokens)
				want.audioTime += max(e.AudioDuration, 0)
			case *Interruption:
				want.requests += pos(e.NumRequests)
			case *EOT:
				want.requests += pos(e.NumRequests)
			}
		}

		var one, two Collector
		for _, e := range events {
			one.Add(e)
		}
		for _, e := range append(rapid.Permutation(events).Draw(t, "order"), events...) {
			two.Add(e) // each event twice
		}
		u := one.Usage()
		if got := totals(u); got != want {
			t.Fatalf("lines sum to %+v, events to %+v", got, want)
		}
		a, _ := json.Marshal(u)
		b, _ := json.Marshal(two.Usage())
		if string(a) != string(b) {
			t.Fatalf("order of events shows:\n%s\n%s", a, b)
		}
		_, groups := one.Account()
		for _, d := range Dimensions {
			if got := usageJSON(t, sumOf(groups[d])); got != string(a) {
				t.Fatalf("%s add up to %s, want %s", d, got, a)
			}
		}
		for _, m := range u.Models {
			if l, ok := m.(LLMUsage); ok && l.InputCachedTokens > l.InputTokens {
				t.Fatalf("more cached than read: %v", l)
			}
			if z := totals(Usage{[]ModelUsage{m}}); z == (sums{}) {
				t.Fatalf("empty line %v", m)
			}
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	var c Collector
	var wg sync.WaitGroup
	const workers, each = 8, 200
	ctx := WithRecorder(t.Context(), &c)
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				Record(ctx, llm("", "p", fmt.Sprint("m", (w+i)%3), 1, 0, 1))
				c.Add(llm("shared", "p", "once", 1, 0, 0))
				if i%20 == 0 {
					c.Usage()
				}
			}
		})
	}
	wg.Wait()
	if got := totals(c.Usage()).output; got != workers*each {
		t.Errorf("%d events were counted, want %d", got, workers*each)
	}
	if l, _ := c.Usage().LLM("p", "once"); l.InputTokens != 1 {
		t.Errorf("one id was counted %d times", l.InputTokens)
	}
}

// manyModels has events of n models whose ids are all different.
func manyModels(n, total int) []Event {
	events := make([]Event, total)
	for i := range events {
		events[i] = llm(newEventID(), "openai", fmt.Sprintf("model-%02d", i%n), 1200, 1000, 80)
	}
	return events
}

// The benchmarks start a new session after 1024 events, about half an hour of talk.
func BenchmarkCollectorAdd(b *testing.B) {
	events := manyModels(4, 1024)
	var c Collector
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i&1023 == 0 {
			c.Reset()
		}
		c.Add(events[i&1023])
		i++
	}
}

// All goroutines add to one session; each resets it after 1024 of its own events.
func BenchmarkCollectorAddParallel(b *testing.B) {
	var c Collector
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		events := manyModels(4, 1024)
		for i := 0; pb.Next(); i++ {
			if i&1023 == 1023 {
				c.Reset()
			}
			c.Add(events[i&1023])
		}
	})
}

// BenchmarkRecord is the whole path of an event: id, time stamp, tags, sum. Making the event is the
// caller's.
func BenchmarkRecord(b *testing.B) {
	events := make([]LLM, 1024)
	var c Collector
	ctx := WithTags(WithRecorder(context.Background(), &c), Tags{SessionID: "se_1", SpeechID: "sp_1"})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i&1023 == 0 {
			b.StopTimer()
			c.Reset()
			for j := range events {
				events[j] = LLM{Header: Header{Metadata: Metadata{"gpt-4.1", "openai"}}, PromptTokens: 10}
			}
			b.StartTimer()
		}
		Record(ctx, &events[i&1023])
		i++
	}
}

func BenchmarkUsage16Models(b *testing.B) {
	var c Collector
	for _, e := range manyModels(16, 64) {
		c.Add(e)
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(c.Usage().Models) != 16 {
			b.Fatal("want 16 lines")
		}
	}
}

func BenchmarkNewID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewID("sp_")
	}
}
