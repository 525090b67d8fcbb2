package session

import "sync"

// pending counts the calls of models whose usage may still come after whoever made them has left. The
// zero value is ready.
type pending struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when there are none any more; nil while nobody waits
}

// begin counts one until done is called; done may be called twice.
func (p *pending) begin() (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	return sync.OnceFunc(p.end)
}

func (p *pending) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n--; p.n == 0 && p.none != nil {
		close(p.none)
		p.none = nil
	}
}

// over is closed as soon as there are none.
func (p *pending) over() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.none == nil {
		p.none = make(chan struct{})
	}
	c := p.none
	if p.n == 0 {
		close(c)
		p.none = nil
	}
	return c
}
