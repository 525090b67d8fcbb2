package google

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/googlebox"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/llmtest"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
)

func TestGeminiConformance(t *testing.T) {
	t.Parallel()
	llmtest.Run(t, llmHarness{})
}

func TestVertexConformance(t *testing.T) {
	t.Parallel()
	llmtest.Run(t, llmHarness{vertex: true})
}

type llmHarness struct{ vertex bool }

func (h llmHarness) Stage(t *testing.T, s llmtest.Scene) *llmtest.Stage {
	box := sandbox.Start(t, fault.Plan{Kind: s.Fault, Times: s.Times})
	googlebox.Gemini(box, googlebox.Says(s.Tool))
	g, err := newGemini(options(box, h.vertex))
	if err != nil {
		t.Fatal(err)
	}
	return &llmtest.Stage{LLM: g, Text: googlebox.Text, Usage: box.LLM, Billed: box.LLMBilled, Dials: box.Dials, Secrets: []string{box.Key}}
}

func options(box *sandbox.Server, vertex bool) *LLMOptions {
	o := &LLMOptions{BaseURL: box.URL(), VertexAI: opt.Some(vertex)}
	if vertex {
		o.Project, o.Credentials.AccessToken = "sandbox", box.Key
	} else {
		o.APIKey = box.Key
	}
	return o
}

// ask sends a conversation to a sandbox and returns what reached it.
func ask(t *testing.T, o LLMOptions, answer googlebox.Answer, r *llm.Request) (*googlebox.Request, string, []llm.ToolCall, error) {
	t.Helper()
	box := sandbox.Start(t, fault.Plan{})
	var got *googlebox.Request
	googlebox.Gemini(box, func(r *googlebox.Request) googlebox.Answer {
		got = r
		return answer
	})
	b := options(box, o.VertexAI.Default(false))
	o.APIKey, o.BaseURL, o.VertexAI, o.Project, o.Credentials = b.APIKey, b.BaseURL, b.VertexAI, b.Project, b.Credentials
	o.Front = &llm.Options{Conn: model.ConnOptions{MaxRetry: -1}}
	m, err := NewLLM(&o)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	text, calls, err := m.Chat(t.Context(), r).Collect()
	return got, text, calls, err
}

func talk(items ...chat.Item) *llm.Request {
	c := &chat.Context{}
	c.Add(items...)
	return &llm.Request{Messages: c}
}

func say(role chat.Role, text string) *chat.Message { return chat.NewMessage(role, text) }

func tool() llm.Tool {
	return llm.NewRawTool("look", "Looks.", json.RawMessage(`{"type":"object","properties":{"at":{"type":"string"}}}`),
		func(context.Context, any, json.RawMessage) (any, error) { return nil, nil })
}

// shape writes turns as "role: text|<call id>|(answer)"; a signature follows #.
func shape(r *googlebox.Request) string {
	var turns []string
	for _, t := range r.Contents {
		var parts []string
		for _, p := range t.Parts {
			s := ""
			switch {
			case p.Text != nil:
				s = *p.Text
			case p.Inline != nil:
				s = p.Inline.MimeType
			case p.File != nil:
				s = p.File.URI
			case p.Call != nil:
				s = fmt.Sprintf("<%s %s%v>", p.Call.ID, p.Call.Name, p.Call.Args)
			case p.Answer != nil:
				s = fmt.Sprintf("(%s %s%v)", p.Answer.ID, p.Answer.Name, p.Answer.Response)
			}
			if p.Signature != "" {
				s += "#" + p.Signature
			}
			parts = append(parts, s)
		}
		turns = append(turns, t.Role+": "+strings.Join(parts, "|"))
	}
	return strings.Join(turns, "\n")
}

