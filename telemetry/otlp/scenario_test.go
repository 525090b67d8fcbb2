package otlp_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/telemetry"
	"github.com/parley-go/parley/telemetry/otlp"
	"github.com/parley-go/parley/tts"
	ttsscripted "github.com/parley-go/parley/tts/scripted"
	"github.com/parley-go/parley/turn"
	turnscripted "github.com/parley-go/parley/turn/scripted"
	"github.com/parley-go/parley/vad"
)

// canary is in everything that is said, and in everything else that must not get out.
const canary = "canary"

var errCanary = errors.New("the " + canary + " is gone")

type city struct {
	Name string `json:"name"`
}

// spend records an event of every kind, with every number set.
func spend(ctx context.Context) {
	for _, e := range []metrics.Event{
		&metrics.LLM{Header: header(), PromptTokens: 10, PromptCachedTokens: 2, CacheCreationTokens: 1, CompletionTokens: 5, TTFT: metrics.NoOutput},
		&metrics.STT{Header: header(), AudioDuration: time.Second, InputTokens: 1, OutputTokens: 1, Acquired: true, AcquireTime: time.Second},
		&metrics.TTS{Header: header(), AudioDuration: time.Second, CharactersCount: 5, InputTokens: 1, OutputTokens: 1, TTFB: metrics.NoOutput, Acquired: true, ConnectionReused: true},
		response(),
		&metrics.Realtime{Header: header(), Acquired: true, AcquireTime: time.Second, SessionDuration: time.Second, TTFT: metrics.NoOutput},
		&metrics.EOT{Header: header(), NumRequests: 1},
		&metrics.Connection{Header: header(), Kind: "llm", AcquireTime: time.Millisecond},
	} {
		metrics.Record(ctx, e)
	}
	model.ReportError(ctx, model.ErrorEvent{Kind: "llm", Info: model.Info{Provider: "p", Model: "m"}, Recoverable: true,
		Err: &model.Error{Kind: model.KindTimeout, Provider: "p"}})
}

func header() metrics.Header {
	return metrics.Header{Metadata: metrics.Metadata{ModelName: "m", ModelProvider: "p"}}
}

// response is a response of a realtime model.
func response() *metrics.Realtime {
	return &metrics.Realtime{Header: header(), Duration: time.Second, TTFT: 100 * time.Millisecond, InputTokens: 9, OutputTokens: 6,
		InputTokenDetails: metrics.InputTokenDetails{AudioTokens: 3, TextTokens: 3, ImageTokens: 3, CachedTokens: 3,
			CachedTokensDetails: &metrics.CachedTokenDetails{AudioTokens: 1, TextTokens: 1, ImageTokens: 1}},
		OutputTokenDetails: metrics.OutputTokenDetails{TextTokens: 3, AudioTokens: 3}}
}

// running has f work with the telemetry of a job of that number, which goes to c. It must be called in a bubble.
func running(t *testing.T, exp *otlp.Exporter, n int, o telemetry.Options, f func(ctx context.Context, o telemetry.Options) error) {
	id, room := fmt.Sprint("AJ_", n), fmt.Sprint("RM_", n)
	job := exp.Job(otlp.Identity{JobID: id, RoomID: room, AgentName: "helper"})
	job.Into(&o)
	o.AgentName, o.RoomName, o.AgentIdentity = "helper", canary+" room", canary+" agent"
	log := slog.New(slog.DiscardHandler)
	if h := telemetry.LogHandler(telemetry.LoggerName, o); h != nil {
		log = slog.New(h).With("job_id", id, "room", canary+" room")
	}
	ctx := model.WithJob(context.Background(), func() model.Job { return model.Job{ID: id, RoomID: room, AgentID: "PA_1", Logger: log} })
	ctx, end := telemetry.StartJob(ctx, o)
	end(f(ctx, o))
	if err := job.Shutdown(context.Background()); err != nil {
		t.Errorf("shutting down job %d: %v", n, err)
	}
}

