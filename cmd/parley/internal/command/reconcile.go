package command

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/parley-go/parley/cmd/parley/internal/account"
	"github.com/parley-go/parley/cmd/parley/internal/bill"
)

const reconcileHelp = `parley usage reconcile -bill FILE -col-day NAME -col-model NAME -col-QUANTITY NAME... [flags] path...

Compares what sessions have used with the bill that a provider lets one export as CSV, by day and model.
Say with -provider whose bill it is. Paths are as for "parley usage".

A column is named by its header, in any case. Behind a star or a slash stands what its numbers are to be
multiplied with, or divided by, to be what we count: times are counted in seconds, so "Minutes*60". A column
flag may be repeated for columns that are to be added up. Note that our input tokens include cached ones.

Exit status: 0; 1 if a line differs by more than -tolerance; 2 if flags, paths or the bill are wrong; 3 if
something in the files is damaged and was not counted, and no line differs.

  parley usage reconcile -bill march.csv -provider deepgram -since 2026-03-01 -until 2026-04-01 \
    -col-day Date -col-model Model -col-stt-audio-duration 'Minutes*60' -alias 'Nova 3=nova-3' -tolerance 1% ledger
`

// billFlags are the flags of a bill.
type billFlags struct {
	files, where, aliases list
	columns               map[string]*list // by quantity
	order                 []string
	tolerance             string
	delimiter, currency   string
	format                bill.Format
}

func (b *billFlags) flags(fs *flag.FlagSet) {
	fs.Var(&b.files, "bill", "CSV `FILE` of the provider; may be repeated")
	fs.StringVar(&b.format.Day, "col-day", "", "column of the day: `NAME`; without it days are not told apart")
	fs.StringVar(&b.format.Model, "col-model", "", "column of the model: `NAME`; without it models are not told apart")
	b.columns = make(map[string]*list)
	for q := range account.NumQuantities {
		b.column(fs, q.String())
	}
	b.column(fs, bill.Cost)
	fs.StringVar(&b.format.DayFormat, "day-format", "auto", "how days are written: "+strings.Join(bill.DayFormats, ", ")+", or a `LAYOUT` of 2006-01-02")
	fs.BoolVar(&b.format.DecimalComma, "decimal-comma", false, "numbers are like 1.234,5")
	fs.StringVar(&b.delimiter, "delimiter", "", "`CHARACTER` between columns, \\t for a tab (default: found out)")
	fs.Var(&b.where, "where", "read only rows with this value in a column, or without it: `COLUMN=VALUE`, COLUMN!=VALUE; may be repeated, all must fit")
	fs.Var(&b.aliases, "alias", "what the bill calls a model, and what we do: `BILL=OURS`; a star at the end of BILL stands for anything; may be repeated")
	fs.StringVar(&b.tolerance, "tolerance", "0", "how far a line may be off: `LIMIT` is 0.5% of the bill, 100, or 0.5%,100 for either")
	fs.StringVar(&b.currency, "currency", "", "`CURRENCY` of -col-cost (default: that of the price books)")
}

func (b *billFlags) column(fs *flag.FlagSet, quantity string) {
	b.columns[quantity] = new(list)
	b.order = append(b.order, quantity)
	fs.Var(b.columns[quantity], "col-"+strings.ReplaceAll(quantity, "_", "-"), "column of "+quantity+": `NAME`")
}