// TestConversations has the sandbox check what it gets, too.
func TestConversations(t *testing.T) {
	call := func(id, group, args string) chat.Item {
		return &chat.FunctionCall{CallID: id, GroupID: group, Name: "look", Arguments: args}
	}
	out := func(id, text string, isError bool) chat.Item {
		return &chat.FunctionCallOutput{CallID: id, Name: "look", Output: text, IsError: isError}
	}
	answer := say(chat.Assistant, "Let me see.")
	answer.ID = "g"
	calls := []chat.Item{say(chat.User, "a"), answer, call("x", "g", `{"a":1}`), call("y", "g", "[]"), out("y", "Y", true), out("x", "", false), say(chat.User, "b")}
	picture := &chat.Message{Role: chat.User, Content: []chat.Part{
		chat.Text("Look:"), &chat.Image{URL: "data:image/png;base64,aGk="}, &chat.Image{URL: "https://example.test/a.png"}, chat.Text(" "),
	}}
	for _, c := range []struct {
		name  string
		o     LLMOptions
		items []chat.Item
		want  string
	}{
		{"nothing", LLMOptions{}, nil, "user: ."},
		{"the user first", LLMOptions{}, []chat.Item{say(chat.System, "s"), say(chat.User, "hi")}, "user: hi"},
		{"the agent first", LLMOptions{}, []chat.Item{say(chat.Assistant, "hello"), say(chat.User, "hi")}, "user: .\nmodel: hello\nuser: hi"},
		{"the agent last", LLMOptions{}, []chat.Item{say(chat.User, "hi"), say(chat.Assistant, "hello")}, "user: hi\nmodel: hello\nuser: ."},
		{"instructions on the way", LLMOptions{}, []chat.Item{say(chat.System, "s"), say(chat.User, "hi"), say(chat.Developer, "hurry")},
			"user: hi|<instructions>\nhurry\n</instructions>"},
		{"the same role twice", LLMOptions{}, []chat.Item{say(chat.User, "a"), say(chat.User, "b"), say(chat.Assistant, "c"), say(chat.Assistant, " "), say(chat.Assistant, "d"), say(chat.User, "e")},
			"user: a|b\nmodel: c|d\nuser: e"},
		{"calls", LLMOptions{}, calls,
			"user: a\nmodel: Let me see.|<x lookmap[a:1]>|<y lookmap[]>\nuser: (x lookmap[output:])|(y lookmap[error:Y])\nuser: b"},
		{"calls on Vertex AI", LLMOptions{VertexAI: opt.Some(true)}, calls,
			"user: a\nmodel: Let me see.|< lookmap[a:1]>|< lookmap[]>\nuser: ( lookmap[output:])|( lookmap[error:Y])\nuser: b"},
		{"calls of another model", LLMOptions{Model: "gemini-3-flash-preview"}, calls[:6],
			"user: a\nmodel: Let me see.|<x lookmap[a:1]>#skip_thought_signature_validator|<y lookmap[]>\nuser: (x lookmap[output:])|(y lookmap[error:Y])"},
		{"pictures", LLMOptions{}, []chat.Item{picture}, "user: Look:|image/png|https://example.test/a.png"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, _, err := ask(t, c.o, googlebox.Answer{Text: "ok"}, talk(c.items...))
			if err != nil {
				t.Fatal(err)
			}
			if s := shape(got); s != c.want {
				t.Errorf("got\n%s\nwant\n%s", s, c.want)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	search := map[string]any{"tools": []any{map[string]any{"googleSearch": map[string]any{}}}}
	none := llm.NewRawTool("wave", "", json.RawMessage(`{"type":"object","properties":{}}`),
		func(context.Context, any, json.RawMessage) (any, error) { return nil, nil })
	for _, c := range []struct {
		name string
		o    LLMOptions
		r    llm.Request
		ok   func(r *googlebox.Request) bool
	}{
		{"defaults", LLMOptions{}, llm.Request{}, func(r *googlebox.Request) bool {
			return r.Model == "gemini-2.5-flash" && *r.System.Parts[0].Text == "s" && r.Generation == googlebox.Generation{} && r.Tools == nil && r.Config.Calling == nil
		}},
		{"all", LLMOptions{Temperature: opt.Some(0.5), TopP: opt.Some(0.9), TopK: opt.Some(3), PresencePenalty: opt.Some(0.1), FrequencyPenalty: opt.Some(0.2),
			MaxTokens: 9, Seed: opt.Some(4), MediaResolution: "MEDIA_RESOLUTION_LOW", CachedContent: "cachedContents/a", ServiceTier: "priority",
			SafetySettings: []SafetySetting{{"HARM_CATEGORY_HARASSMENT", "BLOCK_NONE"}}}, llm.Request{}, func(r *googlebox.Request) bool {
			g := r.Generation
			return *g.Temperature == 0.5 && *g.TopP == 0.9 && *g.TopK == 3 && *g.PresencePenalty == 0.1 && *g.FrequencyPenalty == 0.2 && g.MaxOutputTokens == 9 &&
				*g.Seed == 4 && g.MediaResolution != "" && r.Cached == "cachedContents/a" && r.Tier == "priority" && r.Safety[0].Threshold == "BLOCK_NONE"
		}},
		{"no thinking", LLMOptions{ThinkingBudget: opt.Off[int]()}, llm.Request{}, func(r *googlebox.Request) bool { return *r.Generation.Thinking.Budget == 0 }},
		{"little thinking", LLMOptions{Model: "gemini-3-flash-preview"}, llm.Request{}, func(r *googlebox.Request) bool {
			return r.Generation.Thinking.Level == "minimal"
		}},
		{"less thinking", LLMOptions{Model: "gemini-3-pro-preview"}, llm.Request{}, func(r *googlebox.Request) bool {
			return r.Generation.Thinking.Level == "low"
		}},
		{"much thinking", LLMOptions{Model: "gemini-3-pro-preview", ThinkingLevel: "high"}, llm.Request{}, func(r *googlebox.Request) bool {
			return r.Generation.Thinking.Level == "high"
		}},
		{"extra", LLMOptions{MaxTokens: 9, Extra: map[string]any{"generationConfig": map[string]any{"topK": 1}}},
			llm.Request{Extra: map[string]any{"generationConfig": map[string]any{"topK": 2}, "toolConfig": map[string]any{"retrievalConfig": map[string]any{"languageCode": "de"}}}},
			func(r *googlebox.Request) bool {
				return r.Generation.MaxOutputTokens == 9 && *r.Generation.TopK == 2 && r.Config.Where.Language == "de"
			}},
		{"tools", LLMOptions{}, llm.Request{Tools: []llm.Tool{tool(), none}}, func(r *googlebox.Request) bool {
			f := r.Tools[0].Functions
			return len(f) == 2 && f[0].Name == "look" && f[0].Description == "Looks." && len(f[0].Schema) > 0 && len(f[1].Schema) == 0 && r.Config.Calling == nil
		}},
		{"search", LLMOptions{Extra: search}, llm.Request{}, func(r *googlebox.Request) bool {
			return len(r.Tools) == 1 && r.Tools[0].GoogleSearch != nil
		}},
		{"search beside tools", LLMOptions{Extra: search}, llm.Request{Tools: []llm.Tool{tool()}, Extra: map[string]any{"tools": []any{map[string]any{"urlContext": map[string]any{}}}}},
			func(r *googlebox.Request) bool {
				return len(r.Tools) == 3 && len(r.Tools[0].Functions) == 1 && r.Tools[1].GoogleSearch != nil && r.Tools[2].URLContext != nil
			}},
		{"some call", LLMOptions{}, llm.Request{Tools: []llm.Tool{tool()}, ToolChoice: llm.ToolChoice{Mode: llm.ToolRequired}}, func(r *googlebox.Request) bool {
			return r.Config.Calling.Mode == "ANY" && r.Config.Calling.Allowed == nil
		}},
		{"this call", LLMOptions{}, llm.Request{Tools: []llm.Tool{tool()}, ToolChoice: llm.ToolChoice{Mode: llm.ToolFunction, Function: "look"}}, func(r *googlebox.Request) bool {
			return r.Config.Calling.Mode == "ANY" && r.Config.Calling.Allowed[0] == "look"
		}},
		{"no call", LLMOptions{}, llm.Request{Tools: []llm.Tool{tool()}, ToolChoice: llm.ToolChoice{Mode: llm.ToolNone}}, func(r *googlebox.Request) bool {
			return r.Config.Calling.Mode == "NONE" && len(r.Tools) == 1
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, _ := json.Marshal(c.o.Extra)
			r := c.r
			r.Messages = talk(say(chat.System, "s"), say(chat.User, "a")).Messages
			got, _, _, err := ask(t, c.o, googlebox.Answer{Text: "ok"}, &r)
			if err != nil {
				t.Fatal(err)
			}
			if !c.ok(got) {
				t.Errorf("got %+v", got)
			}
			if after, _ := json.Marshal(c.o.Extra); string(after) != string(before) {
				t.Errorf("the options were changed to %s", after)
			}
		})
	}
}

func TestSignaturesComeBack(t *testing.T) {
	r := talk(say(chat.User, "hi"))
	r.Tools = []llm.Tool{tool()}
	o := LLMOptions{Model: "gemini-3-flash-preview"}
	_, text, calls, err := ask(t, o, googlebox.Answer{
		Thought: "Hm.", Text: "Wait.", Calls: []driver.ToolCall{{CallID: "x", Name: "look", Arguments: "{}"}, {Name: "look", Arguments: "{}"}},
	}, r)
	if err != nil || text != "Wait." || len(calls) != 2 || calls[0].CallID != "x" || calls[1].CallID == "" {
		t.Fatalf("%q, %+v, %v", text, calls, err)
	}
	for _, c := range calls {
		r.Messages.Add(&chat.FunctionCall{CallID: c.CallID, Name: c.Name, Arguments: c.Arguments, GroupID: "g", Extra: c.Extra},
			&chat.FunctionCallOutput{CallID: c.CallID, Output: "seen"})
	}
	stored, err := json.Marshal(r.Messages)
	if err != nil {
		t.Fatal(err)
	}
	r.Messages = &chat.Context{}
	if err := json.Unmarshal(stored, r.Messages); err != nil {
		t.Fatal(err)
	}
	got, _, _, err := ask(t, o, googlebox.Answer{Text: "ok"}, r)
	if err != nil {
		t.Fatal(err)
	}
	if p := got.Contents[1].Parts; len(p) != 2 || p[0].Signature != "c2lnbmVklook" || p[1].Signature != "" {
		t.Errorf("the calls are %+v", p)
	}
}

func TestUsageOfThoughtsAndSearches(t *testing.T) {
	box := sandbox.Start(t, fault.Plan{})
	googlebox.Gemini(box, func(*googlebox.Request) googlebox.Answer { return googlebox.Answer{Text: googlebox.Text, Found: 7} })
	m, err := NewLLM(options(box, false))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := m.Chat(t.Context(), talk(say(chat.User, "hi")))
	if _, _, err := s.Collect(); err != nil {
		t.Fatal(err)
	}
	if u, ok := s.Usage(); !ok || u != box.LLM() || u.PromptTokens != 10 || u.CompletionTokens != 12 { // 3 and 7
		t.Errorf("usage %+v, the provider stated %+v", u, box.LLM())
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, c := range []struct {
		answer googlebox.Answer
		kind   model.ErrorKind
		status int
		again  bool
	}{
		{googlebox.Answer{Blocked: "SAFETY"}, model.KindProtocol, 0, false},
		{googlebox.Answer{Text: "oh", Finish: "PROHIBITED_CONTENT"}, model.KindProtocol, 0, false},
		{googlebox.Answer{Finish: "STOP"}, model.KindProtocol, 0, true},
		{googlebox.Answer{Finish: "MALFORMED_FUNCTION_CALL"}, model.KindProtocol, 0, true},
		{googlebox.Answer{Error: 503}, model.KindStatus, 503, true},
		{googlebox.Answer{Error: 400}, model.KindStatus, 400, false},
		{googlebox.Answer{Error: 7}, model.KindProtocol, 0, true},
	} {
		_, _, _, err := ask(t, LLMOptions{}, c.answer, talk(say(chat.User, "hi")))
		var e *model.Error
		if !errors.As(err, &e) || e.Kind != c.kind || e.Status != c.status || e.Retryable() != c.again {
			t.Errorf("%+v gives %v", c.answer, err)
		}
	}
	if _, text, _, err := ask(t, LLMOptions{}, googlebox.Answer{Text: "to be cut", Finish: "MAX_TOKENS"}, talk(say(chat.User, "hi"))); err != nil || text != "to be cut" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestVertexAddresses(t *testing.T) {
	t.Setenv("GOOGLE_CLOUD_LOCATION", "")
	t.Setenv("GOOGLE_CLOUD_PROJECT", "env")
	t.Setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
	for _, c := range []struct{ project, location, name, host, path string }{
		{"p", "", "m", "us-central1-aiplatform.googleapis.com", "/v1beta1/projects/p/locations/us-central1/publishers/google/models/m"},
		{"", "global", "m", "aiplatform.googleapis.com", "/v1beta1/projects/env/locations/global/publishers/google/models/m"},
		{"p", "eu", "publishers/x/models/m", "eu-aiplatform.googleapis.com", "/v1beta1/projects/p/locations/eu/publishers/x/models/m"},
		{"p", "eu", "projects/q/locations/eu/endpoints/1", "eu-aiplatform.googleapis.com", "/v1beta1/projects/q/locations/eu/endpoints/1"},
	} {
		g, err := newGemini(&LLMOptions{Project: c.project, Location: c.location, Model: c.name, Credentials: Credentials{AccessToken: "t"}})
		if err != nil {
			t.Fatal(err)
		}
		if g.base.Host != c.host || g.path != c.path || g.Info().Provider != "google-vertex" {
			t.Errorf("%s%s of %s", g.base.Host, g.path, g.Info().Provider)
		}
	}
}

func TestMissingKeys(t *testing.T) {
	for _, name := range []string{"GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GOOGLE_GENAI_USE_VERTEXAI"} {
		t.Setenv(name, "")
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	for want, o := range map[string]*LLMOptions{
		"GOOGLE_API_KEY":                 nil,
		"GOOGLE_APPLICATION_CREDENTIALS": {VertexAI: opt.Some(true)},
		"GOOGLE_CLOUD_PROJECT":           {VertexAI: opt.Some(true), Credentials: Credentials{AccessToken: "t"}},
		"not both":                       {APIKey: "k", ThinkingLevel: "low", ThinkingBudget: opt.Some(1)},
	} {
		if _, err := NewLLM(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
