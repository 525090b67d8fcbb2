package metrics

import (
	"cmp"
	"encoding/json"
	"math/big"
	"slices"
	"time"
)

// Cost is what usage costs. Its JSON form is documented in docs/usage.md.
type Cost struct {
	Lines []CostLine // one for each line of usage, in the same order
	// Totals has the sum of the lines that have a price, one for each currency, ordered by it:
	// currencies are never added up. With Unpriced above zero there was more.
	Totals   []Money
	Unpriced int // lines without a price
}

// CostLine is what a line of usage costs.
type CostLine struct {
	Key
	Amount   Amount // zero if there is no price
	Currency string
	Book     string // version of the book that has the price
	// Unpriced says why there is no price; empty if there is one. Such a line costs something, but
	// nobody knows how much.
	Unpriced string
}

// Cost is what u costs by the prices that are valid at a time. The first price that matches a line, in
// the first book that has one, is that of the line: books with special prices go first. A line is
// computed exactly and rounded once, to a billionth; totals are the sums of the lines.
//
// A price applies to what it has rates for. If it has one for tokens, all tokens of the line need a
// rate: a part without a rate of its own, such as cached or audio tokens, has that of the whole. A line
// for which that fails, or nothing of which the price is for, is unpriced.
func (u Usage) Cost(at time.Time, books ...*PriceBook) Cost {
	var c Cost
	for _, m := range u.Models {
		l := costOf(m, at, books)
		c.Lines = append(c.Lines, l)
		if l.Unpriced != "" {
			c.Unpriced++
			continue
		}
		i, found := slices.BinarySearchFunc(c.Totals, l.Currency, func(m Money, cur string) int { return cmp.Compare(m.Currency, cur) })
		if !found {
			c.Totals = slices.Insert(c.Totals, i, Money{Currency: l.Currency})
		}
		c.Totals[i].Amount = plus(c.Totals[i].Amount, l.Amount)
	}
	return c
}

// Total is the sum of the lines priced in a currency.
func (c Cost) Total(currency string) Amount {
	for _, m := range c.Totals {
		if m.Currency == currency {
			return m.Amount
		}
	}
	return 0
}

func costOf(m ModelUsage, at time.Time, books []*PriceBook) CostLine {
	l := CostLine{Key: m.Key()}
	book, p := priceOf(books, l.Key, at)
	if p == nil {
		l.Unpriced = "no price for the model"
		return l
	}
	amount, why := p.of(countsOf(m))
	if why != "" {
		l.Unpriced = why
		return l
	}
	l.Amount, l.Currency, l.Book = rounded(amount), book.currency, book.version
	return l
}

// of is the cost of c, or why it has none.
func (p *price) of(c counts) (sum *big.Rat, why string) {
	byTokens := false
	for m := range meterCharacters {
		byTokens = byTokens || p.rates[m] != nil
	}
	sum = new(big.Rat)
	applied := false
	for i, n := range c {
		m := meter(i)
		if n <= 0 || m.tokens() && !byTokens {
			continue
		}
		rate := p.rate(m)
		if rate == nil {
			if m.tokens() {
				return nil, "no rate for " + meterNames[m]
			}
			continue
		}
		applied = true
		sum.Add(sum, new(big.Rat).Mul(rate, new(big.Rat).SetInt64(n)))
	}
	if !applied {
		return nil, "no rate for what was used"
	}
	return sum, ""
}

// rate is the rate for m, or for what m is a part of; nil for none.
func (p *price) rate(m meter) *big.Rat {
	r := p.rates[m]
	for _, whole := range wholes[m] {
		if r == nil {
			r = p.rates[whole]
		}
	}
	return r
}

type costJSON struct {
	Lines    []lineJSON `json:"lines"`
	Totals   []Money    `json:"totals"`
	Unpriced int        `json:"unpriced_lines"`
}

type lineJSON struct {
	Type     string  `json:"type"`
	Provider string  `json:"provider"`
	Model    string  `json:"model"`
	Amount   *Amount `json:"amount"` // null if there is no price
	Currency string  `json:"currency,omitempty"`
	Book     string  `json:"price_book,omitempty"`
	Unpriced string  `json:"unpriced,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (c Cost) MarshalJSON() ([]byte, error) {
	doc := costJSON{Lines: []lineJSON{}, Totals: append([]Money{}, c.Totals...), Unpriced: c.Unpriced}
	for _, l := range c.Lines {
		j := lineJSON{Type: l.Type, Provider: l.Provider, Model: l.Model, Unpriced: l.Unpriced}
		if l.Unpriced == "" {
			j.Amount, j.Currency, j.Book = &l.Amount, l.Currency, l.Book
		}
		doc.Lines = append(doc.Lines, j)
	}
	return json.Marshal(doc)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Cost) UnmarshalJSON(data []byte) error {
	var doc costJSON
	if err := json.Unmarshal(data, &doc); err != nil {
		return err
	}
	*c = Cost{Totals: doc.Totals, Unpriced: doc.Unpriced}
	for _, j := range doc.Lines {
		l := CostLine{Key: Key{j.Type, j.Provider, j.Model}, Book: j.Book, Unpriced: j.Unpriced}
		if j.Amount != nil {
			l.Amount, l.Currency = *j.Amount, j.Currency
		}
		c.Lines = append(c.Lines, l)
	}
	return nil
}
