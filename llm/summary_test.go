package llm_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/scripted"
)

// long is a conversation whose tail of one turn begins at the user's second message.
func long() *chat.Context {
	c := &chat.Context{}
	at := time.Unix(1000, 0)
	add := func(id string, it chat.Item) {
		at = at.Add(time.Second)
		*it.Head() = chat.Header{ID: id, CreatedAt: at}
		c.Add(it)
	}
	add("system", chat.NewMessage(chat.System, "Be brief."))
	add("u1", chat.NewMessage(chat.User, "Is 1 < 2?"))
	add("handoff", &chat.Handoff{NewAgentID: "math"})
	add("call", &chat.FunctionCall{CallID: "1", Name: "compare", Arguments: `{"a":1}`})
	add("config", &chat.ConfigUpdate{Instructions: "Be brief."})
	add("empty", chat.NewMessage(chat.Assistant, " "))
	add("a1", chat.NewMessage(chat.Assistant, "Let me see."))
	add("u2", chat.NewMessage(chat.User, "Well?"))
	add("output", &chat.FunctionCallOutput{CallID: "1", Name: "compare", Output: "yes"})
	add("call2", &chat.FunctionCall{CallID: "2", Name: "compare", Arguments: `{}`})
	add("output2", &chat.FunctionCallOutput{CallID: "2", Name: "compare", Output: "sure"})
	add("a2", chat.NewMessage(chat.Assistant, "Yes."))
	return c
}

func order(c *chat.Context) string {
	var ids []string
	for it := range c.All() {
		id := it.Head().ID
		if m, ok := it.(*chat.Message); ok && m.Extra["is_summary"] == true {
			id = "SUMMARY"
		}
		ids = append(ids, id)
	}
	return strings.Join(ids, " ")
}

func TestC123SummarizeKeepsStructureAndTail(t *testing.T) {
	d := scripted.New(&scripted.Options{Answers: []scripted.Answer{{Text: "\nThey compared 1 and 2.\n"}, {Text: "All of it."}}})
	m := llm.New(d, nil)
	before := order(long())
	c := long()
	got, err := llm.Summarize(t.Context(), m, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	if want := "system handoff config SUMMARY u2 call2 output2 a2"; order(got) != want {
		t.Errorf("got  %s\nwant %s", order(got), want)
	}
	if order(c) != before {
		t.Error("the original was changed")
	}
	items := got.Items()
	s := items[3].(*chat.Message)
	if s.Role != chat.Assistant || s.Text() != "<chat_history_summary>\nThey compared 1 and 2.\n</chat_history_summary>" ||
		!s.CreatedAt.Equal(items[4].Head().CreatedAt.Add(-time.Microsecond)) {
		t.Errorf("summary %+v", s)
	}
	text := func(i int) string { return slices.Collect(d.Requests()[i].Messages.Messages())[1].Text() }
	want := "<user>Is 1 &lt; 2?</user>\n<function_call name=\"compare\">{&#34;a&#34;:1}</function_call>\n<assistant>Let me see.</assistant>\n" +
		"<function_call_output name=\"compare\">yes</function_call_output>\n"
	if text(0) != want {
		t.Errorf("asked to sum up\n%swant\n%s", text(0), want)
	}

	// Everything, with the earlier summary.
	got, err = llm.Summarize(t.Context(), m, got, 0)
	if err != nil {
		t.Fatal(err)
	}
	if order(got) != "system handoff config SUMMARY" || !strings.Contains(text(1), "<earlier_summary>") || !strings.Contains(text(1), "They compared") {
		t.Errorf("got %s of\n%s", order(got), text(1))
	}
}

func TestC123NothingToSummarize(t *testing.T) {
	for name, turns := range map[string]int{"as many messages as are kept": 2, "fewer": 5} {
		d := scripted.New(&scripted.Options{Answers: []scripted.Answer{{Text: "never"}}})
		got, err := llm.Summarize(t.Context(), llm.New(d, nil), long(), turns)
		if err != nil || !got.Equivalent(long()) || len(d.Requests()) != 0 {
			t.Errorf("%s: %s, %v, %d requests", name, order(got), err, len(d.Requests()))
		}
	}
	silent := llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{{Text: " "}}}), nil)
	if got, err := llm.Summarize(t.Context(), silent, long(), 1); err != nil || !got.Equivalent(long()) {
		t.Errorf("an empty summary: %s, %v", order(got), err)
	}
	boom := errors.New("no such model")
	broken := llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{{Fault: &scripted.Fault{InChat: true, Err: boom}}}}), nil)
	if got, err := llm.Summarize(t.Context(), broken, long(), 1); !got.Equivalent(long()) || !errors.Is(err, boom) {
		t.Errorf("a model that fails: %v, %v", got, err)
	}
	if got, err := llm.Summarize(t.Context(), broken, nil, 1); err != nil || got.Len() != 0 {
		t.Errorf("no conversation: %v, %v", fmt.Sprint(got), err)
	}
}
