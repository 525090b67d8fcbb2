package bill

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/parley-go/parley/cmd/parley/internal/account"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNumbers(t *testing.T) {
	for s, want := range map[string]string{
		"0": "0", "12": "12", " 1,234,567 ": "1234567", "1,234.5": "1234.5", "12,34,567": "1234567", "1 234": "1234", "1\u00a0234\u202f567.25": "1234567.25",
		"1'234": "1234", "1’234": "1234", "1_000": "1000", "-5": "-5", "(5.5)": "-5.5", "−5": "-5", "+5": "5", "$1,234.50": "1234.5", "-$3": "-3", "$-3": "-3",
		"1.5 €": "1.5", "USD 2": "2", "2.5USD": "2.5", "1.2E+03": "1200", "1e-3": "0.001", "007": "7",
		// These are none: they leave doubts.
		"": "", "-": "", "1,5": "", "1,23,4": "", "12345,678": "", ",5": "", "1,": "", "1.": "", ".": "", "1.2.3": "", "abc": "", "1e999": "", "--5": "", "-(5)": "",
		"1 000,5": "", "0x10": "", "NaN": "", "1/2": "", strings.Repeat("9", 61): "", "1,234 567": "",
	} {
		r, err := parseNumber(s, false)
		if got := ""; (err == nil) != (want != "") || err == nil && String(r) != want {
			t.Errorf("%q: %v%s, %v; want %q", s, r, got, err, want)
		}
	}
	for s, want := range map[string]string{"1.234.567,89": "1234567.89", "0,5": "0.5", "1 234,5": "1234.5", "12,34,567": "", "1.5": ""} {
		if r, err := parseNumber(s, true); (err == nil) != (want != "") || err == nil && String(r) != want {
			t.Errorf("%q with decimal comma: %v, %v; want %q", s, r, err, want)
		}
	}
}

func TestNumbersAreReadAsTheyAreGrouped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		plain := strings.TrimPrefix(fmt.Sprint(n), "-")
		sep := rapid.SampledFrom([]string{"", ",", " ", "'", "_"}).Draw(t, "separator")
		grouped := ""
		for i, c := range plain {
			if i > 0 && (len(plain)-i)%3 == 0 {
				grouped += sep
			}
			grouped += string(c)
		}
		if n < 0 {
			grouped = rapid.SampledFrom([]string{"-%s", "(%s)"}).Draw(t, "minus")
			grouped = fmt.Sprintf(grouped, strings.TrimPrefix(plainGroup(plain, sep), "-"))
		}
		r, err := parseNumber(grouped, false)
		if err != nil || r.Cmp(new(big.Rat).SetInt64(n)) != 0 {
			t.Fatalf("%q: %v, %v; want %d", grouped, r, err, n)
		}
	})
}

func plainGroup(plain, sep string) string {
	var parts []string
	for len(plain) > 3 {
		parts = append([]string{plain[len(plain)-3:]}, parts...)
		plain = plain[:len(plain)-3]
	}
	return strings.Join(append([]string{plain}, parts...), sep)
}

