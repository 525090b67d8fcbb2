package llm_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
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
	"github.com/parley-go/parley/opt"
)

// witness sees what a call reports through its context.
type witness struct {
	mu     sync.Mutex
	events []*metrics.LLM
	errs   []model.ErrorEvent
	spans  []string // "name" at the start, "/name" at the end
	retry  []int64
}

func (w *witness) Record(_ context.Context, e metrics.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e.(*metrics.LLM))
}

func (w *witness) context(ctx context.Context) context.Context {
	ctx = metrics.WithRecorder(ctx, w)
	ctx = metrics.WithTags(ctx, metrics.Tags{SpeechID: "speech_1"})
	return model.WithHooks(ctx, &model.Hooks{
		OnError: func(_ context.Context, e model.ErrorEvent) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.errs = append(w.errs, e)
		},
		StartSpan: func(ctx context.Context, name string, attrs ...slog.Attr) (context.Context, func(error, ...slog.Attr)) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.spans = append(w.spans, name)
			for _, a := range attrs {
				if a.Key == "lk.retry_count" {
					w.retry = append(w.retry, a.Value.Int64())
				}
			}
			return ctx, func(error, ...slog.Attr) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.spans = append(w.spans, "/"+name)
			}
		},
	})
}

func (w *witness) only(t *testing.T) *metrics.LLM {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) != 1 {
		t.Fatalf("%d metrics events, want 1", len(w.events))
	}
	return w.events[0]
}

func (w *witness) none(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) != 0 {
		t.Fatalf("%d metrics events, want none: %+v", len(w.events), w.events[0])
	}
}

func status(code int) *model.Error {
	return &model.Error{Kind: model.KindStatus, Provider: "scripted", Op: "chat", Status: code}
}

func ask(text string) *llm.Request {
	c := &chat.Context{}
	c.Add(chat.NewMessage(chat.User, text))
	return &llm.Request{Messages: c}
}

// inBubble runs a story with a scripted model on virtual time.
func inBubble(t *testing.T, o *llm.Options, answers []scripted.Answer, story func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		script := scripted.New(&scripted.Options{Answers: answers})
		m := llm.New(script, o)
		w := &witness{}
		story(t, m, script, w, w.context(t.Context()))
		if err := m.Close(); err != nil {
			t.Errorf("close model: %v", err)
		}
	})
}

var counted = &driver.Usage{PromptTokens: 100, PromptCachedTokens: 40, CacheCreationTokens: 10, CompletionTokens: 20, TotalTokens: 120}

func TestAnswerIsToldAndAccounted(t *testing.T) {
	inBubble(t, nil, []scripted.Answer{{
		ID: "id_1", Text: "hello there friend", TTFT: time.Second, Delay: time.Second, Usage: counted,
	}}, func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
		s := m.Chat(ctx, ask("hi"))
		text, calls, err := s.Collect()
		if err != nil || text != "hello there friend" || len(calls) != 0 {
			t.Fatalf("got %q, %v, %v", text, calls, err)
		}
		if _, err := s.Next(); err != io.EOF {
			t.Errorf("after the end: %v, want io.EOF", err)
		}
		e := w.only(t)
		want := &metrics.LLM{
			Header: metrics.Header{
				ID: e.ID, Timestamp: e.Timestamp, Label: "scripted.LLM", RequestID: "id_1",
				Outcome: metrics.Delivered, Source: metrics.FromProvider,
				Metadata: metrics.Metadata{ModelName: "scripted", ModelProvider: "scripted"},
				Tags:     metrics.Tags{SpeechID: "speech_1"},
			},
			Duration: 4 * time.Second, TTFT: time.Second,
			PromptTokens: 100, PromptCachedTokens: 40, CacheCreationTokens: 10, CompletionTokens: 20, TotalTokens: 120,
			TokensPerSecond: 5,
		}
		if *e != *want {
			t.Errorf("event\n%+v, want\n%+v", e, want)
		}
		if u, ok := s.Usage(); !ok || u != *counted {
			t.Errorf("usage %+v, %v", u, ok)
		}
		if s.TTFT() != time.Second || !slices.Equal(s.RequestIDs(), []string{"id_1"}) {
			t.Errorf("ttft %v, ids %v", s.TTFT(), s.RequestIDs())
		}
		if got := strings.Join(w.spans, " "); got != "llm_request llm_request_run /llm_request_run /llm_request" {
			t.Errorf("spans %s", got)
		}
		if len(w.errs) != 0 {
			t.Errorf("errors %v", w.errs)
		}
	})
}

