package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/parley-go/parley/session"
)

// ReportFile returns an OnReport that writes the report as JSON to path, replacing what is there in
// one step; a "{job}" in path becomes the job's id, so that every call has a file of its own. A path
// that cannot be written to is an error now, not when the call is over. Links are followed, and what
// is no regular file, such as /dev/stdout, is written to as it is.
func ReportFile(path string) (func(context.Context, *session.Report) error, error) {
	if path == "" {
		return nil, errors.New("session report cannot be written: no path")
	}
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return nil, fmt.Errorf("session report cannot be written to %s: it is a folder", path)
	}
	dir := filepath.Dir(path)
	if target, err := filepath.EvalSymlinks(path); err == nil {
		dir = filepath.Dir(target)
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return writer(path), nil
	}
	probe, err := os.CreateTemp(dir, ".report-*")
	if err != nil {
		return nil, fmt.Errorf("session report cannot be written to %s: %w", path, unwrapPath(err))
	}
	probe.Close()
	os.Remove(probe.Name())
	return writer(path), nil
}

// writer writes reports to path.
func writer(path string) func(context.Context, *session.Report) error {
	return func(_ context.Context, r *session.Report) error {
		data, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding session report: %w", err)
		}
		return writeFile(strings.ReplaceAll(path, "{job}", r.JobID), append(data, '\n'))
	}
}

func writeFile(path string, data []byte) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	mode := os.FileMode(0o644)
	if st, err := os.Stat(path); err == nil {
		if mode = st.Mode().Perm(); !st.Mode().IsRegular() {
			if err := os.WriteFile(path, data, mode); err != nil {
				return fmt.Errorf("writing session report: %w", err)
			}
			return nil
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return fmt.Errorf("writing session report: %w", err)
	}
	if _, err = f.Write(data); err == nil {
		err = f.Chmod(mode)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("writing session report: %w", err)
	}
	return nil
}

// unwrapPath drops the name of the temporary file from err.
func unwrapPath(err error) error {
	if pe, ok := err.(*os.PathError); ok {
		return pe.Err
	}
	return err
}
