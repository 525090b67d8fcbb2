package account

import (
	"cmp"
	"maps"
	"slices"

	"github.com/parley-go/parley/metrics"
)

// Sum is what was used, and what that costs.
type Sum struct {
	Counts        Counts
	Estimated     Counts                    // the part of Counts that is an approximation
	Unstated      Counts                    // the part of which nobody has said whether it is one
	Costs         map[string]metrics.Amount // by currency; none without price books
	CostEstimated bool                      // some of the costs are of what is estimated
	Unpriced      map[Unpriced]bool         // what costs something, but nobody knows how much
}

// Unpriced is a model without a price, and why.
type Unpriced struct {
	metrics.Key
	Why string
}

// confidence says how sure numbers are.
type confidence uint8

const (
	exact confidence = iota
	estimated
	unstated
)

// newSum is the sum of a line, without a price.
func newSum(m metrics.ModelUsage, how confidence) *Sum {
	s := &Sum{Counts: countsOf(m)}
	switch how {
	case estimated:
		s.Estimated = s.Counts
	case unstated:
		s.Unstated = s.Counts
	}
	return s
}

// Add adds o.
func (s *Sum) Add(o *Sum) {
	s.Counts.Add(&o.Counts)
	s.Estimated.Add(&o.Estimated)
	s.Unstated.Add(&o.Unstated)
	s.CostEstimated = s.CostEstimated || o.CostEstimated
	for currency, a := range o.Costs {
		if s.Costs == nil {
			s.Costs = make(map[string]metrics.Amount)
		}
		s.Costs[currency] = plus(s.Costs[currency], a)
	}
	for u := range o.Unpriced {
		if s.Unpriced == nil {
			s.Unpriced = make(map[Unpriced]bool)
		}
		s.Unpriced[u] = true
	}
}

// Totals are the costs in the order of their currencies.
func (s *Sum) Totals() []metrics.Money {
	var all []metrics.Money
	for _, currency := range slices.Sorted(maps.Keys(s.Costs)) {
		all = append(all, metrics.Money{Amount: s.Costs[currency], Currency: currency})
	}
	return all
}

// WithoutPrice is Unpriced in order.
func (s *Sum) WithoutPrice() []Unpriced {
	return slices.SortedFunc(maps.Keys(s.Unpriced), func(a, b Unpriced) int {
		return cmp.Or(compareTypes(a.Type, b.Type), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Why, b.Why))
	})
}

// types of usage lines in their order.
var types = []string{"llm_usage", "tts_usage", "stt_usage", "interruption_usage", "eot_usage"}

// IsType reports whether usage lines have such a type.
func IsType(s string) bool { return slices.Contains(types, s) }

func compareTypes(a, b string) int {
	return cmp.Or(cmp.Compare(slices.Index(types, a), slices.Index(types, b)), cmp.Compare(a, b))
}
