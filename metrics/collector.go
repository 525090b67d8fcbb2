package metrics

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// Collector adds up the usage of the events it is given. The zero value is ready. All methods may
// be called from any goroutine; none blocks for longer than it takes to copy the sums.
//
// Besides of the whole it keeps what each agent, task, tool, turn, outcome and source has used (UsageBy).
// That takes memory for 256 turns, and for 128 combinations of the rest per model, about a quarter of a
// megabyte at the most with four models. What comes in a turn or for an agent, task or tool beyond that is
// counted in a group of all others, and so never lost.
//
// A Collector belongs to one run of a session: a session that starts again takes a new one, so that
// a late event of the last run is not counted in the next.
type Collector struct {
	mu   sync.Mutex
	seen seen // ids of the events that were applied
	// buckets has one per line, few enough to look through.
	buckets []*bucket
	turns   turns
}

type bucketKey struct {
	kind            kind
	provider, model string
}

// bucket has the sums of a line, in parts to tell them apart later; one to three, as a rule.
type bucket struct {
	key   bucketKey
	parts []part
	last  int // of parts, where something was added
}

// Record implements Recorder.
func (c *Collector) Record(_ context.Context, e Event) { c.Add(e) }

// Add counts e and reports whether that changed the usage. It does not for an event whose ID was
// added before, for one that is no usage (VAD, EOU, Avatar, Connection) and for one without a
// number above zero, such as the event of an acquired connection.
func (c *Collector) Add(e Event) bool {
	var add sums
	k, ok := add.of(e)
	if !ok || !add.any() {
		return false
	}
	h := e.Head()
	part := partKey{outcome: cmp.Or(h.Outcome, Delivered), source: cmp.Or(h.Source, FromProvider),
		agent: h.Tags.AgentID, task: h.Tags.Task, tool: h.Tags.Tool}

	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.seen.first(h.ID) {
		return false
	}
	b := c.bucket(k, &h.Metadata)
	b.part(&part).add(&add)
	c.turns.turn(h.Tags.TurnID).line(b).add(&add)
	return true
}

// bucket returns the bucket of a line, with the lock held.
func (c *Collector) bucket(k kind, m *Metadata) *bucket {
	for _, b := range c.buckets {
		if b.key.kind == k && b.key.model == m.ModelName && b.key.provider == m.ModelProvider {
			return b
		}
	}
	b := &bucket{key: bucketKey{k, m.ModelProvider, m.ModelName}}
	c.buckets = append(c.buckets, b)
	return b
}

// Usage returns all that was used, delivered or not.
func (c *Collector) Usage() Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usage()
}

// usage is Usage with the lock held.
func (c *Collector) usage() Usage {
	buckets := slices.Clone(c.buckets)
	slices.SortFunc(buckets, func(a, b *bucket) int { return a.key.compare(b.key) })
	u := Usage{Models: make([]ModelUsage, 0, len(buckets))}
	for _, b := range buckets {
		var total sums
		for i := range b.parts {
			total.add(&b.parts[i].sums)
		}
		u.Models = append(u.Models, total.line(b.key))
	}
	return u
}

// compare orders keys as Usage orders its lines.
func (k bucketKey) compare(o bucketKey) int {
	return cmp.Or(cmp.Compare(k.kind, o.kind), cmp.Compare(k.provider, o.provider), cmp.Compare(k.model, o.model))
}

// Reset forgets all usage and all ids.
func (c *Collector) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen, c.buckets, c.turns = seen{}, nil, turns{}
}