func TestFirstTokenIsTextOrCall(t *testing.T) {
	for _, c := range []struct {
		name   string
		chunks []driver.Chunk
		want   time.Duration
	}{
		{"text after an empty chunk", []driver.Chunk{{}, {Text: "x"}}, 2 * time.Second},
		{"call", []driver.Chunk{{}, {}, {ToolCalls: []driver.ToolCall{{CallID: "c", Name: "f", Arguments: "{}"}}}}, 3 * time.Second},
		{"metadata only", []driver.Chunk{{}}, metrics.NoOutput},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, []scripted.Answer{{Chunks: c.chunks, TTFT: time.Second, Delay: time.Second}},
				func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
					if _, _, err := m.Chat(ctx, ask("hi")).Collect(); err != nil {
						t.Fatal(err)
					}
					if e := w.only(t); e.TTFT != c.want {
						t.Errorf("ttft %v, want %v", e.TTFT, c.want)
					}
				})
		})
	}
}

func TestRetrySucceedsAndSumsUsage(t *testing.T) {
	inBubble(t, nil, []scripted.Answer{
		{ID: "a", EarlyUsage: &driver.Usage{PromptTokens: 7}, Fault: &scripted.Fault{After: 1, Err: status(503)}},
		{ID: "b", Fault: &scripted.Fault{InChat: true, Err: &model.Error{Kind: model.KindConnection}}},
		{ID: "c", Text: "fine", Usage: counted, TTFT: time.Second},
	}, func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
		s := m.Chat(ctx, ask("hi"))
		text, _, err := s.Collect()
		if err != nil || text != "fine" {
			t.Fatalf("got %q, %v", text, err)
		}
		e := w.only(t)
		if e.PromptTokens != 107 || e.CompletionTokens != 20 || e.TotalTokens != 127 {
			t.Errorf("tokens are not the sum of the attempts: %+v", e)
		}
		if want := 3100 * time.Millisecond; e.TTFT != want || e.Duration != want {
			t.Errorf("ttft %v, duration %v, want %v from the first attempt's start", e.TTFT, e.Duration, want)
		}
		if e.Attempt != 2 || e.Source != metrics.FromProvider {
			t.Errorf("attempt %d, source %s", e.Attempt, e.Source)
		}
		if e.RequestID != "c" || !slices.Equal(s.RequestIDs(), []string{"a", "c"}) {
			t.Errorf("request id %q, ids %v", e.RequestID, s.RequestIDs())
		}
		if len(w.errs) != 2 || !w.errs[0].Recoverable || !w.errs[1].Recoverable || w.errs[1].Attempt != 1 || w.errs[0].Kind != "llm" {
			t.Errorf("error events %+v", w.errs)
		}
		if !slices.Equal(w.retry, []int64{0, 1, 2}) {
			t.Errorf("retry counts %v", w.retry)
		}
	})
}

func TestRetriesExhausted(t *testing.T) {
	broken := scripted.Answer{Fault: &scripted.Fault{InChat: true, Err: status(500)}}
	inBubble(t, nil, []scripted.Answer{broken, broken, broken, broken, broken},
		func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
			start := time.Now()
			_, _, err := m.Chat(ctx, ask("hi")).Collect()
			var e *model.Error
			if !errors.As(err, &e) || e.Kind != model.KindConnection || !strings.Contains(err.Error(), "4 attempts") || !errors.Is(err, broken.Fault.Err) {
				t.Errorf("error %v", err)
			}
			if d := time.Since(start); d != 4100*time.Millisecond {
				t.Errorf("took %v, want 0.1 s + 2 s + 2 s", d)
			}
			if n := len(script.Requests()); n != 4 {
				t.Errorf("%d requests, want 4", n)
			}
			if n := len(w.errs); n != 4 || w.errs[2].Recoverable != true || w.errs[3].Recoverable || w.errs[3].Attempt != 3 {
				t.Errorf("error events %+v", w.errs)
			}
			w.none(t)
		})
}

