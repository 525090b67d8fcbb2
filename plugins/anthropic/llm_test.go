package anthropic

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/anthropicbox"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/llmtest"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
)

func TestLLMConformance(t *testing.T) { llmtest.Run(t, harness{}) }

type harness struct{}

func (harness) Stage(t *testing.T, s llmtest.Scene) *llmtest.Stage {
	box := sandbox.Start(t, fault.Plan{Kind: s.Fault, Times: s.Times})
	anthropicbox.Messages(box, anthropicbox.Says(s.Tool))
	m, err := newMessages(&LLMOptions{APIKey: box.Key, BaseURL: box.URL()})
	if err != nil {
		t.Fatal(err)
	}
	return &llmtest.Stage{LLM: m, Text: anthropicbox.Text, Usage: box.LLM, Billed: box.LLMBilled, Dials: box.Dials, Secrets: []string{box.Key}}
}

// ask sends a conversation to a sandbox and returns what reached it.
func ask(t *testing.T, o LLMOptions, answer anthropicbox.Answer, r *llm.Request) (*anthropicbox.Request, string, []llm.ToolCall, error) {
	t.Helper()
	box := sandbox.Start(t, fault.Plan{})
	var got *anthropicbox.Request
	anthropicbox.Messages(box, func(r *anthropicbox.Request) anthropicbox.Answer {
		got = r
		return answer
	})
	o.APIKey, o.BaseURL = box.Key, box.URL()
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
	return llm.NewRawTool("look", "Looks.", json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`),
		func(context.Context, any, json.RawMessage) (any, error) { return nil, nil })
}

// shape writes turns as "role: text|<call id>|(answer)".
func shape(r *anthropicbox.Request) string {
	var turns []string
	for _, m := range r.Messages {
		var blocks []string
		for _, b := range m.Content {
			s := b.Type
			switch b.Type {
			case "text":
				s = *b.Text
			case "tool_use":
				s = "<" + b.ID + " " + b.Name + string(b.Input) + ">"
			case "tool_result":
				s = "(" + b.ToolUseID + " " + string(b.Content) + ")"
				if b.IsError {
					s += "!"
				}
			case "image":
				s = b.Source.Type + ":" + b.Source.MediaType + b.Source.URL
			}
			if b.Cache != nil {
				s += "*"
			}
			blocks = append(blocks, s)
		}
		turns = append(turns, m.Role+": "+strings.Join(blocks, "|"))
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
	picture := &chat.Message{Role: chat.User, Content: []chat.Part{
		chat.Text("Look:"), &chat.Image{URL: "data:image/png;base64,aGk="}, &chat.Image{URL: "https://example.test/a.png"}, chat.Text(" "),
	}}
	for _, c := range []struct {
		name  string
		model string
		items []chat.Item
		want  string
	}{
		{"nothing", "", nil, "user: (empty)"},
		{"the user first", "", []chat.Item{say(chat.System, "s"), say(chat.User, "hi")}, "user: hi"},
		{"the agent first", "", []chat.Item{say(chat.Assistant, "hello"), say(chat.User, "hi")}, "user: (empty)\nassistant: hello\nuser: hi"},
		{"the agent last", "", []chat.Item{say(chat.User, "hi"), say(chat.Assistant, "hello ")}, "user: hi\nassistant: hello \nuser: ."},
		{"a model that goes on", "claude-haiku-4-5-20251001", []chat.Item{say(chat.User, "hi"), say(chat.Assistant, "hello ")}, "user: hi\nassistant: hello"},
		{"instructions on the way", "", []chat.Item{say(chat.System, "s"), say(chat.User, "hi"), say(chat.Developer, "hurry")},
			"user: hi|<instructions>\nhurry\n</instructions>"},
		{"the same role twice", "", []chat.Item{say(chat.User, "a"), say(chat.User, "b"), say(chat.Assistant, "c"), say(chat.Assistant, "d"), say(chat.User, "e")},
			"user: a|b\nassistant: c|d\nuser: e"},
		{"blank", "", []chat.Item{say(chat.User, "a"), say(chat.Assistant, " "), say(chat.User, "b")}, "user: a|b"},
		{"calls", "", []chat.Item{say(chat.User, "a"), answer, call("x", "g", `{"a":1}`), call("y", "g", "[]"), out("y", "Y", true), out("x", "", false), say(chat.User, "b")},
			"user: a\nassistant: Let me see.|<x look{\"a\":1}>|<y look{}>\nuser: (x )|(y \"Y\")!|b"},
		{"ids of others", "", []chat.Item{say(chat.User, "a"), call("a.b/1", "", "{}"), out("a.b/1", "r", false)},
			"user: a\nassistant: <a_b_1 look{}>\nuser: (a_b_1 \"r\")"},
		{"an answer of blocks", "", []chat.Item{say(chat.User, "a"), call("x", "", "{}"), out("x", `[{"type":"text","text":"t"}]`, false)},
			"user: a\nassistant: <x look{}>\nuser: (x [{\"type\":\"text\",\"text\":\"t\"}])"},
		{"an answer that is a list", "", []chat.Item{say(chat.User, "a"), call("x", "", "{}"), out("x", `[1,2]`, false), call("y", "", "{}"), out("y", `[]`, false)},
			"user: a\nassistant: <x look{}>\nuser: (x \"[1,2]\")\nassistant: <y look{}>\nuser: (y \"[]\")"},
		{"pictures", "", []chat.Item{picture}, "user: Look:|base64:image/png|url:https://example.test/a.png"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, _, err := ask(t, LLMOptions{Model: c.model}, anthropicbox.Answer{Text: "ok"}, talk(c.items...))
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
	weather := tool()
	for _, c := range []struct {
		name string
		o    LLMOptions
		r    llm.Request
		ok   func(r *anthropicbox.Request) bool
	}{
		{"defaults", LLMOptions{}, llm.Request{}, func(r *anthropicbox.Request) bool {
			return r.Model == "claude-sonnet-4-6" && r.MaxTokens == 1024 && len(r.System) == 1 && *r.System[0].Text == "s" &&
				r.Temperature == nil && r.TopP == nil && r.TopK == nil && r.Metadata == nil && r.Tools == nil && r.ToolChoice == nil
		}},
		{"all", LLMOptions{MaxTokens: 9, Temperature: opt.Some(0.5), TopP: opt.Some(0.9), TopK: opt.Some(3), User: "u"}, llm.Request{}, func(r *anthropicbox.Request) bool {
			return r.MaxTokens == 9 && *r.Temperature == 0.5 && *r.TopP == 0.9 && *r.TopK == 3 && r.Metadata.UserID == "u"
		}},
		{"extra", LLMOptions{Extra: map[string]any{"max_tokens": 5, "top_k": 1}}, llm.Request{Extra: map[string]any{"top_k": 2}}, func(r *anthropicbox.Request) bool {
			return r.MaxTokens == 5 && *r.TopK == 2
		}},
		{"tools", LLMOptions{StrictTools: true}, llm.Request{Tools: []llm.Tool{weather}}, func(r *anthropicbox.Request) bool {
			return r.Tools[0].Name == "look" && r.Tools[0].Description == "Looks." && *r.Tools[0].Strict && r.ToolChoice == nil
		}},
		{"one call at a time", LLMOptions{ParallelToolCalls: opt.Some(false)}, llm.Request{Tools: []llm.Tool{weather}}, func(r *anthropicbox.Request) bool {
			return *r.ToolChoice == anthropicbox.Choice{Type: "auto", OneAtATime: true}
		}},
		{"calls at once after all", LLMOptions{ParallelToolCalls: opt.Some(false)}, llm.Request{Tools: []llm.Tool{weather}, ParallelToolCalls: new(true)}, func(r *anthropicbox.Request) bool {
			return r.ToolChoice == nil
		}},
		{"some call", LLMOptions{}, llm.Request{Tools: []llm.Tool{weather}, ToolChoice: llm.ToolChoice{Mode: llm.ToolRequired}}, func(r *anthropicbox.Request) bool {
			return *r.ToolChoice == anthropicbox.Choice{Type: "any"}
		}},
		{"this call", LLMOptions{}, llm.Request{Tools: []llm.Tool{weather}, ToolChoice: llm.ToolChoice{Mode: llm.ToolFunction, Function: "look"}}, func(r *anthropicbox.Request) bool {
			return *r.ToolChoice == anthropicbox.Choice{Type: "tool", Name: "look"}
		}},
		{"no call", LLMOptions{ParallelToolCalls: opt.Some(false)}, llm.Request{Tools: []llm.Tool{weather}, ToolChoice: llm.ToolChoice{Mode: llm.ToolNone}}, func(r *anthropicbox.Request) bool {
			return *r.ToolChoice == anthropicbox.Choice{Type: "none"}
		}},
		{"caching", LLMOptions{Caching: true}, llm.Request{Tools: []llm.Tool{weather}}, func(r *anthropicbox.Request) bool {
			return r.System[0].Cache.Type == "ephemeral" && r.Tools[0].Cache != nil && shape(r) == "user: a\nassistant: b\nuser: c*\nassistant: d*\nuser: e"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.r
			r.Messages = talk(say(chat.System, "s"), say(chat.User, "a"), say(chat.Assistant, "b"), say(chat.User, "c"), say(chat.Assistant, "d"), say(chat.User, "e")).Messages
			got, _, _, err := ask(t, c.o, anthropicbox.Answer{Text: "ok"}, &r)
			if err != nil {
				t.Fatal(err)
			}
			if !c.ok(got) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestThoughtsComeBackWithTheToolsAnswer(t *testing.T) {
	weather := tool()
	r := talk(say(chat.User, "hi"))
	r.Tools = []llm.Tool{weather}
	_, text, calls, err := ask(t, LLMOptions{}, anthropicbox.Answer{
		Thinking: "Hm.", Text: "<thinking>x</thinking>Wait.", Calls: []driver.ToolCall{{CallID: "x", Name: "look", Arguments: "{}"}},
	}, r)
	if err != nil || text != "Wait." || len(calls) != 1 {
		t.Fatalf("%q, %+v, %v", text, calls, err)
	}
	call := &chat.FunctionCall{CallID: "x", Name: "look", Arguments: "{}", GroupID: "g", Extra: calls[0].Extra}
	said := say(chat.Assistant, text)
	said.ID = "g"
	r.Messages.Add(said, call, &chat.FunctionCallOutput{CallID: "x", Output: "seen"})
	stored, err := json.Marshal(r.Messages)
	if err != nil {
		t.Fatal(err)
	}
	r.Messages = &chat.Context{}
	if err := json.Unmarshal(stored, r.Messages); err != nil {
		t.Fatal(err)
	}
	got, _, _, err := ask(t, LLMOptions{}, anthropicbox.Answer{Text: "ok"}, r)
	if err != nil {
		t.Fatal(err)
	}
	if s := shape(got); s != "user: hi\nassistant: thinking|Wait.|<x look{}>\nuser: (x \"seen\")" {
		t.Error(s)
	}
	if b := got.Messages[1].Content[0]; *b.Thinking != "Hm." || b.Signature != "c2lnbmVk" {
		t.Errorf("the thought is %+v", b)
	}
}

func TestErrorsInsideOfAnswers(t *testing.T) {
	for _, c := range []struct {
		answer anthropicbox.Answer
		kind   model.ErrorKind
		status int
		again  bool
	}{
		{anthropicbox.Answer{Error: "overloaded_error"}, model.KindStatus, 529, true},
		{anthropicbox.Answer{Error: "invalid_request_error"}, model.KindStatus, 400, false},
		{anthropicbox.Answer{Error: "new_error"}, model.KindProtocol, 0, true},
		{anthropicbox.Answer{Stop: "refusal"}, model.KindProtocol, 0, false},
	} {
		_, _, _, err := ask(t, LLMOptions{}, c.answer, talk(say(chat.User, "hi")))
		var e *model.Error
		if !errors.As(err, &e) || e.Kind != c.kind || e.Status != c.status || e.Retryable() != c.again {
			t.Errorf("%+v gives %v", c.answer, err)
		}
	}
}

func TestModelsThatGoOn(t *testing.T) {
	for name, want := range map[string]bool{
		"claude-3-5-sonnet-20241022": true, "claude-sonnet-4-20250514": true, "claude-opus-4-1": true, "claude-opus-4": true,
		"claude-haiku-4-5-20251001": true, "claude-sonnet-4-5": true,
		"claude-sonnet-4-6": false, "claude-opus-4-6": false, "claude-opus-4-10": false, "claude-opus-5-5": false, "other": false,
	} {
		if continues(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestMissingKey(t *testing.T) {
	t.Setenv("ANTHROPIC_API_KEY", "")
	if _, err := NewLLM(nil); err == nil || !strings.Contains(err.Error(), "ANTHROPIC_API_KEY") {
		t.Errorf("error: %v", err)
	}
	t.Setenv("ANTHROPIC_API_KEY", "k")
	t.Setenv("ANTHROPIC_BASE_URL", "nonsense")
	if _, err := NewLLM(nil); err == nil {
		t.Error("the base URL was taken")
	}
}
