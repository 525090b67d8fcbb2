package session_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/tts"
	ttsscripted "github.com/parley-go/parley/tts/scripted"
	"github.com/parley-go/parley/turn"
	turnscripted "github.com/parley-go/parley/turn/scripted"
	"github.com/parley-go/parley/vad"
)

var (
	randomSeed = flag.Uint64("random.seed", 0, "replay the random session with this `SEED`; 0 takes fresh ones")
	randomRuns = flag.Int("random.runs", 300, "how many random sessions TestSessionRandom runs")
)

// TestSessionRandom drives sessions with random speech, silence, texts, interrupts, tools, handoffs,
// errors and closes, and checks what must always hold. A failure names the seed that repeats it.
func TestSessionRandom(t *testing.T) {
	if *randomSeed != 0 {
		randomSession(t, *randomSeed)
		return
	}
	for range *randomRuns {
		seed := rand.Uint64()
		if !t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { randomSession(t, seed) }) {
			return
		}
	}
}

// agentEdges are the state changes that are documented; closing may follow from any state.
var agentEdges = map[agent.State][]agent.State{
	agent.Initializing: {agent.Listening, agent.Thinking, agent.Speaking},
	agent.Listening:    {agent.Thinking, agent.Speaking},
	agent.Thinking:     {agent.Listening, agent.Speaking},
	agent.Speaking:     {agent.Listening, agent.Thinking},
}

func randomSession(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 1))
		x := &random{rng: rng}
		c := newCall(t)
		x.call = c
		c.llm = scripted.New(&scripted.Options{Respond: x.answer})
		c.opt.LLM = llm.New(c.llm, nil)
		x.fallBack()
		c.opt.MaxUnrecoverableErrors = opt.Off[int]()
		if rng.IntN(3) == 0 {
			c.opt.TurnHandling.Interruption.FalseTimeout = opt.Off[time.Duration]()
		}
		if rng.IntN(4) == 0 {
			c.opt.AECWarmup = opt.Some(2 * time.Second)
		}
		c.opt.TurnHandling.Preemptive.Enabled = opt.Some(rng.IntN(2) != 0)
		c.opt.TurnHandling.Preemptive.TTS = opt.Some(rng.IntN(2) != 0)
		if rng.IntN(5) == 0 {
			c.opt.TurnHandling.Interruption.MinWords = opt.Some(2)
		}
		if rng.IntN(3) == 0 {
			c.opt.TurnHandling.Limit.MaxWords = opt.Some(3 * (1 + rng.IntN(3)))
		}
		if rng.IntN(3) == 0 {
			c.opt.TranscriptionTimeout = time.Duration(rng.IntN(2000)) * time.Millisecond
		}
		if rng.IntN(3) == 0 {
			x.bySTT = true
			c.opt.TurnHandling.Detection = turn.DetectSTT
			if rng.IntN(2) == 0 {
				c.opt.VAD = nil
			}
		}
		if rng.IntN(2) == 0 {
			c.opt.TurnHandling.Detector = opt.Some(x.detector())
		}
		c.opt.Tools = []llm.Tool{x.book("shared")}
		x.limit()
		x.script()
		c.start(x.newAgent())
		x.drive()
		drain := rng.IntN(2) == 0
		if drain {
			c.s.Shutdown(agent.ShutdownOptions{})
			_ = c.s.Wait(context.Background())
		} else {
			_ = c.s.Close(context.Background())
		}
		x.waiting.Wait()
		x.check(t)
		if t.Failed() {
			t.Logf("seed %d, repeat with -run TestSessionRandom -random.seed=%d\n%s\n%s", seed, seed, c.timeline(), c.history())
		}
	})
}

// random is a session that is driven at random.
type random struct {
	*call
	rng       *rand.Rand
	bySTT     bool     // the STT ends the turns
	said      []string // by the user
	typed     []string
	speeches  []*agent.Speech
	agents    int
	servers   []*server
	detectors []*turnscripted.AudioDetector
	claims    []func()
	shaky     *scripted.LLM    // asked first, and often fails; nil for none
	hoarse    *ttsscripted.TTS // the same of a voice
	waiting   sync.WaitGroup   // who waits for a quiet moment
	runs      sync.WaitGroup   // of Run
	results   []*session.RunResult
	tasks     atomic.Int64 // that wait
}

