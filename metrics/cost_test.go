package metrics

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func exampleBook(t testing.TB) *PriceBook {
	t.Helper()
	b, err := LoadPriceBook("../docs/prices/example.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func bookOf(t testing.TB, version, currency, prices string) *PriceBook {
	t.Helper()
	b, err := ParsePriceBook(fmt.Appendf(nil, `{"format":1,"version":%q,"currency":%q,"prices":[%s]}`, version, currency, prices))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func use(lines ...ModelUsage) Usage { return Usage{Models: lines} }

var (
	june = time.Date(2026, 6, 30, 23, 59, 59, 999999999, time.UTC)
	july = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
)

func TestCostOfEachKind(t *testing.T) {
	book := exampleBook(t)
	for _, c := range []struct {
		name string
		line ModelUsage
		want string
	}{
		{"cache reads and writes are parts of the input",
			LLMUsage{Provider: "example", Model: "mind-1", InputTokens: 1000, InputCachedTokens: 400, InputCacheCreationTokens: 100, OutputTokens: 10},
			"0.002295"}, // 500*3 + 400*0.75 + 100*3.75 + 10*12 = 2295 millionths
		{"a dated version", LLMUsage{Provider: "example", Model: "mind-1-2026-02-03", OutputTokens: 1}, "0.000012"},
		{"audio, text and image", LLMUsage{Provider: "example", Model: "realtime-1", InputTokens: 100, InputCachedTokens: 40,
			InputAudioTokens: 60, InputCachedAudioTokens: 25, InputTextTokens: 30, InputCachedTextTokens: 10, InputImageTokens: 10, InputCachedImageTokens: 5,
			OutputTokens: 49, OutputAudioTokens: 29, OutputTextTokens: 20},
			"0.003765"}, // 35*35 + 20*5 + 5*6 + 40*0.5 + 29*70 + 20*18 = 3765
		{"cached tokens of an unknown kind are text first", LLMUsage{Provider: "example", Model: "realtime-1", InputTokens: 100, InputCachedTokens: 50,
			InputAudioTokens: 60, InputTextTokens: 40},
			"0.001775"}, // 50*0.5 + 50*35
		{"connection time", LLMUsage{Provider: "example", Model: "realtime-minutes", InputTokens: 500, SessionDuration: 90 * time.Second}, "0.09"},
		{"characters, not the seconds of audio", TTSUsage{Provider: "example", Model: "voice-1", CharactersCount: 42, AudioDuration: 3 * time.Second}, "0.000672"},
		{"audio time", STTUsage{Provider: "example", Model: "ears-1", AudioDuration: 1500 * time.Millisecond}, "0.000165"},
		{"free", EOTUsage{Provider: "local", Model: "namo", TotalRequests: 7}, "0"},
	} {
		got := use(c.line).Cost(june, book)
		if got.Unpriced != 0 || got.Lines[0].Amount.String() != c.want || got.Total("USD") != got.Lines[0].Amount || got.Lines[0].Book != "example-1" {
			t.Errorf("%s: %+v, want %s", c.name, got, c.want)
		}
	}
}

func TestUnpricedIsNotZero(t *testing.T) {
	book := bookOf(t, "1", "EUR", `{"provider":"p","model":"m","rates":{"input_text_tokens":{"price":1,"per":1}}}`)
	for _, c := range []struct {
		line ModelUsage
		why  string
	}{
		{LLMUsage{Provider: "p", Model: "other", InputTokens: 1}, "no price for the model"},
		{LLMUsage{Provider: "p", Model: "m", InputTextTokens: 1, InputTokens: 2}, "no rate for input_tokens"},
		{LLMUsage{Provider: "p", Model: "m", InputTextTokens: 1, InputTokens: 1, OutputTokens: 1}, "no rate for output_tokens"},
		{TTSUsage{Provider: "p", Model: "m", CharactersCount: 3}, "no rate for what was used"},
	} {
		got := use(LLMUsage{Provider: "p", Model: "m", InputTokens: 2, InputTextTokens: 2}, c.line).Cost(june, book)
		if got.Unpriced != 1 || got.Lines[1].Unpriced != c.why || got.Total("EUR") != 2*Unit {
			t.Errorf("%+v costs %+v, want it unpriced: %s", c.line, got, c.why)
		}
	}
	if got := use(STTUsage{AudioDuration: 1}).Cost(june); got.Unpriced != 1 || len(got.Totals) != 0 {
		t.Errorf("without a book: %+v", got)
	}
}

func TestFirstPriceThatIsValidWins(t *testing.T) {
	at := func(price int, dates string) string {
		return fmt.Sprintf(`{"provider":"p","model":"*","rates":{"audio_duration":{"price":%d,"per":"second"}}%s}`, price, dates)
	}
	special := bookOf(t, "special", "USD", at(1, `,"valid_until":"2026-07-01"`))
	list := bookOf(t, "list", "USD", at(2, `,"valid_from":"2026-07-01T02:00:00+02:00"`)+","+at(3, ""))
	for _, c := range []struct {
		at    time.Time
		books []*PriceBook
		want  string
	}{
		{june, []*PriceBook{special, list}, "1"},
		{june, []*PriceBook{list, special}, "3"},
		{july, []*PriceBook{special, nil, list}, "2"},
	} {
		if got := use(STTUsage{Provider: "p", Model: "m", AudioDuration: time.Second}).Cost(c.at, c.books...); got.Lines[0].Amount.String() != c.want {
			t.Errorf("at %v: %+v, want %s", c.at, got.Lines, c.want)
		}
	}
	if got := use(STTUsage{Provider: "example", Model: "ears-1", AudioDuration: time.Hour}).Cost(july, exampleBook(t)); got.Total("USD").String() != "0.36" {
		t.Errorf("in July %+v", got)
	}
	if got := use(STTUsage{Provider: "example", Model: "ears-1", AudioDuration: time.Hour}).Cost(june.AddDate(-1, 0, 0), exampleBook(t)); got.Unpriced != 1 {
		t.Errorf("before the book was valid: %+v", got)
	}
}

// The sum of many small amounts, and thirds, are exact to the last digit that is shown.
func TestCostIsExact(t *testing.T) {
	book := bookOf(t, "1", "USD", `{"provider":"a","model":"*","rates":{"characters_count":{"price":0.1,"per":3}}},
		{"provider":"b","model":"*","rates":{"characters_count":{"price":"1e-7","per":1}}},
		{"provider":"huge","model":"*","rates":{"characters_count":{"price":"1e30","per":1}}}`)
	for _, c := range []struct {
		line TTSUsage
		want string
	}{
		{TTSUsage{Provider: "a", CharactersCount: 3}, "0.1"},
		{TTSUsage{Provider: "a", CharactersCount: 1}, "0.033333333"},
		{TTSUsage{Provider: "a", CharactersCount: 2}, "0.066666667"},
		{TTSUsage{Provider: "b", CharactersCount: 9_007_199_254_740_993}, "900719925.4740993"},
		{TTSUsage{Provider: "huge", CharactersCount: 1}, "9223372036.854775807"},
	} {
		if got := use(c.line).Cost(june, book).Total("USD").String(); got != c.want {
			t.Errorf("%d characters of %s: %s, want %s", c.line.CharactersCount, c.line.Provider, got, c.want)
		}
	}
	for r, want := range map[string]Amount{"0.0000000005": 0, "0.0000000015": 2, "0.0000000025": 2, "0.00000000251": 3} {
		x, _ := new(big.Rat).SetString(r)
		if got := rounded(x); got != want {
			t.Errorf("%s is rounded to %d, want %d", r, got, want)
		}
	}
}

// No token is paid for twice or not at all: with one rate for all of them, the cost is that of the
// input and the output.
func TestTokensAreParted(t *testing.T) {
	book := bookOf(t, "1", "USD", `{"provider":"*","model":"*","rates":{"input_tokens":{"price":1,"per":1},"output_tokens":{"price":1,"per":1}}}`)
	rapid.Check(t, func(t *rapid.T) {
		n := func(name string, most int64) int64 { return rapid.Int64Range(0, most).Draw(t, name) }
		u := LLMUsage{InputAudioTokens: n("audio", 1000), InputTextTokens: n("text", 1000), InputImageTokens: n("image", 1000)}
		u.InputTokens = u.InputAudioTokens + u.InputTextTokens + u.InputImageTokens + n("rest", 1000)
		u.InputCachedTokens = n("cached", u.InputTokens)
		known := n("known", u.InputCachedTokens)
		u.InputCachedTextTokens = min(known, u.InputTextTokens)
		u.InputCachedAudioTokens = min(known-u.InputCachedTextTokens, u.InputAudioTokens)
		u.InputCacheCreationTokens = n("creation", u.InputTokens-u.InputCachedTokens)
		u.OutputAudioTokens = n("output audio", 1000)
		u.OutputTokens = u.OutputAudioTokens + n("output", 1000)
		c := u.counts()
		for m, n := range c {
			if n < 0 {
				t.Fatalf("%d %s", n, meterNames[m])
			}
		}
		if got := use(u).Cost(june, book).Total("USD"); u.InputTokens+u.OutputTokens > 0 && got != Amount(u.InputTokens+u.OutputTokens)*Unit {
			t.Fatalf("%+v costs %s", u, got)
		}
	})
}

func TestCurrenciesAreNotAdded(t *testing.T) {
	price := func(p string) string {
		return `{"provider":"` + p + `","model":"*","rates":{"characters_count":{"price":1,"per":1}}}`
	}
	books := []*PriceBook{bookOf(t, "u", "USD", price("a")), bookOf(t, "e", "EUR", price("b"))}
	c := use(TTSUsage{Provider: "a", CharactersCount: 1}, TTSUsage{Provider: "a", Model: "x", CharactersCount: 5}, TTSUsage{Provider: "b", CharactersCount: 2}).Cost(june, books...)
	if want := []Money{{2 * Unit, "EUR"}, {6 * Unit, "USD"}}; !reflect.DeepEqual(c.Totals, want) || c.Total("JPY") != 0 {
		t.Errorf("totals %v, want %v", c.Totals, want)
	}
}

func TestCostJSONGolden(t *testing.T) {
	u := use(
		LLMUsage{Provider: "example", Model: "mind-1", InputTokens: 1000, InputCachedTokens: 400, OutputTokens: 10},
		LLMUsage{Provider: "example", Model: "unheard-of", InputTokens: 1000},
		TTSUsage{Provider: "swiss", Model: "voice", CharactersCount: 42},
		STTUsage{Provider: "local", Model: "whisper", AudioDuration: time.Second},
	)
	c := u.Cost(june, exampleBook(t), bookOf(t, "franc-7", "CHF", `{"provider":"swiss","model":"voice","rates":{"characters_count":{"price":"15.5","per":1000000}}}`))
	got, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "cost.golden", append(got, '\n'))
	var back Cost
	if err := json.Unmarshal(got, &back); err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("read back %+v, %v; want %+v", back, err, c)
	}
	got, _ = json.Marshal(Cost{})
	if want := `{"lines":[],"totals":[],"unpriced_lines":0}`; string(got) != want {
		t.Errorf("no cost is %s, want %s", got, want)
	}
}

