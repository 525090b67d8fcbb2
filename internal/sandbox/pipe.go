package sandbox

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipeRoom is how many bytes wait in one direction of a Pipe before a write has to.
const pipeRoom = 256 << 10

// Pipe returns the two ends of a connection in memory, which has room for some bytes on their way, as a
// network has. What was written is read also after either end was closed, so that what a client could send
// is on somebody's bill.
func Pipe() (net.Conn, net.Conn) {
	x, y := newLane(), newLane()
	return &pipe{in: x, out: y}, &pipe{in: y, out: x}
}

// lane is one direction of a Pipe.
type lane struct {
	mu     sync.Mutex
	change sync.Cond
	data   []byte
	err    error // how it ended: what readers get after the data, and writers at once
	reader deadline
	writer deadline
}

// deadline is one of a lane.
type deadline struct {
	at    time.Time
	timer *time.Timer // wakes who waits
}

func (d *deadline) past() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func newLane() *lane {
	l := &lane{}
	l.change.L = &l.mu
	return l
}

// end ends the lane: nothing more is written.
func (l *lane) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.change.Broadcast()
}

func (l *lane) read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.data) == 0 {
		switch {
		case l.err != nil:
			return 0, l.err
		case l.reader.past():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		}
		l.change.Wait()
	}
	n := copy(p, l.data)
	if l.data = l.data[n:]; len(l.data) == 0 {
		l.data = nil
	}
	l.change.Broadcast()
	return n, nil
}

func (l *lane) write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && len(l.data) >= pipeRoom && !l.writer.past() {
		l.change.Wait()
	}
	switch {
	case l.err != nil:
		return 0, syscall.EPIPE
	case l.writer.past():
		return 0, os.ErrDeadlineExceeded
	}
	l.data = append(l.data, p...)
	l.change.Broadcast()
	return len(p), nil
}

// until sets a deadline of the lane.
func (l *lane) until(d *deadline, t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.at, d.timer = t, nil; !t.IsZero() && !d.past() {
		d.timer = time.AfterFunc(time.Until(t), func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.change.Broadcast()
		})
	}
	l.change.Broadcast()
}

// pipe is one end.
type pipe struct {
	in, out *lane
	mu      sync.Mutex
	hard    bool
}

func (p *pipe) Read(b []byte) (int, error)  { return p.in.read(b) }
func (p *pipe) Write(b []byte) (int, error) { return p.out.write(b) }

// SetLinger is as that of a TCP connection: with 0, Close resets it.
func (p *pipe) SetLinger(sec int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hard = sec == 0
	return nil
}

func (p *pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := io.EOF
	if p.hard {
		err = syscall.ECONNRESET
	}
	p.out.end(err)
	p.in.end(net.ErrClosed)
	return nil
}

func (p *pipe) LocalAddr() net.Addr  { return memoryAddr("127.0.0.1:1") }
func (p *pipe) RemoteAddr() net.Addr { return memoryAddr("127.0.0.1:2") }

func (p *pipe) SetReadDeadline(t time.Time) error {
	p.in.until(&p.in.reader, t)
	return nil
}

func (p *pipe) SetWriteDeadline(t time.Time) error {
	p.out.until(&p.out.writer, t)
	return nil
}

func (p *pipe) SetDeadline(t time.Time) error {
	_ = p.SetReadDeadline(t)
	return p.SetWriteDeadline(t)
}
