package account

import (
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/metrics"
)

// Query is what is asked of ledgers and reports.
type Query struct {
	By   []Dimension    // what to tell apart; none: only the total
	Zone *time.Location // of days and months; nil is UTC
	// Since, included, and Until, not included, are times of events, and of the start of sessions of which
	// there is no more than a report; zero is open.
	Since, Until time.Time
	// Types, Providers and Models are what is counted, if any are given: full names, or the beginning of
	// a name and a star.
	Types, Providers, Models []string
	Tags                     map[string]string // that a session must have to be counted
	Books                    []*metrics.PriceBook
}

// during reports whether t is asked for.
func (q *Query) during(t time.Time) bool {
	return (q.Since.IsZero() || !t.Before(q.Since)) && (q.Until.IsZero() || t.Before(q.Until))
}

// wants reports whether the line of a model is asked for.
func (q *Query) wants(k metrics.Key) bool {
	return matches(q.Types, k.Type) && matches(q.Providers, k.Provider) && q.WantsModel(k.Model)
}

// WantsModel reports whether a model is asked for.
func (q *Query) WantsModel(name string) bool { return matches(q.Models, name) }

// WantsDay reports whether any of a day, which begins at t, is asked for.
func (q *Query) WantsDay(t time.Time) bool {
	return (q.Since.IsZero() || t.AddDate(0, 0, 1).After(q.Since)) && (q.Until.IsZero() || t.Before(q.Until))
}

func matches(patterns []string, s string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return Matches(p, s) })
}

// Matches reports whether s is pattern, or begins with what is before a star at its end.
func Matches(pattern, s string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s, prefix)
	}
	return s == pattern
}

// taggedAs reports whether a session with these tags is asked for.
func (q *Query) taggedAs(tags map[string]string) bool {
	for k, v := range q.Tags {
		if tags[k] != v {
			return false
		}
	}
	return true
}

func (q *Query) zone() *time.Location {
	if q.Zone == nil {
		return time.UTC
	}
	return q.Zone
}

// details are the dimensions of the query that are details.
func (q *Query) details() []metrics.Dimension {
	var all []metrics.Dimension
	for _, d := range q.By {
		if m, ok := d.detail(); ok && !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return all
}
