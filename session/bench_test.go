package session_test

import (
	"context"
	"io"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/stt"
	sttdriver "github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/vad"
	vaddriver "github.com/parley-go/parley/vad/driver"
)

// benchRoom is a transport with ears only. A frame is there whenever the benchmark asks for one.
type benchRoom struct {
	frame audio.Frame
	next  chan struct{} // size 0: sending means that the frame before was worked on
}

func newBenchRoom() *benchRoom {
	return &benchRoom{frame: audio.Silence(20*time.Millisecond, 16000, 1), next: make(chan struct{})}
}

func (b *benchRoom) Open(_ context.Context, h session.Host) (session.IO, error) {
	h.ParticipantLinked(session.Participant{Identity: "user", Kind: "standard"})
	return session.IO{AudioIn: b}, nil
}
func (b *benchRoom) Close(context.Context) error { return nil }
func (b *benchRoom) ReadFrame(ctx context.Context) (audio.Frame, error) {
	select {
	case <-b.next:
		return b.frame, nil
	case <-ctx.Done():
		return audio.Frame{}, io.EOF
	}
}

// benchVAD is sure of one thing for ever, and says it for every frame.
type benchVAD struct{ speaking bool }

func (benchVAD) Info() model.Info {
	return model.Info{Label: "bench.VAD", Provider: "bench", Model: "vad"}
}
func (b benchVAD) NewStream() (vaddriver.Stream, error) {
	return &benchVADStream{speaking: b.speaking}, nil
}

type benchVADStream struct {
	speaking bool
	e        vaddriver.Event
}

func (b *benchVADStream) Process(f audio.Frame, emit func(*vaddriver.Event)) error {
	d := f.Duration()
	b.e.Timestamp += d
	b.e.Kind = vaddriver.InferenceDone
	if b.speaking {
		b.e.SpeechDuration, b.e.RawSpeech, b.e.Probability = b.e.SpeechDuration+d, b.e.RawSpeech+d, 1
		if !b.e.Speaking {
			b.e.Kind, b.e.Speaking = vaddriver.StartOfSpeech, true
		}
	} else {
		b.e.SilenceDuration, b.e.RawSilence = b.e.SilenceDuration+d, b.e.RawSilence+d
	}
	emit(&b.e)
	return nil
}
func (*benchVADStream) Flush()                    {}
func (*benchVADStream) MinSilence() time.Duration { return 500 * time.Millisecond }
func (*benchVADStream) Close() error              { return nil }

// benchSTT understands what it is told to.
type benchSTT struct {
	texts chan string // size 0: sending means that the recogniser hands it over now
}

func (*benchSTT) Info() model.Info {
	return model.Info{Label: "bench.STT", Provider: "bench", Model: "stt"}
}
func (*benchSTT) Capabilities() sttdriver.Capabilities { return sttdriver.Capabilities{} }
func (b *benchSTT) Open(context.Context, sttdriver.Options) (sttdriver.Stream, error) {
	return &benchSTTStream{texts: b.texts, end: make(chan struct{})}, nil
}

type benchSTTStream struct {
	texts <-chan string
	end   chan struct{}
	once  sync.Once
}