func (x *random) newAgent() *agent.Agent {
	x.agents++
	a := &agent.Agent{ID: fmt.Sprintf("agent%d", x.agents)}
	slow := time.Duration(x.rng.IntN(8000)) * time.Millisecond
	a.Tools = []llm.Tool{
		weather(slow),
		llm.NewTool("fail", "", func(context.Context, *agent.RunContext, struct{}) (string, error) { return "", errors.New("no") }),
		llm.NewTool("transfer", "", func(context.Context, *agent.RunContext, struct{}) (*agent.Agent, error) {
			return &agent.Agent{ID: "transferred", Tools: []llm.Tool{weather(0)}}, nil
		}),
		x.book("book"),
		toolOf("ask", x.newTask(true)),
		toolOf("ask_too", x.newTask(false)),
	}
	if x.rng.IntN(4) == 0 {
		s := &server{name: "server", wait: time.Duration(x.rng.IntN(3000)) * time.Millisecond, tools: []llm.Tool{silent("serve")}}
		x.servers = append(x.servers, s)
		a.Tools = append(a.Tools, s)
	}
	if x.rng.IntN(3) == 0 {
		wait := time.Duration(x.rng.IntN(3000)) * time.Millisecond
		a.OnUserTurnCompleted = func(ctx context.Context, _ *agent.RunContext, _ *chat.Context, _ *chat.Message) error {
			time.Sleep(wait)
			return nil
		}
	}
	if x.rng.IntN(2) == 0 {
		a.OnUserTurnExceeded = func(_ context.Context, rc *agent.RunContext, _ agent.UserTurnExceeded) error {
			rc.Session().Say("Just a moment", nil)
			return nil
		}
	}
	switch x.rng.IntN(5) {
	case 0:
		a.OnEnter = hook(x.newTask(true))
	case 1:
		a.OnExit = hook(x.newTask(false))
	}
	if x.rng.IntN(2) == 0 && a.OnEnter == nil {
		a.OnEnter = func(_ context.Context, rc *agent.RunContext) error { rc.Session().Say("Welcome", nil); return nil }
	}
	if x.rng.IntN(2) == 0 && a.OnExit == nil {
		a.OnExit = func(_ context.Context, rc *agent.RunContext) error { rc.Session().Say("So long", nil); return nil }
	}
	return a
}

// answer is what the model says. It may be called concurrently, so it has no randomness but the turn.
func (x *random) answer(turn int, r *driver.Request) scripted.Answer {
	a := scripted.Answer{TTFT: time.Duration(turn%7) * 100 * time.Millisecond, Delay: 30 * time.Millisecond}
	switch n := turn % 11; {
	case n == 3 && len(r.Tools) > 0:
		a.Chunks = []driver.Chunk{{Text: "Let me see."}, {ToolCalls: callsTool("weather", `{"location":"Rome"}`)}}
	case n == 5 && len(r.Tools) > 0:
		a.Calls = callsTool("fail", "{}")
	case n == 7 && len(r.Tools) > 2:
		a.Calls = callsTool("transfer", "{}")
	case n%2 == 0 && has(r, "done"):
		a.Calls = calling("done").Calls
	case n == 2 && has(r, "ask"):
		a.Chunks = []driver.Chunk{{Text: "I want to know something."}, {ToolCalls: calling("ask").Calls}}
	case turn%22 == 4 && has(r, "ask_too"):
		a.Calls = calling("ask", "ask_too", "weather").Calls
	case n == 8:
		a.Fault = &scripted.Fault{InChat: true, Err: errors.New("no such model")}
	case n == 9:
		a.Text = "broken off in the middle of"
		a.Fault = &scripted.Fault{After: 3, Err: errors.New("cut")}
	case n == 4:
		a.Chunks = []driver.Chunk{{Text: "First this.", Flush: true}, {Text: fmt.Sprintf("Then answer %d", turn)}, {Flush: true}, {Text: "And that."}}
	case n == 1 && len(r.Tools) > 0:
		a.Chunks = []driver.Chunk{{Text: "I book it."}, {ToolCalls: calls(fmt.Sprintf("book#%d", turn), fmt.Sprintf("shared#%d", turn))}}
	case n == 6 && len(r.Tools) > 0:
		a.Calls = append(calls(fmt.Sprintf("book#%d", turn)), driver.ToolCall{CallID: fmt.Sprint("cancel", turn), Name: "lk_agents_cancel_task",
			Arguments: fmt.Sprintf(`{"call_id":"book#%d"}`, turn-turn%2*5)})
	default:
		a.Text = fmt.Sprintf("Answer %d goes on for a few words", turn)
	}
	return a
}

