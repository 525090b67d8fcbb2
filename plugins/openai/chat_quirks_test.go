package openai

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
)

// asked is what the plugin makes of a canned answer to a question with tools.
func asked(t *testing.T, c *canned) answer {
	t.Helper()
	d, err := newChat(&LLMOptions{APIKey: "key", BaseURL: "http://compatible.test/v1", HTTPClient: c.client()})
	if err != nil {
		t.Fatal(err)
	}
	return collect(d, question("a", "b"))
}

func delta(fields string) string {
	return `{"id":"1","choices":[{"index":0,"delta":{` + fields + `}}]}`
}

func calling(fields string) string { return delta(`"tool_calls":[{` + fields + `}]`) }

const (
	stop = `{"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	done = "[DONE]"
)

func TestTexts(t *testing.T) {
	for name, data := range map[string][]string{
		"usage chunk missing":     {delta(`"content":"Hi "`), delta(`"content":"there"`), stop, done},
		"no end but a reason":     {delta(`"content":"Hi there"`), stop},
		"no reason but an end":    {delta(`"content":"Hi there"`), done},
		"content null":            {delta(`"role":"assistant","content":null`), delta(`"content":"Hi there","tool_calls":null`), stop, done},
		"trailing spaces in data": {delta(`"content":"Hi there"`) + "  ", stop + " ", " [DONE] "},
		"empty data":              {"", delta(`"content":"Hi there"`), "", stop, done},
		"null delta and choices":  {`{"id":"1","choices":null}`, `{"id":"1","choices":[{"delta":null}]}`, delta(`"content":"Hi there"`), stop, done},
		"no choices":              {`{"id":"1","choices":[],"prompt_filter_results":[]}`, delta(`"content":"Hi there"`), stop, done},
		"a thought, tags split":   {delta(`"content":"<thi"`), delta(`"content":"nk>hm</th"`), delta(`"content":"ink>Hi there"`), stop, done},
		"a thought in a field":    {delta(`"reasoning_content":"hm","content":""`), delta(`"content":"Hi there"`), stop, done},
		"content in parts": {delta(`"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]`),
			delta(`"content":[{"type":"text","text":"Hi "},{"type":"reference","reference_ids":[1]}]`), delta(`"content":"there"`), stop, done},
		"unknown fields": {`{"id":"1","obfuscation":"x","service_tier":null,"choices":[{"index":0,"logprobs":null,"delta":{"content":"Hi there","refusal":null}}]}`, stop, done},
		"after the end":  {delta(`"content":"Hi there"`), stop, done, delta(`"content":" and more"`), done},
		"error null":     {`{"id":"1","error":null,"choices":[{"delta":{"content":"Hi there"}}]}`, stop, done},
	} {
		t.Run(name, func(t *testing.T) {
			a := asked(t, &canned{body: events(data...)})
			if a.err != nil || a.text != "Hi there" || len(a.calls) != 0 || a.usage != nil {
				t.Fatalf("%+v", a)
			}
		})
	}
}

func TestComments(t *testing.T) {
	body := ": OPENROUTER PROCESSING\n\n" + strings.ReplaceAll(events(delta(`"content":"Hi"`), stop, done), "\n", "\r\n")
	if a := asked(t, &canned{body: body}); a.err != nil || a.text != "Hi" {
		t.Fatalf("%+v", a)
	}
}

