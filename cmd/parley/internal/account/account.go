// Package account adds up what sessions have used, from the ledgers and the reports that are left of
// them. Nothing is counted twice: neither an event, by its id, nor a session of which there are both.
package account

import (
	"cmp"
	"slices"
)

// Account is the answer to a Query.
type Account struct {
	By    []Dimension
	Rows  []Row // in the order of their values
	Total Row   // without values
	Notes Notes
}

// Row is what belongs together in all dimensions of the query.
type Row struct {
	Values   []Value // one for each dimension
	Sessions int     // that have a part in it
	Sum
}

// Read answers q from files and folders: ledgers, and session reports as JSON. An error is of a path
// that cannot be read at all; what is wrong inside of a folder or a file is in the Notes.
func Read(paths []string, q Query) (*Account, error) {
	r := &reader{q: &q, seen: make(map[string]bool), done: make(map[string]bool), sessions: make(map[string]*session)}
	for _, p := range paths {
		if err := r.path(p); err != nil {
			return nil, err
		}
	}
	return r.account(), nil
}

// account puts together what was read.
func (r *reader) account() *Account {
	a := &Account{By: r.q.By}
	c := counter{q: r.q, notes: &r.notes, rows: make(pieces), sessions: make(map[*piece]int), days: slices.ContainsFunc(r.q.By, isDay)}
	c.days = c.days || !r.q.Since.IsZero() || !r.q.Until.IsZero()
	for _, s := range r.order {
		c.add(s)
	}
	c.remarks()
	for _, p := range c.rows {
		a.Rows = append(a.Rows, Row{p.values, c.sessions[p], p.sum})
	}
	slices.SortFunc(a.Rows, func(x, y Row) int {
		for i, d := range a.By {
			if n := d.compare(x.Values[i], y.Values[i]); n != 0 {
				return n
			}
		}
		return 0
	})
	for i := range a.Rows {
		a.Total.Add(&a.Rows[i].Sum)
	}
	a.Total.Sessions = c.all
	r.notes.finish()
	a.Notes = r.notes
	return a
}

func isDay(d Dimension) bool { return d.name == "day" || d.name == "month" }

// counter adds up sessions, and how many of them were counted in which way.
type counter struct {
	q        *Query
	notes    *Notes
	rows     pieces
	sessions map[*piece]int
	all      int  // sessions
	days     bool // these matter

	untagged, overnight, undetailed, unstated int
	early                                     int // reports that were made before the end
}

func (c *counter) add(s *session) {
	reports := distinct(s.reports)
	for _, rep := range reports {
		if rep.final() && rep.tags != nil || s.tags == nil {
			s.tags = rep.tags
		}
		s.job, s.room = cmp.Or(s.job, rep.job), cmp.Or(s.room, rep.room)
		s.begun = true
	}
	if s.tags == nil && len(c.q.Tags) > 0 {
		c.untagged++
		return
	}
	if !c.q.taggedAs(s.tags) {
		return
	}
	seen := make(map[*piece]bool)
	for _, st := range s.stories() {
		fromReports, differ := st.choose()
		if differ {
			c.notes.remark("session %s: report and ledger differ, and the report counts", s.id)
		}
		if !fromReports {
			for _, r := range st.runs {
				r.price(r.when(), c.q.Books) // a session has the prices of its start
				c.take(s, &r.split, seen)
			}
			continue
		}
		for _, rep := range st.reports {
			p := rep.split(c.q)
			c.take(s, &p, seen)
			c.note(rep, &p)
		}
	}
	if s.id == "" || len(seen) == 0 {
		return // what belongs to no session
	}
	for p := range seen {
		c.sessions[p]++
	}
	c.all++
}

// take adds the pieces of s to the rows.
func (c *counter) take(s *session, all *split, seen map[*piece]bool) {
	for p := range all.each() {
		values := slices.Clone(p.values)
		for i, d := range c.q.By {
			if v, ok := d.ofSession(s); ok {
				values[i] = v
			}
		}
		seen[c.rows.add(values, &p.sum)] = true
	}
}

// note counts what was not exactly known of a session that there is only a report of.
func (c *counter) note(rep *report, counted *split) {
	if len(counted.pieces) == 0 {
		return
	}
	if !rep.final() {
		c.early++
	}
	if c.days && rep.overnight(c.q.zone()) {
		c.overnight++
	}
	unknown, unstated := false, false
	for p := range counted.each() {
		for i, d := range c.q.By {
			_, detail := d.detail()
			unknown = unknown || detail && p.values[i].Unknown
		}
		unstated = unstated || p.sum.Unstated != Counts{}
	}
	c.undetailed += number(unknown)
	c.unstated += number(unstated)
}

func (c *counter) remarks() {
	if n := c.untagged; n > 0 {
		c.notes.remark("%s left out: their tags are not known", sessions(n))
	}
	if n := c.early; n > 0 {
		c.notes.remark("%s counted from a report that was made before the end", sessions(n))
	}
	if n := c.overnight; n > 0 {
		c.notes.remark("%s over midnight, known from a report alone, counted when they began", sessions(n))
	}
	if n := c.undetailed; n > 0 {
		c.notes.remark("%s known from a report alone, which does not tell all that was asked (unknown)", sessions(n))
	}
	if n := c.unstated; n > 0 {
		c.notes.remark("%s known from a report alone, which does not tell what of it is estimated", sessions(n))
	}
}
