package command

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// cases are command lines, each with a golden file; DIR is the folder of the calls.
var cases = map[string]string{
	"usage":     "usage DIR",
	"cost":      "usage -prices DIR/prices.json -by day,model -type llm DIR/ledger DIR/reports",
	"tag":       "usage -by tag:customer,outcome DIR/ledger DIR/reports",
	"tool":      "usage -by agent,tool -type llm -since 2000-01-01 -until 2000-01-02 DIR",
	"none":      "usage -by none -prices DIR/prices.json DIR/ledger",
	"csv":       "usage -format csv -by model,tool -prices DIR/prices.json DIR",
	"json":      "usage DIR/reports -format json -by provider,agent -prices DIR/prices.json",
	"nothing":   "usage -model nobody DIR/ledger",
	"damage":    "usage -by model DIR/ledger DIR/damaged",
	"bill":      "usage reconcile -bill DIR/bill.csv -col-day day -col-model model -col-input-tokens uncached -col-input-tokens cached -col-output-tokens output -col-cost charge -prices DIR/prices.json -provider acme -tolerance 2% -alias Mind*=mind DIR/ledger DIR/reports",
	"billcsv":   "usage reconcile -format csv -bill DIR/bill.csv -col-day day -col-model model -col-output-tokens output -provider acme -alias Mind*=mind DIR/ledger",
	"billjson":  "usage reconcile -format json -bill DIR/bill.csv -col-day day -col-model model -col-output-tokens output -col-cost charge -prices DIR/prices.json -provider acme -alias Mind*=mind DIR/ledger",
	"billsum":   "usage reconcile -bill DIR/voice.csv -where kind!=total -col-characters-count thousands*1000 -decimal-comma -type tts DIR",
	"billempty": "usage reconcile -bill DIR/voice.csv -where kind=none -col-characters-count thousands -type tts -model nobody DIR/ledger",
}

func TestGolden(t *testing.T) {
	dir := folder(t)
	put(t, dir, "damaged/a.json", `{"session_id":"x","usage":[{"type":"llm_usage","model":"mind","input_tokens":7}],"ended_at":9e8}`)
	put(t, dir, "damaged/b.json", `{"session_id":`)
	put(t, dir, "bill.csv", "\uFEFFDay;Model;Uncached;Cached;Output;Charge\r\n2000-01-01;Mind 1;2,600;3,400;100;$0.02\r\n2000-01-01;Mind 2;;;\"80\";$0.0001\r\n2000-01-02;Mind 1;\"1,300\";1700;90;$0.01008\r\n2000-01-02;\"Other; model\";10;;;\r\n")
	put(t, dir, "voice.csv", "kind,thousands\nvoice,\"0,060\"\nvoice,\"0,024\"\ntotal,\"0,084\"\n")
	for name, line := range cases {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, status := parley(t, dir, strings.Fields(strings.ReplaceAll(line, "DIR", dir))...)
			line = strings.ReplaceAll(strings.ReplaceAll(line, "DIR/", ""), "DIR", ".")
			stdout, stderr = strings.ReplaceAll(stdout, dir, "."), strings.ReplaceAll(stderr, dir, ".")
			golden(t, name+".txt", fmt.Sprintf("$ parley %s\n%s--- errors\n%s--- status %d\n", line, stdout, stderr, status))
		})
	}
}

// TestDocsShowWhatIsPrinted holds the examples of docs/usage.md against the golden files.
func TestDocsShowWhatIsPrinted(t *testing.T) {
	docs, err := os.ReadFile("../../../../docs/usage.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cost", "tag", "bill"} {
		data, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		_, printed, _ := strings.Cut(string(data), "\n") // the command may be broken into lines there
		if printed, _, _ = strings.Cut(printed, "--- errors"); !strings.Contains(string(docs), "\n"+printed+"```") {
			t.Errorf("docs/usage.md does not show what %s.txt has", name)
		}
	}
}

func TestFormatsSayTheSame(t *testing.T) {
	dir := folder(t)
	args := []string{"usage", "-by", "day,model,tool", "-prices", filepath.Join(dir, "prices.json"), dir}
	out, _, _ := parley(t, dir, append(args, "-format=csv")...)
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	out, _, _ = parley(t, dir, append(args, "-format=json")...)
	var doc usageDoc
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(doc.Rows)+1 || len(rows) < 5 {
		t.Fatalf("%d rows as CSV, %d as JSON", len(rows)-1, len(doc.Rows))
	}
	for i, row := range rows[1:] {
		for j, name := range rows[0] {
			j, text := doc.Rows[i], row[j]
			want, of := "", false
			switch key, isKey := j.Key[name]; {
			case isKey && key == nil:
				want, of = "(unknown)", true
			case isKey:
				want, of = *key, true
			case name == "cost_USD" && len(j.Cost.Totals) > 0:
				want, of = j.Cost.Totals[0].Amount.String(), true
			case j.Usage[name] != "":
				want, of = j.Usage[name].String(), true
			case strings.HasSuffix(name, "_tokens"):
				want, of = "0", true
			}
			if of && text != want {
				t.Errorf("row %d: %s is %q as CSV and %q as JSON", i, name, text, want)
			}
		}
	}
}

