package llm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/llm"
)

type runContext struct{ user string }

type weatherArgs struct {
	Location string   `json:"location" jsonschema:"the city or region asked about"`
	Unit     string   `json:"unit,omitempty" enum:"celsius,fahrenheit" default:"celsius"`
	Days     int      `json:"days,omitempty"`
	Detailed bool     `json:"detailed,omitempty"`
	Topics   []string `json:"topics,omitempty"`
	Place    *place   `json:"place,omitempty"`
}

type place struct {
	Lat  float64 `json:"lat"`
	Long float64 `json:"long"`
	Zoom int     `json:"zoom" default:"3"`
}

func weather(got *weatherArgs) *llm.FunctionTool {
	return llm.NewTool("lookup_weather", "Look up the weather.",
		func(_ context.Context, rc *runContext, in weatherArgs) (string, error) {
			*got = in
			return "sunny", nil
		})
}

func TestSchemaComesFromTheType(t *testing.T) {
	tool := weather(new(weatherArgs))
	want := `{
		"type": "object",
		"properties": {
			"location": {"type": "string", "description": "the city or region asked about"},
			"unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
			"days": {"type": "integer"},
			"detailed": {"type": "boolean"},
			"topics": {"type": "array", "items": {"type": "string"}},
			"place": {
				"type": ["null", "object"],
				"properties": {"lat": {"type": "number"}, "long": {"type": "number"}, "zoom": {"type": "integer", "default": 3}},
				"required": ["lat", "long"],
				"additionalProperties": false
			}
		},
		"required": ["location"],
		"additionalProperties": false
	}`
	sameJSON(t, string(tool.Parameters), want)
}

