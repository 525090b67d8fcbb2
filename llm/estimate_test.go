package llm_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// within reports whether got is want, give or take a share of it.
func within(got, want int64, share float64) bool {
	return float64(max(got-want, want-got)) <= share*float64(want)
}

const (
	question = "Would you please tell me everything that you know about the long history of the city of Paris?"
	answer   = "Paris began as a small village of fishermen on an island in the river, more than two thousand years ago. "
)

// Scripted models count words, of which nobody told the estimator: it has to learn that.
func TestWhatIsNotStatedIsEstimated(t *testing.T) {
	late := &model.Error{Kind: model.KindConnection, Provider: "scripted"}
	for _, c := range []struct {
		name   string
		answer scripted.Answer
		end    func(s *llm.Stream, cancel context.CancelFunc)
		want   metrics.Outcome
	}{
		{"closed", scripted.Answer{}, func(s *llm.Stream, _ context.CancelFunc) { s.Close() }, metrics.Interrupted},
		{"discarded", scripted.Answer{}, func(s *llm.Stream, _ context.CancelFunc) { s.Discard() }, metrics.Discarded},
		{"cancelled", scripted.Answer{}, func(_ *llm.Stream, cancel context.CancelFunc) { cancel() }, metrics.Interrupted},
		{"broken", scripted.Answer{Fault: &scripted.Fault{After: 10, Err: late}}, func(s *llm.Stream, _ context.CancelFunc) { _, _, _ = s.Collect() }, metrics.Failed},
		{"stalled", scripted.Answer{Fault: &scripted.Fault{After: 10, Stall: true}}, func(s *llm.Stream, _ context.CancelFunc) { _, _, _ = s.Collect() }, metrics.Failed},
		{"never stated", scripted.Answer{NoUsage: true}, func(s *llm.Stream, _ context.CancelFunc) { _, _, _ = s.Collect() }, metrics.Delivered},
		{"stated in part", scripted.Answer{EarlyUsage: &driver.Usage{PromptTokens: 18, Partial: true}, NoUsage: true},
			func(s *llm.Stream, _ context.CancelFunc) { _, _, _ = s.Collect() }, metrics.Delivered},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.answer.Text, c.answer.Delay = answer, 100*time.Millisecond
			whole := scripted.Answer{Text: answer + answer}
			inBubble(t, atOnce, []scripted.Answer{whole, whole, whole, c.answer},
				func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
					for range 3 {
						if _, _, err := m.Chat(t.Context(), ask(question)).Collect(); err != nil {
							t.Fatal(err)
						}
					}
					ctx, cancel := context.WithCancel(ctx)
					defer cancel()
					s := m.Chat(ctx, ask(question))
					for range 10 {
						if _, err := s.Next(); err != nil {
							t.Fatal(err)
						}
					}
					c.end(s, cancel)
					<-s.Done()
					e, served := w.only(t), script.Ledger()[3].Usage
					if e.Source != metrics.Estimated || e.Outcome != c.want || e.Cancelled != (c.want == metrics.Interrupted || c.want == metrics.Discarded) {
						t.Errorf("event %+v", e)
					}
					if !within(e.PromptTokens, served.PromptTokens, .1) || !within(e.CompletionTokens, served.CompletionTokens, .25) || e.TotalTokens != e.PromptTokens+e.CompletionTokens {
						t.Errorf("estimated %d and %d tokens, %d and %d were served", e.PromptTokens, e.CompletionTokens, served.PromptTokens, served.CompletionTokens)
					}
					if c.answer.EarlyUsage != nil && e.PromptTokens != 18 {
						t.Errorf("the prompt was stated, and is booked as %d tokens", e.PromptTokens)
					}
				})
		})
	}
}

