package report

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/parley-go/parley/session"
)

// File writes each report as JSON to path, replacing what is there in one step. A "{job}" in path
// becomes the job's id (or, without a worker, the session's), so that every call has a file of its own; without it the last report is kept.
// Links are followed, and what is no regular file, such as /dev/stdout, is written to as it is. A report
// that was made from a ledger does not replace the whole one of the same session.
func File(path string) Sink {
	return Sink{name: "file " + path, limit: deliveryTime,
		check: func() error { return checkFile(path) },
		deliver: func(_ context.Context, d *document) error {
			return writeReport(strings.ReplaceAll(path, "{job}", safe(cmp.Or(d.JobID, d.SessionID))), d)
		}}
}

// Dir writes each report as JSON to a file of its own in the folder at path, which it makes if need be. The
// name is made of the ids of job and session: AJ_x.session_y.json. A report that comes again replaces
// itself in one step, but one that was made from a ledger does not replace the whole one.
func Dir(path string) Sink {
	return Sink{name: "dir " + path, limit: deliveryTime,
		check: func() error { return makeDir(path, 0o755) },
		deliver: func(_ context.Context, d *document) error {
			return writeReport(filepath.Join(path, fileName(d.Report)), d)
		}}
}

// fileName is the name of a file for r alone.
func fileName(r *session.Report) string {
	var ids []string
	for _, id := range []string{r.JobID, r.SessionID} {
		if id != "" {
			ids = append(ids, safe(id))
		}
	}
	return strings.Join(append(ids, "json"), ".")
}

func makeDir(path string, mode fs.FileMode) error {
	if path == "" {
		return errors.New("no path")
	}
	if err := os.MkdirAll(path, mode); err != nil {
		return fmt.Errorf("cannot make folder: %w", err)
	}
	return tryDir(path)
}

// tryDir makes sure that files can be made in dir.
func tryDir(dir string) error {
	probe, err := os.CreateTemp(dir, tempName)
	if err != nil {
		return fmt.Errorf("cannot write to folder %s: %w", dir, unwrapPath(err))
	}
	probe.Close()
	os.Remove(probe.Name())
	return nil
}

func checkFile(path string) error {
	if path == "" {
		return errors.New("no path")
	}
	st, err := os.Stat(path)
	switch {
	case err == nil && st.IsDir():
		return errors.New("it is a folder")
	case err == nil && !st.Mode().IsRegular():
		return nil
	}
	return tryDir(filepath.Dir(target(path)))
}

// target is where a link leads to.
func target(path string) string {
	if t, err := filepath.EvalSymlinks(path); err == nil {
		return t
	}
	return path
}

func writeReport(path string, d *document) error {
	data, err := d.json()
	if err != nil {
		return err
	}
	path = target(path)
	mode := os.FileMode(0o644)
	if st, err := os.Stat(path); err == nil {
		if mode = st.Mode().Perm(); !st.Mode().IsRegular() {
			if err := os.WriteFile(path, indent(data), mode); err != nil {
				return fmt.Errorf("writing session report: %w", err)
			}
			return nil
		}
		if d.Recovered && hasWhole(path, d.Report) {
			return nil
		}
	}
	if err := replace(path, indent(data), mode); err != nil {
		return fmt.Errorf("writing session report: %w", err)
	}
	return nil
}

func indent(data []byte) []byte {
	var b bytes.Buffer
	if json.Indent(&b, data, "", "  ") != nil {
		return data
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// hasWhole reports whether the file at path is the report of what r is about, and was not made from a
// ledger.
func hasWhole(path string, r *session.Report) bool {
	data, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	var have struct {
		JobID     string `json:"job_id"`
		SessionID string `json:"session_id"`
		Recovered bool   `json:"recovered"`
	}
	return json.Unmarshal(data, &have) == nil && !have.Recovered && have.SessionID == r.SessionID && have.JobID == r.JobID
}

const (
	tempPrefix = ".report-"
	tempName   = tempPrefix + "*"
)

// replace writes the file at path in one step, and so that a power cut leaves the old or the new one.
func replace(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), tempName)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	syncDir(filepath.Dir(path))
	return nil
}

// syncDir makes what was renamed in dir outlive a power cut, where the system can.
func syncDir(dir string) {
	if f, err := os.Open(dir); err == nil {
		_ = f.Sync() // some systems cannot
		f.Close()
	}
}

// unwrapPath drops the name of the temporary file from err.
func unwrapPath(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
