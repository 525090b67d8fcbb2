package connpool

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
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
	generation int // of the world, when the dial began
	opened     time.Time
	idleSince  time.Time
	killed     bool
	closes     int
	dead       chan struct{}
}

// behaviour is what a dial does.
type behaviour struct {
	delay     time.Duration
	err       error
	deaf      bool // does not listen to its context
	stillborn bool // dead when the dial returns
}

// world is the other side of a pool. Its fields are set while nothing runs.
type world struct {
	mu         sync.Mutex
	script     []behaviour // of the next dials; then next
	next       behaviour
	closeDelay time.Duration
	closeErr   error
	generation int
	dials      int
	existing   int // dialling, open or closing
	most       int
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
	generation := w.generation
	w.dials++
	w.existing++
	w.most = max(w.most, w.existing)
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
		w.existing--
		return nil, err
	}
	f := &fake{id: len(w.conns) + 1, generation: generation, opened: time.Now(), idleSince: time.Now(), dead: make(chan struct{})}
	if b.stillborn {
		f.killed = true
		close(f.dead)
	}
	w.conns = append(w.conns, f)
	return f, nil
}

func (w *world) close(f *fake) error {
	w.mu.Lock()
	delay := w.closeDelay
	f.closes++
	w.mu.Unlock()
	time.Sleep(delay)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.existing--
	return w.closeErr
}

// kill lets the other side close f.
func (f *fake) kill() {
	if !f.killed {
		f.killed = true
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
		for _, f := range w.conns {
			if f.closes != 1 {
				t.Errorf("connection %d was closed %d times", f.id, f.closes)
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
	generation int
}

// start calls Acquire in another goroutine and returns when it waits or is done.
func start(ctx context.Context, p *Pool[*fake]) <-chan result { return startIn(ctx, p, new(world)) }

// startIn notes the state of w with the result.
func startIn(ctx context.Context, p *Pool[*fake], w *world) <-chan result {
	ch := make(chan result, 1)
	begun := time.Now()
	go func() {
		l, err := p.Acquire(ctx)
		r := result{lease: l, err: err, end: time.Now(), after: time.Since(begun), generation: w.generation}
		if l != nil {
			r.killed = l.Conn().killed
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