func TestUsage(t *testing.T) {
	hi := delta(`"content":"Hi"`)
	for name, c := range map[string]struct {
		data []string
		want driver.Usage
	}{
		"in a chunk of its own": {[]string{hi, stop, `{"id":"1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":4}}}`, done},
			driver.Usage{PromptTokens: 9, CompletionTokens: 2, TotalTokens: 11, PromptCachedTokens: 4}},
		"with the last": {[]string{hi, `{"id":"1","choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}`, done},
			driver.Usage{PromptTokens: 9, CompletionTokens: 2, TotalTokens: 11}},
		"with each, growing": {[]string{`{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}`, hi,
			`{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}`, stop, done},
			driver.Usage{PromptTokens: 9, CompletionTokens: 2, TotalTokens: 11}},
		"of Groq": {[]string{hi, `{"id":"1","choices":[{"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}}`, done},
			driver.Usage{PromptTokens: 9, CompletionTokens: 2, TotalTokens: 11}},
		"of DeepSeek": {[]string{hi, `{"id":"1","choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_cache_hit_tokens":5}}`, done},
			driver.Usage{PromptTokens: 9, CompletionTokens: 2, TotalTokens: 11, PromptCachedTokens: 5}},
		"of OpenRouter": {[]string{hi, `{"id":"1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":2,"cache_write_tokens":3}}}`, done},
			driver.Usage{PromptTokens: 9, CompletionTokens: 2, TotalTokens: 11, PromptCachedTokens: 2, CacheCreationTokens: 3}},
		"null": {[]string{hi, `{"id":"1","choices":[{"delta":{},"finish_reason":"stop"}],"usage":null}`,
			`{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":null}}`, done},
			driver.Usage{PromptTokens: 9, CompletionTokens: 2, TotalTokens: 11}},
	} {
		t.Run(name, func(t *testing.T) {
			a := asked(t, &canned{body: events(c.data...)})
			if a.err != nil || a.text != "Hi" || a.usage == nil {
				t.Fatalf("%+v, usage %+v", a, a.usage)
			}
			raw := a.usage.Raw
			a.usage.Raw = ""
			if *a.usage != c.want || raw == "" || !strings.Contains(strings.Join(c.data, ""), string(raw)) {
				t.Errorf("usage %+v, in its own words %s", a.usage, raw)
			}
		})
	}
}

func TestToolCalls(t *testing.T) {
	type call struct{ name, arguments string }
	for name, c := range map[string]struct {
		data []string
		want []call
		ids  []string // nil: any
	}{
		"as OpenAI sends them": {[]string{calling(`"index":0,"id":"x","type":"function","function":{"name":"a","arguments":""}`),
			calling(`"index":0,"function":{"arguments":"{\"p\":"}`), calling(`"index":0,"function":{"arguments":"1}"}`),
			calling(`"index":1,"id":"y","type":"function","function":{"name":"b","arguments":""}`), calling(`"index":1,"function":{"arguments":"{}"}`)},
			[]call{{"a", `{"p":1}`}, {"b", `{}`}}, []string{"x", "y"}},
		"whole at once": {[]string{delta(`"tool_calls":[{"index":0,"id":"x","function":{"name":"a","arguments":"{}"}},{"index":1,"id":"y","function":{"name":"b","arguments":"{}"}}]`)},
			[]call{{"a", `{}`}, {"b", `{}`}}, []string{"x", "y"}},
		"id missing": {[]string{calling(`"index":0,"function":{"name":"a","arguments":"{}"}`), calling(`"index":1,"function":{"name":"b","arguments":"{}"}`)},
			[]call{{"a", `{}`}, {"b", `{}`}}, nil},
		"index always 0, several names": {[]string{calling(`"index":0,"function":{"name":"a","arguments":"{\"p\":1}"}`), calling(`"index":0,"function":{"name":"b","arguments":"{}"}`)},
			[]call{{"a", `{"p":1}`}, {"b", `{}`}}, nil},
		"index always 0, no arguments yet": {[]string{calling(`"index":0,"function":{"name":"a","arguments":""}`), calling(`"index":0,"function":{"name":"b","arguments":""}`),
			calling(`"index":0,"function":{"arguments":"{\"p\":1}"}`)},
			[]call{{"a", `{}`}, {"b", `{"p":1}`}}, nil},
		"index always 0, one name twice": {[]string{calling(`"index":0,"id":"x","function":{"name":"a","arguments":"{\"p\":1}"}`), calling(`"index":0,"id":"y","function":{"name":"a","arguments":"{\"p\":2}"}`)},
			[]call{{"a", `{"p":1}`}, {"a", `{"p":2}`}}, []string{"x", "y"}},
		"index missing": {[]string{calling(`"id":"x","function":{"name":"a","arguments":"{\"p\":"}`), calling(`"function":{"arguments":"1}"}`), calling(`"id":"y","function":{"name":"b","arguments":"{}"}`)},
			[]call{{"a", `{"p":1}`}, {"b", `{}`}}, []string{"x", "y"}},
		"interleaved": {[]string{calling(`"index":0,"id":"x","function":{"name":"a","arguments":""}`), calling(`"index":1,"id":"y","function":{"name":"b","arguments":""}`),
			calling(`"index":0,"function":{"arguments":"{\"p\":"}`), calling(`"index":1,"function":{"arguments":"{\"q\":"}`),
			calling(`"index":0,"function":{"arguments":"1}"}`), calling(`"index":1,"function":{"arguments":"2}"}`)},
			[]call{{"a", `{"p":1}`}, {"b", `{"q":2}`}}, []string{"x", "y"}},
		"name and a new id with each piece": {[]string{calling(`"index":0,"id":"x","function":{"name":"a","arguments":"{\"p\":"}`), calling(`"index":0,"id":"z","function":{"name":"a","arguments":"1}"}`)},
			[]call{{"a", `{"p":1}`}}, []string{"x"}},
		"name repeated": {[]string{calling(`"index":0,"id":"x","function":{"name":"a","arguments":""}`), calling(`"index":0,"id":"x","function":{"name":"a","arguments":"{}"}`)},
			[]call{{"a", `{}`}}, []string{"x"}},
		"no arguments": {[]string{calling(`"index":0,"id":"x","function":{"name":"a"}`)}, []call{{"a", `{}`}}, []string{"x"}},
		"arguments null, then an object": {[]string{calling(`"index":0,"id":"x","function":{"name":"a","arguments":null}`), calling(`"index":0,"id":null,"function":{"name":null,"arguments":{"p":1}}`)},
			[]call{{"a", `{"p":1}`}}, []string{"x"}},
	} {
		for ending, end := range map[string][]string{"stop": {stop, done}, "tool_calls": {strings.Replace(stop, "stop", "tool_calls", 1), done}, "no reason": {done}} {
			t.Run(name+", "+ending, func(t *testing.T) {
				a := asked(t, &canned{body: events(append(c.data[:len(c.data):len(c.data)], end...)...)})
				if a.err != nil || len(a.calls) != len(c.want) {
					t.Fatalf("%+v", a)
				}
				seen := map[string]bool{}
				for i, got := range a.calls {
					if (call{got.Name, got.Arguments}) != c.want[i] || got.CallID == "" || seen[got.CallID] || c.ids != nil && got.CallID != c.ids[i] {
						t.Fatalf("call %d is %+v", i, got)
					}
					seen[got.CallID] = true
				}
			})
		}
	}
}