// fallBack has, in some sessions, other models asked first that often fail.
func (x *random) fallBack() {
	if x.rng.IntN(3) > 0 {
		return
	}
	x.shaky = scripted.New(&scripted.Options{
		Info: model.Info{Label: "shaky.LLM", Provider: "shaky", Model: "mind"},
		Respond: func(turn int, _ *driver.Request) scripted.Answer {
			a := scripted.Answer{TTFT: time.Duration(turn%5) * 200 * time.Millisecond, Delay: 30 * time.Millisecond}
			switch turn % 4 {
			case 0:
				a.Fault = &scripted.Fault{InChat: true, Err: errors.New("overloaded")}
			case 1:
				a.Chunks = []driver.Chunk{{Usage: &driver.Usage{PromptTokens: 5}}, {}}
				a.Fault = &scripted.Fault{After: 1, Err: errors.New("overloaded")}
			default:
				a.Text = fmt.Sprintf("The first one answers %d", turn)
			}
			return a
		},
	})
	o := ttsscripted.Options{Info: model.Info{Label: "hoarse.TTS", Provider: "hoarse", Model: "voice"}, TTFB: 100 * time.Millisecond, Pace: 50 * time.Millisecond}
	for i := range 20 {
		f := ttsscripted.Fault{Call: i, When: ttsscripted.When(x.rng.IntN(3)), Kind: ttsscripted.FaultKind(x.rng.IntN(3)), Audio: 300 * time.Millisecond}
		if x.rng.IntN(2) == 0 {
			o.Faults = append(o.Faults, f)
		}
	}
	x.hoarse = ttsscripted.New(&o)
	x.opt.LLM = llm.Fallback(nil, llm.New(x.shaky, nil), x.opt.LLM)
	once := model.ConnOptions{MaxRetry: -1, Timeout: 2 * time.Second}
	x.opt.TTS = tts.Fallback(&tts.FallbackOptions{Conn: once, ProbeAfter: 5 * time.Second}, tts.New(x.hoarse, nil), x.opt.TTS)
}

// script lays out what the user will say.
func (x *random) script() {
	x.t0 = time.Now()
	at := 0.3
	for i := range 2 + x.rng.IntN(6) {
		at += x.rng.Float64() * 6
		end := at + 0.1 + x.rng.Float64()*2.5
		text := ""
		if x.rng.IntN(3) > 0 {
			text = fmt.Sprintf("user%d says something", i)
			x.said = append(x.said, text)
		}
		x.says(at, end, text)
		if x.bySTT {
			x.stt.listens(at, end)
		}
		at = end + 0.2
	}
}