func TestDays(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones here")
	}
	for _, c := range []struct{ text, format, want string }{
		{"2026-07-01", "", "2026-07-01"}, {"2026-07-01T23:30:00Z", "auto", "2026-07-02"}, {"2026-07-01 23:30:00", "", "2026-07-01"},
		{"2026-07-01 23:30:00 UTC", "", "2026-07-02"}, {"2026-07-01 23:30:00+00:00", "", "2026-07-02"}, {"20260701", "", "2026-07-01"},
		{"Jul 1, 2026", "", "2026-07-01"}, {"1 July 2026", "", "2026-07-01"}, {"2026/07/01", "", "2026-07-01"}, {"01-Jul-2026", "", "2026-07-01"},
		{"7/1/2026", "us", "2026-07-01"}, {"07/01/26", "us", "2026-07-01"}, {"01/07/2026", "eu", "2026-07-01"}, {"1.7.2026", "de", "2026-07-01"},
		{"1782945000", "unix", "2026-07-02"}, {"1782945000123", "unixms", "2026-07-02"}, {"1782945000.5", "unix", "2026-07-02"},
		{"01|07|2026", "02|01|2006", "2026-07-01"},
		{"07/01/2026", "", ""}, {"2026-13-01", "", ""}, {"Total", "us", ""}, {"99999999999999999999", "unix", ""}, {"", "", ""},
	} {
		day, err := parseDay(c.text, c.format, berlin)
		if err == nil && day.Format("2006-01-02 15:04 MST") != c.want+" 00:00 CEST" || (err == nil) != (c.want != "") {
			t.Errorf("%q as %q: %v, %v; want %q", c.text, c.format, day, err, c.want)
		}
	}
	for format, ok := range map[string]bool{"": true, "us": true, "2006-01-02": true, "02.01.06 15:04": true, "US": false, "iso": false, "2006-01": false, "yyyy-mm-dd": false} {
		if err := checkDayFormat(format); (err == nil) != ok {
			t.Errorf("format %q: %v", format, err)
		}
	}
}

