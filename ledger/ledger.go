// Package ledger keeps what sessions spend in a file, as it happens, so that it is known also when
// the process is killed.
//
// A Ledger is a metrics.Recorder. Record puts the event in memory and returns; a goroutine writes what
// has come together 50 ms after the first of it. So a killed process (kill -9, out of memory) loses the
// events of its last moments, less than 250 ms of them, and one that ends in order loses none. What
// was written outlives the process, but not a power cut unless Sync was called since.
//
// Every record has a length and a checksum. A reader finds a record that was cut in the middle, or
// damaged, skips it and goes on behind it. Several programs may read a ledger (Read) while one writes it.
//
// Sessions begin and end in the ledger, and are settled when their report was delivered. Recover gives
// what is known of those that are not settled: the ones that died with their process.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/filelock"
	"github.com/parley-go/parley/metrics"
)

const (
	flushEvery = 50 * time.Millisecond  // from an event to the write of it
	retryEvery = time.Second            // while the file cannot be written
	noteWait   = 250 * time.Millisecond // for the record of a beginning, or of a settlement, to be written
	closeWait  = 5 * time.Second        // for the rest to be written
	roomAtOnce = 4096                   // events between two writes, without allocation
	maxPending = 1 << 16                // events that wait while the file cannot be written
	maxPayload = 1 << 20                // bytes of one record
	maxOut     = 1 << 22                // bytes that are written at once

	// DefaultMaxSize is the size of a file, in bytes, beyond which a ledger begins another.
	DefaultMaxSize = 64 << 20
)

// ErrInUse is returned by Open for a ledger that is being written, by this process or another.
var ErrInUse = filelock.ErrInUse

// ErrClosed is returned for a ledger that was closed.
var ErrClosed = errors.New("ledger is closed")

// Options of a ledger. The zero value is usable.
type Options struct {
	// MaxSize is how many bytes a file has before it is renamed to path.000001, path.000002 and so on,
	// and another is begun: default DefaultMaxSize. No file is ever deleted. Those that are needed no
	// more to recover sessions may be moved away.
	MaxSize int64
	// Logger is told when the file cannot be written, and when it can again; default slog.Default().
	Logger *slog.Logger
}

// Ledger is a ledger that is written. All methods may be called from any goroutine. Whoever opened it
// closes it.
type Ledger struct {
	path string
	opt  Options
	dead []*Session
	mem  *memory // without a path

	mu      sync.Mutex
	pending []any // metrics.Event or *note
	closed  bool
	stats   Stats

	wake  chan struct{} // size 1: there is something to write
	hurry chan struct{} // size 1: there is much
	asks  chan *ask     // size 0: the writer takes them one at a time
	stop  chan struct{}
	done  chan struct{}
	end   sync.Once

	w writer // of the writing goroutine
}

var _ metrics.Recorder = (*Ledger)(nil)

// Stats tell how a ledger fares.
type Stats struct {
	Events   uint64 // that were recorded
	Lost     uint64 // that were not: the file could not be written for too long, or the ledger was closed
	Failures uint64 // writes that failed, to be tried again
	Written  uint64 // bytes
}

// ask wants everything written that was recorded before.
type ask struct {
	durable bool
	done    chan error // size 1: the writer does not wait for who asked
}

// Open opens the ledger at path, or begins it, cuts a torn end off, and locks it against other writers
// (path.lock). A link is followed, so that two names of a ledger are one. A file that
// is something else is an error, and left as it is. With an empty path the ledger is kept in memory, the latest
// MaxSize bytes of it.
func Open(path string, o Options) (*Ledger, error) {
	path = resolve(path)
	if o.MaxSize <= 0 {
		o.MaxSize = DefaultMaxSize
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	l := &Ledger{path: path, opt: o, pending: make([]any, 0, roomAtOnce),
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), asks: make(chan *ask),
		stop: make(chan struct{}), done: make(chan struct{})}
	l.w = writer{l: l, spare: make([]any, 0, roomAtOnce), open: make(map[string]int)}
	if err := l.w.begin(); err != nil {
		return nil, fmt.Errorf("opening ledger: %w", err)
	}
	go l.w.run()
	return l, nil
}

