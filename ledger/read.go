package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/parley-go/parley/metrics"
)

// DamageError tells about bytes of a ledger that are no record. Reading goes on behind them.
type DamageError struct {
	File   string
	Offset int64
	Bytes  int64
	Err    error // what is wrong with a record whose checksum is right; nil otherwise
}

func (e *DamageError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("ledger %s: record before byte %d: %v", e.File, e.Offset, e.Err)
	}
	return fmt.Sprintf("ledger %s: %d bytes from byte %d on are damaged", e.File, e.Bytes, e.Offset)
}

func (e *DamageError) Unwrap() error { return e.Err }

// Read gives the records of the ledger at path, that of its older files first. It may be written
// meanwhile: what comes after the last whole record is passed over. A *DamageError is not the end,
// the next records follow; any other error is. Read keeps one record in memory at a time.
func Read(path string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		files, err := files(path)
		if err != nil {
			yield(Record{}, fmt.Errorf("reading ledger: %w", err))
			return
		}
		defer closeAll(files)
		for _, f := range files {
			ok := f.read(func(r Record, _ *note, err error) bool {
				return r.Kind == kindFile || yield(r, err)
			})
			if !ok {
				return
			}
		}
	}
}

// file is one file of a ledger.
type file struct {
	path   string
	number int      // 0 for the one that is being written
	f      *os.File // open already; nil: to be opened when it is read
	good   int64    // after read: the end of its last record
}

// files lists the files of a ledger in order. The one that is being written is opened first: when it is
// renamed meanwhile, it is seen once all the same.
func files(path string) ([]*file, error) {
	path = resolve(path)
	var all []*file
	last, err := os.Open(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var now os.FileInfo
	if last != nil {
		if now, err = last.Stat(); err != nil {
			last.Close()
			return nil, err
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		if last != nil {
			last.Close()
		}
		return nil, err
	}
	for _, e := range entries {
		suffix, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		n, err := strconv.Atoi(suffix)
		if !ok || err != nil || n <= 0 || len(suffix) < 6 {
			continue
		}
		if info, err := e.Info(); err == nil && (now == nil || !os.SameFile(info, now)) {
			all = append(all, &file{path: filepath.Join(filepath.Dir(path), e.Name()), number: n})
		}
	}
	if last == nil && len(all) == 0 {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	slices.SortFunc(all, func(a, b *file) int { return a.number - b.number })
	if last != nil {
		all = append(all, &file{path: path, f: last})
	}
	return all, nil
}

// resolve follows links, also one to a file that is not there yet.
func resolve(path string) string {
	for range 40 { // more is a circle
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return path
}

func closeAll(files []*file) {
	for _, f := range files {
		if f.f != nil {
			f.f.Close()
		}
	}
}

// read yields the records of f; false when yield did not want more, or the file cannot be read.
func (f *file) read(yield func(Record, *note, error) bool) bool {
	if f.f == nil {
		g, err := os.Open(f.path)
		if err != nil {
			yield(Record{}, nil, fmt.Errorf("reading ledger: %w", err))
			return false
		}
		defer g.Close()
		return f.scan(g, yield)
	}
	if _, err := f.f.Seek(0, io.SeekStart); err != nil {
		yield(Record{}, nil, fmt.Errorf("reading ledger: %w", err))
		return false
	}
	return f.scan(f.f, yield)
}

func (f *file) scan(r io.Reader, yield func(Record, *note, error) bool) bool {
	s := newScanner(r)
	for {
		before := s.at
		payload, err := s.next()
		f.good = s.good
		torn := err == io.EOF && f.number == 0 // somebody is about to write it, or was
		if s.skipped > 0 && !torn && !yield(Record{}, nil, &DamageError{File: f.path, Offset: before, Bytes: s.skipped}) {
			return false
		}
		if err == io.EOF {
			return true
		}
		if err != nil {
			yield(Record{}, nil, fmt.Errorf("reading ledger: %w", err))
			return false
		}
		rec, n, err := decode(payload)
		if errors.Is(err, metrics.ErrUnknownType) {
			err = nil // of a later version: whoever reads has its JSON
		}
		if err != nil {
			err = &DamageError{File: f.path, Offset: s.at, Err: err}
		}
		if !yield(rec, n, err) {
			return false
		}
	}
}