// What wraps a call costs tokens that no text does.
func TestCallsTeachNothingAboutText(t *testing.T) {
	words := scripted.Answer{Text: answer, NoUsage: true}
	calls := scripted.Answer{
		Calls: []driver.ToolCall{{Name: "on", Arguments: "{}"}, {Name: "off", Arguments: "{}"}},
		Usage: &driver.Usage{PromptTokens: 10, CompletionTokens: 70},
	}
	var without int64
	for _, answers := range [][]scripted.Answer{{words}, {calls, words}} {
		inBubble(t, nil, answers, func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
			for range answers[1:] {
				if _, _, err := m.Chat(t.Context(), ask(question)).Collect(); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := m.Chat(ctx, ask(question)).Collect(); err != nil {
				t.Fatal(err)
			}
			got := w.only(t).CompletionTokens
			if without == 0 {
				without = got
			}
			if got != without || got == 0 {
				t.Errorf("a text is estimated as %d tokens, and as %d after calls", without, got)
			}
		})
	}
}

func TestWhatComesWhileDrainingCountsToo(t *testing.T) {
	words := scripted.Answer{Text: answer, Delay: 100 * time.Millisecond}
	inBubble(t, nil, []scripted.Answer{{Text: answer + answer}, words},
		func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
			if _, _, err := m.Chat(t.Context(), ask(question)).Collect(); err != nil {
				t.Fatal(err)
			}
			s := m.Chat(ctx, ask(question))
			_, _ = s.Next()
			s.Close()
			<-s.Done()
			served := script.Ledger()[1].Usage.CompletionTokens
			if e := w.only(t); e.Source != metrics.FromProvider || e.CompletionTokens != served || served != 20 {
				t.Errorf("event %+v; %d were served", e, served)
			}
		})
	inBubble(t, nil, []scripted.Answer{{Text: answer + answer}, {Text: answer + answer, Delay: 150 * time.Millisecond}},
		func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
			if _, _, err := m.Chat(t.Context(), ask(question)).Collect(); err != nil {
				t.Fatal(err)
			}
			s := m.Chat(ctx, ask(question))
			_, _ = s.Next()
			s.Close()
			<-s.Done()
			served := script.Ledger()[1].Usage.CompletionTokens
			if e := w.only(t); e.Source != metrics.Estimated || !within(e.CompletionTokens, served, .25) || served < 13 {
				t.Errorf("event %+v; %d were served", e, served)
			}
		})
}

func TestRefusedRequestsCostNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
	}{
		{"400", status(400)}, {"401", status(401)}, {"429", status(429)}, {"500", status(500)}, {"503", status(503)},
		{"no connection", &model.Error{Kind: model.KindConnection}}, {"other", io.ErrUnexpectedEOF},
	} {
		for _, inChat := range []bool{true, false} {
			inBubble(t, &llm.Options{Conn: model.ConnOptions{MaxRetry: -1}}, []scripted.Answer{{Text: answer, Fault: &scripted.Fault{InChat: inChat, Err: c.err}}},
				func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
					if _, _, err := m.Chat(ctx, ask(question)).Collect(); err == nil {
						t.Errorf("%s: no error", c.name)
					}
					w.none(t)
				})
		}
	}
}

// A provider that refuses a request while it is drained does not bill it either.
func TestRefusedWhileDrainedCostsNothing(t *testing.T) {
	inBubble(t, nil, []scripted.Answer{{Fault: &scripted.Fault{Err: status(429)}, TTFT: time.Second, Chunks: []driver.Chunk{{}}}},
		func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
			s := m.Chat(ctx, ask(question))
			synctest.Wait() // the provider has it
			s.Close()
			<-s.Done()
			if e := w.only(t); e.Outcome != metrics.Interrupted || e.TotalTokens != 0 || e.Source == metrics.Estimated {
				t.Errorf("event %+v", e)
			}
		})
}