func TestFailedCallThatCostSomethingIsAccounted(t *testing.T) {
	bad := scripted.Answer{EarlyUsage: &driver.Usage{PromptTokens: 5}, Fault: &scripted.Fault{After: 1, Err: status(500)}}
	inBubble(t, &llm.Options{Conn: model.ConnOptions{MaxRetry: 1}}, []scripted.Answer{bad, bad},
		func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
			if _, _, err := m.Chat(ctx, ask("hi")).Collect(); err == nil {
				t.Fatal("no error")
			}
			if e := w.only(t); e.Outcome != metrics.Failed || e.PromptTokens != 10 || e.Cancelled || e.TTFT != metrics.NoOutput {
				t.Errorf("event %+v", e)
			}
		})
}

func TestNoRetry(t *testing.T) {
	late := &model.Error{Kind: model.KindConnection, Provider: "scripted"}
	for _, c := range []struct {
		name   string
		conn   model.ConnOptions
		answer scripted.Answer
		want   error
		text   string
	}{
		{"of a bad request", model.ConnOptions{}, scripted.Answer{Fault: &scripted.Fault{InChat: true, Err: status(401)}}, status(401), ""},
		{"of a foreign error", model.ConnOptions{}, scripted.Answer{Fault: &scripted.Fault{Err: io.ErrUnexpectedEOF}}, io.ErrUnexpectedEOF, ""},
		{"when switched off", model.ConnOptions{MaxRetry: -1}, scripted.Answer{Fault: &scripted.Fault{Err: late}}, late, ""},
		{"after text", model.ConnOptions{}, scripted.Answer{Text: "half a sentence", Fault: &scripted.Fault{After: 2, Err: late}}, late, "half a "},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, &llm.Options{Conn: c.conn}, []scripted.Answer{c.answer, {Text: "again"}},
				func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
					text, _, err := m.Chat(ctx, ask("hi")).Collect()
					if err == nil || err.Error() != c.want.Error() || text != c.text {
						t.Errorf("got %q, %v, want %q, %v", text, err, c.text, c.want)
					}
					if n := len(script.Requests()); n != 1 {
						t.Errorf("%d requests, want 1", n)
					}
					if len(w.errs) != 1 || w.errs[0].Recoverable {
						t.Errorf("error events %+v", w.errs)
					}
					if c.text == "" {
						w.none(t) // it costs nothing
					} else if e := w.only(t); e.Outcome != metrics.Failed || e.Source != metrics.Estimated || e.PromptTokens == 0 || e.CompletionTokens == 0 {
						t.Errorf("event %+v", e)
					}
				})
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	slow := status(429)
	slow.RetryAfter = 7 * time.Second
	inBubble(t, nil, []scripted.Answer{{Fault: &scripted.Fault{InChat: true, Err: slow}}, {Text: "fine"}},
		func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
			if _, _, err := m.Chat(ctx, ask("hi")).Collect(); err != nil {
				t.Fatal(err)
			}
			if e := w.only(t); e.Duration != 7*time.Second {
				t.Errorf("duration %v", e.Duration)
			}
		})
}

func TestClientClosedRequestEndsQuietly(t *testing.T) {
	inBubble(t, nil, []scripted.Answer{{Fault: &scripted.Fault{InChat: true, Err: status(499)}}},
		func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
			if text, _, err := m.Chat(ctx, ask("hi")).Collect(); err != nil || text != "" {
				t.Errorf("got %q, %v", text, err)
			}
			if len(w.errs) != 0 {
				t.Errorf("error events %+v", w.errs)
			}
			w.none(t) // not a single chunk came
		})
}

