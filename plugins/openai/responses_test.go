package openai

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/llmtest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
)

func TestResponsesConformance(t *testing.T) {
	t.Parallel()
	for name, http := range map[string]bool{"socket": false, "HTTP": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			llmtest.Run(t, responsesHarness{http})
		})
	}
}

type responsesHarness struct{ http bool }

func (h responsesHarness) Stage(t *testing.T, s llmtest.Scene) *llmtest.Stage {
	box := sandbox.Start(t, fault.Plan{Kind: s.Fault, Times: s.Times})
	openaibox.Responses(box, "/v1", openaibox.ResponsesOptions{Answer: openaibox.SaysResponse(s.Tool)})
	c, err := newResponses(&ResponsesOptions{APIKey: box.Key, BaseURL: box.URL() + "/v1", HTTP: h.http})
	if err != nil {
		t.Fatal(err)
	}
	return &llmtest.Stage{LLM: c, Text: openaibox.ChatText, Usage: box.LLM, Billed: box.LLMBilled, Dials: box.Dials, Secrets: []string{box.Key}}
}

// served is a sandbox with a model that asks it; seen are the requests that were answered.
type served struct {
	box  *sandbox.Server
	c    *responsesLLM
	mu   sync.Mutex
	seen []*openaibox.ResponsesRequest
}

func serve(t *testing.T, so openaibox.ResponsesOptions, o ResponsesOptions) *served {
	t.Helper()
	s := &served{box: sandbox.Start(t, fault.Plan{})}
	so.Seen = func(r *openaibox.ResponsesRequest) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen = append(s.seen, r)
	}
	openaibox.Responses(s.box, "/v1", so)
	o.APIKey, o.BaseURL = s.box.Key, s.box.URL()+"/v1"
	var err error
	if s.c, err = newResponses(&o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.c.Close() })
	return s
}

