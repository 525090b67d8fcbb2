package metrics

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Dimension is something that usage is told apart by. Its name is that of its list in the usage_by of a
// report.
type Dimension string

// The dimensions. The groups of each add up to the whole usage.
const (
	ByAgent   Dimension = "agents"   // Tags.AgentID
	ByTask    Dimension = "tasks"    // Tags.Task
	ByTool    Dimension = "tools"    // Tags.Tool
	ByTurn    Dimension = "turns"    // Tags.TurnID
	ByOutcome Dimension = "outcomes" // Header.Outcome
	BySource  Dimension = "sources"  // Header.Source
)

// Dimensions are all dimensions.
var Dimensions = []Dimension{ByAgent, ByTask, ByTool, ByTurn, ByOutcome, BySource}

// Group is the usage of one agent, task, tool, turn, outcome or source. In JSON it has "key", "other" if it is
// true, "usage" as a list of lines, and "cost" if there is one.
type Group struct {
	Key   string // empty: for none, as that of a tool for what no tool has used
	Other bool   // all those for which there was no room; see Collector
	Usage Usage
	Cost  *Cost // nil unless whoever made the group had price books
}

type groupJSON struct {
	Key   string       `json:"key"`
	Other bool         `json:"other,omitempty"`
	Usage []ModelUsage `json:"usage"`
	Cost  *Cost        `json:"cost,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (g Group) MarshalJSON() ([]byte, error) {
	return json.Marshal(groupJSON{g.Key, g.Other, append([]ModelUsage{}, g.Usage.Models...), g.Cost})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (g *Group) UnmarshalJSON(data []byte) error {
	var doc struct {
		groupJSON
		Usage []json.RawMessage `json:"usage"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("metrics: decode group: %w", err)
	}
	models, err := decodeLines(doc.Usage)
	if err != nil {
		return fmt.Errorf("metrics: decode group: %w", err)
	}
	*g = Group{doc.Key, doc.Other, Usage{models}, doc.Cost}
	return nil
}

// Price fills in what groups cost by the prices that are valid at a time. Without books it does nothing.
func Price(groups []Group, at time.Time, books ...*PriceBook) {
	if len(books) == 0 {
		return
	}
	for i := range groups {
		c := groups[i].Usage.Cost(at, books...)
		groups[i].Cost = &c
	}
}

// How much a Collector tells apart. A session of an hour has less; what is beyond it is in the groups
// that are Other.
const (
	maxParts = 128 // of a model: agents, tasks and tools as they came together, by outcome and source
	maxTurns = 256
)

// partKey is what the parts of a bucket are told apart by.
type partKey struct {
	outcome           Outcome
	source            Source
	agent, task, tool string
	other             bool // agent, task or tool: any
}

type part struct {
	key partKey
	sums
}

// part returns the sums of what has the key.
func (b *bucket) part(k *partKey) *sums {
	if b.last < len(b.parts) && b.parts[b.last].key == *k { // as a rule it is the one of before
		return &b.parts[b.last].sums
	}
	for i := range b.parts {
		if b.parts[i].key == *k {
			b.last = i
			return &b.parts[i].sums
		}
	}
	if len(b.parts) >= maxParts && !k.other {
		return b.part(&partKey{outcome: k.outcome, source: k.source, other: true})
	}
	b.last = len(b.parts)
	b.parts = append(b.parts, part{key: *k})
	return &b.parts[b.last].sums
}

// turns has the usage of each turn, in the order in which they came. They are apart from the parts because
// they are many.
type turns struct {
	all   []*turn
	index map[string]*turn
	last  *turn
	rest  turn // of the turns beyond maxTurns
}

type turn struct {
	id    string
	lines []turnLine // as many as models
}

type turnLine struct {
	bucket *bucket
	sums
}

// turn returns the turn with an id; the empty one is for what belongs to none.
func (t *turns) turn(id string) *turn {
	if t.last != nil && t.last.id == id {
		return t.last
	}
	u := t.index[id]
	if u == nil {
		if len(t.index) >= maxTurns && id != "" {
			return &t.rest
		}
		u = &turn{id: id}
		if t.index == nil {
			t.index = make(map[string]*turn)
		}
		t.index[id] = u
		t.all = append(t.all, u)
	}
	t.last = u
	return u
}

