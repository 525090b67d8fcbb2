package otlp_test

import (
	"context"
	"testing"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	rtdriver "github.com/parley-go/parley/realtime/driver"
	"github.com/parley-go/parley/realtime/scripted"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/telemetry"
)

// live is a conversation with a realtime model: a turn with a tool, one that is cut off, so that its usage comes
// when it is over, and usage that belongs to no answer.
func live(t *testing.T, ctx context.Context, o telemetry.Options) error {
	weather := llm.NewTool("weather", "Look it up.", func(context.Context, *agent.RunContext, city) (string, error) { return canary + " is sunny", nil })
	script := scripted.New(&scripted.Options{Latency: wait, Texts: []string{"What about " + canary + "?", "Tell me of " + canary},
		Replies: []scripted.Reply{
			{Text: "Let me see, " + canary + ".", TTFT: wait, Calls: []driver.ToolCall{calling("", "weather", `{"name":"`+canary+`"}`)}},
			{Text: "Sunny, " + canary + ".", TTFT: wait},
			{Text: canary + " is a bird, and so on, and so on, and so on, and so on.", TTFT: wait},
		}, Speed: 1})
	s := session.New(session.Options{Realtime: realtime.New(script, nil), AECWarmup: opt.Off[time.Duration]()})
	detach, err := telemetry.Attach(s, o)
	if err != nil {
		t.Fatal(err)
	}
	defer detach()
	start := time.Now()
	room := sessiontest.New()
	if err := s.Start(ctx, &agent.Agent{Instructions: "Help with " + canary, Tools: []llm.Tool{weather}}, room); err != nil {
		t.Fatal(err)
	}
	for _, from := range []time.Duration{1, 10} {
		room.In.Speak(start.Add(from*time.Second), start.Add((from+1)*time.Second))
	}
	time.Sleep(13 * time.Second)
	if err := s.Interrupt(ctx, false); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	script.Emit(&rtdriver.ResponseUsage{ResponseID: "of nobody", Usage: rtdriver.Usage{InputTokens: 3}})
	time.Sleep(time.Second)
	return s.Close(context.Background())
}