// ask asks, adds the answer to the conversation, with an output for each call, and returns the request
// as the service got it.
func (s *served) ask(t *testing.T, r *driver.Request) (*openaibox.ResponsesRequest, answer) {
	t.Helper()
	a := collect(s.c, r)
	if a.err != nil {
		t.Fatal(a.err)
	}
	if a.text != "" {
		r.Messages.Add(chat.NewMessage(chat.Assistant, a.text))
	}
	for _, call := range a.calls {
		r.Messages.Add(&chat.FunctionCall{CallID: call.CallID, Name: call.Name, Arguments: call.Arguments, GroupID: "g" + a.calls[0].CallID})
	}
	for _, call := range a.calls {
		r.Messages.Add(&chat.FunctionCallOutput{CallID: call.CallID, Name: call.Name, Output: "Sunny."})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[len(s.seen)-1], a
}

func says(r *driver.Request, text string) { r.Messages.Add(chat.NewMessage(chat.User, text)) }

func both(t *testing.T, test func(t *testing.T, o ResponsesOptions)) {
	t.Run("socket", func(t *testing.T) { test(t, ResponsesOptions{}) })
	t.Run("HTTP", func(t *testing.T) { test(t, ResponsesOptions{HTTP: true}) })
}

func TestOnlyWhatIsNewIsSent(t *testing.T) {
	both(t, func(t *testing.T, o ResponsesOptions) {
		s := serve(t, openaibox.ResponsesOptions{}, o)
		r := question()
		if got, _ := s.ask(t, r); got.Previous != "" || len(got.Input) != 2 {
			t.Fatalf("first: %+v", got)
		}
		says(r, "And tomorrow?")
		if got, _ := s.ask(t, r); got.Previous == "" || len(got.Input) != 1 || got.Input[0].Text() != "And tomorrow?" || len(got.Whole) != 4 {
			t.Fatalf("second: %+v", got)
		}
		says(r, "And then?")
		if got, _ := s.ask(t, r); len(got.Input) != 1 || len(got.Whole) != 6 {
			t.Fatalf("third: %+v", got)
		}
	})
}

func TestOutputsOfToolsFollowTheirCalls(t *testing.T) {
	both(t, func(t *testing.T, o ResponsesOptions) {
		s := serve(t, openaibox.ResponsesOptions{Answer: func(r *openaibox.ResponsesRequest) openaibox.Answer {
			if len(r.Whole) > 2 {
				return openaibox.Answer{Text: "It is sunny."}
			}
			return openaibox.Answer{Text: "Let me see.", Calls: []driver.ToolCall{{CallID: "x", Name: "a", Arguments: `{}`}, {CallID: "y", Name: "b", Arguments: `{"p":1}`}}}
		}}, o)
		r := question("a", "b")
		s.ask(t, r)
		got, _ := s.ask(t, r)
		if got.Previous == "" || len(got.Input) != 2 || got.Input[0].CallID != "x" || got.Input[1].Type != "function_call_output" || len(got.Whole) != 7 {
			t.Fatalf("%+v", got)
		}
	})
}

func TestWhatWasNotHeardIsNotBuiltOn(t *testing.T) {
	s := serve(t, openaibox.ResponsesOptions{}, ResponsesOptions{})
	r := question()
	s.ask(t, r)
	says(r, "And tomorrow?")
	before := r.Messages.Copy(nil)
	if a := collect(s.c, r); a.err != nil {
		t.Fatal(a.err)
	}
	r.Messages = before
	r.Messages.Add(&chat.Message{Role: chat.Assistant, Content: []chat.Part{chat.Text("It is")}, Interrupted: true})
	says(r, "Stop.")
	got, _ := s.ask(t, r) // what came before the answer that was cut short is still known
	if got.Previous == "" || len(got.Input) != 3 || got.Input[1].Text() != "It is" || len(got.Whole) != 6 {
		t.Fatalf("%+v", got)
	}
}

func TestAnotherInstructionIsAnotherConversation(t *testing.T) {
	s := serve(t, openaibox.ResponsesOptions{}, ResponsesOptions{})
	r := question()
	s.ask(t, r)
	other := &chat.Context{}
	other.Add(chat.NewMessage(chat.System, "Be long."))
	for _, it := range r.Messages.Items()[1:] {
		other.Add(it)
	}
	r.Messages = other
	says(r, "Again.")
	if got, _ := s.ask(t, r); got.Previous != "" || len(got.Input) != 4 {
		t.Fatalf("%+v", got)
	}
}

func TestNothingIsBuiltOnWithoutStore(t *testing.T) {
	for _, off := range []opt.Value[bool]{opt.Off[bool](), some(false)} {
		s := serve(t, openaibox.ResponsesOptions{}, ResponsesOptions{Store: off})
		r := question()
		s.ask(t, r)
		says(r, "Again.")
		if got, _ := s.ask(t, r); got.Previous != "" || len(got.Input) != 4 || got.Store == nil || *got.Store {
			t.Fatalf("%+v", got)
		}
	}
}

func TestAServiceThatForgetsGetsItAll(t *testing.T) {
	both(t, func(t *testing.T, o ResponsesOptions) {
		s := serve(t, openaibox.ResponsesOptions{Forget: true}, o)
		r := question()
		s.ask(t, r)
		for n := range maxLost + 2 {
			says(r, "Again.")
			calls := s.box.Calls()
			got, _ := s.ask(t, r)
			if got.Previous != "" || len(got.Input) != 4+2*n {
				t.Fatalf("request %d: %+v", n, got)
			}
			// Over HTTP the request that was refused is a call too.
			if tried := s.box.Calls() - calls; o.HTTP && n >= maxLost && tried != 1 {
				t.Fatalf("request %d took %d calls", n, tried)
			}
		}
	})
}

func TestSocketsAreUsedAgainAndReplacedWhenStale(t *testing.T) {
	for _, abrupt := range []bool{false, true} {
		s := serve(t, openaibox.ResponsesOptions{MaxAge: 2, Abrupt: abrupt}, ResponsesOptions{})
		for n, dials := range []int{1, 1, 2, 2, 3} {
			if s.ask(t, question()); s.box.Dials() != dials {
				t.Fatalf("request %d: %d dials", n, s.box.Dials())
			}
		}
	}
}

func TestOneRequestOfASocketAtATime(t *testing.T) {
	s := serve(t, openaibox.ResponsesOptions{}, ResponsesOptions{})
	var streams []driver.Stream
	for range 3 {
		st, err := s.c.Chat(t.Context(), question())
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, st)
	}
	if s.box.Dials() != 3 {
		t.Fatalf("%d dials", s.box.Dials())
	}
	for _, st := range streams {
		_ = st.Close()
	}
}

func TestIncompleteIsAnEndWithUsage(t *testing.T) {
	both(t, func(t *testing.T, o ResponsesOptions) {
		s := serve(t, openaibox.ResponsesOptions{Incomplete: true}, o)
		r := question()
		_, a := s.ask(t, r)
		if a.text != openaibox.ChatText || a.usage == nil || a.usage.CompletionTokens == 0 {
			t.Fatalf("%+v", a)
		}
		says(r, "Go on.")
		if got, _ := s.ask(t, r); got.Previous != "" {
			t.Fatal("an answer that was cut short is built on")
		}
	})
}

