package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/parley-go/parley/metrics"
)

// report is what counts of the JSON of a session.Report, of any version.
type report struct {
	file                    string
	session, job, room      string
	started, ended, written time.Time
	recovered               bool
	tags                    map[string]string // nil: the version does not tell
	usage                   []metrics.ModelUsage
	by                      map[metrics.Dimension][]metrics.Group // nil: the version does not tell
}

// errNoReport is returned for JSON that is something else.
var errNoReport = errors.New("it is no session report")

type reportJSON struct {
	Session   *string                               `json:"session_id"`
	Job       string                                `json:"job_id"`
	Room      string                                `json:"room"`
	Started   *float64                              `json:"started_at"`
	Ended     *float64                              `json:"ended_at"`
	Written   *float64                              `json:"timestamp"`
	Recovered bool                                  `json:"recovered"`
	Tags      map[string]string                     `json:"tags"`
	Usage     json.RawMessage                       `json:"usage"` // null: there was no session
	By        map[metrics.Dimension]json.RawMessage `json:"usage_by"`
}

// parseReports reads reports, one after another, until the end of r.
func parseReports(r io.Reader, file string, n *Notes) (all []*report, err error) {
	for dec := json.NewDecoder(r); ; {
		var doc json.RawMessage
		if err := dec.Decode(&doc); err == io.EOF {
			return all, nil
		} else if err != nil {
			return all, err
		}
		rep, err := parseReport(doc, n.damageIn(file))
		if err != nil {
			return all, err
		}
		rep.file = file
		all = append(all, rep)
	}
}

// damageIn says what is damaged in a file.
func (n *Notes) damageIn(file string) func(string, ...any) {
	return func(format string, args ...any) { n.damage("%s: %s", file, fmt.Sprintf(format, args...)) }
}

func parseReport(data []byte, damage func(string, ...any)) (*report, error) {
	var doc reportJSON
	if err := json.Unmarshal(data, &doc); err != nil {
		if t := (*json.UnmarshalTypeError)(nil); errors.As(err, &t) && t.Field == "" {
			return nil, errNoReport // a list, a number
		}
		return nil, err
	}
	if doc.Session == nil || doc.Usage == nil {
		return nil, errNoReport
	}
	r := &report{session: *doc.Session, job: doc.Job, room: doc.Room, started: when(doc.Started), ended: when(doc.Ended),
		written: when(doc.Written), recovered: doc.Recovered, tags: doc.Tags}
	var usage []json.RawMessage
	if err := json.Unmarshal(doc.Usage, &usage); err != nil {
		return nil, fmt.Errorf("usage: %w", err)
	}
	for _, line := range usage {
		m, err := parseLine(line)
		if err != nil {
			damage("usage of session %s is not counted: %v", r.session, err)
			continue
		}
		r.usage = append(r.usage, m)
		for _, name := range negative(line) {
			damage("%s of session %s is negative and counts as zero", name, r.session)
		}
	}
	for d, raw := range doc.By {
		if !slices.Contains(metrics.Dimensions, d) {
			continue // of a later version
		}
		var groups []metrics.Group
		if json.Unmarshal(raw, &groups) != nil || !equal(sumOf(groups...), r.sum()) {
			continue // what does not add up tells nothing
		}
		if r.by == nil {
			r.by = make(map[metrics.Dimension][]metrics.Group)
		}
		r.by[d] = groups
	}
	return r, nil
}

func parseLine(line json.RawMessage) (metrics.ModelUsage, error) {
	var u metrics.Usage
	doc, err := json.Marshal(map[string]any{"model_usage": []json.RawMessage{line}})
	if err == nil {
		err = json.Unmarshal(doc, &u)
	}
	if err != nil {
		return nil, err
	}
	return u.Models[0], nil
}

