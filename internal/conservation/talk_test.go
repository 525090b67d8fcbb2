package conservation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/turn"
)

// talk is one session, whose user and whose program do things at random.
type talk struct {
	w      *world
	name   string
	rng    *rand.Rand
	s      *session.Session
	room   *sessiontest.Transport
	ledger *ledger.Ledger
	agents int

	mu     sync.Mutex
	events []string
}

func (w *world) newTalk(i int) *talk {
	x := &talk{w: w, name: fmt.Sprint("session ", i), rng: rand.New(rand.NewPCG(w.seed, 10+uint64(i))), room: sessiontest.New()}
	var err error
	if x.ledger, err = ledger.Open("", ledger.Options{}); err != nil {
		w.t.Fatal(err)
	}
	o := session.Options{
		VAD: w.vad, STT: w.stt, LLM: w.llm, TTS: w.tts, Recorder: x.ledger,
		AECWarmup: opt.Off[time.Duration](), MaxUnrecoverableErrors: opt.Off[int](),
		Logger: slog.New(slog.DiscardHandler),
	}
	if w.rt != nil {
		x.converses(&o)
	}
	if x.rng.IntN(4) == 0 {
		o.MaxUnrecoverableErrors = opt.Value[int]{}
	}
	o.TurnHandling.Preemptive = turn.Preemptive{Enabled: opt.Some(x.rng.IntN(2) == 0), TTS: opt.Some(x.rng.IntN(2) == 0)}
	x.s = session.New(o)
	session.On(x.s, x.note)
	return x
}

// note keeps an event.
func (x *talk) note(e session.Event) {
	line := ""
	switch e := e.(type) {
	case session.MetricsCollected:
		switch m := e.Metrics.(type) {
		case *metrics.LLM, *metrics.STT, *metrics.TTS, *metrics.Realtime:
			line = fmt.Sprint(m)
		}
	case session.UserInputTranscribed:
		if e.Final {
			line = "user: " + e.Transcript
		}
	case session.ConversationItemAdded:
		line = "item " + e.Item.Type()
		if m, ok := e.Item.(*chat.Message); ok {
			line = fmt.Sprintf("%s: %s (interrupted %v)", m.Role, m.Text(), m.Interrupted)
		}
	case session.ErrorOccurred:
		line = fmt.Sprintf("error of %s, recoverable %v: %v", e.Kind, e.Recoverable, e.Err)
	case session.AgentStateChanged:
		line = "agent " + string(e.New)
	case session.Closed:
		line = fmt.Sprintf("closed: %v, %v", e.Reason, e.Err)
	}
	if line == "" {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.events = append(x.events, fmt.Sprintf("%8.3f %s", e.When().Sub(x.w.began).Seconds(), line))
}

func (x *talk) story() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.name + ":\n    " + strings.Join(x.events, "\n    ") + "\n"
}

// question is what tools are asked.
type question struct {
	Day    string `json:"day" jsonschema:"the day in ISO 8601, such as 2026-03-14"`
	Doctor string `json:"doctor,omitempty" jsonschema:"the name of the doctor, if the caller wants a certain one"`
}

