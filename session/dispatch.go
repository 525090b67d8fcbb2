package session

import (
	"log/slog"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
)

// dispatcher hands events to listeners. Each run has a goroutine that does so, in order: no user
// code runs on the session's loop.
type dispatcher struct {
	mu        sync.Mutex
	listeners []*listener
}

type listener struct {
	typ  reflect.Type
	call func(Event)
}

var anyEvent = reflect.TypeFor[Event]()

func (d *dispatcher) add(t reflect.Type, call func(Event)) (cancel func()) {
	l := &listener{t, call}
	d.mu.Lock()
	d.listeners = append(d.listeners, l)
	d.mu.Unlock()
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if i := slices.Index(d.listeners, l); i >= 0 {
			// A copy, since deliver may be walking over the old slice.
			d.listeners = slices.Delete(slices.Clone(d.listeners), i, i+1)
		}
	}
}

// wanted reports whether anybody listens to events of type t.
func (d *dispatcher) wanted(t reflect.Type) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.listeners, func(l *listener) bool { return l.typ == t || l.typ == anyEvent })
}

func (d *dispatcher) deliver(log *slog.Logger, e Event) {
	t := reflect.TypeOf(e)
	d.mu.Lock()
	ls := d.listeners
	d.mu.Unlock()
	for _, l := range ls {
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
