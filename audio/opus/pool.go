package opus

import "sync"

// maxPooled is how many states of one kind are kept for the next stream: a busy worker's, about
// 13 MB. More are left to the garbage collector.
const maxPooled = 64

// pool is a free list of codec states by kind. Unlike a sync.Pool it survives garbage collections.
type pool[K comparable, T any] struct {
	mu   sync.Mutex
	free map[K][]T
}

func newPool[K comparable, T any]() *pool[K, T] {
	return &pool[K, T]{free: map[K][]T{}}
}

func (p *pool[K, T]) take(k K) (T, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var none T
	l := p.free[k]
	if len(l) == 0 {
		return none, false
	}
	t := l[len(l)-1]
	l[len(l)-1] = none
	p.free[k] = l[:len(l)-1]
	return t, true
}

func (p *pool[K, T]) put(k K, t T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.free[k]; len(l) < maxPooled {
		p.free[k] = append(l, t)
	}
}