func column(t testing.TB, quantity, s string) Column {
	t.Helper()
	c, err := ParseColumn(quantity, s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// text is a bill, a line each: "2026-07-01 mind: input_tokens 5".
func text(b Bill) (all []string) {
	for l, sums := range b {
		s := strings.TrimSpace(l.Day + " " + l.Model)
		for _, q := range []string{"input_tokens", "stt_audio_duration", Cost} {
			if sums[q] != nil {
				s += " " + q + " " + String(sums[q])
			}
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

func TestParse(t *testing.T) {
	usual := Format{Day: "Day", Model: "Model", Quantities: []Column{column(t, "input_tokens", "Input Tokens")}}
	with := func(change func(*Format)) Format { f := usual; change(&f); return f }
	for name, c := range map[string]struct {
		f        Format
		csv      string
		want     string // lines, with bars in between
		problems string // in the error
	}{
		"usual":          {usual, "Day,Model,Input Tokens\n2026-07-01,mind,5\n", "2026-07-01 mind input_tokens 5", ""},
		"several rows":   {usual, "Day,Model,Input Tokens\n2026-07-01,mind,5\n2026-07-01,mind,\"1,000\"\n2026-07-02,mind,-1\n", "2026-07-01 mind input_tokens 1005|2026-07-02 mind input_tokens -1", ""},
		"names in case":  {usual, "DAY,model,input_tokens\n2026-07-01,mind,5\n", "2026-07-01 mind input_tokens 5", ""},
		"exact name":     {usual, "day,Day,Model,Input Tokens\nx,2026-07-01,mind,5\n", "2026-07-01 mind input_tokens 5", ""},
		"several names":  {usual, "day,DAY,Model,Input Tokens\nx,2026-07-01,mind,5\n", "", `several columns "Day"`},
		"no such column": {usual, "Date,Model,Input Tokens\n", "", `no column "Day", only "Date", "Model", "Input Tokens"`},
		"mark":           {usual, "\uFEFFDay,Model,Input Tokens\r\n2026-07-01,mind,5\r\n", "2026-07-01 mind input_tokens 5", ""},
		"quotes":         {usual, "\"Day\",\"Model\",\"Input Tokens\"\n\"2026-07-01\",\"mi\"\"nd,\n2\",\"5\"\n", "2026-07-01 mi\"nd,\n2 input_tokens 5", ""},
		"semicolons":     {usual, "Day;Model;\"Input Tokens\"\n2026-07-01;a,b;5\n", "2026-07-01 a,b input_tokens 5", ""},
		"tabs":           {usual, "Day\tModel\tInput Tokens\n2026-07-01\t\t5\n", "2026-07-01 input_tokens 5", ""},
		"empty fields":   {usual, "Day,Model,Input Tokens\n2026-07-01,mind,\n\n,,\n2026-07-01,mind\n", "2026-07-01 mind", ""},
		"given comma":    {with(func(f *Format) { f.Delimiter = '|' }), "Day|Model|Input Tokens\n2026-07-01|mind|5\n", "2026-07-01 mind input_tokens 5", ""},
		"decimal comma":  {with(func(f *Format) { f.DecimalComma = true }), "Day;Model;Input Tokens\n2026-07-01;mind;1.000,5\n", "2026-07-01 mind input_tokens 1000.5", ""},
		"no days":        {with(func(f *Format) { f.Day = "" }), "Model,Input Tokens\nmind,5\nmind,6\n", "mind input_tokens 11", ""},
		"where":          {with(func(f *Format) { f.Where = []Condition{{"Day", "Total", true}, {"kind", "x", false}} }), "Day,Model,Input Tokens,Kind\n2026-07-01,mind,5,x\n2026-07-01,mind,7,y\nTotal,,12,x\n", "2026-07-01 mind input_tokens 5", ""},
		"aliases": {with(func(f *Format) { f.Aliases = []Alias{{"Mind*", "other"}, {"Mind 1", "mind"}} }),
			"Day,Model,Input Tokens\n2026-07-01,Mind 1,5\n2026-07-01,mind,1\n2026-07-01,Mind 2,7\n", "2026-07-01 mind input_tokens 6|2026-07-01 other input_tokens 7", ""},
		"columns together": {with(func(f *Format) {
			f.Quantities = []Column{column(t, "input_tokens", "in"), column(t, "input_tokens", "cached"), column(t, "stt_audio_duration", "min * 60"), column(t, Cost, "a/b/100")}
		}), "Day,Model,in,cached,min,a/b\n2026-07-01,mind,5,6,1.5,250\n", "2026-07-01 mind input_tokens 11 stt_audio_duration 90 cost 2.5", ""},
		"bad number": {usual, "Day,Model,Input Tokens\n\n2026-07-01,mind,many\n", "", `line 3: column Input Tokens: "many": it is not a number`},
		"bad day":    {usual, "Day,Model,Input Tokens\n1/2/2026,mind,5\n", "", `line 2: column Day: "1/2/2026": it is no day that leaves no doubt`},
		"bad quotes": {usual, "Day,Model,Input Tokens\n2026-07-01,mi\"nd,5\n", "", "line 2"},
		"bad format": {with(func(f *Format) { f.DayFormat = "American" }), "", "", `day format "American"`},
		"empty":      {usual, "", "", "it is empty"},
	} {
		b, err := Parse(strings.NewReader(c.csv), c.f, &account.Query{})
		if got := strings.Join(text(b), "|"); got != c.want || (err == nil) != (c.problems == "") || err != nil && !strings.Contains(err.Error(), c.problems) {
			t.Errorf("%s: %q, %v; want %q, %q", name, got, err, c.want, c.problems)
		}
		if err != nil || c.f.Delimiter != 0 {
			continue
		}
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			var wide []byte
			for _, u := range utf16.Encode([]rune("\uFEFF" + strings.TrimPrefix(c.csv, "\uFEFF"))) {
				wide = order.AppendUint16(wide, u)
			}
			if b, err := Parse(bytes.NewReader(wide), c.f, &account.Query{}); err != nil || strings.Join(text(b), "|") != c.want {
				t.Errorf("%s in UTF-16: %q, %v", name, text(b), err)
			}
		}
	}
}

func TestParseKeepsWhatIsAskedFor(t *testing.T) {
	f := Format{Day: "day", Model: "model", Quantities: []Column{column(t, "input_tokens", "n")}, Aliases: []Alias{{"A", "mind"}}}
	day := func(n int) time.Time { return time.Date(2026, 7, n, 0, 0, 0, 0, time.UTC) }
	b, err := Parse(strings.NewReader("day,model,n\n2026-07-01,A,1\n2026-07-02,A,2\n2026-07-02,voice,4\n2026-07-03,A,8\n"), f,
		&account.Query{Since: day(2), Until: day(3), Models: []string{"mind*"}})
	if got := strings.Join(text(b), "|"); err != nil || got != "2026-07-02 mind input_tokens 2" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestColumns(t *testing.T) {
	for s, want := range map[string]string{"a": "a 1", "a*60": "a 60", " a b * 0.5": "a b 0.5", "a/4": "a 0.25", "a*b": "a*b 1", "a/b*1,000": "a/b 1000", "a*": "a* 1",
		"": "", "*60": "", "a*0": "", "a/0": "", "a*-1": ""} {
		c, err := ParseColumn("q", s)
		got := ""
		if err == nil {
			got = c.Name + " " + String(cmp.Or(c.Factor, big.NewRat(1, 1)))
		}
		if got != want {
			t.Errorf("%q: %q, %v; want %q", s, got, err, want)
		}
	}
}

func TestTolerance(t *testing.T) {
	r := func(n int64) *big.Rat { return big.NewRat(n, 1) }
	for _, c := range []struct {
		tolerance  string
		ours, bill *big.Rat
		over       bool
	}{
		{"0", r(5), r(5), false}, {"0", r(5), r(6), true}, {"1%", r(101), r(100), false}, {"1%", r(102), r(100), true}, {"1%", r(98), r(100), true},
		{"2", r(98), r(100), false}, {"2", r(97), r(100), true}, {"1%,5", r(5), nil, false}, {"1%,5", r(6), nil, true}, {"1%,5", r(995), r(1000), false},
		{"50%", nil, r(5), true}, {"100%", nil, r(5), false}, {"0", nil, nil, false}, {"1%", r(-101), r(-100), false}, {"1%", r(-102), r(-100), true},
	} {
		tol, err := ParseTolerance(c.tolerance)
		if err != nil {
			t.Fatal(err)
		}
		if got := tol.exceeds(&Difference{Ours: c.ours, Bill: c.bill}); got != c.over {
			t.Errorf("%v and %v with %s: over is %v", c.ours, c.bill, c.tolerance, got)
		}
	}
	for _, s := range []string{"", "x", "-1", "1%%", "-1%", "1,"} {
		if _, err := ParseTolerance(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
	if tol, _ := ParseTolerance("1000"); !tol.exceeds(&Difference{Unpriced: true}) {
		t.Error("what is unpriced is within the tolerance")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("Day,Model,Input Tokens\n2026-07-01,mind,5\n"), false)
	f.Add([]byte("\uFEFFday;model;input tokens\n\"2026-07-01\";\"a\"\"b\";\"1.234,5\"\n"), true)
	f.Add([]byte("\xff\xfed\x00a\x00y\x00,\x00\n\x00"), false)
	f.Add([]byte("day,model,input_tokens\n20260701,,(1e30)\n"), false)
	f.Fuzz(func(t *testing.T, data []byte, comma bool) {
		format := Format{Day: "day", Model: "model", DecimalComma: comma, Quantities: []Column{column(t, "input_tokens", "input tokens*60"), column(t, Cost, "input tokens")}}
		b, err := Parse(bytes.NewReader(data), format, &account.Query{})
		if err != nil {
			return
		}
		for l, sums := range b {
			if _, err := time.Parse(time.DateOnly, l.Day); err != nil {
				t.Fatalf("day %q", l.Day)
			}
			if in, cost := sums["input_tokens"], sums[Cost]; (in == nil) != (cost == nil) || in != nil && new(big.Rat).Mul(cost, big.NewRat(60, 1)).Cmp(in) != 0 {
				t.Fatalf("%v and %v are of one column", in, cost)
			}
		}
		c := b.Compare(&account.Account{}, format, "USD", Tolerance{})
		if c.Over != len(c.Lines) {
			t.Fatalf("%d of %d lines differ from nothing", c.Over, len(c.Lines))
		}
	})
}
