package sandbox

import "sync"

// Mutex is a lock that may be held while time passes, also in testing/synctest, where nobody who waits for a
// sync.Mutex lets it pass. The zero value is unlocked.
type Mutex struct {
	once sync.Once
	free chan struct{} // one token
}

// Lock waits for the lock.
func (l *Mutex) Lock() {
	l.once.Do(func() {
		l.free = make(chan struct{}, 1)
		l.free <- struct{}{}
	})
	<-l.free
}

// Unlock is for who has the lock.
func (l *Mutex) Unlock() { l.free <- struct{}{} }