// read makes sense of the flags.
func (b *billFlags) read(q *account.Query) (t bill.Tolerance, err error) {
	f := &b.format
	f.Zone = q.Zone
	for _, quantity := range b.order {
		for _, s := range *b.columns[quantity] {
			c, err := bill.ParseColumn(quantity, s)
			if err != nil {
				return t, fmt.Errorf("-col-%s: %w", strings.ReplaceAll(quantity, "_", "-"), err)
			}
			f.Quantities = append(f.Quantities, c)
		}
	}
	switch {
	case len(b.files) == 0:
		return t, errors.New("-bill is missing")
	case len(f.Quantities) == 0:
		return t, errors.New("no column is given with what to compare, such as -col-input-tokens")
	}
	if err := b.money(q); err != nil {
		return t, err
	}
	if b.delimiter != "" {
		d, n := utf8.DecodeRuneInString(strings.ReplaceAll(b.delimiter, `\t`, "\t"))
		if n != len(strings.ReplaceAll(b.delimiter, `\t`, "\t")) || strings.ContainsRune("\"\r\n\uFFFD", d) {
			return t, fmt.Errorf("-delimiter %q: want one character", b.delimiter)
		}
		f.Delimiter = d
	}
	for _, s := range b.where {
		name, value, ok := strings.Cut(s, "=")
		name, not := strings.CutSuffix(name, "!")
		if !ok || name == "" {
			return t, fmt.Errorf("-where %q: want COLUMN=VALUE or COLUMN!=VALUE", s)
		}
		f.Where = append(f.Where, bill.Condition{Column: name, Value: value, Not: not})
	}
	for _, s := range b.aliases {
		theirs, ours, ok := strings.Cut(s, "=")
		if !ok {
			return t, fmt.Errorf("-alias %q: want BILL=OURS", s)
		}
		f.Aliases = append(f.Aliases, bill.Alias{Bill: theirs, Ours: ours})
	}
	if t, err = bill.ParseTolerance(b.tolerance); err != nil {
		err = fmt.Errorf("-tolerance %q: %w", b.tolerance, err)
	}
	return t, err
}

// money finds the currency of the bill.
func (b *billFlags) money(q *account.Query) error {
	if len(*b.columns[bill.Cost]) == 0 {
		return nil
	}
	if len(q.Books) == 0 {
		return errors.New("-col-cost needs -prices")
	}
	for _, book := range q.Books {
		if b.currency == "" {
			b.currency = book.Currency()
		}
		if b.currency == book.Currency() {
			return nil
		}
	}
	return fmt.Errorf("no price book is in %s", b.currency)
}

func (c *cmd) reconcile(args []string) int {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	var sel selection
	var b billFlags
	b.flags(fs)
	sel.flags(fs)
	paths, status, done := c.parse(fs, reconcileHelp, args)
	if done {
		return status
	}
	q, err := sel.query()
	if err != nil {
		return c.fail(err)
	}
	tolerance, err := b.read(&q)
	if err != nil {
		return c.fail(err)
	}
	q.By = b.format.By()
	theirs, err := readBills(b.files, b.format, &q)
	if err != nil {
		return c.fail(err)
	}
	a, err := account.Read(paths, q)
	if err != nil {
		return c.fail(err)
	}
	cmp := theirs.Compare(a, b.format, b.currency, tolerance)
	show := map[string]func(io.Writer, *bill.Comparison) error{"table": compareTable, "csv": compareCSV, "json": compareJSON}
	if err := show[sel.format](c.stdout, cmp); err != nil {
		return c.fail(err)
	}
	c.notes(a.Notes.Damage, a.Notes.Remarks)
	switch {
	case cmp.Over > 0:
		fmt.Fprintf(c.stderr, "%s: %d of %d lines differ by more than the tolerance\n", c.name, cmp.Over, len(cmp.Lines))
		return exitDifference
	case len(a.Notes.Damage) > 0:
		return exitIncomplete
	}
	return exitOK
}