func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer scripted.Answer
		after  time.Duration
		n      int
	}{
		{"first byte", scripted.Answer{Text: "late", TTFT: time.Minute}, 10 * time.Second, 2},
		{"stall", scripted.Answer{Text: "one two three", TTFT: time.Second, Fault: &scripted.Fault{After: 2, Stall: true}}, 11 * time.Second, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, &llm.Options{Conn: model.ConnOptions{MaxRetry: 1}}, []scripted.Answer{c.answer, {Text: "again"}},
				func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
					_, _, _ = m.Chat(ctx, ask("hi")).Collect()
					if len(w.errs) != 1 || !strings.Contains(w.errs[0].Err.Error(), "timeout error") {
						t.Fatalf("error events %+v", w.errs)
					}
					if n := len(script.Requests()); n != c.n {
						t.Errorf("%d requests, want %d", n, c.n)
					}
					if got := w.errs[0].Time.Sub(bubbleStart); got != c.after {
						t.Errorf("timed out after %v, want %v", got, c.after)
					}
				})
		})
	}
}

// bubbleStart is the time at which every synctest bubble begins.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestSlowReaderIsNoTimeout(t *testing.T) {
	chunks := make([]driver.Chunk, 400)
	for i := range chunks {
		chunks[i].Text = "x"
	}
	inBubble(t, nil, []scripted.Answer{{Chunks: chunks}},
		func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
			s := m.Chat(ctx, ask("hi"))
			time.Sleep(time.Hour)
			if text, _, err := s.Collect(); err != nil || len(text) != 400 {
				t.Errorf("%d of 400, %v", len(text), err)
			}
		})
}

// atOnce are the options of a model whose cut streams are not read on.
var atOnce = &llm.Options{DrainUsage: opt.Off[time.Duration]()}

func TestCloseInterrupts(t *testing.T) {
	inBubble(t, atOnce, []scripted.Answer{{Text: "one two three", Delay: time.Second, Usage: counted}},
		func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
			s := m.Chat(ctx, ask("hi"))
			if c, err := s.Next(); err != nil || c.Text != "one " {
				t.Fatalf("got %v, %v", c, err)
			}
			go func() {
				time.Sleep(time.Second / 2)
				s.Close()
				s.Close()
			}()
			if _, err := s.Next(); !errors.Is(err, llm.ErrClosed) {
				t.Errorf("blocked read ended with %v", err)
			}
			synctest.Wait()
			e := w.only(t)
			if !e.Cancelled || e.Outcome != metrics.Interrupted || e.Source != metrics.Estimated || e.Duration != time.Second/2 {
				t.Errorf("event %+v", e)
			}
			if l := script.Ledger(); l[0].End != scripted.Cut {
				t.Errorf("the provider goes on: %+v", l)
			}
		})
}

func TestEndOfContextInterrupts(t *testing.T) {
	inBubble(t, atOnce, []scripted.Answer{{Text: "one two", TTFT: 5 * time.Second, EarlyUsage: counted}},
		func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if _, err := m.Chat(ctx, ask("hi")).Next(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			if e := w.only(t); !e.Cancelled || e.TTFT != metrics.NoOutput {
				t.Errorf("event %+v", e)
			}
			if len(w.errs) != 0 {
				t.Errorf("error events %+v", w.errs)
			}
		})
}

func TestEndedContextSendsNothing(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		s := m.Chat(ctx, ask("hi"))
		if _, err := s.Next(); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		<-s.Done()
		if len(script.Requests()) != 0 {
			t.Error("a request was sent")
		}
		w.none(t)
	})
}

func TestInterruptedBackoffIsAccounted(t *testing.T) {
	inBubble(t, nil, []scripted.Answer{{Fault: &scripted.Fault{InChat: true, Err: status(500)}}},
		func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
			s := m.Chat(ctx, ask("hi"))
			time.Sleep(50 * time.Millisecond)
			s.Close()
			if e := w.only(t); !e.Cancelled {
				t.Errorf("event %+v", e)
			}
			time.Sleep(time.Minute)
			if n := len(script.Requests()); n != 1 {
				t.Errorf("%d requests after close", n)
			}
		})
}