// newAgent is an agent whose tools do what tools may.
func (x *talk) newAgent() *agent.Agent {
	x.agents++
	a := &agent.Agent{ID: fmt.Sprintf("agent%d", x.agents), Instructions: fmt.Sprintf(
		"You are receptionist %d of a dental practice. Be friendly and brief, never give medical advice, and offer an appointment whenever somebody is in pain.", x.agents)}
	slow := time.Duration(x.rng.IntN(4000)) * time.Millisecond
	tool := func(name string, f func(ctx context.Context, rc *agent.RunContext) (any, error)) llm.Tool {
		return llm.NewTool(name, "Use it when somebody wants to know which appointments are free on a day.",
			func(ctx context.Context, rc *agent.RunContext, _ question) (any, error) { return f(ctx, rc) })
	}
	a.Tools = []llm.Tool{
		tool("look_up", func(ctx context.Context, _ *agent.RunContext) (any, error) {
			select {
			case <-time.After(slow):
				return "there are 3 of them", nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}),
		tool("fail", func(context.Context, *agent.RunContext) (any, error) { return nil, errors.New("it does not work") }),
		tool("transfer", func(context.Context, *agent.RunContext) (any, error) {
			return &agent.Agent{ID: "other", Instructions: "You are the other one."}, nil
		}),
		tool("think", func(ctx context.Context, _ *agent.RunContext) (any, error) {
			c := &chat.Context{}
			c.Add(chat.NewMessage(chat.System, "You judge in a word or two whether a caller is satisfied."), chat.NewMessage(chat.User, "I have waited for an hour now, can you believe that?"))
			text, _, err := x.w.llm.Chat(ctx, &llm.Request{Messages: c}).Collect()
			return text, err
		}),
	}
	if x.rng.IntN(2) == 0 {
		a.OnEnter = func(_ context.Context, rc *agent.RunContext) error {
			rc.Session().Say("Hello, and welcome to all of you.", nil)
			return nil
		}
	}
	if x.rng.IntN(3) == 0 {
		a.OnExit = func(_ context.Context, rc *agent.RunContext) error { rc.Session().Say("So long.", nil); return nil }
	}
	return a
}

// run is the session from its start to its close.
func (x *talk) run() {
	time.Sleep(time.Duration(x.rng.IntN(3000)) * time.Millisecond)
	if err := x.s.Start(context.Background(), x.newAgent(), x.room); err != nil {
		x.w.t.Errorf("start: %v", err)
		return
	}
	x.speak()
	for range 4 + x.rng.IntN(10) {
		time.Sleep(time.Duration(x.rng.IntN(3000)) * time.Millisecond)
		x.act()
	}
	if x.rng.IntN(2) == 0 {
		x.s.Shutdown(agent.ShutdownOptions{})
		_ = x.s.Wait(context.Background())
	}
	if err := x.s.Close(context.Background()); err != nil {
		x.w.t.Errorf("close: %v", err)
	}
	_ = x.ledger.Close()
}

// speak lays out when the user is heard.
func (x *talk) speak() {
	at := time.Now()
	for range 2 + x.rng.IntN(6) {
		at = at.Add(time.Duration(300+x.rng.IntN(5000)) * time.Millisecond)
		end := at.Add(time.Duration(200+x.rng.IntN(2000)) * time.Millisecond)
		x.room.In.Speak(at, end)
		at = end
	}
}

// act does something.
func (x *talk) act() {
	switch x.rng.IntN(8) {
	case 0:
		x.s.Say(sentences[x.rng.IntN(len(sentences))], &agent.SayOptions{Protected: x.rng.IntN(4) == 0})
	case 1:
		wait := time.Duration(x.rng.IntN(800)) * time.Millisecond
		x.s.SayStream(func(yield func(string) bool) {
			for _, text := range []string{"I say ", "", "something ", "slowly. ", "And then more of it."} {
				time.Sleep(wait)
				if !yield(text) {
					return
				}
			}
		}, nil)
	case 2:
		x.s.GenerateReply(agent.Reply{Instructions: "Say something."})
	case 3:
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = x.s.Interrupt(ctx, x.rng.IntN(3) == 0)
	case 4:
		x.room.Host().ReceiveText(session.TextInput{Text: "I have typed this."})
	case 5:
		_ = x.s.UpdateAgent(x.newAgent())
	case 6:
		_, _ = x.s.CommitUserTurn(context.Background(), &session.CommitOptions{TranscriptTimeout: 300 * time.Millisecond, SkipReply: x.rng.IntN(2) == 0})
	case 7:
		_ = x.s.SetTag("step", fmt.Sprint(x.rng.IntN(3)))
	}
}
