package metrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func sumOf(groups []Group) Usage {
	var all []Usage
	for _, g := range groups {
		all = append(all, g.Usage)
	}
	return Sum(all...)
}

// tagged is an event of in tokens on somebody's behalf.
func tagged(in int64, t Tags) *LLM {
	return &LLM{Header: Header{Metadata: Metadata{"m", "p"}, Tags: t}, PromptTokens: in}
}

// show has the input tokens of each group.
func show(groups []Group) string {
	var b strings.Builder
	for _, g := range groups {
		name := g.Key
		if g.Other {
			name = "(others)"
		}
		l, _ := g.Usage.LLM("p", "m")
		fmt.Fprintf(&b, "%s=%d ", name, l.InputTokens)
	}
	return strings.TrimSpace(b.String())
}

func TestUsageBy(t *testing.T) {
	var c Collector
	for i, tags := range []Tags{
		{AgentID: "kelly", TurnID: "z"}, {AgentID: "kelly", TurnID: "z", Tool: "sum"}, {AgentID: "bob", TurnID: "a"},
		{AgentID: "bob", Task: "email"}, {},
	} {
		c.Add(tagged(1<<i, tags))
	}
	for d, want := range map[Dimension]string{
		ByAgent:   "=16 bob=12 kelly=3",
		ByTask:    "=23 email=8",
		ByTool:    "=29 sum=2",
		ByTurn:    "=24 z=3 a=4", // in the order in which they came
		ByOutcome: "delivered=31",
		BySource:  "provider=31",
	} {
		if got := show(c.UsageBy(d)); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
	if g := c.UsageBy("rooms"); g != nil {
		t.Errorf("an unknown dimension has groups %v", g)
	}
	if g := new(Collector).UsageBy(ByAgent); len(g) != 0 {
		t.Errorf("no usage has groups %v", g)
	}
}

func TestGroupsAreBoundedAndLoseNothing(t *testing.T) {
	var c Collector
	const n = 1000
	want := int64(0)
	for i := range n {
		e := tagged(1, Tags{AgentID: fmt.Sprint("agent ", i), TurnID: fmt.Sprint("turn ", i)})
		if i%2 == 1 {
			e.Outcome = Discarded
		}
		want++
		c.Add(e)
	}
	c.Add(tagged(5, Tags{AgentID: "agent 0", TurnID: "turn 0"})) // whoever has a group keeps it
	c.Add(tagged(7, Tags{}))                                     // of nobody: as new as the others
	want += 12
	usage, by := c.Account()
	for _, d := range Dimensions {
		if got := show([]Group{{Usage: sumOf(by[d])}}); got != fmt.Sprintf("=%d", want) {
			t.Errorf("%s add up to %s, want %d", d, got, want)
		}
	}
	if l, _ := usage.LLM("p", "m"); l.InputTokens != want {
		t.Errorf("usage %v, want %d", usage, want)
	}
	if got, want := show(by[ByOutcome]), "delivered=512 discarded=500"; got != want {
		t.Errorf("outcomes %s, want %s", got, want)
	}
	agents, turns := by[ByAgent], by[ByTurn]
	if len(agents) != maxParts+1 || len(turns) != maxTurns+2 {
		t.Errorf("%d agents and %d turns are told apart", len(agents), len(turns))
	}
	for _, groups := range [][]Group{agents, turns} {
		if last := groups[len(groups)-1]; !last.Other || last.Key != "" {
			t.Errorf("the last group is %+v, not that of all others", last)
		}
		for _, g := range groups[:len(groups)-1] {
			if l, _ := g.Usage.LLM("p", "m"); strings.HasSuffix(g.Key, " 0") && l.InputTokens != 6 {
				t.Errorf("the first group has %v", g)
			}
		}
	}
	if parts := len(c.buckets[0].parts); parts > maxParts+2 {
		t.Errorf("%d parts", parts)
	}
}

func TestSum(t *testing.T) {
	var c, d, whole Collector
	i := 0
	for _, e := range fullEvents() {
		e.Head().ID = ""
		if i++; i%2 == 0 {
			c.Add(e)
		} else {
			d.Add(e)
		}
		whole.Add(e)
	}
	if got, want := usageJSON(t, Sum(c.Usage(), d.Usage())), usageJSON(t, whole.Usage()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestGroupJSON(t *testing.T) {
	for want, g := range map[string]Group{
		`{"key":"kelly","usage":[{"type":"llm_usage","provider":"p","model":"m","input_tokens":5}],"cost":{"lines":[],"totals":[],"unpriced_lines":0}}`: {
			Key: "kelly", Usage: Usage{[]ModelUsage{LLMUsage{Provider: "p", Model: "m", InputTokens: 5}}}, Cost: &Cost{Totals: []Money{}}},
		`{"key":"","other":true,"usage":[]}`: {Other: true, Usage: Usage{[]ModelUsage{}}},
	} {
		got, err := json.Marshal(g)
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
		var back Group
		if err := json.Unmarshal(got, &back); err != nil || !reflect.DeepEqual(back, g) {
			t.Errorf("came back as %+v, %v", back, err)
		}
	}
	if err := new(Group).UnmarshalJSON([]byte(`{"usage":[{"type":"sms_usage"}]}`)); !errors.Is(err, ErrUnknownType) {
		t.Errorf("unknown line: %v", err)
	}
}

func TestLiveTags(t *testing.T) {
	var k kept
	var live LiveTags
	ctx := WithLiveTags(WithTags(WithRecorder(t.Context(), &k), Tags{SessionID: "se_1"}), &live)
	inner := WithTags(ctx, Tags{AgentID: "own"})
	Record(ctx, &VAD{})
	live.Set(Tags{AgentID: "kelly", TurnID: "t1", SessionID: "other"})
	Record(ctx, &VAD{})
	live.Set(Tags{AgentID: "bob"})
	Record(ctx, &VAD{Header: Header{Tags: Tags{Tool: "sum"}}})
	Record(inner, &VAD{})
	Record(WithoutTags(inner), &VAD{})
	want := []Tags{{SessionID: "se_1"}, {SessionID: "se_1", AgentID: "kelly", TurnID: "t1"},
		{SessionID: "se_1", AgentID: "bob", Tool: "sum"}, {SessionID: "se_1", AgentID: "own"}, {}}
	if len(k.events) != len(want) {
		t.Fatalf("%d events", len(k.events))
	}
	for i, e := range k.events {
		if got := e.Head().Tags; got != want[i] {
			t.Errorf("event %d: %+v, want %+v", i, got, want[i])
		}
	}
	if got := TagsFrom(ctx); got.AgentID != "bob" || got.SessionID != "se_1" {
		t.Errorf("tags of the context: %+v", got)
	}
}

// BenchmarkCollectorAddApart adds what a session of many agents, tools and turns has.
func BenchmarkCollectorAddApart(b *testing.B) {
	events := manyModels(4, 1024)
	agents, turn := []string{"kelly", "bob", "ann", "joe"}, ""
	for i, e := range events {
		if i%8 == 0 {
			turn = NewID("turn_")
		}
		e.Head().Tags = Tags{AgentID: agents[i/100%4], Tool: []string{"", "", "sum"}[i%3], TurnID: turn}
		if i%5 == 0 {
			e.Head().Outcome = Interrupted
		}
	}
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
