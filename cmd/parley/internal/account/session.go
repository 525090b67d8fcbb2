package account

import (
	"slices"
	"time"

	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/metrics"
)

// session is what ledgers and reports know of one.
type session struct {
	id, job, room string
	begun         bool // a ledger has its beginning
	tags          map[string]string
	runs          []*run
	now           *run // that events belong to
	reports       []*report
}

// run is a session from a start to its close, as far as a ledger knows it.
type run struct {
	start time.Time // zero if the ledger does not tell
	first time.Time // of its events
	split
}

// when is the time that the run is known by.
func (r *run) when() time.Time {
	if r.start.IsZero() {
		return r.first
	}
	return r.start
}

// begin notes a start. What comes from now on belongs to it.
func (s *session) begin(st *ledger.Start) {
	s.begun, s.job, s.room = true, st.JobID, st.Room
	s.tag(st.Tags)
	for _, r := range s.runs {
		if r.start.Equal(st.At) {
			s.now = r // a copy of the ledger
			return
		}
	}
	s.now = s.newRun(st.At)
}

// tag notes the tags that the session has from now on.
func (s *session) tag(tags map[string]string) {
	if tags == nil {
		tags = map[string]string{}
	}
	s.tags = tags
}

func (s *session) newRun(start time.Time) *run {
	r := &run{start: start, split: newSplit()}
	s.runs = append(s.runs, r)
	return r
}

// add counts an event that was not counted before.
func (s *session) add(e metrics.Event, m metrics.ModelUsage, q *Query) {
	if s.now == nil {
		s.now = s.newRun(time.Time{})
	}
	r, h := s.now, e.Head()
	if r.first.IsZero() {
		r.first = h.Timestamp
	}
	p := &place{key: m.Key(), at: h.Timestamp, detail: ofEvent(h)}
	how := exact
	if h.Source == metrics.Estimated {
		how = estimated
	}
	sum := newSum(m, how)
	r.usage.add(p.key, &sum.Counts)
	if !q.wants(p.key) || !q.during(p.at) {
		return
	}
	r.split.add(p.key, q.values(p), sum)
}

// story is what is known of the same time of a session from both sides.
type story struct {
	runs    []*run
	reports []*report
}

// stories matches the runs with the reports. Each run and each report is in one story.
func (s *session) stories() (all []*story) {
	of := make(map[*run]*story)
	for _, r := range s.runs {
		of[r] = &story{runs: []*run{r}}
		all = append(all, of[r])
	}
	for _, rep := range distinct(s.reports) {
		st := &story{}
		for _, r := range s.covered(rep) {
			o := of[r]
			if o == st {
				continue
			}
			st.runs, st.reports = append(st.runs, o.runs...), append(st.reports, o.reports...)
			for _, r := range o.runs {
				of[r] = st
			}
			all = slices.DeleteFunc(all, func(x *story) bool { return x == o })
		}
		st.reports = append(st.reports, rep)
		all = append(all, st)
	}
	return all
}

// slack is how far the start of a session may be from where the ledger has it.
const slack = time.Minute

// covered are the runs that a report is about: the nearest one, but all in its time if it was made from the
// ledger, since nobody has parted them there.
func (s *session) covered(rep *report) (runs []*run) {
	var nearest *run
	for _, r := range s.runs {
		at := r.when()
		if rep.recovered && !at.Before(rep.begin().Add(-slack)) && !at.After(rep.end()) {
			runs = append(runs, r)
		}
		during := r.start.IsZero() && !at.Before(rep.begin()) && !at.After(rep.end())
		if (during || at.Sub(rep.begin()).Abs() <= slack) && (nearest == nil || distance(r, rep) < distance(nearest, rep)) {
			nearest = r
		}
	}
	if len(runs) == 0 && nearest != nil {
		runs = append(runs, nearest)
	}
	return runs
}

func distance(r *run, rep *report) time.Duration { return r.when().Sub(rep.begin()).Abs() }

// choose says whether the reports of a story count, or the ledger. What is the same in both is taken from
// the ledger, which knows each event. Otherwise a report that is final counts: it is what was delivered,
// and a ledger may have lost the last moments before a kill, or an older file. One that is not final counts
// if the ledger does not have all that it has.
func (st *story) choose() (reports, differ bool) {
	if len(st.runs) == 0 || len(st.reports) == 0 {
		return len(st.runs) == 0, false
	}
	told, kept := make(lines), make(lines)
	final := true
	for _, rep := range st.reports {
		final = final && rep.final()
		for k, c := range rep.sum() {
			told.add(k, c)
		}
	}
	for _, r := range st.runs {
		for k, c := range r.usage {
			kept.add(k, c)
		}
	}
	switch {
	case equal(told, kept):
		return false, false
	case final:
		return true, true
	}
	lost := !within(told, kept)
	return lost, lost
}
