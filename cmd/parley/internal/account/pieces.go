package account

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/parley-go/parley/metrics"
)

// pieces are sums by the values of the dimensions that were asked for. Those of the session come last,
// when all is read.
type pieces map[string]*piece

type piece struct {
	values []Value
	sum    Sum
}

// add adds s to the piece with the values, which it keeps.
func (p pieces) add(values []Value, s *Sum) *piece {
	k := keyOf(values)
	if p[k] == nil {
		p[k] = &piece{values: values}
	}
	p[k].sum.Add(s)
	return p[k]
}

func keyOf(values []Value) string {
	var b []byte
	for _, v := range values {
		b = strconv.AppendInt(b, int64(len(v.Text)), 10)
		b = strconv.AppendBool(append(b, ':'), v.Unknown)
		b = append(b, v.Text...)
	}
	return string(b)
}

// values are those of a place in the dimensions of q.
func (q *Query) values(p *place) []Value {
	values := make([]Value, len(q.By))
	for i, d := range q.By {
		values[i] = d.of(p, q.zone())
	}
	return values
}

// lines are sums by model.
type lines map[metrics.Key]*Counts

func (l lines) add(k metrics.Key, c *Counts) {
	if l[k] == nil {
		l[k] = new(Counts)
	}
	l[k].Add(c)
}

// within reports whether a has no more of anything than b.
func within(a, b lines) bool {
	var none Counts
	for k, c := range a {
		o := b[k]
		if o == nil {
			o = &none
		}
		if !c.within(o) {
			return false
		}
	}
	return true
}

func equal(a, b lines) bool { return within(a, b) && within(b, a) }

// split is the usage of one run of a session: all of it by model, and the pieces of what was asked for.
type split struct {
	usage  lines
	pieces map[metrics.Key]pieces
}

func newSplit() split { return split{make(lines), make(map[metrics.Key]pieces)} }

func (s *split) add(k metrics.Key, values []Value, sum *Sum) {
	if s.pieces[k] == nil {
		s.pieces[k] = make(pieces)
	}
	s.pieces[k].add(values, sum)
}

// each gives the pieces.
func (s *split) each() iter.Seq[*piece] {
	return func(yield func(*piece) bool) {
		for _, all := range s.pieces {
			for _, p := range all {
				if !yield(p) {
					return
				}
			}
		}
	}
}

// price says what the pieces cost by the prices of a time. The usage of a model has the price that it has in
// the report of the session, and the pieces have their parts of that. What is left from rounding goes
// to the dearest, so that they add up, however they were cut. Whether there is a price is a matter of the
// whole.
func (s *split) price(at time.Time, books []*metrics.PriceBook) {
	if len(books) == 0 {
		return
	}
	for k, all := range s.pieces {
		whole := costOf(k, s.usage[k], at, books)
		if whole.Unpriced != "" {
			for _, p := range all {
				p.sum.Unpriced = map[Unpriced]bool{{k, whole.Unpriced}: true}
			}
			continue
		}
		rest, counted := whole.Amount, new(Counts)
		var dearest *piece
		for _, id := range slices.Sorted(maps.Keys(all)) {
			p := all[id]
			a := costOf(k, &p.sum.Counts, at, books).Amount
			p.sum.Costs = map[string]metrics.Amount{whole.Currency: a}
			p.sum.CostEstimated = p.sum.Estimated != Counts{}
			rest -= a
			counted.Add(&p.sum.Counts)
			if dearest == nil || a > dearest.sum.Costs[whole.Currency] {
				dearest = p
			}
		}
		if a := dearest.sum.Costs[whole.Currency] + rest; *counted == *s.usage[k] && a >= 0 { // all of it was asked for
			dearest.sum.Costs[whole.Currency] = a
		}
	}
}

func costOf(k metrics.Key, c *Counts, at time.Time, books []*metrics.PriceBook) metrics.CostLine {
	return metrics.Usage{Models: []metrics.ModelUsage{c.usage(k)}}.Cost(at, books...).Lines[0]
}
