package ledger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/filelock"
	"github.com/parley-go/parley/metrics"
)

// writer is the goroutine that writes a ledger.
type writer struct {
	l     *Ledger
	f     output // nil: could not be opened again
	lock  io.Closer
	size  int64
	limit int64 // beyond which another file is begun
	file  int   // its number
	spare []any // changes places with Ledger.pending
	out   []byte
	in    uint64         // events in out
	open  map[string]int // sessions that are not settled, and the file they begin in
	fails bool           // the last write did
	err   error          // of the end
}

// output is a file, or memory.
type output interface {
	io.WriteCloser
	Sync() error
}

// begin opens the file, and reads what of it is needed.
func (w *writer) begin() (err error) {
	w.limit = w.l.opt.MaxSize
	if w.l.path == "" {
		w.l.mem = &memory{}
		w.f = w.l.mem
		return nil
	}
	if w.lock, err = filelock.Lock(w.l.path + ".lock"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.lock.Close()
		}
	}()
	if err = w.openFile(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.f.Close()
		}
	}()
	all, err := files(w.l.path)
	if err != nil {
		return err
	}
	defer closeAll(all)
	var b book
	damage, err := b.readAll(all)
	if err != nil {
		return err // and not cut what may be there
	}
	if damage != nil {
		w.l.opt.Logger.Warn("the ledger has damaged places, what is around them was read", "path", w.l.path, "err", damage)
	}
	w.l.dead = b.sessions()
	for _, s := range w.l.dead {
		w.open[s.ID()] = s.file
	}
	w.file = max(b.last, 1)
	if len(all) > 1 { // also when the record about the file is damaged
		w.file = max(w.file, all[len(all)-2].number+1)
	}
	w.size = all[len(all)-1].good // of the one that was just opened
	if w.size == 0 {
		if err = checkOurs(w.l.path); err != nil {
			return err
		}
	}
	if err = os.Truncate(w.l.path, w.size); err != nil {
		return err
	}
	w.head()
	return w.write()
}

func (w *writer) openFile() error {
	f, err := os.OpenFile(w.l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err == nil {
		w.f = f
	}
	return err
}

// head begins a file with a record about it, if it is empty.
func (w *writer) head() {
	if w.size > 0 {
		return
	}
	first := w.file
	for _, n := range w.open {
		first = min(first, n)
	}
	w.add(&note{kind: kindFile, At: unix(time.Now()), Number: w.file, First: first})
}

// run writes until the ledger is closed.
func (w *writer) run() {
	defer close(w.l.done)
	for {
		select {
		case <-w.l.wake:
			a := w.gather()
			w.answer(a, w.flush())
		case a := <-w.l.asks:
			w.answer(a, w.flush())
		case <-w.again():
			_ = w.flush()
		case <-w.l.stop:
			w.finish()
			return
		}
	}
}

// gather waits for more to write, unless somebody is in a hurry.
func (w *writer) gather() *ask {
	t := time.NewTimer(flushEvery)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.l.hurry:
	case a := <-w.l.asks:
		return a
	case <-w.l.stop:
	}
	return nil
}

// again fires when a write that failed is to be tried again; it is nil when there is none.
func (w *writer) again() <-chan time.Time {
	if !w.fails {
		return nil
	}
	return time.After(retryEvery)
}

func (w *writer) answer(a *ask, err error) {
	if a == nil {
		return
	}
	if err == nil && a.durable && w.f != nil {
		err = w.f.Sync()
	}
	a.done <- err
}

func (w *writer) finish() {
	w.err = w.flush()
	if w.f != nil {
		w.err = errors.Join(w.err, w.f.Sync(), w.f.Close())
	}
	w.l.mu.Lock()
	w.l.stats.Lost += w.in
	for _, x := range w.l.pending {
		if _, ok := x.(metrics.Event); ok {
			w.l.stats.Lost++
		}
	}
	w.l.mu.Unlock()
	if w.lock != nil {
		w.lock.Close()
	}
}