func TestAToolCallIsHandedOutWhenTheNextBegins(t *testing.T) {
	s := newChatStream(t.Context(), nil, nil)
	for _, d := range []string{calling(`"index":0,"id":"x","function":{"name":"a","arguments":"{}"}`), calling(`"index":1,"id":"y","function":{"name":"b","arguments":""}`)} {
		if err := s.take([]byte(d)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.ready); n == 0 || len(s.ready[n-1].ToolCalls) != 1 || s.ready[n-1].ToolCalls[0].CallID != "x" {
		t.Fatalf("%+v", s.ready)
	}
}

func TestThoughtSignaturesComeBack(t *testing.T) {
	a := asked(t, &canned{body: events(calling(`"index":0,"id":"x","function":{"name":"a","arguments":"{}"},"extra_content":{"google":{"thought_signature":"s"}}`), stop, done)})
	if len(a.calls) != 1 {
		t.Fatalf("%+v", a)
	}
	r := question()
	r.Messages.Add(&chat.FunctionCall{CallID: "x", Name: "a", Arguments: "{}", Extra: a.calls[0].Extra}, &chat.FunctionCallOutput{CallID: "x", Output: ""})
	c := &canned{body: events(done)}
	d, _ := newChat(&LLMOptions{APIKey: "key", HTTPClient: c.client()})
	collect(d, r)
	if !strings.Contains(string(c.sent), `"extra_content":{"google":{"thought_signature":"s"}}`) || !strings.Contains(string(c.sent), `"content":"","tool_call_id":"x"`) {
		t.Fatalf("%s", c.sent)
	}
}

func TestErrorsInAnAnswer(t *testing.T) {
	plain := func(body string) *canned { return &canned{contentType: "application/json; charset=utf-8", body: body} }
	for name, c := range map[string]struct {
		answer *canned
		kind   model.ErrorKind
		status int
		retry  bool
		says   string
	}{
		"an object":            {&canned{body: events(`{"error":{"message":"went wrong","type":"weird"}}`)}, model.KindProtocol, 0, true, "went wrong"},
		"after some text":      {&canned{body: events(delta(`"content":"Hi"`), `{"error":{"message":"went wrong","code":502}}`)}, model.KindStatus, 502, true, "went wrong"},
		"a number for a code":  {&canned{body: events(`{"error":{"message":"bad","code":400}}`)}, model.KindStatus, 400, false, "bad"},
		"a word for a code":    {&canned{body: events(`{"error":{"message":"slow down","code":"rate_limit_exceeded"}}`)}, model.KindStatus, 429, true, "slow down"},
		"a word for a type":    {&canned{body: events(`{"error":{"message":"too long","type":"invalid_request_error","code":null}}`)}, model.KindStatus, 400, false, "too long"},
		"a text":               {&canned{body: events(`{"error":"went wrong"}`)}, model.KindProtocol, 0, true, "went wrong"},
		"at the top":           {&canned{body: events(`{"object":"error","message":"no such model","code":404}`)}, model.KindStatus, 404, false, "no such model"},
		"no stream":            {plain(`{"error":{"message":"bad","code":400}}`), model.KindStatus, 400, false, "bad"},
		"no stream, no status": {plain(`{"error":{"message":"went wrong"}}`), model.KindProtocol, 0, true, "went wrong"},
		"not streamed":         {plain(`{"object":"chat.completion","choices":[]}`), model.KindProtocol, 0, false, "application/json"},
		"a page":               {&canned{contentType: "text/html", body: "<html>log in</html>"}, model.KindProtocol, 0, false, "text/html"},
		"cut off":              {&canned{body: events(delta(`"content":"Hi"`))}, model.KindConnection, 0, true, "broke off"},
		"the key in it":        {&canned{body: events(`{"error":{"message":"incorrect key: key-canary"}}`)}, model.KindProtocol, 0, true, "[key]"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := newChat(&LLMOptions{APIKey: "key-canary", HTTPClient: c.answer.client()})
			if err != nil {
				t.Fatal(err)
			}
			got := collect(d, question()).err
			var e *model.Error
			if !errors.As(got, &e) || e.Kind != c.kind || e.Status != c.status || e.Retryable() != c.retry || !strings.Contains(e.Error(), c.says) || e.Provider != "openai" {
				t.Fatalf("%v (%+v)", got, e)
			}
			if strings.Contains(got.Error(), "key-canary") {
				t.Fatal("the error tells the key")
			}
		})
	}
}

