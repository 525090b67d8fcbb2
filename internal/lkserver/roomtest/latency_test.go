package roomtest

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/lkserver/caller"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	llmscripted "github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/stt"
	sttdriver "github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/tts"
	ttsscripted "github.com/parley-go/parley/tts/scripted"
	"github.com/parley-go/parley/vad"
	vadscripted "github.com/parley-go/parley/vad/scripted"
)

// settled is the silence after which the agent has stopped.
const settled = 150 * time.Millisecond

// voiced is when a caller hears the agent, packet by packet: frames come as soon as their packet does.
type voiced struct {
	mu    sync.Mutex
	first time.Time // since listen
	last  time.Time
}

func (v *voiced) hear(f audio.Frame, _ bool) {
	if audio.RMS(f.Data) < 0.05 { // the agent's tone has 0.2 and more
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = time.Now()
	if v.first.IsZero() {
		v.first = v.last
	}
}

// listen waits for the next voiced packet.
func (v *voiced) listen() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.first = time.Time{}
}

func (v *voiced) await(b *testing.B, what string, ok func(first, last time.Time) bool) (first, last time.Time) {
	b.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		v.mu.Lock()
		first, last = v.first, v.last
		v.mu.Unlock()
		if ok(first, last) {
			return first, last
		}
		if time.Now().After(end) {
			b.Fatalf("never happened: %s", what)
		}
	}
}

func (v *voiced) awaitFirst(b *testing.B) time.Time {
	b.Helper()
	first, _ := v.await(b, "the agent is heard", func(first, _ time.Time) bool { return !first.IsZero() })
	return first
}

func (v *voiced) awaitSilence(b *testing.B) time.Time {
	b.Helper()
	_, last := v.await(b, "the agent is silent", func(_, last time.Time) bool { return time.Since(last) > settled })
	return last
}

// prompter is a recogniser that understands what it is told to.
type prompter struct {
	texts chan string // size 0: sending means that the recogniser hands it over now
}

func (*prompter) Info() model.Info {
	return model.Info{Label: "bench.STT", Provider: "bench", Model: "stt"}
}
func (*prompter) Capabilities() sttdriver.Capabilities { return sttdriver.Capabilities{} }
func (p *prompter) Open(context.Context, sttdriver.Options) (sttdriver.Stream, error) {
	return &promptStream{texts: p.texts, end: make(chan struct{})}, nil
}

type promptStream struct {
	texts <-chan string
	end   chan struct{}
	once  sync.Once
}

func (*promptStream) Push(context.Context, audio.Frame) error { return nil }
func (*promptStream) Flush(context.Context) error             { return nil }
func (s *promptStream) CloseSend(context.Context) error       { return s.Close() }
func (s *promptStream) Close() error                          { s.once.Do(func() { close(s.end) }); return nil }
func (s *promptStream) Next(ctx context.Context) (*sttdriver.Event, error) {
	select {
	case text := <-s.texts:
		return &sttdriver.Event{Kind: sttdriver.Final, Alternatives: []sttdriver.Alternative{{Text: text}}}, nil
	case <-s.end:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// benchCall is a session in a room, and its caller.
func benchCall(b *testing.B, o session.Options) (*session.Session, *caller.Call, *voiced) {
	b.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	o.AECWarmup = opt.Off[time.Duration]()
	o.TTS = tts.New(ttsscripted.New(&ttsscripted.Options{Sine: true}), nil)
	s := session.New(o)
	if err := s.Start(b.Context(), &agent.Agent{}, joinAgent(b)); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	v := &voiced{}
	c := dial(b, "ann", &caller.Options{OnAudio: v.hear})
	if err := c.WaitAgent(b.Context()); err != nil {
		b.Fatal(err)
	}
	return s, c, v
}

// report states the middle and the worst of a hundred of what was measured.
func report(b *testing.B, name string, took []time.Duration) {
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	for _, p := range []struct {
		name string
		part int
	}{{"p50-ms", 50}, {"p99-ms", 99}} {
		b.ReportMetric(float64(took[len(took)*p.part/100].Microseconds())/1000, name+p.name)
	}
}

// BenchmarkBargeIn is how long the agent goes on when the user talks over it: from the first voiced packet
// of the caller to the last voiced packet of the agent at the caller, less the 500 ms that a sound must
// last to be an interruption (the default). decided- is from the decision on.
//
// A round is a second or so; run it with -benchtime=120x.
func BenchmarkBargeIn(b *testing.B) {
	const minDuration = 500 * time.Millisecond
	var o session.Options
	o.VAD = vad.New(vadscripted.New(&vadscripted.Options{MinSilence: 100 * time.Millisecond}))
	o.STT = stt.New(&prompter{}, nil) // so that a sound only pauses the agent, as it does by default
	o.TurnHandling.Interruption.MinDuration = opt.Some(minDuration)
	s, c, v := benchCall(b, o)
	decisions := make(chan time.Time, 1000) // more than there are in a round
	session.On(s, func(e session.AgentStateChanged) {
		if e.Old == agent.Speaking {
			decisions <- time.Now()
		}
	})
	endless := strings.Repeat("word ", 1000)
	voice := tone(300, minDuration+150*time.Millisecond)
	var took, decided []time.Duration
	for b.Loop() {
		v.listen()
		sp := s.Say(endless, nil)
		v.awaitFirst(b)
		// The packets of both sides do not keep time with each other.
		time.Sleep(60*time.Millisecond + rand.N(40*time.Millisecond))
		for len(decisions) > 0 {
			<-decisions
		}
		began := time.Now() // the first packet is sent at once
		if err := c.Say(b.Context(), voice); err != nil {
			b.Fatal(err)
		}
		last := v.awaitSilence(b)
		took = append(took, last.Sub(began)-minDuration)
		decided = append(decided, last.Sub(next(b, decisions)))
		if err := sp.Interrupt(true); err != nil {
			b.Fatal(err)
		}
		next(b, sp.Done())
	}
	report(b, "", took)
	report(b, "decided-", decided)
}

// BenchmarkFirstPacket is how long the caller waits for the answer once his words are known, as far as it
// is up to us: from the recogniser's final transcript, with an endpointing delay of 0 and a language model
// and a synthesiser that take no time, to the first voiced packet of the agent at the caller.
//
// A round is half a second or so; run it with -benchtime=300x.
func BenchmarkFirstPacket(b *testing.B) {
	var o session.Options
	texts := make(chan string)
	o.STT = stt.New(&prompter{texts}, nil)
	o.LLM = llm.New(llmscripted.New(&llmscripted.Options{Respond: func(int, *driver.Request) llmscripted.Answer {
		return llmscripted.Answer{Text: "Yes."}
	}}), nil)
	o.TurnHandling.Endpointing.MinDelay = opt.Some(time.Duration(0))
	s, _, v := benchCall(b, o)
	v.listen()
	s.Say("Hello.", nil)
	v.awaitFirst(b)
	var took []time.Duration
	for b.Loop() {
		v.awaitSilence(b)
		for s.AgentState() != agent.Listening {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(rand.N(20 * time.Millisecond))
		v.listen()
		began := time.Now()
		texts <- "Is it so?"
		took = append(took, v.awaitFirst(b).Sub(began))
	}
	v.awaitSilence(b)
	report(b, "", took)
}