// drive does things while the user speaks.
func (x *random) drive() {
	for range 5 + x.rng.IntN(20) {
		time.Sleep(time.Duration(x.rng.IntN(2500)) * time.Millisecond)
		synctest.Wait()
		if x.cutOff() {
			return // who closes himself knows what he has sent before
		}
		if x.rng.IntN(5) == 0 {
			if err := x.s.SetTag(fmt.Sprint(x.rng.IntN(3)), "v"); err != nil {
				x.t.Error(err)
			}
		}
		switch x.rng.IntN(15) {
		case 0:
			if o := x.sayOptions(); x.rng.IntN(3) == 0 {
				wait := time.Duration(x.rng.IntN(800)) * time.Millisecond
				x.speeches = append(x.speeches, x.s.SayStream(func(yield func(string) bool) {
					for _, text := range []string{"I say ", "", "something ", "slowly."} {
						time.Sleep(wait)
						if !yield(text) {
							return
						}
					}
				}, o))
			} else {
				x.speeches = append(x.speeches, x.s.Say("I say something here", o))
			}
		case 1:
			x.speeches = append(x.speeches, x.s.GenerateReply(agent.Reply{Instructions: "Say something.", Priority: x.priority()}))
		case 2:
			if force := x.rng.IntN(3) == 0; x.rng.IntN(2) == 0 {
				x.interrupt(force)
			} else {
				_ = x.s.Interrupt(context.Background(), force)
			}
		case 3:
			text := fmt.Sprintf("typed%d", len(x.typed))
			x.typed = append(x.typed, text)
			x.room.Host().ReceiveText(session.TextInput{Text: text})
		case 4:
			_ = x.s.UpdateAgent(x.newAgent())
		case 5:
			if len(x.speeches) > 0 {
				_ = x.speeches[x.rng.IntN(len(x.speeches))].Interrupt(false)
			}
		case 6:
			x.tts.lasts(time.Duration(200+x.rng.IntN(5000)/100*100) * time.Millisecond)
		case 7:
			x.update()
		case 10:
			x.claims = append(x.claims, x.s.ClaimUserTurn())
		case 11:
			if len(x.claims) > 0 {
				x.claims[0]()
				x.claims = x.claims[1:]
			}
		case 12:
			x.waitForIdle(time.Duration(x.rng.IntN(5000))*time.Millisecond, x.rng.IntN(2) == 0)
		case 8:
			_, _ = x.s.CommitUserTurn(context.Background(), &session.CommitOptions{TranscriptTimeout: 300 * time.Millisecond, SkipReply: x.rng.IntN(2) == 0})
		case 9:
			if err := x.change(); err != nil {
				x.t.Error(err)
			}
		case 13:
			x.newRun()
		}
	}
}

// detector judges by audio, not always well.
func (x *random) detector() *turn.Model {
	steps := make([]turnscripted.Step, 10)
	for i := range steps {
		steps[i] = turnscripted.Step{Probability: x.rng.Float64(), Delay: time.Duration(x.rng.IntN(400)) * time.Millisecond}
		switch x.rng.IntN(6) {
		case 0:
			steps[i].Err = errors.New("no opinion")
		case 1:
			steps[i].Delay = time.Minute
		}
	}
	d := turnscripted.NewAudio(&turnscripted.Options{Steps: steps})
	x.detectors = append(x.detectors, d)
	return turn.New(d, nil)
}

// change gives the session and the agent in charge other options.
func (x *random) change() error {
	switch x.rng.IntN(6) {
	case 0:
		delay := time.Duration(100+x.rng.IntN(1500)) * time.Millisecond
		return x.s.UpdateOptions(turn.Handling{Endpointing: turn.EndpointingOptions{Mode: turn.Dynamic, MinDelay: opt.Some(delay)}})
	case 1:
		return x.s.UpdateOptions(turn.Handling{Detector: opt.Some(x.detector())})
	case 2:
		return x.s.UpdateOptions(turn.Handling{Detector: opt.Off[*turn.Model](), Interruption: turn.Interruption{MinWords: opt.Some(x.rng.IntN(3))}})
	case 3:
		return x.s.UpdateAgentOptions(agent.Options{LLM: opt.Some(llm.New(x.llm, nil)), TTS: opt.Some(tts.New(x.tts, nil))})
	case 4:
		return x.s.UpdateAgentOptions(agent.Options{VAD: opt.Some(vad.New(vadScript{}))})
	default:
		modes := []turn.Detection{turn.DetectAuto, turn.DetectVAD, turn.DetectManual, turn.DetectSTT}
		return x.s.UpdateOptions(turn.Handling{Detection: modes[x.rng.IntN(len(modes))]})
	}
}

