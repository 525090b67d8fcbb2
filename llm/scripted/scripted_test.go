package scripted_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/llmtest"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
)

// harness runs the conformance kit on the model that needs no sandbox: it is one.
type harness struct{}

func (harness) Virtual() {}

func (harness) Stage(_ *testing.T, s llmtest.Scene) *llmtest.Stage {
	good := scripted.Answer{
		Text:  "It is sunny in Paris.",
		Delay: 10 * time.Millisecond,
		Usage: &driver.Usage{PromptTokens: 20, PromptCachedTokens: 8, CompletionTokens: 6, TotalTokens: 26, Raw: `{"words":6}`},
	}
	text := good.Text
	if s.Tool {
		good.Text = ""
		good.Calls = []driver.ToolCall{{Name: llmtest.Tool, Arguments: `{"location":"Paris"}`}}
	}
	bad, ok := spoil(good, s.Fault)
	if !ok {
		return nil
	}
	l := scripted.New(&scripted.Options{Respond: func(turn int, _ *driver.Request) scripted.Answer {
		if turn < s.Times {
			return bad
		}
		return good
	}})
	return &llmtest.Stage{LLM: l, Text: text, Usage: l.Stated}
}

func spoil(a scripted.Answer, f fault.Kind) (scripted.Answer, bool) {
	fail := func(kind model.ErrorKind, status int) *model.Error {
		return &model.Error{Kind: kind, Provider: "scripted", Op: "chat", Status: status}
	}
	switch f {
	case fault.None:
	case fault.Refuse:
		a.Fault = &scripted.Fault{InChat: true, Err: fail(model.KindConnection, 0)}
	case fault.CloseEarly:
		a.Fault = &scripted.Fault{Err: fail(model.KindConnection, 0)}
	case fault.Reset:
		a.Fault = &scripted.Fault{After: 2, Err: fail(model.KindConnection, 0)}
	case fault.Stall:
		a.Fault = &scripted.Fault{After: 2, Stall: true}
	case fault.Silence:
		a.Fault = &scripted.Fault{Stall: true}
	case fault.Unauthorized:
		a.Fault = &scripted.Fault{InChat: true, Err: fail(model.KindStatus, 401)}
	case fault.RateLimit:
		e := fail(model.KindStatus, 429)
		e.RetryAfter = llmtest.RetryAfter
		a.Fault = &scripted.Fault{InChat: true, Err: e}
	case fault.ServerError:
		a.Fault = &scripted.Fault{InChat: true, Err: fail(model.KindStatus, 503)}
	case fault.Malformed:
		a.Fault = &scripted.Fault{Err: fail(model.KindProtocol, 0)}
	case fault.Slow:
		a.Delay = 100 * time.Millisecond
	case fault.UsageMissing:
		a.NoUsage = true
	case fault.UsageRepeated:
		a.EarlyUsage = a.Usage
	default:
		return a, false
	}
	return a, true
}

func TestConformance(t *testing.T) { llmtest.Run(t, harness{}) }

func hello() *driver.Request {
	c := &chat.Context{}
	c.Add(chat.NewMessage(chat.User, "say hello to me"))
	return &driver.Request{Messages: c, Tools: []driver.ToolSpec{{Name: "f"}}}
}

func TestLedgerKnowsWhatWasServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := scripted.New(&scripted.Options{Answers: []scripted.Answer{
			{Text: "hello you", TTFT: time.Second, Delay: time.Second},
			{ID: "mine", Text: "cut off here", Delay: time.Second},
			{Text: "broken", Fault: &scripted.Fault{Err: io.ErrUnexpectedEOF}},
		}})
		m := llm.New(l, &llm.Options{DrainUsage: opt.Off[time.Duration]()})
		defer m.Close()
		start := time.Now()
		if text, _, err := m.Chat(t.Context(), &llm.Request{Messages: hello().Messages}).Collect(); text != "hello you" || err != nil {
			t.Fatalf("got %q, %v", text, err)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("took %v: one second each for two words and the usage", d)
		}
		s := m.Chat(t.Context(), &llm.Request{Messages: hello().Messages})
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
		s.Close()
		synctest.Wait()
		if _, _, err := m.Chat(t.Context(), &llm.Request{Messages: hello().Messages}).Collect(); err != io.ErrUnexpectedEOF {
			t.Errorf("error %v", err)
		}
		full := driver.Usage{PromptTokens: 4, CompletionTokens: 2, TotalTokens: 6}
		for i, want := range []scripted.Served{
			{Turn: 0, ID: "scripted_0", Usage: full, Stated: full, Told: true, End: scripted.Whole},
			{Turn: 1, ID: "mine", Usage: driver.Usage{PromptTokens: 4, CompletionTokens: 1, TotalTokens: 5}, End: scripted.Cut},
			{Turn: 2, ID: "scripted_2", Usage: driver.Usage{PromptTokens: 4, TotalTokens: 4}, End: scripted.Broken},
		} {
			if got := l.Ledger()[i]; got != want {
				t.Errorf("request %d: %+v, want %+v", i, got, want)
			}
		}
		if l.Stated() != full {
			t.Errorf("stated %+v", l.Stated())
		}
	})
}

func TestRequestsAreRecordedAsTheyWere(t *testing.T) {
	l := scripted.New(&scripted.Options{Respond: func(turn int, r *driver.Request) scripted.Answer {
		return scripted.Answer{Text: scripted.LastUser(r)}
	}})
	r := hello()
	s, err := l.Chat(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r.Messages.Add(chat.NewMessage(chat.User, "later"), &chat.FunctionCallOutput{Output: "42"})
	got := l.Requests()[0]
	if got.Messages.Len() != 1 || got.Tools[0].Name != "f" {
		t.Errorf("request %+v", got)
	}
	if c, err := s.Next(); err != nil || c.Text != "say " {
		t.Errorf("chunk %+v, %v", c, err)
	}
	if scripted.LastOutput(got) != nil || scripted.LastOutput(r).Output != "42" {
		t.Error("last output")
	}
}

func TestEndOfScriptIsAnError(t *testing.T) {
	_, err := scripted.New(nil).Chat(context.Background(), hello())
	if err == nil || model.Retryable(err) {
		t.Errorf("error %v", err)
	}
}
