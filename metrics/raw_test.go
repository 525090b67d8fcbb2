package metrics

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRawIsBoundedJSON(t *testing.T) {
	long := `"` + strings.Repeat("x", MaxRaw-2) + `"`
	for in, want := range map[string]Raw{
		"":                      "",
		" null ":                "",
		`{"broken":`:            "",
		"{ \"a\" :\n [1, 2] }":  `{"a":[1,2]}`,
		`{"a":"<b>"}`:           `{"a":"\u003cb\u003e"}`,
		long:                    Raw(long),
		strings.Repeat(" ", 20): "",
		`"y` + long[1:]:         "",
		`[` + long + `]`:        "",
		strings.Repeat("9", 1<<20) + strings.Repeat(" ", 100): "",
	} {
		if got := RawOf([]byte(in)); got != want {
			t.Errorf("%.40q gives %.40q, want %.40q", in, got, want)
		}
	}
}

func TestRawsOfSeveralRequestsAreAnArray(t *testing.T) {
	big := Raw(`"` + strings.Repeat("x", MaxRaw-10) + `"`)
	for _, c := range []struct {
		in   []Raw
		want Raw
	}{
		{nil, ""},
		{[]Raw{"", ""}, ""},
		{[]Raw{"", `{"a":1}`, ""}, `{"a":1}`},
		{[]Raw{`{"a":1}`, "", `{"a":2}`}, `[{"a":1},{"a":2}]`},
		{[]Raw{big, big}, ""},
	} {
		if got := JoinRaw(c.in...); got != c.want {
			t.Errorf("%q gives %q, want %q", c.in, got, c.want)
		}
	}
}

// What is written is what came, byte for byte, also through package json.
func TestRawRoundTrip(t *testing.T) {
	raw := RawOf([]byte(`{"prompt_tokens": 12, "note": "a<b \u2028"}`))
	data, err := json.Marshal([]Event{&LLM{Header: Header{Raw: raw}}})
	if err != nil || !strings.Contains(string(data), `"raw_usage":`+string(raw)) {
		t.Fatalf("wrote %s, %v", data, err)
	}
	e, err := Decode(data[1 : len(data)-1])
	if err != nil || e.Head().Raw != raw {
		t.Errorf("came back as %q, %v; want %q", e.Head().Raw, err, raw)
	}
	if s := e.(*LLM).String(); strings.Contains(s, "prompt_tokens") {
		t.Errorf("a line of the log holds it: %s", s)
	}
	if b, err := json.Marshal(struct{ A, B Raw }{A: `{"x":1}`}); err != nil || string(b) != `{"A":{"x":1},"B":null}` {
		t.Errorf("by itself it is %s, %v", b, err)
	}
}

func TestRawThatIsNoJSONIsLeftOut(t *testing.T) {
	data, err := json.Marshal(&LLM{Header: Header{Raw: `{"broken`}, PromptTokens: 7})
	if err != nil || strings.Contains(string(data), "raw_usage") || !strings.Contains(string(data), `"prompt_tokens":7`) {
		t.Errorf("wrote %s, %v", data, err)
	}
}

func TestRawIsNoUsage(t *testing.T) {
	var c Collector
	if c.Add(&LLM{Header: Header{ID: "a", Raw: `{"prompt_tokens":1}`}}) {
		t.Error("it was counted")
	}
}