// update changes the agent that is in charge.
func (x *random) update() {
	switch x.rng.IntN(3) {
	case 0:
		_ = x.s.UpdateInstructions(fmt.Sprint("Be number ", x.rng.IntN(5)))
	case 1:
		tools := x.newAgent().Tools
		_ = x.s.UpdateTools(context.Background(), tools[x.rng.IntN(len(tools)):])
	case 2:
		c := x.s.ChatContext()
		c.Truncate(x.rng.IntN(6))
		_ = x.s.UpdateChatContext(c)
	}
}

func (x *random) priority() agent.Priority {
	return agent.Priority(x.rng.IntN(3)-1) * agent.HighPriority
}

func (x *random) sayOptions() *agent.SayOptions {
	o := &agent.SayOptions{Protected: x.rng.IntN(4) == 0, NoHistory: x.rng.IntN(5) == 0, Priority: x.priority()}
	if x.rng.IntN(3) == 0 {
		n, broken := 1+x.rng.IntN(20), x.rng.IntN(5) == 0
		o.Audio = func(yield func(audio.Frame, error) bool) {
			for range n {
				if !yield(audio.Silence(100*time.Millisecond, 24000, 1), nil) {
					return
				}
			}
			if broken {
				yield(audio.Frame{}, errors.New("file is broken"))
			}
		}
	}
	return o
}

func (x *random) check(t *testing.T) {
	x.mu.Lock()
	events := x.events
	x.mu.Unlock()
	x.checkStates(t, events)
	x.checkTools(t, events)
	for _, e := range events {
		if sc, ok := e.(session.SpeechCreated); ok && !isDone(sc.Speech) {
			t.Errorf("speech %s is not done after the close", sc.Speech.ID())
		}
	}
	if _, ok := events[len(events)-1].(session.Closed); !ok {
		t.Errorf("the last event is %T, want the close", events[len(events)-1])
	}
	x.checkOverlaps(t, events)
	x.checkHistory(t)
	x.checkUsage(t)
	checkAttribution(t, x.s)
	for _, e := range x.usageEvents() {
		_, heard := e.(*metrics.STT)
		if tags := e.Head().Tags; tags.SessionID != x.s.ID() || tags.AgentID == "" || tags.AgentID == "task" || !heard && tags.SpeechID == "" && e.Type() != "eot_inference_metrics" {
			t.Errorf("it is not said on whose behalf this was used: %v", e)
		}
	}
	x.checkBudgets(t, events)
	for _, d := range x.detectors {
		if l := d.Ledger(); l.Open != 0 || l.Running != 0 {
			t.Errorf("a turn detector has %d streams and %d predictions after the close", l.Open, l.Running)
		}
	}
	for _, s := range x.servers {
		for i, what := range s.log {
			if (what == "close") != (i%2 == 1) || i == len(s.log)-1 && what != "close" {
				t.Errorf("a toolset has done %v, want a close after every setup", s.log)
				break
			}
		}
	}
	x.checkRuns(t)
}

func (x *random) checkStates(t *testing.T, events []session.Event) {
	was := agent.Initializing
	for _, e := range events {
		c, ok := e.(session.AgentStateChanged)
		if !ok {
			continue
		}
		allowed := false
		for _, to := range agentEdges[c.Old] {
			allowed = allowed || to == c.New
		}
		if c.Old != was || !allowed {
			t.Errorf("agent went from %s (%s) to %s", c.Old, was, c.New)
		}
		was = c.New
	}
}

// checkOverlaps: each is told once, of speech that was heard.
func (x *random) checkOverlaps(t *testing.T, events []session.Event) {
	var last time.Time
	for _, e := range events {
		o, ok := e.(session.OverlappingSpeech)
		if !ok {
			continue
		}
		heard := slices.ContainsFunc(x.room.Out.Segments(), func(seg sessiontest.Heard) bool {
			return !seg.Started.IsZero() && !o.StartedAt.Before(seg.Started) && (seg.Finished.IsZero() || !o.StartedAt.After(seg.Finished))
		})
		if !heard || !o.StartedAt.After(last) || o.Duration < 0 || o.Duration > o.When().Sub(o.StartedAt) || o.Interruption && o.AgentEnded {
			t.Errorf("overlap %+v, after one at %v", o, last)
		}
		last = o.StartedAt
	}
}