func TestPriceBooksThatAreWrong(t *testing.T) {
	rate := func(r string) string {
		return `{"format":1,"version":"1","currency":"USD","prices":[{"provider":"p","model":"m","rates":{` + r + `}}]}`
	}
	for book, want := range map[string]string{
		`{"format":1,"version":"1","version":"2"}`:                                    `"version" is there twice`,
		rate(`"input_tokens":{"price":1,"per":1},"input_tokens":{"price":2,"per":1}`): `"input_tokens" is there twice`,
		rate(`"input_tokens":{"price":1,"price":2,"per":1}`):                          `"price" is there twice`,
		rate(`"input_tokens":{"price":1,"Price":2,"per":1}`):                          `"price" is there twice`,
		`{"format":1,"version":"1","prices":[`:                                        "unexpected EOF",
		`[]`:                                                                          "cannot unmarshal",
		`{"format":1} x`:                                                              "something follows",
		`{"format":2}`:                                                                "format 2 is unknown",
		`{"format":1,"currency":"USD"}`:                                               "no version",
		`{"format":1,"version":"1","currency":"usd"}`:                                 "currency",
		`{"format":1,"version":"1","currency":"USD","price":[]}`:                      `unknown field "price"`,
		`{"format":1,"version":"1","currency":"USD","valid_from":"May"}`:              `date "May"`,
		`{"format":1,"version":"1","currency":"USD","valid_from":"2026-02-01","valid_until":"2026-02-01"}`:       "only until",
		`{"format":1,"version":"1","currency":"USD","prices":[{"provider":"p","model":"m"}]}`:                    "no rates",
		`{"format":1,"version":"1","currency":"USD","prices":[{"provider":"p","rates":{}}]}`:                     "needs a provider and a model",
		`{"format":1,"version":"1","currency":"USD","prices":[{"type":"vad_usage","provider":"p","model":"m"}]}`: `unknown type "vad_usage"`,
		rate(`"input_token":{"price":1,"per":1}`):                                                                `rate "input_token" is unknown`,
		rate(`"input_tokens":{"price":-1,"per":1}`):                                                              "not a decimal",
		rate(`"input_tokens":{"price":"1/3","per":1}`):                                                           "not a decimal",
		rate(`"input_tokens":{"price":"1e999999999","per":1}`):                                                   "not a decimal",
		rate(`"input_tokens":{"price":"0x10","per":1}`):                                                          "not a decimal",
		rate(`"input_tokens":{"per":1}`):                                                                         "not a decimal",
		rate(`"input_tokens":{"price":1}`):                                                                       "want a number above zero",
		rate(`"input_tokens":{"price":1,"per":0}`):                                                               "want a number above zero",
		rate(`"input_tokens":{"price":1,"per":"minute"}`):                                                        "want a number above zero",
		rate(`"audio_duration":{"price":1,"per":60}`):                                                            "want second, minute or hour",
	} {
		if _, err := ParsePriceBook([]byte(book)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", book, err, want)
		}
	}
	if _, err := LoadPriceBook("testdata/none.json"); err == nil {
		t.Error("a book that is not there was loaded")
	}
}

