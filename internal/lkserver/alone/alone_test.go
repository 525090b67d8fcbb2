//go:build unix

package alone

import (
	"testing"
	"time"
)

func TestOneAtATime(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	release, err := Wait()
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan func(), 1)
	go func() {
		second, err := Wait()
		if err != nil {
			t.Error(err)
		}
		got <- second
	}()
	select {
	case <-got:
		t.Fatal("two have the lock")
	case <-time.After(50 * time.Millisecond):
	}
	release()
	(<-got)()
}
