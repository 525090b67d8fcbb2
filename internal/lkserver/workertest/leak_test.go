package workertest

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/lkserver"
)

// TestJobsLeaveNothingBehind holds twenty conversations, one after another.
func TestJobsLeaveNothingBehind(t *testing.T) {
	sc := newScene(t, scripted(script{agent: greets("Hi.")}), nil)
	one := func(n int) {
		c := sc.dial(fmt.Sprint(sc.name, n), lkserver.Dispatch(sc.name, ""))
		next(t, sc.jobs)
		c.speaking()
		if err := c.Hangup(); err != nil {
			t.Fatal(err)
		}
		next(t, sc.reports)
	}
	one(0) // opens what stays open: the server's, and the caches of the libraries
	ours, files := settled(t, ourGoroutines), settled(t, openFiles)
	for n := range 20 {
		one(n + 1)
	}
	eventually(t, func() bool { return sc.w.ActiveJobs() == 0 }, "all jobs are over")
	eventually(t, func() bool { return ourGoroutines() <= ours }, "%d goroutines of ours as before; there were %d", ours, ourGoroutines())
	// Sockets of WebRTC close when their timers say so. A web socket that the server closed first is left by the SDK to
	// the garbage collector, which has no reason to run here.
	eventually(t, func() bool { runtime.GC(); return openFiles() <= files+5 }, "%d open files as before; there were %d", files, openFiles())
}

// settled is f when it has not changed for a while.
func settled(t *testing.T, f func() int) int {
	t.Helper()
	n, since := f(), time.Now()
	eventually(t, func() bool {
		if m := f(); m != n {
			n, since = m, time.Now()
		}
		return time.Since(since) > 300*ms
	}, "the count settles")
	return n
}

// ourGoroutines counts the goroutines in which code of the library runs.
func ourGoroutines() int {
	var b bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&b, 2) // a buffer takes everything
	n := 0
	for g := range strings.SplitSeq(b.String(), "\n\n") {
		if ours(g) {
			n++
		}
	}
	return n
}

// openFiles counts the descriptors of this process, where the system tells.
func openFiles() int {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(names)
}