func TestWrongCommandLines(t *testing.T) {
	dir := t.TempDir()
	ok := put(t, dir, "bill.csv", "day,n\n2000-01-01,1\n")
	put(t, dir, "bad.csv", "day,n\nyesterday,1\n")
	put(t, dir, "prices.json", prices)
	put(t, dir, "empty", "")
	reconcile := "usage reconcile -bill " + ok + " -col-day day "
	for line, want := range map[string]string{
		"":                            "parley usage",
		"user":                        `no command "user"`,
		"usage":                       "no path is given",
		"usage -bye x":                "-bye",
		"usage -by colour DIR":        `no dimension "colour", only type, provider`,
		"usage -by tag: DIR":          `no dimension "tag:"`,
		"usage -format xml DIR":       `no format "xml"`,
		"usage -tz Atlantis/City DIR": "-tz",
		"usage -since yesterday DIR":  `-since: "yesterday"`,
		"usage -until 1.2.2000 DIR":   `-until: "1.2.2000"`,
		"usage -since 2000-01-01 -until 2000-01-01 DIR": "nothing is from 2000-01-01 on and before",
		"usage -type smell DIR":                         `no "smell"`,
		"usage -tag customer DIR":                       "want KEY=VALUE",
		"usage -prices DIR/none DIR":                    "reading price book",
		"usage DIR/none":                                "no such file",
		"usage DIR/bill.csv":                            "neither a ledger nor a whole session report",
		"usage DIR/prices.json":                         "neither a ledger nor a session report",
		"usage reconcile":                               "no path is given",
		"usage reconcile DIR":                           "-bill is missing",
		reconcile + "DIR":                               "no column is given with what to compare",
		reconcile + "-col-cost n DIR":                   "-col-cost needs -prices",
		reconcile + "-col-cost n -prices DIR/prices.json -currency EUR DIR":        "no price book is in EUR",
		reconcile + "-col-total-requests n*0 DIR":                                  "-col-total-requests: the factor",
		reconcile + "-col-total-requests m DIR":                                    `bill.csv: there is no column "m", only "day", "n"`,
		reconcile + "-col-total-requests n -tolerance little DIR":                  `-tolerance "little"`,
		reconcile + "-col-total-requests n -delimiter ab DIR":                      "want one character",
		reconcile + "-col-total-requests n -where day DIR":                         "want COLUMN=VALUE",
		reconcile + "-col-total-requests n -alias day DIR":                         "want BILL=OURS",
		reconcile + "-col-total-requests n -day-format british DIR":                `day format "british"`,
		reconcile + "-col-total-requests n DIR/none":                               "no such file",
		"usage reconcile -bill DIR/bad.csv -col-day day -col-total-requests n DIR": `bad.csv: line 2: column day: "yesterday"`,
		"usage reconcile -bill DIR/none -col-day day -col-total-requests n DIR":    "no such file",
	} {
		stdout, stderr, status := parley(t, dir, strings.Fields(strings.ReplaceAll(line, "DIR", dir))...)
		if status != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("parley %s: status %d, %q, %q; want %q", line, status, stdout, stderr, want)
		}
	}
	if out, errs, status := parley(t, dir, "usage", filepath.Join(dir, "empty")); out != "no usage\n" || errs != "" || status != exitOK {
		t.Errorf("an empty ledger: %q, %q, %d", out, errs, status)
	}
}

// A tag is what a caller said, perhaps: it makes no rows of its own, and does nothing to a terminal.
func TestOddNamesStayInTheirCells(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "r.json", `{"version":5,"session_id":"s","ended_at":1,"close_reason":"user_initiated","tags":{"customer":"a\u001b[2J\ntotal 0","city":"Ærø 東京"},
		"usage":[{"type":"llm_usage","provider":"p\u202e","model":"m","input_tokens":5}]}`)
	out, _, status := parley(t, dir, "usage", "-by", "tag:customer,tag:city,provider", dir)
	if status != exitOK || strings.Count(out, "\n") < 3 || strings.ContainsAny(out, "\x1b\u202e") || !strings.Contains(out, `"a\x1b[2J\ntotal 0"  Ærø 東京`) || strings.Contains(out, "\ntotal 0") {
		t.Errorf("%d: %s", status, out)
	}
	out, _, _ = parley(t, dir, "usage", "-by", "tag:customer", "-format", "csv", dir)
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][0] != "a\x1b[2J\ntotal 0" {
		t.Errorf("as CSV %q, %v", rows, err)
	}
}

func TestHelp(t *testing.T) {
	for line, want := range map[string]string{"help": "parley usage reconcile", "-h": "parley usage", "usage -h": "-by DIMENSIONS", "usage --help": "Exit status",
		"usage reconcile -help": "-col-stt-audio-duration NAME"} {
		if out, errs, status := parley(t, "", strings.Fields(line)...); status != exitOK || errs != "" || !strings.Contains(out, want) {
			t.Errorf("%s: %d, %q, %q", line, status, out, errs)
		}
	}
}

// broken is an output that nobody reads.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestBrokenOutput(t *testing.T) {
	dir := folder(t)
	if err := os.Remove(filepath.Join(dir, "prices.json")); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"table", "csv", "json"} {
		var errs bytes.Buffer
		if status := Run([]string{"usage", "-format", format, dir}, broken{}, &errs); status == exitOK || !strings.Contains(errs.String(), "broken pipe") {
			t.Errorf("%s: %d, %q", format, status, errs.String())
		}
	}
}
