package conservation

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/vad"
	vadscripted "github.com/parley-go/parley/vad/scripted"
)

// world is some sessions that run at once, and the models and providers that they share.
type world struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand

	boxes  []*box
	vad    *vad.Model
	llm    *llm.Model
	stt    *stt.Model
	tts    *tts.Model
	rt     *realtime.Model // in place of the others; nil for none
	closes []func() error
	minds  []*llm.Model
	spent  metrics.Collector // outside of the sessions
	over   chan struct{}     // closed when the faults are to end

	mu      sync.Mutex
	weather []string // what went wrong, and when
	began   time.Time
}

// box is a provider.
type box struct {
	*sandbox.Server
	name   string
	faults []fault.Kind
}

// The faults that providers of a kind have.
var (
	always = []fault.Kind{fault.Refuse, fault.SlowDial, fault.CloseEarly, fault.Unauthorized, fault.RateLimit, fault.ServerError,
		fault.Silence, fault.Reset, fault.HangUp, fault.HalfOpen, fault.Stall, fault.Malformed, fault.Empty, fault.DoubleFinal, fault.Slow}
	stating = []fault.Kind{fault.UsageMissing, fault.UsageRepeated}
)

// newWorld makes a world whose models come from a provider or two of each kind.
func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), over: make(chan struct{}), began: time.Now()}
	w.vad = vad.New(vadscripted.New(nil))
	s := &script{rng: rand.New(rand.NewPCG(seed, 2))}
	once := model.ConnOptions{MaxRetry: -1, Timeout: 3 * time.Second}
	if w.rng.IntN(3) == 0 {
		w.rt = w.converser(s)
	}
	if w.llm = pick(w, "llm", minds(s)); w.rng.IntN(2) == 0 {
		w.llm = llm.Fallback(&llm.FallbackOptions{Conn: once, ProbeAfter: 5 * time.Second}, w.llm, pick(w, "llm", minds(s)))
	}
	if w.stt = pick(w, "stt", ears); w.rng.IntN(2) == 0 {
		w.stt = stt.Fallback(&stt.FallbackOptions{VAD: w.vad, ProbeAfter: 5 * time.Second}, w.stt, pick(w, "stt", ears))
	}
	if w.tts = pick(w, "tts", mouths); w.rng.IntN(2) == 0 {
		w.tts = tts.Fallback(&tts.FallbackOptions{Conn: once, ProbeAfter: 5 * time.Second}, w.tts, pick(w, "tts", mouths))
	}
	w.warm()
	w.closes = append([]func() error{w.llm.Close, w.tts.Close}, w.closes...) // a Fallback before its models
	return w
}

// pick makes a model of one of the providers.
func pick[M any](w *world, kind string, list []provider[M]) M {
	p := list[w.rng.IntN(len(list))]
	srv, _ := sandbox.InMemory(w.t)
	b := &box{Server: srv, name: kind + " of " + p.name, faults: always}
	if kind != "tts" {
		b.faults = append(b.faults[:len(b.faults):len(b.faults)], stating...)
	} else { // text into a dead connection counts as sent, and is billed by nobody
		b.faults = slices.DeleteFunc(slices.Clone(b.faults), func(k fault.Kind) bool { return k == fault.HalfOpen })
	}
	w.boxes = append(w.boxes, b)
	m, err := p.on(srv)
	if err != nil {
		w.t.Fatalf("%s: %v", b.name, err)
	}
	if m, ok := any(m).(*llm.Model); ok {
		w.minds = append(w.minds, m)
	}
	if c, ok := any(m).(io.Closer); ok {
		w.closes = append(w.closes, c.Close)
	}
	return m
}

// warm has models state their usage whose prompt with tools nobody can guess.
func (w *world) warm() {
	for _, m := range w.minds {
		if m.Info().Provider != "anthropic" {
			continue
		}
		c := &chat.Context{}
		c.Add(chat.NewMessage(chat.User, "Is there anything free on Friday?"))
		s := m.Chat(metrics.WithRecorder(context.Background(), &w.spent), &llm.Request{Messages: c, Tools: (&talk{w: w, rng: w.rng}).newAgent().Tools})
		if _, _, err := s.Collect(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// trouble has things go wrong at random until the end.
func (w *world) trouble(rng *rand.Rand) {
	for {
		select {
		case <-time.After(time.Duration(rng.IntN(8000)) * time.Millisecond):
		case <-w.over:
			return
		}
		b := w.boxes[rng.IntN(len(w.boxes))]
		p := fault.Plan{Kind: b.faults[rng.IntN(len(b.faults))], Times: 1 + rng.IntN(3)}
		b.Plan(p)
		w.log("%s: %s, %d times", b.name, p.Kind, p.Times)
	}
}

func (w *world) log(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.weather = append(w.weather, fmt.Sprintf("%8.3f ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

// settle waits until no provider works any more, and closes everything.
func (w *world) settle() {
	for _, c := range w.closes {
		if err := c(); err != nil {
			w.t.Errorf("closing a model: %v", err)
		}
	}
	synctest.Wait()
	for _, b := range w.boxes {
		for limit := time.Now().Add(time.Minute); b.Open() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				w.t.Errorf("%s: %d calls are still open", b.name, b.Open())
				break
			}
		}
		_ = b.Close()
	}
}

// run has n sessions talk at once, and checks that what they have spent is what the providers bill.
func run(t *testing.T, seed uint64, n int) {
	w := newWorld(t, seed)
	var faults, talks sync.WaitGroup
	troubled := w.rng.IntN(4) > 0
	if rng := rand.New(rand.NewPCG(seed, 3)); troubled {
		faults.Go(func() { w.trouble(rng) })
	}
	all := make([]*talk, n)
	for i := range all {
		all[i] = w.newTalk(i)
		talks.Go(all[i].run)
	}
	talks.Wait()
	close(w.over)
	faults.Wait()
	w.settle()
	w.compare(all)
	if t.Failed() {
		t.Logf("seed %d, repeat with -run TestUsageConservation -conservation.seed=%d\n%s", seed, seed, w.story(all))
	}
}

// story is what happened.
func (w *world) story(all []*talk) string {
	var s strings.Builder
	for _, b := range w.boxes {
		fmt.Fprintf(&s, "%s: %d calls, %d dials\n", b.name, b.Calls(), b.Dials())
		for _, u := range b.Ledger.Billed().Models {
			fmt.Fprintf(&s, "    billed %v\n", u)
		}
		for _, u := range b.Ledger.Stated().Models {
			fmt.Fprintf(&s, "    stated %v\n", u)
		}
	}
	for _, x := range all {
		s.WriteString(x.story())
	}
	for _, l := range w.weather {
		s.WriteString(l + "\n")
	}
	return s.String()
}