func TestEarlyUsageOfInterruptedAnswerIsBooked(t *testing.T) {
	inBubble(t, atOnce, []scripted.Answer{{Text: "one two", Delay: time.Second, EarlyUsage: &driver.Usage{PromptTokens: 9}}},
		func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
			s := m.Chat(ctx, ask("hi"))
			if _, err := s.Next(); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if e := w.only(t); e.PromptTokens != 9 || e.TotalTokens != 9 || !e.Cancelled || e.Source != metrics.FromProvider {
				t.Errorf("event %+v", e)
			}
		})
}

func TestDrainFetchesUsageOfCutStream(t *testing.T) {
	inBubble(t, nil, []scripted.Answer{{Text: "one two three", Delay: 500 * time.Millisecond, Usage: counted}},
		func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
			ctx, cancel := context.WithCancel(ctx)
			s := m.Chat(ctx, ask("hi"))
			if _, err := s.Next(); err != nil {
				t.Fatal(err)
			}
			cancel()
			if _, err := s.Next(); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			w.none(t)
			<-s.Done()
			e := w.only(t)
			if !e.Cancelled || e.Outcome != metrics.Interrupted || e.CompletionTokens != 20 || e.Duration != 0 || e.Source != metrics.FromProvider {
				t.Errorf("event %+v", e)
			}
			if l := script.Ledger(); l[0].End != scripted.Whole {
				t.Errorf("ledger %+v", l)
			}
		})
}

func TestDrainGivesUp(t *testing.T) {
	for _, c := range []struct {
		name string
		time opt.Value[time.Duration]
		end  func(m *llm.Model)
		want time.Duration
	}{
		{"after two seconds", opt.Value[time.Duration]{}, func(*llm.Model) {}, 2 * time.Second},
		{"when it was told to", opt.Some(3 * time.Second), func(*llm.Model) {}, 3 * time.Second},
		{"at once when it was told not to", opt.Off[time.Duration](), func(*llm.Model) {}, 0},
		{"when the model is closed", opt.Value[time.Duration]{}, func(m *llm.Model) { time.Sleep(time.Second); m.Close() }, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, &llm.Options{DrainUsage: c.time}, []scripted.Answer{{Text: "one two", Delay: time.Hour}},
				func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
					s := m.Chat(ctx, ask("hi"))
					if _, err := s.Next(); err != nil {
						t.Fatal(err)
					}
					start := time.Now()
					s.Close()
					if d := time.Since(start); d != 0 {
						t.Errorf("Close took %v", d)
					}
					c.end(m)
					<-s.Done()
					if d := time.Since(start); d != c.want {
						t.Errorf("drained for %v, want %v", d, c.want)
					}
					if e := w.only(t); !e.Cancelled || e.Source != metrics.Estimated || e.TotalTokens == 0 {
						t.Errorf("event %+v", e)
					}
				})
		})
	}
}

func TestDrainReadsPastAFullBuffer(t *testing.T) {
	chunks := make([]driver.Chunk, 400)
	for i := range chunks {
		chunks[i].Text = "x"
	}
	inBubble(t, nil, []scripted.Answer{{Chunks: chunks, Usage: counted}},
		func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
			s := m.Chat(ctx, ask("hi"))
			synctest.Wait()
			s.Close()
			<-s.Done()
			if e := w.only(t); e.CompletionTokens != 20 || !e.Cancelled {
				t.Errorf("event %+v", e)
			}
		})
}

func TestNothingIsDrainedBetweenAttempts(t *testing.T) {
	inBubble(t, nil, []scripted.Answer{{Fault: &scripted.Fault{InChat: true, Err: status(500)}}},
		func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
			s := m.Chat(ctx, ask("hi"))
			synctest.Wait()
			start := time.Now()
			s.Close()
			<-s.Done()
			if d := time.Since(start); d != 0 || len(script.Requests()) != 1 {
				t.Errorf("over after %v and %d requests", d, len(script.Requests()))
			}
		})
}

