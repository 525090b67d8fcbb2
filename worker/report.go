package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/parley-go/parley/session"
)

// ReportFile returns an OnReport that writes the report as JSON to path, replacing what is there in
// one step. A path that cannot be written to is an error now, not when the call is over.
func ReportFile(path string) (func(context.Context, *session.Report) error, error) {
	dir := filepath.Dir(path)
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return nil, fmt.Errorf("session report cannot be written to %s: it is a folder", path)
	}
	probe, err := os.CreateTemp(dir, ".report-*")
	if err != nil {
		return nil, fmt.Errorf("session report cannot be written to %s: %w", path, unwrapPath(err))
	}
	probe.Close()
	os.Remove(probe.Name())
	return func(_ context.Context, r *session.Report) error {
		data, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding session report: %w", err)
		}
		return writeFile(path, append(data, '\n'))
	}, nil
}

func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return fmt.Errorf("writing session report: %w", err)
	}
	_, err = f.Write(data)
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