// Recover returns the sessions that were not settled when the ledger was opened, in the order of their
// beginning. They come again at every opening until Settle is called for them.
func (l *Ledger) Recover() []*Session { return l.dead }

// Record implements metrics.Recorder. It neither blocks nor fails. Events of voice activity detection
// are left out: they are many, and no usage.
func (l *Ledger) Record(_ context.Context, e metrics.Event) {
	if _, idle := e.(*metrics.VAD); !idle && e != nil {
		l.put(e, maxPending)
	}
}

// put queues an event or a note, unless there are limit already.
func (l *Ledger) put(x any, limit int) {
	l.mu.Lock()
	_, event := x.(metrics.Event)
	if l.closed || len(l.pending) >= limit {
		if event {
			l.stats.Lost++
		}
		l.mu.Unlock()
		return
	}
	if event {
		l.stats.Events++
	}
	l.pending = append(l.pending, x)
	n := len(l.pending)
	l.mu.Unlock()
	switch n {
	case 1:
		signal(l.wake)
	case roomAtOnce / 2:
		signal(l.hurry)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it was told already
	}
}

// Begin records that a session, or a job, begins. It returns when that was written, after 250 ms at the most, so
// that a session that was begun is known whatever happens.
func (l *Ledger) Begin(s Start) { l.note(s.note(), true) }

// Tag records that a session has these tags from now on, and no others. It implements session.TagRecorder.
func (l *Ledger) Tag(sessionID string, tags map[string]string) {
	l.note(&note{kind: KindTags, SessionID: sessionID, At: unix(time.Now()), Tags: tags}, false)
}

// End records that what began with this Start.ID ended.
func (l *Ledger) End(id string, e End) { l.note(e.note(id), false) }

// Delivered records that one of several sinks has the report of what began with this Start.ID, so that it
// does not get another one if the others do. It is written at once, but not waited for.
func (l *Ledger) Delivered(id, sink string) {
	l.note(&note{kind: KindDelivered, SessionID: id, Sink: sink, At: unix(time.Now())}, false)
	signal(l.hurry)
}

// Settle records that the report of what began with this Start.ID was delivered, so that it is not
// recovered any more. It returns when that was written, after 250 ms at the most.
func (l *Ledger) Settle(id string) {
	l.note(&note{kind: KindSettled, SessionID: id, At: unix(time.Now())}, true)
}

// note queues n. Notes are few and have no limit.
func (l *Ledger) note(n *note, wait bool) {
	l.put(n, int(^uint(0)>>1))
	if wait {
		ctx, cancel := context.WithTimeout(context.Background(), noteWait)
		defer cancel()
		_ = l.flushed(ctx, false) // the writer logs what is wrong
	}
}

// Sync returns when everything that was recorded before is written and safe from a power cut, or ctx
// ends. The error is of the write; what could not be written is tried again all the same.
func (l *Ledger) Sync(ctx context.Context) error {
	if err := l.flushed(ctx, true); err != nil {
		return fmt.Errorf("writing ledger: %w", err)
	}
	return nil
}

func (l *Ledger) flushed(ctx context.Context, durable bool) error {
	a := &ask{durable: durable, done: make(chan error, 1)}
	select {
	case l.asks <- a:
	case <-l.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close writes what was recorded and closes the ledger. It takes 5 s at the most. What is recorded
// later is lost, and counted as such. Closing again does nothing.
func (l *Ledger) Close() error {
	err := error(nil)
	l.end.Do(func() {
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		close(l.stop)
		t := time.NewTimer(closeWait)
		defer t.Stop()
		select {
		case <-l.done:
			err = l.w.err
		case <-t.C:
			err = errors.New("the last write takes too long")
		}
	})
	if err != nil {
		return fmt.Errorf("closing ledger: %w", err)
	}
	return nil
}

// Stats tells how the ledger fares.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}
