//go:build unix

// Package alone keeps tests that run in real time from running beside each other: go test runs
// packages in parallel, and on a small machine two LiveKit servers with their calls starve each other.
package alone

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Wait waits until no other process of this user has the lock, and takes it. It is given back by
// calling release, or by the end of the process.
func Wait() (release func(), err error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("parley-realtime-tests-%d.lock", os.Getuid()))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock of real-time tests: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking real-time tests: %w", err)
	}
	return func() { f.Close() }, nil
}
