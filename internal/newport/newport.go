// Package newport listens on ports that this process has not had lately. The clients that its tests share notice a
// moment late that a server is gone, and until then they send what is for the next server of the same port into the void.
package newport

import (
	"net"
	"slices"
	"sync"
)

// lately is how many ports are not used again: more than the servers that come and go within any such moment, and a
// small part of those that a system gives out.
const lately = 1000

var (
	mu  sync.Mutex
	had []int // the oldest first
)

// Listen listens on a port of the loopback address. When the system has hardly any left, it is one that was had before
// rather than none. It may be called concurrently.
func Listen() (net.Listener, error) {
	for tries := 0; ; tries++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil || take(l.Addr().(*net.TCPAddr).Port) || tries == 100 {
			return l, err
		}
		_ = l.Close()
	}
}

// take notes a port, unless it was had lately.
func take(port int) bool {
	mu.Lock()
	defer mu.Unlock()
	if slices.Contains(had, port) {
		return false
	}
	if had = append(had, port); len(had) > lately {
		had = had[1:]
	}
	return true
}
