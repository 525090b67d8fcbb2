package account

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/metrics"
)

// Dimension is something that usage is told apart by.
type Dimension struct {
	name string
	tag  string // of "tag": its key
}

// The dimensions that are used by name.
var (
	ByType     = Dimension{name: "type"}
	ByProvider = Dimension{name: "provider"}
	ByModel    = Dimension{name: "model"}
	ByDay      = Dimension{name: "day"}
)

// DimensionNames are what ParseDimension takes.
var DimensionNames = []string{"type", "provider", "model", "day", "month", "session", "job", "room", "tag:KEY",
	"agent", "task", "tool", "turn", "outcome", "source"}

// details are the dimensions that an event has of its own, and a report only one at a time.
var details = map[string]metrics.Dimension{"agent": metrics.ByAgent, "task": metrics.ByTask, "tool": metrics.ByTool,
	"turn": metrics.ByTurn, "outcome": metrics.ByOutcome, "source": metrics.BySource}

// ParseDimension reads the name of a dimension, "tag:customer" for that of a tag.
func ParseDimension(s string) (Dimension, error) {
	if key, ok := strings.CutPrefix(s, "tag:"); ok && key != "" {
		return Dimension{"tag", key}, nil
	}
	if s != "tag:KEY" && slices.Contains(DimensionNames, s) {
		return Dimension{name: s}, nil
	}
	return Dimension{}, fmt.Errorf("there is no dimension %q, only %s", s, strings.Join(DimensionNames, ", "))
}

// String is the name.
func (d Dimension) String() string {
	if d.tag != "" {
		return d.name + ":" + d.tag
	}
	return d.name
}

// detail is what reports call the dimension, if it is a detail.
func (d Dimension) detail() (metrics.Dimension, bool) {
	m, ok := details[d.name]
	return m, ok
}

// Value is where usage belongs in a dimension.
type Value struct {
	Text    string // empty: to none, as what no tool has used
	Unknown bool   // nobody has said
}

// compare orders values: none, by text, unknown.
func (d Dimension) compare(a, b Value) int {
	switch {
	case a.Unknown != b.Unknown:
		return cmp.Compare(number(a.Unknown), number(b.Unknown))
	case d == ByType:
		return compareTypes(a.Text, b.Text)
	}
	return cmp.Compare(a.Text, b.Text)
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// place is where a piece of usage belongs, but for its session.
type place struct {
	key    metrics.Key
	at     time.Time
	detail func(metrics.Dimension) Value
}

// of is the value of p; none for the dimensions of sessions.
func (d Dimension) of(p *place, zone *time.Location) Value {
	switch d.name {
	case "type":
		return Value{Text: p.key.Type}
	case "provider":
		return Value{Text: p.key.Provider}
	case "model":
		return Value{Text: p.key.Model}
	case "day":
		return date(p.at, zone, time.DateOnly)
	case "month":
		return date(p.at, zone, "2006-01")
	}
	if m, ok := d.detail(); ok {
		return p.detail(m)
	}
	return Value{}
}

func date(t time.Time, zone *time.Location, layout string) Value {
	if t.IsZero() {
		return Value{Unknown: true}
	}
	return Value{Text: t.In(zone).Format(layout)}
}

// ofSession is the value of a session; ok is false for other dimensions.
func (d Dimension) ofSession(s *session) (v Value, ok bool) {
	switch d.name {
	case "session":
		return Value{Text: s.id}, true
	case "job":
		return Value{s.job, s.job == "" && !s.begun}, true
	case "room":
		return Value{s.room, s.room == "" && !s.begun}, true
	case "tag":
		return Value{s.tags[d.tag], s.tags == nil}, true
	}
	return Value{}, false
}

// ofEvent is where an event belongs.
func ofEvent(h *metrics.Header) func(metrics.Dimension) Value {
	return func(d metrics.Dimension) Value {
		switch d {
		case metrics.ByAgent:
			return Value{Text: h.Tags.AgentID}
		case metrics.ByTask:
			return Value{Text: h.Tags.Task}
		case metrics.ByTool:
			return Value{Text: h.Tags.Tool}
		case metrics.ByTurn:
			return Value{Text: h.Tags.TurnID}
		case metrics.ByOutcome:
			return Value{Text: string(cmp.Or(h.Outcome, metrics.Delivered))}
		case metrics.BySource:
			return Value{Text: string(cmp.Or(h.Source, metrics.FromProvider))}
		}
		return Value{Unknown: true}
	}
}
