package session

import (
	"log/slog"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

// dispatcher hands events to listeners. Each run has a goroutine that does so, in order: no user
// code runs on the session's loop.
type dispatcher struct {
	mu        sync.Mutex                  // of whoever changes them
	listeners atomic.Pointer[[]*listener] // never changed, but replaced
}

type listener struct {
	typ  reflect.Type
	call func(Event)
}

var anyEvent = reflect.TypeFor[Event]()

func (d *dispatcher) all() []*listener {
	if p := d.listeners.Load(); p != nil {
		return *p
	}
	return nil
}

func (d *dispatcher) change(f func(all []*listener) []*listener) {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := f(slices.Clone(d.all()))
	d.listeners.Store(&next)
}

func (d *dispatcher) add(t reflect.Type, call func(Event)) (cancel func()) {
	l := &listener{t, call}
	d.change(func(all []*listener) []*listener { return append(all, l) })
	return func() {
		d.change(func(all []*listener) []*listener {
			return slices.DeleteFunc(all, func(o *listener) bool { return o == l })
		})
	}
}

// wanted reports whether anybody listens to events of type t.
func (d *dispatcher) wanted(t reflect.Type) bool {
	for _, l := range d.all() {
		if l.typ == t || l.typ == anyEvent {
			return true
		}
	}
	return false
}

func (d *dispatcher) deliver(log *slog.Logger, e Event) {
	t := reflect.TypeOf(e)
	for _, l := range d.all() {
		if l.typ == t || l.typ == anyEvent {
			call(log, l, e)
		}
	}
}

func call(log *slog.Logger, l *listener, e Event) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("listener panicked", "event", e.EventType(), "panic", p, "stack", string(debug.Stack()))
		}
	}()
	l.call(e)
}