// flush writes everything that was recorded. While the file cannot be written the events stay where
// they are, so that the memory they take is bounded.
func (w *writer) flush() error {
	if err := w.write(); err != nil {
		return err
	}
	w.l.mu.Lock()
	items := w.l.pending
	w.l.pending = w.spare[:0]
	w.l.mu.Unlock()
	var err error
	for _, x := range items {
		if err == nil && (len(w.out) >= maxOut || w.size+int64(len(w.out)) >= w.limit) {
			if err = w.write(); err == nil && w.size >= w.limit {
				w.rotate()
			}
		}
		w.add(x)
	}
	clear(items)
	if cap(items) > 4*roomAtOnce {
		items = make([]any, 0, roomAtOnce) // after a rush
	}
	w.spare = items[:0]
	if err != nil {
		return err
	}
	return w.write()
}

// add frames an event or a note behind what is to be written.
func (w *writer) add(x any) {
	n, isNote := x.(*note)
	var ok bool
	w.out, ok = appendFrame(w.out, func(b []byte) []byte { return encode(b, x) })
	switch {
	case !isNote && ok:
		w.in++
	case !isNote:
		w.l.mu.Lock()
		w.l.stats.Lost++
		w.l.mu.Unlock()
	case n.kind == KindStart:
		id := cmp.Or(n.SessionID, n.JobID)
		if _, known := w.open[id]; !known && id != "" {
			w.open[id] = w.file
		}
		if n.SessionID != "" {
			delete(w.open, n.JobID)
		}
	case n.kind == KindSettled:
		delete(w.open, n.SessionID)
	}
}

// write writes out. What a full disk leaves of a record is written when there is room again, so that the
// record is whole in the end.
func (w *writer) write() error {
	if len(w.out) == 0 {
		return nil
	}
	var n int
	var err error
	if w.f == nil {
		err = w.openFile()
	}
	if err == nil {
		n, err = w.f.Write(w.out)
	}
	w.size += int64(n)
	w.out = append(w.out[:0], w.out[n:]...)
	w.l.mu.Lock()
	w.l.stats.Written += uint64(n)
	if err != nil {
		w.l.stats.Failures++
	}
	lost := w.l.stats.Lost
	w.l.mu.Unlock()
	switch {
	case err != nil && !w.fails:
		w.l.opt.Logger.Error("the ledger cannot be written, events wait in memory", "path", w.l.path, "err", err)
	case err == nil && w.fails:
		w.l.opt.Logger.Info("the ledger can be written again", "path", w.l.path, "lost_events", lost)
	}
	w.fails = err != nil
	if err == nil {
		w.in = 0
		if cap(w.out) > maxOut {
			w.out = nil
		}
	}
	return err
}

// rotate begins another file. The file is closed before it is renamed, as some systems want.
func (w *writer) rotate() {
	if m, ok := w.f.(*memory); ok {
		m.clear()
	} else if err := w.rename(); err != nil {
		w.limit = w.size + w.l.opt.MaxSize // it goes on growing, and is tried again then
		w.l.opt.Logger.Error("the ledger cannot begin another file", "path", w.l.path, "err", err)
		return
	}
	w.file++
	w.size, w.limit = 0, w.l.opt.MaxSize
	w.head()
}

func (w *writer) rename() error {
	err := errors.Join(w.f.Sync(), w.f.Close())
	w.f = nil // write opens it again
	if err != nil {
		return err
	}
	return os.Rename(w.l.path, fmt.Sprintf("%s.%06d", w.l.path, w.file))
}

// memory is a ledger without a file.
type memory struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (m *memory) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.buf.Write(b)
}

func (m *memory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.buf.Reset()
}

func (m *memory) copy() *bytes.Reader {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.NewReader(bytes.Clone(m.buf.Bytes()))
}

func (m *memory) Sync() error  { return nil }
func (m *memory) Close() error { return nil }

// Read gives what was written so far, as the function Read does, of a ledger in memory too.
func (l *Ledger) Read() iter.Seq2[Record, error] {
	if l.path != "" {
		return Read(l.path)
	}
	return func(yield func(Record, error) bool) {
		f := file{path: "in memory"}
		f.scan(l.mem.copy(), func(r Record, _ *note, err error) bool { return r.Kind == kindFile || yield(r, err) })
	}
}
