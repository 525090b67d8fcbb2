// Package bill reads the bills that providers let one export, and compares them with what was counted.
package bill

import (
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"

	"github.com/parley-go/parley/cmd/parley/internal/account"
)

// Format says where in a CSV file is what.
type Format struct {
	Day, Model   string // names of columns; empty for none: then all days, or models, are one
	Quantities   []Column
	DayFormat    string         // one of DayFormats, or a layout of package time; default "auto"
	Zone         *time.Location // of the days
	DecimalComma bool
	Delimiter    rune // 0: to be found out
	Where        []Condition
	Aliases      []Alias
}

// Column is a column with a quantity. Several of one quantity are added up.
type Column struct {
	Quantity string // of account.Quantity, or Cost
	Name     string
	Factor   *big.Rat // of the column's unit to ours; nil is 1
}

// Cost is the quantity that is money.
const Cost = "cost"

// Condition is what a row must have in a column to be read, or must not have.
type Condition struct {
	Column, Value string
	Not           bool
}

// Alias is what a model of the bill is called by us. A star at the end of Bill stands for anything.
type Alias struct{ Bill, Ours string }

// Line is what was counted, or billed, of a model on a day.
type Line struct {
	Day, Model string // "2006-01-02"; empty if not told apart
}

// Bill is the sums of a bill.
type Bill map[Line]map[string]*big.Rat // by quantity

// Add adds o.
func (b Bill) Add(o Bill) {
	for l, sums := range o {
		if b[l] == nil {
			b[l] = make(map[string]*big.Rat)
		}
		for q, n := range sums {
			b.add(l, q, n)
		}
	}
}

// add adds n, which it does not keep.
func (b Bill) add(l Line, quantity string, n *big.Rat) {
	if b[l][quantity] == nil {
		b[l][quantity] = new(big.Rat)
	}
	b[l][quantity].Add(b[l][quantity], n)
}

// Parse reads a bill. It keeps what q asks for, of models by the names that we have for them.
func Parse(r io.Reader, f Format, q *account.Query) (Bill, error) {
	if err := checkDayFormat(f.DayFormat); err != nil {
		return nil, err
	}
	if f.Zone == nil {
		f.Zone = time.UTC
	}
	t, err := openTable(r, f.Delimiter)
	if err != nil {
		return nil, err
	}
	p := parser{Format: f, q: q, t: t, bill: make(Bill)}
	if err := p.columns(); err != nil {
		return nil, err
	}
	for {
		row, line, err := t.next()
		if errors.Is(err, io.EOF) {
			return p.bill, nil
		}
		if err == nil {
			if err = p.row(row); err != nil {
				err = fmt.Errorf("line %d: %w", line, err)
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// parser reads the rows of a bill.
type parser struct {
	Format
	q          *account.Query
	t          *table
	bill       Bill
	day, model int // columns; -1 for none
	quantities []int
	where      []int
}

func (p *parser) columns() error {
	var errs []error
	find := func(name string) int {
		i, err := p.t.column(name)
		errs = append(errs, err)
		return i
	}
	p.day, p.model = -1, -1
	if p.Day != "" {
		p.day = find(p.Day)
	}
	if p.Model != "" {
		p.model = find(p.Model)
	}
	for _, c := range p.Quantities {
		p.quantities = append(p.quantities, find(c.Name))
	}
	for _, c := range p.Where {
		p.where = append(p.where, find(c.Column))
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// cell is a field of a row; an end that is missing is empty.
func cell(row []string, i int) string {
	if i >= len(row) {
		return ""
	}
	return strings.TrimSpace(row[i])
}

func (p *parser) row(row []string) error {
	for i, c := range p.Where {
		if (cell(row, p.where[i]) == c.Value) == c.Not {
			return nil
		}
	}
	var l Line
	if p.model >= 0 {
		if l.Model = p.alias(cell(row, p.model)); !p.q.WantsModel(l.Model) {
			return nil
		}
	}
	if p.day >= 0 {
		day, err := parseDay(cell(row, p.day), p.DayFormat, p.Zone)
		if err != nil {
			return fmt.Errorf("column %s: %q: %w", p.Day, cell(row, p.day), err)
		}
		if !p.q.WantsDay(day) {
			return nil
		}
		l.Day = day.Format(time.DateOnly)
	}
	if p.bill[l] == nil {
		p.bill[l] = make(map[string]*big.Rat)
	}
	for i, c := range p.Quantities {
		text := cell(row, p.quantities[i])
		if text == "" {
			continue
		}
		n, err := parseNumber(text, p.DecimalComma)
		if err != nil {
			return fmt.Errorf("column %s: %q: %w", c.Name, text, err)
		}
		if c.Factor != nil {
			n.Mul(n, c.Factor)
		}
		p.bill.add(l, c.Quantity, n)
	}
	return nil
}

// alias is what we call a model of the bill. A full name goes before one with a star.
func (p *parser) alias(model string) string {
	for _, a := range p.Aliases {
		if a.Bill == model {
			return a.Ours
		}
	}
	for _, a := range p.Aliases {
		if account.Matches(a.Bill, model) {
			return a.Ours
		}
	}
	return model
}
