package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Is reports whether the file at path is a ledger, or one of its older files: whether it begins with a
// record, or has the beginning of one in its first 4 KiB.
func Is(path string) (bool, error) {
	head, err := readHead(path)
	return bytes.Contains(head, magic[:]), err
}

// readHead returns the first 4 KiB of the file at path.
func readHead(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading ledger: %w", err)
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return nil, fmt.Errorf("reading ledger: %w", err)
	}
	return head, nil
}

// checkOurs refuses a file without a whole record that is something else than what a kill or a power cut leaves of
// a ledger: nothing, the beginning of a record, or zeros.
func checkOurs(path string) error {
	head, err := readHead(path)
	if err != nil || bytes.Contains(head, magic[:]) || bytes.HasPrefix(magic[:], head) || len(bytes.Trim(head, "\x00")) == 0 {
		return err
	}
	return fmt.Errorf("%s is not empty, and no ledger", path)
}

// Torn is how many bytes follow the last whole record of the ledger at path. Read passes them over: they
// are a record that is being written, or was when the process died.
func Torn(path string) (int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // only its older files are there, and those are whole
	}
	if err != nil {
		return 0, fmt.Errorf("reading ledger: %w", err)
	}
	defer f.Close()
	for s := newScanner(f); ; {
		if _, err := s.next(); err == io.EOF {
			return s.at - s.good, nil
		} else if err != nil {
			return 0, fmt.Errorf("reading ledger: %w", err)
		}
	}
}
