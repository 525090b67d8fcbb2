package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/filelock"
)

// outbox is a folder where reports wait until they are sent. One goroutine sends what waits, one after
// another: a receiver that is down is asked seldom, whatever waits for it. What was not tried yet comes
// first, so that a report that the receiver cannot stand holds up the others for one pause at the most.
type outbox struct {
	dir    string
	giveUp time.Duration
	send   func(ctx context.Context, data []byte) error
	log    *slog.Logger
	lock   io.Closer
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{} // size 1: there is something to do

	mu       sync.Mutex
	fresh    []string  // names of the files that wait and were not tried since the start
	tried    []string  // of those that were
	failures int       // in a row
	until    time.Time // nothing is tried before
	dead     int
}

// finalError is of an attempt that is not repeated.
type finalError struct{ error }

// laterError is of an attempt that is not to be repeated before some time.
type laterError struct {
	error
	after time.Duration
}

const (
	deadLetters = "dead" // folder of what was given up
	lockName    = ".lock"
	minPause    = time.Second
	maxPause    = 5 * time.Minute
	maxLater    = time.Hour // that a receiver can ask for
)

// openOutbox takes the folder for itself, and goes on with what waits there.
func openOutbox(dir string, giveUp time.Duration, send func(context.Context, []byte) error, log *slog.Logger) (*outbox, error) {
	lock, err := filelock.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("opening outbox: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("opening outbox: %w", err)
	}
	o := &outbox{dir: dir, giveUp: giveUp, send: send, log: log, lock: lock, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	for _, e := range entries { // sorted by name, and so by age
		switch {
		case strings.HasPrefix(e.Name(), tempPrefix): // of a process that died
			os.Remove(filepath.Join(dir, e.Name()))
		case strings.HasSuffix(e.Name(), ".json"):
			o.fresh = append(o.fresh, e.Name())
		}
	}
	if n := len(o.fresh); n > 0 {
		log.Info("session reports wait in the outbox", "outbox", dir, "reports", n)
	}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	go o.run()
	return o, nil
}

// close ends the attempts. What waits is sent after the next start.
func (o *outbox) close() error {
	o.cancel()
	<-o.done
	return o.lock.Close()
}

// put stores a report for good and tries to send it, unless the receiver is being left alone for now. When
// it returns nil the report will not get lost.
func (o *outbox) put(ctx context.Context, id string, data []byte) error {
	name := fmt.Sprintf("%013d%s", time.Now().UnixMilli(), suffix(id))
	if err := replace(filepath.Join(o.dir, name), data, 0o600); err != nil {
		if serr := o.send(ctx, data); serr != nil {
			return fmt.Errorf("it can be neither stored nor sent: %w", errors.Join(err, serr))
		}
		return nil
	}
	if o.paused() > 0 {
		o.enqueue(&o.fresh, name)
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(o.ctx, cancel)()
	o.settle(name, o.send(ctx, data), ctx.Err() != nil)
	return nil
}

// suffix is how the names of reports with this id end, behind the time.
func suffix(id string) string { return "-" + safe(id) + ".json" }

// has reports whether a report with this id waits.
func (o *outbox) has(id string) bool {
	entries, err := os.ReadDir(o.dir)
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		ms, ok := strings.CutSuffix(e.Name(), suffix(id))
		return ok && !strings.Contains(ms, "-")
	})
}

// run tries again what waits.
func (o *outbox) run() {
	defer close(o.done)
	for {
		name := ""
		wait := o.paused()
		if wait == 0 {
			name = o.next()
		}
		if name == "" {
			var timer <-chan time.Time
			if wait > 0 {
				timer = time.After(wait)
			}
			select {
			case <-timer:
			case <-o.wake:
			case <-o.ctx.Done():
				return
			}
			continue
		}
		data, err := os.ReadFile(filepath.Join(o.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // somebody took it away
		}
		if err == nil {
			err = o.send(o.ctx, data)
		}
		o.settle(name, err, o.ctx.Err() != nil)
		if o.ctx.Err() != nil {
			return
		}
	}
}

// settle does what follows from an attempt. One that was cut short says nothing about the receiver.
func (o *outbox) settle(name string, err error, cut bool) {
	var final *finalError
	switch {
	case err == nil:
		o.succeeded()
		if err := os.Remove(filepath.Join(o.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			o.log.Error("a session report was sent but stays in the outbox, and will be sent again", "file", name, "err", err)
		}
	case cut:
		o.enqueue(&o.tried, name)
	case errors.As(err, &final):
		o.bury(name, err)
	case o.age(name) > o.giveUp:
		o.failed(err)
		o.bury(name, fmt.Errorf("it was tried for too long: %w", err))
	default:
		wait := o.failed(err)
		o.log.Warn("sending a session report failed, it is tried again", "file", name, "again_in", wait, "err", err)
		o.enqueue(&o.tried, name)
	}
}

// bury moves a report to the dead letters.
func (o *outbox) bury(name string, why error) {
	dir := filepath.Join(o.dir, deadLetters)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.Rename(filepath.Join(o.dir, name), filepath.Join(dir, name))
	}
	if err != nil {
		o.failed(err)
		o.log.Error("a session report was given up and cannot be moved to the dead letters, it stays in the outbox", "file", name, "why", why, "err", err)
		o.enqueue(&o.tried, name)
		return
	}
	o.mu.Lock()
	o.dead++
	o.mu.Unlock()
	o.log.Error("a session report was given up", "file", filepath.Join(dir, name), "why", why)
}

// age tells how long a report has waited.
func (o *outbox) age(name string) time.Duration {
	ms, _, _ := strings.Cut(name, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return 0 // somebody else's file
	}
	return time.Since(time.UnixMilli(n))
}

// enqueue has name wait in queue, one of o's.
func (o *outbox) enqueue(queue *[]string, name string) {
	o.mu.Lock()
	*queue = append(*queue, name)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default: // it was told already
	}
}

func (o *outbox) next() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, queue := range []*[]string{&o.fresh, &o.tried} {
		if len(*queue) > 0 {
			name := (*queue)[0]
			*queue = (*queue)[1:]
			return name
		}
	}
	return ""
}

func (o *outbox) succeeded() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failures, o.until = 0, time.Time{}
}

// failed leaves the receiver alone for a while: from 1 s to 5 min, twice as long each time, or as long as
// it asked for.
func (o *outbox) failed(err error) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := min(minPause<<min(o.failures, 20), maxPause)
	d = time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
	var later *laterError
	if errors.As(err, &later) {
		d = max(d, min(later.after, maxLater))
	}
	o.failures++
	if until := time.Now().Add(d); until.After(o.until) {
		o.until = until
	}
	return d
}

// paused tells how long the receiver is left alone.
func (o *outbox) paused() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return max(0, time.Until(o.until))
}

func (o *outbox) backlog() Backlog {
	o.mu.Lock()
	defer o.mu.Unlock()
	return Backlog{Waiting: len(o.fresh) + len(o.tried), Dead: o.dead}
}