// exporting runs f, in a bubble, with an exporter to c.
func exporting(t *testing.T, c *collector, eo otlp.Options, f func(t *testing.T, exp *otlp.Exporter)) {
	synctest.Test(t, func(t *testing.T) {
		eo.Endpoint = c.url
		exp, err := otlp.New(context.Background(), eo)
		if err != nil {
			t.Fatal(err)
		}
		f(t, exp)
		if err := exp.Shutdown(context.Background()); err != nil {
			t.Errorf("shutting down the exporter: %v", err)
		}
	})
}

// converse is all that is exported of the jobs below.
func converse(t *testing.T, c *collector, eo otlp.Options, o telemetry.Options) {
	t.Setenv("LIVEKIT_AGENT_ID", "CA_1")
	t.Setenv("LIVEKIT_AGENT_DEPLOYMENT", "blue")
	exporting(t, c, eo, func(t *testing.T, exp *otlp.Exporter) {
		running(t, exp, 1, o, func(ctx context.Context, o telemetry.Options) error { return call(t, ctx, o) })
		running(t, exp, 2, o, func(ctx context.Context, o telemetry.Options) error { return detour(t, ctx, o) })
		running(t, exp, 3, o, func(ctx context.Context, o telemetry.Options) error { return live(t, ctx, o) })
	})
}

const wait = 100 * time.Millisecond

func answer(text string, calls ...driver.ToolCall) scripted.Answer {
	return scripted.Answer{TTFT: wait, Delay: wait, Chunks: []driver.Chunk{{Text: text, ToolCalls: calls}}}
}

func calling(id, name, args string) driver.ToolCall {
	return driver.ToolCall{CallID: id, Name: name, Arguments: args}
}

