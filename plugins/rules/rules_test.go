package rules_test

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/plugins/rules"
)

var noon = time.Date(2026, 5, 4, 15, 4, 0, 0, time.UTC)

func quick() *llm.Model {
	return rules.New(&rules.Options{Now: func() time.Time { return noon }, TTFT: -1, WordDelay: -1})
}

type where struct {
	Location string `json:"location" jsonschema:"the city or region asked about"`
}

func tool[In any](name, description string) llm.Tool {
	return llm.NewTool(name, description, func(context.Context, any, In) (any, error) { return nil, nil })
}

var (
	weather = tool[where]("lookup_weather", "Look up the weather for a place the user names.")
	hangup  = tool[struct{}]("end_call", "Ends the current call and disconnects immediately.")
	booking = tool[struct {
		Name   string `json:"name"`
		Guests int    `json:"guests"`
		Day    string `json:"day"`
		Area   string `json:"area,omitempty" enum:"inside,terrace"`
	}]("book_table", "Book a table in the restaurant.")
	search = tool[struct {
		Query string `json:"query"`
	}]("search_documentation", "Search the documentation.")
	flight = tool[struct {
		Origin      string `json:"origin"`
		Destination string `json:"destination"`
	}]("find_flight", "Find a flight.")
)

type line struct {
	role chat.Role
	text string
}

func talkOf(lines ...line) *chat.Context {
	c := &chat.Context{}
	for _, l := range lines {
		c.Add(chat.NewMessage(l.role, l.text))
	}
	return c
}

const persona = "Your name is Kelly. Keep your answers short."

func ask(t *testing.T, r *llm.Request) (string, []llm.ToolCall) {
	t.Helper()
	m := quick()
	defer m.Close()
	text, calls, err := m.Chat(t.Context(), r).Collect()
	if err != nil {
		t.Fatal(err)
	}
	return text, calls
}

func TestToolsAreCalled(t *testing.T) {
	all := []llm.Tool{weather, hangup, booking, search, flight}
	for _, c := range []struct{ said, tool, args string }{
		{"What is the weather like in Paris tomorrow?", "lookup_weather", `{"location":"Paris"}`},
		{"what is the weather like in paris", "lookup_weather", `{"location":"Paris"}`},
		{"whats the whether like in new york today", "lookup_weather", `{"location":"New York"}`},
		{"How's the weather in San Francisco, please?", "lookup_weather", `{"location":"San Francisco"}`},
		{"Could you tell me about the weather in the Isle of Man right now?", "lookup_weather", `{"location":"Isle of Man"}`},
		{"Berlin weather please", "lookup_weather", `{"location":"Berlin"}`},
		{"What's Tokyo's weather?", "lookup_weather", `{"location":"Tokyo"}`},
		{"Hello there, weather for London.", "lookup_weather", `{"location":"London"}`},
		{"Please book a table for four on Friday, my name is Ann Smith.", "book_table", `{"day":"friday","guests":4,"name":"Ann Smith"}`},
		{"I am Bob, book a table on the terrace for 2 next saturday", "book_table", `{"area":"terrace","day":"next saturday","guests":2,"name":"Bob"}`},
		{"Search the documentation for connection pools", "search_documentation", `{"query":"connection pools"}`},
		{"Find me a flight from Oslo to Rome", "find_flight", `{"destination":"Rome","origin":"Oslo"}`},
		{"Goodbye!", "end_call", `{}`},
		{"okay, good bye then", "end_call", `{}`},
		{"thanks, bye", "end_call", `{}`},
		{"please hang up now", "end_call", `{}`},
	} {
		text, calls := ask(t, &llm.Request{Messages: talkOf(line{chat.System, persona}, line{chat.User, c.said}), Tools: all})
		if len(calls) != 1 || calls[0].Name != c.tool || calls[0].Arguments != c.args || calls[0].CallID == "" {
			t.Errorf("%q: said %q, called %+v, want %s%s", c.said, text, calls, c.tool, c.args)
		}
	}
}

