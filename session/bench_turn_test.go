package session_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	llmdriver "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/plugins/openai"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/stt"
)

// BenchmarkTurnToRequest is the session's own part of the silence after a user turn, in real time: from the final
// transcript, which ends the turn as the endpointing delay is 0, to the request of the language model, at its driver
// or, over HTTP, at a server in the process that has read all of it. The decision itself is part of it.
func BenchmarkTurnToRequest(b *testing.B) {
	b.Run("driver", func(b *testing.B) {
		asked := make(chan time.Time, 1) // one request at a time
		turnToRequest(b, asked, llm.New(scripted.New(&scripted.Options{Respond: func(int, *llmdriver.Request) scripted.Answer {
			asked <- time.Now()
			return scripted.Answer{Text: "Yes."}
		}}), nil))
	})
	b.Run("http", func(b *testing.B) {
		asked := make(chan time.Time, 1) // likewise
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if r.Method != http.MethodPost {
				return // it was prewarmed
			}
			asked <- time.Now()
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, `data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"Yes."},"finish_reason":"stop"}]}`+
				"\n\n"+`data: {"id":"1","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}`+"\n\ndata: [DONE]\n\n")
		}))
		defer srv.Close()
		m, err := openai.NewLLM(&openai.LLMOptions{APIKey: "none", BaseURL: srv.URL})
		if err != nil {
			b.Fatal(err)
		}
		turnToRequest(b, asked, m)
	})
}

func turnToRequest(b *testing.B, asked chan time.Time, m *llm.Model) {
	texts := make(chan string)
	answered := make(chan struct{}, 1) // one reply at a time
	var s *session.Session
	call := func() {
		o := session.Options{STT: stt.New(&benchSTT{texts}, nil), LLM: m}
		o.TurnHandling.Endpointing.MinDelay = opt.Some(time.Duration(0))
		s = session.New(o)
		session.On(s, func(e session.ConversationItemAdded) {
			if m, ok := e.Item.(*chat.Message); ok && m.Role == chat.Assistant {
				answered <- struct{}{}
			}
		})
		if err := s.Start(b.Context(), &agent.Agent{Instructions: "Be brief."}, newBenchRoom()); err != nil {
			b.Fatal(err)
		}
	}
	var took []time.Duration
	call()
	b.ReportAllocs()
	for b.Loop() {
		if n := len(took); n > 0 && n%turnsPerCall == 0 {
			b.StopTimer()
			closeBench(b, s)
			call()
			b.StartTimer()
		}
		began := time.Now()
		texts <- "Is it so?"
		took = append(took, (<-asked).Sub(began))
		<-answered
	}
	b.StopTimer()
	closeBench(b, s)
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}