func TestWhatIsSent(t *testing.T) {
	parallel := true
	for name, c := range map[string]struct {
		o    LLMOptions
		r    func(*driver.Request)
		want map[string]any // nil values: absent
	}{
		"the least":      {LLMOptions{}, nil, map[string]any{"model": "gpt-4.1", "stream": true, "tools": nil, "tool_choice": nil, "parallel_tool_calls": nil, "temperature": nil, "reasoning_effort": nil}},
		"gpt-5":          {LLMOptions{Model: "gpt-5-mini", Temperature: some(1.0), TopP: some(0.5)}, nil, map[string]any{"reasoning_effort": "minimal", "temperature": nil, "top_p": nil}},
		"gpt-5.2":        {LLMOptions{Model: "gpt-5.2"}, nil, map[string]any{"reasoning_effort": "none"}},
		"gpt-5-chat":     {LLMOptions{Model: "gpt-5-chat-latest", Temperature: some(1.0)}, nil, map[string]any{"reasoning_effort": nil, "temperature": 1.0}},
		"o3":             {LLMOptions{Model: "o3", Temperature: some(1.0)}, nil, map[string]any{"reasoning_effort": nil, "temperature": nil}},
		"own effort":     {LLMOptions{Model: "gpt-5", ReasoningEffort: "high"}, nil, map[string]any{"reasoning_effort": "high"}},
		"tokens":         {LLMOptions{MaxTokens: 7}, nil, map[string]any{"max_completion_tokens": 7.0, "max_tokens": nil}},
		"tokens, others": {LLMOptions{Service: Groq, MaxTokens: 7}, nil, map[string]any{"max_completion_tokens": nil, "max_tokens": 7.0}},
		"choice without tools": {LLMOptions{}, func(r *driver.Request) {
			r.ToolChoice, r.ParallelToolCalls = driver.ToolChoice{Mode: driver.ToolRequired}, &parallel
		}, map[string]any{"tool_choice": nil, "parallel_tool_calls": nil}},
		"choice": {LLMOptions{}, func(r *driver.Request) {
			r.Tools, r.ToolChoice, r.ParallelToolCalls = question("a").Tools, driver.ToolChoice{Mode: driver.ToolFunction, Function: "a"}, &parallel
		}, map[string]any{"tool_choice": map[string]any{"type": "function", "function": map[string]any{"name": "a"}}, "parallel_tool_calls": true}},
		"extra": {LLMOptions{Temperature: some(0.5), Extra: map[string]any{"store": true, "seed": 1}}, func(r *driver.Request) {
			r.Extra = map[string]any{"temperature": 0.1, "seed": 2}
		}, map[string]any{"store": true, "seed": 2.0, "temperature": 0.1}},
		"usage": {LLMOptions{}, nil, map[string]any{"stream_options": map[string]any{"include_usage": true}}},
		"no usage, for Mistral refuses unknown fields": {LLMOptions{Service: Mistral}, nil, map[string]any{"stream_options": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			net := &canned{body: events(done)}
			c.o.APIKey, c.o.HTTPClient = "key", net.client()
			d, err := newChat(&c.o)
			if err != nil {
				t.Fatal(err)
			}
			r := question()
			if c.r != nil {
				c.r(r)
			}
			collect(d, r)
			got := net.fields(t)
			for k, v := range c.want {
				if have, ok := got[k]; ok != (v != nil) || !reflect.DeepEqual(have, v) {
					t.Fatalf("%s is %v, want %v", k, have, v)
				}
			}
		})
	}
}