func readBills(paths []string, f bill.Format, q *account.Query) (bill.Bill, error) {
	all := make(bill.Bill)
	for _, path := range paths {
		err := func() error {
			in, err := os.Open(path)
			if err != nil {
				return err
			}
			defer in.Close()
			one, err := bill.Parse(in, f, q)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			all.Add(one)
			return nil
		}()
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// verdict says what is wrong with a line.
func verdict(d *bill.Difference) string {
	var all []string
	switch {
	case d.Bill == nil:
		all = append(all, "not in the bill")
	case d.Ours == nil && !d.Unpriced:
		all = append(all, "only in the bill")
	}
	if d.Unpriced && d.Ours != nil {
		all = append(all, "unpriced in part")
	}
	if d.Over {
		all = append(all, "OVER")
	}
	return strings.Join(all, ", ")
}

func compareTable(w io.Writer, c *bill.Comparison) error {
	if len(c.Lines) == 0 {
		_, err := fmt.Fprintln(w, "nothing was used, and nothing is billed")
		return err
	}
	var t grid
	head := keys(c, "day", "model")
	t.text = len(head) + 1
	t.add(append(head, "quantity", "ours", "bill", "difference", "percent", "")...)
	estimated := false
	line := func(d *bill.Difference, label []string) {
		estimated = estimated || d.Estimated
		places := 3
		if d.Quantity == bill.Cost {
			places = 6
		}
		ours := approx(d.Estimated, text(d.Ours, places))
		if d.Ours == nil && d.Unpriced {
			ours = "unpriced"
		}
		t.add(append(label, d.Quantity, ours, text(d.Bill, places), text(d.Absolute(), places), percent(d, "%"), verdict(d))...)
	}
	for i := range c.Lines {
		d := &c.Lines[i]
		line(d, keys(c, d.Day, label(account.Value{Text: d.Model})))
	}
	for i := range c.Totals {
		total := keys(c, "total", "total")
		if len(total) == 2 {
			total[1] = ""
		}
		if len(total) > 0 {
			line(&c.Totals[i], total)
		}
	}
	if err := t.print(w); err != nil {
		return err
	}
	if estimated {
		_, err := fmt.Fprintln(w, "\n~ estimated in part")
		return err
	}
	return nil
}

// keys are those of day and model that are told apart.
func keys(c *bill.Comparison, day, model string) (all []string) {
	if c.Days {
		all = append(all, day)
	}
	if c.Models {
		all = append(all, model)
	}
	return all
}

// text is a number with at most so many decimal places, "-" for none.
func text(r *big.Rat, places int) string {
	if r == nil {
		return "-"
	}
	if r.IsInt() {
		return r.Num().String()
	}
	if s := r.FloatString(places); strings.Trim(s, "-0.") != "" {
		return s
	}
	return bill.String(r)
}

// percent is the difference in percent of the bill; nothing if that has nothing.
func percent(d *bill.Difference, unit string) string {
	if p := d.Percent(); p != nil {
		return p.FloatString(2) + unit
	}
	return ""
}

func exact(r *big.Rat) string {
	if r == nil {
		return ""
	}
	return bill.String(r)
}

func compareCSV(w io.Writer, c *bill.Comparison) error {
	out := csv.NewWriter(w)
	_ = out.Write(append(keys(c, "day", "model"), "quantity", "ours", "bill", "difference", "percent", "estimated", "unpriced", "over")) // Flush keeps the error
	for i := range c.Lines {
		d := &c.Lines[i]
		_ = out.Write(append(keys(c, d.Day, d.Model), d.Quantity, exact(d.Ours), exact(d.Bill), exact(d.Absolute()),
			percent(d, ""), fmt.Sprint(d.Estimated), fmt.Sprint(d.Unpriced), fmt.Sprint(d.Over)))
	}
	out.Flush()
	return out.Error()
}

type compareDoc struct {
	Lines  []compareLine `json:"lines"`
	Totals []compareLine `json:"totals"`
	Over   int           `json:"over"`
}

type compareLine struct {
	Day        string       `json:"day,omitempty"`
	Model      *string      `json:"model,omitempty"`
	Quantity   string       `json:"quantity"`
	Ours       *json.Number `json:"ours"` // null: nothing on this side
	Bill       *json.Number `json:"bill"`
	Difference *json.Number `json:"difference"` // null: ours has no price
	Percent    *json.Number `json:"percent"`    // null: that, or the bill has nothing
	Estimated  bool         `json:"estimated,omitempty"`
	Unpriced   bool         `json:"unpriced,omitempty"`
	Over       bool         `json:"over"`
}

func compareJSON(w io.Writer, c *bill.Comparison) error {
	doc := compareDoc{Lines: []compareLine{}, Totals: []compareLine{}, Over: c.Over}
	for i := range c.Lines {
		l := lineJSON(&c.Lines[i])
		if c.Models {
			l.Model = &c.Lines[i].Model
		}
		doc.Lines = append(doc.Lines, l)
	}
	for i := range c.Totals {
		doc.Totals = append(doc.Totals, lineJSON(&c.Totals[i]))
	}
	return writeJSON(w, doc)
}

func lineJSON(d *bill.Difference) compareLine {
	return compareLine{Day: d.Day, Quantity: d.Quantity, Ours: jsonNumber(exact(d.Ours)), Bill: jsonNumber(exact(d.Bill)),
		Difference: jsonNumber(exact(d.Absolute())), Percent: jsonNumber(percent(d, "")),
		Estimated: d.Estimated, Unpriced: d.Unpriced, Over: d.Over}
}

func jsonNumber(s string) *json.Number {
	if s == "" {
		return nil
	}
	n := json.Number(s)
	return &n
}