func (t *turn) line(b *bucket) *sums {
	for i := range t.lines {
		if t.lines[i].bucket == b {
			return &t.lines[i].sums
		}
	}
	if t.lines == nil {
		t.lines = make([]turnLine, 0, 4) // LLM, TTS, STT and one more
	}
	t.lines = append(t.lines, turnLine{bucket: b})
	return &t.lines[len(t.lines)-1].sums
}

// UsageBy returns the usage apart by a dimension. Together the groups have exactly what Usage has. They are
// in the order of their keys, turns in that of their first usage; the one without a key is the first,
// the one of all others the last. An unknown dimension has no groups.
func (c *Collector) UsageBy(d Dimension) []Group {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.groups(d)
}

// Account returns the usage, and the groups of all dimensions, of one moment.
func (c *Collector) Account() (Usage, map[Dimension][]Group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := make(map[Dimension][]Group, len(Dimensions))
	for _, d := range Dimensions {
		by[d] = c.groups(d)
	}
	return c.usage(), by
}

// groups is UsageBy with the lock held.
func (c *Collector) groups(d Dimension) []Group {
	if d == ByTurn {
		return c.turnGroups()
	}
	type place struct {
		key   string
		other bool
	}
	lines := make(map[place]map[bucketKey]*sums)
	for _, b := range c.buckets {
		for i := range b.parts {
			p := &b.parts[i]
			key, other, ok := p.key.of(d)
			if !ok {
				return nil
			}
			at := place{key, other}
			if lines[at] == nil {
				lines[at] = make(map[bucketKey]*sums)
			}
			if lines[at][b.key] == nil {
				lines[at][b.key] = new(sums)
			}
			lines[at][b.key].add(&p.sums)
		}
	}
	groups := make([]Group, 0, len(lines))
	for at, of := range lines {
		groups = append(groups, Group{Key: at.key, Other: at.other, Usage: usageOf(of)})
	}
	slices.SortFunc(groups, func(a, b Group) int {
		if a.Other != b.Other {
			return cmp.Compare(btoi(a.Other), btoi(b.Other))
		}
		return strings.Compare(a.Key, b.Key)
	})
	return groups
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// of is the key in a dimension, and whether it is that of all others; ok is false for a dimension that
// parts do not know.
func (k *partKey) of(d Dimension) (key string, other, ok bool) {
	switch d {
	case ByAgent:
		return k.agent, k.other, true
	case ByTask:
		return k.task, k.other, true
	case ByTool:
		return k.tool, k.other, true
	case ByOutcome:
		return string(k.outcome), false, true
	case BySource:
		return string(k.source), false, true
	}
	return "", false, false
}

func (c *Collector) turnGroups() []Group {
	groups := make([]Group, 0, len(c.turns.all)+1)
	for _, t := range c.turns.all {
		g := Group{Key: t.id, Usage: t.usage()}
		if t.id == "" {
			groups = slices.Insert(groups, 0, g)
		} else {
			groups = append(groups, g)
		}
	}
	if rest := &c.turns.rest; len(rest.lines) > 0 {
		groups = append(groups, Group{Other: true, Usage: rest.usage()})
	}
	return groups
}

func (t *turn) usage() Usage {
	lines := make(map[bucketKey]*sums, len(t.lines))
	for i := range t.lines {
		lines[t.lines[i].bucket.key] = &t.lines[i].sums
	}
	return usageOf(lines)
}

// Sum adds usages up: those of sessions, of groups.
func Sum(usages ...Usage) Usage {
	lines := make(map[bucketKey]*sums)
	for _, u := range usages {
		for _, m := range u.Models {
			var s sums
			key := m.Key()
			at := bucketKey{s.ofLine(m), key.Provider, key.Model}
			if lines[at] == nil {
				lines[at] = new(sums)
			}
			lines[at].add(&s)
		}
	}
	return usageOf(lines)
}

// usageOf makes usage of the sums of each line.
func usageOf(lines map[bucketKey]*sums) Usage {
	keys := make([]bucketKey, 0, len(lines))
	for k := range lines {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, bucketKey.compare)
	u := Usage{Models: make([]ModelUsage, 0, len(keys))}
	for _, k := range keys {
		u.Models = append(u.Models, lines[k].line(k))
	}
	return u
}
