package llm_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// brand is a scripted model of the provider name, and its script.
func brand(name string, respond func(turn int) scripted.Answer) (*llm.Model, *scripted.LLM) {
	s := scripted.New(&scripted.Options{
		Info:    model.Info{Label: name + ".LLM", Provider: name, Model: name + "-1"},
		Respond: func(turn int, _ *driver.Request) scripted.Answer { return respond(turn) },
	})
	return llm.New(s, nil), s
}

func answers(text string) func(int) scripted.Answer {
	return func(int) scripted.Answer { return scripted.Answer{Text: text, TTFT: 100 * time.Millisecond} }
}

func isDown(int) scripted.Answer {
	return scripted.Answer{Fault: &scripted.Fault{InChat: true, Err: &model.Error{Kind: model.KindStatus, Status: 503}}}
}

func hello() *llm.Request {
	c := &chat.Context{}
	c.Add(chat.NewMessage(chat.User, "Hello"))
	return &llm.Request{Messages: c}
}

// account is a line for every metrics event: "b-1 delivered 2".
func account(log *modeltest.Log) (out []string) {
	for _, e := range modeltest.Events[*metrics.LLM](log) {
		out = append(out, strings.Join([]string{e.Metadata.ModelName, string(e.Outcome), e.Label}, " "))
	}
	return out
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s %q, want %q", what, got, want)
	}
}

func TestC110TheNextModelAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, fault := range map[string]func(int) scripted.Answer{
			"refused": isDown,
			"bad key": func(int) scripted.Answer {
				return scripted.Answer{Fault: &scripted.Fault{Err: &model.Error{Kind: model.KindStatus, Status: 401}}}
			},
			"silent":     func(int) scripted.Answer { return scripted.Answer{Fault: &scripted.Fault{Stall: true}} },
			"panic":      func(int) scripted.Answer { return scripted.Answer{Fault: &scripted.Fault{Panic: "no"}} },
			"other type": func(int) scripted.Answer { return scripted.Answer{Fault: &scripted.Fault{Err: io.ErrUnexpectedEOF}} },
		} {
			log := &modeltest.Log{}
			a, aScript := brand("a", fault)
			b, bScript := brand("b", answers("Good day to you"))
			m := llm.Fallback(nil, a, b)
			m.Prewarm(t.Context())
			s := m.Chat(log.Context(t.Context()), hello())
			text, _, err := s.Collect()
			if text != "Good day to you" || err != nil {
				t.Errorf("%s: %q, %v", name, text, err)
			}
			<-s.Done()
			if got := s.Info().Provider; got != "b" {
				t.Errorf("%s: %q is said to have answered", name, got)
			}
			same(t, name+": events", account(log), "b-1 delivered b.LLM")
			same(t, name+": availability", log.Availability(), "llm a fails")
			if got := log.Recoverable(); !slices.Equal(got, []bool{true}) {
				t.Errorf("%s: errors are recoverable: %v", name, got)
			}
			e := modeltest.Events[*metrics.LLM](log)[0]
			if e.TTFT != 100*time.Millisecond {
				t.Errorf("%s: the model's own time to its first token is %v", name, e.TTFT)
			}
			if name == "silent" && s.TTFT() != 5100*time.Millisecond {
				t.Errorf("the caller waited %v", s.TTFT())
			}
			if aScript.Prewarms() != 1 || bScript.Prewarms() != 0 {
				t.Errorf("%s: prewarmed %d and %d times, want the first model only", name, aScript.Prewarms(), bScript.Prewarms())
			}
			if m.Info().Provider != "b" {
				t.Errorf("%s: %q would be asked next", name, m.Info().Provider)
			}
			_ = m.Close()
		}
	})
}

func TestFallbackSpansNestTheModels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &witness{}
		a, _ := brand("a", isDown)
		b, _ := brand("b", answers("Yes"))
		if _, _, err := llm.Fallback(nil, a, b).Chat(w.context(t.Context()), hello()).Collect(); err != nil {
			t.Fatal(err)
		}
		same(t, "spans", w.spans,
			"llm_fallback_adapter", "llm_request", "llm_request_run", "/llm_request_run", "llm_request", "/llm_request",
			"llm_request_run", "/llm_request_run", "/llm_request", "/llm_fallback_adapter")
	})
}

func TestFallbackIsSilentOnceTextCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &modeltest.Log{}
		broken := errors.New("broken")
		a, _ := brand("a", func(int) scripted.Answer {
			return scripted.Answer{Text: "Good day to you", Fault: &scripted.Fault{After: 1, Err: broken}, EarlyUsage: &driver.Usage{PromptTokens: 5}}
		})
		b, bScript := brand("b", answers("Good day"))
		s := llm.Fallback(nil, a, b).Chat(log.Context(t.Context()), hello())
		text, _, err := s.Collect()
		if text == "" || strings.Contains(text, "you") || !errors.Is(err, broken) {
			t.Errorf("%q, %v", text, err)
		}
		if n := len(bScript.Requests()); n != 0 {
			t.Errorf("the next model got %d requests", n)
		}
		same(t, "events", account(log), "a-1 failed a.LLM")
		same(t, "availability", log.Availability(), "llm a fails")
		if got := log.Recoverable(); !slices.Equal(got, []bool{false}) {
			t.Errorf("errors are recoverable: %v", got)
		}
	})
}

func TestFallbackCountsWhatFailedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &modeltest.Log{}
		a, aScript := brand("a", func(int) scripted.Answer { // bills its input, then breaks
			return scripted.Answer{Chunks: []driver.Chunk{{ID: "a1", Usage: &driver.Usage{PromptTokens: 7}}, {Text: "never"}},
				Fault: &scripted.Fault{After: 1, Err: &model.Error{Kind: model.KindConnection}}}
		})
		b, bScript := brand("b", answers("Yes"))
		s := llm.Fallback(&llm.FallbackOptions{Conn: model.ConnOptions{MaxRetry: 1}}, a, b).Chat(log.Context(t.Context()), hello())
		if _, _, err := s.Collect(); err != nil {
			t.Fatal(err)
		}
		same(t, "events", account(log), "a-1 failed a.LLM", "b-1 delivered b.LLM")
		ev := modeltest.Events[*metrics.LLM](log)
		if ev[0].PromptTokens != 14 || ev[0].RequestID != "a1" || len(aScript.Ledger()) != 2 {
			t.Errorf("booked %+v for two attempts of 7 tokens", ev[0])
		}
		if b := bScript.Ledger()[0]; ev[1].TotalTokens != b.Usage.TotalTokens || ev[1].RequestID != b.ID {
			t.Errorf("booked %+v for %+v", ev[1], b)
		}
		if u, ok := s.Usage(); !ok || u.PromptTokens != 14+ev[1].PromptTokens {
			t.Errorf("the stream says %+v", u)
		}
		if ids := s.RequestIDs(); len(ids) != 2 {
			t.Errorf("request ids %q", ids)
		}
	})
}

func TestFallbackOfAllThatFailNamesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &modeltest.Log{}
		a, _ := brand("a", isDown)
		b, bScript := brand("b", func(int) scripted.Answer { return scripted.Answer{Fault: &scripted.Fault{Stall: true}} })
		c, cScript := brand("c", func(n int) scripted.Answer {
			if n < 2 {
				return isDown(n)
			}
			return answers("Yes")(n)
		})
		m := llm.Fallback(nil, llm.Fallback(nil, a, b), nil, c)
		_, _, err := m.Chat(log.Context(t.Context()), hello()).Collect()
		want := "c chat: connection error: all 3 models failed within 5s: model: status error (status 503); b chat: timeout error: no answer in time; model: status error (status 503)"
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		if got := log.Recoverable(); !slices.Equal(got, []bool{true, true, false}) {
			t.Errorf("errors are recoverable: %v", got)
		}
		same(t, "availability", log.Availability(), "llm a fails", "llm b fails", "llm c fails")
		// All are asked again, in their order, and nobody is probed.
		_, _, err = m.Chat(log.Context(t.Context()), hello()).Collect()
		if err == nil || len(bScript.Requests()) != 2 || len(cScript.Requests()) != 2 {
			t.Errorf("%v after %d and %d requests", err, len(bScript.Requests()), len(cScript.Requests()))
		}
		if text, _, err := m.Chat(log.Context(t.Context()), hello()).Collect(); text != "Yes" || err != nil || m.Info().Provider != "c" {
			t.Errorf("%q, %v; %v would be asked next", text, err, m.Info())
		}
	})
}

func TestFallbackProbesSeldomAndBooksIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &modeltest.Log{}
		up := false
		a, aScript := brand("a", func(n int) scripted.Answer {
			if !up {
				return isDown(n)
			}
			return answers("Yes from the first")(n)
		})
		b, _ := brand("b", answers("Yes"))
		var told []bool
		m := llm.Fallback(&llm.FallbackOptions{OnAvailability: func(e model.AvailabilityEvent) { told = append(told, e.Available) }}, a, b)
		ask := func(want string) {
			t.Helper()
			s := m.Chat(log.Context(t.Context()), hello())
			if _, _, err := s.Collect(); err != nil || s.Info().Provider != want {
				t.Fatalf("%s answered, want %s; %v", s.Info().Provider, want, err)
			}
			<-s.Done()
		}
		for range 40 { // one turn a second
			ask("b")
			time.Sleep(time.Second - 100*time.Millisecond)
		}
		if n := len(aScript.Requests()); n != 3 { // the first request, and probes at 10 s and 30 s
			t.Errorf("the model that is down got %d requests in 40 s, want 3", n)
		}
		up = true
		time.Sleep(time.Minute)
		before := len(account(log))
		ask("b") // and the probe in its background
		ask("a")
		after := account(log)[before:]
		slices.Sort(after)
		same(t, "events", after, "a-1 delivered a.LLM", "a-1 discarded a.LLM", "b-1 delivered b.LLM")
		same(t, "availability", log.Availability(), "llm a fails", "llm a works")
		if !slices.Equal(told, []bool{false, true}) {
			t.Errorf("told %v", told)
		}
		if n := len(log.Errors()); n != 1 {
			t.Errorf("%d errors, want that of the first request: probes fail in silence", n)
		}
		var booked, served int64
		for _, e := range modeltest.Events[*metrics.LLM](log) {
			if e.Label == "a.LLM" {
				booked += e.TotalTokens
			}
		}
		for _, l := range aScript.Ledger() {
			if l.Told {
				served += l.Stated.TotalTokens
			}
		}
		if booked != served || booked == 0 {
			t.Errorf("booked %d tokens of %d", booked, served)
		}
	})
}

func TestFallbackCloseEndsProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, aScript := brand("a", func(n int) scripted.Answer {
			if n == 0 {
				return isDown(n)
			}
			return scripted.Answer{Fault: &scripted.Fault{Stall: true}}
		})
		b, _ := brand("b", answers("Yes"))
		m := llm.Fallback(nil, a, b)
		if _, _, err := m.Chat(t.Context(), hello()).Collect(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		s := m.Chat(t.Context(), hello())
		if _, _, err := s.Collect(); err != nil {
			t.Fatal(err)
		}
		n := len(aScript.Requests())
		if n != 2 {
			t.Fatalf("%d requests, want a probe", n)
		}
		began := time.Now()
		_ = m.Close()
		select {
		case <-s.Done():
		default:
			t.Error("Close did not wait for the probe")
		}
		if time.Since(began) > 0 {
			t.Errorf("Close took %v", time.Since(began))
		}
		if _, _, err := m.Chat(t.Context(), hello()).Collect(); !errors.Is(err, llm.ErrClosed) {
			t.Errorf("a request after Close: %v", err)
		}
		if len(aScript.Requests()) != n {
			t.Error("a probe after Close")
		}
	})
}

func TestFallbackInterruptedDoesNotAskTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, stop := range map[string]func(*llm.Stream, context.CancelFunc){
			"closed":    func(s *llm.Stream, _ context.CancelFunc) { s.Close() },
			"discarded": func(s *llm.Stream, _ context.CancelFunc) { s.Discard() },
			"cancelled": func(_ *llm.Stream, cancel context.CancelFunc) { cancel() },
		} {
			log := &modeltest.Log{}
			a, _ := brand("a", isDown)
			b, _ := brand("b", func(int) scripted.Answer { return scripted.Answer{Fault: &scripted.Fault{Stall: true}} })
			c, cScript := brand("c", answers("Yes"))
			ctx, cancel := context.WithCancel(log.Context(t.Context()))
			s := llm.Fallback(nil, a, b, c).Chat(ctx, hello())
			time.Sleep(time.Second)
			stop(s, cancel)
			<-s.Done()
			time.Sleep(time.Minute)
			want := "b-1 interrupted b.LLM"
			if name == "discarded" {
				want = "b-1 discarded b.LLM"
			}
			same(t, name+": events", account(log), want)
			same(t, name+": availability", log.Availability(), "llm a fails")
			if n := len(cScript.Requests()); n != 0 {
				t.Errorf("%s: the third model got %d requests", name, n)
			}
			cancel()
		}
	})
}

func TestFallbackOfNobodyFails(t *testing.T) {
	m := llm.Fallback(nil, nil)
	_, _, err := m.Chat(t.Context(), hello()).Collect()
	if err == nil || model.Retryable(err) {
		t.Errorf("%v", err)
	}
	m.Prewarm(t.Context())
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// A reader that leaves at once may be faster than the request.
func TestFallbackProbesForNobodyWhoHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 {
			a, _ := brand("a", isDown)
			b, _ := brand("b", answers("Yes"))
			m := llm.Fallback(nil, a, b)
			if _, _, err := m.Chat(t.Context(), hello()).Collect(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) // until a is due for a probe
			s := m.Chat(t.Context(), hello())
			s.Close()
			<-s.Done()
			synctest.Wait()
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
