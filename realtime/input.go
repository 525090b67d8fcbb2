package realtime

import (
	"context"
	"slices"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/realtime/driver"
)

// maxCommits is how many turns are remembered whose items are not known yet.
const maxCommits = 64

// preroll is how much audio before the news that the user speaks is sent again: his first sounds, and what
// was on its way.
const preroll = time.Second

// turns is what is known of the user's turns: which audio the model may not have heard. Positions count
// samples as in Session.in.
type turns struct {
	mark     int64 // end of the last turn
	speaking bool  // says the model
	from     int64 // where what he says now begins
	open     bool  // says the caller
	pending  []turn
	heard    int64 // samples of the turns that were sent over the present connection
}

// turn is one that is over, and of which neither a transcript nor an answer came.
type turn struct {
	from, to int64
	item     string // "" while it is not known
	over     time.Time
}

// keep is where audio begins that may have to be sent again.
func (s *Session) keep() int64 {
	t := &s.turns
	switch {
	case len(t.pending) > 0:
		return t.pending[0].from
	case s.o.ClientTurns:
		return t.mark
	case t.speaking:
		return t.from
	}
	return max(t.mark, s.next-s.samples(preroll))
}

func (s *Session) samples(d time.Duration) int64 {
	if s.mono == nil {
		return 0
	}
	return int64(audio.SamplesIn(d, s.mono.Out))
}

// forget drops the audio that nobody needs again.
func (s *Session) forget() { s.in.Forget(min(s.keep(), s.next)) }

// rewind makes everything unsent that the last connection may not have heard.
func (s *Session) rewind() {
	s.next = min(max(s.keep(), s.in.Base), s.in.Head)
	s.losing = false
}

// speechStarted takes the model's word for it.
func (s *Session) speechStarted() {
	t := &s.turns
	if !t.speaking {
		t.speaking, t.from = true, max(t.mark, s.next-s.samples(preroll))
	}
}

func (s *Session) speechStopped(item string) {
	t := &s.turns
	if t.speaking {
		t.speaking = false
		t.pending = append(t.pending, turn{from: t.from, to: s.next, item: item, over: time.Now()})
		t.heard += s.next - t.from
		t.mark = s.next
	}
}

// addressed says that an item holds what the user said last.
func (s *Session) addressed(item string) {
	t := &s.turns
	if slices.ContainsFunc(t.pending, func(p turn) bool { return p.item == item }) {
		return
	}
	if i := slices.IndexFunc(t.pending, func(p turn) bool { return p.item == "" }); i >= 0 {
		t.pending[i].item = item
	}
}

// reheard begins to count anew what a connection hears. Turns that the caller ended are sent again as they are, the
// others are found anew.
func (t *turns) reheard(committed bool) {
	t.heard = 0
	for _, p := range t.pending {
		if committed {
			t.heard += p.to - p.from
		}
	}
}

// understood says that the turn with the item, and those before, need not be heard again.
func (s *Session) understood(item string) {
	t := &s.turns
	i := slices.IndexFunc(t.pending, func(p turn) bool { return p.item == item })
	if i < 0 {
		i = slices.IndexFunc(t.pending, func(p turn) bool { return p.item == "" })
	}
	s.settleTurns(i + 1)
}

// answered says the same of all turns that are over.
func (s *Session) answered() { s.settleTurns(len(s.turns.pending)) }

func (s *Session) settleTurns(n int) {
	if n == 0 {
		return
	}
	until := s.turns.pending[n-1].to
	s.turns.pending = slices.Delete(s.turns.pending, 0, n)
	s.drop(func(o *op) bool { return o.turn && o.sent && o.at <= until })
	s.forget()
}

// StartTurn says that the user began to speak. This and the other two are for sessions with ClientTurns; they
// take effect in their place among the audio, and the error is ErrUnsupported if the model finds turns itself.
func (s *Session) StartTurn() error {
	return s.turn(func() {
		if !s.turns.open {
			s.turns.open = true
			s.queue(&op{key: "start", at: s.in.Head, turn: true, flush: true, send: onTurner(driver.Turner.StartTurn)})
		}
	})
}

// Commit says that the user's turn is over. It asks for no answer.
func (s *Session) Commit() error {
	return s.turn(func() {
		t := &s.turns
		t.pending = append(t.pending, turn{from: t.mark, to: s.in.Head, over: time.Now()})
		t.heard += s.in.Head - t.mark
		t.mark, t.open = s.in.Head, false
		s.queue(&op{key: commitKey, at: s.in.Head, turn: true, flush: true, send: onTurner(driver.Turner.Commit)})
	})
}

// Clear forgets the audio that was pushed since the last turn.
func (s *Session) Clear() error {
	return s.turn(func() {
		t := &s.turns
		s.drop(func(o *op) bool { return o.turn && o.key == "start" && o.at >= t.mark })
		t.mark, t.open = s.in.Head, false
		if s.c != nil {
			s.queue(&op{key: clearKey, at: s.in.Head, flush: true, send: onTurner(driver.Turner.Clear)})
		}
	})
}

func (s *Session) turn(f func()) error {
	s.mu.Lock()
	defer s.unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if !s.o.ClientTurns {
		return ErrUnsupported
	}
	f()
	return nil
}

func onTurner(f func(driver.Turner, context.Context) error) func(context.Context, driver.Conn) error {
	return func(ctx context.Context, d driver.Conn) error {
		if t, ok := d.(driver.Turner); ok {
			return f(t, ctx)
		}
		return ErrUnsupported
	}
}