func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestArguments(t *testing.T) {
	paris := weatherArgs{Location: "Paris", Unit: "celsius"}
	with := func(change func(*weatherArgs)) weatherArgs { a := paris; change(&a); return a }
	for _, c := range []struct {
		name, args string
		want       weatherArgs
	}{
		{"plain", `{"location":"Paris"}`, paris},
		{"all", `{"location":"Paris","unit":"fahrenheit","days":2,"detailed":true,"topics":["rain"],"place":{"lat":1.5,"long":2}}`,
			weatherArgs{"Paris", "fahrenheit", 2, true, []string{"rain"}, &place{1.5, 2, 3}}},
		{"null for a default", `{"location":"Paris","unit":null,"days":null,"topics":null}`, paris},
		{"null for a default in a nested object", `{"location":"Paris","place":{"lat":1,"long":2,"zoom":null}}`,
			with(func(a *weatherArgs) { a.Place = &place{1, 2, 3} })},
		{"null for a nullable", `{"location":"Paris","place":null}`, paris},
		{"unknown extra", `{"location":"Paris","mood":"good"}`, paris},
		{"numbers as text", `{"location":"Paris","days":"3","detailed":"True"}`, with(func(a *weatherArgs) { a.Days = 3; a.Detailed = true })},
		{"integer with a point", `{"location":"Paris","days":3.0}`, with(func(a *weatherArgs) { a.Days = 3 })},
		{"list as text", `{"location":"Paris","topics":"[\"rain\"]"}`, with(func(a *weatherArgs) { a.Topics = []string{"rain"} })},
		{"trailing comma", `{"location":"Paris",}`, paris},
		{"single quotes", `{'location': 'Paris'}`, paris},
		{"curly quotes", `{“location”: “Paris”}`, paris},
		{"apostrophe in single quotes", `{'location': 'L'Aquila'}`, with(func(a *weatherArgs) { a.Location = "L'Aquila" })},
		{"quote in a string", `{"location": "the "old" town"}`, with(func(a *weatherArgs) { a.Location = `the "old" town` })},
		{"bare key", `{location: "Paris"}`, paris},
		{"missing brace", `{"location":"Paris"`, paris},
		{"missing comma", "{\"location\":\"Paris\"\n\"days\": 1}", with(func(a *weatherArgs) { a.Days = 1 })},
		{"brace too many", `{"location":"Paris"}}`, paris},
		{"python", `{'location': 'Paris', 'detailed': True, 'place': None}`, with(func(a *weatherArgs) { a.Detailed = true })},
		{"comments", "{\"location\": \"Paris\" // the city\n, /* no */ \"days\": 2}", with(func(a *weatherArgs) { a.Days = 2 })},
		{"line break in a string", "{\"location\":\"Par\nis\",}", with(func(a *weatherArgs) { a.Location = "Par\nis" })},
		{"end token", `{"location":"Paris"}<|im_end|>`, paris},
		{"tool call tokens", `<tool_call>{"location":"Paris"}</tool_call>`, paris},
		{"deepseek token", `{"location":"Paris"}<｜tool▁call▁end｜>`, paris},
		{"code fence", "```json\n{\"location\":\"Paris\"}\n```", paris},
		{"encoded twice", `"{\"location\":\"Paris\"}"`, paris},
		{"escapes in broken text", `{'location': 'M\u00fcnchen\t\'x\'',}`, with(func(a *weatherArgs) { a.Location = "München\t'x'" })},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got weatherArgs
			out, err := weather(&got).Call(t.Context(), &runContext{}, c.args)
			if err != nil || out != "sunny" {
				t.Fatalf("got %v, %v", out, err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("fn saw %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestBadArgumentsNameTheField(t *testing.T) {
	for _, c := range []struct{ name, args, want string }{
		{"missing", `{}`, "location: missing, expected string (the city or region asked about)"},
		{"nothing at all", ``, "location: missing"},
		{"null for a required one", `{"location":null}`, "location: expected string"},
		{"wrong type", `{"location":5}`, "location: expected string (the city or region asked about), got integer"},
		{"enum", `{"location":"x","unit":"kelvin"}`, `unit: expected string out of ["celsius","fahrenheit"]`},
		{"fraction", `{"location":"x","days":1.5}`, "days: expected integer, got number"},
		{"no number", `{"location":"x","days":"many"}`, "days: expected integer, got string"},
		{"in a list", `{"location":"x","topics":["a",{}]}`, "topics[1]: expected string, got object"},
		{"nested", `{"location":"x","place":{"lat":1}}`, "place.long: missing, expected number"},
		{"several", `{"location":1,"days":"x"}`, "days: expected integer, got string; location: expected"},
		{"list", `["Paris"]`, "not a JSON object"},
		{"word", `Paris`, "not a JSON object"},
		{"encoded too often", encodeTimes(`{"location":"Paris"}`, 3), "not a JSON object"},
		{"cut in a string", `{"location":"Par`, "in the middle of a value"},
		{"cut in a number", `{"location":"x","days":1`, "in the middle of a value"},
		{"two objects", `{"location":"a"}{"location":"b"}`, "more than one value"},
		{"too large for an integer", `{"location":"x","days":99999999999999999999}`, "days"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ran := false
			tool := llm.NewTool("lookup_weather", "", func(context.Context, *runContext, weatherArgs) (any, error) {
				ran = true
				return nil, nil
			})
			_, err := tool.Call(t.Context(), nil, c.args)
			var e *llm.ArgumentError
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "lookup_weather") {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if ran {
				t.Error("the function ran")
			}
		})
	}
}

func encodeTimes(s string, n int) string {
	for range n {
		b, _ := json.Marshal(s)
		s = string(b)
	}
	return s
}

// TestC087NullMeansTheDefault: null for a parameter that has a default and is not nullable.
func TestC087NullMeansTheDefault(t *testing.T) {
	schema := func(properties, required string) string {
		return `{"type":"object","properties":{` + properties + `},"required":[` + required + `],"$defs":{
			"Unit":{"type":"string","enum":["c","f"],"default":"c"},
			"Place":{"type":"object","properties":{"zoom":{"type":"integer","default":3},"at":{"$ref":"#/$defs/Place"}}},
			"Self":{"anyOf":[{"$ref":"#/$defs/Self"},{"type":"integer"}]},
			"Maybe":{"anyOf":[{"$ref":"#/$defs/Place"},{"type":"null"}]}}}`
	}
	for _, c := range []struct{ name, schema, args, want string }{
		{"optional", schema(`"n":{"type":"integer","default":5}`, ``), `{"n":null}`, `{"n":5}`},
		{"no default", schema(`"n":{"type":"integer"}`, ``), `{"n":null}`, `{}`},
		{"listed as required", schema(`"n":{"type":"integer","default":5}`, `"n"`), `{"n":null}`, `{"n":5}`},
		{"default beside a reference", schema(`"u":{"$ref":"#/$defs/Unit","default":"f"}`, `"u"`), `{"u":null}`, `{"u":"f"}`},
		{"default behind a reference", schema(`"u":{"$ref":"#/$defs/Unit"}`, ``), `{"u":null}`, `{"u":"c"}`},
		{"nullable", schema(`"n":{"type":["integer","null"],"default":5}`, ``), `{"n":null}`, `{"n":null}`},
		{"nullable by reference", schema(`"p":{"$ref":"#/$defs/Maybe","default":{}}`, ``), `{"p":null}`, `{"p":null}`},
		{"nested", schema(`"p":{"$ref":"#/$defs/Place"}`, ``), `{"p":{"zoom":null,"at":{"zoom":null}}}`, `{"p":{"at":{"zoom":3},"zoom":3}}`},
		{"in a list", schema(`"l":{"type":"array","items":{"$ref":"#/$defs/Place"}}`, ``), `{"l":[{"zoom":null}]}`, `{"l":[{"zoom":3}]}`},
		{"in a map", schema(`"m":{"type":"object","additionalProperties":{"$ref":"#/$defs/Place"}}`, ``), `{"m":{"x":{"zoom":null}}}`, `{"m":{"x":{"zoom":3}}}`},
		{"in one of several", schema(`"p":{"$ref":"#/$defs/Maybe"}`, ``), `{"p":{"zoom":null}}`, `{"p":{"zoom":3}}`},
		{"in all of one", schema(`"p":{"allOf":[{"$ref":"#/$defs/Place"}],"default":{"zoom":9}}`, ``), `{"p":null}`, `{"p":{"zoom":9}}`},
		{"one of itself", schema(`"s":{"$ref":"#/$defs/Self"}`, ``), `{"s":null}`, `{}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got string
			tool := llm.NewRawTool("f", "", json.RawMessage(c.schema), func(_ context.Context, _ any, args json.RawMessage) (any, error) {
				got = string(args)
				return nil, nil
			})
			if _, err := tool.Call(t.Context(), nil, c.args); err != nil || got != c.want {
				t.Errorf("the tool saw %s, %v, want %s", got, err, c.want)
			}
		})
	}
	var got weatherArgs
	args := `{"location":"Paris","days":null,"place":{"lat":1,"long":2,"zoom":null}}`
	if _, err := weather(&got).Call(t.Context(), &runContext{}, args); err != nil || got.Days != 0 || *got.Place != (place{1, 2, 3}) || got.Unit != "celsius" {
		t.Errorf("the typed tool saw %+v, %v", got, err)
	}
}

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{``, `{}`},
		{`null`, `{}`},
		{`{ "b": 1, "a" : "x<y" }`, `{"a":"x<y","b":1}`},
		{`{"n": 12345678901234567890, "f": 1.10}`, `{"f":1.10,"n":12345678901234567890}`},
		{`{'a': [1, 2,], 'b': {c: true}}<|eot_id|>`, `{"a":[1,2],"b":{"c":true}}`},
		{`{"kept": "<|im_end|>"}`, `{"kept":"<|im_end|>"}`},
	} {
		got, err := llm.Canonical(c.args)
		if err != nil || got != c.want {
			t.Errorf("Canonical(%s) = %s, %v, want %s", c.args, got, err, c.want)
		}
	}
	if got, err := llm.Canonical(`[1]`); err == nil {
		t.Errorf("Canonical of a list is %s", got)
	}
	a, err1 := weather(new(weatherArgs)).Canonical(`{"days": "2", "location":"Paris"}`)
	b, err2 := weather(new(weatherArgs)).Canonical(`{"location":"Paris","unit":"celsius","days":2.0,"x":1}`)
	if a != b || err1 != nil || err2 != nil {
		t.Errorf("calls that mean the same differ: %s, %v and %s, %v", a, err1, b, err2)
	}
}

func TestToolOutcomes(t *testing.T) {
	type agent struct{ name string }
	boom := errors.New("secret database address")
	next := &agent{"next"}
	call := func(fn func() (any, error)) (any, error) {
		tool := llm.NewTool("f", "", func(context.Context, *runContext, struct{}) (any, error) { return fn() })
		return tool.Call(t.Context(), &runContext{}, "")
	}
	if v, err := call(func() (any, error) { return next, nil }); v != next || err != nil {
		t.Errorf("agent: %v, %v", v, err)
	}
	if _, err := call(func() (any, error) { return nil, boom }); err != boom {
		t.Errorf("error: %v", err)
	}
	if _, err := call(func() (any, error) { return nil, llm.ToolErrorf("no %s today", "rain") }); err.Error() != "no rain today" {
		t.Errorf("tool error: %v", err)
	}
	if _, err := call(func() (any, error) { return nil, llm.ErrStopResponse }); !errors.Is(err, llm.ErrStopResponse) {
		t.Errorf("stop response: %v", err)
	}
	var p *llm.PanicError
	if v, err := call(func() (any, error) { panic("oh") }); v != nil || !errors.As(err, &p) || strings.Contains(err.Error(), "goroutine") {
		t.Errorf("panic: %v, %v", v, err)
	}
	typed := llm.NewTool("f", "", func(context.Context, *runContext, struct{}) (*agent, error) { return nil, nil })
	if v, err := typed.Call(t.Context(), nil, ""); v != nil || err != nil {
		t.Errorf("typed nil: %#v, %v", v, err)
	}
}

func TestRunContext(t *testing.T) {
	tool := llm.NewTool("who", "", func(_ context.Context, rc *runContext, _ struct{}) (string, error) {
		if rc == nil {
			return "nobody", nil
		}
		return rc.user, nil
	})
	if v, err := tool.Call(t.Context(), &runContext{"ann"}, "{}"); v != "ann" || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
	if v, err := tool.Call(t.Context(), nil, "{}"); v != "nobody" || err != nil {
		t.Errorf("without: %v, %v", v, err)
	}
	if _, err := tool.Call(t.Context(), "ann", "{}"); err == nil || !strings.Contains(err.Error(), "takes a *llm_test.runContext as run context, not a string") {
		t.Errorf("wrong type: %v", err)
	}
}

func TestRawTool(t *testing.T) {
	schema := json.RawMessage(`{"type":"object","properties":{"q":{"$ref":"#/$defs/Q"},"n":{"type":"integer"}},"required":["q"],"$defs":{"Q":{"type":"string","minLength":2}}}`)
	var got string
	tool := llm.NewRawTool("search", "Search.", schema, func(_ context.Context, _ any, args json.RawMessage) (any, error) {
		got = string(args)
		return 1, nil
	})
	if !bytes.Equal(tool.Spec().Parameters, schema) {
		t.Errorf("spec %s", tool.Spec().Parameters)
	}
	if _, err := tool.Call(t.Context(), nil, `{q: 'go', n: "4"}`); err != nil || got != `{"n":4,"q":"go"}` {
		t.Errorf("got %s, %v", got, err)
	}
	var e *llm.ArgumentError
	if _, err := tool.Call(t.Context(), nil, `{"q":"x"}`); !errors.As(err, &e) || !strings.Contains(err.Error(), "minLength") {
		t.Errorf("short: %v", err)
	}
	if _, err := tool.Call(t.Context(), nil, `{"q":[]}`); !errors.As(err, &e) || !strings.Contains(err.Error(), "q: expected string, got array") {
		t.Errorf("through the reference: %v", err)
	}
}

func TestMocksStandInForTools(t *testing.T) {
	mock := func(what string) *llm.FunctionTool {
		return llm.NewTool("lookup_weather", "", func(_ context.Context, _ *runContext, in struct {
			Location string `json:"location"`
		}) (string, error) {
			return what + " in " + in.Location, nil
		})
	}
	real, outer, inner := weather(new(weatherArgs)), mock("rain"), mock("snow")
	ctx := llm.WithMocks(t.Context(), outer, named("other"))
	for _, c := range []struct {
		ctx  context.Context
		want string
	}{{t.Context(), "sunny"}, {ctx, "rain in Oslo"}, {llm.WithMocks(ctx, inner), "snow in Oslo"}, {llm.WithMocks(ctx), "rain in Oslo"}} {
		if v, err := real.Call(c.ctx, &runContext{}, `{"location":"Oslo","days":3}`); v != c.want || err != nil {
			t.Errorf("got %v, %v, want %s", v, err, c.want)
		}
	}
	var e *llm.ArgumentError
	if _, err := real.Call(ctx, nil, `{"location":"Oslo","days":"many"}`); !errors.As(err, &e) {
		t.Errorf("arguments that do not fit the real tool: %v", err)
	}
	if v, err := outer.Call(ctx, &runContext{}, `{"location":"Oslo"}`); v != "rain in Oslo" || err != nil {
		t.Errorf("a mock by itself: %v, %v", v, err)
	}
}

func TestUnusableTools(t *testing.T) {
	fn := func(context.Context, any, json.RawMessage) (any, error) { return nil, nil }
	for name, tool := range map[string]*llm.FunctionTool{
		"no object": llm.NewTool("x", "", func(context.Context, any, int) (any, error) { return nil, nil }),
		"no schema": llm.NewTool("x", "", func(context.Context, any, struct{ C chan int }) (any, error) { return nil, nil }),
		"bad default": llm.NewTool("x", "", func(context.Context, any, struct {
			N int `default:"many"`
		}) (any, error) {
			return nil, nil
		}),
		"broken JSON": llm.NewRawTool("x", "", json.RawMessage(`{`), fn),
		"no type":     llm.NewRawTool("x", "", json.RawMessage(`{}`), fn),
		"null":        llm.NewRawTool("x", "", json.RawMessage(`null`), fn),
		"no name":     llm.NewRawTool("", "", json.RawMessage(`{"type":"object"}`), fn),
		"a literal":   {Name: "x"},
	} {
		if tool.Err() == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := tool.Call(t.Context(), nil, "{}"); err == nil {
			t.Errorf("%s: it can be called", name)
		}
		if _, err := llm.NewToolContext(tool); err == nil {
			t.Errorf("%s: it can be used", name)
		}
	}
}

type set struct {
	id    string
	tools []llm.Tool
}

func (s *set) ID() string        { return s.id }
func (s *set) Tools() []llm.Tool { return s.tools }

func named(name string) *llm.FunctionTool {
	return llm.NewTool(name, "", func(context.Context, any, struct{}) (any, error) { return nil, nil })
}

func TestC100ToolContext(t *testing.T) {
	a, b, c := named("a"), named("b"), named("c")
	inner := &set{"inner", []llm.Tool{b, c}}
	tc, err := llm.NewToolContext(a, &set{"outer", []llm.Tool{inner, nil}}, b)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(tc.Names(), []string{"a", "b", "c"}) || len(tc.Specs()) != 3 || tc.Specs()[2].Name != "c" {
		t.Errorf("names %v", tc.Names())
	}
	if got, ok := tc.Get("b"); !ok || got != b {
		t.Errorf("b is %v", got)
	}
	if _, ok := tc.Get("d"); ok {
		t.Error("d is known")
	}
	if other, err := llm.NewToolContext(c, b, a); err != nil || !tc.Equal(other) {
		t.Errorf("order counts: %v", err)
	}
	if other, err := llm.NewToolContext(c, b, named("a")); err != nil || tc.Equal(other) {
		t.Errorf("instances do not count: %v", err)
	}
	if _, err := llm.NewToolContext(inner, &set{"s", []llm.Tool{named("b")}}); err == nil || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("two tools of one name: %v", err)
	}
	loop := &set{id: "loop"}
	loop.tools = []llm.Tool{loop}
	if _, err := llm.NewToolContext(loop); err == nil {
		t.Error("a toolset in itself is accepted")
	}
	var none *llm.ToolContext
	if _, ok := none.Get("a"); ok || none.Names() != nil || none.Specs() != nil {
		t.Error("a nil context has tools")
	}
}

type level int

func (l level) String() string { return "high" }

func TestFormatOutput(t *testing.T) {
	type report struct {
		Temp float64 `json:"temp"`
		Sky  string  `json:"sky"`
	}
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, ""}, {(*report)(nil), ""}, {"hello", "hello"}, {"", ""}, {42, "42"}, {true, "true"}, {1.5, "1.5"},
		{report{20, "a<b"}, `{"temp":20,"sky":"a<b"}`}, {&report{}, `{"temp":0,"sky":""}`},
		{map[string]int{"b": 1, "a": 2}, `{"a":2,"b":1}`}, {[]string{"x", "y"}, `["x","y"]`},
		{json.RawMessage(`{"a":1}`), `{"a":1}`}, {[]byte("raw"), "raw"}, {level(1), "high"},
		{1500 * time.Millisecond, "1.5s"}, {time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "2026-01-02T03:04:05Z"},
	} {
		if got, err := llm.FormatOutput(c.v); err != nil || got != c.want {
			t.Errorf("FormatOutput(%#v) = %q, %v, want %q", c.v, got, err, c.want)
		}
	}
	for _, v := range []any{make(chan int), func() {}, math.NaN(), map[string]any{"f": func() {}}, panicky{}} {
		if got, err := llm.FormatOutput(v); err == nil {
			t.Errorf("FormatOutput(%T) = %q", v, got)
		}
	}
}

type panicky struct{}

func (panicky) MarshalJSON() ([]byte, error) { panic("no") }

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		"", "null", "{}", `{"a":1}`, `{'a': 'it's', b: [1,2,{c: None}]}`, `{"a":`, `{"a" "b"}`, "```json\n{}\n```",
		`<tool_call>{"a":1}</tool_call>`, `"{\"a\":\"\\\"\"}"`, `{a:1}/*`, `{a:[}`, `{"a":"\u12`, `{"a":"\`, strings.Repeat("{a:", 200),
		`{"a":1e999999999}`, `{“a”:‘b’}`, "{\"\xff\":\xfe}",
	} {
		f.Add(s)
	}
	tool := weather(new(weatherArgs))
	f.Fuzz(func(t *testing.T, args string) {
		got, err := llm.Canonical(args)
		if err == nil {
			again, err := llm.Canonical(got)
			if err != nil || again != got {
				t.Errorf("%q is not canonical: %q, %v", got, again, err)
			}
			if !json.Valid([]byte(got)) || got[0] != '{' {
				t.Errorf("%q is no JSON object", got)
			}
		}
		if _, err := tool.Call(t.Context(), nil, args); err != nil {
			var p *llm.PanicError
			if errors.As(err, &p) {
				t.Errorf("panic: %v", err)
			}
		}
	})
}

func BenchmarkToolCall(b *testing.B) {
	tool := weather(new(weatherArgs))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tool.Call(b.Context(), nil, `{"location":"Paris","days":2}`); err != nil {
			b.Fatal(err)
		}
	}
}
