package command

import (
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/parley-go/parley/cmd/parley/internal/account"
	"github.com/parley-go/parley/metrics"
)

const usageHelp = `parley usage [flags] path...

Adds up what sessions have used. A path is a ledger, a session report (JSON), or a folder with any number
of them, also in folders below. Of a ledger its newest file is named; the older ones are read along.

An event counts once, and so does a session that is in a ledger and in a report. What both have alike is
taken from the ledger, which knows each event. Where they differ a report that is final counts.

Exit status: 0; 2 if flags or paths are wrong; 3 if something in the files is damaged and was not counted.

  parley usage -by day,model -since 2026-07-01 -prices prices.json ledger reports/
  parley usage -by tag:customer -format csv reports/
`

func (c *cmd) usage(args []string) int {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	var sel selection
	var by list
	sel.flags(fs)
	fs.Var(&by, "by", "tell apart by `DIMENSIONS`, with commas in between: "+strings.Join(account.DimensionNames, ", ")+
		"; none for the total alone (default type,provider,model)")
	paths, status, done := c.parse(fs, usageHelp, args)
	if done {
		return status
	}
	q, err := sel.query()
	if err == nil {
		q.By, err = dimensions(by)
	}
	if err != nil {
		return c.fail(err)
	}
	a, err := account.Read(paths, q)
	if err != nil {
		return c.fail(err)
	}
	show := map[string]func(io.Writer, *account.Account, bool) error{"table": usageTable, "csv": usageCSV, "json": usageJSON}
	if err := show[sel.format](c.stdout, a, len(q.Books) > 0); err != nil {
		return c.fail(err)
	}
	c.notes(a.Notes.Damage, a.Notes.Remarks)
	if len(a.Notes.Damage) > 0 {
		return exitIncomplete
	}
	return exitOK
}

// used are the quantities of which there is any.
func used(a *account.Account) (all []account.Quantity) {
	for q := range account.NumQuantities {
		if a.Total.Counts[q] > 0 {
			all = append(all, q)
		}
	}
	return all
}

func usageTable(w io.Writer, a *account.Account, priced bool) error {
	if len(a.Rows) == 0 {
		_, err := fmt.Fprintln(w, "no usage")
		return err
	}
	t := grid{text: len(a.By)}
	var head []string
	for _, d := range a.By {
		head = append(head, d.String())
	}
	head = append(head, "sessions")
	for _, q := range used(a) {
		head = append(head, q.String())
	}
	if priced {
		head = append(head, "cost")
	}
	t.add(head...)
	line := func(label []string, r *account.Row) {
		cells := append(label, fmt.Sprint(r.Sessions))
		for _, q := range used(a) {
			cells = append(cells, mark(&r.Sum, q))
		}
		if priced {
			cells = append(cells, costText(&r.Sum))
		}
		t.add(cells...)
	}
	if len(a.By) > 0 {
		for i := range a.Rows {
			line(labels(&a.Rows[i]), &a.Rows[i])
		}
	}
	total := make([]string, len(a.By))
	if len(total) > 0 {
		total[0] = "total"
	}
	line(total, &a.Total)
	if err := t.print(w); err != nil {
		return err
	}
	return footnotes(w, &a.Total.Sum, used(a))
}

// footnotes explain what is approximate, and what has no price.
func footnotes(w io.Writer, s *account.Sum, all []account.Quantity) error {
	var lines []string
	for _, q := range all {
		if n := s.Estimated[q]; n > 0 {
			lines = append(lines, fmt.Sprintf("~ estimated: %s of %s %s", round(q, n), round(q, s.Counts[q]), q))
		}
	}
	if s.Unstated != (account.Counts{}) {
		lines = append(lines, "? may be estimated in part: a report does not tell")
	}
	for _, u := range s.WithoutPrice() {
		lines = append(lines, "unpriced: "+unpricedText(u))
	}
	if len(lines) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n%s\n", strings.Join(lines, "\n"))
	return err
}

func unpricedText(u account.Unpriced) string {
	return fmt.Sprintf("%s %s %s (%s)", u.Type, label(account.Value{Text: u.Provider}), label(account.Value{Text: u.Model}), u.Why)
}

func labels(r *account.Row) (all []string) {
	for _, v := range r.Values {
		all = append(all, label(v))
	}
	return all
}

func label(v account.Value) string {
	switch {
	case v.Unknown:
		return "(unknown)"
	case v.Text == "":
		return "-"
	}
	return v.Text
}

// mark is a count with how sure it is.
func mark(s *account.Sum, q account.Quantity) string {
	text := approx(s.Estimated[q] > 0, round(q, s.Counts[q]))
	if s.Unstated[q] > 0 {
		text += "?"
	}
	return text
}

func approx(yes bool, s string) string {
	if yes {
		return "~" + s
	}
	return s
}

// costText is never zero for what has no price.
func costText(s *account.Sum) string {
	var parts []string
	for _, m := range s.Totals() {
		parts = append(parts, cents(m.Amount)+" "+m.Currency)
	}
	text := approx(s.CostEstimated, strings.Join(parts, " + "))
	switch {
	case len(s.Unpriced) == 0:
		return text
	case len(parts) == 0:
		return "unpriced"
	}
	return text + " + unpriced"
}