func TestDiscard(t *testing.T) {
	inBubble(t, nil, []scripted.Answer{{Text: "one two", Usage: counted}},
		func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
			s := m.Chat(ctx, ask("hi"))
			synctest.Wait() // all of it is there, nobody read it
			w.none(t)
			s.Discard()
			if e := w.only(t); e.Outcome != metrics.Discarded || e.TotalTokens != 120 {
				t.Errorf("event %+v", e)
			}
		})
}

func TestCloseAfterTheLastChunkIsNoInterruption(t *testing.T) {
	inBubble(t, nil, []scripted.Answer{{Text: "one", NoUsage: true}},
		func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
			s := m.Chat(ctx, ask("hi"))
			if _, err := s.Next(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			s.Close()
			if e := w.only(t); e.Outcome != metrics.Delivered || e.Cancelled {
				t.Errorf("event %+v", e)
			}
		})
}

func TestPanicInDriverIsAnError(t *testing.T) {
	for _, inChat := range []bool{true, false} {
		inBubble(t, nil, []scripted.Answer{{Fault: &scripted.Fault{InChat: inChat, Panic: "boom"}}},
			func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
				_, _, err := m.Chat(ctx, ask("hi")).Collect()
				var p *llm.PanicError
				if !errors.As(err, &p) || p.Value != "boom" || len(p.Stack) == 0 {
					t.Errorf("error %v", err)
				}
			})
	}
}

func TestClosedModelRefuses(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
		m.Close()
		if _, err := m.Chat(ctx, ask("hi")).Next(); !errors.Is(err, llm.ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
}

func TestUsageKeepsItsRules(t *testing.T) {
	odd := &driver.Usage{PromptTokens: 10, PromptCachedTokens: 30, CompletionTokens: -4, Measured: true}
	inBubble(t, nil, []scripted.Answer{{Text: "x", Usage: odd, EarlyUsage: &driver.Usage{PromptTokens: 3, Measured: true}}},
		func(t *testing.T, m *llm.Model, _ *scripted.LLM, w *witness, ctx context.Context) {
			if _, _, err := m.Chat(ctx, ask("hi")).Collect(); err != nil {
				t.Fatal(err)
			}
			e := w.only(t)
			if e.PromptTokens != 10 || e.PromptCachedTokens != 10 || e.CompletionTokens != 0 || e.TotalTokens != 10 {
				t.Errorf("event %+v", e)
			}
			if e.Source != metrics.Measured {
				t.Errorf("source %s", e.Source)
			}
		})
}

func TestLeavingTheLoopClosesTheStream(t *testing.T) {
	inBubble(t, nil, []scripted.Answer{{Text: "one two three", Delay: time.Second}},
		func(t *testing.T, m *llm.Model, script *scripted.LLM, w *witness, ctx context.Context) {
			s := m.Chat(ctx, ask("hi"))
			for range s.All() {
				break
			}
			<-s.Done()
			if e := w.only(t); !e.Cancelled {
				t.Errorf("event %+v", e)
			}
		})
}

func TestPrewarm(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, m *llm.Model, script *scripted.LLM, _ *witness, ctx context.Context) {
		m.Prewarm(ctx)
		if script.Prewarms() != 1 {
			t.Errorf("prewarmed %d times", script.Prewarms())
		}
	})
}

func BenchmarkStream(b *testing.B) {
	chunks := make([]driver.Chunk, 100)
	for i := range chunks {
		chunks[i].Text = "word "
	}
	m := llm.New(scripted.New(&scripted.Options{Respond: func(int, *driver.Request) scripted.Answer {
		return scripted.Answer{Chunks: chunks}
	}}), nil)
	defer m.Close()
	r := ask("hi")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := m.Chat(b.Context(), r).Collect(); err != nil {
			b.Fatal(err)
		}
	}
}
