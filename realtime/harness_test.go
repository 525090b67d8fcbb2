package realtime_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/scripted"
)

// talk is a session with a scripted model, and everything that it told.
type talk struct {
	testing.TB
	log    modeltest.Log
	script *scripted.Realtime
	s      *realtime.Session
	mu     sync.Mutex
	events []string // printed
	gens   []*realtime.Generation
	err    error // of Next
	read   chan struct{}
	swap   func(*realtime.Swapping)
}

// run holds a conversation in a bubble.
func run(t *testing.T, o *scripted.Options, so *realtime.SessionOptions, f func(k *talk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		script := scripted.New(o)
		k := &talk{TB: t, script: script}
		k.open(realtime.New(script, nil), so)
		f(k)
		k.close()
	})
}

func (k *talk) open(m *realtime.Model, so *realtime.SessionOptions) {
	k.Helper()
	s, err := m.Session(k.log.Context(k.Context()), so)
	if err != nil {
		k.Fatal(err)
	}
	k.s, k.read = s, make(chan struct{})
	go func() {
		defer close(k.read)
		for {
			e, err := s.Next()
			if err != nil {
				k.err = err
				return
			}
			k.mu.Lock()
			k.events = append(k.events, describe(e))
			k.mu.Unlock()
			switch e := e.(type) {
			case *realtime.GenerationCreated:
				k.gens = append(k.gens, e.Generation)
			case *realtime.Swapping:
				if k.swap != nil {
					k.swap(e)
				}
			}
		}
	}()
	synctest.Wait()
}

// close ends the session and checks that nothing is left over.
func (k *talk) close() {
	k.Helper()
	for range 2 {
		if err := k.s.Close(); err != nil {
			k.Error(err)
		}
	}
	<-k.read
	if k.script != nil {
		if l := k.script.Ledger(); l.Open != 0 {
			k.Errorf("%d connections are open after Close", l.Open)
		}
		k.billed()
	}
}

// billed checks that the usage that was booked is what the script stated. What it did not state is estimated, see
// TestWhatIsNotStatedIsEstimated.
func (k *talk) billed() {
	k.Helper()
	l := k.script.Ledger()
	want := l.Stated()
	var in, out, total, audioIn, cached, audioOut int64
	for _, e := range modeltest.Events[*metrics.Realtime](&k.log) {
		if e.Source == metrics.Estimated {
			continue
		}
		in, out, total = in+e.InputTokens, out+e.OutputTokens, total+e.TotalTokens
		audioIn, cached, audioOut = audioIn+e.InputTokenDetails.AudioTokens, cached+e.InputTokenDetails.CachedTokens, audioOut+e.OutputTokenDetails.AudioTokens
	}
	got := fmt.Sprint(in, out, total, audioIn, cached, audioOut)
	if want := fmt.Sprint(want.InputTokens, want.OutputTokens, want.TotalTokens, want.Input.AudioTokens, want.Input.CachedTokens, want.Output.AudioTokens); got != want {
		k.Errorf("booked %s, the script billed %s: %+v", got, want, l.Responses)
	}
}

func describe(e realtime.Event) string {
	switch e := e.(type) {
	case *realtime.SpeechStarted:
		return "started"
	case *realtime.SpeechStopped:
		return "stopped " + e.ItemID
	case *realtime.Transcript:
		return fmt.Sprintf("transcript %s %q final %v", e.ItemID, e.Text, e.Final)
	case *realtime.GenerationCreated:
		return "generation " + e.Generation.ResponseID()
	case *realtime.Interrupted:
		return "interrupted " + e.Generation.ResponseID()
	case *realtime.ItemAdded:
		return fmt.Sprintf("item %s after %q", e.Item.Head().ID, e.After)
	case *realtime.ToolCallsCancelled:
		return "calls cancelled " + strings.Join(e.CallIDs, " ")
	case *realtime.Reconnected:
		return fmt.Sprintf("reconnected to %s swapped %v cut %v", e.Info.Provider, e.Swapped, e.Cut)
	case *realtime.Swapping:
		return fmt.Sprintf("swapping %s to %s cut %v", e.From.Provider, e.To.Provider, e.Cut)
	}
	return fmt.Sprintf("%T", e)
}