// A price that never counts is a mistake: most often the one that was to take its place from some day on.
func TestPricesThatNeverCount(t *testing.T) {
	book := func(prices ...string) error {
		for i, p := range prices {
			fields := strings.Fields(p) // type, provider, model, from, until; "-" for none
			prices[i] = "{"
			for k, name := range []string{"type", "provider", "model", "valid_from", "valid_until"} {
				if fields[k] != "-" {
					prices[i] += fmt.Sprintf("%q:%q,", name, fields[k])
				}
			}
			prices[i] += `"rates":{"input_tokens":{"price":1,"per":1}}}`
		}
		_, err := ParsePriceBook([]byte("\uFEFF" + `{"format":1,"version":"1","currency":"USD","prices":[` + strings.Join(prices, ",") + `]}`))
		return err
	}
	for _, tt := range []struct {
		never bool
		p     []string
	}{
		{true, []string{"- p m - -", "- p m - -"}},
		{true, []string{"- p m - -", "- p m 2026-07-01 -"}},
		{true, []string{"- p m - -", "- p m - 2026-07-01"}},
		{false, []string{"- p m 2026-07-01 -", "- p m - -"}},
		{false, []string{"- p m - 2026-07-01", "- p m 2026-07-01 -"}},
		{false, []string{"- p m - 2026-07-02", "- p m 2026-07-01 -"}},
		{true, []string{"- p m - 2026-07-02", "- p m 2026-07-01 2026-07-02"}},
		{true, []string{"- p m* - -", "- p m-1 - -"}},
		{true, []string{"- p m* - -", "- p m-* - -"}},
		{true, []string{"- * * - -", "stt_usage p m - -"}},
		{false, []string{"- p m-1 - -", "- p m* - -"}},
		{false, []string{"- p m-* - -", "- p m* - -"}},
		{false, []string{"- p m - -", "- p m* - -"}},
		{false, []string{"stt_usage p m - -", "- p m - -"}},
		{false, []string{"stt_usage p m - -", "tts_usage p m - -"}},
		{false, []string{"- p m - -", "- q m - -"}},
	} {
		text := fmt.Sprint(tt.p)
		if err := book(tt.p...); (err != nil) != tt.never || err != nil && !strings.Contains(err.Error(), "price 1 (") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestMoney(t *testing.T) {
	for in, want := range map[string]string{"0.50 USD": "0.5 USD", "-2 EUR": "-2 EUR", "1e-9 JPY": "0.000000001 JPY", "9000000000 KRW": "9000000000 KRW"} {
		if m, err := ParseMoney(in); err != nil || m.String() != want {
			t.Errorf("%q is %v, %v; want %s", in, m, err, want)
		}
	}
	for _, in := range []string{"", "1", "1 usd", "1 DOLLAR", "--1 USD", "0.0000000001 USD", "1e10 USD", "1_0 USD", "NaN USD", ". USD"} {
		if m, err := ParseMoney(in); err == nil {
			t.Errorf("%q is %v, want an error", in, m)
		}
	}
	var m Money
	if err := json.Unmarshal([]byte(`{"amount":0.1,"currency":"USD"}`), &m); err != nil || m.Amount != Unit/10 {
		t.Errorf("%v, %v", m, err)
	}
	if s := Amount(math.MinInt64).String(); s != "-9223372036.854775808" {
		t.Error(s)
	}
}

func TestTokensOfUsage(t *testing.T) {
	u := use(LLMUsage{InputTokens: 10, InputCachedTokens: 5, OutputTokens: 2}, TTSUsage{InputTokens: 3, OutputTokens: 4}, STTUsage{InputTokens: 6, OutputTokens: 7}, EOTUsage{TotalRequests: 9})
	if n := u.Tokens(); n != 32 {
		t.Errorf("%d tokens, want 32", n)
	}
}

// The book in the documentation can be loaded, and it names every rate.
func TestDocumentedPriceBook(t *testing.T) {
	doc, err := os.ReadFile("../docs/usage.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "## Price books")
	_, rest, _ = strings.Cut(rest, "```json\n")
	book, _, _ := strings.Cut(rest, "```")
	b, err := ParsePriceBook([]byte(book))
	if err != nil || b.Version() != "2026-07" || b.Currency() != "USD" {
		t.Errorf("%+v, %v", b, err)
	}
	for _, name := range meterNames {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/usage.md does not name the rate %s", name)
		}
	}
}

func BenchmarkCostOf3Lines(b *testing.B) {
	book := exampleBook(b)
	u := use(LLMUsage{Provider: "example", Model: "mind-1", InputTokens: 1000, InputCachedTokens: 400, OutputTokens: 10},
		TTSUsage{Provider: "example", Model: "voice-1", CharactersCount: 42}, STTUsage{Provider: "example", Model: "ears-1", AudioDuration: time.Second})
	b.ReportAllocs()
	for b.Loop() {
		if u.Cost(june, book).Unpriced != 0 {
			b.Fatal("unpriced")
		}
	}
}
