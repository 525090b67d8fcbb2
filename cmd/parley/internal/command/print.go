package command

import (
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/parley-go/parley/cmd/parley/internal/account"
	"github.com/parley-go/parley/cmd/parley/internal/bill"
	"github.com/parley-go/parley/metrics"
)

// grid is a table whose columns are aligned: the first ones, which are text, to the left.
type grid struct {
	text int
	rows [][]string
}

// add adds a row. What would move the cursor, or look like another row, is quoted: names and tags come from anywhere.
func (g *grid) add(cells ...string) {
	for i, s := range cells {
		if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
			cells[i] = strconv.Quote(s)
		}
	}
	g.rows = append(g.rows, cells)
}

func (g *grid) print(w io.Writer) error {
	var widths []int
	for _, row := range g.rows {
		for i, s := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(s))
		}
	}
	var b strings.Builder
	for _, row := range g.rows {
		line := ""
		for i, s := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s))
			if i < g.text {
				line += s + pad + "  "
			} else {
				line += pad + s + "  "
			}
		}
		fmt.Fprintln(&b, strings.TrimRight(line, " "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// full is a count, exactly; times in seconds.
func full(q account.Quantity, n int64) string {
	if !q.Timed() {
		return strconv.FormatInt(n, 10)
	}
	return bill.String(big.NewRat(n, int64(time.Second)))
}

// round is a count for people: times to a millisecond.
func round(q account.Quantity, n int64) string {
	if !q.Timed() {
		return strconv.FormatInt(n, 10)
	}
	return big.NewRat(n, int64(time.Second)).FloatString(3)
}

// cents is an amount for people: to a millionth, unless it is less than that.
func cents(a metrics.Amount) string {
	r := big.NewRat(int64(a), int64(metrics.Unit))
	if s := r.FloatString(6); a == 0 || strings.Trim(s, "-0.") != "" {
		return s
	}
	return r.FloatString(9)
}

func writeJSON(w io.Writer, doc any) error {
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}