func TestWordsAreAnswered(t *testing.T) {
	all := []llm.Tool{weather, hangup}
	for _, c := range []struct{ said, want string }{
		{"Hello", "Hello, I am Kelly. How can I help you?"},
		{"hi there", "I am Kelly"},
		{"What time is it?", "It is 3:04 PM."},
		{"could you tell me what the time is", "It is 3:04 PM."},
		{"What's the date today?", "Today is Monday, May 4, 2026."},
		{"which day is it", "Monday"},
		{"How are you?", "I am fine"},
		{"What is your name?", "not a language model"},
		{"What can you do?", "lookup weather"},
		{"Thank you very much", "You are welcome"},
		{"count to five", "One, two, three, four, five."},
		{"what is the weather like", "Could you tell me the location, please?"},
		{"call me a taxi", "I heard you say: call me a taxi."},
		{"the mitochondria is the powerhouse of the cell", "I heard you say"},
		{"...", "did not hear"},
	} {
		text, calls := ask(t, &llm.Request{Messages: talkOf(line{chat.System, persona}, line{chat.User, c.said}), Tools: all})
		if !strings.Contains(text, c.want) || len(calls) != 0 {
			t.Errorf("%q: said %q, called %v, want %q", c.said, text, calls, c.want)
		}
	}
}

func TestStoriesAreLong(t *testing.T) {
	for _, said := range []string{"Tell me a story", "tell me about the history of Rome", "Can you explain quantum physics?"} {
		text, _ := ask(t, &llm.Request{Messages: talkOf(line{chat.User, said}), Tools: []llm.Tool{weather}})
		if n := strings.Count(text, "."); n < 6 {
			t.Errorf("%q: only %d sentences: %s", said, n, text)
		}
	}
	if text, _ := ask(t, &llm.Request{Messages: talkOf(line{chat.User, "Tell me about the history of Rome."})}); !strings.Contains(text, "the history of Rome") {
		t.Errorf("not about the topic: %s", text)
	}
}

func TestGoodbyeWithoutTool(t *testing.T) {
	if text, calls := ask(t, &llm.Request{Messages: talkOf(line{chat.User, "Goodbye"})}); !strings.HasPrefix(text, "Goodbye") || len(calls) != 0 {
		t.Errorf("said %q, called %v", text, calls)
	}
}

func TestInstructionsAreFollowed(t *testing.T) {
	for _, c := range []struct {
		lines []line
		want  string
	}{
		{[]line{{chat.System, persona}, {chat.System, "Greet the user."}}, "Hello, I am Kelly. How can I help you?"},
		{[]line{{chat.System, persona + "\nGreet the user."}}, "Hello, I am Kelly. How can I help you?"},
		{[]line{{chat.System, persona}}, "Hello, I am Kelly. How can I help you?"},
		{[]line{{chat.System, persona}, {chat.User, "hi"}, {chat.Assistant, "Hello"}, {chat.System, "Say goodbye to the user."}}, "Goodbye! Have a nice day."},
		{[]line{{chat.System, "Tell the user that the line is bad."}}, "The line is bad."},
		{[]line{{chat.System, `Say "we are closed".`}}, "We are closed."},
		{[]line{{chat.System, "Ask the user for their name."}}, "Could you tell me your name, please?"},
		{[]line{{chat.System, persona}, {chat.Developer, "Tell the user a story."}}, "Once upon a time"},
		{[]line{{chat.System, "Never say that you are a robot. You speak English."}}, "Hello!"},
		{[]line{{chat.System, "You are kind. Tell the user that we are open."}}, "We are open."},
		{nil, "Hello! How can I help you?"},
	} {
		if text, _ := ask(t, &llm.Request{Messages: talkOf(c.lines...)}); !strings.HasPrefix(text, c.want) {
			t.Errorf("%v: said %q, want %q", c.lines, text, c.want)
		}
	}
}