// expect compares what happened with what should have.
func (k *talk) expect(what string, got []string, want ...string) {
	k.Helper()
	if g, w := strings.Join(got, "\n\t"), strings.Join(want, "\n\t"); g != w {
		k.Errorf("%s:\n\t%s\nwant\n\t%s", what, g, w)
	}
}

// told returns the events since the last call.
func (k *talk) told() []string {
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.events
	k.events = nil
	return e
}

const step = 20 * time.Millisecond

// hear pushes sound or silence in real time.
func (k *talk) hear(d time.Duration, loud bool) {
	k.Helper()
	f := audio.Silence(step, 16000, 1)
	if loud {
		f = sound(step)
	}
	for range int(d / step) {
		if err := k.s.Push(f); err != nil {
			return // the session is over, as the test will find
		}
		time.Sleep(step)
	}
	synctest.Wait()
}

func sound(d time.Duration) audio.Frame {
	f := audio.Silence(d, 16000, 1)
	for i := range f.Data {
		f.Data[i] = 2000
	}
	return f
}

// speak is an utterance, with the silence that ends it.
func (k *talk) speak() {
	k.Helper()
	k.hear(time.Second, true)
	k.hear(500*time.Millisecond, false)
}

// answer is all of a generation.
type answer struct {
	text  string
	audio time.Duration
	calls []string
	items []string
	err   error // of the messages; nil for a good end
}

func (a answer) String() string {
	return fmt.Sprintf("%q %v %v %v", a.text, a.audio, a.calls, a.err)
}

func (k *talk) collect(g *realtime.Generation) (a answer) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), time.Hour)
	defer cancel()
	for {
		m, err := g.NextMessage(ctx)
		if err != nil {
			a.note(err)
			break
		}
		a.items = append(a.items, m.ID())
		for {
			text, err := m.NextText(ctx)
			if a.text += text; err != nil {
				a.note(err)
				break
			}
		}
		for {
			f, err := m.NextAudio(ctx)
			if a.audio += f.Duration(); err != nil {
				a.note(err)
				break
			}
		}
	}
	for {
		c, err := g.NextCall(ctx)
		if err != nil {
			a.note(err)
			return a
		}
		a.calls = append(a.calls, c.Name+" "+c.Arguments)
	}
}

func (a *answer) note(err error) {
	if a.err == nil && !errors.Is(err, io.EOF) {
		a.err = err
	}
}

// generate asks for an answer and reads it.
func (k *talk) generate(r *realtime.Request) answer {
	k.Helper()
	g, err := k.s.Generate(k.Context(), r)
	if err != nil {
		return answer{err: err}
	}
	return k.collect(g)
}

// errorsTold are the error events so far, printed with whether they were recoverable.
func (k *talk) errorsTold() (out []string) {
	synctest.Wait() // what is told follows what it is about
	for _, e := range k.log.Errors() {
		how := "final"
		if e.Recoverable {
			how = "recoverable"
		}
		out = append(out, how+": "+e.Err.Error())
	}
	return out
}

// recoverable says of each error event so far whether it was recoverable.
func (k *talk) recoverable() []bool {
	synctest.Wait()
	return k.log.Recoverable()
}

func (k *talk) accounts() (out []string) {
	synctest.Wait()
	for _, e := range modeltest.Events[*metrics.Realtime](&k.log) {
		out = append(out, fmt.Sprintf("%s %s %v", e.RequestID, e.Outcome, e.Cancelled))
	}
	return out
}

var down = &model.Error{Kind: model.KindConnection, Provider: "scripted", Op: "break"}