func asking(t *testing.T, c *canned, o ResponsesOptions) (answer, *responsesLLM) {
	t.Helper()
	o.HTTP, o.HTTPClient = true, c.client()
	if o.APIKey == "" {
		o.APIKey = "key-canary"
	}
	d, err := newResponses(&o)
	if err != nil {
		t.Fatal(err)
	}
	return collect(d, question("a")), d
}

const created = `{"type":"response.created","response":{"id":"resp_1"}}`

func TestResponseEvents(t *testing.T) {
	a, _ := asking(t, &canned{body: events(created, `{"type":"response.new.kind","delta":{"x":[1]}}`,
		`{"type":"response.refusal.delta","delta":"I will not."}`,
		`{"type":"response.output_item.done","item":{"type":"reasoning","summary":[],"encrypted_content":null}}`,
		`{"type":"response.completed","response":{"id":"resp_1","output":[{"type":"function_call","call_id":"x","name":"a","arguments":""}],"usage":{"input_tokens":5,"output_tokens":2,"total_tokens":7,"input_tokens_details":null}}}`)}, ResponsesOptions{})
	if a.err != nil || a.text != "I will not." || len(a.calls) != 1 || a.calls[0].Arguments != "{}" || *a.usage != (driver.Usage{PromptTokens: 5, CompletionTokens: 2, TotalTokens: 7,
		Raw: `{"input_tokens":5,"output_tokens":2,"total_tokens":7,"input_tokens_details":null}`}) || len(a.ids) != 1 || !a.ids["resp_1"] {
		t.Fatalf("%+v", a)
	}
}

func TestResponseErrors(t *testing.T) {
	hi := `{"type":"response.output_text.delta","delta":"Hi"}`
	for name, c := range map[string]struct {
		data   []string
		kind   model.ErrorKind
		status int
		retry  bool
	}{
		"failed":             {[]string{created, `{"type":"response.failed","response":{"id":"resp_1","error":{"code":"server_error","message":"oops"}}}`}, model.KindStatus, 500, true},
		"rate limit":         {[]string{created, hi, `{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"slow"}}}`}, model.KindStatus, 429, true},
		"failed, unknown":    {[]string{created, `{"type":"response.failed","response":{"error":{"code":"vector_store_timeout","message":"x"}}}`}, model.KindProtocol, 0, false},
		"failed, no details": {[]string{created, `{"type":"response.failed","response":{"error":null}}`}, model.KindProtocol, 0, false},
		"error":              {[]string{`{"type":"error","code":"invalid_prompt","message":"bad","param":null,"sequence_number":3}`}, model.KindStatus, 400, false},
		"error, nested":      {[]string{`{"type":"error","status":429,"error":{"type":"tokens","code":"x","message":"slow"}}`}, model.KindStatus, 429, true},
		"error, no word":     {[]string{`{"type":"error","status":503,"error":{"message":"later"}}`}, model.KindStatus, 503, true},
		"quota":              {[]string{`{"type":"error","error":{"code":"insufficient_quota","message":"pay"}}`}, model.KindStatus, 402, false},
		"broken off":         {[]string{created, hi}, model.KindConnection, 0, true},
		"done is no end":     {[]string{created, hi, "[DONE]"}, model.KindConnection, 0, true},
		"unreadable":         {[]string{created, `{"type":`}, model.KindProtocol, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := asking(t, &canned{body: events(c.data...)}, ResponsesOptions{})
			var e *model.Error
			if !errors.As(a.err, &e) || e.Kind != c.kind || e.Status != c.status || e.Retryable() != c.retry {
				t.Fatalf("%v", a.err)
			}
		})
	}
}

func TestAFailureTellsItsUsage(t *testing.T) {
	a, _ := asking(t, &canned{body: events(created,
		`{"type":"response.failed","response":{"error":{"code":"server_error","message":"x"},"usage":{"input_tokens":5,"output_tokens":0,"total_tokens":5}}}`)}, ResponsesOptions{})
	if a.err == nil || a.usage == nil || a.usage.PromptTokens != 5 {
		t.Fatalf("%+v", a)
	}
}