// negative names the numbers of a usage line that are less than zero.
func negative(line json.RawMessage) (names []string) {
	var fields map[string]any
	_ = json.Unmarshal(line, &fields) // it was read before
	for name, v := range fields {
		if f, ok := v.(float64); ok && f < 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// when is a time of Unix seconds; zero for none, and for one that cannot be.
func when(f *float64) time.Time {
	if f == nil || *f == 0 || !(math.Abs(*f) < 9e9) {
		return time.Time{}
	}
	return time.UnixMicro(int64(math.Round(*f * 1e6))).UTC()
}

// final reports whether the session had ended.
func (r *report) final() bool { return !r.ended.IsZero() }

// end is when the session was last known of.
func (r *report) end() time.Time {
	if r.final() {
		return r.ended
	}
	return r.written
}

// begin is when the session started.
func (r *report) begin() time.Time {
	if r.started.IsZero() {
		return r.end()
	}
	return r.started
}

// same reports whether r and o are about the same run of a session. Runs follow one another.
func (r *report) same(o *report) bool {
	return r.begin().Equal(o.begin()) || r.begin().Before(o.end()) && o.begin().Before(r.end())
}

// better reports whether r is to be taken instead of o: one that is final, then one that was not made
// from a ledger, then the later one.
func (r *report) better(o *report) bool {
	switch {
	case r.final() != o.final():
		return r.final()
	case r.recovered != o.recovered:
		return o.recovered
	}
	return r.written.After(o.written)
}

// distinct leaves one report for each run.
func distinct(all []*report) (out []*report) {
next:
	for _, r := range all {
		for i, o := range out {
			if r.same(o) {
				if r.better(o) {
					out[i] = r
				}
				continue next
			}
		}
		out = append(out, r)
	}
	return out
}

// split is what the report says, by the dimensions of q.
func (r *report) split(q *Query) split {
	out := newSplit()
	out.usage = r.sum()
	if !q.during(r.begin()) {
		return out
	}
	for k := range out.usage {
		if !q.wants(k) {
			continue
		}
		told, groups := r.groups(k, q)
		for _, g := range groups {
			p := &place{key: k, at: r.begin(), detail: func(d metrics.Dimension) Value {
				if d == told {
					return Value{g.Key, g.Other}
				}
				return r.constant(k, d)
			}}
			how := r.confidence(k)
			if told == metrics.BySource {
				how = confidenceOf(g.Key)
			}
			for _, m := range linesOf(g, k) {
				out.add(k, q.values(p), newSum(m, how))
			}
		}
	}
	out.price(r.begin(), q.Books)
	return out
}

// sum is the usage by model.
func (r *report) sum() lines { return sumOf(metrics.Group{Usage: metrics.Usage{Models: r.usage}}) }

func sumOf(groups ...metrics.Group) lines {
	l := make(lines)
	for _, g := range groups {
		for _, m := range g.Usage.Models {
			c := countsOf(m)
			l.add(m.Key(), &c)
		}
	}
	return l
}

func linesOf(g metrics.Group, k metrics.Key) (all []metrics.ModelUsage) {
	for _, m := range g.Usage.Models {
		if m.Key() == k {
			all = append(all, m)
		}
	}
	return all
}

// groups are the usage of a model by the one detail that q needs, or by source. A report has no details
// together, but those that are the same all through the session.
func (r *report) groups(k metrics.Key, q *Query) (metrics.Dimension, []metrics.Group) {
	var open []metrics.Dimension
	for _, d := range q.details() {
		if r.constant(k, d).Unknown {
			open = append(open, d)
		}
	}
	if len(open) == 0 {
		open = append(open, metrics.BySource)
	}
	if groups := r.by[open[0]]; len(open) == 1 && len(groups) > 0 {
		return open[0], groups
	}
	return "", []metrics.Group{{Usage: metrics.Usage{Models: r.usage}}}
}

// with are the groups of a detail that a model is in.
func (r *report) with(k metrics.Key, d metrics.Dimension) (groups []metrics.Group) {
	for _, g := range r.by[d] {
		if len(linesOf(g, k)) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// constant is the value of a detail that is the same for all that a model did.
func (r *report) constant(k metrics.Key, d metrics.Dimension) Value {
	if g := r.with(k, d); len(g) == 1 && !g[0].Other {
		return Value{Text: g[0].Key}
	}
	return Value{Unknown: true}
}

// confidence is how sure the numbers of a model are.
func (r *report) confidence(k metrics.Key) confidence {
	groups := r.with(k, metrics.BySource)
	if len(groups) == 1 {
		return confidenceOf(groups[0].Key)
	}
	if len(groups) == 0 || slices.ContainsFunc(groups, func(g metrics.Group) bool { return confidenceOf(g.Key) == estimated }) {
		return unstated
	}
	return exact
}

func confidenceOf(source string) confidence {
	if source == string(metrics.Estimated) {
		return estimated
	}
	return exact
}

// overnight reports whether the session began on one day and ended on another.
func (r *report) overnight(zone *time.Location) bool {
	return r.begin().In(zone).Format(time.DateOnly) != r.end().In(zone).Format(time.DateOnly)
}