func TestOutputsAreTold(t *testing.T) {
	for _, c := range []struct {
		out  chat.FunctionCallOutput
		want string
	}{
		{chat.FunctionCallOutput{Output: "sunny with a temperature of 70 degrees."}, "Here is what I found: sunny with a temperature of 70 degrees."},
		{chat.FunctionCallOutput{Output: "It rains."}, "It rains."},
		{chat.FunctionCallOutput{Output: `{"temp":20,"sky":"clear"}`}, "Here is what I found: sky is clear and temp is 20."},
		{chat.FunctionCallOutput{Output: `["a","b","c"]`}, "Here is what I found: a, b and c."},
		{chat.FunctionCallOutput{Output: "no such city", IsError: true}, "Sorry, that did not work. No such city."},
		{chat.FunctionCallOutput{}, "That is done."},
		{chat.FunctionCallOutput{Name: "end_call", Output: "say goodbye to the user"}, "Goodbye! Have a nice day."},
	} {
		m := talkOf(line{chat.System, persona}, line{chat.User, "What is the weather in Paris?"})
		c.out.CallID = "1"
		m.Add(&chat.FunctionCall{CallID: "1", Name: "lookup_weather", Arguments: "{}"}, &c.out)
		text, calls := ask(t, &llm.Request{Messages: m, Tools: []llm.Tool{weather}})
		if text != c.want || len(calls) != 0 {
			t.Errorf("%+v: said %q, called %v, want %q", c.out, text, calls, c.want)
		}
	}
}

func TestOrderMayNeedATool(t *testing.T) {
	m := talkOf(line{chat.System, persona}, line{chat.System, "Tell the user the weather in Paris."})
	if text, calls := ask(t, &llm.Request{Messages: m, Tools: []llm.Tool{weather}}); len(calls) != 1 || calls[0].Arguments != `{"location":"Paris"}` {
		t.Errorf("said %q, called %v", text, calls)
	}
	m = talkOf(line{chat.System, persona})
	m.Add(&chat.FunctionCall{CallID: "1", Name: "lookup_weather"}, &chat.FunctionCallOutput{CallID: "1", Output: "It rains."})
	m.Add(chat.NewMessage(chat.System, "Tell the user the weather in Paris."))
	if text, calls := ask(t, &llm.Request{Messages: m, Tools: []llm.Tool{weather}}); len(calls) != 0 || text != "It rains." {
		t.Errorf("said %q, called %v", text, calls)
	}
}

func TestMissingArgumentIsAskedFor(t *testing.T) {
	m := talkOf(line{chat.User, "what is the weather"}, line{chat.Assistant, "Could you tell me the location, please?"}, line{chat.User, "In Lisbon, please."})
	if text, calls := ask(t, &llm.Request{Messages: m, Tools: []llm.Tool{weather}}); len(calls) != 1 || calls[0].Arguments != `{"location":"Lisbon"}` {
		t.Errorf("said %q, called %v", text, calls)
	}
	m = talkOf(line{chat.User, "what is the weather"}, line{chat.Assistant, "Could you tell me the location, please?"}, line{chat.User, "it's porto"})
	if text, calls := ask(t, &llm.Request{Messages: m, Tools: []llm.Tool{weather}}); len(calls) != 1 || calls[0].Arguments != `{"location":"Porto"}` {
		t.Errorf("said %q, called %v", text, calls)
	}
}

func TestToolChoice(t *testing.T) {
	r := func(c llm.ToolChoice, said string) *llm.Request {
		return &llm.Request{Messages: talkOf(line{chat.User, said}), Tools: []llm.Tool{booking, weather, hangup}, ToolChoice: c}
	}
	if _, calls := ask(t, r(llm.ToolChoice{Mode: llm.ToolNone}, "weather in Paris")); len(calls) != 0 {
		t.Errorf("called %v although it must not", calls)
	}
	if text, calls := ask(t, r(llm.ToolChoice{Mode: llm.ToolNone}, "goodbye")); len(calls) != 0 || text == "" {
		t.Errorf("called %v although it must not", calls)
	}
	if _, calls := ask(t, r(llm.ToolChoice{Mode: llm.ToolRequired}, "weather in Paris")); len(calls) != 1 || calls[0].Name != "lookup_weather" {
		t.Errorf("called %v", calls)
	}
	_, calls := ask(t, r(llm.ToolChoice{Mode: llm.ToolFunction, Function: "book_table"}, "hello"))
	if len(calls) != 1 || calls[0].Name != "book_table" {
		t.Fatalf("called %v", calls)
	}
	if _, err := booking.(*llm.FunctionTool).Call(t.Context(), nil, calls[0].Arguments); err != nil {
		t.Errorf("forced call does not fit: %v", err)
	}
}