func TestResponsesRequests(t *testing.T) {
	clearEnv(t)
	for name, c := range map[string]struct {
		o    ResponsesOptions
		want map[string]any
	}{
		"the least": {ResponsesOptions{}, map[string]any{"model": "gpt-4.1", "stream": true, "type": nil, "store": nil, "reasoning": nil, "text": nil,
			"tools": []any{map[string]any{"type": "function", "name": "a", "description": "Does it.", "parameters": map[string]any{"type": "object"}, "strict": false}}}},
		"much": {ResponsesOptions{Store: some(true), MaxTokens: 9, Verbosity: "low", ReasoningEffort: "low", ServiceTier: "flex", ProviderTools: []map[string]any{{"type": "web_search"}}, Extra: map[string]any{"metadata": map[string]any{"k": "v"}}},
			map[string]any{"store": true, "max_output_tokens": 9.0, "text": map[string]any{"verbosity": "low"}, "reasoning": map[string]any{"effort": "low"}, "service_tier": "flex", "metadata": map[string]any{"k": "v"}}},
		"gpt-5": {ResponsesOptions{Model: "gpt-5", Temperature: some(1.0)}, map[string]any{"temperature": nil, "reasoning": map[string]any{"effort": "minimal"}}},
	} {
		t.Run(name, func(t *testing.T) {
			net := &canned{body: events(created)}
			asking(t, net, c.o)
			got := net.fields(t)
			for k, v := range c.want {
				if have, ok := got[k]; ok != (v != nil) || !reflect.DeepEqual(have, v) {
					t.Fatalf("%s is %v, want %v", k, have, v)
				}
			}
			if net.request.URL.String() != "https://api.openai.com/v1/responses" || net.request.Header.Get("Authorization") != "Bearer key-canary" {
				t.Fatalf("%s %v", net.request.URL, net.request.Header)
			}
			if strings.Contains(string(net.sent), "null") {
				t.Fatalf("null in %s", net.sent)
			}
		})
	}
}

func TestAzureResponses(t *testing.T) {
	clearEnv(t)
	for _, base := range []string{"https://res.openai.azure.com", "https://res.openai.azure.com/openai/v1/"} {
		net := &canned{body: events(created)}
		o := ResponsesOptions{Service: Azure, BaseURL: base, Model: "my-deployment", HTTPClient: net.client()}
		if _, err := newResponses(&o); err == nil || !strings.Contains(err.Error(), "AZURE_OPENAI_API_KEY") {
			t.Fatalf("without a key: %v", err)
		}
		o.APIKey = "key"
		d, err := newResponses(&o) // over HTTP without being told
		if err != nil {
			t.Fatal(err)
		}
		collect(d, question())
		if net.request.URL.String() != "https://res.openai.azure.com/openai/v1/responses" || net.request.Header.Get("Api-Key") != "key" || net.fields(t)["model"] != "my-deployment" {
			t.Fatalf("%s %v %s", net.request.URL, net.request.Header, net.sent)
		}
		if i := d.Info(); i.Provider != "azure" || i.Label != "openai.Responses" {
			t.Fatalf("%+v", i)
		}
	}
}

func TestResponsesAddresses(t *testing.T) {
	clearEnv(t)
	for want, o := range map[string]ResponsesOptions{
		"wss://api.openai.com/v1/responses":                      {},
		"wss://own.test/v1/responses?model=m":                    {BaseURL: "https://own.test/v1", Model: "m"},
		"wss://api.x.ai/v1/responses?model=grok-3-fast":          {Service: XAI},
		"ws://localhost:1234/v1/responses?model=qwen%2Fqwen3-8b": {BaseURL: "http://localhost:1234/v1", Model: "qwen/qwen3-8b"},
	} {
		o.APIKey = "key"
		d, err := newResponses(&o)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.socketURL(); got != want || d.pool == nil {
			t.Fatalf("%s, want %s", got, want)
		}
		_ = d.Close()
	}
	if d, err := newResponses(&ResponsesOptions{Service: Groq, APIKey: "key"}); err != nil || d.pool != nil {
		t.Fatalf("Groq is asked over a websocket: %v", err)
	}
}