func TestFailedAttemptThatBeganIsCounted(t *testing.T) {
	began := scripted.Answer{Chunks: []driver.Chunk{{}, {}}, Fault: &scripted.Fault{After: 1, Err: &model.Error{Kind: model.KindConnection}}}
	garbage := scripted.Answer{Fault: &scripted.Fault{Err: &model.Error{Kind: model.KindProtocol}}}
	for name, first := range map[string]scripted.Answer{"nothing but its head came": began, "it could not be read": garbage} {
		inBubble(t, nil, []scripted.Answer{{Text: answer}, first, {Text: answer}},
			func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
				if _, _, err := m.Chat(t.Context(), ask(question)).Collect(); err != nil {
					t.Fatal(err)
				}
				if _, _, err := m.Chat(ctx, ask(question)).Collect(); err != nil {
					t.Fatal(err)
				}
				served := script.Ledger()[2].Usage
				e := w.only(t)
				if e.Outcome != metrics.Delivered || e.Source != metrics.Estimated || e.Attempt != 1 ||
					!within(e.PromptTokens, 2*served.PromptTokens, .1) || e.CompletionTokens != served.CompletionTokens {
					t.Errorf("%s: event %+v, the good attempt was %+v", name, e, served)
				}
			})
	}
}

func TestAttemptIsTheOneThatEndedTheCall(t *testing.T) {
	refused := scripted.Answer{Fault: &scripted.Fault{InChat: true, Err: status(503)}}
	for _, c := range []struct {
		name    string
		answers []scripted.Answer
		end     func(s *llm.Stream)
		want    int
	}{
		{"the first", []scripted.Answer{{Text: answer}}, func(*llm.Stream) {}, 0},
		{"the third", []scripted.Answer{refused, refused, {Text: answer}}, func(*llm.Stream) {}, 2},
		{"the second breaks", []scripted.Answer{refused, {Text: answer, Fault: &scripted.Fault{After: 3, Err: io.ErrUnexpectedEOF}}}, func(*llm.Stream) {}, 1},
		{"left while waiting for the second", []scripted.Answer{refused}, func(s *llm.Stream) { synctest.Wait(); s.Close() }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, c.answers, func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
				s := m.Chat(ctx, ask(question))
				c.end(s)
				_, _, _ = s.Collect()
				<-s.Done()
				if e := w.only(t); e.Attempt != c.want {
					t.Errorf("event %+v, want attempt %d", e, c.want)
				}
			})
		})
	}
}

func TestWordsOfTheProviderAreKept(t *testing.T) {
	stated := func(raw metrics.Raw) *driver.Usage { return &driver.Usage{PromptTokens: 1, Raw: raw} }
	inBubble(t, nil, []scripted.Answer{
		{EarlyUsage: stated(`{"in":1}`), Fault: &scripted.Fault{After: 1, Err: status(503)}},
		{Text: "fine", EarlyUsage: stated(`{"in":1,"out":0}`), Usage: stated(`{"in":1,"out":1}`)},
		{Text: "fine", Usage: stated(`{"alone":1}`)},
	}, func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
		for range 2 {
			if _, _, err := m.Chat(ctx, ask("hi")).Collect(); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.events[0].Raw; got != `[{"in":1},{"in":1,"out":1}]` {
			t.Errorf("of two attempts %s", got)
		}
		if got := w.events[1].Raw; got != `{"alone":1}` {
			t.Errorf("of one attempt %s", got)
		}
	})
}

// dialler is a driver whose requests wait for something before they are answered.
type dialler struct {
	connects bool // tells that it has a connection
	ended    chan error
}

func (d *dialler) Info() model.Info { return model.Info{Provider: "slow", Model: "slow"} }

func (d *dialler) Chat(ctx context.Context, _ *driver.Request) (driver.Stream, error) {
	if d.connects {
		metrics.Record(ctx, &metrics.Connection{Kind: "llm"})
	}
	<-ctx.Done()
	d.ended <- ctx.Err()
	return nil, ctx.Err()
}

// A request that is on its way costs its prompt; one for which there is no connection yet is not sent any
// more.
func TestCutBeforeTheAnswer(t *testing.T) {
	for _, connects := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := &dialler{connects, make(chan error, 1)}
			m := llm.New(d, nil)
			var list events
			s := m.Chat(metrics.WithRecorder(t.Context(), &list), ask(question))
			synctest.Wait()
			begin := time.Now()
			s.Close()
			<-s.Done()
			if err := <-d.ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the request ended with %v", err)
			}
			e, took := list.llm, time.Since(begin)
			switch {
			case len(e) != 1 || e[0].Outcome != metrics.Interrupted:
				t.Errorf("connected %v: events %+v", connects, e)
			case connects && (took != 2*time.Second || e[0].Source != metrics.Estimated || e[0].PromptTokens == 0 || e[0].CompletionTokens != 0):
				t.Errorf("after %v event %+v", took, e[0])
			case !connects && (took != 0 || e[0].TotalTokens != 0):
				t.Errorf("after %v event %+v", took, e[0])
			}
			_ = m.Close()
		})
	}
}