// call is a conversation: a turn with a tool, an interruption, a tool that fails, and a task.
func call(t *testing.T, ctx context.Context, o telemetry.Options) error {
	script := &sttScript{}
	script.expect(seconds(2.7), "What about "+canary+"?")
	script.expect(seconds(9.2), "Stop "+canary)
	var turnOver context.Context
	weather := llm.NewTool("weather", "Look it up.", func(ctx context.Context, _ *agent.RunContext, in city) (string, error) {
		turnOver = context.WithoutCancel(ctx)
		spend(ctx)
		return canary + " is sunny", nil
	})
	broken := llm.NewTool("broken", "Fails.", func(context.Context, *agent.RunContext, city) (string, error) { panic(errCanary) })
	expert := llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{answer("Ask, " + canary)}}), nil)
	ask := llm.NewTool("ask", "Asks.", func(ctx context.Context, _ *agent.RunContext, _ struct{}) (string, error) {
		var task *agent.Task[string]
		task = agent.NewTask[string](&agent.Agent{ID: "asker", TTS: opt.Some(tts.New(ttsscripted.NewBatch(nil), nil)),
			OnEnter: func(ctx context.Context, rc *agent.RunContext) error {
				if err := rc.Session().Say("Who is the "+canary+"?", nil).Wait(ctx); err != nil {
					return err
				}
				return task.Complete(canary)
			}})
		if _, _, err := expert.Chat(ctx, &llm.Request{Messages: &chat.Context{}}).Collect(); err != nil {
			return "", err
		}
		return task.Run(ctx)
	})
	s := session.New(session.Options{
		VAD: vad.New(vadScript{}), STT: stt.New(script, nil),
		TTS: tts.New(&ttsScript{ttfb: 2 * wait, length: 3 * time.Second}, nil),
		LLM: llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{
			answer("Let me see, "+canary+".", calling("call_1", "weather", `{"name":"`+canary+`"}`)),
			answer("Sunny, " + canary + "."),
			answer("All right, " + canary + "."),
			answer("", calling("call_2", "broken", `{"name":"`+canary+`"}`)),
			answer("It broke, " + canary + "."),
			answer("", calling("call_3", "ask", `{}`)),
			answer("Asked, " + canary + "."),
		}}), nil),
		AECWarmup: opt.Off[time.Duration](), Tags: map[string]string{"plan": "gold", "beta": ""},
		TurnHandling: turn.Handling{Preemptive: turn.Preemptive{Enabled: opt.Off[bool]()},
			Detector: opt.Some(turn.New(turnscripted.NewText(nil), nil))},
	})
	detach, err := telemetry.Attach(s, o)
	if err != nil {
		t.Fatal(err)
	}
	defer detach()
	start := time.Now()
	room := sessiontest.New()
	a := &agent.Agent{Instructions: "Help with " + canary, Tools: []llm.Tool{weather, llm.NewToolset("kitchen", broken, ask)},
		OnEnter:             func(context.Context, *agent.RunContext) error { return nil },
		OnExit:              func(context.Context, *agent.RunContext) error { return errCanary },
		OnUserTurnCompleted: func(context.Context, *agent.RunContext, *chat.Context, *chat.Message) error { return nil },
	}
	if err := s.Start(ctx, a, room); err != nil {
		t.Fatal(err)
	}
	session.On(s, func(e session.OverlappingSpeech) {
		metrics.Record(turnOver, &metrics.Interruption{Header: header(), NumRequests: 1, PredictionDuration: wait})
	})
	room.Host().ParticipantLinked(session.Participant{ID: "PA_2", Identity: canary, Kind: "standard"})
	room.In.Speak(start.Add(500*time.Millisecond), start.Add(2500*time.Millisecond))
	room.In.Speak(start.Add(8*time.Second), start.Add(9*time.Second))
	time.Sleep(20 * time.Second)
	for _, text := range []string{"Break it, " + canary, "Ask, " + canary} {
		if err := s.GenerateReply(agent.Reply{UserInput: text}).Wait(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return &model.Error{Kind: model.KindTimeout, Provider: "p", Err: errCanary}
}

// detour is an answer by models that stand in for others, and the judgement of a test about it.
func detour(t *testing.T, ctx context.Context, o telemetry.Options) error {
	once := model.ConnOptions{MaxRetry: -1}
	refuses := func() *llm.Model {
		return llm.New(scripted.New(&scripted.Options{Info: model.Info{Label: "bad.LLM", Provider: "bad", Model: "llm"},
			Respond: func(int, *driver.Request) scripted.Answer {
				return scripted.Answer{Fault: &scripted.Fault{InChat: true, Err: &model.Error{Kind: model.KindStatus, Status: 503, Provider: "bad", Err: errCanary}}}
			}}), nil)
	}
	bad := ttsscripted.New(&ttsscripted.Options{Info: model.Info{Label: "bad.TTS", Provider: "bad", Model: "tts"},
		Faults: []ttsscripted.Fault{{Call: -1}}})
	good := ttsscripted.NewBatch(&ttsscripted.Options{Info: model.Info{Label: "good.TTS", Provider: "good", Model: "tts"}})
	s := session.New(session.Options{
		LLM: llm.Fallback(&llm.FallbackOptions{Conn: once}, refuses(), llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{answer("Hello " + canary)}}), nil)),
		TTS: tts.Fallback(&tts.FallbackOptions{Conn: once}, tts.New(bad, nil), tts.New(good, nil)),
	})
	detach, err := telemetry.Attach(s, o)
	if err != nil {
		t.Fatal(err)
	}
	defer detach()
	if err := s.Start(ctx, &agent.Agent{Instructions: canary}, sessiontest.New()); err != nil {
		t.Fatal(err)
	}
	res, err := s.Run(ctx, "Hi, "+canary)
	if err != nil {
		t.Fatal(err)
	}
	judge := llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{
		answer("", calling("call_1", "verdict", `{"fulfilled":true,"reason":"`+canary+`"}`))}}), nil)
	sessiontest.Expect(t, res).ContainsMessage(chat.Assistant).Judge(ctx, judge, "greets "+canary)
	return s.Close(context.Background())
}
