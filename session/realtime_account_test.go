package session_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	llmdriver "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime/scripted"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/vad"
)

// An answer of a realtime model is timed as one of an LLM and a TTS is, whoever finds the user's turns.
func TestRealtimeAnswersAreTimed(t *testing.T) {
	for name, x := range map[string]struct {
		how  turn.Handling
		e2e  time.Duration
		ends bool // it is known how long the end of the turn took
	}{
		"turns by the model": {turn.Handling{}, 700 * time.Millisecond, false}, // after 0.3 s of silence
		"turns by the session": {turn.Handling{Detection: turn.DetectVAD, Interruption: turn.Interruption{ResumeFalse: opt.Off[bool]()}},
			900 * time.Millisecond, true}, // after 0.5 s of silence
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := newRealtimeCall(t, scripted.Options{Texts: []string{"Hello"},
					Replies: []scripted.Reply{{Text: "Hi there.", TTFT: 400 * time.Millisecond}}})
				c.opt.VAD, c.opt.TurnHandling = vad.New(vadScript{}), x.how
				c.start(nil)
				c.room.In.Speak(c.at(0.5), c.at(1.5))
				c.until(8)
				rep := c.close()
				var u, m chat.TurnMetrics // of the user and the agent
				for it := range c.s.History().All() {
					if msg, ok := it.(*chat.Message); ok && msg.Role == chat.Assistant {
						m = msg.Metrics
					} else if ok {
						u = msg.Metrics
					}
				}
				said := u.StoppedSpeakingAt.Sub(u.StartedSpeakingAt).Round(50 * time.Millisecond)
				if u.TranscriptionDelay == nil || u.STT.ModelProvider != "scripted" || said != time.Second || (u.EndOfTurnDelay != nil) != x.ends {
					t.Errorf("account of what the user said for %s: %+v", said, u)
				}
				if m.LLMNodeTTFT == nil || *m.LLMNodeTTFT != 400*time.Millisecond || m.LLM != (metrics.Metadata{ModelName: "script", ModelProvider: "scripted"}) ||
					len(m.ProviderRequestIDs) != 1 || m.PlaybackLatency == nil || m.StartedSpeakingAt.IsZero() {
					t.Errorf("account of the answer: %+v", m)
				}
				if m.E2ELatency == nil || (*m.E2ELatency).Round(50*time.Millisecond) != x.e2e {
					t.Errorf("from the end of speech to the answer it took %v, want %v", m.E2ELatency, x.e2e)
				}
				if len(rep.Turns) != 1 || rep.Turns[0].Total != *m.E2ELatency {
					t.Errorf("turns %+v", rep.Turns)
				}
			})
		})
	}
}

// tree keeps the spans that were opened, each as a path, with what it told at its end.
type tree struct {
	mu    sync.Mutex
	paths []string
	told  map[string][]string // names of attributes, by path
}

type pathKey struct{}

func (x *tree) start(ctx context.Context, name string, attrs ...slog.Attr) (context.Context, func(error, ...slog.Attr)) {
	path, _ := ctx.Value(pathKey{}).(string)
	for _, a := range attrs {
		switch {
		case a.Key == "lk.generation_id":
			name += a.Value.String()[strings.LastIndex(a.Value.String(), "_"):]
		case a.Key == "lk.realtime_model_metrics":
			name += " " + fmt.Sprint(a.Value.Any().(*metrics.Realtime).OutputTokens > 0)
		}
	}
	path += "/" + name
	x.mu.Lock()
	x.paths = append(x.paths, path)
	x.mu.Unlock()
	return context.WithValue(ctx, pathKey{}, path), func(_ error, attrs ...slog.Attr) {
		x.mu.Lock()
		defer x.mu.Unlock()
		for _, a := range attrs {
			x.told[path] = append(x.told[path], a.Key)
		}
	}
}

// What each response has cost is told in its own step, also when a tool takes the next one.
func TestRealtimeStepsTellWhatTheyCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newRealtimeCall(t, scripted.Options{Texts: []string{"Weather"}, Replies: []scripted.Reply{
			{Text: "One moment.", TTFT: 100 * time.Millisecond, Calls: []llmdriver.ToolCall{{Name: "weather", Arguments: `{"place":"Paris"}`}}},
			{Text: "It is sunny.", TTFT: 100 * time.Millisecond},
		}})
		x := &tree{told: make(map[string][]string)}
		n := 0
		c.traced = x.start
		c.start(&agent.Agent{Tools: []llm.Tool{forecast(&n)}})
		c.room.In.Speak(c.at(0.5), c.at(1.5))
		c.until(8)
		c.close()
		c.wantSpent(m)
		for _, want := range []string{"/agent_session/agent_turn_1/realtime_metrics true", "/agent_session/agent_turn_2/realtime_metrics true"} {
			if !slices.Contains(x.paths, want) {
				t.Errorf("no %s in\n%s", want, strings.Join(x.paths, "\n"))
			}
		}
		for _, path := range []string{"/agent_session/agent_turn_1", "/agent_session/agent_turn_2"} {
			for _, key := range []string{"lk.response.ttft", "lk.pii.response.text", "lk.pii.response.function_calls"} {
				if !slices.Contains(x.told[path], key) {
					t.Errorf("%s tells %q, not %s", path, x.told[path], key)
				}
			}
		}
		if !slices.Contains(x.told["/agent_session/agent_turn_1"], "lk.e2e_latency") {
			t.Errorf("the first step tells %q", x.told["/agent_session/agent_turn_1"])
		}
	})
}