func (*benchSTTStream) Push(context.Context, audio.Frame) error { return nil }
func (*benchSTTStream) Flush(context.Context) error             { return nil }
func (b *benchSTTStream) CloseSend(context.Context) error       { return b.Close() }
func (b *benchSTTStream) Close() error                          { b.once.Do(func() { close(b.end) }); return nil }
func (b *benchSTTStream) Next(ctx context.Context) (*sttdriver.Event, error) {
	select {
	case text := <-b.texts:
		return &sttdriver.Event{Kind: sttdriver.Final, Alternatives: []sttdriver.Alternative{{Text: text}}}, nil
	case <-b.end:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func startBench(b *testing.B, o session.Options, a *agent.Agent, t session.Transport) *session.Session {
	b.Helper()
	s := session.New(o)
	if err := s.Start(b.Context(), a, t); err != nil {
		b.Fatal(err)
	}
	return s
}

func closeBench(b *testing.B, s *session.Session) {
	b.Helper()
	if err := s.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkHearFrame is what one frame of 20 ms costs the ears and the loop, two handovers between
// goroutines included: read, VAD, its event on the loop, STT.
func BenchmarkHearFrame(b *testing.B) {
	for _, speaking := range []bool{false, true} {
		name := "silence"
		if speaking {
			name = "speech"
		}
		b.Run(name, func(b *testing.B) {
			room := newBenchRoom()
			s := startBench(b, session.Options{
				VAD: vad.New(benchVAD{speaking}), STT: stt.New(&benchSTT{}, nil),
			}, &agent.Agent{}, room)
			defer closeBench(b, s)
			for range 500 { // buffers grow to their size
				room.next <- struct{}{}
			}
			b.ReportAllocs()
			for b.Loop() {
				room.next <- struct{}{}
			}
		})
	}
}

// turnsPerCall is how many turns a conversation of BenchmarkTurnToRequest has.
const turnsPerCall = 50

// BenchmarkSessionUsage16Models asks a session that used 16 models what it spent.
func BenchmarkSessionUsage16Models(b *testing.B) {
	spent := make(chan struct{})
	a := &agent.Agent{OnEnter: func(ctx context.Context, _ *agent.RunContext) error {
		defer close(spent)
		for i := range 16 {
			metrics.Record(ctx, &metrics.LLM{
				Header:       metrics.Header{Metadata: metrics.Metadata{ModelName: "model-" + strconv.Itoa(i), ModelProvider: "bench"}},
				PromptTokens: 1200, PromptCachedTokens: 1000, CompletionTokens: 80,
			})
		}
		return nil
	}}
	s := startBench(b, session.Options{}, a, nil)
	defer closeBench(b, s)
	<-spent
	b.ReportAllocs()
	for b.Loop() {
		if n := len(s.Usage().Models); n != 16 {
			b.Fatalf("%d models", n)
		}
	}
}

// eventsPerCall is how many events a conversation of BenchmarkRecordInSession has. The ledger writes them when
// they are all told, as it does with those of real calls, which are much further apart.
const eventsPerCall = 2000

// BenchmarkRecordInSession is the whole path of a usage event: id, time, tags, the sums of the session, and
// whoever else is told.
func BenchmarkRecordInSession(b *testing.B) {
	l := openLedger(b)
	for name, o := range map[string]session.Options{
		"alone":  {},
		"budget": {HardBudget: session.Budget{Tokens: 1 << 60}},
		"ledger": {Recorder: l},
	} {
		b.Run(name, func(b *testing.B) {
			events := make([]metrics.LLM, eventsPerCall)
			var s *session.Session
			var ctx context.Context
			call := func() {
				begun := make(chan context.Context, 1) // one OnEnter
				s = startBench(b, o, &agent.Agent{OnEnter: func(ctx context.Context, _ *agent.RunContext) error {
					begun <- ctx // which ends with the session
					return nil
				}}, nil)
				ctx = <-begun
				if err := l.Sync(b.Context()); err != nil {
					b.Fatal(err)
				}
				for i := range events {
					events[i] = metrics.LLM{Header: metrics.Header{Metadata: metrics.Metadata{ModelName: "gpt-4.1", ModelProvider: "openai"}}, PromptTokens: 10}
				}
			}
			call()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i == len(events) {
					b.StopTimer()
					closeBench(b, s)
					call()
					i = 0
					b.StartTimer()
				}
				metrics.Record(ctx, &events[i])
				i++
			}
			b.StopTimer()
			closeBench(b, s)
		})
	}
}

func openLedger(b *testing.B) *ledger.Ledger {
	b.Helper()
	l, err := ledger.Open(filepath.Join(b.TempDir(), "ledger"), ledger.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return l
}