// events keeps the LLM events that it is told, and counts what is to come.
type events struct {
	mu       sync.Mutex
	llm      []*metrics.LLM
	expected int
}

func (l *events) Record(_ context.Context, e metrics.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := e.(*metrics.LLM); ok {
		l.llm = append(l.llm, e)
	}
}

func (l *events) Expect() func() {
	l.expect(1)
	return func() { l.expect(-1) }
}

func (l *events) expect(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expected += n
}

// count is how many are to come, and how many are there.
func (l *events) count() [2]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return [2]int{l.expected, len(l.llm)}
}

func TestRecorderIsToldWhatIsToCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{{Text: answer, Delay: 50 * time.Millisecond}}}), nil)
		var list events
		s := m.Chat(metrics.WithRecorder(t.Context(), &list), ask(question))
		_, _ = s.Next()
		s.Close()
		if n := list.count(); n != [2]int{1, 0} {
			t.Errorf("expected and there are %v events", n)
		}
		<-s.Done()
		if n := list.count(); n != [2]int{0, 1} {
			t.Errorf("expected and there are %v events", n)
		}
		_ = m.Close()
	})
}

func nothing(context.Context, any, json.RawMessage) (any, error) { return nil, nil }

// The prompt is estimated from all of the request.
func TestSizeOfARequest(t *testing.T) {
	base := &chat.Context{}
	base.Add(chat.NewMessage(chat.User, question))
	more := map[string]func(r *llm.Request){
		"tool": func(r *llm.Request) {
			r.Tools = []llm.Tool{llm.NewRawTool("look_up", "Look up the weather.", []byte(`{"type":"object","properties":{}}`), nothing)}
		},
		"call": func(r *llm.Request) {
			r.Messages.Add(&chat.FunctionCall{CallID: "1", Name: "look_up", Arguments: `{"place":"Paris"}`})
		},
		"output": func(r *llm.Request) { r.Messages.Add(&chat.FunctionCallOutput{CallID: "1", Output: "It is sunny."}) },
		"picture": func(r *llm.Request) {
			r.Messages.Add(&chat.Message{Role: chat.User, Content: []chat.Part{&chat.Image{URL: "https://example.com"}}})
		},
		"speech": func(r *llm.Request) {
			r.Messages.Add(&chat.Message{Role: chat.User, Content: []chat.Part{&chat.Audio{Transcript: answer}}})
		},
		"Chinese": func(r *llm.Request) { r.Messages.Add(chat.NewMessage(chat.User, "今天天气怎么样")) },
		"Greek": func(r *llm.Request) {
			r.Messages.Add(chat.NewMessage(chat.User, "Τι καιρό κάνει σήμερα;"))
		},
		"German": func(r *llm.Request) { r.Messages.Add(chat.NewMessage(chat.User, "Wie schön ist es heute?")) },
	}
	prompt := func(change func(*llm.Request)) (n int64) {
		inBubble(t, atOnce, []scripted.Answer{{NoUsage: true, Text: "x"}},
			func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
				r := &llm.Request{Messages: base.Copy(nil)}
				change(r)
				if _, _, err := m.Chat(ctx, r).Collect(); err != nil {
					t.Fatal(err)
				}
				n = w.only(t).PromptTokens
			})
		return n
	}
	plain := prompt(func(*llm.Request) {})
	if plain < 15 || plain > 35 { // 19 words
		t.Errorf("the question is %d tokens", plain)
	}
	for name, change := range more {
		if got := prompt(change) - plain; got < 5 || got > 900 {
			t.Errorf("%s: %d tokens", name, got)
		}
	}
}
