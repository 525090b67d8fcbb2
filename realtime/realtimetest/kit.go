package realtimetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

// kit is one case at work.
type kit struct {
	testing.TB
	h    Harness
	why  string
	p    Provider
	d    *watched
	m    *realtime.Model
	conn model.ConnOptions
	caps realtime.Capabilities

	mu     sync.Mutex
	answer func(Asked) Reply // of the case; nil answers Words
	asked  []Asked
	events []metrics.Event
	errors []model.ErrorEvent
	talks  []*talk // of the case's own goroutine
}

// words are what models answer unless a case wants something else.
const words = "The lights are on now."

// long is an answer that takes a while to say.
const long = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty."

// reply is the Answer of the scene.
func (k *kit) reply(a Asked) Reply {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, a)
	if k.answer == nil {
		return Reply{Text: words}
	}
	return k.answer(a)
}

// last is what the newest answer was made of.
func (k *kit) last() Asked {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.asked) == 0 {
		return Asked{}
	}
	return k.asked[len(k.asked)-1]
}

// check fails the case with its sentence and what was seen.
func (k *kit) check(ok bool, format string, args ...any) {
	k.Helper()
	if !ok {
		k.Logf("the contract: %s", k.why)
		k.Fatalf(format, args...)
	}
}

// Record implements metrics.Recorder.
func (k *kit) Record(_ context.Context, e metrics.Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = append(k.events, e)
}

func (k *kit) context() context.Context {
	return model.WithHooks(metrics.WithRecorder(k.Context(), k), &model.Hooks{OnError: func(_ context.Context, e model.ErrorEvent) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.errors = append(k.errors, e)
	}})
}

// errs are the error events until now.
func (k *kit) errs() []model.ErrorEvent {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]model.ErrorEvent(nil), k.errors...)
}

// eventsOf are the metrics events of type T until now.
func eventsOf[T metrics.Event](k *kit) (all []T) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.events {
		if t, ok := e.(T); ok {
			all = append(all, t)
		}
	}
	return all
}

// watched is the driver, and notes the connections that it makes.
type watched struct {
	driver.Realtime
	maxAge time.Duration // instead of the driver's

	mu       sync.Mutex
	connects int // asked for
	conns    []driver.Conn
}

// Capabilities implements driver.Realtime.
func (w *watched) Capabilities() driver.Capabilities {
	c := w.Realtime.Capabilities()
	c.MaxAge = w.maxAge
	return c
}

// Connect implements driver.Realtime.
func (w *watched) Connect(ctx context.Context, s *driver.Setup) (driver.Conn, error) {
	c, err := w.Realtime.Connect(ctx, s)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.connects++
	if err == nil {
		w.conns = append(w.conns, c)
	}
	return c, err
}

// made is how many connections were asked for, and those that came about.
func (w *watched) made() (asked int, conns []driver.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.connects, append([]driver.Conn(nil), w.conns...)
}

// same reports whether texts differ in white space only.
func same(a, b string) bool {
	return strings.Join(strings.Fields(a), " ") == strings.Join(strings.Fields(b), " ")
}

// has reports whether a turn of the role says text.
func (a *Asked) has(role, text string) bool {
	for _, t := range a.Turns {
		if t.Role == role && same(t.Text, text) {
			return true
		}
	}
	return false
}

// texts are the turns as text, for comparison.
func (a *Asked) texts() (all []string) {
	for _, t := range a.Turns {
		all = append(all, t.Role+": "+strings.Join(strings.Fields(t.Text), " "))
	}
	return all
}

// over closes all sessions.
func (k *kit) over() {
	for _, t := range k.talks {
		t.close()
	}
}

// noLeaks checks that connections are closed and that no error told the key.
func (k *kit) noLeaks() {
	k.Helper()
	var open int
	for range 500 {
		if open = k.p.Served().Open; open == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	k.check(open == 0, "%d connections are still open after the end", open)
	for _, e := range k.errs() {
		if k.h.Secret != "" {
			k.check(!strings.Contains(fmt.Sprintf("%v %+v", e.Err, e.Err), k.h.Secret), "an error contains the key")
		}
	}
}