func usageCSV(w io.Writer, a *account.Account, priced bool) error {
	out := csv.NewWriter(w)
	var head []string
	for _, d := range a.By {
		head = append(head, d.String())
	}
	head = append(head, "sessions")
	for q := range account.NumQuantities {
		head = append(head, q.String())
	}
	head = append(head, "estimated")
	totals := a.Total.Totals()
	if priced {
		for _, m := range totals {
			head = append(head, "cost_"+m.Currency)
		}
		head = append(head, "unpriced")
	}
	_ = out.Write(head) // Flush keeps the error
	for i := range a.Rows {
		r := &a.Rows[i]
		var cells []string
		for _, v := range r.Values {
			if v.Unknown {
				v.Text = "(unknown)"
			}
			cells = append(cells, v.Text)
		}
		cells = append(cells, fmt.Sprint(r.Sessions))
		for q := range account.NumQuantities {
			cells = append(cells, full(q, r.Counts[q]))
		}
		cells = append(cells, estimatedText(&r.Sum))
		if priced {
			for _, m := range totals {
				cell := ""
				if amount, ok := r.Costs[m.Currency]; ok {
					cell = amount.String()
				}
				cells = append(cells, cell)
			}
			var none []string
			for _, u := range r.WithoutPrice() {
				none = append(none, unpricedText(u))
			}
			cells = append(cells, strings.Join(none, "; "))
		}
		_ = out.Write(cells)
	}
	out.Flush()
	return out.Error()
}

// estimatedText is the part that is estimated, in one field.
func estimatedText(s *account.Sum) string {
	var parts []string
	for q, n := range s.Estimated {
		if n > 0 {
			q := account.Quantity(q)
			parts = append(parts, q.String()+"="+full(q, n))
		}
	}
	for q, n := range s.Unstated {
		if n > 0 {
			q := account.Quantity(q)
			parts = append(parts, q.String()+"="+full(q, n)+"?")
		}
	}
	return strings.Join(parts, "; ")
}

type usageDoc struct {
	By         []string   `json:"by"`
	Rows       []usageRow `json:"rows"`
	Total      usageRow   `json:"total"`
	NotCounted []string   `json:"not_counted"`
	Notes      []string   `json:"notes"`
}

type usageRow struct {
	Key       map[string]*string     `json:"key,omitempty"` // null: unknown
	Sessions  int                    `json:"sessions"`
	Usage     map[string]json.Number `json:"usage"`
	Estimated map[string]json.Number `json:"estimated,omitempty"`
	Unstated  map[string]json.Number `json:"maybe_estimated,omitempty"`
	Cost      *usageCost             `json:"cost,omitempty"`
}

type usageCost struct {
	Totals    []metrics.Money `json:"totals"`
	Estimated bool            `json:"estimated,omitempty"`
	Unpriced  []usageUnpriced `json:"unpriced"`
}

type usageUnpriced struct {
	Type     string `json:"type"`
	Provider string `json:"provider"`
	Model    string `json:"model"`
	Why      string `json:"why"`
}

func usageJSON(w io.Writer, a *account.Account, priced bool) error {
	doc := usageDoc{By: []string{}, Rows: []usageRow{}, Total: rowJSON(&a.Total, a.By, priced),
		NotCounted: append([]string{}, a.Notes.Damage...), Notes: append([]string{}, a.Notes.Remarks...)}
	for _, d := range a.By {
		doc.By = append(doc.By, d.String())
	}
	for i := range a.Rows {
		doc.Rows = append(doc.Rows, rowJSON(&a.Rows[i], a.By, priced))
	}
	return writeJSON(w, doc)
}

func rowJSON(r *account.Row, by []account.Dimension, priced bool) usageRow {
	out := usageRow{Sessions: r.Sessions, Usage: numbers(&r.Counts), Estimated: numbers(&r.Estimated), Unstated: numbers(&r.Unstated)}
	for i, v := range r.Values {
		if out.Key == nil {
			out.Key = make(map[string]*string)
		}
		if out.Key[by[i].String()] = nil; !v.Unknown {
			out.Key[by[i].String()] = &v.Text
		}
	}
	if !priced {
		return out
	}
	out.Cost = &usageCost{Totals: append([]metrics.Money{}, r.Totals()...), Estimated: r.CostEstimated, Unpriced: []usageUnpriced{}}
	for _, u := range r.WithoutPrice() {
		out.Cost.Unpriced = append(out.Cost.Unpriced, usageUnpriced{u.Type, u.Provider, u.Model, u.Why})
	}
	return out
}

// numbers are the counts that are not zero, times in seconds.
func numbers(c *account.Counts) map[string]json.Number {
	m := make(map[string]json.Number)
	for i, n := range c {
		if q := account.Quantity(i); n != 0 {
			m[q.String()] = json.Number(full(q, n))
		}
	}
	return m
}
