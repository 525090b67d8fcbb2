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
// A Collector belongs to one run of a session: a session that starts again takes a new one, so that
// a late event of the last run is not counted in the next.
type Collector struct {
	mu sync.Mutex
	// seen has the ids of the events that were applied. It only grows, but a session makes some
	// hundred of them in ten minutes (idle events like VAD are not kept), about 60 bytes each.
	// Exact ids, not hashes: a false duplicate would be money lost. The map grows a table at a
	// time, so that no single call pays for all.
	seen seen
	// buckets has one per line, few enough to look through.
	buckets []*bucket
}

type bucketKey struct {
	kind            kind
	provider, model string
}

// bucket has the sums of a line, apart by outcome and source to tell them apart later. There are
// one to three parts, rarely more.
type bucket struct {
	key   bucketKey
	parts []part
}

type part struct {
	outcome Outcome
	source  Source
	sums    sums
}

// part returns the sums for an outcome and a source.
func (b *bucket) part(o Outcome, s Source) *sums {
	for i := range b.parts {
		if p := &b.parts[i]; p.outcome == o && p.source == s {
			return &p.sums
		}
	}
	b.parts = append(b.parts, part{outcome: o, source: s})
	return &b.parts[len(b.parts)-1].sums
}

type seen map[string]struct{}

// first reports whether id was not given before. An empty id is always new.
func (s *seen) first(id string) bool {
	if id == "" {
		return true
	}
	if *s == nil {
		*s = make(seen, 256)
	}
	before := len(*s)
	(*s)[id] = struct{}{}
	return len(*s) != before
}

// Record implements Recorder.
func (c *Collector) Record(_ context.Context, e Event) { c.Add(e) }

// Add counts e and reports whether that changed the usage. It does not for an event whose ID was
// added before, for one that is no usage (VAD, EOU, Avatar, Connection) and for one without a
// number above zero, such as the event of an acquired connection.
func (c *Collector) Add(e Event) bool {
	k, add, ok := sumsOf(e)
	if !ok || !add.any() {
		return false
	}
	h := e.Head()
	key := bucketKey{k, h.Metadata.ModelProvider, h.Metadata.ModelName}

	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.seen.first(h.ID) {
		return false
	}
	c.bucket(key).part(cmp.Or(h.Outcome, Delivered), cmp.Or(h.Source, FromProvider)).add(&add)
	return true
}

// bucket returns the bucket of a line, with the lock held.
func (c *Collector) bucket(key bucketKey) *bucket {
	for _, b := range c.buckets {
		if b.key == key {
			return b
		}
	}
	b := &bucket{key: key}
	c.buckets = append(c.buckets, b)
	return b
}

// Usage returns all that was used, delivered or not.
func (c *Collector) Usage() Usage {
	return c.UsageOf(func(Outcome, Source) bool { return true })
}

// UsageOf returns what was used by the work that ended in an outcome, with numbers from a source,
// that keep accepts: wasted work, for instance, or what is only estimated. The parts for all outcomes
// and sources add up to Usage.
func (c *Collector) UsageOf(keep func(Outcome, Source) bool) Usage {
	entries := c.copy()
	slices.SortFunc(entries, func(a, b bucket) int { return a.key.compare(b.key) })
	u := Usage{Models: make([]ModelUsage, 0, len(entries))}
	for _, e := range entries {
		var total sums
		for i := range e.parts {
			if p := &e.parts[i]; keep(p.outcome, p.source) {
				total.add(&p.sums)
			}
		}
		if total != (sums{}) {
			u.Models = append(u.Models, total.line(e.key))
		}
	}
	return u
}

// copy returns the buckets in no order.
func (c *Collector) copy() []bucket {
	c.mu.Lock()
	defer c.mu.Unlock()
	entries := make([]bucket, 0, len(c.buckets))
	for _, b := range c.buckets {
		entries = append(entries, bucket{b.key, slices.Clone(b.parts)})
	}
	return entries
}

// compare orders keys as Usage orders its lines.
func (k bucketKey) compare(o bucketKey) int {
	return cmp.Or(cmp.Compare(k.kind, o.kind), cmp.Compare(k.provider, o.provider), cmp.Compare(k.model, o.model))
}

// Reset forgets all usage and all ids.
func (c *Collector) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen, c.buckets = nil, nil
}
