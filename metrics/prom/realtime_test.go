package prom

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/scripted"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
)

// A call with a realtime model has the figures that one with an LLM and a TTS has.
func TestScrapeAgreesWithTheReportOfARealtimeCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, room := newFigures(), sessiontest.New()
		script := scripted.New(&scripted.Options{Texts: []string{"What is new?"}, TranscriptModel: "writer",
			Replies: []scripted.Reply{{Text: "Nothing at all.", TTFT: 200 * time.Millisecond}}, Acquire: &scripted.Acquire{Took: 50 * time.Millisecond}})
		s := session.New(session.Options{Realtime: realtime.New(script, nil), Logger: slog.New(slog.DiscardHandler)})
		f.Observe(s)
		if err := s.Start(t.Context(), &agent.Agent{}, room); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		room.In.Speak(now.Add(time.Second), now.Add(3*time.Second))
		time.Sleep(15 * time.Second)
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		rep, err := s.Report()
		if err != nil {
			t.Fatal(err)
		}
		f.Ended(rep)
		got := scrape(t, f)
		lines := 0
		for _, line := range rep.Usage.Models {
			k := line.Key()
			check := func(name string, n float64) {
				if lines++; n <= 0 {
					t.Errorf("the report has %v %s", n, name)
				}
				got.wantCounter(t, n, "lk_agents_usage_"+name+"_total", "model_provider", k.Provider, "model_name", k.Model, "outcome", "delivered")
			}
			switch u := line.(type) {
			case metrics.LLMUsage:
				check("llm_input_tokens", float64(u.InputTokens))
				check("llm_input_audio_tokens", float64(u.InputAudioTokens))
				check("llm_output_tokens", float64(u.OutputTokens))
				check("llm_output_audio_tokens", float64(u.OutputAudioTokens))
			case metrics.STTUsage:
				check("stt_audio_duration_seconds", u.AudioDuration.Seconds())
			}
		}
		if lines != 5 || len(rep.Turns) != 1 {
			t.Fatalf("%d figures and %d turns: %v", lines, len(rep.Turns), rep.Usage.Models)
		}
		got.wantHistogram(t, 1, 0.2, "lk_agents_llm_ttft_seconds", "model_provider", "scripted", "model_name", "script")
		got.wantHistogram(t, 1, rep.Turns[0].Total.Seconds(), "lk_agents_turn_latency_seconds")
		got.wantHistogram(t, 1, 0.05, "lk_agents_connection_acquire_time_seconds", "kind", "realtime", "connection_reused", "false")
		got.wantHistogram(t, 1, rep.Duration().Seconds(), "lk_agents_session_duration_seconds", "close_reason", "user_initiated")
		got.wantCounter(t, rep.Standing.AgentSpoke.Seconds(), "lk_agents_spoken_seconds_total", "speaker", "agent")
	})
}
