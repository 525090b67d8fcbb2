package connpool

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

var errRefused = errors.New("wss://user:secret@host/?key=secret refused")

// fake is a connection of a world.
type fake struct {
	id         int
	generation int32 // of the world, when the dial began
	opened     time.Time
	idleSince  time.Time
	closes     atomic.Int32
	dead       chan struct{}
}

// behaviour is what a dial does.
type behaviour struct {
	delay     time.Duration
	err       error
	deaf      bool // does not listen to its context
	stillborn bool // dead when the dial returns
}

// world is the other side of a pool.
type world struct {
	dials      atomic.Int32
	generation atomic.Int32
	existing   atomic.Int32 // dialling, open or closing
	most       atomic.Int32

	mu         sync.Mutex
	script     []behaviour // of the next dials; then next
	next       behaviour
	closeDelay time.Duration
	closeErr   error
	conns      []*fake
}

func (w *world) options() Options[*fake] {
	return Options[*fake]{Dial: w.dial, Close: w.close, Dead: func(f *fake) <-chan struct{} { return f.dead }, Logger: quiet}
}

func (w *world) dial(ctx context.Context) (*fake, error) {
	w.mu.Lock()
	b := w.next
	if len(w.script) > 0 {
		b, w.script = w.script[0], w.script[1:]
	}
	generation := w.generation.Load()
	w.dials.Add(1)
	w.most.Store(max(w.most.Load(), w.existing.Add(1)))
	w.mu.Unlock()

	err := b.err
	if b.deaf {
		time.Sleep(b.delay)
	} else {
		select {
		case <-time.After(b.delay):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.existing.Add(-1)
		return nil, err
	}
	f := &fake{id: len(w.conns) + 1, generation: generation, opened: time.Now(), idleSince: time.Now(), dead: make(chan struct{})}
	if b.stillborn {
		close(f.dead)
	}
	w.conns = append(w.conns, f)
	return f, nil
}

func (w *world) close(f *fake) error {
	w.mu.Lock()
	delay := w.closeDelay
	f.closes.Add(1)
	w.mu.Unlock()
	time.Sleep(delay)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.existing.Add(-1)
	return w.closeErr
}

// all returns the connections that were dialled.
func (w *world) all() []*fake {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.conns)
}

// set changes how the world behaves.
func (w *world) set(change func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

func (f *fake) killed() bool {
	select {
	case <-f.dead:
		return true
	default:
		return false
	}
}

// kill lets the other side close f.
func (f *fake) kill() {
	if !f.killed() {
		close(f.dead)
	}
}

// bubble runs a test with a pool in a synctest bubble, closes the pool and checks that each
// connection was closed once.
func bubble(t *testing.T, set func(*world, *Options[*fake]), run func(*testing.T, *world, *Pool[*fake])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		o := w.options()
		if set != nil {
			set(w, &o)
		}
		p := New(o)
		run(t, w, p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("a lease or a dial is left over: %v", err)
		}
		synctest.Wait()
		for _, f := range w.all() {
			if n := f.closes.Load(); n != 1 {
				t.Errorf("connection %d was closed %d times", f.id, n)
			}
		}
	})
}

func acquire(t *testing.T, p *Pool[*fake]) *Lease[*fake] {
	t.Helper()
	l, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// result is what an Acquire in another goroutine gave.
type result struct {
	lease *Lease[*fake]
	err   error
	after time.Duration // how long it took
	end   time.Time     // when it returned

	// what was true then
	killed     bool
	generation int32
}

// start calls Acquire in another goroutine and returns when it waits or is done.
func start(ctx context.Context, p *Pool[*fake]) <-chan result { return startIn(ctx, p, new(world)) }

// startIn notes the state of w with the result.
func startIn(ctx context.Context, p *Pool[*fake], w *world) <-chan result {
	ch := make(chan result, 1)
	begun := time.Now()
	go func() {
		l, err := p.Acquire(ctx)
		r := result{lease: l, err: err, end: time.Now(), after: time.Since(begun), generation: w.generation.Load()}
		if l != nil {
			r.killed = l.Conn().killed()
		}
		ch <- r
	}()
	synctest.Wait()
	return ch
}

func (r result) must(t *testing.T) *Lease[*fake] {
	t.Helper()
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.lease
}

func wantFacts(t *testing.T, l *Lease[*fake], want Facts) {
	t.Helper()
	if got := l.Facts(); got != want {
		t.Errorf("facts %+v, want %+v", got, want)
	}
}

const s = time.Second
