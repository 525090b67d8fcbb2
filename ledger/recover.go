package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/metrics"
)

// Session is what a ledger knows of a session, or of a job without one, that was not settled: its process
// died before its report was delivered.
type Session struct {
	Start
	End       *End            // nil: it was cut short
	Events    []metrics.Event // in the order in which they were recorded
	Last      time.Time       // of its last record: it lived then at least
	Delivered []string        // who has its report already
	file      int             // where it begins
}

// Usage is what the session is known to have spent.
func (s *Session) Usage() metrics.Usage { return s.Collector().Usage() }

// Collector has what the session is known to have spent.
func (s *Session) Collector() *metrics.Collector {
	c := new(metrics.Collector)
	for _, e := range s.Events {
		c.Add(e)
	}
	return c
}

// Recover reads the ledger at path and returns the sessions that are not settled, in the order of their
// beginning. While the ledger is being written the sessions that run are among them; a worker asks the
// Ledger that it opened instead. Damage does not keep Recover from the rest: it is an error that joins
// up to 100 *DamageError, and the sessions are returned all the same.
func Recover(path string) ([]*Session, error) {
	files, err := files(path)
	if err != nil {
		return nil, fmt.Errorf("reading ledger: %w", err)
	}
	defer closeAll(files)
	var b book
	damage, err := b.readAll(files)
	return b.sessions(), errors.Join(damage, err)
}

// book follows which sessions are open.
type book struct {
	open map[string]*Session
	last int // number of the file that was written last
}

// readAll reads those of files that are needed. The first record of a file says which these are. An
// error other than of damage means that there may be more.
func (b *book) readAll(files []*file) (damage, err error) {
	b.open = make(map[string]*Session)
	first := 0
	for _, f := range slices.Backward(files) {
		if n := f.head(); n != nil {
			first, b.last = n.First, n.Number
			break
		}
	}
	for _, f := range files {
		b.last = max(b.last, f.number)
	}
	var places []error
	for _, f := range files {
		if f.number > 0 && f.number < first {
			continue
		}
		number := f.number
		if number == 0 {
			number = b.last
		}
		f.read(func(r Record, n *note, e error) bool {
			if d := (*DamageError)(nil); e != nil && !errors.As(e, &d) {
				err = errors.Join(err, e)
			} else if e != nil && len(places) < 100 {
				places = append(places, e)
			}
			if n != nil && n.kind == kindFile {
				number = max(number, n.Number)
				b.last = max(b.last, number)
			}
			b.apply(r, number)
			return true
		})
	}
	return errors.Join(places...), err
}

// head returns the first record of f if it is one about the file.
func (f *file) head() (head *note) {
	f.read(func(_ Record, n *note, err error) bool {
		if err == nil && n != nil && n.kind == kindFile {
			head = n
		}
		return false
	})
	return head
}

func (b *book) apply(r Record, file int) {
	s := b.open[r.SessionID]
	switch {
	case r.Kind == KindStart && r.Start != nil && s == nil && r.SessionID != "":
		s = &Session{Start: *r.Start, file: file}
		b.open[r.SessionID] = s
		if s.SessionID != "" {
			delete(b.open, s.JobID) // the session takes its place
		}
	case s == nil: // it never began, or its account is closed
		return
	case r.Kind == KindStart && r.Start != nil:
		s.End, s.Tags = nil, r.Start.Tags // it was started again
	case r.Kind == KindTags:
		s.Tags = r.Tags
	case r.Kind == KindEvent && r.Event != nil:
		s.Events = append(s.Events, r.Event)
	case r.Kind == KindEnd:
		s.End = r.End
	case r.Kind == KindDelivered:
		s.Delivered = append(s.Delivered, r.Sink)
		return
	case r.Kind == KindSettled:
		delete(b.open, r.SessionID)
		return
	}
	if r.At.After(s.Last) {
		s.Last = r.At
	}
}

func (b *book) sessions() []*Session {
	var all []*Session
	for _, s := range b.open {
		all = append(all, s)
	}
	slices.SortFunc(all, func(x, y *Session) int {
		if c := x.At.Compare(y.At); c != 0 {
			return c
		}
		return strings.Compare(x.SessionID, y.SessionID)
	})
	return all
}
