package bill

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/cmd/parley/internal/account"
	"github.com/parley-go/parley/metrics"
)

// Comparison is a bill beside what was counted.
type Comparison struct {
	Days, Models bool // are told apart
	Lines        []Difference
	Totals       []Difference // of each quantity, without day and model
	Over         int          // lines beyond the tolerance
}

// Difference is a quantity of a line on both sides.
type Difference struct {
	Line
	Quantity   string
	Ours, Bill *big.Rat // nil for nothing on that side
	Estimated  bool     // some of ours is
	Unpriced   bool     // some of ours has no price, so Ours is too small
	Over       bool     // it is beyond the tolerance
}

// Absolute is what we have more than the bill; nil if nothing of ours has a price.
func (d *Difference) Absolute() *big.Rat {
	if d.Ours == nil && d.Unpriced {
		return nil
	}
	return new(big.Rat).Sub(known(d.Ours), known(d.Bill))
}

// Percent is Absolute in percent of the bill; nil if there is no such thing.
func (d *Difference) Percent() *big.Rat {
	b, diff := known(d.Bill), d.Absolute()
	if b.Sign() == 0 || diff == nil {
		return nil
	}
	p := new(big.Rat).Quo(diff, new(big.Rat).Abs(b))
	return p.Mul(p, big.NewRat(100, 1))
}

func known(r *big.Rat) *big.Rat {
	if r == nil {
		return new(big.Rat)
	}
	return r
}

// Tolerance is how large a difference may be; within any of the two is enough. Nil is none.
type Tolerance struct {
	Percent  *big.Rat // of the bill
	Absolute *big.Rat
}

// ParseTolerance reads "0.5%", "100", or both with a comma in between.
func ParseTolerance(s string) (t Tolerance, err error) {
	for _, part := range strings.Split(s, ",") {
		number, percent := strings.CutSuffix(strings.TrimSpace(part), "%")
		n, err := parseNumber(number, false)
		if err != nil || n.Sign() < 0 {
			return t, errors.New(`want a percentage, "0.5%", a number, or both with a comma in between`)
		}
		if percent {
			t.Percent = n
		} else {
			t.Absolute = n
		}
	}
	return t, nil
}

// exceeds reports whether d is beyond t.
func (t Tolerance) exceeds(d *Difference) bool {
	if d.Unpriced {
		return true
	}
	diff := d.Absolute()
	diff.Abs(diff)
	switch p := d.Percent(); {
	case diff.Sign() == 0, t.Absolute != nil && diff.Cmp(t.Absolute) <= 0:
		return false
	default:
		return t.Percent == nil || p == nil || p.Abs(p).Cmp(t.Percent) > 0
	}
}

// By is what usage has to be told apart by, to be compared with a bill of this format.
func (f Format) By() (by []account.Dimension) {
	if f.Day != "" {
		by = append(by, account.ByDay)
	}
	if f.Model != "" {
		by = append(by, account.ByModel)
	}
	return by
}

// Compare puts b beside what was counted, by f.By. Costs are in currency.
func (b Bill) Compare(a *account.Account, f Format, currency string, t Tolerance) *Comparison {
	c := &Comparison{Days: f.Day != "", Models: f.Model != ""}
	ours := make(map[Line]*account.Sum)
	for i := range a.Rows {
		row, l := &a.Rows[i], Line{}
		for i, d := range a.By {
			switch v := row.Values[i]; d {
			case account.ByDay:
				if l.Day = v.Text; v.Unknown {
					l.Day = "unknown"
				}
			case account.ByModel:
				l.Model = v.Text
			}
		}
		if ours[l] == nil {
			ours[l] = new(account.Sum)
		}
		ours[l].Add(&row.Sum)
	}
	lines := maps.Clone(ours)
	for l := range b {
		lines[l] = nil
	}
	totals := make(map[string]*Difference)
	for _, l := range slices.SortedFunc(maps.Keys(lines), func(x, y Line) int {
		return cmp.Or(cmp.Compare(x.Day, y.Day), cmp.Compare(x.Model, y.Model))
	}) {
		for _, q := range f.quantities() {
			d := Difference{Line: l, Quantity: q, Bill: b[l][q]}
			d.fill(ours[l], currency)
			c.add(d, t, totals)
		}
	}
	for _, q := range f.quantities() {
		if d := totals[q]; d != nil {
			d.Over = t.exceeds(d)
			c.Totals = append(c.Totals, *d)
		}
	}
	return c
}

// quantities are those that have a column, each once.
func (f Format) quantities() (all []string) {
	for _, c := range f.Quantities {
		if !slices.Contains(all, c.Quantity) {
			all = append(all, c.Quantity)
		}
	}
	return all
}

// fill sets our side.
func (d *Difference) fill(s *account.Sum, currency string) {
	if s == nil {
		return
	}
	if d.Quantity == Cost {
		if a, ok := s.Costs[currency]; ok {
			d.Ours = big.NewRat(int64(a), int64(metrics.Unit))
		}
		d.Estimated, d.Unpriced = s.CostEstimated, len(s.Unpriced) > 0
		return
	}
	for q := range account.NumQuantities {
		if q.String() != d.Quantity || s.Counts[q] == 0 {
			continue
		}
		d.Estimated = s.Estimated[q] > 0
		if d.Ours = new(big.Rat).SetInt64(s.Counts[q]); q.Timed() {
			d.Ours.Quo(d.Ours, big.NewRat(int64(time.Second), 1))
		}
	}
}

// add takes a line, unless both sides have nothing.
func (c *Comparison) add(d Difference, t Tolerance, totals map[string]*Difference) {
	if known(d.Ours).Sign() == 0 && known(d.Bill).Sign() == 0 && !d.Unpriced {
		return
	}
	if d.Over = t.exceeds(&d); d.Over {
		c.Over++
	}
	c.Lines = append(c.Lines, d)
	sum := totals[d.Quantity]
	if sum == nil {
		sum = &Difference{Quantity: d.Quantity, Bill: new(big.Rat)}
		totals[d.Quantity] = sum
	}
	if d.Ours != nil {
		sum.Ours = new(big.Rat).Add(known(sum.Ours), d.Ours)
	}
	sum.Bill.Add(sum.Bill, known(d.Bill))
	sum.Estimated = sum.Estimated || d.Estimated
	sum.Unpriced = sum.Unpriced || d.Unpriced
}

// String is a number with what it needs of decimal places, nine at the most.
func String(r *big.Rat) string {
	s := r.FloatString(9)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// ParseColumn reads the name of a column, and after a star or a slash at its end what its numbers are to be
// multiplied with, or divided by: "Minutes*60".
func ParseColumn(quantity, s string) (Column, error) {
	c := Column{Quantity: quantity, Name: strings.TrimSpace(s)}
	if i := strings.LastIndexAny(s, "*/"); i >= 0 {
		if n, err := parseNumber(s[i+1:], false); err == nil {
			if n.Sign() <= 0 {
				return c, fmt.Errorf("the factor of column %q is not above zero", s)
			}
			if s[i] == '/' {
				n.Inv(n)
			}
			c.Name, c.Factor = strings.TrimSpace(s[:i]), n
		}
	}
	if c.Name == "" {
		return c, errors.New("it is no name of a column")
	}
	return c, nil
}