func TestAnswersAreAlwaysTheSame(t *testing.T) {
	r := &llm.Request{Messages: talkOf(line{chat.User, "what can you do"}), Tools: []llm.Tool{weather, booking}}
	a, _ := ask(t, r)
	for range 5 {
		if b, _ := ask(t, r); a != b {
			t.Fatalf("%q and %q", a, b)
		}
	}
}

type recorder struct{ events []*metrics.LLM }

func (r *recorder) Record(_ context.Context, e metrics.Event) {
	r.events = append(r.events, e.(*metrics.LLM))
}

func TestWordsComeInTimeAndAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := rules.New(&rules.Options{TTFT: time.Second, WordDelay: 100 * time.Millisecond})
		defer m.Close()
		var rec recorder
		start := time.Now()
		s := m.Chat(metrics.WithRecorder(t.Context(), &rec), &llm.Request{Messages: talkOf(line{chat.User, "count to three"})})
		var chunks []string
		for c, err := range s.All() {
			if err != nil {
				t.Fatal(err)
			}
			if c.Text != "" {
				chunks = append(chunks, c.Text)
			}
		}
		if strings.Join(chunks, "|") != "One,| two,| three." || time.Since(start) != 1200*time.Millisecond {
			t.Errorf("%q after %v", chunks, time.Since(start))
		}
		e := rec.events[0]
		if len(rec.events) != 1 || e.Source != metrics.Measured || e.CompletionTokens != 6 || e.PromptTokens != 3 || e.TotalTokens != 9 || e.TTFT != time.Second {
			t.Errorf("event %+v", e)
		}
		if e.Metadata.ModelProvider != "local" || e.Metadata.ModelName != "rules" || e.Label != "rules.LLM" {
			t.Errorf("who: %+v", e.Header)
		}
	})
}

func TestStreamEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := rules.NewDriver(nil).Chat(ctx, &driver.Request{Messages: talkOf(line{chat.User, "tell me a story"})})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := s.Next(); err != context.Canceled {
			t.Errorf("error %v", err)
		}
	})
}

// FuzzReply looks for words that the rules stumble over, and for calls that do not fit.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"", "in", "'", "weather in", "what's the weather in the", "\xff\xfe", "count to 999999999", "ß İ ŉ weather in ŉ", "tell me about", "my name is", "-"} {
		f.Add(s, s)
	}
	byName := map[string]*llm.FunctionTool{}
	tools := []llm.Tool{weather, hangup, booking, search, flight}
	r := &driver.Request{}
	for _, tool := range tools {
		ft := tool.(*llm.FunctionTool)
		byName[ft.Name] = ft
		r.Tools = append(r.Tools, ft.Spec())
	}
	d := rules.NewDriver(&rules.Options{TTFT: -1, WordDelay: -1})
	f.Fuzz(func(t *testing.T, instructions, said string) {
		r := *r
		r.Messages = talkOf(line{chat.System, instructions}, line{chat.User, said})
		s, err := d.Chat(t.Context(), &r)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		answered := false
		for {
			c, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			answered = answered || c.Text != ""
			for _, call := range c.ToolCalls {
				answered = true
				if _, err := byName[call.Name].Call(t.Context(), nil, call.Arguments); err != nil || !json.Valid([]byte(call.Arguments)) {
					t.Errorf("%q calls %s%s: %v", said, call.Name, call.Arguments, err)
				}
			}
		}
		if !answered {
			t.Errorf("no answer to %q", said)
		}
	})
}

func BenchmarkReply(b *testing.B) {
	m := quick()
	defer m.Close()
	r := &llm.Request{Messages: talkOf(line{chat.User, "What is the weather like in Paris tomorrow?"}), Tools: []llm.Tool{weather, hangup, booking}}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := m.Chat(b.Context(), r).Collect(); err != nil {
			b.Fatal(err)
		}
	}
}
