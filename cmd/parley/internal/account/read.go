package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/metrics"
)

// reader goes through files.
type reader struct {
	q        *Query
	notes    Notes
	seen     map[string]bool // ids of events
	done     map[string]bool // files that were read
	sessions map[string]*session
	order    []*session
}

// maxReport is the size of a file of reports, in bytes, beyond which it is not read.
const maxReport = 1 << 30

// older is how the name of an older file of a ledger ends.
var older = regexp.MustCompile(`\.\d{6,}$`)

// path reads a file or a folder that was named.
func (r *reader) path(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && hasOlder(path):
		return r.ledger(path)
	case err != nil:
		return err
	case info.IsDir():
		return filepath.WalkDir(path, r.visit)
	}
	is, err := ledger.Is(path)
	switch {
	case err != nil:
		return err
	case is:
		return r.ledger(path)
	case info.Size() == 0:
		return nil // a ledger in which nothing was ever written
	}
	err = r.reports(path)
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, errNoReport):
		return fmt.Errorf("%s is neither a ledger nor a session report", path)
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: neither a ledger nor a whole session report", err)
	}
	return err
}

func hasOlder(path string) bool {
	entries, _ := os.ReadDir(filepath.Dir(path))
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return older.MatchString(e.Name()) && older.ReplaceAllString(e.Name(), "") == filepath.Base(path)
	})
}

// visit reads a file of a folder if it is one of ours. What is wrong with it is noted.
func (r *reader) visit(path string, e fs.DirEntry, err error) error {
	if err != nil {
		r.notes.damage("%v", err)
		return nil
	}
	if strings.HasPrefix(e.Name(), ".") && e.Name() != "." && e.Name() != ".." {
		if e.IsDir() {
			return fs.SkipDir
		}
		return nil // what somebody is about to write
	}
	info, err := os.Stat(path) // also behind a link
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	if ext := strings.ToLower(filepath.Ext(path)); ext == ".json" || ext == ".jsonl" || ext == ".ndjson" {
		if err := r.reports(path); errors.Is(err, errNoReport) {
			r.notes.remark("%s is passed over: it is no session report", path)
		} else if err != nil {
			r.notes.damage("%v", err)
		}
		return nil
	}
	is, err := ledger.Is(path)
	if err == nil && is {
		err = r.ledger(older.ReplaceAllString(path, ""))
	}
	if err != nil {
		r.notes.damage("%v", err)
	}
	return nil
}

// first reports whether the file was not read before.
func (r *reader) first(path string) bool {
	if p, err := filepath.EvalSymlinks(path); err == nil {
		path = p
	}
	if p, err := filepath.Abs(path); err == nil {
		path = p
	}
	before := r.done[path]
	r.done[path] = true
	return !before
}

func (r *reader) session(id string) *session {
	s := r.sessions[id]
	if s == nil {
		s = &session{id: id}
		r.sessions[id] = s
		r.order = append(r.order, s)
	}
	return s
}

// ledger reads all files of a ledger.
func (r *reader) ledger(path string) error {
	if !r.first(path) {
		return nil
	}
	for rec, err := range ledger.Read(path) {
		if d := (*ledger.DamageError)(nil); errors.As(err, &d) {
			r.notes.damage("%v", err)
		} else if err != nil {
			return err
		} else {
			r.record(path, rec)
		}
	}
	torn, err := ledger.Torn(path)
	if torn > 0 {
		r.notes.remark("ledger %s: %d bytes at its end are a record that is being written, or was when the process died; not counted", path, torn)
	}
	return err
}

func (r *reader) record(path string, rec ledger.Record) {
	switch {
	case rec.Kind == ledger.KindStart && rec.Start != nil:
		r.session(rec.SessionID).begin(rec.Start)
	case rec.Kind == ledger.KindTags:
		r.session(rec.SessionID).tag(rec.Tags)
	case rec.Kind == ledger.KindEvent && rec.Event == nil:
		r.notes.damage("ledger %s: an event of a later version is not counted: %.60s", path, rec.Raw)
	case rec.Kind == ledger.KindEvent:
		m, ok := metrics.UsageOf(rec.Event)
		id := rec.Event.Head().ID
		if !ok || id != "" && r.seen[id] {
			return
		}
		r.seen[id] = true
		r.session(rec.SessionID).add(rec.Event, m, r.q)
	}
}

// reports reads a file of reports.
func (r *reader) reports(path string) error {
	if !r.first(path) {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > maxReport {
		return fmt.Errorf("%s: %d bytes are too many for reports", path, info.Size())
	}
	all, err := parseReports(io.LimitReader(f, maxReport), path, &r.notes)
	for _, rep := range all {
		s := &session{}
		if rep.session != "" {
			s = r.session(rep.session)
		} else { // of a job without a session; it is about nothing else
			r.order = append(r.order, s)
		}
		s.reports = append(s.reports, rep)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