func TestMistralGetsIDsItTakes(t *testing.T) {
	r := question("a")
	r.Messages.Add(
		&chat.FunctionCall{CallID: "call_long_one", Name: "a", Arguments: "{}", GroupID: "g"}, &chat.FunctionCallOutput{CallID: "call_long_one", Output: "1"},
		&chat.FunctionCall{CallID: "Ab3456789", Name: "a", Arguments: "{}", GroupID: "h"}, &chat.FunctionCallOutput{CallID: "Ab3456789", Output: "2"},
		chat.NewMessage(chat.Developer, "Go on."))
	ids := func(s Service) (calls, outputs []string, body string) {
		net := &canned{body: events(done)}
		d, err := newChat(&LLMOptions{Service: s, APIKey: "key", HTTPClient: net.client()})
		if err != nil {
			t.Fatal(err)
		}
		collect(d, r)
		for _, m := range net.fields(t)["messages"].([]any) {
			m := m.(map[string]any)
			if id, ok := m["tool_call_id"]; ok {
				outputs = append(outputs, id.(string))
			}
			if list, ok := m["tool_calls"].([]any); ok {
				calls = append(calls, list[0].(map[string]any)["id"].(string))
			}
		}
		return calls, outputs, string(net.sent)
	}
	calls, outputs, body := ids(Mistral)
	if len(calls) != 2 || len(calls[0]) != 9 || strings.Contains(calls[0], "_") || calls[1] != "Ab3456789" || !reflect.DeepEqual(calls, outputs) {
		t.Fatalf("calls %v, outputs %v", calls, outputs)
	}
	if strings.Contains(body, `"developer"`) {
		t.Fatal("Mistral knows no developer")
	}
	if calls, _, body := ids(OpenAI); calls[0] != "call_long_one" || !strings.Contains(body, `"developer"`) {
		t.Fatalf("OpenAI got %v in %s", calls, body)
	}
}

func FuzzChatStream(f *testing.F) {
	f.Add([]byte(events(delta(`"content":"<think>x</think>Hi"`), calling(`"index":0,"id":"x","function":{"name":"a","arguments":"{}"}`), stop, done)))
	f.Add([]byte(events(delta(`"content":[{"type":"text","text":null}]`), calling(`"function":{"arguments":{"p":[1]}}`), `{"error":[{"message":1}]}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := newChat(&LLMOptions{APIKey: "key", HTTPClient: (&canned{body: string(b)}).client()})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range collect(d, question("a")).calls {
			if c.CallID == "" || c.Arguments == "" {
				t.Fatalf("%+v", c)
			}
		}
	})
}