func TestPicturesAndRoles(t *testing.T) {
	net := &canned{body: events(created)}
	d, err := newResponses(&ResponsesOptions{APIKey: "key", HTTP: true, HTTPClient: net.client()})
	if err != nil {
		t.Fatal(err)
	}
	r := question()
	r.Messages.Add(&chat.Message{Role: chat.User, Content: []chat.Part{chat.Text("See:"), &chat.Image{URL: "https://x.test/p.png", Detail: "low"}, &chat.Audio{Transcript: "this"}}},
		chat.NewMessage(chat.Assistant, "I see."), chat.NewMessage(chat.Developer, "Go on."))
	collect(d, r)
	want := `[{"type":"message","role":"system","content":[{"type":"input_text","text":"Be brief."}]},{"type":"message","role":"user","content":[{"type":"input_text","text":"What is the weather?"}]},` +
		`{"type":"message","role":"user","content":[{"type":"input_text","text":"See:"},{"type":"input_image","image_url":"https://x.test/p.png","detail":"low"},{"type":"input_text","text":"this"}]},` +
		`{"type":"message","role":"assistant","content":[{"type":"output_text","text":"I see."}]},{"type":"message","role":"developer","content":[{"type":"input_text","text":"Go on."}]}]`
	if !strings.Contains(string(net.sent), `"input":`+want) {
		t.Fatalf("%s", net.sent)
	}
}

func TestChainsForgetTheOldest(t *testing.T) {
	c := newChains()
	said := func(n int) []inputItem { return []inputItem{assistantItem(strconv.Itoa(n))} }
	next := inputItem{Type: "message", Role: "user"}
	for n := range maxChains + 1 {
		c.add(nil, said(n), strconv.Itoa(n), false)
		c.add(nil, said(n), strconv.Itoa(n), false) // again: no second place
	}
	for n, want := range map[int]string{0: "", 1: "1", maxChains: strconv.Itoa(maxChains)} {
		if _, got := c.find(append(said(n), next)); got != want {
			t.Fatalf("%d is %q", n, got)
		}
	}
	if rest, id := c.find(said(1)); id != "" || len(rest) != 1 {
		t.Fatal("nothing would be sent")
	}
	if len(c.ids) != maxChains {
		t.Fatalf("%d are kept", len(c.ids))
	}
}

func FuzzResponseStream(f *testing.F) {
	f.Add([]byte(events(created, `{"type":"response.output_text.delta","delta":"Hi"}`, `{"type":"response.completed","response":{"id":"r","output":[{"type":"function_call","name":"a"}],"usage":{}}}`)))
	f.Add([]byte(events(`{"type":"error","error":[{"code":1}]}`, `{"type":"response.failed","response":{"error":"x","usage":{"input_tokens":-1}}}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := newResponses(&ResponsesOptions{APIKey: "key", HTTP: true, HTTPClient: (&canned{body: string(b)}).client()})
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

func TestARequestTellsWhyItsSocketWasRefused(t *testing.T) {
	box := sandbox.Start(t, fault.Plan{})
	box.HandleSocket("/v1/responses", func(_ *sandbox.Call, ws *sandbox.Socket) {
		_ = ws.Send(json.RawMessage(`{"type":"error","status":400,"error":{"type":"invalid_request_error","message":"no such model"}}`), false)
		ws.Close(1000, "")
	}, func(*sandbox.Call) bool { return true })
	c, err := newResponses(&ResponsesOptions{APIKey: box.Key, BaseURL: box.URL() + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l, err := c.pool.Acquire(t.Context())
	if err == nil {
		<-l.Dead()
		err = l.WriteText(t.Context(), []byte("{}"))
		l.Discard()
	}
	var e *model.Error
	if !errors.As(err, &e) || e.Status != 400 || !strings.Contains(err.Error(), "no such model") {
		t.Errorf("error is %v", err)
	}
}

// An answer that cannot be read is one: the prompt is billed, on a websocket as elsewhere.
func TestUnreadableAnswerIsBooked(t *testing.T) {
	both(t, func(t *testing.T, o ResponsesOptions) {
		box := sandbox.Start(t, fault.Once(fault.Malformed))
		openaibox.Responses(box, "", openaibox.ResponsesOptions{})
		o.APIKey, o.BaseURL, o.Front = box.Key, box.URL(), &llm.Options{Conn: model.ConnOptions{MaxRetry: -1}}
		m, err := NewResponses(&o)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		var log modeltest.Log
		c := &chat.Context{}
		c.Add(chat.NewMessage(chat.User, "Is it going to rain in Paris today?"))
		if _, _, err := m.Chat(log.Context(t.Context()), &llm.Request{Messages: c}).Collect(); err == nil {
			t.Fatal("an answer that cannot be read was taken")
		}
		es := modeltest.Events[*metrics.LLM](&log)
		if len(es) != 1 || es[0].Source != metrics.Estimated || es[0].PromptTokens == 0 || es[0].Outcome != metrics.Failed {
			t.Errorf("booked %v", es)
		}
	})
}
