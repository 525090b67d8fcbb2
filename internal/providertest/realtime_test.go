package providertest

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/googlebox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/internal/sandbox/phonicbox"
	"github.com/parley-go/parley/internal/sandbox/ultravoxbox"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/plugins/google"
	"github.com/parley-go/parley/plugins/openai"
	"github.com/parley-go/parley/plugins/phonic"
	"github.com/parley-go/parley/plugins/ultravox"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/session"
)

// conversers are realtime models on a sandbox, which speaks in real time.
var conversers = map[string]func(*sandbox.Server, sandbox.Talk) (*realtime.Model, error){
	"openai": func(s *sandbox.Server, t sandbox.Talk) (*realtime.Model, error) {
		openaibox.Converse(s, "/v1", openaibox.ConverseOptions{Talk: t, Pace: 1, Provider: "127.0.0.1"})
		return openai.NewRealtime(&openai.RealtimeOptions{APIKey: s.Key, BaseURL: s.URL() + "/v1"})
	},
	"azure-older": func(s *sandbox.Server, t sandbox.Talk) (*realtime.Model, error) {
		openaibox.Converse(s, "/openai", openaibox.ConverseOptions{Talk: t, Pace: 1, Provider: "azure", Header: "api-key", Form: openaibox.Older})
		return openai.NewRealtime(&openai.RealtimeOptions{Service: openai.Azure, APIKey: s.Key, BaseURL: s.URL(), APIVersion: "2025-04-01-preview"})
	},
	"google": func(s *sandbox.Server, t sandbox.Talk) (*realtime.Model, error) {
		googlebox.Live(s, googlebox.LiveOptions{Talk: t, Pace: 1, Thought: "What may he want?"})
		return google.NewRealtime(&google.RealtimeOptions{APIKey: s.Key, BaseURL: s.URL()})
	},
	"google-vertex": func(s *sandbox.Server, t sandbox.Talk) (*realtime.Model, error) {
		googlebox.Live(s, googlebox.LiveOptions{Talk: t, Pace: 1, Late: true})
		return google.NewRealtime(&google.RealtimeOptions{
			VertexAI: opt.Some(true), Project: "project", Credentials: google.Credentials{AccessToken: s.Key}, BaseURL: s.URL(),
		})
	},
	"ultravox": func(s *sandbox.Server, t sandbox.Talk) (*realtime.Model, error) {
		ultravoxbox.Converse(s, "/api", ultravoxbox.Options{Talk: t, Pace: 1})
		return ultravox.NewRealtime(&ultravox.RealtimeOptions{APIKey: s.Key, BaseURL: s.URL() + "/api"})
	},
	"phonic": func(s *sandbox.Server, t sandbox.Talk) (*realtime.Model, error) {
		phonicbox.Converse(s, "/v1", phonicbox.Options{Talk: t, Pace: 1})
		return phonic.NewRealtime(&phonic.RealtimeOptions{APIKey: s.Key, BaseURL: s.URL() + "/v1"})
	},
}

// untimed is usage without the time of connections, which is measured on both sides, and that time.
func untimed(models []metrics.ModelUsage) (all []metrics.ModelUsage, timed time.Duration) {
	for _, m := range models {
		if u, ok := m.(metrics.LLMUsage); ok {
			timed += u.SessionDuration
			u.SessionDuration = 0
			m = u
		}
		all = append(all, m)
	}
	return all, timed
}

// converse runs f with each of them. The session's usage must be the provider's, to the token.
func converse(t *testing.T, answer func(sandbox.TalkRequest) sandbox.Reply, tools []llm.Tool, f func(t *testing.T, c *call)) {
	for name, connect := range conversers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box := sandbox.Start(t, fault.Plan{})
			m, err := connect(box, sandbox.Talk{Answer: answer})
			if err != nil {
				t.Fatal(err)
			}
			c := startWith(t, session.Options{Realtime: m}, &agent.Agent{Instructions: "Be brief.", Tools: tools})
			f(t, c)
			c.hangUp()
			for limit := time.Now().Add(patience); box.Open() > 0 && time.Now().Before(limit); { // it bills at the end
				time.Sleep(time.Millisecond)
			}
			got, timeBooked := untimed(c.Usage().Models)
			want, timeBilled := untimed(box.Ledger.Billed().Models)
			if len(want) == 0 || !reflect.DeepEqual(got, want) || (timeBooked-timeBilled).Abs() > time.Second {
				t.Errorf("booked %+v and %v\nthe provider bills %+v and %v", got, timeBooked, want, timeBilled)
			}
			if n := len(c.connections("realtime")); n != box.Dials() {
				t.Errorf("%d connections were told of %d", n, box.Dials())
			}
		})
	}
}

func TestRealtimeConversation(t *testing.T) {
	t.Parallel()
	converse(t, nil, nil, func(t *testing.T, c *call) {
		for n := 2; n <= 4; n += 2 {
			c.speak(800 * time.Millisecond)
			said := c.awaitMessages(n)
			if want := []string{"user: " + sandbox.EarText, "assistant: " + sandbox.TalkText}; !slices.Equal(said[n-2:], want) {
				t.Errorf("the conversation was %q", said)
			}
		}
	})
}

func TestRealtimeInterruption(t *testing.T) {
	t.Parallel()
	const long = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen."
	answer := func(r sandbox.TalkRequest) sandbox.Reply {
		if len(r.Turns) <= 1 {
			return sandbox.Reply{Text: long}
		}
		return sandbox.Reply{Text: "Yes."}
	}
	converse(t, answer, nil, func(t *testing.T, c *call) {
		c.speak(800 * time.Millisecond)
		c.await("the agent to speak", func(es []session.Event) bool {
			return slices.ContainsFunc(es, func(e session.Event) bool {
				s, ok := e.(session.AgentStateChanged)
				return ok && s.New == agent.Speaking
			})
		})
		c.hear(500 * time.Millisecond)
		c.speak(800 * time.Millisecond)
		said := c.awaitMessages(4)
		cut, _ := strings.CutPrefix(said[1], "assistant: ")
		if cut == "" || cut == long || !strings.HasPrefix(long, strings.TrimSuffix(cut, "…")) {
			t.Errorf("the interrupted answer is %q", said[1])
		}
		if want := []string{"user: " + sandbox.EarText, "assistant: Yes."}; !slices.Equal(said[2:], want) {
			t.Errorf("the conversation was %q", said)
		}
	})
}

type place struct {
	Location string `json:"location"`
}

func TestRealtimeTool(t *testing.T) {
	t.Parallel()
	weather := llm.NewTool("lookup_weather", "Look up the weather.", func(_ context.Context, _ *agent.RunContext, p place) (string, error) {
		return "clear sky in " + p.Location, nil
	})
	answer := sandbox.Replies(true)
	converse(t, answer, []llm.Tool{weather}, func(t *testing.T, c *call) {
		c.speak(800 * time.Millisecond)
		if said := c.awaitMessages(2); said[1] != "assistant: "+sandbox.TalkText {
			t.Errorf("the conversation was %q", said)
		}
		var got []string
		for it := range c.History().All() {
			switch it := it.(type) {
			case *chat.FunctionCall:
				got = append(got, it.Name+it.Arguments)
			case *chat.FunctionCallOutput:
				got = append(got, it.Output)
			}
		}
		if want := []string{`lookup_weather{"location":"Paris"}`, "clear sky in Paris"}; !slices.Equal(got, want) {
			t.Errorf("the tools were %q", got)
		}
	})
}