// checkHistory: times only grow, no words of the user are lost, nothing that was not played is there,
// and every output has its call before it.
func (x *random) checkHistory(t *testing.T) {
	var last time.Time
	texts := map[string]int{}
	calls := map[string]bool{}
	var heard int
	for it := range x.s.History().All() {
		if !it.Head().CreatedAt.After(last) {
			t.Errorf("%s is not later than the item before it", describe(it))
		}
		last = it.Head().CreatedAt
		switch it := it.(type) {
		case *chat.Message:
			if it.Role == chat.User {
				texts[it.Text()]++
			} else if heard++; it.Text() == "" {
				t.Error("an empty message of the agent")
			}
		case *chat.FunctionCall:
			calls[it.CallID] = true
		case *chat.FunctionCallOutput:
			if !calls[it.CallID] {
				t.Errorf("an output without its call: %s", describe(it))
			}
		}
	}
	played := 0
	for _, seg := range x.room.Out.Segments() {
		if seg.Played > 0 {
			played++
		}
	}
	if heard > played {
		t.Errorf("%d messages of the agent in the history, but only %d segments were heard", heard, played)
	}
	all := ""
	for text := range texts {
		all += text + "\n"
	}
	for _, typed := range x.typed {
		if texts[typed] != 1 {
			t.Errorf("typed text %q is %d times in the history", typed, texts[typed])
		}
	}
	for _, said := range x.heardBySTT() {
		if strings.Count(all, said) != 1 {
			t.Errorf("%q is %d times in the history", said, strings.Count(all, said))
		}
	}
}

// heardBySTT is what the STT has told the session.
func (x *random) heardBySTT() (texts []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.events {
		if u, ok := e.(session.UserInputTranscribed); ok && u.Final {
			texts = append(texts, u.Transcript)
		}
	}
	return texts
}

func (x *random) checkUsage(t *testing.T) {
	u := x.s.Usage()
	model, _ := u.LLM("scripted", "scripted")
	x.checkThinking(t, model, x.llm)
	voice, _ := u.TTS("script", "tts")
	if voice.CharactersCount != x.tts.chars {
		t.Errorf("TTS usage %d characters, the model was sent %d", voice.CharactersCount, x.tts.chars)
	}
	if x.shaky != nil {
		model, _ := u.LLM("shaky", "mind")
		x.checkThinking(t, model, x.shaky)
		voice, _ := u.TTS("hoarse", "voice")
		if n := x.hoarse.Ledger().Characters; voice.CharactersCount != n {
			t.Errorf("usage of the first TTS %d characters, it was sent %d", voice.CharactersCount, n)
		}
	}
	ears, _ := u.STT("script", "stt")
	if ears.AudioDuration != x.stt.heard {
		t.Errorf("STT usage %v, the model was sent %v", ears.AudioDuration, x.stt.heard)
	}
}

// checkThinking compares usage with what a model stated: it is exact if all was stated, and not less
// otherwise. How near estimates come is not for models that count words, and no tools.
func (x *random) checkThinking(t *testing.T, got metrics.LLMUsage, l *scripted.LLM) {
	t.Helper()
	stated, all := l.Stated(), true
	for _, s := range l.Ledger() {
		all = all && (s.Told || s.Usage.CompletionTokens == 0 && s.End == scripted.Broken)
	}
	in, out := got.InputTokens-stated.PromptTokens, got.OutputTokens-stated.CompletionTokens
	if in < 0 || out < 0 || all && (in > 0 || out > 0) {
		t.Errorf("LLM usage %+v; the model stated %+v of %+v", got, stated, l.Ledger())
	}
}
